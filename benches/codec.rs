//! The formats alone: what a block costs in each of them. Bytes are those of the user's file.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark that cannot go on fails")]

use std::hint::black_box;

use divan::Bencher;
use divan::counter::BytesCount;
use rand::SeedableRng;
use rand::rngs::StdRng;

use offswarm::id::BlockId;
use offswarm::limits::BLOCK_LEN;
use offswarm::off::descriptor::Layout;
use offswarm::off::{Block, BlockSize, Seal, SealKey, SourceBlock, tuple};

const TUPLES: [usize; 3] = [2, 3, 8];

fn main() {
    divan::main();
}

fn rng() -> StdRng {
    StdRng::seed_from_u64(1)
}

fn randomizers(count: usize) -> Vec<Block> {
    let mut rng = rng();
    (0..count).map(|_| Block::random(BlockSize::Native, &mut rng)).collect()
}

/// XOR and SHA-256 of the off block.
#[divan::bench(args = TUPLES)]
fn encode(bencher: Bencher, tuple: usize) {
    let hiding = randomizers(tuple - 1);
    let source = || SourceBlock::padded(vec![1; BLOCK_LEN], BlockSize::Native, &mut rng());
    bencher
        .counter(BytesCount::new(BLOCK_LEN))
        .with_inputs(source)
        .bench_values(|source| tuple::encode(source, &hiding).unwrap());
}

/// XOR alone: the blocks were verified when they were read.
#[divan::bench(args = TUPLES)]
fn decode(bencher: Bencher, tuple: usize) {
    let blocks = randomizers(tuple);
    bencher.counter(BytesCount::new(BLOCK_LEN)).bench(|| tuple::decode(black_box(&blocks)));
}

/// SHA-256 of a block, the bound of everything that verifies.
#[divan::bench]
fn check(bencher: Bencher) {
    let block = Block::random(BlockSize::Native, &mut rng());
    bencher
        .counter(BytesCount::new(BLOCK_LEN))
        .bench(|| Block::check(block.id(), block.bytes().clone()).unwrap());
}

/// `ChaCha20` over a block of the stream.
#[divan::bench]
fn seal(bencher: Bencher) {
    let seal = Seal::Key(SealKey::random(&mut rng()));
    let mut bytes = vec![0; BLOCK_LEN];
    bencher
        .counter(BytesCount::new(BLOCK_LEN))
        .bench_local(|| seal.apply_to_stream(BLOCK_LEN as u64, black_box(&mut bytes)));
}

/// The ids of a chain block: bytes are those of the ids.
fn chain() -> (Layout, Vec<BlockId>, Seal) {
    let layout = Layout::new(BlockSize::Native.slots(), BlockSize::Native);
    let ids = (0..BlockSize::Native.slots()).map(|i| BlockId::of(&i.to_le_bytes()));
    (layout, ids.collect(), Seal::Key(SealKey::random(&mut rng())))
}

#[divan::bench]
fn descriptor_encode(bencher: Bencher) {
    let (layout, ids, seal) = chain();
    bencher
        .counter(BytesCount::new(BLOCK_LEN))
        .bench(|| layout.encode(0, black_box(&ids), None, &seal, &mut rng()));
}

#[divan::bench]
fn descriptor_decode(bencher: Bencher) {
    let (layout, ids, seal) = chain();
    let block = layout.encode(0, &ids, None, &seal, &mut rng());
    bencher
        .counter(BytesCount::new(BLOCK_LEN))
        .bench(|| layout.decode(0, black_box(&block), &seal).unwrap());
}
