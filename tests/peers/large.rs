//! A torrent of 20,001 blocks, as large as metadata gets in practice.
//!
//! Its blocks are 2.6 GB, so they are made once and not moved: each client gets the metadata by
//! magnet link from offswarm, and finds the file complete that it is given.

use std::fs;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::clients::{
    Aria2, Client, Deluge, Desk, Libtorrent, QBittorrent, RTorrent, Transmission,
};
use crate::net::Net;
use crate::record;
use crate::stage::{Size, Stage};

const HEAD: &str = "| | metadata by magnet link | check of the file |\n|---|---|---|\n";

/// Gets the metadata from offswarm, by a magnet link and what that names.
fn gets_metadata<C: Client>(stage: &Stage, peer: SocketAddr) {
    let desk = Desk::new(&stage.net.theirs);
    C::join(&desk, &stage.by_magnet(&[peer])).wait_for_metadata();
}

/// Finds the file complete, on a machine where nobody can give it anything.
fn checks<C: Client>(stage: &Stage) {
    let net = Net::new();
    let desk = Desk::new(&net.theirs);
    // Nobody writes into it: it is as it should be.
    fs::hard_link(stage.off_file(), stage.place(&desk)).unwrap();
    C::join(&desk, &stage.by_torrent(&[])).wait_until_complete();
}

/// Does all that is asked of a client, and says how each ended.
fn row<C: Client>(stage: &Stage, peer: SocketAddr) -> String {
    let outcome = |step: &dyn Fn()| record::outcome(&catch_unwind(AssertUnwindSafe(step)));
    let metadata = outcome(&|| gets_metadata::<C>(stage, peer));
    let check = outcome(&|| checks::<C>(stage));
    format!("| {} | {metadata} | {check} |\n", C::NAME)
}

#[test]
fn a_large_torrent_is_taken_as_recorded() {
    let stage = Stage::tracked(Size::LARGE);
    let seeder = stage.seed(&[]);
    let rows = [
        row::<Aria2>,
        row::<Deluge>,
        row::<Libtorrent>,
        row::<QBittorrent>,
        row::<RTorrent>,
        row::<Transmission>,
    ];
    let rows = rows.map(|row| row(&stage, seeder.address())).concat();
    record::compare("20,001 blocks", &format!("{HEAD}{rows}"));
}
