//! The way of a file: from us to a foreign client, and from it alone back to an empty home.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use offswarm::off::OffUrl;

use crate::common::{Home, Seeder};
use crate::opentracker::Tracker;

/// Text that no block may contain.
const MARKER: &[u8] = b"a line of the plaintext that nobody but us may read, number ";

/// Lengths of files: one byte, one byte more than a block, a few seconds of work.
pub(crate) const ONE_BYTE: usize = 1;
pub(crate) const BLOCK_AND_BYTE: usize = 131_072 + 1;
pub(crate) const MANY_BLOCKS: usize = 8 << 20;

/// What is told to the foreign client.
pub(crate) enum Link {
    Torrent(PathBuf),
    Magnet(String),
}

/// A file that was shared once, and its torrent.
pub(crate) struct Journey {
    contents: Vec<u8>,
    home: Home,
    tracker: Option<Tracker>,
}

impl Journey {
    /// A file of `length` bytes in a home of its own.
    pub(crate) fn of(length: usize) -> Self {
        let (contents, home) = (contents(length), Home::new());
        fs::write(home.beside("original.txt"), &contents).unwrap();
        Self { contents, home, tracker: None }
    }

    /// The same, with a tracker.
    pub(crate) fn tracked(length: usize) -> Self {
        Self { tracker: Some(Tracker::start()), ..Self::of(length) }
    }

    pub(crate) fn torrent(&self) -> PathBuf {
        self.home.beside("blocks.torrent")
    }

    /// Puts and seeds the file, and writes its torrent.
    pub(crate) fn share(&self) -> Seeder {
        self.share_with(&[])
    }

    /// The same, with more arguments.
    pub(crate) fn share_with(&self, args: &[&str]) -> Seeder {
        let torrent = self.torrent();
        let mut args = [args, &["--torrent-out", torrent.to_str().unwrap()]].concat();
        let announce = self.tracker.as_ref().map(Tracker::url);
        args.extend(announce.iter().flat_map(|url| ["--tracker", url]));
        self.home.share(&self.home.beside("original.txt"), &args)
    }

    /// Puts the file, writes its torrent, has the tracker allow it, and stops seeding.
    pub(crate) fn publish(&self) -> Link {
        let seeder = self.share();
        let infohash = seeder.url.hints.infohash.unwrap();
        seeder.stop();
        if let Some(tracker) = &self.tracker {
            tracker.allow(infohash);
        }
        Link::Torrent(self.torrent())
    }

    /// The blocks of a shared file, back to back.
    pub(crate) fn blocks(&self, url: &OffUrl) -> Vec<u8> {
        self.home.blocks(url)
    }

    /// Seeds the file again, and dials `peers`.
    pub(crate) fn seed(&self, peers: &[SocketAddr]) -> Seeder {
        let peers = peer_args(peers);
        let seeder = self.home.seed(&as_strs(&peers));
        let announced = self.tracker.iter().map(Tracker::url).collect::<Vec<_>>();
        assert_eq!(seeder.url.hints.trackers, announced);
        seeder
    }

    /// Seeds the file again, with more arguments.
    pub(crate) fn seed_with(&self, args: &[&str]) -> Seeder {
        self.home.seed(args)
    }

    /// Seeds the file again, listening at an address.
    pub(crate) fn seed_at(&self, address: SocketAddr) -> Seeder {
        Seeder::start(self.home.offswarm(["seed", "--listen"]).arg(address.to_string()))
    }

    /// Stops our seed, looks at what the foreign client has made of it, and gets the file from
    /// there into an empty home: from `peers`, else from whom the tracker knows.
    pub(crate) fn return_trip(&self, seeder: Seeder, off_file: &Path, peers: &[SocketAddr]) {
        let (url, magnet) = (seeder.url.clone(), seeder.magnet.clone());
        seeder.stop();
        self.check_off_file(&fs::read(off_file).unwrap(), &self.home.blocks(&url));
        let third = Home::new();
        let copy = third.beside("copy.txt");
        assert!(!third.path().exists() && !copy.exists());

        let mut args = peer_args(peers);
        args.extend(["--timeout".into(), "90s".into()]);
        let got = third.get(&magnet, &copy, &as_strs(&args));

        let (stdout, stderr) = (text(&got.stdout), text(&got.stderr));
        assert!(got.status.success(), "{}: {stderr}", got.status);
        self.check_copy(&copy);
        let told: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        let blocks = fs::metadata(off_file).unwrap().len() / 131_072;
        assert_eq!(told["length"], self.contents.len(), "{told}");
        assert_eq!(told["blocks_local"], 0, "{told}");
        assert_eq!(told["blocks_swarm"], blocks, "{told}");
    }

    pub(crate) fn check_copy(&self, copy: &Path) {
        assert!(fs::read(copy).unwrap() == self.contents, "other bytes came");
    }

    /// The blocks, nothing but the blocks, and nothing of the plaintext in them.
    fn check_off_file(&self, found: &[u8], blocks: &[u8]) {
        assert_eq!(found.len(), blocks.len());
        assert!(found == blocks, "what was downloaded is not the blocks");
        if self.contents.len() > MARKER.len() {
            assert!(contains(&self.contents, MARKER));
        }
        assert!(!contains(found, MARKER), "the plaintext is in the blocks");
    }
}

/// Numbered lines, cut at `length`.
fn contents(length: usize) -> Vec<u8> {
    let line = |n: u32| [MARKER, format!("{n}\n").as_bytes()].concat();
    (0..).flat_map(line).take(length).collect()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn peer_args(peers: &[SocketAddr]) -> Vec<String> {
    let args = peers.iter().flat_map(|peer| ["--peer".into(), peer.to_string()]);
    args.collect()
}

fn as_strs(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
