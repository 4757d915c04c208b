//! The contract of [`BlockStore`], held against every implementation.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::id::{BlockId, MerkleRoot, PieceHash};
use crate::off::{Block, BlockSize};

use super::{
    BlockStore, CachedStore, Digests, Folder, Located, Mark, MemoryStore, Presence, QuotaStore,
    Removed, SketchCell, SlabStore, StoreCensus, StoreError, Upkeep, UseCount, room_of,
};

pub(super) fn blocks(size: BlockSize, count: usize) -> Vec<Block> {
    (0..count).map(|_| Block::random(size, &mut rand::rng())).collect()
}

fn keeps_the_contract(size: BlockSize, store: &dyn BlockStore) {
    keeps_what_is_put(size, store);
    draws_one_size_among_others(size, store);
    draws_each_older_block_once(size, store);
    takes_puts_from_many_threads(size, store);
}

fn keeps_what_is_put(size: BlockSize, store: &dyn BlockStore) {
    let absent = BlockId::of(b"absent");
    assert_eq!(store.get(&absent).unwrap(), None);
    assert_eq!(store.presence(&absent).unwrap(), Presence::Absent);
    assert_eq!(store.census().unwrap(), StoreCensus::default());
    assert_eq!(store.draws(size, 1).unwrap().count(), 0);
    let blocks = blocks(size, 5);
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
    assert_eq!((census.blocks, census.bytes, census.damaged), (5, 5 * room_of(size), 0));
}

fn draws_each_older_block_once(size: BlockSize, store: &dyn BlockStore) {
    let before = store.draws(size, 1).unwrap().count();
    let order: Vec<BlockId> = store.draws(size, 3).unwrap().map(Result::unwrap).collect();
    let again: Vec<BlockId> = store.draws(size, 3).unwrap().map(Result::unwrap).collect();
    assert_eq!(order, again, "the seed decides the order");
    let mut draws = store.draws(size, 4).unwrap();
    let mut found = vec![draws.next().unwrap().unwrap()];
    let later = blocks(size, 4);
    for block in &later {
        store.put(block).unwrap();
        store.commit().unwrap();
    }
    found.extend(draws.map(Result::unwrap));
    let distinct: HashSet<BlockId> = found.iter().copied().collect();
    assert_eq!((found.len(), distinct.len()), (before, before));
    assert!(later.iter().all(|block| !distinct.contains(&block.id())));
}

fn draws_one_size_among_others(size: BlockSize, store: &dyn BlockStore) {
    let mut all = vec![(size, store.draws(size, 1).unwrap().map(Result::unwrap).collect())];
    for other in BlockSize::ALL.into_iter().filter(|other| *other != size) {
        let others = blocks(other, 3);
        for block in &others {
            assert!(store.put(block).unwrap());
        }
        all.push((other, others.iter().map(Block::id).collect::<HashSet<_>>()));
    }
    let census = store.census().unwrap();
    let bytes = all.iter().map(|(size, ids)| ids.len() as u64 * room_of(*size)).sum();
    assert_eq!((census.blocks, census.bytes), (14, bytes));
    for (size, ids) in all {
        let drawn: Vec<BlockId> = store.draws(size, 2).unwrap().map(Result::unwrap).collect();
        assert_eq!((drawn.len(), drawn.into_iter().collect::<HashSet<_>>()), (ids.len(), ids));
    }
}

fn takes_puts_from_many_threads(size: BlockSize, store: &dyn BlockStore) {
    let before = store.census().unwrap().blocks;
    let blocks = blocks(size, 40);
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
    for size in BlockSize::ALL {
        keeps_the_contract(size, &MemoryStore::new());
    }
}

#[test]
fn slab_store_keeps_the_contract() {
    for size in BlockSize::ALL {
        keeps_the_contract(size, &slabs(&tempfile::tempdir().unwrap()));
    }
}

#[test]
fn cached_store_keeps_the_contract() {
    for size in BlockSize::ALL {
        keeps_the_contract(size, &CachedStore::new(MemoryStore::new(), 3));
    }
}

