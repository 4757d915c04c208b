//! What a limit does to a store.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::store::contract::{blocks, held, put_all, slabs};
use crate::store::fault::FaultDisk;
use crate::store::{MemoryStore, SlabStore};

const BLOCK: u64 = 131_072;

#[test]
fn a_quota_holds_within_a_block_under_a_flood() {
    let folder = tempfile::tempdir().unwrap();
    let limit = 10 * BLOCK + 5;
    let store = QuotaStore::new(slabs(&folder), limit).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for block in &blocks(BlockSize::Native, 30) {
                    assert!(store.put(block).unwrap());
                    assert!(store.census().unwrap().bytes <= limit);
                    // Evicted already or whole, nothing in between.
                    if let Some(found) = store.get(&block.id()).unwrap() {
                        assert_eq!(&found, block);
                    }
                }
            });
        }
    });
    let slab = folder.path().join("000000.slab");
    assert!(std::fs::metadata(slab).unwrap().len() <= 20 * BLOCK, "slots are used again");
}

#[test]
fn a_quota_refuses_what_it_cannot_make_room_for() {
    let store = QuotaStore::new(MemoryStore::new(), 3 * BLOCK).unwrap();
    let pinned = put_all(BlockSize::Native, &store, 2);
    store.mark(&pinned, Mark { uses: 1, pins: 1 }).unwrap();
    let lease = store.lease();
    let blocks = blocks(BlockSize::Native, 3);
    store.put(&blocks[0]).unwrap();
    let error = store.put(&blocks[1]).unwrap_err();
    assert!(matches!(error, StoreError::Full { limit } if limit == 3 * BLOCK));
    assert_eq!(store.census().unwrap().blocks, 3);
    drop(lease);
    store.put(&blocks[1]).unwrap();
    assert_eq!(held(&store, &[blocks[0].id(), blocks[1].id()]), [false, true]);
}

/// A native block that needs room takes the place of as many short ones as it takes.
#[test]
fn a_quota_counts_blocks_by_what_they_take() {
    let [native, nano] = [BlockSize::Native, BlockSize::LegacyNano];
    let short = room_of(nano);
    let limit = 2 * BLOCK + 100 * short;
    let store = QuotaStore::new(MemoryStore::new(), limit).unwrap();
    let old = put_all(native, &store, 1);
    put_all(nano, &store, 150);
    assert_eq!(store.census().unwrap().blocks, 151);
    put_all(native, &store, 1);
    assert_eq!(store.census().unwrap().blocks, 151, "the oldest went, and it was enough");
    assert_eq!(held(&store, &old), [false]);
    let lease = store.lease();
    put_all(native, &store, 1);
    let census = store.census().unwrap();
    assert!(census.bytes <= limit && census.bytes + 2 * short > limit, "{census:?}");
    drop(lease);
    put_all(nano, &store, 600);
    assert!(store.census().unwrap().bytes <= limit);
}

#[test]
fn a_smaller_limit_evicts_when_the_store_opens() {
    let store = MemoryStore::new();
    put_all(BlockSize::Native, &store, 5);
    let store = QuotaStore::new(store, 2 * BLOCK).unwrap();
    assert_eq!(store.census().unwrap().blocks, 2);
}

#[test]
fn making_room_goes_on_when_the_coldest_blocks_warm_up() {
    let disk = FaultDisk::default();
    let store = QuotaStore::new(SlabStore::open(Arc::new(disk)).unwrap(), 48 * BLOCK).unwrap();
    for round in 0..40 {
        let cold = put_all(BlockSize::Native, &store, 48);
        let lease = store.lease();
        let new = blocks(BlockSize::Native, 8);
        // The one evicts the very blocks that the other is about to use.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for id in &cold[..32] {
                    store.touch(id).unwrap();
                    std::thread::sleep(Duration::from_micros(25 * round));
                }
            });
            for block in &new {
                assert!(store.put(block).unwrap());
            }
        });
        drop(lease);
    }
}
