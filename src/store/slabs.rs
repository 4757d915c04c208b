//! Blocks on disk: a slab allocator.
//!
//! All blocks have one size, so a store is files of fixed 128 KiB slots, 1,024 slots a file, an
//! index from id to slot (`index.rs`) and nothing else: no header inside a slab, no
//! compaction. Measured behind a BitTorrent client: packed slots 160-200 MB/s, a file per block 80-118.
//!
//! ```text
//! <folder>/index.redb
//! <folder>/000000.slab    slots 0 to 1023, block i at byte i * 131072
//! <folder>/000001.slab
//! ```
//!
//! Durability: a commit syncs the slabs first and the index after them, so an index entry always
//! points to bytes that are on disk. A block that is taken out leaves the index first; then its
//! slot is punched out of the file and used again. A crash leaves at most slots that nothing
//! points to; those are free. Every read is verified, because disks lie.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::id::BlockId;
use crate::limits::{
    BLOCK_LEN, COMMIT_WINDOW_BLOCKS, FREE_SLOTS_AT_ONCE, SLOTS_PER_SLAB, TOUCH_WINDOW,
};
use crate::off::Block;

use super::files::{FOREIGN_SLOT, Files};
use super::index::{Entry, Index};
use super::lease::Leases;
use super::shuffle::Shuffled;
use super::{
    BlockStore, Digests, Disk, Draws, Lease, Located, Mark, Presence, Sketch, StoreCensus,
    StoreError, Upkeep, UseCount,
};

/// Bytes of a native block, as the index counts them.
#[expect(clippy::cast_possible_truncation, reason = "131,072 fits")]
const WHOLE: u32 = BLOCK_LEN as u32;

/// Keeps blocks in slab files.
#[derive(Debug)]
pub struct SlabStore {
    files: Files,
    index: Index,
    leases: Leases,
    fresh: Mutex<Fresh>,
    /// Held for a whole commit, removal or eviction, so that they follow one another.
    committing: Mutex<()>,
}

/// What the index does not know yet, and where the next block goes.
#[derive(Debug, Default)]
struct Fresh {
    /// Written to their slots, not yet in the index.
    blocks: HashMap<BlockId, Entry>,
    /// In the index, used since the last commit.
    touched: HashMap<BlockId, u64>,
    /// Being taken out: as good as gone.
    leaving: HashSet<BlockId>,
    /// Slabs with unsynced bytes.
    dirty: BTreeSet<u64>,
    /// Free slots at hand.
    spare: Vec<u64>,
    /// Free slots below this one have been at hand; the index may know more above.
    searched: u64,
    /// The first slot never used.
    end: u64,
    /// The next moment.
    clock: u64,
}

impl SlabStore {
    /// Opens the store on `disk`, and creates it if there is none.
    pub fn open(disk: Arc<dyn Disk>) -> Result<Self, StoreError> {
        Self::open_with_slots(disk, BLOCK_LEN as u64)
    }

    /// Opens a store whose slots have `slot_len` bytes: for tests of the index with very many
    /// small blocks. A store must always be opened with the length it was created with.
    #[doc(hidden)]
    pub fn open_with_slots(disk: Arc<dyn Disk>, slot_len: u64) -> Result<Self, StoreError> {
        let index = Index::open(&*disk)?;
        let (end, clock) = (index.end(FOREIGN_SLOT)?, index.clock()?);
        let fresh = Mutex::new(Fresh { end, clock, ..Fresh::default() });
        let files = Files::new(disk, slot_len, index.packs()?);
        Ok(Self { files, index, leases: Leases::default(), fresh, committing: Mutex::new(()) })
    }

