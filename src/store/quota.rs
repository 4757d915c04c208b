//! A wrapper that keeps a store within a number of bytes, always, to within one block.
//!
//! A new block makes room for itself before it is written: the blocks that the fewest URLs use
//! go first, of these the least popular, and of these the ones that were used longest ago; pinned
//! blocks and those of a running put or get never go. If that is not enough the put fails and
//! everything stays as it was.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::id::BlockId;
use crate::limits::{BLOCK_LEN, EVICT_AHEAD};
use crate::off::{Block, BlockSize};

use super::forward::forward;
use super::{
    BlockStore, Digests, Draws, Lease, Located, Mark, Presence, Removed, Sketch, StoreCensus,
    StoreError, Upkeep, UseCount, room_of,
};

/// A store with a limit.
#[derive(Debug)]
pub struct QuotaStore<S> {
    inner: S,
    /// Bytes of blocks at most.
    limit: u64,
    /// Bytes of blocks held, and of those being put.
    bytes: AtomicU64,
    /// Held while room is being made.
    evicting: Mutex<()>,
}

impl<S: Upkeep> QuotaStore<S> {
    /// Keeps `inner` within `limit` bytes, and evicts at once what is over it.
    pub fn new(inner: S, limit: u64) -> Result<Self, StoreError> {
        let bytes = AtomicU64::new(inner.census()?.bytes);
        let store = Self { inner, limit, bytes, evicting: Mutex::new(()) };
        store.keep_within()?;
        Ok(store)
    }

    /// Evicts until the bytes held are within the limit. `false` if they cannot be.
    fn keep_within(&self) -> Result<bool, StoreError> {
        let _alone = self.evicting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let over = self.bytes.load(Ordering::Acquire).saturating_sub(self.limit);
            if over == 0 {
                return Ok(true);
            }
            // Whole native blocks: a small store has no room to give away.
            let ahead = self.limit / BLOCK_LEN as u64 / EVICT_AHEAD * BLOCK_LEN as u64;
            let evicted = self.inner.make_room(over + ahead)?;
            self.freed(evicted.bytes);
            if evicted.blocks == 0 {
                return Ok(false);
            }
        }
    }

    fn freed(&self, bytes: u64) {
        let lower = |held: u64| Some(held.saturating_sub(bytes));
        let _ = self.bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, lower);
    }
}

impl<S: Upkeep> BlockStore for QuotaStore<S> {
    fn put(&self, block: &Block) -> Result<bool, StoreError> {
        if self.inner.touch(&block.id())? {
            return Ok(false);
        }
        let room = room_of(block.size());
        self.bytes.fetch_add(room, Ordering::AcqRel);
        let done = match self.keep_within() {
            Ok(true) => self.inner.put(block),
            Ok(false) => Err(StoreError::Full { limit: self.limit }),
            Err(error) => Err(error),
        };
        if !matches!(done, Ok(true)) {
            self.freed(room);
        }
        done
    }

    fn get(&self, id: &BlockId) -> Result<Option<Block>, StoreError> {
        let found = self.inner.get(id);
        if let Err(StoreError::Damaged { bytes, .. }) = &found {
            self.freed(*bytes);
        }
        found
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

impl<S: Upkeep> Upkeep for QuotaStore<S> {
    fn remove_unused(&self, ids: &[BlockId]) -> Result<Removed, StoreError> {
        let removed = self.inner.remove_unused(ids)?;
        self.freed(removed.bytes);
        Ok(removed)
    }

    fn undo(&self, lease: &Lease) -> Result<Removed, StoreError> {
        let undone = self.inner.undo(lease)?;
        self.freed(undone.bytes);
        Ok(undone)
    }

    fn evict(&self, uses: u32, most: u64, dry: bool) -> Result<Removed, StoreError> {
        let evicted = self.inner.evict(uses, most, dry)?;
        if !dry {
            self.freed(evicted.bytes);
        }
        Ok(evicted)
    }

    fn make_room(&self, bytes: u64) -> Result<Removed, StoreError> {
        let removed = self.inner.make_room(bytes)?;
        self.freed(removed.bytes);
        Ok(removed)
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
        /// Packs read in place take no room of ours, so they do not count.
        fn adopt(&self, pack: &Path) -> Result<u64, StoreError>;
    }
}

#[cfg(test)]
mod tests;