/// The second half of the contract.
fn keeps_up(size: BlockSize, store: &dyn Upkeep) {
    takes_the_coldest_first(size, store);
    leases_and_pins_hold(size, store);
    undoes_what_a_lease_has_seen(size, store);
    remembers_uses(size, store);
    walks_over_everything_once(size, store);
    sketches_what_is_held(size, store);
    keeps_digests_as_long_as_blocks(size, store);
    keeps_popularity_as_long_as_blocks(size, store);
    takes_the_least_popular_of_equal_use_first(size, store);
    makes_room_by_bytes(size, store);
}

pub(super) fn put_all(size: BlockSize, store: &dyn Upkeep, count: usize) -> Vec<BlockId> {
    let blocks = blocks(size, count);
    for block in &blocks {
        store.put(block).unwrap();
    }
    store.commit().unwrap();
    blocks.iter().map(Block::id).collect()
}

pub(super) fn held(store: &dyn Upkeep, ids: &[BlockId]) -> Vec<bool> {
    ids.iter().map(|id| store.presence(id).unwrap() == Presence::Held).collect()
}

fn clear(store: &dyn Upkeep) {
    store.recount(&HashMap::new()).unwrap();
    while store.evict(u32::MAX, 100, false).unwrap().blocks > 0 {}
    assert_eq!(store.census().unwrap().blocks, 0);
}

fn takes_the_coldest_first(size: BlockSize, store: &dyn Upkeep) {
    clear(store);
    let ids = put_all(size, store, 4);
    store.mark(&ids[..2], Mark { uses: 1, pins: 0 }).unwrap();
    store.touch(&ids[2]).unwrap();
    assert_eq!(store.evict(0, 9, true).unwrap().blocks, 2, "two that nobody uses");
    assert_eq!(store.evict(9, 1, false).unwrap().blocks, 1);
    assert_eq!(held(store, &ids), [true, true, true, false], "unused before used, old before new");
    assert_eq!(store.evict(9, 1, false).unwrap().blocks, 1);
    assert_eq!(store.evict(9, 1, false).unwrap().blocks, 1);
    assert_eq!(held(store, &ids), [false, true, false, false]);
    assert_eq!(store.sharing().unwrap(), [(1, 1)]);
}

fn leases_and_pins_hold(size: BlockSize, store: &dyn Upkeep) {
    clear(store);
    let ids = put_all(size, store, 3);
    store.mark(&ids[..1], Mark { uses: 1, pins: 1 }).unwrap();
    let lease = store.lease();
    assert!(store.touch(&ids[1]).unwrap());
    let new = put_all(size, store, 1);
    assert_eq!(
        store.evict(9, 9, false).unwrap().blocks,
        1,
        "all but the pinned, the touched, the new"
    );
    assert_eq!(store.remove_unused(&[ids[1], new[0]]).unwrap().blocks, 0);
    assert_eq!(held(store, &ids), [true, true, false]);
    drop(lease);
    assert_eq!(store.remove_unused(&ids).unwrap().blocks, 1, "the pinned one is used");
    store.mark(&ids[..1], Mark { uses: -1, pins: -1 }).unwrap();
    assert_eq!(store.evict(0, 9, false).unwrap().blocks, 2);
}

fn undoes_what_a_lease_has_seen(size: BlockSize, store: &dyn Upkeep) {
    clear(store);
    let old = put_all(size, store, 2);
    let lease = store.lease();
    store.touch(&old[0]).unwrap();
    let mut new = put_all(size, store, 3);
    store.mark(&new[..1], Mark { uses: 1, pins: 0 }).unwrap();
    let uncommitted = &blocks(size, 1)[0];
    store.put(uncommitted).unwrap();
    new.push(uncommitted.id());
    let other = store.lease();
    assert_eq!(store.undo(&lease).unwrap().blocks, 0, "another lease lives");
    drop(other);
    assert_eq!(store.undo(&lease).unwrap().blocks, 3);
    assert_eq!(
        (held(store, &old), held(store, &new)),
        (vec![true; 2], vec![true, false, false, false])
    );
}

