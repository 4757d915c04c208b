//! The contract of [`BlockStore`], held against every implementation.

use std::collections::HashSet;
use std::sync::Arc;

use crate::id::BlockId;
use crate::off::{Block, BlockSize};

use super::{BlockStore, CachedStore, Folder, MemoryStore, Presence, SlabStore, StoreCensus};

fn blocks(count: usize) -> Vec<Block> {
    (0..count).map(|_| Block::random(BlockSize::Native, &mut rand::rng())).collect()
}

fn keeps_the_contract(store: &dyn BlockStore) {
    keeps_what_is_put(store);
    draws_each_older_block_once(store);
    takes_puts_from_many_threads(store);
}

fn keeps_what_is_put(store: &dyn BlockStore) {
    let absent = BlockId::of(b"absent");
    assert_eq!(store.get(&absent).unwrap(), None);
    assert_eq!(store.presence(&absent).unwrap(), Presence::Absent);
    assert_eq!(store.census().unwrap(), StoreCensus::default());
    assert_eq!(store.draws(1).unwrap().count(), 0);
    let blocks = blocks(5);
    for (at, block) in blocks.iter().enumerate() {
        assert!(store.put(block).unwrap());
        assert!(!store.put(block).unwrap(), "a second put changes nothing");
        assert_eq!(store.get(&block.id()).unwrap().as_ref(), Some(block));
        assert_eq!(store.presence(&block.id()).unwrap(), Presence::Held);
        if at == 2 {
            store.commit().unwrap();
        }
    }
    store.commit().unwrap();
    store.commit().unwrap();
    let census = store.census().unwrap();
    assert_eq!((census.blocks, census.bytes, census.damaged), (5, 5 * 131_072, 0));
}

fn draws_each_older_block_once(store: &dyn BlockStore) {
    let before = store.census().unwrap().blocks as usize;
    let order: Vec<BlockId> = store.draws(3).unwrap().map(Result::unwrap).collect();
    let again: Vec<BlockId> = store.draws(3).unwrap().map(Result::unwrap).collect();
    assert_eq!(order, again, "the seed decides the order");
    let mut draws = store.draws(4).unwrap();
    let mut found = vec![draws.next().unwrap().unwrap()];
    let later = blocks(4);
    for block in &later {
        store.put(block).unwrap();
        store.commit().unwrap();
    }
    found.extend(draws.map(Result::unwrap));
    let distinct: HashSet<BlockId> = found.iter().copied().collect();
    assert_eq!((found.len(), distinct.len()), (before, before));
    assert!(later.iter().all(|block| !distinct.contains(&block.id())));
}

fn takes_puts_from_many_threads(store: &dyn BlockStore) {
    let before = store.census().unwrap().blocks;
    let blocks = blocks(40);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for block in &blocks {
                    store.put(block).unwrap();
                    assert_eq!(store.get(&block.id()).unwrap().as_ref(), Some(block));
                }
                store.commit().unwrap();
            });
        }
    });
    assert_eq!(store.census().unwrap().blocks, before + 40);
}

#[test]
fn memory_store_keeps_the_contract() {
    keeps_the_contract(&MemoryStore::new());
}

#[test]
fn slab_store_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    keeps_the_contract(&SlabStore::open(Arc::new(Folder::open(folder.path()).unwrap())).unwrap());
}

#[test]
fn cached_store_keeps_the_contract() {
    keeps_the_contract(&CachedStore::new(MemoryStore::new(), 3));
}
