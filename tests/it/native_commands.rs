//! Copies in the network, copies made, and what nodes tell each other of how much blocks are used.

use std::fs;
use std::net::TcpListener;

use offswarm::client::{Client, Settings};
use offswarm::off::OffUrl;
use serde_json::Value;

use crate::program::{Place, Ran, Watched, noise};

/// A node that keeps blocks of others, or does not, with a file of its own.
fn node(place: &Place, home: &str, hosts: bool) -> Watched {
    let url = place.put(home, &place.file(&format!("{home}.bin"), 1_000));
    let share: &[&str] = if hosts { &["--limit", "100MiB", "--host-share", "50"] } else { &[] };
    let args = [share, &["seed", &url, "--listen", "127.0.0.1:0"]].concat();
    Watched::start(place.command(home, args))
}

fn objects(ran: &Ran) -> Vec<Value> {
    ran.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Runs a command about a URL with nodes to ask.
fn ask(place: &Place, command: &[&str], nodes: &[&Watched]) -> Ran {
    let named = nodes.iter().flat_map(|node| ["--native-peer", &node.address]);
    let args: Vec<&str> = ["--json"].iter().chain(command).copied().chain(named).collect();
    place.run("home", args)
}

#[test]
fn rare_blocks_are_pushed_to_willing_nodes_until_there_are_enough_copies() {
    let place = Place::new();
    let file = place.file("file", 1 << 20);
    let url = place.put("home", &file);
    let (one, two) = (node(&place, "one", true), node(&place, "two", true));
    let unwilling = node(&place, "unwilling", false);
    let nodes = [&one, &two, &unwilling];
    let stat = ["stat", &url, "--network", "--copies", "2"];
    let before = objects(&ask(&place, &stat, &nodes).exits(3))[0].clone();
    let blocks = before["blocks"].as_u64().unwrap();
    assert_eq!((&before["native_peers"], &before["native_hosts"]), (&3.into(), &2.into()));
    assert_eq!((&before["copies_min"], &before["blocks_below"]), (&0.into(), &blocks.into()));

    let made = objects(&ask(&place, &["repair", &url, "--push", "2"], &nodes).ok());
    assert_eq!(made[0]["healed"], true);
    assert_eq!(
        (&made[1]["copies_made"], &made[1]["blocks_below"]),
        (&(2 * blocks).into(), &0.into())
    );

    let after = objects(&ask(&place, &stat, &nodes).ok())[0].clone();
    assert_eq!((&after["copies_min"], &after["copies_mean"]), (&2.into(), &2.0.into()));
    // Nobody else is willing, and that is said.
    let more = objects(&ask(&place, &["repair", &url, "--push", "3"], &nodes).exits(3));
    assert_eq!((&more[1]["copies_made"], &more[1]["blocks_below"]), (&0.into(), &blocks.into()));

    // One of them is gone, and so is who put it: the other one has it all.
    drop(one);
    let get = ["get", &url, "--native-only", "-o", "out"];
    let named = ["--native-peer", &two.address];
    place.run("new", get.iter().chain(&named).copied()).ok();
    assert!(fs::read(place.path("out")).unwrap() == noise(1 << 20));
    assert_eq!(two.stop(), Some(0));
    let kept = objects(&place.run("two", ["--json", "stat"]).ok())[0]["hosted_blocks"].clone();
    assert_eq!(kept, blocks);
}

#[test]
fn copies_in_the_swarm_count_and_who_is_both_counts_once() {
    let place = Place::new();
    let file = place.file("file", 1 << 20);
    let one = place.share("one", &file, []);
    let hinted = one.url.clone();
    place.run("two", ["get", &hinted, "-o", "two.out"]).ok();
    let two = Watched::start(place.command("two", ["seed", "--listen", "127.0.0.1:0"]));
    place.run("home", ["get", &hinted, "-o", "out"]).ok();
    let stat = |rungs: &[&str]| {
        let peer = ["--peer", &two.address, "--timeout", "20s", "--copies", "2"];
        let args = [&["stat", &hinted, "--network"], rungs, &peer].concat();
        objects(&ask(&place, &args, &[]).ok())[0].clone()
    };
    let swarm = stat(&["--swarm-only"]);
    assert_eq!((&swarm["native_peers"], &swarm["swarm_peers"]), (&0.into(), &2.into()), "{swarm}");
    assert_eq!((&swarm["copies_min"], &swarm["blocks_below"]), (&2.into(), &0.into()), "{swarm}");
    let native = stat(&["--native-only"]);
    assert_eq!(
        (&native["native_peers"], &native["copies_min"]),
        (&2.into(), &2.into()),
        "{native}"
    );
    let both = stat(&[]);
    assert_eq!((&both["native_peers"], &both["swarm_peers"]), (&2.into(), &0.into()), "{both}");
    assert_eq!(both["copies_mean"], 2.0, "{both}");
}

#[test]
fn with_swarms_only_no_native_peer_is_called() {
    let place = Place::new();
    let url = place.put("home", &place.file("file", 300_000));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let count = |rung| {
        let args = ["stat", &url, "--network", rung, "--timeout", "2s", "--native-peer", &address];
        place.run("home", args).exits(3);
        std::iter::from_fn(|| listener.accept().ok()).count()
    };
    assert_eq!(count("--swarm-only"), 0);
    assert!(count("--native-only") > 0);
}

/// The descriptor tells which blocks to count, so it is fetched if it is not here; nothing else is.
#[test]
fn what_is_not_here_is_counted_too() {
    let place = Place::new();
    let sharing = place.share("one", &place.file("file", 1 << 20), []);
    place.put("home", &place.file("other", 1));
    let ran = ask(&place, &["stat", &sharing.url, "--network"], &[]).ok();
    assert_eq!(objects(&ran)[0]["copies_min"], 1);
    let here = objects(&place.run("home", ["--json", "stat", &sharing.url]).exits(3));
    assert_eq!(here[0]["descriptor_complete"], true);
    // And a block by which the node has shown that it has what it says.
    assert!(here[0]["blocks_here"].as_u64().unwrap() <= 2, "{here:?}");
}

#[test]
fn what_others_use_is_popular_here() {
    let place = Place::new();
    let sharing = place.share("one", &place.file("file", 4 << 20), []);
    place.run("home", ["get", &sharing.url, "-o", "out", "--native-only"]).ok();
    let client = Client::open_existing(&place.path("home"), &Settings::default()).unwrap();
    let blocks = client.blocks_of(&[OffUrl::parse(&sharing.url).unwrap()]).unwrap();
    let popular = blocks.iter().filter(|id| client.store().popularity(id).unwrap() > 0);
    // The descriptor comes before anything is asked, like all that is little.
    assert!(popular.count() + 1 >= blocks.len());
    assert!(client.store().is_any_popular().unwrap());
}

#[test]
fn a_report_names_native_peers() {
    let place = Place::new();
    let file = place.file("file", 8 << 20);
    let url = place.put("one", &file);
    let args = ["seed", &url, "--listen", "127.0.0.1:0", "--up-limit", "2MiB"];
    let mut seeder = Watched::start(place.command("one", args));
    let get = ["get", &url, "-o", "out", "--native-only", "--native-peer", &seeder.address];
    let mut getting = place.command("home", get).spawn().unwrap();
    let peers = seeder.wait(|told| told["native_peers"].as_u64().filter(|peers| *peers > 0));
    assert_eq!(peers, 1);
    assert!(getting.wait().unwrap().success());
}
