//! What is looked up in the index.

use std::ops::Range;

use bytes::Bytes;
use redb::{ReadableTable, ReadableTableMetadata};

use crate::id::BlockId;
use crate::off::BlockSize;
use crate::store::places::Region;
use crate::store::{StoreError, UseCount};

use super::{
    BLOCKS, COLD, Counts, DAMAGED, Entry, FREE, Index, META, MINI, Most, NANO, SLOTS, USES, entry,
};

impl Index {
    pub(in crate::store) fn entry(&self, id: &BlockId) -> Result<Option<Entry>, StoreError> {
        self.read(|transaction| {
            let found = transaction.open_table(BLOCKS)?.get(id.as_bytes())?;
            Ok(found.map(|value| entry(value.value())))
        })
    }

    pub(in crate::store) fn is_damaged(&self, id: &BlockId) -> Result<bool, StoreError> {
        self.read(|transaction| Ok(transaction.open_table(DAMAGED)?.get(id.as_bytes())?.is_some()))
    }

    /// All blocks in quarantine.
    pub(in crate::store) fn damaged(&self) -> Result<Vec<BlockId>, StoreError> {
        self.read(|transaction| {
            let damaged = transaction.open_table(DAMAGED)?;
            damaged.iter()?.map(|item| Ok(BlockId::from_bytes(*item?.0.value()))).collect()
        })
    }

    pub(in crate::store) fn uses(&self, id: &BlockId) -> Result<UseCount, StoreError> {
        self.read(|transaction| {
            let found = transaction.open_table(USES)?.get(id.as_bytes())?;
            let (uses, pins) = found.map_or((0, 0), |value| value.value());
            Ok(UseCount { uses, pins })
        })
    }

    /// The block in a slot, with its entry; `None` if the slot is free.
    pub(in crate::store) fn at(&self, slot: u64) -> Result<Option<(BlockId, Entry)>, StoreError> {
        self.read(|transaction| {
            let Some(id) = transaction.open_table(SLOTS)?.get(slot)?.map(|id| *id.value()) else {
                return Ok(None);
            };
            let found = transaction.open_table(BLOCKS)?.get(&id)?;
            Ok(found.map(|value| (BlockId::from_bytes(id), entry(value.value()))))
        })
    }

    /// Up to `most` blocks in the order of their slots, from `slot` on.
    pub(in crate::store) fn from(
        &self,
        slot: u64,
        most: usize,
    ) -> Result<Vec<(u64, BlockId)>, StoreError> {
        self.read(|transaction| {
            let slots = transaction.open_table(SLOTS)?;
            let mut found = Vec::new();
            for item in slots.range(slot..)?.take(most) {
                let (slot, id) = item?;
                found.push((slot.value(), BlockId::from_bytes(*id.value())));
            }
            Ok(found)
        })
    }

    /// One more than the highest place in a region that is or was in use.
    pub(in crate::store) fn end(&self, region: Region) -> Result<u64, StoreError> {
        let places = region.places();
        self.read(|transaction| {
            let slots = transaction.open_table(SLOTS)?;
            let used = slots.range(places.clone())?.next_back().transpose()?;
            let free = transaction.open_table(FREE)?;
            let free = free.range(places.clone())?.next_back().transpose()?;
            let last = used.map(|item| item.0.value()).max(free.map(|item| item.0.value()));
            let mut end = last.map_or(places.start, |last| last + 1);
            for bad in transaction.open_table(DAMAGED)?.iter()? {
                let place = bad?.1.value();
                if places.contains(&place) {
                    end = end.max(place + 1);
                }
            }
            Ok(end)
        })
    }

    /// The next moment.
    pub(in crate::store) fn clock(&self) -> Result<u64, StoreError> {
        self.read(|transaction| {
            Ok(transaction.open_table(META)?.get("clock")?.map_or(0, |clock| clock.value()))
        })
    }

