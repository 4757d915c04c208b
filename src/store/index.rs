//! The index of a slab store: which block is in which place, and how much it is needed; and short
//! blocks themselves.
//!
//! One redb database; each change is a single two-phase transaction (blocks are somebody else's
//! data, so a checksum alone must not be trusted to pick the right root):
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | `"format"` | version of this layout, 3 |
//! | `meta` | `"clock"` | the next moment |
//! | `blocks` | block id, 32 bytes | place, bytes of the block, when put, when used last |
//! | `mini`, `nano` | block id | the 1,000 or 136 bytes of a short block |
//! | `slots` | place | block id |
//! | `free` | place | nothing: it was used once and is free |
//! | `uses` | block id | how many URLs use the block, how many of them are pinned |
//! | `popular` | block id | how popular a block is that is here; 0 is left out |
//! | `cold` | uses, popularity, when used last, place | nothing: blocks in the order of eviction |
//! | `damaged` | block id | place, which is not used again |
//! | `digests` | block id | SHA-1 and Merkle root of a block that is here, 8 bytes of SHA-256 over all |
//! | `packs` | number of the first slab | path and blocks of a pack that is read in place |
//!
//! Places are numbers (`places.rs`): slot `n` is the `n % 1024`-th of slab `n / 1024`, and short blocks
//! have numbers of which no slab is long enough. Moments count puts and uses over the life of
//! the store; no clock is read. `uses` holds for blocks that are not here as well, so that one
//! that comes back is worth what it was. Pinned blocks are not in `cold`.
//!
//! Format 2 had no `mini` and `nano`; format 1 had no `popular` either, and keys of `cold` without it.
//! An index of an older format is brought to this one when it is opened (`migration.rs`).

mod backend;
mod digests;
mod migration;
mod popularity;
mod reading;
mod sketch;
mod tables;

use bytes::Bytes;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};

use backend::Backend;
use tables::Tables;

use crate::id::BlockId;
use crate::limits::INDEX_CACHE_LEN;

use super::places::{Region, first_slab_names};
use super::{Disk, DiskFile, Mark, StoreError, UseCount};
use std::collections::HashMap;
use std::sync::Arc;

const NAME: &str = "index.redb";
const NEW_NAME: &str = "index.redb.new";
const FORMAT: u64 = 3;
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const BLOCKS: TableDefinition<&[u8; 32], (u64, u32, u64, u64)> = TableDefinition::new("blocks");
const MINI: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("mini");
const NANO: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("nano");
const SLOTS: TableDefinition<u64, &[u8; 32]> = TableDefinition::new("slots");
const FREE: TableDefinition<u64, ()> = TableDefinition::new("free");
const USES: TableDefinition<&[u8; 32], (u32, u32)> = TableDefinition::new("uses");
const POPULAR: TableDefinition<&[u8; 32], u8> = TableDefinition::new("popular");
const COLD: TableDefinition<(u32, u8, u64, u64), ()> = TableDefinition::new("cold");
const DAMAGED: TableDefinition<&[u8; 32], u64> = TableDefinition::new("damaged");
const DIGESTS: TableDefinition<&[u8; 32], &[u8; 60]> = TableDefinition::new("digests");
const PACKS: TableDefinition<u64, (&str, u64)> = TableDefinition::new("packs");

const NO_USE: UseCount = UseCount { uses: 0, pins: 0 };

/// Where a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Slot number over all slabs.
    pub(super) slot: u64,
    /// Bytes of the block.
    pub(super) len: u32,
    /// When it was put.
    pub(super) put: u64,
    /// When it was used last.
    pub(super) used: u64,
}

/// A pack that is read in place: its slabs have numbers of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pack {
    pub(super) first_slab: u64,
    pub(super) path: String,
    pub(super) blocks: u64,
}

#[derive(Debug)]
pub(super) struct Index(Database);

