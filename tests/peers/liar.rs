//! A peer that has the torrent and serves wrong bytes for every block.
//!
//! It is libtorrent with its checks switched off, so that all else about it is in order.

use std::fs;

use offswarm::torrent::metainfo::content_name;

use crate::common::Home;
use crate::journey::{BLOCK_AND_BYTE, Journey, Link, MANY_BLOCKS, text};
use crate::libtorrent::Libtorrent;

/// Bytes that BitTorrent asks for at once; a lie in each of them spoils every answer.
const CHUNK_LEN: usize = 16_384;

/// Exit code of offswarm: not found in time.
const NOT_FOUND: i32 = 4;

/// Shares a file for a moment, and has its blocks seeded, spoilt. Its magnet link comes with it.
pub(crate) fn liar_about(journey: &Journey) -> (Libtorrent, String) {
    let seeder = journey.share();
    let (url, magnet) = (seeder.url.clone(), seeder.magnet.clone());
    seeder.stop();
    let mut blocks = journey.blocks(&url);
    for chunk in blocks.chunks_mut(CHUNK_LEN) {
        chunk[0] ^= 1;
    }
    let folder = tempfile::tempdir().unwrap();
    let name = content_name(url.descriptor().unwrap());
    fs::write(folder.path().join(name), blocks).unwrap();
    let liar = Libtorrent::seed_unchecked(&Link::Torrent(journey.torrent()), folder);
    liar.wait_until_complete();
    (liar, magnet)
}

#[test]
fn nothing_is_kept_of_what_a_liar_serves() {
    let journey = Journey::of(BLOCK_AND_BYTE);
    let (liar, magnet) = liar_about(&journey);
    let (home, peer) = (Home::new(), liar.address.to_string());
    let copy = home.beside("copy.txt");

    let got = home.get(&magnet, &copy, &["--peer", &peer, "--stall", "2s"]);

    let stderr = text(&got.stderr);
    assert_eq!(got.status.code(), Some(NOT_FOUND), "{stderr}");
    assert!(got.stdout.is_empty() && !copy.exists());
    assert_eq!(home.census(), 0);
}

#[test]
fn a_liar_beside_an_honest_peer_does_no_harm() {
    let journey = Journey::of(MANY_BLOCKS);
    let (liar, _) = liar_about(&journey);
    let seeder = journey.seed(&[]);
    let (home, peer) = (Home::new(), liar.address.to_string());
    let copy = home.beside("copy.txt");

    let got = home.get(&seeder.magnet, &copy, &["--peer", &peer]);

    assert!(got.status.success(), "{}", text(&got.stderr));
    journey.check_copy(&copy);
}
