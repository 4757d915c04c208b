//! Fetches from native peers through the program, and what it tells meanwhile.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use offswarm::client::fetch::{Rungs, Waiting, Ways};
use offswarm::client::{Client, GetError, Settings};
use offswarm::limits::BLOCK_LEN;
use offswarm::off::{Carriage, OffUrl};
use offswarm::swarm::native::NativeOptions;
use offswarm::swarm::session::{Options, Swarms};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::native_peer::Shared;
use crate::peer_wire::LEN;
use crate::program::{Place, Ran, noise};

const NODES: usize = 10;

fn json(ran: &Ran) -> Value {
    serde_json::from_slice(&ran.0.stdout).unwrap()
}

/// What it was waiting for, as told on stderr.
fn waits(ran: &Ran) -> Vec<Value> {
    let stderr = ran.stderr();
    let lines = stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter_map(|mut line| Some(line.get_mut("waiting")?.take())).collect()
}

/// Answers native peers from a home that is given these blocks.
async fn node(
    place: &Place,
    home: &str,
    blocks: impl Iterator<Item = &Vec<u8>>,
) -> (Client, Swarms) {
    let client = Client::open(&place.path(home), &Settings::default()).unwrap();
    for block in blocks {
        client.store().put(&Carriage::Whole.unload(&block.clone().into()).unwrap()).unwrap();
    }
    let listen = Some("127.0.0.1:0".parse().unwrap());
    let swarms = client.swarms(&Options { listen, ..Options::default() }).await.unwrap();
    (client, swarms)
}

/// Somebody listens there and says nothing.
fn silent_peer() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_nodes_with_a_third_each_give_the_whole() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let (place, len) = (Place::new(), 8 << 20);
    let shared = Shared::put(&place, "a", &place.file("in.bin", len));
    let mut nodes = Vec::new();
    for number in 0..NODES {
        // Each block is at one of them at least.
        let mut is_here = |at: usize| at % NODES == number || rng.random_range(0..3) == 0;
        let blocks: Vec<_> = (0..shared.ids.len()).filter(|at| is_here(*at)).collect();
        let blocks = blocks.into_iter().map(|at| &shared.blocks[at]);
        nodes.push(node(&place, &format!("node{number}"), blocks).await);
    }
    let mut get = place.command("b", ["--json", "get", &shared.url, "-o", "out"]);
    get.args(["--native-only", "--timeout", "60s"]);
    for (_, swarms) in &nodes {
        get.arg("--native-peer").arg(swarms.listen().to_string());
    }
    let ran = tokio::task::block_in_place(|| Ran(get.output().unwrap())).ok();
    assert!(fs::read(place.path("out")).unwrap() == noise(len));
    let (told, all) = (json(&ran), shared.ids.len() as u64);
    let numbers = ["blocks_local", "blocks_native", "blocks_swarm", "bytes_swarm"];
    assert_eq!(numbers.map(|key| told[key].as_u64()), [Some(0), Some(all), Some(0), Some(0)]);
    assert_eq!(told["bytes_received"], told["bytes_native"]);
    let bytes = told["bytes_native"].as_u64().unwrap();
    let least = all * BLOCK_LEN as u64;
    assert!((least..least * 11 / 10).contains(&bytes), "{bytes} bytes for {least}");
    let givers = nodes.iter().filter(|(_, swarms)| swarms.traffic().sent > BLOCK_LEN as u64);
    assert!(givers.count() >= NODES / 2, "many share in the work");
}

#[test]
fn while_nothing_is_found_it_says_each_second_why_it_waits() {
    let place = Place::new();
    let shared = Shared::put(&place, "a", &place.file("in.bin", LEN));
    let (_listener, silent) = silent_peer();
    for more in [&[][..], &["--native-only"]] {
        let args = ["--json", "get", &shared.url, "-o", "out", "--timeout", "3s"];
        let named = ["--native-peer", &silent];
        let started = Instant::now();
        let ran = place.run("b", args.iter().chain(&named).chain(more)).exits(4);
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
        let waits = waits(&ran);
        assert!((2..=4).contains(&waits.len()), "{}", ran.stderr());
        for wait in waits {
            assert_eq!((&wait["native_peers"], &wait["native_known"]), (&0.into(), &1.into()));
            assert!(wait["missing"].as_u64() > Some(0) && wait["missing"] == wait["blocks"]);
            let reason = wait["reason"].as_str().unwrap();
            assert!(reason.contains("native: 0 of 1 peers connected"), "{reason}");
        }
        ran.says(["blocks not found", "the store", "1 native peer (0 connected)"]);
    }
    assert!(!place.path("out").exists());
}

