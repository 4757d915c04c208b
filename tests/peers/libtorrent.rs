//! libtorrent (rasterbar), through its Python binding; `lt_client.py` is the client.
//!
//! It stands for qBittorrent and Deluge too, which are made of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::common::child::Running;
use crate::journey::{BLOCK_AND_BYTE, Journey, Link, MANY_BLOCKS, ONE_BYTE};
use crate::programs::program;

pub(crate) const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/lt_client.py");

/// A running client with one torrent.
pub(crate) struct Libtorrent {
    running: Running,
    /// Where its peers find it.
    pub(crate) address: SocketAddr,
    _folder: TempDir,
}

impl Libtorrent {
    /// Joins a swarm, in which it knows `peers`.
    pub(crate) fn join(link: &Link, peers: &[SocketAddr]) -> Self {
        Self::start(link, peers, tempfile::tempdir().unwrap(), &[])
    }

    /// Joins a swarm with what is in a folder.
    pub(crate) fn join_in(link: &Link, peers: &[SocketAddr], folder: TempDir) -> Self {
        Self::start(link, peers, folder, &[])
    }

    /// Seeds what is in a folder, right or wrong.
    pub(crate) fn seed_unchecked(link: &Link, folder: TempDir) -> Self {
        Self::start(link, &[], folder, &["--unchecked"])
    }

    /// Checks what is in a folder, and seeds it if it is right.
    pub(crate) fn seed(link: &Link, folder: TempDir) -> Self {
        Self::start(link, &[], folder, &[])
    }

    fn start(link: &Link, peers: &[SocketAddr], folder: TempDir, args: &[&str]) -> Self {
        let mut command = Command::new(python());
        command.arg(SCRIPT).arg("--folder").arg(folder.path());
        match link {
            Link::Torrent(path) => command.arg("--torrent").arg(path),
            Link::Magnet(link) => command.arg("--magnet").arg(link),
        };
        for peer in peers {
            command.arg("--peer").arg(peer.to_string());
        }
        let running = Running::start(command.args(args));
        let port = event(&running, "listening")["port"].as_u64().unwrap();
        let address = (Ipv4Addr::LOCALHOST, u16::try_from(port).unwrap()).into();
        Self { running, address, _folder: folder }
    }

    /// Waits until it has everything, and says where.
    pub(crate) fn wait_until_complete(&self) -> PathBuf {
        event(&self.running, "complete")["path"].as_str().unwrap().into()
    }
}

/// The distribution's Python, to which the bindings belong, and which need not be first in PATH.
pub(crate) fn python() -> PathBuf {
    program("/usr/bin/python3", "python3")
}

/// Waits for an event; what comes before it is progress.
pub(crate) fn event(running: &Running, name: &str) -> Value {
    running.line_with(name, |line| {
        let told: Value = serde_json::from_str(line).unwrap();
        (told["event"] == name).then_some(told)
    })
}

fn by_explicit_peer(length: usize) {
    let journey = Journey::of(length);
    let seeder = journey.share();
    let client = Libtorrent::join(&Link::Torrent(journey.torrent()), &[seeder.address()]);
    let off_file = client.wait_until_complete();
    journey.return_trip(seeder, &off_file, &[client.address]);
}

fn by_tracker(length: usize) {
    let journey = Journey::tracked(length);
    let torrent = journey.publish();
    let seeder = journey.seed(&[]);
    let client = Libtorrent::join(&torrent, &[]);
    let off_file = client.wait_until_complete();
    journey.return_trip(seeder, &off_file, &[]);
}

#[test]
fn libtorrent_alone_gives_back_a_byte_without_a_tracker() {
    by_explicit_peer(ONE_BYTE);
}

#[test]
fn libtorrent_alone_gives_back_a_block_and_a_byte_without_a_tracker() {
    by_explicit_peer(BLOCK_AND_BYTE);
}

#[test]
fn libtorrent_alone_gives_back_many_blocks_without_a_tracker() {
    by_explicit_peer(MANY_BLOCKS);
}

#[test]
fn libtorrent_alone_gives_back_a_byte_by_a_tracker() {
    by_tracker(ONE_BYTE);
}

#[test]
fn libtorrent_alone_gives_back_a_block_and_a_byte_by_a_tracker() {
    by_tracker(BLOCK_AND_BYTE);
}

#[test]
fn libtorrent_alone_gives_back_many_blocks_by_a_tracker() {
    by_tracker(MANY_BLOCKS);
}

/// The metadata comes from us (BEP 9), and so do the blocks: the link names us as a peer.
#[test]
fn libtorrent_alone_gives_back_what_it_knew_by_the_magnet_link_only() {
    let journey = Journey::of(MANY_BLOCKS);
    let seeder = journey.share();
    let client = Libtorrent::join(&Link::Magnet(seeder.magnet.clone()), &[]);
    let off_file = client.wait_until_complete();
    journey.return_trip(seeder, &off_file, &[client.address]);
}

#[test]
fn libtorrent_alone_gives_back_what_it_knew_by_a_magnet_link_and_a_tracker() {
    let journey = Journey::tracked(BLOCK_AND_BYTE);
    journey.publish();
    let seeder = journey.seed(&[]);
    // Without the hint of a peer that libtorrent would follow.
    let link = seeder.magnet.replace("&x.pe=", "&x.nobody=");
    let client = Libtorrent::join(&Link::Magnet(link), &[]);
    let off_file = client.wait_until_complete();
    journey.return_trip(seeder, &off_file, &[]);
}