fn remembers_uses(size: BlockSize, store: &dyn Upkeep) {
    clear(store);
    let block = &blocks(size, 1)[0];
    let id = block.id();
    store.mark(&[id, id], Mark { uses: 1, pins: 0 }).unwrap();
    assert_eq!(store.uses(&id).unwrap(), UseCount { uses: 2, pins: 0 }, "though it is not here");
    store.put(block).unwrap();
    assert_eq!(store.evict(1, 9, false).unwrap().blocks, 0);
    assert_eq!(store.evict(2, 9, false).unwrap().blocks, 1);
    assert_eq!(store.uses(&id).unwrap().uses, 2);
    let expected = HashMap::from([(id, UseCount { uses: 1, pins: 0 })]);
    assert_eq!(store.recount(&expected).unwrap(), 1);
    assert_eq!(store.recount(&expected).unwrap(), 0);
    assert_eq!(store.uses(&id).unwrap().uses, 1);
}

fn walks_over_everything_once(size: BlockSize, store: &dyn Upkeep) {
    clear(store);
    let ids: HashSet<BlockId> = put_all(size, store, 7).into_iter().collect();
    let (mut place, mut found) = (0, Vec::new());
    loop {
        let part = store.walk(place, 3).unwrap();
        let Some((last, _)) = part.last() else { break };
        place = last + 1;
        found.extend(part.iter().map(|(_, id)| *id));
    }
    assert_eq!((found.len(), found.into_iter().collect::<HashSet<_>>()), (7, ids));
    for (place, id) in store.walk(0, 7).unwrap() {
        assert_eq!(store.locate(&id).unwrap(), Some(Located { place, len: size.len() as u64 }));
    }
    assert_eq!(store.locate(&BlockId::of(b"absent")).unwrap(), None);
}

fn sketches_what_is_held(size: BlockSize, store: &dyn Upkeep) {
    clear(store);
    let ids = put_all(size, store, 7);
    store.mark(&ids[..3], Mark { uses: 2, pins: 0 }).unwrap();
    store.mark(&ids[2..4], Mark { uses: 1, pins: 1 }).unwrap();
    let sketch = store.sketch(4, 1_000).unwrap();
    let sum = |count: fn(&SketchCell) -> u64| sketch.cells.iter().map(count).sum::<u64>();
    assert!((1..=4).contains(&sketch.cells.len()));
    assert_eq!((sum(|cell| cell.used), sum(|cell| cell.pinned)), (7, 2));
    assert_eq!((sum(|cell| cell.shared), sketch.pinned), (3, 2));
    assert!(sum(|cell| cell.looked) >= 7);
}

fn keeps_digests_as_long_as_blocks(size: BlockSize, store: &dyn Upkeep) {
    clear(store);
    let blocks = blocks(size, 3);
    for block in &blocks {
        store.put(block).unwrap();
    }
    let of = |block: &Block| Digests {
        piece: PieceHash::of(block.contents()),
        root: MerkleRoot::of_leaf(&block.contents()[..9]),
    };
    assert_eq!(store.digests(&blocks[0].id()).unwrap(), None);
    let (absent, some) = (BlockId::of(b"absent"), of(&blocks[0]));
    let kept: Vec<_> = blocks.iter().map(|block| (block.id(), of(block))).collect();
    store.keep_digests(&[(absent, some)]).unwrap();
    store.keep_digests(&kept[..2]).unwrap();
    assert_eq!(store.digests(&absent).unwrap(), None, "of blocks that are here only");
    let found = |at: usize| store.digests(&blocks[at].id()).unwrap();
    assert_eq!((found(0), found(1), found(2)), (Some(some), Some(of(&blocks[1])), None));
    // Neither a use nor a mark nor a second put makes a store forget.
    store.touch(&blocks[0].id()).unwrap();
    store.put(&blocks[0]).unwrap();
    store.mark(&[blocks[0].id()], Mark { uses: 1, pins: 0 }).unwrap();
    store.commit().unwrap();
    assert_eq!(found(0), Some(some));
    assert_eq!(store.evict(0, 9, false).unwrap().blocks, 2);
    assert_eq!((found(0), found(1)), (Some(some), None), "they go with the block");
    store.put(&blocks[1]).unwrap();
    assert_eq!(found(1), None);
}

