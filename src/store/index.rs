//! The index of a slab store: which block is in which slot.
//!
//! One redb database, four tables, each change a single two-phase transaction (blocks are
//! somebody else's data, so a checksum alone must not be trusted to pick the right root):
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | `"format"` | version of this layout, 1 |
//! | `meta` | `"seq"` | sequence number of the next put |
//! | `blocks` | block id, 32 bytes | slot number, bytes of the block, sequence number |
//! | `slots` | slot number | block id |
//! | `damaged` | block id | slot number, which is not used again |
//!
//! Slot `n` is the `n % 1024`-th of slab `n / 1024`. The sequence number counts puts over the
//! life of the store; it tells a draw which blocks came after it began. A slot below the highest
//! used one that is in neither table is free.

use redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageBackend,
    TableDefinition, TableError,
};

use crate::id::BlockId;
use crate::limits::INDEX_CACHE_LEN;

use super::{DiskFile, StoreError};
use std::io;
use std::sync::Arc;

const FORMAT: u64 = 1;
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const BLOCKS: TableDefinition<&[u8; 32], (u64, u32, u64)> = TableDefinition::new("blocks");
const SLOTS: TableDefinition<u64, &[u8; 32]> = TableDefinition::new("slots");
const DAMAGED: TableDefinition<&[u8; 32], u64> = TableDefinition::new("damaged");

/// Where a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Slot number over all slabs.
    pub(super) slot: u64,
    /// Bytes of the block.
    pub(super) len: u32,
    /// When it was put, counted in puts.
    pub(super) seq: u64,
}

#[derive(Debug)]
pub(super) struct Index(Database);

impl Index {
    /// Opens or creates the index in `file`.
    pub(super) fn open(file: Arc<dyn DiskFile>) -> Result<Self, StoreError> {
        let database = Database::builder()
            .set_cache_size(INDEX_CACHE_LEN)
            .create_with_backend(Backend(file))
            .map_err(failed("open"))?;
        let index = Self(database);
        index.check_format()?;
        Ok(index)
    }

    fn check_format(&self) -> Result<(), StoreError> {
        // A store that is there is not written to: on a full disk it can still be read.
        match self.format()? {
            None => self.write("create", |tables| {
                tables.meta.insert("format", FORMAT)?;
                Ok(())
            }),
            Some(found) if found > FORMAT => Err(StoreError::Version { found, known: FORMAT }),
            Some(_) => Ok(()),
        }
    }

    /// The format on disk; `None` if nothing was written yet.
    fn format(&self) -> Result<Option<u64>, StoreError> {
        self.read(|transaction| match transaction.open_table(META) {
            Ok(meta) => Ok(meta.get("format")?.map(|value| value.value())),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        })
    }

    pub(super) fn entry(&self, id: &BlockId) -> Result<Option<Entry>, StoreError> {
        self.read(|transaction| {
            let found = transaction.open_table(BLOCKS)?.get(id.as_bytes())?;
            Ok(found.map(|value| entry(value.value())))
        })
    }

    pub(super) fn is_damaged(&self, id: &BlockId) -> Result<bool, StoreError> {
        self.read(|transaction| Ok(transaction.open_table(DAMAGED)?.get(id.as_bytes())?.is_some()))
    }

    /// The block in a slot, with its entry; `None` if the slot is free.
    pub(super) fn at(&self, slot: u64) -> Result<Option<(BlockId, Entry)>, StoreError> {
        self.read(|transaction| {
            let Some(id) = transaction.open_table(SLOTS)?.get(slot)?.map(|id| *id.value()) else {
                return Ok(None);
            };
            let found = transaction.open_table(BLOCKS)?.get(&id)?;
            Ok(found.map(|value| (BlockId::from_bytes(id), entry(value.value()))))
        })
    }

    /// One more than the highest slot that is or was in use.
    pub(super) fn end(&self) -> Result<u64, StoreError> {
        self.read(|transaction| {
            let used =
                transaction.open_table(SLOTS)?.last()?.map_or(0, |(slot, _)| slot.value() + 1);
            let mut end = used;
            for bad in transaction.open_table(DAMAGED)?.iter()? {
                end = end.max(bad?.1.value() + 1);
            }
            Ok(end)
        })
    }

