//! What the blocks of a sealed URL give away: nothing.

use offswarm::client::put::PutOptions;
use offswarm::client::{Client, Settings};
use offswarm::off::OffUrl;

use crate::program::{Place, noise};

const BLOCK: usize = 131_072;
const SOURCES: usize = 8;

fn put(place: &Place, sealed: bool) -> (OffUrl, Vec<Vec<u8>>) {
    let client = Client::open(&place.path("home"), &Settings::default()).unwrap();
    let options = PutOptions { sealed, ..PutOptions::default() };
    let file = noise(SOURCES * BLOCK);
    let put = client.put(&mut &file[..], &options, &mut |_| ()).unwrap();
    let order = client.survey(&put.url).unwrap().order;
    let blocks = order.iter().map(|id| client.store().get(id).unwrap().unwrap());
    (put.url.clone(), blocks.map(|block| block.contents().to_vec()).collect())
}

/// Whether `candidate`, a sum of blocks given by its first 32 bytes, begins any source block.
/// 32 equal bytes by chance have a probability of 2^-256.
fn is_source(candidate: [u8; 32], file: &[u8]) -> bool {
    file.chunks(BLOCK).any(|source| source[..32] == candidate)
}

fn xor(sum: [u8; 32], block: &[u8]) -> [u8; 32] {
    std::array::from_fn(|i| sum[i] ^ block[i])
}

fn some_pair_or_triple_is_a_source(blocks: &[Vec<u8>], file: &[u8]) -> bool {
    (0..blocks.len()).any(|i| {
        let one = xor([0; 32], &blocks[i]);
        (i + 1..blocks.len()).any(|j| {
            let two = xor(one, &blocks[j]);
            is_source(two, file)
                || (j + 1..blocks.len()).any(|k| is_source(xor(two, &blocks[k]), file))
        })
    })
}

fn some_block_contains_an_id(blocks: &[Vec<u8>]) -> bool {
    let ids: Vec<[u8; 32]> =
        blocks.iter().map(|block| *offswarm::id::BlockId::of(block).as_bytes()).collect();
    blocks.iter().any(|block| block.windows(32).any(|window| ids.iter().any(|id| id == window)))
}

#[test]
fn no_pair_or_triple_of_sealed_blocks_is_a_source_block() {
    let place = Place::new();
    let (_, blocks) = put(&place, true);
    assert!(blocks.len() >= 2 * SOURCES);
    assert!(!some_pair_or_triple_is_a_source(&blocks, &noise(SOURCES * BLOCK)));
    assert!(!some_block_contains_an_id(&blocks));
}

/// The same search does find the sources of a plain URL, so it would find those of a bad seal.
#[test]
fn the_search_finds_what_a_plain_url_gives_away() {
    let place = Place::new();
    let (_, blocks) = put(&place, false);
    assert!(some_pair_or_triple_is_a_source(&blocks, &noise(SOURCES * BLOCK)));
    assert!(some_block_contains_an_id(&blocks));
}

#[test]
fn every_put_draws_a_key_of_its_own() {
    let place = Place::new();
    let file = place.file("file", 1_000);
    let (one, other) = (place.put("home", &file), place.put("home", &file));
    let key = |url: &str| url.split("?k=").nth(1).unwrap().to_owned();
    assert_ne!(key(&one), key(&other));
    assert_ne!(one.split('/').nth_back(1), other.split('/').nth_back(1), "descriptor");
}

#[test]
fn without_its_key_a_sealed_url_is_another_file() {
    let place = Place::new();
    let url = place.put("home", &place.file("file", 1_000));
    let keyless = url.split('?').next().unwrap();
    // The chain decodes to noise, so its tuples name blocks that exist nowhere.
    place.run("home", ["get", keyless, "-o", "out", "--offline"]).exits(4);
    assert!(!place.path("out").exists());
}
