//! Hostile descriptors, races for room, and a hostile machine (ATTACKS 18, 20 and 30).

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use offswarm::client::put::PutOptions;
use offswarm::client::{Client, Settings};
use offswarm::id::{BlockId, FileId};
use offswarm::off::url::Named;
use offswarm::off::{Block, BlockSize, Carriage, OffUrl, Seal, TupleSize};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::program::{Place, noise};

const BLOCK: u64 = 131_072;

/// A plain chain block that holds these ids, and noise behind them.
fn chain(ids: &[BlockId], rng: &mut StdRng) -> Block {
    let mut bytes = Block::random(BlockSize::Native, rng).contents().to_vec();
    for (place, id) in bytes.chunks_exact_mut(32).zip(ids) {
        place.copy_from_slice(id.as_bytes());
    }
    Carriage::Whole.unload(&bytes.into()).unwrap()
}

fn url(length: u64, descriptor: BlockId) -> String {
    let (file, tuple, seal) = (FileId::of_nothing(), TupleSize::default(), Seal::Plain);
    let named = Named { length, file, descriptor: Some(descriptor), tuple, seal };
    OffUrl::new(named, "application/octet-stream", "out").unwrap().to_string()
}

#[test]
fn a_descriptor_made_to_mislead_gives_an_error_and_no_output() {
    let place = Place::new();
    let rng = &mut StdRng::seed_from_u64(18);
    let [a, b, c]: [Block; 3] = std::array::from_fn(|_| Block::random(BlockSize::Native, rng));
    let absent = BlockId::of(b"absent");
    let whole = chain(&[a.id(), b.id(), c.id()], rng);
    let repeats = chain(&[a.id(), b.id(), a.id()], rng);
    let late = chain(&[a.id(), b.id(), c.id(), a.id(), b.id(), b.id()], rng);
    let misses = chain(&[a.id(), b.id(), absent], rng);
    let names_a_chain = chain(&[a.id(), b.id(), whole.id()], rng);
    // 4,095 ids and a link: 1,366 source blocks have a chain of two.
    let full = |link: BlockId, rng: &mut StdRng| {
        let ids: Vec<_> = (0..4_095_u32).map(|i| BlockId::of(&i.to_le_bytes())).collect();
        chain(&[&ids[..], &[link]].concat(), rng)
    };
    let (into_nothing, into_noise) = (full(absent, rng), full(a.id(), rng));
    let cases = [
        ("repeated", &repeats, 1, 5, "occurs twice in a tuple"),
        ("repeated later", &late, BLOCK + 1, 5, "occurs twice in a tuple"),
        ("missing", &misses, 1, 4, "blocks not found"),
        ("another chain's block", &names_a_chain, 1, 5, "the URL names"),
        ("link into nothing", &into_nothing, 1_366 * BLOCK, 4, "blocks not found"),
        ("link into noise", &into_noise, 1_366 * BLOCK, 4, "blocks not found"),
        ("longer than its blocks", &whole, 2 * BLOCK, 4, "blocks not found"),
        ("far longer", &whole, 1 << 50, 4, "blocks not found"),
        ("another file", &whole, 1, 5, "the URL names"),
    ];
    {
        let client = Client::open(&place.path("home"), &Settings::default()).unwrap();
        for block in [&a, &b, &c, &whole].into_iter().chain(cases.iter().map(|case| case.1)) {
            client.store().put(block).unwrap();
        }
        client.store().commit().unwrap();
    }
    for (what, first, length, code, says) in cases {
        println!("{what}");
        let url = url(length, first.id());
        place.run("home", ["get", &url, "-o", "out", "--offline"]).exits(code).says([says]);
        assert!(!place.path("out").exists());
        let ran = place.run("home", ["get", &url, "-o", "-", "--offline"]).exits(code);
        assert!(says == "the URL names" || ran.0.stdout.is_empty(), "{what}");
    }
    assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 1, "no temporary file is left");
}

/// A url that gc does not know yet must not lose its count while it is entered or pinned.
#[test]
fn collecting_garbage_takes_nothing_from_puts_and_pins_that_race_it() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let place = Place::new();
    let limit = 160 * BLOCK;
    let client =
        Client::open(&place.path("home"), &Settings { limit: Some(limit), ..Settings::default() })
            .unwrap();
    let put = |bytes: &[u8]| {
        // Held until it is pinned, so that no other put evicts it in between.
        let lease = client.store().lease();
        let done = client.put(&mut &bytes[..], &PutOptions::default(), &mut |_| ());
        done.ok().map(|put| (put.url, lease))
    };
    let right = |url: &OffUrl, bytes: &[u8]| {
        let mut out = Vec::new();
        client.read(url, &mut out, &mut |_| ()).unwrap();
        assert!(out == bytes);
    };
    let first = noise(300_000);
    let (kept, lease) = put(&first).unwrap();
    client.pin(&kept).unwrap();
    drop(lease);
    let done = AtomicBool::new(false);
    let within = || assert!(client.store().census().unwrap().bytes <= limit + BLOCK);
    let pinned: Vec<_> = std::thread::scope(|scope| {
        {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    client.gc(false).unwrap();
                    within();
                }
            });
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    right(&kept, &first);
                }
            });
        }
        let (put, client, within) = (&put, &client, &within);
        let putters: Vec<_> = (0..3_u64)
            .map(|at| {
                scope.spawn(move || {
                    let rng = &mut StdRng::seed_from_u64(seed.wrapping_add(at));
                    let mut pinned = Vec::new();
                    for round in 0..12 {
                        let mut bytes = vec![0; 200_000];
                        rng.fill_bytes(&mut bytes);
                        let Some((url, _lease)) = put(&bytes) else { continue };
                        if round % 4 == 0 && client.pin(&url).is_ok() {
                            pinned.push((url, bytes));
                        }
                        within();
                    }
                    pinned
                })
            })
            .collect();
        let ended: Vec<_> = putters.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        ended.into_iter().flat_map(Result::unwrap).collect()
    });
    assert!(!pinned.is_empty());
    for (url, bytes) in &pinned {
        right(url, bytes);
    }
    right(&kept, &first);
    assert_eq!(client.gc(true).unwrap().recounted, 0, "every count is right");
}

#[test]
fn too_few_file_descriptors_are_an_error_and_lose_nothing() {
    let place = Place::new();
    let file = place.file("in", 3_000_000);
    let url = place.put("home", &file);
    let input = file.to_str().unwrap();
    for few in [4, 6, 8, 10, 12, 14, 16, 20] {
        for args in [["put", input, "--json"], ["get", &url, "-oout"]] {
            let command = place.command("home", args);
            let mut limited = Command::new("sh");
            limited.args(["-c", &format!("ulimit -n {few}; exec \"$@\""), "sh"]);
            limited.arg(command.get_program()).args(command.get_args());
            let ran = limited.current_dir(place.path("")).output().unwrap();
            let said = String::from_utf8_lossy(&ran.stderr).into_owned();
            let code = ran.status.code();
            println!("{few} {} {code:?} {said}", args[0]);
            assert!([Some(0), Some(1)].contains(&code), "{few}: {said}");
            assert!(code == Some(0) || !said.is_empty());
        }
    }
    place.run("home", ["check", "--read-data"]).ok();
    place.run("home", ["get", &url, "-o", "out", "--offline"]).ok();
    assert!(fs::read(place.path("out")).unwrap() == noise(3_000_000));
}
