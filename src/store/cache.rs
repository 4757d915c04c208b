//! A wrapper that keeps the blocks read or put last in memory, verified.
//!
//! A BitTorrent peer asks for a block in eight chunks, and a decoder meets each off block again
//! one tuple later; without this each of them would read and hash the block anew. A block that is
//! evicted underneath may be served from here a little longer, which harms nobody.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use lru::LruCache;

use crate::id::BlockId;
use crate::off::{Block, BlockSize};

use super::forward::forward;
use super::{
    BlockStore, Digests, Draws, Lease, Located, Mark, Presence, Removed, Sketch, StoreCensus,
    StoreError, Upkeep, UseCount,
};

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

    forward! {
        fn presence(&self, id: &BlockId) -> Result<Presence, StoreError>;
        fn commit(&self) -> Result<(), StoreError>;
        fn draws(&self, size: BlockSize, seed: u64) -> Result<Draws<'_>, StoreError>;
        fn touch(&self, id: &BlockId) -> Result<bool, StoreError>;
        fn lease(&self) -> Lease;
        fn census(&self) -> Result<StoreCensus, StoreError>;
        fn digests(&self, id: &BlockId) -> Result<Option<Digests>, StoreError>;
        fn keep_digests(&self, digests: &[(BlockId, Digests)]) -> Result<(), StoreError>;
        fn popularity(&self, id: &BlockId) -> Result<u8, StoreError>;
        fn is_any_popular(&self) -> Result<bool, StoreError>;
    }
}

impl<S: Upkeep> Upkeep for CachedStore<S> {
    fn remove_unused(&self, ids: &[BlockId]) -> Result<Removed, StoreError> {
        let removed = self.inner.remove_unused(ids);
        self.recent().clear();
        removed
    }

    fn undo(&self, lease: &Lease) -> Result<Removed, StoreError> {
        let undone = self.inner.undo(lease);
        self.recent().clear();
        undone
    }

    fn evict(&self, uses: u32, most: u64, dry: bool) -> Result<Removed, StoreError> {
        let evicted = self.inner.evict(uses, most, dry);
        self.recent().clear();
        evicted
    }

    fn make_room(&self, bytes: u64) -> Result<Removed, StoreError> {
        let removed = self.inner.make_room(bytes);
        self.recent().clear();
        removed
    }

    forward! {
        fn mark(&self, ids: &[BlockId], mark: Mark) -> Result<(), StoreError>;
        fn uses(&self, id: &BlockId) -> Result<UseCount, StoreError>;
        fn recount(&self, expected: &HashMap<BlockId, UseCount>) -> Result<u64, StoreError>;
        fn set_popularity(&self, told: &[(BlockId, u8)]) -> Result<(), StoreError>;
        fn sharing(&self) -> Result<Vec<(u32, u64)>, StoreError>;
        fn sketch(&self, cells: usize, most: usize) -> Result<Sketch, StoreError>;
        fn walk(&self, place: u64, most: usize) -> Result<Vec<(u64, BlockId)>, StoreError>;
        fn locate(&self, id: &BlockId) -> Result<Option<Located>, StoreError>;
        fn file_of(&self, place: u64, blocks: u64) -> Result<Option<PathBuf>, StoreError>;
        fn damaged(&self) -> Result<Vec<BlockId>, StoreError>;
        fn adopt(&self, pack: &Path) -> Result<u64, StoreError>;
    }
}
