//! A store in memory: the plainest thing that keeps the contract.

use std::collections::HashMap;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::id::BlockId;
use crate::off::Block;

use super::{BlockStore, Draws, Presence, StoreCensus, StoreError};

/// Blocks in a map. Nothing survives the process, so `commit` has nothing to do.
#[derive(Debug, Default)]
pub struct MemoryStore(std::sync::RwLock<HashMap<BlockId, Block>>);

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<BlockId, Block>> {
        // A map of whole blocks is never left half changed by a panic.
        self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl BlockStore for MemoryStore {
    fn put(&self, block: &Block) -> Result<bool, StoreError> {
        let mut blocks = self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(blocks.insert(block.id(), block.clone()).is_none())
    }

    fn get(&self, id: &BlockId) -> Result<Option<Block>, StoreError> {
        Ok(self.read().get(id).cloned())
    }

    fn presence(&self, id: &BlockId) -> Result<Presence, StoreError> {
        Ok(if self.read().contains_key(id) { Presence::Held } else { Presence::Absent })
    }

    fn commit(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn draws(&self, seed: u64) -> Result<Draws<'_>, StoreError> {
        let mut ids: Vec<BlockId> = self.read().keys().copied().collect();
        ids.sort_unstable();
        ids.shuffle(&mut StdRng::seed_from_u64(seed));
        Ok(Box::new(ids.into_iter().map(Ok)))
    }

    fn census(&self) -> Result<StoreCensus, StoreError> {
        let blocks = self.read();
        let bytes = blocks.values().map(|block| block.size().len() as u64).sum();
        Ok(StoreCensus { blocks: blocks.len() as u64, bytes, damaged: 0 })
    }
}
