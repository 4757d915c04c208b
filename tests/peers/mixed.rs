//! Swarms in which clients of several kinds depend on each other.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use offswarm::off::OffUrl;
use offswarm::torrent::magnet::Magnet;
use offswarm::torrent::metainfo::content_name;
use tempfile::TempDir;

use crate::aria2::Aria2;
use crate::common::child::{Running, poll};
use crate::common::{Home, LISTEN_HERE, Seeder};
use crate::journey::{Journey, Link, MANY_BLOCKS, text};
use crate::liar::liar_about;
use crate::libtorrent::Libtorrent;
use crate::programs::free_address;

const BLOCK_LEN: usize = 131_072;

/// A file of blocks, of which each client has a part at first.
struct Content {
    url: OffUrl,
    blocks: Vec<u8>,
}

impl Content {
    /// The bytes of one third, in whole blocks.
    fn third(&self, number: usize) -> std::ops::Range<usize> {
        let count = self.blocks.len() / BLOCK_LEN;
        number * count / 3 * BLOCK_LEN..(number + 1) * count / 3 * BLOCK_LEN
    }

    /// A folder with the content file, in which all but one third is zero.
    fn folder(&self, number: usize) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let mut content = vec![0; self.blocks.len()];
        content[self.third(number)].copy_from_slice(&self.blocks[self.third(number)]);
        fs::write(self.place(folder.path()), content).unwrap();
        folder
    }

    fn place(&self, folder: &Path) -> PathBuf {
        folder.join(content_name(self.url.descriptor().unwrap()))
    }

    /// A home whose store has one third.
    fn home(&self, number: usize) -> Home {
        let home = Home::new();
        let pack = home.beside("third.off");
        fs::write(&pack, &self.blocks[self.third(number)]).unwrap();
        let done = home.offswarm(["--quiet", "pack", "adopt"]).arg(pack).status().unwrap();
        assert!(done.success(), "offswarm pack adopt: {done}");
        home
    }
}

fn published(journey: &Journey) -> (Content, Link, String) {
    let seeder = journey.share();
    let (url, magnet) = (seeder.url.clone(), seeder.magnet.clone());
    seeder.stop();
    let blocks = journey.blocks(&url);
    (Content { url, blocks }, Link::Torrent(journey.torrent()), magnet)
}

/// Nobody has everything, and together they have it exactly once.
fn thirds_make_a_whole(ours: usize) {
    let journey = Journey::of(MANY_BLOCKS);
    let (content, link, magnet) = published(&journey);
    let home = content.home(ours);
    let aria2 = Aria2::join_in(&link, content.folder((ours + 1) % 3), true);
    let libtorrent = Libtorrent::join_in(&link, &[aria2.address], content.folder((ours + 2) % 3));
    let dial = [aria2.address, libtorrent.address].map(|peer| peer.to_string());
    let peers = ["--peer", &dial[0], "--peer", &dial[1]];

    // It may well be complete before the others are.
    let copy = home.beside("copy.txt");
    let torrent = journey.torrent();
    let args = ["--timeout", "100s", "--torrent", torrent.to_str().unwrap()];
    let got = home.get(&magnet, &copy, &[&peers[..], &args].concat());
    assert!(got.status.success(), "{}", text(&got.stderr));
    journey.check_copy(&copy);
    let told: serde_json::Value = serde_json::from_slice(&got.stdout).unwrap();
    let third = content.third(ours).len() / BLOCK_LEN;
    let all = content.blocks.len() / BLOCK_LEN;
    assert_eq!(
        (&told["blocks_local"], &told["blocks_swarm"]),
        (&third.into(), &(all - third).into())
    );

    let _seeder = home.seed(&peers);
    for path in [aria2.wait_until_complete(), libtorrent.wait_until_complete()] {
        poll("the blocks in the client's folder", || {
            (fs::read(&path).unwrap() == content.blocks).then_some(())
        });
    }
}

#[test]
fn three_clients_with_a_third_each_complete_each_other() {
    thirds_make_a_whole(0);
}

/// The descriptor is elsewhere, so that it is not clear at first what is here.
#[test]
fn three_clients_complete_each_other_though_we_lack_the_descriptor() {
    thirds_make_a_whole(1);
}

/// Bytes of blocks in a home.
fn here(home: &Home) -> u64 {
    let slabs = fs::read_dir(home.path().join("store")).into_iter().flatten();
    slabs.filter_map(Result::ok).map(|slab| slab.metadata().map_or(0, |slab| slab.len())).sum()
}

#[test]
fn a_download_outlives_its_seeder() {
    let journey = Journey::of(4 * MANY_BLOCKS);
    let (content, _, magnet) = published(&journey);
    let first = journey.seed_with(&["--up-limit", "8MiB"]);
    let second: SocketAddr = free_address();
    let (home, peers) = (Home::new(), [first.address(), second].map(|peer| peer.to_string()));
    let copy = home.beside("copy.txt");
    let mut get = home.offswarm(["--json", "get", "--swarm-only", &magnet, "--output"]);
    get.arg(&copy).args(LISTEN_HERE).args(["--peer", &peers[0], "--peer", &peers[1]]);
    let get = Running::start(&mut get);
    poll("a quarter of the blocks", || {
        (here(&home) > content.blocks.len() as u64 / 4).then_some(())
    });
    first.kill();
    assert!(!copy.exists(), "it was not done yet");

    let _second: Seeder = journey.seed_at(second);
    let told = get.line();
    journey.check_copy(&copy);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["blocks_swarm"], content.blocks.len() / BLOCK_LEN, "{told}");
}

#[test]
fn a_liar_beside_libtorrent_is_banned() {
    let journey = Journey::of(MANY_BLOCKS);
    let (liar, magnet) = liar_about(&journey);
    let url = Magnet::parse(&magnet).unwrap().hinted_url().unwrap();
    let content = Content { blocks: journey.blocks(&url), url };
    let link = Link::Torrent(journey.torrent());
    let folder = tempfile::tempdir().unwrap();
    fs::write(content.place(folder.path()), &content.blocks).unwrap();
    let honest = Libtorrent::seed(&link, folder);
    honest.wait_until_complete();
    let (home, peers) = (Home::new(), [liar.address, honest.address].map(|peer| peer.to_string()));
    let copy = home.beside("copy.txt");

    let args = ["--peer", &peers[0], "--peer", &peers[1], "--log", "offswarm=info"];
    let got = home.get(&magnet, &copy, &args);

    let log = text(&got.stderr);
    assert!(got.status.success(), "{log}");
    journey.check_copy(&copy);
    assert!(log.contains("a peer gave wrong bytes; it is banned"), "{log}");
    assert!(log.contains(&liar.address.to_string()), "{log}");
    assert!(!log.contains(&format!("liar={}", honest.address)), "{log}");
}