    fn fresh(&self) -> MutexGuard<'_, Fresh> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.committing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(&self, id: &BlockId) -> Result<Option<Entry>, StoreError> {
        {
            // The order matters: a commit adds to the index before it forgets here.
            let fresh = self.fresh();
            if let Some(entry) = fresh.blocks.get(id) {
                return Ok(Some(*entry));
            }
            if fresh.leaving.contains(id) {
                return Ok(None);
            }
        }
        self.index.entry(id)
    }

    fn free_slot(&self) -> Result<u64, StoreError> {
        let mut fresh = self.fresh();
        if fresh.spare.is_empty() && fresh.searched < fresh.end {
            fresh.spare = self.index.free(fresh.searched, FREE_SLOTS_AT_ONCE)?;
            fresh.searched = fresh.spare.last().map_or(fresh.end, |last| last + 1);
        }
        Ok(fresh.take_slot())
    }

    fn commit_alone(&self) -> Result<(), StoreError> {
        let (added, used, dirty, clock) = {
            let mut fresh = self.fresh();
            let added: Vec<_> = fresh.blocks.iter().map(|(id, entry)| (*id, *entry)).collect();
            (added, fresh.touched.clone(), std::mem::take(&mut fresh.dirty), fresh.clock)
        };
        if added.is_empty() && used.is_empty() {
            return Ok(());
        }
        let synced = if dirty.is_empty() { Ok(()) } else { self.files.sync(&dirty) };
        let done = synced.and_then(|()| self.index.add(&added, &used, clock));
        let mut fresh = self.fresh();
        if done.is_err() {
            fresh.dirty.extend(dirty);
            return done;
        }
        for (id, _) in &added {
            fresh.blocks.remove(id);
        }
        fresh.touched.retain(|id, moment| used.get(id) != Some(moment));
        Ok(())
    }

    /// Commits unless another thread has just done so: of many that write at once and find the
    /// window full, all but the first would commit next to nothing.
    fn commit_if_full(&self) -> Result<(), StoreError> {
        let _alone = self.alone();
        let full = self.fresh().blocks.len() >= COMMIT_WINDOW_BLOCKS;
        if full { self.commit_alone() } else { Ok(()) }
    }

    /// Takes blocks out of the slots given, unless somebody has used them meanwhile.
    fn take_out(&self, mut victims: Vec<(BlockId, u64)>) -> Result<u64, StoreError> {
        {
            let mut fresh = self.fresh();
            victims.retain(|(id, _)| !fresh.is_wanted(id));
            fresh.leaving = victims.iter().map(|(id, _)| *id).collect();
        }
        let freed = self.index.remove(&victims, FOREIGN_SLOT);
        let mut fresh = self.fresh();
        fresh.leaving.clear();
        let freed = freed?;
        drop(fresh);
        let punched = self.files.punch(&freed);
        let mut fresh = self.fresh();
        let searched = fresh.searched;
        // The others are found when the search comes to them.
        fresh.spare.extend(freed.iter().filter(|slot| **slot < searched.min(FOREIGN_SLOT)));
        punched.map(|()| freed.len() as u64)
    }

    /// Whether a block whose bytes are wrong really is damaged: it may have been taken out while
    /// it was read, and its slot given to another.
    fn quarantine(&self, id: &BlockId, entry: Entry) -> Result<bool, StoreError> {
        let was_fresh = {
            let mut fresh = self.fresh();
            let there = fresh.blocks.get(id) == Some(&entry);
            if there {
                fresh.blocks.remove(id);
            }
            there
        };
        Ok(self.index.quarantine(id, entry.slot)? || was_fresh)
    }
}

impl BlockStore for SlabStore {
    fn put(&self, block: &Block) -> Result<bool, StoreError> {
        if self.touch(&block.id())? {
            return Ok(false);
        }
        let slot = self.free_slot()?;
        if let Err(error) = self.files.write(slot, block.contents()) {
            self.fresh().spare.push(slot);
            return Err(error);
        }
        // Another thread may have been faster, and may even have committed; looked up under the
        // lock, because a block that is being taken out leaves the index at any moment.
        let mut fresh = self.fresh();
        let known = self.index.entry(&block.id())?.is_some();
        let new = (!known || fresh.leaving.contains(&block.id())) && fresh.keep(block, slot);
        if !new {
            fresh.spare.push(slot);
        }
        let full = fresh.blocks.len() >= COMMIT_WINDOW_BLOCKS;
        drop(fresh);
        if full {
            self.commit_if_full()?;
        }
        Ok(new)
    }

    fn get(&self, id: &BlockId) -> Result<Option<Block>, StoreError> {
        let Some(entry) = self.entry(id)? else { return Ok(None) };
        let contents = self.files.read(entry)?;
        match contents.map(|contents| Block::check(*id, contents)) {
            Some(Ok(block)) => Ok(Some(block)),
            Some(Err(_)) | None if self.quarantine(id, entry)? => {
                Err(StoreError::Damaged { id: *id, place: self.files.describe(entry.slot) })
            }
            // It was taken out meanwhile; if it is back, it is elsewhere.
            Some(Err(_)) | None => Ok(None),
        }
    }

