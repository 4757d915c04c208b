//! Each client both as downloader and as seeder of our torrents, by each kind of link.
//!
//! What it does is recorded in `MATRIX.md`.

use std::fs;
use std::thread;

use serde_json::Value;

use crate::clients::{
    Aria2, Client, Deluge, Desk, Libtorrent, QBittorrent, RTorrent, Transmission,
};
use crate::common::Home;
use crate::common::child::poll;
use crate::journey::text;
use crate::record;
use crate::stage::{Size, Stage};

/// How the client that downloads, or offswarm, learns of the torrent and of its peers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Torrent,
    Magnet,
    Tracker,
}

const BY_ALL: [By; 3] = [By::Torrent, By::Magnet, By::Tracker];

const HEAD: &str = "| | `.torrent` | magnet link | tracker |\n|---|---|---|---|\n";

/// offswarm seeds, and the client ends with the very blocks.
fn downloads<C: Client>(size: Size, by: By) {
    // Most clients hang up when they have the metadata, and look for peers anew.
    let asks_tracker = by == By::Tracker || by == By::Magnet && !C::CAN_BE_TOLD_PEERS;
    let stage = if asks_tracker { Stage::tracked(size) } else { Stage::new(size) };
    let desk = Desk::new(&stage.net.theirs);
    let join = |peers: &[_]| match by {
        By::Torrent | By::Tracker => C::join(&desk, &stage.by_torrent(peers)),
        By::Magnet => C::join(&desk, &stage.by_magnet(peers)),
    };
    let (client, _seeder) = if asks_tracker {
        let seeder = stage.seed(&[]);
        (join(&[]), seeder)
    } else if C::CAN_BE_TOLD_PEERS {
        let seeder = stage.seed(&[]);
        (join(&[seeder.address()]), seeder)
    } else {
        (join(&[]), stage.seed(&[desk.address()]))
    };
    client.wait_until_complete();
    // A client may know that it has everything before it has written everything.
    let expected = fs::read(stage.off_file()).unwrap();
    poll("the blocks in the client's folder", || {
        (fs::read(stage.place(&desk)).unwrap() == expected).then_some(())
    });
}

/// The client has the blocks and seeds, and offswarm with an empty home gets the file.
fn seeds<C: Client>(size: Size, by: By) {
    let stage = if by == By::Tracker { Stage::tracked(size) } else { Stage::new(size) };
    let desk = Desk::new(&stage.net.theirs);
    fs::copy(stage.off_file(), stage.place(&desk)).unwrap();
    let client = C::join(&desk, &stage.by_torrent(&[]));
    client.wait_until_complete();

    let home = Home::new();
    let mut get = stage.get(&home);
    get.arg("--output").arg(home.beside("copy"));
    match by {
        By::Torrent => get.arg(stage.url.to_string()).arg("--torrent").arg(stage.torrent()),
        By::Magnet | By::Tracker => get.arg(&stage.magnet),
    };
    match by {
        By::Torrent | By::Magnet => {
            get.arg("--peer").arg(desk.address().to_string());
        }
        By::Tracker => stage.wait_for_a_seed(),
    }
    let got = get.output().unwrap();

    assert!(got.status.success(), "{}: {}", got.status, text(&got.stderr));
    let (copy, original) = (home.beside("copy"), stage.original());
    assert!(fs::read(copy).unwrap() == fs::read(original).unwrap(), "other bytes came");
    let told: Value = serde_json::from_str(&text(&got.stdout)).unwrap();
    assert_eq!(told["blocks_swarm"], size.blocks, "{told}");
}

#[derive(Clone, Copy)]
enum Role {
    Downloads,
    Seeds,
}

#[derive(Clone, Copy)]
struct Cell {
    role: Role,
    size: Size,
    by: By,
}

impl Cell {
    fn run<C: Client>(self) {
        match self.role {
            Role::Downloads => downloads::<C>(self.size, self.by),
            Role::Seeds => seeds::<C>(self.size, self.by),
        }
    }
}

/// Tries cells side by side, as most of their time is waiting.
fn outcomes<C: Client>(cells: &[Cell]) -> Vec<&'static str> {
    thread::scope(|scope| {
        let start = |cell: &Cell| {
            let cell = *cell;
            scope.spawn(move || cell.run::<C>())
        };
        let running = cells.iter().map(start).collect::<Vec<_>>();
        running.into_iter().map(|cell| record::outcome(&cell.join())).collect()
    })
}

/// Does all of a client's cells: the small size by all links, the middle one by one link each.
fn client_does_what_is_recorded<C: Client>(download_by: By, seed_by: By) {
    let cell = |role, size, by| Cell { role, size, by };
    let small = |role| BY_ALL.map(|by| cell(role, Size::SMALL, by));
    let small = outcomes::<C>(&[small(Role::Downloads), small(Role::Seeds)].concat());
    let middle = outcomes::<C>(&[
        cell(Role::Downloads, Size::MIDDLE, download_by),
        cell(Role::Seeds, Size::MIDDLE, seed_by),
    ]);

    let only = |by, outcome| BY_ALL.map(|each| if each == by { outcome } else { "" }).join(" | ");
    let rows = [
        format!("| downloads 8 blocks | {} |\n", small[..3].join(" | ")),
        format!("| seeds 8 blocks | {} |\n", small[3..].join(" | ")),
        format!("| downloads 1,000 blocks | {} |\n", only(download_by, middle[0])),
        format!("| seeds 1,000 blocks | {} |\n", only(seed_by, middle[1])),
    ];
    let text = format!("Version {}.\n{}\n\n{HEAD}{}", C::version(), C::REMARK, rows.concat());
    record::compare(C::NAME, &text);
}

#[test]
fn aria2_does_what_is_recorded() {
    client_does_what_is_recorded::<Aria2>(By::Torrent, By::Magnet);
}

#[test]
fn deluge_does_what_is_recorded() {
    client_does_what_is_recorded::<Deluge>(By::Magnet, By::Tracker);
}

#[test]
fn libtorrent_does_what_is_recorded() {
    client_does_what_is_recorded::<Libtorrent>(By::Tracker, By::Torrent);
}

#[test]
fn qbittorrent_does_what_is_recorded() {
    client_does_what_is_recorded::<QBittorrent>(By::Torrent, By::Magnet);
}

#[test]
fn rtorrent_does_what_is_recorded() {
    client_does_what_is_recorded::<RTorrent>(By::Magnet, By::Torrent);
}

#[test]
fn transmission_does_what_is_recorded() {
    client_does_what_is_recorded::<Transmission>(By::Tracker, By::Torrent);
}

/// The metadata of 1,000 blocks is two pieces. rTorrent answers the request for one of them and
/// drops another that comes right behind it, so that has to wait, or to be asked again.
#[test]
fn rtorrent_gives_metadata_of_more_than_one_piece() {
    seeds::<RTorrent>(Size::MIDDLE, By::Magnet);
}
