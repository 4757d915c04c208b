//! aria2.
//!
//! It has no way to be told a peer, so without a tracker it is we who dial it.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::common::child::Running;
use crate::journey::{BLOCK_AND_BYTE, Journey, Link, MANY_BLOCKS, ONE_BYTE};
use crate::programs::{free_address, program};

/// What aria2 runs when it has everything: its third argument is the file.
const HOOK: &str = "#!/bin/sh\necho \"COMPLETE $3\"\n";

const SETTINGS: &[&str] = &[
    "--no-conf=true",
    "--interface=127.0.0.1",
    "--disable-ipv6=true",
    "--enable-dht=false",
    "--enable-dht6=false",
    "--bt-enable-lpd=false",
    "--enable-peer-exchange=false",
    "--bt-external-ip=127.0.0.1",
    "--file-allocation=none",
    // No limit: it seeds until it is killed.
    "--seed-ratio=0.0",
    "--follow-torrent=mem",
    "--show-console-readout=false",
    "--summary-interval=0",
    "--enable-color=false",
];

/// A running client with one torrent.
pub(crate) struct Aria2 {
    running: Running,
    pub(crate) address: SocketAddr,
    _folder: TempDir,
}

impl Aria2 {
    /// Joins a swarm; when this returns, peers can connect.
    fn join(link: &Link) -> Self {
        Self::join_in(link, tempfile::tempdir().unwrap(), false)
    }

    /// Joins a swarm with what is in a folder, which is checked if `checked`.
    pub(crate) fn join_in(link: &Link, folder: TempDir, checked: bool) -> Self {
        let address = free_address();
        let hook = hook(folder.path());
        let mut command = Command::new(program("aria2c", "aria2"));
        command
            .args(SETTINGS)
            .arg(format!("--check-integrity={checked}"))
            .arg(format!("--listen-port={}", address.port()))
            .arg(format!("--dir={}", folder.path().display()))
            .arg(format!("--on-bt-download-complete={}", hook.display()))
            // Whoever started it may die without a word.
            .arg(format!("--stop-with-process={}", std::process::id()));
        match link {
            Link::Torrent(path) => command.arg(path),
            Link::Magnet(link) => command.arg(link),
        };
        let running = Running::start(&mut command);
        let listening = format!("listening on TCP port {}", address.port());
        running.line_with(&listening, |line| line.contains(&listening).then_some(()));
        Self { running, address, _folder: folder }
    }

    /// Waits until it has everything, and says where.
    pub(crate) fn wait_until_complete(&self) -> PathBuf {
        self.running.line_with("COMPLETE", |line| line.strip_prefix("COMPLETE ").map(PathBuf::from))
    }
}

fn hook(folder: &Path) -> PathBuf {
    let path = folder.join("complete.sh");
    fs::write(&path, HOOK).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    path
}

fn by_dialling_it(length: usize) {
    let journey = Journey::of(length);
    let client = Aria2::join(&journey.publish());
    let seeder = journey.seed(&[client.address]);
    let off_file = client.wait_until_complete();
    journey.return_trip(seeder, &off_file, &[client.address]);
}

fn by_tracker(length: usize) {
    let journey = Journey::tracked(length);
    let torrent = journey.publish();
    let seeder = journey.seed(&[]);
    let client = Aria2::join(&torrent);
    let off_file = client.wait_until_complete();
    journey.return_trip(seeder, &off_file, &[]);
}

#[test]
fn aria2_alone_gives_back_a_byte_without_a_tracker() {
    by_dialling_it(ONE_BYTE);
}

#[test]
fn aria2_alone_gives_back_a_block_and_a_byte_without_a_tracker() {
    by_dialling_it(BLOCK_AND_BYTE);
}

#[test]
fn aria2_alone_gives_back_many_blocks_without_a_tracker() {
    by_dialling_it(MANY_BLOCKS);
}

#[test]
fn aria2_alone_gives_back_a_byte_by_a_tracker() {
    by_tracker(ONE_BYTE);
}

#[test]
fn aria2_alone_gives_back_a_block_and_a_byte_by_a_tracker() {
    by_tracker(BLOCK_AND_BYTE);
}

#[test]
fn aria2_alone_gives_back_many_blocks_by_a_tracker() {
    by_tracker(MANY_BLOCKS);
}

#[test]
fn aria2_alone_gives_back_what_it_knew_by_a_magnet_link_and_a_tracker() {
    let journey = Journey::tracked(BLOCK_AND_BYTE);
    journey.publish();
    let seeder = journey.seed(&[]);
    let client = Aria2::join(&Link::Magnet(seeder.magnet.clone()));
    let off_file = client.wait_until_complete();
    journey.return_trip(seeder, &off_file, &[]);
}