#[test]
fn with_native_peers_only_and_none_of_them_nothing_is_found() {
    let place = Place::new();
    let shared = Shared::put(&place, "a", &place.file("in.bin", LEN));
    let get = ["get", &shared.url, "-o", "out", "--native-only"];
    let started = Instant::now();
    place.run("b", get).exits(4).says(["blocks not found", "the store"]);
    // One that is gone, by either name: whom the user names as a native peer may come yet.
    for named in [["--stall", "1s", "--native-peer"], ["--stall", "60s", "--peer"]] {
        let gone = silent_peer().1;
        let ran = place.run("b", get.into_iter().chain(named).chain([&*gone])).exits(4);
        ran.says(["1 native peer (0 connected)"]);
    }
    // One that has other blocks.
    let other = place.share("c", &place.file("other.bin", 1_000), []);
    let ran = place.run("b", get.into_iter().chain(["--native-peer", &other.address()])).exits(4);
    ran.says(["1 native peer (1 connected)"]);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

/// The URL names a swarm whose only peer is the same program, which a native get does not join.
#[test]
fn the_user_chooses_between_native_peers_and_swarms() {
    let place = Place::new();
    let seeder = place.share("a", &place.file("in.bin", LEN), []);
    for (home, flag, counted) in
        [("b", "--native-only", "blocks_native"), ("c", "--swarm-only", "blocks_swarm")]
    {
        let ran = place.run(home, ["--json", "get", &seeder.url, "-o", counted, flag]).ok();
        assert_eq!(json(&ran)[counted], 10, "{flag}");
    }
    let bare = OffUrl::parse(&seeder.url).unwrap().canonical().to_string();
    let args = ["get", &bare, "-o", "out", "--swarm-only", "--native-peer", &seeder.address()];
    place.run("d", args).exits(4);
}

#[test]
fn flags_that_exclude_each_other_are_refused() {
    let place = Place::new();
    let shared = Shared::put(&place, "a", &place.file("in.bin", LEN));
    for pair in [
        ["--native-only", "--swarm-only"],
        ["--offline", "--native-only"],
        ["--offline", "--swarm-only"],
    ] {
        for verb in ["get", "cat"] {
            let args = [verb, &shared.url].into_iter().chain(pair);
            place.run("b", args).exits(2).says(pair);
        }
    }
    let both = ["repair", "--native-only", "--swarm-only"];
    place.run("b", both).exits(2);
    place.run("b", ["get", &shared.url, "--native-peer", "nowhere"]).exits(2);
    assert!(!place.path("b").exists(), "nothing was begun");
}

#[test]
fn a_range_comes_of_native_peers_and_little_else_with_it() {
    let (place, len) = (Place::new(), 8 << 20);
    let shared = Shared::put(&place, "a", &place.file("in.bin", len));
    let seeder = shared.seed(&place, "a", []);
    let (first, last) = (5_000_000, 5_099_999);
    let range = format!("{first}-{last}");
    let args = ["cat", &shared.url, "--range", &range, "--native-peer", &seeder.address()];
    let ran = place.run("b", args.into_iter().chain(["--native-only"])).ok();
    assert!(ran.0.stdout == noise(len)[first..=last]);
    let stat = json(&place.run("b", ["--json", "stat", &shared.url]).exits(3));
    let here = stat["blocks_here"].as_u64().unwrap();
    // The descriptor, and two or three tuples of three.
    assert!(here > 3 && here < 20, "{here} of {} blocks came", shared.ids.len());
    place.run("b", ["cat", &shared.url, "--range", &range, "--offline"]).ok();
}

/// Stopped when a quarter is there: that stays, and the rest is all that comes the next time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_came_before_a_stop_is_kept() {
    let (place, len) = (Place::new(), 16 << 20);
    let shared = Shared::put(&place, "a", &place.file("in.bin", len));
    let seeder = shared.seed(&place, "a", ["--up-limit", "16MiB"]);
    let client = Client::open(&place.path("b"), &Settings::default()).unwrap();
    let url = OffUrl::parse(&shared.url).unwrap();
    let peers: Vec<SocketAddr> = vec![seeder.address().parse().unwrap()];
    let native = NativeOptions { peers, ..NativeOptions::default() };
    let swarms = Options { native, ..Options::default() };
    let timeout = Some(Duration::from_secs(60));
    let ways = Ways { swarms, rungs: Rungs::NativeOnly, timeout, ..Ways::default() };
    let stop = CancellationToken::new();
    let all = shared.ids.len() as u64;
    let watch = &mut |waiting: &Waiting| {
        if waiting.native.is_some_and(|native| native.came > all / 4) {
            stop.cancel();
        }
    };
    let stopped = client.fetch(&url, &ways, &stop, watch).await;
    assert!(matches!(stopped, Err(GetError::Stopped)), "{stopped:?}");
    let here = client.store().census().unwrap().blocks;
    assert!(here > all / 4 && here < all, "{here} of {all}");
    drop(client);

    // A thread that looked something up in it may hold it for a moment.
    let started = Instant::now();
    let client = loop {
        match Client::open(&place.path("b"), &Settings::default()) {
            Ok(client) => break client,
            Err(error) => assert!(started.elapsed() < Duration::from_secs(5), "{error}"),
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(client.store().census().unwrap().blocks, here, "all of it is on the disk");
    let fetched = client.fetch(&url, &ways, &CancellationToken::new(), &mut |_| ()).await.unwrap();
    assert_eq!((fetched.local, fetched.native, fetched.swarm), (here, all - here, 0));
    let needed = (all - here) * BLOCK_LEN as u64;
    assert!(fetched.native_received < needed + needed / 50, "{} bytes", fetched.native_received);
    let mut out = Vec::new();
    client.read(&url, &mut out, &mut |_| ()).unwrap();
    assert!(out == noise(len));
}
