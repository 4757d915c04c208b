//! An index of an older format becomes one of today's. From format 1 the order of eviction gets
//! popularity, of which nothing is known yet; from format 2 nothing but empty tables is missing.
//!
//! It is one transaction, so a crash on the way leaves the index as it was. A disk that is full
//! leaves it so, too, and then the store does not open before there is some room.

use redb::{ReadableTable, TableDefinition};

use crate::store::StoreError;

use super::tables::Tables;
use super::{FORMAT, Index};

/// The order of eviction of format 1: uses, when used last, slot number.
type OldOrder<'a> = TableDefinition<'a, (u32, u64, u64), ()>;
const OLD_COLD: OldOrder<'_> = TableDefinition::new("cold");
const ASIDE: OldOrder<'_> = TableDefinition::new("cold-1");

impl Index {
    /// Brings an index of the format `found` to today's.
    pub(super) fn migrate(&self, found: u64) -> Result<(), StoreError> {
        self.transact("bring to a new format", |transaction| {
            if found == 1 {
                transaction.rename_table(OLD_COLD, ASIDE)?;
            }
            // This makes the tables that are new.
            let mut tables = Tables::open(transaction)?;
            tables.meta.insert("format", FORMAT)?;
            if found > 1 {
                return Ok(());
            }
            for item in transaction.open_table(ASIDE)?.iter()? {
                let (uses, last, slot) = item?.0.value();
                tables.cold.insert((uses, 0, last, slot), ())?;
            }
            drop(tables);
            transaction.delete_table(ASIDE)?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use redb::{Database, ReadableDatabase};

    use super::super::backend::Backend;
    use super::super::{
        BLOCKS, Counts, DAMAGED, Entry, FREE, META, MINI, Most, NAME, NANO, PACKS, SLOTS, USES,
    };
    use super::*;
    use crate::id::BlockId;
    use crate::store::fault::{FaultDisk, Kept};
    use crate::store::{Disk, Mark};

    fn ids() -> [BlockId; 4] {
        [b"a", b"b", b"c", b"d"].map(|name| BlockId::of(name))
    }

    /// An index as format 1 wrote it, from before there were digests: `a` is used once, `b` is
    /// pinned, `c` and `d` are not used, and `c` was used last.
    fn write_format_1(disk: &FaultDisk) {
        let database =
            Database::builder().create_with_backend(Backend(disk.open(NAME).unwrap())).unwrap();
        let mut transaction = database.begin_write().unwrap();
        transaction.set_quick_repair(true);
        {
            let mut meta = transaction.open_table(META).unwrap();
            meta.insert("format", 1).unwrap();
            meta.insert("clock", 9).unwrap();
            let mut blocks = transaction.open_table(BLOCKS).unwrap();
            let mut slots = transaction.open_table(SLOTS).unwrap();
            let mut uses = transaction.open_table(USES).unwrap();
            let mut cold = transaction.open_table(OLD_COLD).unwrap();
            for ((slot, id), used) in (0..).zip(ids()).zip([4, 5, 8, 7]) {
                blocks.insert(id.as_bytes(), (slot, 136, slot, used)).unwrap();
                slots.insert(slot, id.as_bytes()).unwrap();
                if slot < 2 {
                    let pins = u32::from(slot == 1);
                    uses.insert(id.as_bytes(), (1, pins)).unwrap();
                }
                if slot != 1 {
                    cold.insert((u32::from(slot == 0), used, slot), ()).unwrap();
                }
            }
            transaction.open_table(FREE).unwrap();
            transaction.open_table(DAMAGED).unwrap();
            transaction.open_table(PACKS).unwrap();
        }
        transaction.commit().unwrap();
        drop(database);
        disk.open(NAME).unwrap().sync().unwrap();
    }

    fn order(index: &Index) -> Vec<BlockId> {
        let cold = index.cold(u32::MAX, u64::MAX, Most::Blocks(9), &|_| 0).unwrap();
        cold.into_iter().map(|(id, _)| id).collect()
    }

    #[test]
    fn an_index_of_format_1_goes_on_as_format_3() {
        let disk = FaultDisk::default();
        write_format_1(&disk);
        let [a, b, c, d] = ids();
        for _ in 0..2 {
            let index = Index::open(&disk).unwrap();
            assert_eq!(index.format().unwrap(), Some(3));
            let counts = Counts { blocks: 4, ..Counts::default() };
            assert_eq!((index.clock().unwrap(), index.counts().unwrap()), (9, counts));
            assert_eq!(order(&index), [d, c, a], "as before, and the pinned one stays");
            assert_eq!((index.popularity(&d).unwrap(), index.digests(&d).unwrap()), (0, None));
        }
        let index = Index::open(&disk).unwrap();
        index.set_popularity(&[(d, 1), (b, 7)]).unwrap();
        assert_eq!(order(&index), [c, d, a]);
        index.mark(&[b], Mark { uses: -1, pins: -1 }).unwrap();
        assert_eq!(order(&index), [c, d, b, a]);
        let transaction = index.0.begin_read().unwrap();
        assert!(transaction.open_table(ASIDE).is_err(), "the old table is gone");
    }

    /// Stops the machine at every write and sync of the migration.
    #[test]
    fn a_crash_leaves_format_1_or_format_3() {
        let old = FaultDisk::default();
        write_format_1(&old);
        let trial = old.after_crash(Kept::All);
        drop(Index::open(&trial).unwrap());
        let [a, _, c, d] = ids();
        let mut found = [0, 0, 0];
        for stop in 1..=trial.changes() {
            let disk = old.after_crash(Kept::All);
            disk.stop_at(stop);
            drop(Index::open(&disk));
            for kept in [Kept::None, Kept::All, Kept::Some(stop)] {
                let disk = disk.after_crash(kept);
                let file: Arc<dyn crate::store::DiskFile> = disk.open(NAME).unwrap();
                let database = Database::builder().create_with_backend(Backend(file)).unwrap();
                let format = Index(database).format().unwrap().unwrap();
                found[usize::try_from(format).unwrap() - 1] += 1;
                let index = Index::open(&disk).unwrap();
                assert_eq!(order(&index), [d, c, a], "stopped at {stop}, {kept:?}");
            }
        }
        assert!(found[0] > 0 && found[1] == 0 && found[2] > 0, "{found:?}");
    }

    #[test]
    fn an_index_of_format_2_goes_on_as_format_3() {
        let disk = FaultDisk::default();
        let [a, b, ..] = ids();
        let entry = |slot| Entry { slot, len: 136, put: slot, used: slot };
        {
            let index = Index::open(&disk).unwrap();
            index
                .add(&[(a, entry(0)), (b, entry(1))], &HashMap::new(), &HashMap::new(), 5)
                .unwrap();
            index.set_popularity(&[(a, 7)]).unwrap();
            let as_format_2 = index.transact("set back", |transaction| {
                transaction.delete_table(MINI)?;
                transaction.delete_table(NANO)?;
                transaction.open_table(META)?.insert("format", 2)?;
                Ok(())
            });
            as_format_2.unwrap();
        }
        for _ in 0..2 {
            let index = Index::open(&disk).unwrap();
            assert_eq!(index.format().unwrap(), Some(3));
            assert_eq!(index.counts().unwrap(), Counts { blocks: 2, ..Counts::default() });
            assert_eq!((order(&index), index.popularity(&a).unwrap()), (vec![b, a], 7));
        }
    }

    #[test]
    fn a_full_disk_leaves_format_1() {
        let old = FaultDisk::default();
        write_format_1(&old);
        let disk = old.after_crash(Kept::All);
        disk.fail_at(1);
        let _ = Index::open(&disk);
        let index = Index::open(&disk.after_crash(Kept::All)).unwrap();
        assert_eq!(order(&index).len(), 3);
    }
}