/// How much is taken out at once.
#[derive(Debug, Clone, Copy)]
pub(super) enum Most {
    /// So many blocks.
    Blocks(u64),
    /// Blocks that make so many bytes of room.
    Bytes(u64),
}

/// How many blocks there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) blocks: u64,
    /// Of these the ones of 1,000 bytes that are kept here.
    pub(super) mini: u64,
    /// Of these the ones of 136 bytes that are kept here.
    pub(super) nano: u64,
    pub(super) damaged: u64,
}

impl Index {
    /// Opens the index on `disk`, and creates it if there is none.
    ///
    /// redb does not create its file all at once, and a crash on the way would leave one that does
    /// not open. So a new index gets its name when it is whole.
    pub(super) fn open(disk: &dyn Disk) -> Result<Self, StoreError> {
        let io = |attempt| {
            let path = disk.path(NAME);
            move |source| StoreError::Io { attempt, path, source }
        };
        if !disk.exists(NAME).map_err(io("look for"))? {
            for slab in first_slab_names() {
                if disk.exists(&slab).map_err(io("look for"))? {
                    return Err(StoreError::Lost { path: disk.path(NAME) });
                }
            }
            let file = disk.open(NEW_NAME).map_err(io("create"))?;
            file.set_len(0).map_err(io("create"))?;
            drop(Self::in_file(Arc::clone(&file))?);
            file.sync().map_err(io("sync"))?;
            disk.rename(NEW_NAME, NAME).map_err(io("create"))?;
            disk.sync_names().map_err(io("sync the folder of"))?;
        }
        let file = disk.open(NAME).map_err(io("open"))?;
        if file.is_empty().map_err(io("look at"))? {
            // redb would make a new one of it, and new blocks would overwrite the old ones.
            return Err(StoreError::Lost { path: disk.path(NAME) });
        }
        Self::in_file(file)
    }

    fn in_file(file: Arc<dyn DiskFile>) -> Result<Self, StoreError> {
        let database = Database::builder()
            .set_cache_size(INDEX_CACHE_LEN)
            .create_with_backend(Backend(file))
            .map_err(failed("open"))?;
        let index = Self(database);
        index.check_format()?;
        Ok(index)
    }

