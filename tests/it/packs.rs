//! Packs and their torrents, through the program.

use std::fs;

use offswarm::client::{Client, Settings};
use offswarm::id::{BlockId, PieceHash};
use offswarm::torrent::magnet::Magnet;
use offswarm::torrent::metainfo::{Metainfo, content_name, pack_name};

use crate::program::{Place, Ran, noise};

const MIB: usize = 1 << 20;
const BLOCK: usize = 131_072;

fn json(ran: &Ran) -> serde_json::Value {
    serde_json::from_slice(&ran.0.stdout).unwrap()
}

/// The blocks of a pack, and its torrent, which must fit.
fn exported(place: &Place, pack: &str, torrent: &str) -> (Vec<BlockId>, Metainfo) {
    let metainfo = Metainfo::decode(&fs::read(place.path(torrent)).unwrap()).unwrap();
    let contents = fs::read(place.path(pack)).unwrap();
    assert!(contents.len().is_multiple_of(BLOCK));
    let ids: Vec<BlockId> = contents.chunks(BLOCK).map(BlockId::of).collect();
    let hashes: Vec<PieceHash> = contents.chunks(BLOCK).map(PieceHash::of).collect();
    assert_eq!(metainfo.ids.as_ref(), Some(&ids));
    assert_eq!(metainfo.info.blocks(), Ok(ids.len() as u64));
    assert_eq!(metainfo.info.piece_hashes().unwrap(), hashes);
    (ids, metainfo)
}

#[test]
fn packs_go_out_and_come_in() {
    let place = Place::new();
    let url = place.put("home", &place.file("file", MIB));
    let told = json(&place.run("home", ["--json", "pack", "export", "all.off", "--all"]).ok());
    assert_eq!(
        (told["blocks"].as_u64(), told["torrent"].as_str()),
        (Some(18), Some("all.off.torrent"))
    );
    let (ids, metainfo) = exported(&place, "all.off", "all.off.torrent");
    assert_eq!(metainfo.info.name, pack_name(&ids));
    let out = place.run("copy", ["pack", "adopt", "all.off"]).ok().stdout();
    assert_eq!(out.trim(), "all.off: 18 new blocks");
    let out = place.run("copy", ["pack", "adopt", "all.off"]).ok().stdout();
    assert_eq!(out.trim(), "all.off: 0 new blocks");
    place.run("place", ["pack", "adopt", "--in-place", "all.off"]).ok();
    let slabs = fs::read_dir(place.path("place/store")).unwrap();
    assert_eq!(slabs.count(), 1, "nothing is copied: there is only the index");
    for home in ["copy", "place"] {
        let out = format!("{home}.out");
        place.run(home, ["get", &url, "-o", &out, "--offline"]).ok();
        assert_eq!(fs::read(place.path(&out)).unwrap(), noise(MIB));
    }
    fs::remove_file(place.path("all.off")).unwrap();
    place.run("copy", ["get", &url, "-o", "copy.out", "--offline"]).ok();
    place.run("place", ["get", &url, "-o", "place.out", "--offline"]).exits(1).says(["all.off"]);
}

#[test]
fn what_is_no_pack_is_refused() {
    let place = Place::new();
    let url = place.put("home", &place.file("file", MIB));
    fs::write(place.path("odd.off"), vec![0; 1_000]).unwrap();
    fs::write(place.path("empty.off"), []).unwrap();
    for pack in ["odd.off", "empty.off"] {
        for how in [None, Some("--in-place")] {
            let args = ["pack", "adopt", pack].into_iter().chain(how);
            let said = format!("{pack} is not a pack");
            place.run("copy", args).exits(1).says([&*said, "no whole number of blocks"]);
        }
    }
    place.run("copy", ["pack", "adopt", "absent.off"]).exits(1).says(["absent.off"]);
    place.run("home", ["pack", "export", "none.off"]).exits(2);
    place.run("home", ["pack", "export", "none.off", "--all", "--urls", &url]).exits(2);
    place.run("home", ["pack", "export", "no/such/folder.off", "--all"]).exits(1).says(["no/such"]);
    place.run("copy", ["pack", "export", "none.off", "--all"]).exits(1).says(["no blocks"]);
    place.run("copy", ["pack", "export", "none.off", "--urls", &url]).exits(4).says(["not here"]);
    for name in ["none.off", "none.off.torrent"] {
        assert!(!place.path(name).exists(), "{name} is left behind");
    }
}

