//! The original OFF store procedure, recomputed independently on `--plain` puts.
//!
//! Nothing here calls the codec: blocks are read out of the slab files, hashed with `sha2` and
//! combined with a XOR of its own.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::program::{Place, noise};

const BLOCK: usize = 131_072;

type Id = [u8; 32];

/// All blocks in a home, by a hash computed here.
fn blocks(home: &Path) -> HashMap<Id, Vec<u8>> {
    let mut found = HashMap::new();
    for entry in fs::read_dir(home.join("store")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "slab") {
            for slot in fs::read(path).unwrap().chunks_exact(BLOCK) {
                found.insert(Sha256::digest(slot).into(), slot.to_vec());
            }
        }
    }
    found
}

fn xor(blocks: &[&Vec<u8>]) -> Vec<u8> {
    (0..BLOCK).map(|i| blocks.iter().fold(0, |sum, block| sum ^ block[i])).collect()
}

/// Follows the chain by the rule of the OFF System: 4,096 places, the last one a link while more
/// ids are left than places.
fn chain(first: Id, mut ids_left: usize, blocks: &HashMap<Id, Vec<u8>>) -> (Vec<Id>, Vec<Id>) {
    let (mut chain, mut ids) = (vec![first], Vec::new());
    loop {
        let places: Vec<Id> =
            blocks[chain.last().unwrap()].chunks(32).map(|id| id.try_into().unwrap()).collect();
        if ids_left <= 4_096 {
            ids.extend(&places[..ids_left]);
            return (chain, ids);
        }
        ids.extend(&places[..4_095]);
        ids_left -= 4_095;
        chain.push(places[4_095]);
    }
}

fn descriptor(url: &str) -> Id {
    let part = url.split('/').nth_back(1).unwrap();
    bs58::decode(part).into_vec().unwrap().try_into().unwrap()
}

fn follows_the_procedure(len: usize, tuple: usize, policy: &str) {
    let place = Place::new();
    let file = place.file("file.bin", len);
    // A store with some blocks, so that there is something to draw.
    place.put("home", &place.file("earlier.bin", 5 * BLOCK));
    let args = ["put", "--plain", "--tuple", &tuple.to_string(), "--randomizers", policy];
    let args = args.into_iter().chain([file.to_str().unwrap()]);
    let url = place.run("home", args).ok().stdout().trim().to_owned();
    let blocks = blocks(&place.path("home"));
    let sources: Vec<Vec<u8>> = noise(len).chunks(BLOCK).map(<[u8]>::to_vec).collect();
    let (chain, ids) = chain(descriptor(&url), sources.len() * tuple, &blocks);
    assert_eq!(ids.len(), sources.len() * tuple);

    let mut used = HashSet::new();
    for (source, tuple) in sources.iter().zip(ids.chunks(tuple)) {
        // Indexing the map shows that every id is that of a block in the store.
        let members: Vec<&Vec<u8>> = tuple.iter().map(|id| &blocks[id]).collect();
        assert_eq!(&xor(&members)[..source.len()], source, "a tuple gives its source block");
        assert_eq!(tuple.iter().collect::<HashSet<_>>().len(), tuple.len(), "distinct in a tuple");
        for randomizer in &tuple[1..] {
            assert!(used.insert(*randomizer), "no randomizer twice in a stream");
        }
    }
    for block in blocks.values() {
        for source in &sources {
            assert_ne!(&block[..source.len()], source, "no stored block is a source block");
        }
    }
    let all: HashSet<&Id> = chain.iter().chain(&ids).collect();
    assert!(all.len() <= blocks.len());
}

#[test]
fn each_source_block_is_the_xor_of_its_tuple_with_blocks_of_the_store() {
    follows_the_procedure(20 * BLOCK + 100, 3, "mixed");
}

#[test]
fn the_procedure_holds_for_every_tuple_size() {
    for tuple in 2..=8 {
        follows_the_procedure(3 * BLOCK + 100, tuple, "mixed");
    }
}

#[test]
fn the_procedure_holds_with_fresh_randomizers_only() {
    follows_the_procedure(4 * BLOCK, 3, "fresh");
}

#[test]
fn a_descriptor_longer_than_a_block_is_a_chain() {
    // 1,366 tuples of three are 4,098 ids, two more than a block holds.
    follows_the_procedure(1_366 * BLOCK - 7, 3, "mixed");
}

#[test]
fn a_warm_store_grows_by_the_file_and_a_cold_one_by_twice_that() {
    let place = Place::new();
    let len = 100 * BLOCK;
    place.put("home", &place.file("one.bin", len));
    let cold = blocks(&place.path("home")).len();
    assert_eq!(cold, 100 + 101 + 1, "off blocks, fresh randomizers, descriptor");
    place.put("home", &place.file("two.bin", len - 1));
    let warm = blocks(&place.path("home")).len();
    assert_eq!(warm - cold, 100 + 1, "off blocks and descriptor");
}

#[test]
fn the_store_policy_says_when_there_are_too_few_blocks() {
    let place = Place::new();
    let file = place.file("file.bin", 3 * BLOCK);
    let args = ["put", "--randomizers", "store", file.to_str().unwrap()];
    place.run("home", args).exits(1).says(["too few blocks", "--randomizers mixed"]);
}
