//! The slab store against a plain map, on a disk that fails; and its crashes, one by one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::id::{BlockId, MerkleRoot, PieceHash};
use crate::off::{Block, BlockSize};

use super::fault::{FaultDisk, Kept};
use super::{BlockStore, Digests, Mark, Presence, Removed, SlabStore, StoreError, Upkeep};

/// Small blocks, so that a test can afford hundreds of stores.
const SIZE: BlockSize = BlockSize::LegacyNano;

/// Where the blocks are.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// In slots of their size.
    Slots,
    /// In the index.
    Index,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Slots, Self::Index];

    fn open(self, disk: &FaultDisk) -> Result<SlabStore, StoreError> {
        let slot_len = match self {
            Self::Slots => SIZE.len(),
            Self::Index => BlockSize::Native.len(),
        };
        SlabStore::open_with_slots(Arc::new(disk.clone()), slot_len as u64)
    }
}

fn blocks(count: usize, seed: u64) -> Vec<Block> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..count).map(|_| Block::random(SIZE, &mut rng)).collect()
}

/// What a run has been promised.
#[derive(Default)]
struct Promised {
    /// Durable by an acknowledged commit, and nobody tried to take them out since.
    kept: HashSet<BlockId>,
}

fn digests(block: &Block) -> (BlockId, Digests) {
    let (piece, root) = (PieceHash::of(block.contents()), MerkleRoot::of_leaf(block.contents()));
    (block.id(), Digests { piece, root })
}

/// The same for all blocks, so that it decides nothing where the last use shall.
fn popularity(block: &Block) -> (BlockId, u8) {
    (block.id(), 6)
}

/// Puts, commits, uses, takes out and puts again, until the disk stops.
fn work(store: &SlabStore, blocks: &[Block], promised: &mut Promised) -> Result<(), StoreError> {
    for part in blocks.chunks(4) {
        for block in part {
            store.put(block)?;
        }
        store.commit()?;
        promised.kept.extend(part.iter().map(Block::id));
        let ids: Vec<BlockId> = part.iter().map(Block::id).collect();
        store.keep_digests(&part.iter().map(digests).collect::<Vec<_>>())?;
        store.set_popularity(&part.iter().map(popularity).collect::<Vec<_>>())?;
        store.mark(&ids[1..], Mark { uses: 1, pins: 0 })?;
        promised.kept.remove(&ids[0]);
        store.remove_unused(&ids)?;
        store.touch(&ids[1])?;
    }
    // All that are left are used once; the first of the first part has been touched since.
    let victim = blocks[2].id();
    promised.kept.remove(&victim);
    store.evict(u32::MAX, 1, false)?;
    assert_eq!(store.presence(&victim)?, Presence::Absent, "the coldest goes first");
    store.commit()
}

fn check(kind: Kind, disk: &FaultDisk, blocks: &[Block], promised: &Promised, when: &str) {
    let store = kind.open(disk).unwrap_or_else(|error| panic!("{when}: does not open: {error}"));
    for block in blocks {
        match store.get(&block.id()) {
            Ok(Some(found)) => {
                assert_eq!(&found, block);
                let kept = store.digests(&block.id()).unwrap();
                assert!(kept.is_none_or(|kept| kept == digests(block).1), "{when}");
                let told = store.popularity(&block.id()).unwrap();
                assert!([0, popularity(block).1].contains(&told), "{when}: {told}");
            }
            Ok(None) => {
                assert!(!promised.kept.contains(&block.id()), "{when}: a block is lost");
                assert_eq!(store.digests(&block.id()).unwrap(), None, "{when}");
                assert_eq!(store.popularity(&block.id()).unwrap(), 0, "{when}");
            }
            Err(error) => panic!("{when}: {error}"),
        }
    }
    // It works on as if nothing had been.
    for block in blocks {
        store.put(block).unwrap();
    }
    store.commit().unwrap();
    assert_eq!(store.census().unwrap().blocks, blocks.len() as u64, "{when}");
}

