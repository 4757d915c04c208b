//! A wrapper that keeps the blocks read or put last in memory, verified.
//!
//! A BitTorrent peer asks for a block in eight chunks, and a decoder meets each off block again
//! one tuple later; without this each of them would read and hash the block anew.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use lru::LruCache;

use crate::id::BlockId;
use crate::off::Block;

use super::{BlockStore, Draws, Presence, StoreCensus, StoreError};

/// A store with a cache of whole blocks in front.
#[derive(Debug)]
pub struct CachedStore<S> {
    inner: S,
    recent: Mutex<LruCache<BlockId, Block>>,
}

impl<S: BlockStore> CachedStore<S> {
    /// Keeps up to `blocks` blocks (at least one) in memory.
    pub fn new(inner: S, blocks: usize) -> Self {
        let capacity = NonZeroUsize::new(blocks).unwrap_or(NonZeroUsize::MIN);
        Self { inner, recent: Mutex::new(LruCache::new(capacity)) }
    }

    fn recent(&self) -> std::sync::MutexGuard<'_, LruCache<BlockId, Block>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: BlockStore> BlockStore for CachedStore<S> {
    fn put(&self, block: &Block) -> Result<bool, StoreError> {
        let new = self.inner.put(block)?;
        self.recent().put(block.id(), block.clone());
        Ok(new)
    }

    fn get(&self, id: &BlockId) -> Result<Option<Block>, StoreError> {
        if let Some(block) = self.recent().get(id) {
            return Ok(Some(block.clone()));
        }
        let found = self.inner.get(id)?;
        if let Some(block) = &found {
            self.recent().put(*id, block.clone());
        }
        Ok(found)
    }

    fn presence(&self, id: &BlockId) -> Result<Presence, StoreError> {
        self.inner.presence(id)
    }

    fn commit(&self) -> Result<(), StoreError> {
        self.inner.commit()
    }

    fn draws(&self, seed: u64) -> Result<Draws<'_>, StoreError> {
        self.inner.draws(seed)
    }

    fn census(&self) -> Result<StoreCensus, StoreError> {
        self.inner.census()
    }
}