    fn presence(&self, id: &BlockId) -> Result<Presence, StoreError> {
        if self.entry(id)?.is_some() {
            return Ok(Presence::Held);
        }
        Ok(if self.index.is_damaged(id)? { Presence::Damaged } else { Presence::Absent })
    }

    fn commit(&self) -> Result<(), StoreError> {
        let _alone = self.alone();
        self.commit_alone()
    }

    fn draws(&self, seed: u64) -> Result<Draws<'_>, StoreError> {
        self.commit()?;
        let (end, now) = (self.index.end(FOREIGN_SLOT)?, self.fresh().clock);
        let older = move |slot| match self.index.at(slot) {
            Ok(Some((id, entry))) if entry.put < now => Some(Ok(id)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        };
        Ok(Box::new(Shuffled::new(end, seed).filter_map(older)))
    }

    fn touch(&self, id: &BlockId) -> Result<bool, StoreError> {
        let mut fresh = self.fresh();
        let known = self.index.entry(id)?.is_some();
        let held = fresh.touch(id, known);
        let full = fresh.touched.len() >= TOUCH_WINDOW;
        drop(fresh);
        if full {
            self.commit()?;
        }
        Ok(held)
    }

    fn lease(&self) -> Lease {
        self.leases.begin(self.fresh().clock)
    }

    fn census(&self) -> Result<StoreCensus, StoreError> {
        self.commit()?;
        let (blocks, damaged) = self.index.counts()?;
        Ok(StoreCensus { blocks, bytes: blocks * self.files.slot_len(), damaged })
    }

    fn digests(&self, id: &BlockId) -> Result<Option<Digests>, StoreError> {
        self.index.digests(id)
    }

    fn keep_digests(&self, digests: &[(BlockId, Digests)]) -> Result<(), StoreError> {
        let _alone = self.alone();
        self.commit_alone()?;
        self.index.keep_digests(digests)
    }

    fn popularity(&self, id: &BlockId) -> Result<u8, StoreError> {
        self.index.popularity(id)
    }

    fn is_any_popular(&self) -> Result<bool, StoreError> {
        self.index.is_any_popular()
    }
}

impl Upkeep for SlabStore {
    fn mark(&self, ids: &[BlockId], mark: Mark) -> Result<(), StoreError> {
        let _alone = self.alone();
        self.commit_alone()?;
        self.index.mark(ids, mark)
    }

    fn uses(&self, id: &BlockId) -> Result<UseCount, StoreError> {
        self.index.uses(id)
    }

    fn recount(&self, expected: &HashMap<BlockId, UseCount>) -> Result<u64, StoreError> {
        let _alone = self.alone();
        self.commit_alone()?;
        self.index.recount(expected)
    }

    fn remove_unused(&self, ids: &[BlockId]) -> Result<u64, StoreError> {
        let _alone = self.alone();
        self.commit_alone()?;
        let floor = self.leases.floor();
        let mut victims = Vec::new();
        for id in ids {
            if let (Some(entry), 0) = (self.index.entry(id)?, self.index.uses(id)?.uses)
                && entry.used < floor
            {
                victims.push((*id, entry.slot));
            }
        }
        self.take_out(victims)
    }

    fn undo(&self, lease: &Lease) -> Result<u64, StoreError> {
        let _alone = self.alone();
        if !lease.is_alone() {
            return Ok(0);
        }
        // First what the index does not know: on a full disk this makes the room it needs.
        let discarded = self.fresh().discard(lease.start());
        let punched = self.files.punch(&discarded);
        self.fresh().spare.extend(&discarded);
        punched?;
        self.commit_alone()?;
        let victims = self.index.put_since(lease.start())?;
        Ok(discarded.len() as u64 + self.take_out(victims)?)
    }

    fn set_popularity(&self, told: &[(BlockId, u8)]) -> Result<(), StoreError> {
        let _alone = self.alone();
        self.commit_alone()?;
        self.index.set_popularity(told)
    }