/// Stops the machine at every single write and sync, with three fates for what was not synced.
#[test]
fn survives_a_crash_at_every_write() {
    Kind::ALL.into_iter().for_each(crashes_at_every_write);
}

fn crashes_at_every_write(kind: Kind) {
    let blocks = blocks(12, 1);
    let trial = FaultDisk::default();
    let store = kind.open(&trial).unwrap();
    work(&store, &blocks, &mut Promised::default()).unwrap();
    let changes = trial.changes();
    drop(store);
    assert!(changes > 100, "{changes} writes and syncs");
    for stop in 1..=changes {
        let disk = FaultDisk::default();
        disk.stop_at(stop);
        let mut promised = Promised::default();
        if let Ok(store) = kind.open(&disk) {
            work(&store, &blocks, &mut promised).unwrap_err();
        }
        for kept in [Kept::None, Kept::All, Kept::Some(stop)] {
            let when = format!("{kind:?}, stopped at {stop}, {kept:?}");
            check(kind, &disk.after_crash(kept), &blocks, &promised, &when);
        }
    }
}

/// A change that fails while the machine runs on (a full disk) harms nothing that was promised.
#[test]
fn survives_a_failure_of_every_write() {
    Kind::ALL.into_iter().for_each(fails_at_every_write);
}

fn fails_at_every_write(kind: Kind) {
    let blocks = blocks(12, 2);
    let trial = FaultDisk::default();
    work(&kind.open(&trial).unwrap(), &blocks, &mut Promised::default()).unwrap();
    for fail in 1..=trial.changes() {
        let disk = FaultDisk::default();
        disk.fail_at(fail);
        let mut promised = Promised::default();
        if let Ok(store) = kind.open(&disk) {
            let _ = work(&store, &blocks, &mut promised);
        }
        let when = format!("{kind:?}, failed at {fail}");
        check(kind, &disk.after_crash(Kept::All), &blocks, &promised, &when);
    }
}

