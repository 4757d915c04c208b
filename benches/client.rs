//! The store and the client on a temporary folder: `TMPDIR=/dev/shm` leaves the disk out.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark that cannot go on fails")]

use divan::Bencher;
use divan::counter::BytesCount;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use std::sync::Arc;

use offswarm::client::put::PutOptions;
use offswarm::client::{Client, Settings};
use offswarm::limits::BLOCK_LEN;
use offswarm::off::{Block, BlockSize, OffUrl};
use offswarm::store::{BlockStore, Folder, SlabStore};

const FILE_LEN: usize = 64 << 20;
const BLOCKS: usize = 256;

fn main() {
    divan::main();
}

fn blocks() -> Vec<Block> {
    let mut rng = StdRng::seed_from_u64(1);
    (0..BLOCKS).map(|_| Block::random(BlockSize::Native, &mut rng)).collect()
}

fn store() -> (TempDir, SlabStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = SlabStore::open(Arc::new(Folder::open(folder.path()).unwrap())).unwrap();
    (folder, store)
}

/// 256 blocks and a commit.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn store_put(bencher: Bencher) {
    let blocks = blocks();
    bencher.counter(BytesCount::new(BLOCKS * BLOCK_LEN)).with_inputs(store).bench_refs(
        |(_, store)| {
            for block in &blocks {
                store.put(block).unwrap();
            }
            store.commit().unwrap();
        },
    );
}

/// 256 blocks, each verified.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn store_get(bencher: Bencher) {
    let (blocks, (_folder, store)) = (blocks(), store());
    for block in &blocks {
        store.put(block).unwrap();
    }
    store.commit().unwrap();
    bencher.counter(BytesCount::new(BLOCKS * BLOCK_LEN)).bench_local(|| {
        for block in &blocks {
            store.get(&block.id()).unwrap().unwrap();
        }
    });
}

fn put(client: &Client, file: &[u8]) -> OffUrl {
    client.put(&mut &file[..], &PutOptions::default(), &mut |_| ()).unwrap().url
}

fn file() -> Vec<u8> {
    let mut bytes = vec![0; FILE_LEN];
    StdRng::seed_from_u64(2).fill_bytes(&mut bytes);
    bytes
}

/// Half of the blocks written are fresh randomizers.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn put_cold(bencher: Bencher) {
    let file = file();
    let home = || {
        let home = tempfile::tempdir().unwrap();
        (Client::open(home.path(), &Settings::default()).unwrap(), home)
    };
    bencher
        .counter(BytesCount::new(FILE_LEN))
        .with_inputs(home)
        .bench_refs(|(client, _)| put(client, &file));
}

/// All randomizers are in the store.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn put_warm(bencher: Bencher) {
    let (file, home) = (file(), tempfile::tempdir().unwrap());
    let client = Client::open(home.path(), &Settings::default()).unwrap();
    put(&client, &file);
    bencher.counter(BytesCount::new(FILE_LEN)).bench_local(|| put(&client, &file));
}

/// Every block and the file verified.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn get(bencher: Bencher) {
    let home = tempfile::tempdir().unwrap();
    let client = Client::open(home.path(), &Settings::default()).unwrap();
    let url = put(&client, &file());
    bencher.counter(BytesCount::new(FILE_LEN)).bench_local(|| {
        client.read(&url, &mut std::io::sink(), &mut |_| ()).unwrap();
    });
}