    fn evict(&self, uses: u32, most: u64, dry: bool) -> Result<u64, StoreError> {
        let _alone = self.alone();
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        loop {
            self.commit_alone()?;
            let victims = self.index.cold(uses, self.leases.floor(), most)?;
            if dry || victims.is_empty() {
                return Ok(victims.len() as u64);
            }
            // None may be left when all were used since they were found; others are cold then.
            match self.take_out(victims)? {
                0 => {}
                evicted => return Ok(evicted),
            }
        }
    }

    fn sharing(&self) -> Result<Vec<(u32, u64)>, StoreError> {
        self.commit()?;
        self.index.sharing()
    }

    fn sketch(&self, cells: usize, most: usize) -> Result<Sketch, StoreError> {
        self.index.sketch(FOREIGN_SLOT, cells, most)
    }

    fn walk(&self, place: u64, most: usize) -> Result<Vec<(u64, BlockId)>, StoreError> {
        self.commit()?;
        self.index.from(place, most)
    }

    fn locate(&self, id: &BlockId) -> Result<Option<Located>, StoreError> {
        let entry = self.entry(id)?;
        Ok(entry.map(|entry| Located { place: entry.slot, len: u64::from(entry.len) }))
    }

    fn file_of(&self, place: u64, blocks: u64) -> Result<Option<PathBuf>, StoreError> {
        self.files.of_exactly(place, blocks)
    }

    fn damaged(&self) -> Result<Vec<BlockId>, StoreError> {
        self.index.damaged()
    }

    fn adopt(&self, pack: &Path) -> Result<u64, StoreError> {
        let pack = self.files.add_pack(pack)?;
        self.index.add_pack(&pack)?;
        let first = pack.first_slab * SLOTS_PER_SLAB;
        let mut new = 0;
        for slot in first..first + pack.blocks {
            let entry = Entry { slot, len: WHOLE, put: 0, used: 0 };
            let Some(contents) = self.files.read(entry)? else { break };
            let id = BlockId::of(&contents);
            if !self.touch(&id)? {
                let mut fresh = self.fresh();
                fresh.enter(id, entry);
                new += 1;
            }
            if self.fresh().blocks.len() >= COMMIT_WINDOW_BLOCKS {
                self.commit()?;
            }
        }
        self.commit()?;
        Ok(new)
    }
}

impl Drop for SlabStore {
    fn drop(&mut self) {
        // Whoever needs durability has committed. This is a courtesy to whoever did not.
        let _ = self.commit();
    }
}

impl Fresh {
    const fn now(&mut self) -> u64 {
        self.clock += 1;
        self.clock - 1
    }

    fn take_slot(&mut self) -> u64 {
        self.spare.pop().unwrap_or_else(|| {
            self.end += 1;
            self.searched = self.searched.max(self.end);
            self.end - 1
        })
    }

    /// Enters a block that has been written to `slot`, unless it was entered before.
    fn keep(&mut self, block: &Block, slot: u64) -> bool {
        if self.blocks.contains_key(&block.id()) {
            return false;
        }
        let len = u32::try_from(block.size().len()).unwrap_or(u32::MAX);
        self.enter(block.id(), Entry { slot, len, put: 0, used: 0 });
        self.dirty.insert(slot / SLOTS_PER_SLAB);
        true
    }

    fn enter(&mut self, id: BlockId, entry: Entry) {
        let now = self.now();
        self.blocks.insert(id, Entry { put: now, used: now, ..entry });
    }

    /// Counts a block as used now, if it is here (`known`: in the index).
    fn touch(&mut self, id: &BlockId, known: bool) -> bool {
        let now = self.now();
        if let Some(entry) = self.blocks.get_mut(id) {
            entry.used = now;
            return true;
        }
        let held = known && !self.leaving.contains(id);
        if held {
            self.touched.insert(*id, now);
        }
        held
    }

    /// Forgets the blocks put since a moment that no commit has seen: their slots.
    fn discard(&mut self, since: u64) -> Vec<u64> {
        let discarded =
            self.blocks.extract_if(|_, entry| entry.put >= since && entry.slot < FOREIGN_SLOT);
        discarded.map(|(_, entry)| entry.slot).collect()
    }

    fn is_wanted(&self, id: &BlockId) -> bool {
        self.touched.contains_key(id) || self.blocks.contains_key(id)
    }
}

#[cfg(test)]
mod tests;
