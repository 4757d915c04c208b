//! Torrents of OFF URLs of version 3: foreign clients know nothing of padding.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use offswarm::off::OffUrl;

use crate::aria2::Aria2;
use crate::common::{Home, LISTEN_HERE, Seeder};
use crate::journey::{Link, text};
use crate::libtorrent::Libtorrent;

const SLOT: usize = 131_072;

/// A file that was put for js-offs and published.
struct Published {
    home: Home,
    contents: Vec<u8>,
    url: OffUrl,
}

impl Published {
    fn new(length: usize) -> Self {
        let (home, mut contents) = (Home::new(), vec![0; length]);
        rand::fill(&mut contents[..]);
        fs::write(home.beside("in.bin"), &contents).unwrap();
        let run = |command: &mut std::process::Command| {
            let ran = command.stderr(Stdio::inherit()).output().unwrap();
            assert!(ran.status.success(), "{command:?}");
            text(&ran.stdout)
        };
        let put = run(home.offswarm(["put", "--v3"]).arg(home.beside("in.bin")));
        let url = OffUrl::parse(put.trim()).unwrap();
        let publish = ["publish", put.trim(), "--torrent-out"];
        run(home.offswarm(publish).arg(home.beside("x.torrent")));
        Self { home, contents, url }
    }

    fn torrent(&self) -> PathBuf {
        self.home.beside("x.torrent")
    }

    /// Looks at what a client has made of it, and gets the file from that client alone.
    fn comes_back(&self, seeder: Seeder, off_file: &Path, client: SocketAddr) {
        let infohash = seeder.url.hints.infohash;
        seeder.stop();
        let blocks = self.home.blocks(&self.url);
        let found = fs::read(off_file).unwrap();
        assert_eq!(found.len() / SLOT, blocks.len() / 128_000);
        for (slot, block) in found.chunks(SLOT).zip(blocks.chunks(128_000)) {
            assert!(slot[..128_000] == *block && slot[128_000..].iter().all(|byte| *byte == 0));
        }
        let mut hinted = self.url.clone();
        (hinted.hints.infohash, hinted.hints.peers) = (infohash, vec![client]);
        let third = Home::new();
        let args = ["--swarm-only", "--timeout", "90s"];
        let got = third.get(&hinted.to_string(), &third.beside("out"), &args);
        assert!(got.status.success(), "{}: {}", got.status, text(&got.stderr));
        assert!(fs::read(third.beside("out")).unwrap() == self.contents, "other bytes came");
        let told: serde_json::Value = serde_json::from_slice(&got.stdout).unwrap();
        assert_eq!(told["blocks_swarm"], found.len() / SLOT, "{told}");
        // What a stock client downloaded is a pack.
        let fourth = Home::new();
        let mut adopt = fourth.offswarm(["pack", "adopt", "--in-place"]);
        assert!(adopt.arg(off_file).stdout(Stdio::null()).status().unwrap().success());
        let got = fourth.get(&self.url.to_string(), &fourth.beside("out"), &["--offline"]);
        assert!(got.status.success(), "{}: {}", got.status, text(&got.stderr));
        assert!(fs::read(fourth.beside("out")).unwrap() == self.contents);
    }
}

#[test]
fn libtorrent_alone_gives_back_a_url_of_version_3() {
    for length in [128_000, 8 << 20] {
        let published = Published::new(length);
        let seeder = published.home.seed(&[]);
        let client = Libtorrent::join(&Link::Torrent(published.torrent()), &[seeder.address()]);
        let off_file = client.wait_until_complete();
        published.comes_back(seeder, &off_file, client.address);
    }
}

#[test]
fn libtorrent_knows_a_url_of_version_3_by_its_magnet_link() {
    let published = Published::new(300_000);
    let seeder = Seeder::start(published.home.offswarm(["seed"]).args(LISTEN_HERE));
    let client = Libtorrent::join(&Link::Magnet(seeder.magnet.clone()), &[]);
    let off_file = client.wait_until_complete();
    published.comes_back(seeder, &off_file, client.address);
}

#[test]
fn aria2_alone_gives_back_a_url_of_version_3() {
    let published = Published::new(1 << 20);
    let torrent = Link::Torrent(published.torrent());
    let client = Aria2::join_in(&torrent, tempfile::tempdir().unwrap(), false);
    let address = client.address.to_string();
    let seeder = published.home.seed(&["--peer", &address]);
    let off_file = client.wait_until_complete();
    published.comes_back(seeder, &off_file, client.address);
}
