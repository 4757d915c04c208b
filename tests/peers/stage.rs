//! What a cell of the matrix begins with: a published file, in a network of its own.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use offswarm::id::InfoHash;
use offswarm::off::OffUrl;
use offswarm::torrent::metainfo::content_name;
use serde_json::Value;

use crate::clients::{Desk, Task};
use crate::common::{Home, Seeder};
use crate::journey::{Link, text};
use crate::net::Net;
use crate::opentracker::Tracker;

const BLOCK_LEN: u64 = 131_072;

/// Where offswarm and the tracker listen, on their machine.
pub(crate) const OUR_PORT: u16 = 7000;
const TRACKER_PORT: u16 = 6969;

/// How long a file is, and how many blocks its URL has: with the usual tuples and an empty store
/// twice those of the file and one, and those of the descriptor.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) length: u64,
    pub(crate) blocks: u64,
}

impl Size {
    pub(crate) const SMALL: Self = Self { length: 2 * BLOCK_LEN + 1, blocks: 8 };
    pub(crate) const MIDDLE: Self = Self { length: 499 * BLOCK_LEN, blocks: 1_000 };
    pub(crate) const LARGE: Self = Self { length: 9_996 * BLOCK_LEN, blocks: 20_001 };
}

/// A published file that nobody seeds yet. What belongs to it lies beside the home.
pub(crate) struct Stage {
    pub(crate) net: Net,
    pub(crate) tracker: Option<Tracker>,
    home: Home,
    pub(crate) size: Size,
    /// Without hints.
    pub(crate) url: OffUrl,
    pub(crate) magnet: String,
    infohash: InfoHash,
}

impl Stage {
    pub(crate) fn new(size: Size) -> Self {
        Self::publish(size, Net::new(), None)
    }

    /// The same, with a tracker that is named in all links.
    pub(crate) fn tracked(size: Size) -> Self {
        let net = Net::new();
        let tracker = Tracker::start_on(net.ours.clone(), net.ours.at(TRACKER_PORT));
        Self::publish(size, net, Some(tracker))
    }

    fn publish(size: Size, net: Net, tracker: Option<Tracker>) -> Self {
        let home = Home::new();
        let mut noise = File::open("/dev/urandom").unwrap().take(size.length);
        let mut original = File::create(home.beside("original")).unwrap();
        io::copy(&mut noise, &mut original).unwrap();

        let mut share = listening(&home, &net, OUR_PORT, ["share"]);
        share.arg(home.beside("original")).arg("--torrent-out").arg(home.beside("blocks.torrent"));
        if let Some(tracker) = &tracker {
            share.args(["--tracker", &tracker.url()]);
        }
        let seeder = Seeder::start(&mut net.ours.adopt(&share));
        let (url, magnet) = (seeder.url.canonical(), seeder.magnet.clone());
        let infohash = seeder.url.hints.infohash.unwrap();
        seeder.stop();
        if let Some(tracker) = &tracker {
            tracker.allow(infohash);
        }
        let stage = Self { net, tracker, home, size, url, magnet, infohash };
        stage.export();
        stage
    }

    fn export(&self) {
        let mut export = self.home.offswarm(["--quiet", "pack", "export"]);
        export.arg(self.off_file()).arg("--urls").arg(self.url.to_string());
        let done = export.stdout(Stdio::null()).status().unwrap();
        assert!(done.success(), "offswarm export: {done}");
        let blocks = fs::metadata(self.off_file()).unwrap().len() / BLOCK_LEN;
        assert_eq!(blocks, self.size.blocks);
    }

    pub(crate) fn original(&self) -> PathBuf {
        self.home.beside("original")
    }

    pub(crate) fn torrent(&self) -> PathBuf {
        self.home.beside("blocks.torrent")
    }

    /// The file that the torrent is about.
    pub(crate) fn off_file(&self) -> PathBuf {
        self.home.beside("blocks.off")
    }

    /// Where a client keeps that file.
    pub(crate) fn place(&self, desk: &Desk) -> PathBuf {
        desk.content().join(content_name(self.url.descriptor().unwrap()))
    }

    /// What a client is asked that has the torrent.
    pub(crate) fn by_torrent(&self, peers: &[SocketAddr]) -> Task {
        self.task(Link::Torrent(self.torrent()), peers)
    }

    /// What a client is asked that has nothing but the magnet link.
    pub(crate) fn by_magnet(&self, peers: &[SocketAddr]) -> Task {
        self.task(Link::Magnet(self.magnet.clone()), peers)
    }

    fn task(&self, link: Link, peers: &[SocketAddr]) -> Task {
        Task { link, infohash: self.infohash, peers: peers.to_vec() }
    }

    /// Publishes a twin of the torrent, as `publish` with this flag makes it: what a client is asked
    /// that has its torrent file, and its magnet link.
    pub(crate) fn twin(&self, flag: &str, peers: &[SocketAddr]) -> (Task, Task) {
        let torrent = self.home.beside(&format!("twin{flag}.torrent"));
        let mut publish = self.home.offswarm(["--json", "publish", flag, "--torrent-out"]);
        let told = publish.arg(&torrent).arg(self.url.to_string()).output().unwrap();
        assert!(told.status.success(), "{}", text(&told.stderr));
        let told: Value = serde_json::from_slice(&told.stdout).unwrap();
        // A client of version 2 names both kinds by this, cut to the length of the other.
        let hash = told["infohash_v2"].as_str().unwrap();
        let infohash = InfoHash::parse(&hash[..40]).unwrap();
        let magnet = told["magnet"].as_str().unwrap().to_owned();
        let task = |link| Task { link, infohash, peers: peers.to_vec() };
        (task(Link::Torrent(torrent)), task(Link::Magnet(magnet)))
    }

    /// Has offswarm seed, and dial `peers`.
    pub(crate) fn seed(&self, peers: &[SocketAddr]) -> Seeder {
        let mut seed = listening(&self.home, &self.net, OUR_PORT, ["--quiet", "seed"]);
        for peer in peers {
            seed.arg("--peer").arg(peer.to_string());
        }
        Seeder::start(&mut self.net.ours.adopt(&seed))
    }

    /// A download by offswarm into another home.
    pub(crate) fn get(&self, home: &Home) -> Command {
        let get = listening(home, &self.net, 0, ["--json", "get", "--timeout", "90s"]);
        self.net.ours.adopt(&get)
    }

    /// Waits until the tracker knows a seed.
    pub(crate) fn wait_for_a_seed(&self) {
        self.tracker.as_ref().unwrap().wait_for_a_seed(self.infohash);
    }
}

fn listening<A: AsRef<OsStr>>(
    home: &Home,
    net: &Net,
    port: u16,
    args: impl IntoIterator<Item = A>,
) -> Command {
    let mut command = home.offswarm(args);
    command.arg("--listen").arg(net.ours.at(port).to_string());
    command
}
