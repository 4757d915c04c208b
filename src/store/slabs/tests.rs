//! What a slab store does with its files.

use super::*;
use crate::limits::MAX_OPEN_SLABS;
use crate::off::BlockSize;
use crate::store::Folder;

fn open(folder: &tempfile::TempDir) -> SlabStore {
    SlabStore::open(Arc::new(Folder::open(folder.path()).unwrap())).unwrap()
}

fn block() -> Block {
    Block::random(BlockSize::Native, &mut rand::rng())
}

#[test]
fn blocks_are_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let sizes = BlockSize::ALL.into_iter().cycle().take(9);
    let blocks: Vec<Block> = sizes.map(|size| Block::random(size, &mut rand::rng())).collect();
    let store = open(&folder);
    for block in &blocks {
        assert!(store.put(block).unwrap());
    }
    drop(store);
    let store = open(&folder);
    for block in &blocks {
        assert_eq!(store.get(&block.id()).unwrap().as_ref(), Some(block));
        assert!(!store.put(block).unwrap());
    }
}

/// What a limit counts for short blocks is about what the index grows by.
#[test]
fn short_blocks_take_about_what_is_counted() {
    for size in [BlockSize::LegacyMini, BlockSize::LegacyNano] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        for _ in 0..10_000 {
            store.put(&Block::random(size, &mut rand::rng())).unwrap();
        }
        let counted = store.census().unwrap().bytes;
        drop(store);
        let len = std::fs::metadata(folder.path().join("index.redb")).unwrap().len();
        assert!((counted / 2..counted * 2).contains(&len), "{size:?}: {len}, {counted} counted");
    }
}

#[test]
fn places_of_short_blocks_are_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    for size in BlockSize::ALL {
        let mut places = Vec::new();
        for _ in 0..2 {
            let block = Block::random(size, &mut rand::rng());
            store.put(&block).unwrap();
            places.push(store.locate(&block.id()).unwrap().unwrap().place);
            assert_eq!(store.file_of(places[0], 1).unwrap(), None);
            assert_eq!(store.remove_unused(&[block.id()]).unwrap().blocks, 1);
            assert_eq!(store.index.contents(&block.id(), size).unwrap(), None);
        }
        assert_eq!(places[0], places[1], "{size:?}");
    }
}

#[test]
fn a_store_of_legacy_slabs_without_an_index_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    store.put(&Block::random(BlockSize::LegacyBlock, &mut rand::rng())).unwrap();
    drop(store);
    std::fs::remove_file(folder.path().join("index.redb")).unwrap();
    let disk = Arc::new(Folder::open(folder.path()).unwrap());
    assert!(matches!(SlabStore::open(disk), Err(StoreError::Lost { .. })));
}

#[test]
fn a_flipped_byte_is_found_on_read_and_healed_by_the_next_put() {
    let folder = tempfile::tempdir().unwrap();
    let (bad, good) = (block(), block());
    let store = open(&folder);
    store.put(&bad).unwrap();
    store.put(&good).unwrap();
    store.commit().unwrap();
    let slab = store.files.file(0).unwrap();
    slab.write_at(&[bad.contents()[77] ^ 1], 77).unwrap();
    let error = store.get(&bad.id()).unwrap_err();
    assert!(matches!(&error, StoreError::Damaged { id, .. } if *id == bad.id()), "{error}");
    assert!(error.to_string().contains("000000.slab, slot 0"), "{error}");
    assert_eq!(store.get(&bad.id()).unwrap(), None);
    assert_eq!(store.presence(&bad.id()).unwrap(), Presence::Damaged);
    drop(store);
    let store = open(&folder);
    assert_eq!(store.census().unwrap().damaged, 1);
    assert!(store.put(&bad).unwrap());
    assert_eq!(store.get(&bad.id()).unwrap(), Some(bad));
    assert_eq!(store.get(&good.id()).unwrap(), Some(good));
    assert_eq!(store.census().unwrap().damaged, 0);
}

#[test]
fn popularity_outlives_a_reopening_and_not_the_block() {
    let folder = tempfile::tempdir().unwrap();
    let (bad, good) = (block(), block());
    let store = open(&folder);
    store.put(&bad).unwrap();
    store.put(&good).unwrap();
    store.set_popularity(&[(bad.id(), 9), (good.id(), 3)]).unwrap();
    drop(store);
    let store = open(&folder);
    assert_eq!(store.popularity(&bad.id()).unwrap(), 9);
    store.files.file(0).unwrap().write_at(&[bad.contents()[77] ^ 1], 77).unwrap();
    store.get(&bad.id()).unwrap_err();
    assert_eq!(store.popularity(&bad.id()).unwrap(), 0, "a damaged block is not here");
    store.put(&bad).unwrap();
    store.commit().unwrap();
    assert_eq!(store.popularity(&bad.id()).unwrap(), 0);
    assert_eq!(store.popularity(&good.id()).unwrap(), 3);
    assert_eq!(store.evict(0, 1, false).unwrap().blocks, 1);
    assert_eq!(store.presence(&good.id()).unwrap(), Presence::Held, "it is the more popular one");
}

#[test]
fn a_slab_cut_short_is_damage_not_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let block = block();
    let store = open(&folder);
    store.put(&block).unwrap();
    store.commit().unwrap();
    store.files.file(0).unwrap().set_len(1_000).unwrap();
    assert!(matches!(store.get(&block.id()), Err(StoreError::Damaged { .. })));
}

#[test]
fn reads_on_with_more_slabs_than_open_files() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(Folder::open(folder.path()).unwrap());
    let slabs = Files::new(disk, BLOCK_LEN as u64, Vec::new());
    let count = MAX_OPEN_SLABS as u64 * 2;
    for slab in 0..count {
        slabs.write(slab * SLOTS_PER_SLAB, &slab.to_le_bytes()).unwrap();
    }
    for slab in 0..count {
        let entry = Entry { slot: slab * SLOTS_PER_SLAB, len: 8, put: 0, used: 0 };
        assert_eq!(slabs.read(entry).unwrap().unwrap()[..], slab.to_le_bytes());
    }
}
