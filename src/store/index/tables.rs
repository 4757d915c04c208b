//! The tables of the index while a transaction changes them together.

use redb::ReadableTable;

use crate::id::BlockId;
use crate::store::UseCount;
use crate::store::places::Region;

use super::{
    BLOCKS, COLD, DAMAGED, DIGESTS, Entry, FREE, META, MINI, NANO, NO_USE, PACKS, POPULAR, SLOTS,
    USES, entry,
};

/// All tables, open for writing.
pub(super) struct Tables<'t> {
    pub(super) meta: redb::Table<'t, &'static str, u64>,
    pub(super) blocks: redb::Table<'t, &'static [u8; 32], (u64, u32, u64, u64)>,
    pub(super) mini: redb::Table<'t, &'static [u8; 32], &'static [u8]>,
    pub(super) nano: redb::Table<'t, &'static [u8; 32], &'static [u8]>,
    pub(super) slots: redb::Table<'t, u64, &'static [u8; 32]>,
    pub(super) free: redb::Table<'t, u64, ()>,
    pub(super) uses: redb::Table<'t, &'static [u8; 32], (u32, u32)>,
    pub(super) popular: redb::Table<'t, &'static [u8; 32], u8>,
    pub(super) cold: redb::Table<'t, (u32, u8, u64, u64), ()>,
    pub(super) damaged: redb::Table<'t, &'static [u8; 32], u64>,
    pub(super) digests: redb::Table<'t, &'static [u8; 32], &'static [u8; 60]>,
    pub(super) packs: redb::Table<'t, u64, (&'static str, u64)>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t redb::WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            meta: transaction.open_table(META)?,
            blocks: transaction.open_table(BLOCKS)?,
            mini: transaction.open_table(MINI)?,
            nano: transaction.open_table(NANO)?,
            slots: transaction.open_table(SLOTS)?,
            free: transaction.open_table(FREE)?,
            uses: transaction.open_table(USES)?,
            popular: transaction.open_table(POPULAR)?,
            cold: transaction.open_table(COLD)?,
            damaged: transaction.open_table(DAMAGED)?,
            digests: transaction.open_table(DIGESTS)?,
            packs: transaction.open_table(PACKS)?,
        })
    }

    pub(super) fn uses(&self, id: &BlockId) -> Result<UseCount, redb::Error> {
        let found = self.uses.get(id.as_bytes())?.map_or((0, 0), |value| value.value());
        Ok(UseCount { uses: found.0, pins: found.1 })
    }

    pub(super) fn set_uses(&mut self, id: &BlockId, count: UseCount) -> Result<(), redb::Error> {
        if count == NO_USE {
            self.uses.remove(id.as_bytes())?;
        } else {
            self.uses.insert(id.as_bytes(), (count.uses, count.pins))?;
        }
        Ok(())
    }

    pub(super) fn popularity(&self, id: &BlockId) -> Result<u8, redb::Error> {
        Ok(self.popular.get(id.as_bytes())?.map_or(0, |value| value.value()))
    }

    pub(super) fn is_at(&self, id: &BlockId, slot: u64) -> Result<bool, redb::Error> {
        Ok(self.blocks.get(id.as_bytes())?.is_some_and(|value| value.value().0 == slot))
    }

    /// Enters a block in all tables that list blocks which are here.
    pub(super) fn enter(&mut self, id: &BlockId, entry: Entry) -> Result<(), redb::Error> {
        let Entry { slot, len, put, used } = entry;
        self.blocks.insert(id.as_bytes(), (slot, len, put, used))?;
        self.slots.insert(slot, id.as_bytes())?;
        self.free.remove(slot)?;
        let UseCount { uses, pins } = self.uses(id)?;
        if pins == 0 {
            self.cold.insert((uses, self.popularity(id)?, used, slot), ())?;
        }
        Ok(())
    }

    /// Strikes a block out of the tables that list blocks which are here. What is remembered about
    /// it stays for when it is entered again in the same transaction.
    pub(super) fn forget(&mut self, id: &BlockId) -> Result<Option<Entry>, redb::Error> {
        let Some(entry) = self.blocks.remove(id.as_bytes())?.map(|value| entry(value.value()))
        else {
            return Ok(None);
        };
        self.slots.remove(entry.slot)?;
        let rank = (self.uses(id)?.uses, self.popularity(id)?, entry.used, entry.slot);
        self.cold.remove(rank)?;
        Ok(Some(entry))
    }

    /// Keeps the bytes of a block whose place is in the index.
    pub(super) fn keep(
        &mut self,
        id: &BlockId,
        entry: Entry,
        contents: &[u8],
    ) -> Result<(), redb::Error> {
        match Region::of(entry.slot) {
            Region::Mini => self.mini.insert(id.as_bytes(), contents)?,
            Region::Nano => self.nano.insert(id.as_bytes(), contents)?,
            Region::Native | Region::Foreign | Region::Legacy => return Ok(()),
        };
        Ok(())
    }

    /// Forgets a block that is here no longer, its bytes if they are in the index, and what was
    /// remembered about it but its uses.
    pub(super) fn lose(&mut self, id: &BlockId) -> Result<(), redb::Error> {
        self.forget(id)?;
        self.mini.remove(id.as_bytes())?;
        self.nano.remove(id.as_bytes())?;
        self.digests.remove(id.as_bytes())?;
        self.popular.remove(id.as_bytes())?;
        Ok(())
    }
}