    /// The sequence number of the next put.
    pub(super) fn next_seq(&self) -> Result<u64, StoreError> {
        self.read(|transaction| {
            Ok(transaction.open_table(META)?.get("seq")?.map_or(0, |seq| seq.value()))
        })
    }

    /// Blocks held and blocks damaged.
    pub(super) fn counts(&self) -> Result<(u64, u64), StoreError> {
        self.read(|transaction| {
            let blocks = transaction.open_table(BLOCKS)?.len()?;
            Ok((blocks, transaction.open_table(DAMAGED)?.len()?))
        })
    }

    /// Adds blocks, all or none. A damaged block that is added is damaged no longer.
    pub(super) fn add(&self, added: &[(BlockId, Entry)]) -> Result<(), StoreError> {
        let next_seq = added.iter().map(|(_, entry)| entry.seq + 1).max().unwrap_or(0);
        self.write("extend", |tables| {
            let seq = tables.meta.get("seq")?.map_or(0, |seq| seq.value());
            tables.meta.insert("seq", seq.max(next_seq))?;
            for (id, Entry { slot, len, seq }) in added {
                tables.blocks.insert(id.as_bytes(), (*slot, *len, *seq))?;
                tables.slots.insert(slot, id.as_bytes())?;
                tables.damaged.remove(id.as_bytes())?;
            }
            Ok(())
        })
    }

    /// Takes a block out whose slot does not hold it any more. `false` if the block is elsewhere.
    pub(super) fn quarantine(&self, id: &BlockId, slot: u64) -> Result<bool, StoreError> {
        self.write("quarantine a block in", |tables| {
            let there = tables.blocks.get(id.as_bytes())?.is_some_and(|e| e.value().0 == slot);
            if there {
                tables.blocks.remove(id.as_bytes())?;
                tables.slots.remove(slot)?;
                tables.damaged.insert(id.as_bytes(), slot)?;
            }
            Ok(there)
        })
    }

    fn read<T>(
        &self,
        look: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let transaction = self.0.begin_read().map_err(failed("read"))?;
        look(&transaction).map_err(failed("read"))
    }

    fn write<T>(
        &self,
        attempt: &'static str,
        change: impl FnOnce(&mut Tables<'_>) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let failed = failed(attempt);
        let mut transaction = self.0.begin_write().map_err(|e| failed(e.into()))?;
        // Two-phase commits, and the allocator's state saved with each: reopening after a crash
        // takes milliseconds, whatever the size.
        transaction.set_quick_repair(true);
        let done = Tables::open(&transaction).and_then(|mut tables| change(&mut tables));
        let done = done.map_err(&failed)?;
        transaction.commit().map_err(|e| failed(e.into()))?;
        Ok(done)
    }
}

struct Tables<'t> {
    meta: redb::Table<'t, &'static str, u64>,
    blocks: redb::Table<'t, &'static [u8; 32], (u64, u32, u64)>,
    slots: redb::Table<'t, u64, &'static [u8; 32]>,
    damaged: redb::Table<'t, &'static [u8; 32], u64>,
}

impl<'t> Tables<'t> {
    fn open(transaction: &'t redb::WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            meta: transaction.open_table(META)?,
            blocks: transaction.open_table(BLOCKS)?,
            slots: transaction.open_table(SLOTS)?,
            damaged: transaction.open_table(DAMAGED)?,
        })
    }
}

const fn entry((slot, len, seq): (u64, u32, u64)) -> Entry {
    Entry { slot, len, seq }
}

fn failed<E: Into<redb::Error>>(attempt: &'static str) -> impl Fn(E) -> StoreError {
    move |error| StoreError::Index { attempt, source: Box::new(error.into()) }
}

/// A file of ours as redb wants it.
#[derive(Debug)]
struct Backend(Arc<dyn DiskFile>);

impl StorageBackend for Backend {
    fn len(&self) -> Result<u64, io::Error> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.0.read_at(out, offset)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.0.write_at(data, offset)
    }
}