/// Whoever holds the pack of one URL and whoever shares the URL are in one swarm.
#[test]
fn the_torrent_of_a_single_url_is_the_one_that_is_published() {
    let place = Place::new();
    let url = place.put("home", &place.file("file", MIB));
    place.put("home", &place.file("other", MIB - 1));
    let (tracker, seed) = ("http://127.0.0.1:1/announce", "http://127.0.0.1:1/one.off");
    let args = ["pack", "export", "one.off", "--tracker", tracker, "--web-seed", seed];
    let args = args.into_iter().chain(["--torrent-out", "t", "--urls", &url]);
    let magnet = place.run("home", args).ok().stdout();
    let (ids, metainfo) = exported(&place, "one.off", "t");
    assert_eq!(metainfo.info.name, content_name(ids[0]));
    assert_eq!(
        (&*metainfo.trackers, &*metainfo.web_seeds),
        (&[tracker.into()][..], &[seed.into()][..])
    );
    let magnet = Magnet::parse(magnet.trim()).unwrap();
    assert_eq!((magnet.infohash, magnet.off), (Some(metainfo.info.infohash), None));
    assert_eq!((magnet.trackers, magnet.web_seeds), (metainfo.trackers, metainfo.web_seeds));
    let client = Client::open_existing(&place.path("home"), &Settings::default()).unwrap();
    let url = offswarm::off::OffUrl::parse(&url).unwrap();
    let record = client.catalog().url(&url).unwrap().unwrap();
    assert_eq!(record.infohash, Some(metainfo.info.infohash));
    let published = client.publish(&url, &[]).unwrap();
    assert_eq!((published.metainfo.info, published.order), (metainfo.info, ids));
}

#[test]
fn a_pack_of_several_urls_has_a_torrent_of_its_own() {
    let place = Place::new();
    let one = place.put("home", &place.file("one", MIB));
    let two = place.put("home", &place.file("two", MIB - 1));
    let export = |name: &str, urls: &[&str]| {
        let args = ["pack", "export", name, "--urls"].into_iter().chain(urls.iter().copied());
        place.run("home", args).ok();
        exported(&place, name, &format!("{name}.torrent"))
    };
    let (first, _) = export("first.off", &[&one]);
    let (second, _) = export("second.off", &[&two, &two]);
    let (both, metainfo) = export("both.off", &[&one, &two]);
    let rest = second.iter().filter(|id| !first.contains(id));
    assert_eq!(both, first.iter().chain(rest).copied().collect::<Vec<_>>());
    assert_eq!(metainfo.info.name, pack_name(&both));
    let client = Client::open_existing(&place.path("home"), &Settings::default()).unwrap();
    let infohash = metainfo.info.infohash;
    assert_eq!(client.catalog().order(infohash).unwrap(), Some(both));
    assert_eq!(client.catalog().torrent(infohash).unwrap().unwrap().url, None);
    assert_eq!(client.catalog().torrent_count().unwrap(), 3);
    assert_eq!(client.metainfo(infohash).unwrap(), Some(metainfo));
}

#[test]
fn a_torrent_that_lists_other_blocks_than_it_has_is_refused() {
    let place = Place::new();
    place.put("home", &place.file("file", MIB));
    place.run("home", ["pack", "export", "all.off", "--all"]).ok();
    let shown = place.run("home", ["torrent", "show", "all.off.torrent"]).ok().stdout();
    assert!(shown.contains("carries       18 OFF blocks, listed"), "{shown}");
    let torrent = fs::read(place.path("all.off.torrent")).unwrap();
    let at = torrent.windows(7).position(|bytes| bytes == b"off ids").unwrap();
    let cut = [&torrent[..at], b"off ids32:", &[7; 32], b"e"].concat();
    fs::write(place.path("bad.torrent"), cut).unwrap();
    place
        .run("home", ["torrent", "show", "bad.torrent"])
        .exits(2)
        .says(["bad.torrent", "32 bytes of ids are not those of 18 blocks"]);
}
