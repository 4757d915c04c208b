//! What the user limits, and what is told of it.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::peer_wire::Peer;
use crate::program::{Place, Ran, Seeder, Watched, noise};

/// A second's burst passes at once, and what is read last need not be waited for.
const LEAST: Duration = Duration::from_secs(2);

fn json(ran: &Ran) -> Value {
    serde_json::from_slice(&ran.0.stdout).unwrap()
}

/// 4 MiB and a little of blocks at 1 MiB a second.
fn takes_its_time(seed: &[&str], get: &[&str]) {
    let place = Place::new();
    let seeder = place.share("a", &place.file("in.bin", 2 << 20), seed.iter().copied());
    let started = Instant::now();
    place.run("b", ["get", &seeder.magnet, "-o", "out"].iter().chain(get)).ok();
    assert!(fs::read(place.path("out")).unwrap() == noise(2 << 20));
    assert!(started.elapsed() >= LEAST, "{:?}", started.elapsed());
}

#[test]
fn a_seeder_keeps_to_its_upload_limit() {
    takes_its_time(&["--up-limit", "1MiB"], &[]);
}

#[test]
fn a_download_keeps_to_its_limit() {
    takes_its_time(&[], &["--down-limit", "1MiB"]);
}

#[test]
fn no_more_peers_are_connected_than_allowed() {
    let place = Place::new();
    let file = place.file("in.bin", 400_000);
    let url = place.put("a", &file);
    let args = ["seed", &url, "--listen", "127.0.0.1:0", "--max-peers", "3"];
    let mut seeder = Watched::start(place.command("a", args));
    let infohash = infohash(&mut seeder);
    let peers: Vec<Peer> =
        (0..20).filter_map(|_| Peer::connect(&seeder.address, &infohash)).collect();
    assert!(!peers.is_empty());
    for _ in 0..5 {
        let connected = seeder.wait(|told| told["peers"].as_u64());
        assert!(connected <= 3, "{connected} peers");
    }
    // Whoever idles makes room for whoever comes.
    let address = seeder.address.clone();
    let link = format!("{url}&btih={infohash}");
    place.run("b", ["get", &link, "-o", "out", "--peer", &address, "--timeout", "60s"]).ok();
}

/// The infohash of the only torrent that a seeder has, from its report.
fn infohash(seeder: &mut Watched) -> String {
    seeder.wait(|told| told["swarms"][0]["infohash"].as_str().map(ToOwned::to_owned))
}

#[test]
fn a_report_tells_peers_rates_and_ratio() {
    let place = Place::new();
    let url = place.put("a", &place.file("in.bin", 4 << 20));
    let args = ["seed", &url, "--listen", "127.0.0.1:0", "--up-limit", "2MiB"];
    let mut seeder = Watched::start(place.command("a", args));
    let link = format!("{url}&btih={}", infohash(&mut seeder));
    let mut get = place
        .command(
            "b",
            ["--quiet", "get", &link, "-o", "out", "--peer", &seeder.address, "--swarm-only"],
        )
        .spawn()
        .unwrap();
    let told = seeder.wait(|told| {
        let peer = &told["swarms"][0]["peers"][0];
        let moves = peer["sent"].as_u64()? > 0 && peer["sent_per_second"].as_u64()? > 0;
        (moves && told["sent_per_second"].as_u64()? > 0).then(|| told.clone())
    });
    let peer = &told["swarms"][0]["peers"][0];
    assert_eq!((&told["peers"], &told["torrents"]), (&1.into(), &1.into()), "{told}");
    assert_eq!((&peer["interested"], &peer["served"]), (&true.into(), &true.into()), "{told}");
    assert!(peer["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{told}");
    assert!(get.wait().unwrap().success());
    let sent = seeder.wait(|told| told["sent"].as_u64().filter(|sent| *sent > 8 << 20));
    assert_eq!(seeder.stop(), Some(0));
    let shown = json(&place.run("a", ["--json", "torrent", "show", &url]).ok());
    assert!(shown["standing"]["sent"].as_u64().unwrap() >= sent, "{shown}");
}

/// What each of two runs sends is added up, on either side.
#[test]
fn what_is_moved_adds_up_over_runs() {
    let place = Place::new();
    let url = place.put("a", &place.file("in.bin", 1 << 20));
    let standing = |home: &str| {
        let shown = json(&place.run(home, ["--json", "torrent", "show", &url]).ok());
        shown["standing"].clone()
    };
    let mut before = 0;
    for home in ["b", "c"] {
        let args = ["seed", &url, "--listen", "127.0.0.1:0", "--priority", "high"];
        let seeder = Seeder::start(place.command("a", args));
        place.run(home, ["get", &seeder.magnet, "-o", "out", "--force", "--swarm-only"]).ok();
        assert_eq!(seeder.signal("TERM"), Some(0));
        let (here, there) = (standing("a"), standing(home));
        let sent = here["sent"].as_u64().unwrap();
        assert!(sent > before + (2 << 20), "{here}");
        before = sent;
        assert_eq!(here["priority"], "high", "{here}");
        let received = there["received"].as_u64().unwrap();
        assert!(received > 2 << 20 && received < 3 << 20, "{there}");
        assert!(there["ratio"].as_f64().unwrap() < 0.1, "{there}");
    }
    let told = place.run("a", ["torrent", "show", &url]).ok().stdout();
    assert!(told.contains(&format!("moved         {before} bytes sent")), "{told}");
    assert!(told.contains("priority      high"), "{told}");
}