    fn check_format(&self) -> Result<(), StoreError> {
        // A store of this format is not written to: on a full disk it can still be read.
        match self.format()? {
            None => self.write("create", |tables| {
                tables.meta.insert("format", FORMAT)?;
                Ok(())
            }),
            Some(found) if found > FORMAT => Err(StoreError::Version { found, known: FORMAT }),
            Some(FORMAT) => Ok(()),
            Some(found) => self.migrate(found),
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

    /// Adds blocks, with the contents of those that are kept here, and enters uses, all or none. A
    /// damaged block that is added is damaged no longer.
    pub(super) fn add(
        &self,
        added: &[(BlockId, Entry)],
        contents: &HashMap<BlockId, Bytes>,
        used: &HashMap<BlockId, u64>,
        clock: u64,
    ) -> Result<(), StoreError> {
        self.write("extend", |tables| {
            tables.meta.insert("clock", clock)?;
            for (id, entry) in added {
                tables.forget(id)?;
                tables.enter(id, *entry)?;
                tables.damaged.remove(id.as_bytes())?;
                if let Some(contents) = contents.get(id) {
                    tables.keep(id, *entry, contents)?;
                }
            }
            for (id, moment) in used {
                if let Some(entry) = tables.forget(id)? {
                    tables.enter(id, Entry { used: entry.used.max(*moment), ..entry })?;
                }
            }
            Ok(())
        })
    }

    /// Changes what blocks are worth.
    pub(super) fn mark(&self, ids: &[BlockId], mark: Mark) -> Result<(), StoreError> {
        self.write("mark blocks in", |tables| {
            for id in ids {
                let entry = tables.forget(id)?;
                let UseCount { uses, pins } = tables.uses(id)?;
                let uses = uses.saturating_add_signed(mark.uses);
                let pins = pins.saturating_add_signed(mark.pins);
                tables.set_uses(id, UseCount { uses, pins })?;
                if let Some(entry) = entry {
                    tables.enter(id, entry)?;
                }
            }
            Ok(())
        })
    }

    /// Takes blocks out, where they are still in the place given. Places that are ours become free.
    /// The places freed.
    pub(super) fn remove(&self, removed: &[(BlockId, u64)]) -> Result<Vec<u64>, StoreError> {
        self.write("remove blocks from", |tables| {
            let mut freed = Vec::new();
            for (id, slot) in removed {
                if !tables.is_at(id, *slot)? {
                    continue;
                }
                tables.lose(id)?;
                if Region::of(*slot) != Region::Foreign {
                    tables.free.insert(slot, ())?;
                }
                freed.push(*slot);
            }
            Ok(freed)
        })
    }

    /// Takes a block out whose slot does not hold it any more. `false` if the block is elsewhere.
    pub(super) fn quarantine(&self, id: &BlockId, slot: u64) -> Result<bool, StoreError> {
        self.write("quarantine a block in", |tables| {
            let there = tables.is_at(id, slot)?;
            if there {
                tables.lose(id)?;
                tables.damaged.insert(id.as_bytes(), slot)?;
            }
            Ok(there)
        })
    }

    /// Makes `expected` all uses there are. How many blocks were worth something else before.
    pub(super) fn recount(&self, expected: &HashMap<BlockId, UseCount>) -> Result<u64, StoreError> {
        let found = self.read(|transaction| {
            let mut found = HashMap::new();
            for item in transaction.open_table(USES)?.iter()? {
                let (id, value) = item?;
                let (uses, pins) = value.value();
                found.insert(BlockId::from_bytes(*id.value()), UseCount { uses, pins });
            }
            Ok(found)
        })?;
        let gone = found.keys().filter(|id| !expected.contains_key(id)).map(|id| (id, &NO_USE));
        let wrong = expected.iter().filter(|(id, count)| found.get(id) != Some(count));
        let wrong: Vec<_> = wrong.chain(gone).collect();
        self.write("recount uses in", |tables| {
            for (id, count) in &wrong {
                let entry = tables.forget(id)?;
                tables.set_uses(id, **count)?;
                if let Some(entry) = entry {
                    tables.enter(id, entry)?;
                }
            }
            Ok(wrong.len() as u64)
        })
    }

    /// All packs that are read in place.
    pub(super) fn packs(&self) -> Result<Vec<Pack>, StoreError> {
        self.read(|transaction| {
            let packs = transaction.open_table(PACKS)?;
            let list = packs.iter()?.map(|item| {
                let (first_slab, value) = item?;
                let (path, blocks) = value.value();
                Ok(Pack { first_slab: first_slab.value(), path: path.to_owned(), blocks })
            });
            list.collect()
        })
    }

    pub(super) fn add_pack(&self, pack: &Pack) -> Result<(), StoreError> {
        self.write("extend", |tables| {
            tables.packs.insert(pack.first_slab, (pack.path.as_str(), pack.blocks))?;
            Ok(())
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
        self.transact(attempt, |transaction| change(&mut Tables::open(transaction)?))
    }

    fn transact<T>(
        &self,
        attempt: &'static str,
        change: impl FnOnce(&redb::WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let mut transaction = self.0.begin_write().map_err(failed(attempt))?;
        // Two-phase commits, and the allocator's state saved with each: reopening after a crash
        // takes milliseconds, whatever the size.
        transaction.set_quick_repair(true);
        let done = change(&transaction).map_err(failed(attempt))?;
        transaction.commit().map_err(failed(attempt))?;
        Ok(done)
    }
}

const fn entry((slot, len, put, used): (u64, u32, u64, u64)) -> Entry {
    Entry { slot, len, put, used }
}

fn failed<E: Into<redb::Error>>(attempt: &'static str) -> impl Fn(E) -> StoreError {
    move |error| StoreError::Index { attempt, source: Box::new(error.into()) }
}
