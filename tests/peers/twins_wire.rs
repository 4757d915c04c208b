//! Torrents of version 2 and hybrids over the wire: qBittorrent downloads them from offswarm.
//!
//! From a magnet link of version 2 it gets nothing but the root; it asks the seeder for the hashes of
//! the pieces (BEP 52).

use std::fs;

use crate::clients::{Client, Desk, QBittorrent, Task};
use crate::common::child::poll;
use crate::stage::{OUR_PORT, Size, Stage};

fn downloads(flag: &str, choose: impl FnOnce((Task, Task)) -> Task) {
    let stage = Stage::new(Size::SMALL);
    let task = choose(stage.twin(flag, &[stage.net.ours.at(OUR_PORT)]));
    let desk = Desk::new(&stage.net.theirs);
    let _seeder = stage.seed(&[]);
    let client = QBittorrent::join(&desk, &task);
    client.wait_until_complete();
    let expected = fs::read(stage.off_file()).unwrap();
    poll("the blocks in the client's folder", || {
        (fs::read(stage.place(&desk)).unwrap() == expected).then_some(())
    });
}

#[test]
fn qbittorrent_downloads_version_2_by_torrent_file() {
    downloads("--v2", |(by_torrent, _)| by_torrent);
}

#[test]
fn qbittorrent_downloads_version_2_by_magnet_link() {
    downloads("--v2", |(_, by_magnet)| by_magnet);
}

#[test]
fn qbittorrent_downloads_a_hybrid_by_torrent_file() {
    downloads("--hybrid", |(by_torrent, _)| by_torrent);
}
