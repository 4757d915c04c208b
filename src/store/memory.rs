//! A store in memory: the plainest thing that keeps the contract.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::id::BlockId;
use crate::limits::BLOCK_LEN;
use crate::off::{Block, BlockSize, Carriage};

use super::lease::Leases;
use super::sketch::plan;
use super::{
    BlockStore, Digests, Draws, Lease, Located, Mark, Presence, Removed, Sketch, SketchCell,
    StoreCensus, StoreError, Upkeep, UseCount, room_of,
};

/// Blocks in a map. Nothing survives the process, so `commit` has nothing to do.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
    leases: Leases,
}

#[derive(Debug, Default)]
struct State {
    blocks: HashMap<BlockId, Held>,
    uses: HashMap<BlockId, UseCount>,
    digests: HashMap<BlockId, Digests>,
    popularity: HashMap<BlockId, u8>,
    clock: u64,
}

#[derive(Debug)]
struct Held {
    block: Block,
    put: u64,
    used: u64,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A map of whole blocks is never left half changed by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn now(&mut self) -> u64 {
        self.clock += 1;
        self.clock - 1
    }

    fn uses(&self, id: &BlockId) -> UseCount {
        self.uses.get(id).copied().unwrap_or_default()
    }

    fn popularity(&self, id: &BlockId) -> u8 {
        self.popularity.get(id).copied().unwrap_or_default()
    }

    fn may_go(&self, id: &BlockId, floor: u64) -> bool {
        self.uses(id).pins == 0 && self.blocks.get(id).is_some_and(|held| held.used < floor)
    }

    fn take(&mut self, ids: &[BlockId]) -> Removed {
        let mut removed = Removed::default();
        for id in ids {
            self.digests.remove(id);
            self.popularity.remove(id);
            if let Some(held) = self.blocks.remove(id) {
                removed += held.room();
            }
        }
        removed
    }

    /// What may go, in the order of eviction.
    fn cold(&self, uses: u32, floor: u64) -> Vec<BlockId> {
        let blocks = self.blocks.iter();
        let ranked = blocks
            .map(|(id, held)| (self.uses(id).uses, self.popularity(id), held.used, *id))
            .filter(|(count, .., id)| *count <= uses && self.may_go(id, floor));
        let mut cold: Vec<_> = ranked.collect();
        cold.sort_unstable();
        cold.into_iter().map(|(.., id)| id).collect()
    }

    fn room_of(&self, ids: &[BlockId]) -> Removed {
        let mut room = Removed::default();
        ids.iter().filter_map(|id| self.blocks.get(id)).for_each(|held| room += held.room());
        room
    }
}

impl Held {
    fn room(&self) -> Removed {
        Removed { blocks: 1, bytes: room_of(self.block.size()) }
    }
}

impl BlockStore for MemoryStore {
    fn put(&self, block: &Block) -> Result<bool, StoreError> {
        let mut state = self.state();
        let now = state.now();
        let new = Held { block: block.clone(), put: now, used: now };
        Ok(state.blocks.insert(block.id(), new).is_none())
    }

    fn get(&self, id: &BlockId) -> Result<Option<Block>, StoreError> {
        Ok(self.state().blocks.get(id).map(|held| held.block.clone()))
    }

    fn presence(&self, id: &BlockId) -> Result<Presence, StoreError> {
        let held = self.state().blocks.contains_key(id);
        Ok(if held { Presence::Held } else { Presence::Absent })
    }

    fn commit(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn draws(&self, size: BlockSize, seed: u64) -> Result<Draws<'_>, StoreError> {
        let state = self.state();
        let of_size = state.blocks.values().filter(|held| held.block.size() == size);
        let mut ids: Vec<BlockId> = of_size.map(|held| held.block.id()).collect();
        ids.sort_unstable();
        ids.shuffle(&mut StdRng::seed_from_u64(seed));
        Ok(Box::new(ids.into_iter().map(Ok)))
    }

    fn touch(&self, id: &BlockId) -> Result<bool, StoreError> {
        let mut state = self.state();
        let now = state.now();
        let found = state.blocks.get_mut(id);
        Ok(found.map(|held| held.used = now).is_some())
    }

    fn lease(&self) -> Lease {
        self.leases.begin(self.state().clock)
    }

    fn census(&self) -> Result<StoreCensus, StoreError> {
        let state = self.state();
        let bytes = state.blocks.values().map(|held| held.room().bytes).sum();
        Ok(StoreCensus { blocks: state.blocks.len() as u64, bytes, damaged: 0 })
    }

    fn digests(&self, id: &BlockId) -> Result<Option<Digests>, StoreError> {
        Ok(self.state().digests.get(id).copied())
    }

    fn keep_digests(&self, digests: &[(BlockId, Digests)]) -> Result<(), StoreError> {
        let State { blocks, digests: kept, .. } = &mut *self.state();
        kept.extend(digests.iter().filter(|(id, _)| blocks.contains_key(id)).copied());
        Ok(())
    }

    fn popularity(&self, id: &BlockId) -> Result<u8, StoreError> {
        Ok(self.state().popularity(id))
    }

    fn is_any_popular(&self) -> Result<bool, StoreError> {
        Ok(!self.state().popularity.is_empty())
    }
}

impl Upkeep for MemoryStore {
    fn mark(&self, ids: &[BlockId], mark: Mark) -> Result<(), StoreError> {
        let mut state = self.state();
        for id in ids {
            let count = state.uses.entry(*id).or_default();
            count.uses = count.uses.saturating_add_signed(mark.uses);
            count.pins = count.pins.saturating_add_signed(mark.pins);
        }
        Ok(())
    }

