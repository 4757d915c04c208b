//! Sharing between two homes, over loopback, through the swarm alone.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use crate::program::{Place, Seeder, noise};

fn shares(len: usize) {
    let place = Place::new();
    let file = place.file("in.bin", len);
    let seeder = place.share("a", &file, []);
    for (home, link) in [("b", &seeder.url), ("c", &seeder.magnet)] {
        let out = format!("{home}.out");
        place.run(home, ["get", link, "-o", &out, "--timeout", "120s"]).ok();
        assert!(fs::read(place.path(&out)).unwrap() == noise(len), "{len} bytes by {link}");
    }
}

#[test]
fn files_of_edge_lengths_cross_the_swarm() {
    for len in [0, 1, 131_071, 131_072, 131_073] {
        shares(len);
    }
}

#[test]
fn a_file_of_100_mib_crosses_the_swarm() {
    shares(100 << 20);
}

#[test]
fn an_explicit_peer_and_a_torrent_file_are_enough() {
    let place = Place::new();
    let torrent = place.path("in.torrent");
    let file = place.file("in.bin", 400_000);
    let seeder = place.share("a", &file, ["--torrent-out", torrent.to_str().unwrap()]);
    let bare: Vec<_> = seeder.url.split('&').take(1).collect();
    let torrent = torrent.to_str().unwrap();
    let args = ["get", bare[0], "-o", "out", "--swarm-only", "--torrent", torrent];
    let args =
        args.into_iter().chain(["--peer", &*seeder.address()].map(|s| s.to_owned().leak() as &str));
    let ran = place.run("b", args.chain(["--json"])).ok();
    let shown: serde_json::Value = serde_json::from_slice(&ran.0.stdout).unwrap();
    assert_eq!(
        (shown["blocks_local"].as_u64(), shown["blocks_swarm"].as_u64()),
        (Some(0), Some(10))
    );
    assert_eq!(fs::read(place.path("out")).unwrap(), noise(400_000));
}

#[test]
fn what_was_got_can_be_seeded_on() {
    let place = Place::new();
    let file = place.file("in.bin", 400_000);
    let first = place.share("a", &file, []);
    place.run("b", ["get", &first.magnet, "-o", "b.out"]).ok();
    let infohash = first.url.split("btih=").nth(1).unwrap()[..40].to_owned();
    drop(first);
    let second = Seeder::start(place.command("b", ["seed", "--listen", "127.0.0.1:0"]));
    assert!(second.magnet.contains(&infohash), "whoever holds the blocks joins the same swarm");
    place.run("c", ["get", &second.magnet, "-o", "c.out"]).ok();
    assert_eq!(fs::read(place.path("c.out")).unwrap(), noise(400_000));
}

#[test]
fn an_interrupted_download_goes_on_where_it_stopped() {
    let place = Place::new();
    let file = place.file("in.bin", 64 << 20);
    let seeder = place.share("a", &file, []);
    let mut get = place
        .command("b", ["get", &seeder.magnet, "-o", "out"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Wait until some blocks are there, then interrupt.
    let slab = place.path("b").join("store/000000.slab");
    while fs::metadata(&slab).map_or(0, |slab| slab.len()) < (8 << 20) {
        assert!(
            get.try_wait().unwrap().is_none(),
            "the download ended too early to be interrupted"
        );
        std::thread::yield_now();
    }
    crate::program::kill("INT", get.id());
    assert_eq!(get.wait().unwrap().code(), Some(130));
    let ran = place.run("b", ["get", &seeder.magnet, "-o", "out", "--json"]).ok();
    let shown: serde_json::Value = serde_json::from_slice(&ran.0.stdout).unwrap();
    assert!(
        shown["bytes_received"].as_u64().unwrap() < (126 << 20),
        "nothing is fetched twice: {shown}"
    );
    assert!(fs::read(place.path("out")).unwrap() == noise(64 << 20));
}

#[test]
fn a_get_with_nobody_there_says_what_it_waits_for() {
    let place = Place::new();
    let seeder = place.share("a", &place.file("in", 400_000), []);
    let link = seeder.magnet.clone();
    drop(seeder);
    let ran = place.run("b", ["get", &link, "-o", "out", "--stall", "1s"]).exits(4);
    ran.says(["blocks not found", "1 peer named", "0 connected"]);
    assert!(!place.path("out").exists());
}

/// Passes connections on to a seeder, at a limited rate towards whoever connects.
fn slow_way_to(seeder: &str, bytes_per_second: usize) -> String {
    const STEP: usize = 16 << 10;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let seeder = seeder.to_owned();
    std::thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let Ok(far) = TcpStream::connect(&seeder) else { return };
            let (mut up_from, mut up_to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut up_from, &mut up_to));
            std::thread::spawn(move || {
                let (mut far, mut near, mut part) = (far, near, vec![0; STEP]);
                while let Ok(len @ 1..) = far.read(&mut part) {
                    if near.write_all(&part[..len]).is_err() {
                        return;
                    }
                    // The sleep is the limit.
                    let share = len as f64 / bytes_per_second as f64;
                    std::thread::sleep(Duration::from_secs_f64(share));
                }
            });
        }
    });
    address
}

#[test]
fn a_range_is_read_while_the_rest_is_still_missing() {
    let place = Place::new();
    let len = 64 << 20;
    let seeder = place.share("a", &place.file("in.bin", len), []);
    let slow = slow_way_to(&seeder.address(), 24 << 20);
    let (url, hints) = seeder.url.split_once("&btih=").unwrap();
    let url = format!("{url}&btih={}", &hints[..40]);
    let first = len - 1_000_000;
    let range = format!("{first}-{}", first + 99_999);
    let ran = place.run("b", ["cat", &url, "--range", &range, "--peer", &slow]).ok();
    assert!(ran.0.stdout == noise(len)[first..first + 100_000]);
    let stat = place.run("b", ["--json", "stat", &url]).exits(3);
    let stat: serde_json::Value = serde_json::from_slice(&stat.0.stdout).unwrap();
    let (here, all) = (stat["blocks_here"].as_u64().unwrap(), stat["blocks"].as_u64().unwrap());
    assert!(here < all * 3 / 4, "{here} of {all} blocks came");
    // The whole stream, from what is here and what comes.
    let ran = place.run("b", ["cat", &url, "--peer", &seeder.address()]).ok();
    assert!(ran.0.stdout == noise(len));
    place.run("b", ["cat", &url, "--offline"]).ok();
}
