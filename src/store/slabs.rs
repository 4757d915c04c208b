//! Blocks on disk: a slab allocator.
//!
//! Native blocks have one size, so a store is files of fixed 128 KiB slots, 1,024 slots a file, an
//! index from id to slot (`index.rs`) and nothing else: no header inside a slab, no
//! compaction. Of js-offs's blocks the large ones take a slot each in slabs of their own, and the short
//! ones are kept in the index. Measured behind a BitTorrent client: packed slots 160-200 MB/s, a file per block 80-118.
//!
//! ```text
//! <folder>/index.redb
//! <folder>/000000.slab    slots 0 to 1023, block i at byte i * 131072
//! <folder>/000001.slab
//! <folder>/000000.128000.slab
//! ```
//!
//! Durability: a commit syncs the slabs first and the index after them, so an index entry always
//! points to bytes that are on disk. A block that is taken out leaves the index first; then its
//! slot is punched out of the file and used again. A crash leaves at most slots that nothing
//! points to; those are free. Every read is verified, because disks lie.

mod fresh;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::id::BlockId;
use crate::limits::{
    BLOCK_LEN, COMMIT_WINDOW_BLOCKS, FREE_SLOTS_AT_ONCE, SLOTS_PER_SLAB, TOUCH_WINDOW,
};
use crate::off::{Block, BlockSize, Carriage};

