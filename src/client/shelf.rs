//! The blocks of a client, for native peers.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::id::BlockId;
use crate::limits::SAVE_WINDOW_BLOCKS;
use crate::off::Block;
use crate::peer::native::shelf::{Shelf, Taken};
use crate::store::{Presence, StoreError};

use super::Client;

/// The store of a client, and what its owner lets others put there.
pub(super) struct ClientShelf {
    client: Client,
    /// Blocks that came and may be lost in a crash.
    unsaved: AtomicUsize,
}

impl ClientShelf {
    pub(super) fn new(client: Client) -> Self {
        Self { client, unsaved: AtomicUsize::new(0) }
    }

    /// Stores a block; every now and then all that came is made durable.
    fn keep(&self, block: &Block) -> Result<(), StoreError> {
        self.client.store.put(block)?;
        if self.unsaved.fetch_add(1, Ordering::Relaxed) + 1 >= SAVE_WINDOW_BLOCKS {
            self.unsaved.store(0, Ordering::Relaxed);
            self.client.store.commit()?;
        }
        Ok(())
    }
}

impl Shelf for ClientShelf {
    fn holds(&self, ids: &[BlockId]) -> Vec<bool> {
        let store = &self.client.store;
        ids.iter().map(|id| matches!(store.presence(id), Ok(Presence::Held))).collect()
    }

    fn uses(&self, ids: &[BlockId]) -> Vec<u8> {
        let uses = |id| self.client.store.uses(id).map_or(0, |count| count.uses);
        ids.iter().map(|id| u8::try_from(uses(id)).unwrap_or(u8::MAX)).collect()
    }

    fn block(&self, id: &BlockId) -> Option<Bytes> {
        match self.client.store.get(id) {
            Ok(block) => block.map(|block| block.bytes().clone()),
            Err(error) => {
                tracing::warn!(%id, "cannot serve a block: {error}");
                None
            }
        }
    }

    fn take(&self, id: BlockId, bytes: Bytes) -> Taken {
        match Block::check(id, bytes).map(|block| self.keep(&block)) {
            Ok(Ok(())) => Taken::Kept,
            Ok(Err(error)) => Taken::Failed(error.to_string()),
            Err(_) => Taken::Wrong,
        }
    }

    fn host(&self, id: BlockId, bytes: Bytes) -> Taken {
        match Block::check(id, bytes) {
            Ok(_) => Taken::Refused,
            Err(_) => Taken::Wrong,
        }
    }

    fn hosts(&self) -> bool {
        false
    }

    fn heard_of_uses(&self, _: SocketAddr, _: &[(BlockId, u8)]) {}
}