fn keeps_popularity_as_long_as_blocks(size: BlockSize, store: &dyn Upkeep) {
    clear(store);
    let blocks = blocks(size, 3);
    for block in &blocks {
        store.put(block).unwrap();
    }
    let [one, two, three] = [0, 1, 2].map(|at: usize| blocks[at].id());
    let absent = BlockId::of(b"absent");
    store.set_popularity(&[(absent, 9), (one, 0)]).unwrap();
    assert!(!store.is_any_popular().unwrap());
    store.set_popularity(&[(one, 7), (absent, 9), (two, 200), (two, 5), (three, 0)]).unwrap();
    let told = |id| store.popularity(id).unwrap();
    assert_eq!([&one, &two, &three, &absent].map(told), [7, 5, 0, 0], "the last word counts");
    assert!(store.is_any_popular().unwrap());
    // Neither a use nor a mark nor a second put nor a recount makes a store forget.
    store.touch(&one).unwrap();
    store.put(&blocks[0]).unwrap();
    store.mark(&[one], Mark { uses: 2, pins: 1 }).unwrap();
    store.commit().unwrap();
    assert_eq!(told(&one), 7);
    store.recount(&HashMap::from([(one, UseCount { uses: 1, pins: 0 })])).unwrap();
    store.set_popularity(&[(two, 0)]).unwrap();
    assert_eq!((told(&one), told(&two)), (7, 0));
    // It goes with the block, and does not come back with it.
    store.set_popularity(&[(two, 3)]).unwrap();
    assert_eq!(store.evict(u32::MAX, 9, false).unwrap().blocks, 3);
    assert_eq!((told(&one), told(&two)), (0, 0));
    assert!(!store.is_any_popular().unwrap());
    store.set_popularity(&[(one, 4)]).unwrap();
    store.put(&blocks[0]).unwrap();
    assert_eq!(told(&one), 0);
}

fn takes_the_least_popular_of_equal_use_first(size: BlockSize, store: &dyn Upkeep) {
    clear(store);
    let ids = put_all(size, store, 5);
    store.set_popularity(&[(ids[0], 2), (ids[1], 1), (ids[3], 255), (ids[4], 1)]).unwrap();
    store.touch(&ids[1]).unwrap();
    store.mark(&ids[2..3], Mark { uses: 1, pins: 0 }).unwrap();
    let mut order = Vec::new();
    for _ in 0..5 {
        let before = held(store, &ids);
        assert_eq!(store.evict(u32::MAX, 1, false).unwrap().blocks, 1);
        let after = held(store, &ids);
        order.extend((0..5).filter(|at| before[*at] && !after[*at]));
    }
    assert_eq!(order, [4, 1, 0, 3, 2], "uses, then popularity, then the last use");
}

/// Whatever has to go for it.
fn makes_room_by_bytes(size: BlockSize, store: &dyn Upkeep) {
    clear(store);
    let room = room_of(size);
    let ids = put_all(size, store, 5);
    store.mark(&ids[..1], Mark { uses: 1, pins: 1 }).unwrap();
    store.mark(&ids[1..2], Mark { uses: 7, pins: 0 }).unwrap();
    let removed = |blocks| Removed { blocks, bytes: blocks * room };
    assert_eq!(store.make_room(0).unwrap(), removed(0));
    assert_eq!(store.make_room(room + 1).unwrap(), removed(2));
    assert_eq!(held(store, &ids), [true, true, false, false, true]);
    assert_eq!(store.evict(0, 9, true).unwrap(), removed(1), "it stays");
    assert_eq!(store.make_room(u64::MAX).unwrap(), removed(2), "the pinned one does not go");
    assert_eq!(store.census().unwrap().bytes, room);
}

