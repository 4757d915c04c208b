//! What passes between a fetch and a stream that reads what it brings, block by block.
//!
//! The stream says which block it waits for, the fetch asks the swarm for that one and what
//! follows it first, and says when nothing more will come.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use crate::id::BlockId;
use crate::off::Block;
use crate::store::{BlockStore, StoreError};

/// How often a stream looks whether its block has come.
const LOOK: Duration = Duration::from_millis(10);

/// Shared by a fetch and a stream.
#[derive(Debug, Clone, Default)]
pub struct Arrivals(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    awaited: Mutex<Option<BlockId>>,
    over: AtomicBool,
}

impl Arrivals {
    /// Says that nothing more will come.
    pub fn end(&self) {
        self.0.over.store(true, Ordering::Release);
    }

    /// The block a stream waits for.
    pub(super) fn awaited(&self) -> Option<BlockId> {
        *self.0.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn await_block(&self, id: Option<BlockId>) {
        *self.0.awaited.lock().unwrap_or_else(PoisonError::into_inner) = id;
    }

    /// A block, as soon as it is here; `None` if it will not come. A damaged one is waited for
    /// like one that is missing.
    pub(super) fn block(
        &self,
        store: &dyn BlockStore,
        id: &BlockId,
    ) -> Result<Option<Block>, StoreError> {
        loop {
            // Asked before the look, so that what comes between the two is not missed.
            let over = self.0.over.load(Ordering::Acquire);
            match store.get(id) {
                Ok(Some(block)) => {
                    self.await_block(None);
                    return Ok(Some(block));
                }
                Ok(None) | Err(StoreError::Damaged { .. }) if !over => {}
                other => return other,
            }
            self.await_block(Some(*id));
            sleep(LOOK);
        }
    }
}