use super::files::Files;
use super::index::{Counts, Entry, Index, Most};
use super::lease::Leases;
use super::places::Region;
use super::shuffle::Shuffled;
use super::{
    BlockStore, Digests, Disk, Draws, Lease, Located, Mark, Presence, Removed, Sketch, StoreCensus,
    StoreError, Upkeep, UseCount, room_of,
};
use fresh::Fresh;

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
        let fresh = Mutex::new(Fresh::new(index.clock()?, |region| index.end(region))?);
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

    /// Where a block goes. Slabs are made for one size, whichever the slots have.
    fn region(&self, size: BlockSize) -> Region {
        let is_whole = size.len() as u64 == self.files.slot_len();
        if is_whole { Region::Native } else { Region::of_size(size) }
    }

    fn free_place(&self, region: Region) -> Result<u64, StoreError> {
        let mut fresh = self.fresh();
        let supply = fresh.supply(region);
        if let Some(unsearched) = supply.unsearched() {
            supply.found(self.index.free(unsearched, FREE_SLOTS_AT_ONCE)?);
        }
        Ok(supply.take())
    }

    /// What a block in a place takes of a limit.
    fn room(&self, place: u64) -> u64 {
        Region::of(place).in_index().map_or(self.files.slot_len(), room_of)
    }

    fn removed(&self, places: &[u64]) -> Removed {
        let bytes = places.iter().map(|place| self.room(*place)).sum();
        Removed { blocks: places.len() as u64, bytes }
    }

    /// The bytes in a place; `None` if they are not there.
    fn read(&self, id: &BlockId, entry: Entry) -> Result<Option<Bytes>, StoreError> {
        let Some(size) = Region::of(entry.slot).in_index() else { return self.files.read(entry) };
        // The order matters, as for the entry.
        let fresh = self.fresh().contents.get(id).cloned();
        if fresh.is_some() { Ok(fresh) } else { self.index.contents(id, size) }
    }

    fn commit_alone(&self) -> Result<(), StoreError> {
        let (added, contents, used, dirty, clock) = {
            let mut fresh = self.fresh();
            let added: Vec<_> = fresh.blocks.iter().map(|(id, entry)| (*id, *entry)).collect();
            let (contents, used) = (fresh.contents.clone(), fresh.touched.clone());
            (added, contents, used, std::mem::take(&mut fresh.dirty), fresh.clock)
        };
        if added.is_empty() && used.is_empty() {
            return Ok(());
        }
        let synced = if dirty.is_empty() { Ok(()) } else { self.files.sync(&dirty) };
        let done = synced.and_then(|()| self.index.add(&added, &contents, &used, clock));
        let mut fresh = self.fresh();
        if done.is_err() {
            fresh.dirty.extend(dirty);
            return done;
        }
        for (id, _) in &added {
            fresh.forget(id);
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

    /// Takes blocks out of the places given, unless somebody has used them meanwhile.
    fn take_out(&self, mut victims: Vec<(BlockId, u64)>) -> Result<Removed, StoreError> {
        {
            let mut fresh = self.fresh();
            victims.retain(|(id, _)| !fresh.is_wanted(id));
            fresh.leaving = victims.iter().map(|(id, _)| *id).collect();
        }
        let freed = self.index.remove(&victims);
        let mut fresh = self.fresh();
        fresh.leaving.clear();
        let freed = freed?;
        drop(fresh);
        let punched = self.files.punch(&freed);
        self.fresh().take_back(&freed);
        punched.map(|()| self.removed(&freed))
    }

    /// Takes out the blocks that are needed least.
    fn take_coldest(&self, uses: u32, dry: bool, most: Most) -> Result<Removed, StoreError> {
        let _alone = self.alone();
        loop {
            self.commit_alone()?;
            let floor = self.leases.floor();
            let victims = self.index.cold(uses, floor, most, &|place| self.room(place))?;
            if dry || victims.is_empty() {
                let places: Vec<u64> = victims.iter().map(|(_, place)| *place).collect();
                return Ok(self.removed(&places));
            }
            // None may be left when all were used since they were found; others are cold then.
            let removed = self.take_out(victims)?;
            if removed.blocks > 0 {
                return Ok(removed);
            }
        }
    }

    /// Whether a block whose bytes are wrong really is damaged: it may have been taken out while
    /// it was read, and its slot given to another.
    fn quarantine(&self, id: &BlockId, entry: Entry) -> Result<bool, StoreError> {
        let was_fresh = {
            let mut fresh = self.fresh();
            let there = fresh.blocks.get(id) == Some(&entry);
            if there {
                fresh.forget(id);
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
        let region = self.region(block.size());
        let slot = self.free_place(region)?;
        let is_in_file = region.in_index().is_none();
        let written = if is_in_file { self.files.write(slot, block.contents()) } else { Ok(()) };
        if let Err(error) = written {
            self.fresh().put_back(&[slot]);
            return Err(error);
        }
        // Another thread may have been faster, and may even have committed; looked up under the
        // lock, because a block that is being taken out leaves the index at any moment.
        let mut fresh = self.fresh();
        let known = self.index.entry(&block.id())?.is_some();
        let new = (!known || fresh.leaving.contains(&block.id())) && fresh.keep(block, slot);
        if !new {
            fresh.put_back(&[slot]);
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
        let contents = self.read(id, entry)?;
        match contents.map(|contents| Block::check(*id, contents)) {
            Some(Ok(block)) => Ok(Some(block)),
            Some(Err(_)) | None if self.quarantine(id, entry)? => {
                let (place, bytes) = (self.files.describe(entry.slot), self.room(entry.slot));
                Err(StoreError::Damaged { id: *id, place, bytes })
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

    fn draws(&self, size: BlockSize, seed: u64) -> Result<Draws<'_>, StoreError> {
        self.commit()?;
        let region = self.region(size);
        let (first, len) = (region.places().start, size.len());
        let (end, now) = (self.index.end(region)?, self.fresh().clock);
        let older = move |number| match self.index.at(first + number) {
            Ok(Some((id, entry))) if entry.put < now && entry.len as usize == len => Some(Ok(id)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        };
        Ok(Box::new(Shuffled::new(end - first, seed).filter_map(older)))
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
        let Counts { blocks, mini, nano, damaged } = self.index.counts()?;
        let in_index =
            mini * room_of(BlockSize::LegacyMini) + nano * room_of(BlockSize::LegacyNano);
        let bytes = (blocks - mini - nano) * self.files.slot_len() + in_index;
        Ok(StoreCensus { blocks, bytes, damaged })
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

    fn remove_unused(&self, ids: &[BlockId]) -> Result<Removed, StoreError> {
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

    fn undo(&self, lease: &Lease) -> Result<Removed, StoreError> {
        let _alone = self.alone();
        if !lease.is_alone() {
            return Ok(Removed::default());
        }
        // First what the index does not know: on a full disk this makes the room it needs.
        let discarded = self.fresh().discard(lease.start());
        let punched = self.files.punch(&discarded);
        self.fresh().put_back(&discarded);
        punched?;
        self.commit_alone()?;
        let victims = self.index.put_since(lease.start())?;
        let mut removed = self.removed(&discarded);
        removed += self.take_out(victims)?;
        Ok(removed)
    }

    fn set_popularity(&self, told: &[(BlockId, u8)]) -> Result<(), StoreError> {
        let _alone = self.alone();
        self.commit_alone()?;
        self.index.set_popularity(told)
    }

    fn evict(&self, uses: u32, most: u64, dry: bool) -> Result<Removed, StoreError> {
        self.take_coldest(uses, dry, Most::Blocks(most))
    }

    fn make_room(&self, bytes: u64) -> Result<Removed, StoreError> {
        self.take_coldest(u32::MAX, false, Most::Bytes(bytes))
    }

    fn sharing(&self) -> Result<Vec<(u32, u64)>, StoreError> {
        self.commit()?;
        self.index.sharing()
    }

    fn sketch(&self, cells: usize, most: usize) -> Result<Sketch, StoreError> {
        self.index.sketch(cells, most)
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
            // A block of js-offs is read without what fills up its slot.
            let (id, len) = match Carriage::found_in(&contents).unload(&contents) {
                Ok(block) => (block.id(), block.size().len()),
                Err(_) => break,
            };
            let entry = Entry { len: u32::try_from(len).unwrap_or(WHOLE), ..entry };
            if !self.touch(&id)? {
                self.fresh().enter(id, entry);
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

#[cfg(test)]
mod tests;