    /// Up to `most` free places in a range.
    pub(in crate::store) fn free(
        &self,
        places: Range<u64>,
        most: usize,
    ) -> Result<Vec<u64>, StoreError> {
        self.read(|transaction| {
            let free = transaction.open_table(FREE)?;
            free.range(places)?.take(most).map(|item| Ok(item?.0.value())).collect()
        })
    }

    /// Blocks held and blocks damaged.
    pub(in crate::store) fn counts(&self) -> Result<Counts, StoreError> {
        self.read(|transaction| {
            Ok(Counts {
                blocks: transaction.open_table(BLOCKS)?.len()?,
                mini: transaction.open_table(MINI)?.len()?,
                nano: transaction.open_table(NANO)?.len()?,
                damaged: transaction.open_table(DAMAGED)?.len()?,
            })
        })
    }

    /// The bytes of a block that is kept in the index.
    pub(in crate::store) fn contents(
        &self,
        id: &BlockId,
        size: BlockSize,
    ) -> Result<Option<Bytes>, StoreError> {
        let table = if size == BlockSize::LegacyMini { MINI } else { NANO };
        self.read(|transaction| {
            let found = transaction.open_table(table)?.get(id.as_bytes())?;
            Ok(found.map(|value| Bytes::copy_from_slice(value.value())))
        })
    }

    /// How many blocks are used by how many URLs: pairs of (uses, blocks).
    pub(in crate::store) fn sharing(&self) -> Result<Vec<(u32, u64)>, StoreError> {
        self.read(|transaction| {
            let blocks = transaction.open_table(BLOCKS)?;
            let mut counts = std::collections::BTreeMap::new();
            let mut shared = 0;
            for item in transaction.open_table(USES)?.iter()? {
                let (id, count) = item?;
                if count.value().0 > 0 && blocks.get(id.value())?.is_some() {
                    *counts.entry(count.value().0).or_insert(0) += 1;
                    shared += 1;
                }
            }
            let unused = blocks.len()? - shared;
            Ok((unused > 0).then_some((0, unused)).into_iter().chain(counts).collect())
        })
    }

    /// Blocks put since a moment that no URL uses, with their slots. This looks at all blocks.
    pub(in crate::store) fn put_since(
        &self,
        moment: u64,
    ) -> Result<Vec<(BlockId, u64)>, StoreError> {
        self.read(|transaction| {
            let uses = transaction.open_table(USES)?;
            let mut found = Vec::new();
            for item in transaction.open_table(BLOCKS)?.iter()? {
                let (id, value) = item?;
                let entry = entry(value.value());
                if entry.put >= moment && uses.get(id.value())?.is_none() {
                    found.push((BlockId::from_bytes(*id.value()), entry.slot));
                }
            }
            Ok(found)
        })
    }

    /// Blocks in the order of eviction: those used by at most `uses` URLs, last used before
    /// `moment`, with their places. `room` tells how many bytes a block in a place takes.
    pub(in crate::store) fn cold(
        &self,
        uses: u32,
        moment: u64,
        most: Most,
        room: &dyn Fn(u64) -> u64,
    ) -> Result<Vec<(BlockId, u64)>, StoreError> {
        self.read(|transaction| {
            let slots = transaction.open_table(SLOTS)?;
            let (mut found, mut bytes) = (Vec::new(), 0);
            for item in
                transaction.open_table(COLD)?.range(..=(uses, u8::MAX, u64::MAX, u64::MAX))?
            {
                let (.., last, slot) = item?.0.value();
                let is_enough = match most {
                    Most::Blocks(most) => found.len() as u64 >= most,
                    Most::Bytes(most) => bytes >= most,
                };
                if is_enough {
                    break;
                }
                if let (true, Some(id)) = (last < moment, slots.get(slot)?) {
                    found.push((BlockId::from_bytes(*id.value()), slot));
                    bytes += room(slot);
                }
            }
            Ok(found)
        })
    }
}
