//! What a slab store knows and its index does not yet.

use std::collections::{BTreeSet, HashMap, HashSet};

use bytes::Bytes;

use crate::id::BlockId;
use crate::limits::SLOTS_PER_SLAB;
use crate::off::Block;
use crate::store::StoreError;
use crate::store::index::Entry;
use crate::store::places::Region;

/// What the index does not know yet, and where the next block goes.
#[derive(Debug)]
pub(super) struct Fresh {
    /// In their places, not yet in the index.
    pub(super) blocks: HashMap<BlockId, Entry>,
    /// The bytes of those whose place is in the index.
    pub(super) contents: HashMap<BlockId, Bytes>,
    /// In the index, used since the last commit.
    pub(super) touched: HashMap<BlockId, u64>,
    /// Being taken out: as good as gone.
    pub(super) leaving: HashSet<BlockId>,
    /// Slabs with unsynced bytes.
    pub(super) dirty: BTreeSet<u64>,
    /// The next moment.
    pub(super) clock: u64,
    native: Supply,
    legacy: Supply,
    mini: Supply,
    nano: Supply,
}

/// The places of a region where blocks can go.
#[derive(Debug)]
pub(super) struct Supply {
    /// Free places at hand.
    spare: Vec<u64>,
    /// Free places below this one have been at hand; the index may know more above.
    searched: u64,
    /// The first place never used.
    end: u64,
}

impl Fresh {
    /// Nothing yet, at a moment, when the places of each region have been used up to where `end`
    /// says.
    pub(super) fn new(
        clock: u64,
        end: impl Fn(Region) -> Result<u64, StoreError>,
    ) -> Result<Self, StoreError> {
        let supply = |region: Region| {
            let searched = region.places().start;
            Ok(Supply { spare: Vec::new(), searched, end: end(region)? })
        };
        Ok(Self {
            blocks: HashMap::new(),
            contents: HashMap::new(),
            touched: HashMap::new(),
            leaving: HashSet::new(),
            dirty: BTreeSet::new(),
            clock,
            native: supply(Region::Native)?,
            legacy: supply(Region::Legacy)?,
            mini: supply(Region::Mini)?,
            nano: supply(Region::Nano)?,
        })
    }

    /// Where the next block of a region goes. A pack takes none, and what is asked of it is asked of
    /// our own slabs.
    pub(super) const fn supply(&mut self, region: Region) -> &mut Supply {
        match region {
            Region::Native | Region::Foreign => &mut self.native,
            Region::Legacy => &mut self.legacy,
            Region::Mini => &mut self.mini,
            Region::Nano => &mut self.nano,
        }
    }

    /// Takes places back that no block has come to, as far as they are ours.
    pub(super) fn put_back(&mut self, places: &[u64]) {
        for place in places.iter().copied().filter(|place| is_ours(*place)) {
            self.supply(Region::of(place)).spare.push(place);
        }
    }

    /// Takes places back that the index knows as free. Those above where it was searched are found
    /// when the search comes to them.
    pub(super) fn take_back(&mut self, places: &[u64]) {
        for place in places.iter().copied().filter(|place| is_ours(*place)) {
            let supply = self.supply(Region::of(place));
            if place < supply.searched {
                supply.spare.push(place);
            }
        }
    }

    const fn now(&mut self) -> u64 {
        self.clock += 1;
        self.clock - 1
    }

    /// Enters a block that has been written to `slot`, or is to be kept in the index under this
    /// number, unless it was entered before.
    pub(super) fn keep(&mut self, block: &Block, slot: u64) -> bool {
        if self.blocks.contains_key(&block.id()) {
            return false;
        }
        let len = u32::try_from(block.size().len()).unwrap_or(u32::MAX);
        self.enter(block.id(), Entry { slot, len, put: 0, used: 0 });
        if Region::of(slot).in_index().is_some() {
            self.contents.insert(block.id(), block.bytes().clone());
        } else {
            self.dirty.insert(slot / SLOTS_PER_SLAB);
        }
        true
    }

    pub(super) fn enter(&mut self, id: BlockId, entry: Entry) {
        let now = self.now();
        self.blocks.insert(id, Entry { put: now, used: now, ..entry });
    }

    /// Forgets a block that the index knows now, or that is damaged.
    pub(super) fn forget(&mut self, id: &BlockId) {
        self.blocks.remove(id);
        self.contents.remove(id);
    }

    /// Counts a block as used now, if it is here (`known`: in the index).
    pub(super) fn touch(&mut self, id: &BlockId, known: bool) -> bool {
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

    /// Forgets the blocks put since a moment that no commit has seen: their places.
    pub(super) fn discard(&mut self, since: u64) -> Vec<u64> {
        let discarded =
            self.blocks.extract_if(|_, entry| entry.put >= since && is_ours(entry.slot));
        let discarded: Vec<_> = discarded.collect();
        for (id, _) in &discarded {
            self.contents.remove(id);
        }
        discarded.into_iter().map(|(_, entry)| entry.slot).collect()
    }

    pub(super) fn is_wanted(&self, id: &BlockId) -> bool {
        self.touched.contains_key(id) || self.blocks.contains_key(id)
    }
}

impl Supply {
    /// From where on free places must be looked for, up to where; `None` while there are some at
    /// hand or none to be found.
    pub(super) fn unsearched(&self) -> Option<std::ops::Range<u64>> {
        (self.spare.is_empty() && self.searched < self.end).then_some(self.searched..self.end)
    }

    /// Takes the next free places that a search has found.
    pub(super) fn found(&mut self, places: Vec<u64>) {
        self.searched = places.last().map_or(self.end, |last| last + 1);
        self.spare = places;
    }

    /// A free place, or one that was never used.
    pub(super) fn take(&mut self) -> u64 {
        self.spare.pop().unwrap_or_else(|| {
            self.end += 1;
            self.searched = self.searched.max(self.end);
            self.end - 1
        })
    }
}

fn is_ours(place: u64) -> bool {
    Region::of(place) != Region::Foreign
}