    fn uses(&self, id: &BlockId) -> Result<UseCount, StoreError> {
        Ok(self.state().uses(id))
    }

    fn recount(&self, expected: &HashMap<BlockId, UseCount>) -> Result<u64, StoreError> {
        let mut state = self.state();
        let mut ids: Vec<BlockId> = state.uses.keys().chain(expected.keys()).copied().collect();
        ids.sort_unstable();
        ids.dedup();
        let right = |id: &BlockId| expected.get(id).copied().unwrap_or_default();
        let wrong = ids.iter().filter(|id| state.uses(id) != right(id)).count() as u64;
        state.uses.clone_from(expected);
        Ok(wrong)
    }

    fn remove_unused(&self, ids: &[BlockId]) -> Result<Removed, StoreError> {
        let floor = self.leases.floor();
        let mut state = self.state();
        let unused = |id: &&BlockId| state.uses(id).uses == 0 && state.may_go(id, floor);
        let victims: Vec<BlockId> = ids.iter().filter(unused).copied().collect();
        Ok(state.take(&victims))
    }

    fn undo(&self, lease: &Lease) -> Result<Removed, StoreError> {
        let mut state = self.state();
        if !lease.is_alone() {
            return Ok(Removed::default());
        }
        let new = state.blocks.iter().filter(|(_, held)| held.put >= lease.start());
        let victims: Vec<BlockId> =
            new.map(|(id, _)| *id).filter(|id| state.uses(id).uses == 0).collect();
        Ok(state.take(&victims))
    }

    fn set_popularity(&self, told: &[(BlockId, u8)]) -> Result<(), StoreError> {
        let State { blocks, popularity, .. } = &mut *self.state();
        popularity.extend(told.iter().filter(|(id, _)| blocks.contains_key(id)).copied());
        popularity.retain(|_, popularity| *popularity > 0);
        Ok(())
    }

    fn evict(&self, uses: u32, most: u64, dry: bool) -> Result<Removed, StoreError> {
        let floor = self.leases.floor();
        let mut state = self.state();
        let mut victims = state.cold(uses, floor);
        victims.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        Ok(if dry { state.room_of(&victims) } else { state.take(&victims) })
    }

    fn make_room(&self, bytes: u64) -> Result<Removed, StoreError> {
        let floor = self.leases.floor();
        let mut state = self.state();
        let mut removed = Removed::default();
        for victim in state.cold(u32::MAX, floor) {
            if removed.bytes >= bytes {
                break;
            }
            removed += state.take(&[victim]);
        }
        Ok(removed)
    }

    fn sharing(&self) -> Result<Vec<(u32, u64)>, StoreError> {
        let state = self.state();
        let mut counts = BTreeMap::new();
        for id in state.blocks.keys() {
            *counts.entry(state.uses(id).uses).or_insert(0) += 1;
        }
        Ok(counts.into_iter().collect())
    }

    fn sketch(&self, cells: usize, most: usize) -> Result<Sketch, StoreError> {
        let state = self.state();
        let mut ids: Vec<&BlockId> = state.blocks.keys().collect();
        ids.sort_unstable();
        let pinned = ids.iter().filter(|id| state.uses(id).pins > 0).count() as u64;
        let plan = plan(std::slice::from_ref(&(0..ids.len() as u64)), cells, most);
        let look = |slots: Vec<u64>| {
            let mut cell = SketchCell::default();
            let id = |slot: u64| ids.get(usize::try_from(slot).ok()?).copied();
            for slot in slots {
                cell.look(id(slot).map(|id| state.uses(id)));
            }
            cell
        };
        Ok(Sketch { cells: plan.into_iter().map(look).collect(), pinned })
    }

    fn walk(&self, place: u64, most: usize) -> Result<Vec<(u64, BlockId)>, StoreError> {
        let mut ids: Vec<BlockId> = self.state().blocks.keys().copied().collect();
        ids.sort_unstable();
        let from = usize::try_from(place).unwrap_or(usize::MAX);
        Ok((0..).zip(ids).skip(from).take(most).collect())
    }

    fn locate(&self, id: &BlockId) -> Result<Option<Located>, StoreError> {
        let state = self.state();
        let Some(held) = state.blocks.get(id) else { return Ok(None) };
        let place = state.blocks.keys().filter(|other| *other < id).count() as u64;
        Ok(Some(Located { place, len: held.block.size().len() as u64 }))
    }

    fn file_of(&self, _: u64, _: u64) -> Result<Option<PathBuf>, StoreError> {
        Ok(None)
    }

    fn damaged(&self) -> Result<Vec<BlockId>, StoreError> {
        Ok(Vec::new())
    }

    fn adopt(&self, pack: &Path) -> Result<u64, StoreError> {
        let failed =
            |source| StoreError::Io { attempt: "read the pack", path: pack.to_owned(), source };
        let contents = std::fs::read(pack).map_err(failed)?;
        if contents.is_empty() || contents.len() % BLOCK_LEN != 0 {
            let why = "its length is no whole number of blocks".to_owned();
            return Err(StoreError::NotAPack { path: pack.to_owned(), why });
        }
        let mut new = 0;
        for contents in contents.chunks_exact(BLOCK_LEN) {
            let carriage = Carriage::found_in(contents);
            if let Ok(block) = carriage.unload(&contents.to_vec().into()) {
                new += u64::from(self.put(&block)?);
            }
        }
        Ok(new)
    }
}