#[test]
fn every_flipped_byte_of_a_slab_is_found() {
    let blocks = blocks(3, 3);
    let disk = FaultDisk::default();
    let store = Kind::Slots.open(&disk).unwrap();
    for block in &blocks {
        store.put(block).unwrap();
    }
    drop(store);
    let name = "000000.slab";
    assert_eq!(disk.len(name), 3 * SIZE.len());
    for offset in 0..disk.len(name) {
        let disk = disk.after_crash(Kept::All);
        disk.flip(name, offset);
        let store = Kind::Slots.open(&disk).unwrap();
        for (place, id) in store.walk(0, 9).unwrap() {
            let hurt = place as usize == offset / SIZE.len();
            match store.get(&id) {
                Err(StoreError::Damaged { id: named, .. }) => assert!(hurt && named == id),
                found => assert!(!hurt && found.unwrap().is_some()),
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Put(usize),
    Commit,
    Touch(usize),
    Mark(usize, i32),
    Tell(usize, u8),
    RemoveUnused(usize),
    Evict(u32, u64),
    Reopen,
    FailSoon(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let block = 0..20_usize;
    prop_oneof![
        5 => block.clone().prop_map(Step::Put),
        2 => Just(Step::Commit),
        1 => block.clone().prop_map(Step::Touch),
        1 => (block.clone(), -1..2).prop_map(|(block, uses)| Step::Mark(block, uses)),
        1 => (block.clone(), 0..3_u8).prop_map(|(block, told)| Step::Tell(block, told)),
        1 => block.prop_map(Step::RemoveUnused),
        1 => (0..3_u32, 1..4_u64).prop_map(|(uses, most)| Step::Evict(uses, most)),
        1 => Just(Step::Reopen),
        1 => (1..30_u64).prop_map(Step::FailSoon),
    ]
}

/// What a block may be: after a failed operation nobody can know.
#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Here,
    Gone,
    Unknown,
}

#[derive(Default)]
struct Model {
    blocks: Vec<Block>,
    states: HashMap<BlockId, State>,
    /// How popular blocks are, as far as it is certain; what is not here is 0.
    told: HashMap<BlockId, Option<u8>>,
}

impl Model {
    fn set(&mut self, id: BlockId, state: State, done: bool) {
        self.states.insert(id, if done { state } else { State::Unknown });
        if state == State::Gone || !done {
            self.told.insert(id, done.then_some(0));
        }
    }

    fn doubt_all(&mut self) {
        self.told = self.blocks.iter().map(|block| (block.id(), None)).collect();
        self.states.values_mut().for_each(|state| *state = State::Unknown);
    }

    fn run(&mut self, store: &SlabStore, step: &Step) {
        let id = |at: usize| self.blocks[at].id();
        match *step {
            Step::Put(at) => {
                let done = store.put(&self.blocks[at]).is_ok();
                self.set(id(at), State::Here, done);
            }
            Step::Commit => {
                let _ = store.commit();
            }
            Step::Touch(at) => {
                if let (Ok(held), Some(State::Here)) =
                    (store.touch(&id(at)), self.states.get(&id(at)))
                {
                    assert!(held);
                }
            }
            Step::Mark(at, uses) => {
                let _ = store.mark(&[id(at)], Mark { uses, pins: 0 });
            }
            Step::Tell(at, popularity) => {
                let id = id(at);
                let told = match store.set_popularity(&[(id, popularity)]) {
                    Ok(()) => match self.states.get(&id) {
                        Some(State::Here) => Some(popularity),
                        Some(State::Unknown) => None,
                        Some(State::Gone) | None => Some(0),
                    },
                    Err(_) => None,
                };
                self.told.insert(id, told);
            }
            Step::RemoveUnused(at) => match store.remove_unused(&[id(at)]) {
                Ok(Removed { blocks: 1, .. }) => self.set(id(at), State::Gone, true),
                Ok(_) => {}
                Err(_) => self.set(id(at), State::Gone, false),
            },
            Step::Evict(uses, most) => {
                if store.evict(uses, most, false).map_or(true, |evicted| evicted.blocks > 0) {
                    self.doubt_all();
                }
            }
            Step::Reopen | Step::FailSoon(_) => {}
        }
    }

    fn check(&mut self, store: &SlabStore) {
        for block in &self.blocks {
            let found = store.get(&block.id()).unwrap();
            let popularity = store.popularity(&block.id()).unwrap();
            let told = self.told.entry(block.id()).or_insert(Some(0));
            assert!(told.is_none_or(|told| told == popularity), "{told:?}, not {popularity}");
            assert!(found.is_some() || popularity == 0, "popular though it is not here");
            *told = Some(popularity);
            let state = self.states.entry(block.id()).or_insert(State::Gone);
            match (*state, found) {
                (State::Here, None) => panic!("a block is lost"),
                (State::Gone, Some(_)) => panic!("a block came back"),
                (_, found) => *state = if found.is_some() { State::Here } else { State::Gone },
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn agrees_with_a_map_whatever_fails(
        in_index: bool, steps in prop::collection::vec(step(), 1..60),
    ) {
        let kind = if in_index { Kind::Index } else { Kind::Slots };
        let mut disk = FaultDisk::default();
        let mut store = kind.open(&disk).unwrap();
        let mut model = Model { blocks: blocks(20, 4), ..Model::default() };
        for step in &steps {
            match step {
                Step::FailSoon(changes) => disk.fail_at(*changes),
                Step::Reopen => {
                    let committed = store.commit().is_ok();
                    drop(store);
                    if !committed {
                        model.doubt_all();
                    }
                    disk = disk.after_crash(Kept::All);
                    store = kind.open(&disk).unwrap();
                    model.check(&store);
                }
                step => model.run(&store, step),
            }
        }
        // A database that has seen an error refuses to go on until it is opened again.
        let committed = store.commit().is_ok();
        drop(store);
        if !committed {
            model.doubt_all();
        }
        model.check(&kind.open(&disk.after_crash(Kept::All)).unwrap());
    }
}
