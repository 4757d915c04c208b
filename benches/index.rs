//! The index of a store with a million blocks: how fast it opens, and how fast it draws.
//!
//! `cargo bench --bench index` prints a table. Slots are small (136 bytes), because the index is
//! what is measured; `BLOCKS=100000` makes it shorter.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use offswarm::off::{Block, BlockSize};
use offswarm::store::{BlockStore, Folder, SlabStore, Upkeep};
use rand::SeedableRng;
use rand::rngs::StdRng;

const SIZE: BlockSize = BlockSize::LegacyNano;

fn open(folder: &tempfile::TempDir) -> SlabStore {
    let disk = Arc::new(Folder::open(folder.path()).unwrap());
    SlabStore::open_with_slots(disk, SIZE.len() as u64).unwrap()
}

fn timed<T>(what: &str, count: u64, run: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = run();
    let elapsed = start.elapsed();
    let each = if count == 0 { Duration::ZERO } else { elapsed / u32::try_from(count).unwrap() };
    println!("{what:<44} {:>9.3} s {each:>12?} each", elapsed.as_secs_f64());
    done
}

fn fill(store: &SlabStore, from: u64, to: u64) {
    let mut rng = StdRng::seed_from_u64(from);
    for _ in from..to {
        store.put(&Block::random(SIZE, &mut rng)).unwrap();
    }
    store.commit().unwrap();
}

fn main() {
    let blocks: u64 = std::env::var("BLOCKS").map_or(1_000_000, |count| count.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut held = 0;
    for size in [blocks / 100, blocks / 10, blocks] {
        let store = open(&folder);
        timed(&format!("put up to {size} blocks"), size - held, || fill(&store, held, size));
        held = size;
        drop(store);
        let store = timed(&format!("open with {size} blocks"), 0, || open(&folder));
        timed(&format!("draw 10000 of {size} blocks"), 10_000, || {
            assert_eq!(store.draws(SIZE, 7).unwrap().take(10_000).flatten().count(), 10_000);
        });
        timed(&format!("choose 100 of {size} for eviction"), 100, || {
            assert_eq!(store.evict(0, 100, true).unwrap().blocks, 100);
        });
        // A process that was killed leaves the database as it was: reopen without closing it.
        std::mem::forget(store);
        timed(&format!("reopen {size} blocks after a crash"), 0, || open(&folder));
    }
}