pub(super) fn slabs(folder: &tempfile::TempDir) -> SlabStore {
    SlabStore::open(Arc::new(Folder::open(folder.path()).unwrap())).unwrap()
}

#[test]
fn every_store_keeps_up() {
    for size in BlockSize::ALL {
        keeps_up(size, &MemoryStore::new());
        keeps_up(size, &slabs(&tempfile::tempdir().unwrap()));
        keeps_up(size, &CachedStore::new(MemoryStore::new(), 3));
        keeps_up(size, &QuotaStore::new(MemoryStore::new(), u64::MAX).unwrap());
    }
}

#[test]
fn a_slab_store_on_a_simulated_disk_keeps_the_contract() {
    let store = || SlabStore::open(Arc::new(super::fault::FaultDisk::default())).unwrap();
    for size in BlockSize::ALL {
        keeps_the_contract(size, &store());
        keeps_up(size, &store());
    }
}

#[test]
fn quota_store_keeps_the_contract() {
    for size in BlockSize::ALL {
        let folder = tempfile::tempdir().unwrap();
        keeps_the_contract(size, &QuotaStore::new(slabs(&folder), u64::MAX).unwrap());
    }
}

const BLOCK: u64 = 131_072;

#[test]
fn taking_blocks_out_punches_holes() {
    use std::os::unix::fs::MetadataExt;
    let folder = tempfile::tempdir().unwrap();
    let store = slabs(&folder);
    let ids = put_all(BlockSize::Native, &store, 32);
    let blocks = || std::fs::metadata(folder.path().join("000000.slab")).unwrap().blocks();
    let before = blocks();
    assert_eq!(store.remove_unused(&ids[..16]).unwrap().blocks, 16);
    assert!(blocks() <= before / 2 + 16, "{before} before, {} after", blocks());
    put_all(BlockSize::Native, &store, 16);
    assert_eq!(std::fs::metadata(folder.path().join("000000.slab")).unwrap().len(), 32 * BLOCK);
}

#[test]
fn a_pack_is_adopted_in_place_and_never_written() {
    let folder = tempfile::tempdir().unwrap();
    let pack = folder.path().join("pack.off");
    let blocks = blocks(BlockSize::Native, 5);
    let bytes: Vec<u8> = blocks.iter().flat_map(|block| block.contents().to_vec()).collect();
    std::fs::write(&pack, &bytes).unwrap();
    let home = tempfile::tempdir().unwrap();
    for store in [&MemoryStore::new() as &dyn Upkeep, &slabs(&home)] {
        assert_eq!(store.adopt(&pack).unwrap(), 5);
        assert_eq!(store.adopt(&pack).unwrap(), 0);
        assert_eq!(store.get(&blocks[3].id()).unwrap().as_ref(), Some(&blocks[3]));
        let short = folder.path().join("short");
        std::fs::write(&short, &bytes[1..]).unwrap();
        assert!(matches!(store.adopt(&short), Err(StoreError::NotAPack { .. })));
    }
    let store = slabs(&home);
    let first = store.locate(&blocks[0].id()).unwrap().unwrap().place;
    assert_eq!(store.file_of(first, 5).unwrap(), Some(pack.canonicalize().unwrap()));
    assert_eq!(store.file_of(first, 4).unwrap(), None);
    assert_eq!(store.file_of(first + 1, 4).unwrap(), None);
    assert_eq!(store.get(&blocks[4].id()).unwrap().as_ref(), Some(&blocks[4]));
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1, "only the index is new");
    put_all(BlockSize::Native, &store, 1);
    store.mark(&[blocks[0].id()], Mark { uses: 1, pins: 0 }).unwrap();
    assert_eq!(store.evict(0, 100, false).unwrap().blocks, 5);
    assert_eq!(std::fs::read(&pack).unwrap(), bytes, "evicting forgets, it does not write");
    std::fs::write(&pack, vec![0; bytes.len()]).unwrap();
    assert!(matches!(store.get(&blocks[0].id()), Err(StoreError::Damaged { .. })));
}
