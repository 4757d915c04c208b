//! Torrents of version 2 and of both: made on request, remembered, forgotten with their URL.

use std::fs;

use offswarm::client::{Client, Settings};
use offswarm::id::{BlockId, InfoHash};
use offswarm::off::OffUrl;
use offswarm::torrent::magnet::Magnet;
use offswarm::torrent::merkle;
use offswarm::torrent::metainfo::{Info, Metainfo, Version};

use crate::program::{Place, Ran};

const BLOCK: usize = 131_072;

fn lines(ran: Ran) -> (OffUrl, Magnet) {
    let out = ran.ok().stdout();
    let [url, magnet] = out.lines().collect::<Vec<_>>()[..] else { panic!("two lines: {out}") };
    (OffUrl::parse(url).unwrap(), Magnet::parse(magnet).unwrap())
}

fn json(ran: Ran) -> serde_json::Value {
    serde_json::from_slice(&ran.ok().0.stdout).unwrap()
}

#[test]
fn publish_prints_links_and_remembers_every_version() {
    let place = Place::new();
    let url = place.put("home", &place.file("in", 300_000));
    let more = ["--tracker", "http://t.example/announce", "--web-seed", "http://w.example/x.off"];
    let publish = |flags: &[&str]| {
        let args = [&["publish", &url], &more[..], flags].concat();
        lines(place.run("home", args))
    };
    let (plain_url, plain) = publish(&[]);
    let (v2_url, v2) = publish(&["--v2"]);
    let (hybrid_url, hybrid) = publish(&["--hybrid"]);
    for (url, magnet) in [(&plain_url, &plain), (&v2_url, &v2), (&hybrid_url, &hybrid)] {
        assert_eq!(
            (&url.hints.trackers, &url.hints.web_seeds),
            (&magnet.trackers, &magnet.web_seeds)
        );
        assert_eq!((magnet.trackers.len(), magnet.web_seeds.len()), (1, 1));
        assert_eq!(magnet.off, Some(url.canonical()));
    }
    assert_eq!((plain_url.hints.infohash, plain.infohash_v2), (plain.infohash, None));
    assert_eq!((hybrid_url.hints.infohash, hybrid.infohash_v2), (hybrid.infohash, None));
    assert_eq!((v2.infohash, v2.infohash_v2.is_some()), (None, true));
    assert_eq!(v2_url.hints.infohash, plain.infohash, "the swarm that offswarm downloads from");
    assert_ne!(hybrid.infohash, plain.infohash);
    let names = {
        let client = Client::open(&place.path("home"), &Settings::default()).unwrap();
        let record = client.catalog().url(&plain_url).unwrap().unwrap();
        assert_eq!(record.infohash, plain.infohash, "a twin does not take its place");
        let torrents = client.catalog().torrents().unwrap();
        let key = plain_url.canonical().to_string();
        assert!(torrents.iter().all(|(_, record)| record.trackers.len() == 1));
        assert_eq!(torrents.len(), 4, "one of version 1, one of version 2, two of the hybrid");
        let info = |hash: &InfoHash| {
            let raw = client.catalog().info_dict(*hash).unwrap().unwrap();
            Info::decode(raw.into()).unwrap()
        };
        for (hash, _) in &torrents {
            assert!(info(hash).handshakes().contains(hash), "{key}");
        }
        let v2_name = v2.infohash_v2.unwrap().truncated();
        assert_eq!(info(&v2_name).version, Version::V2);
        assert_eq!(info(&hybrid.infohash.unwrap()).version, Version::Hybrid);
        torrents.into_iter().map(|(hash, _)| hash).collect::<Vec<_>>()
    };
    for hash in &names {
        let shown = json(
            place
                .run("home", ["--json", "torrent", "show", &format!("magnet:?xt=urn:btih:{hash}")]),
        );
        assert_eq!((&shown["url"], &shown["blocks_here"]), (&url.as_str().into(), &8.into()));
    }
    place.run("home", ["rm", &url]).ok();
    let client = Client::open(&place.path("home"), &Settings::default()).unwrap();
    assert_eq!(client.catalog().torrents().unwrap(), [], "all go with the URL");
    assert!(names.iter().all(|hash| client.catalog().info_dict(*hash).unwrap().is_none()));
}

/// Overwrites every block but those in `spared`.
fn wipe(place: &Place, home: &str, spared: &[BlockId]) {
    let path = place.path(home).join("store/000000.slab");
    let mut slab = fs::read(&path).unwrap();
    for block in slab.chunks_mut(BLOCK).filter(|block| !spared.contains(&BlockId::of(block))) {
        block.fill(0);
    }
    fs::write(path, slab).unwrap();
}

#[test]
fn blocks_are_read_once_for_all_versions() {
    let place = Place::new();
    let url = place.put("home", &place.file("in", 3_000_000));
    for name in ["store", "store/000000.slab", "store/index.redb", "catalog.redb"] {
        let (from, to) = (place.path("home").join(name), place.path("copy").join(name));
        if from.is_dir() {
            fs::create_dir_all(to).unwrap();
        } else {
            fs::copy(from, to).unwrap();
        }
    }
    let versions =
        [&["publish", &url, "--v2"][..], &["publish", &url, "--hybrid"], &["publish", &url]];
    let expected: Vec<_> =
        versions.iter().map(|args| place.run("copy", *args).ok().stdout()).collect();
    place.run("home", ["publish", &url, "--hybrid"]).ok();
    let descriptor = OffUrl::parse(&url).unwrap().descriptor().unwrap();
    wipe(&place, "home", &[descriptor]);
    for (args, expected) in versions.iter().zip(expected).rev() {
        let found = place.run("home", *args).ok().stdout();
        assert_eq!(found.lines().last(), expected.lines().last(), "{args:?}");
    }
    // What is found damaged is forgotten, so nothing is published that cannot be served.
    place.run("home", ["check", "--read-data"]).exits(5);
    place.run("home", ["publish", &url, "--v2"]).exits(4).says(["blocks of", "are not here"]);
}

#[test]
fn torrents_of_version_2_answer_requests_for_their_hashes() {
    let place = Place::new();
    let url = OffUrl::parse(&place.put("home", &place.file("in", 1_000_000))).unwrap();
    let client = Client::open(&place.path("home"), &Settings::default()).unwrap();
    let published = client.publish_as(&url, Version::V2, &[]).unwrap();
    let Metainfo { info, piece_layers, .. } = &published.metainfo;
    let layers = client.merkle_layers(&published.order).unwrap();
    let root = info.files[0].root.unwrap();
    assert_eq!(layers.root(), root);
    let hashes: Vec<_> = piece_layers.of(&root).collect();
    assert_eq!(layers.layer(merkle::BLOCK_HEIGHT), Some(&hashes[..]));
    let count = published.order.len();
    let answer = layers.answer(merkle::BLOCK_HEIGHT, 0, count as u32, 0).unwrap();
    assert_eq!(answer, hashes);
    assert_eq!(merkle::root_over(merkle::BLOCK_HEIGHT, answer), root);
}

/// Else nothing could ever forget its torrents again.
#[test]
fn publishing_enters_a_url_that_only_its_blocks_were_known_of() {
    let place = Place::new();
    let url = place.put("home", &place.file("in", 300_000));
    place.run("home", ["pack", "export", "blocks.off", "--urls", &url]).ok();
    place.run("other", ["pack", "adopt", "blocks.off"]).ok();
    place.run("other", ["publish", &url, "--hybrid"]).ok();
    assert_eq!(place.run("other", ["ls"]).ok().stdout().trim(), url);
    place.run("other", ["rm", &url]).ok();
    let stat = json(place.run("other", ["stat", "--json"]));
    assert_eq!((&stat["torrents"], &stat["blocks"]), (&0.into(), &0.into()));
}

#[test]
fn publish_says_what_keeps_it_from_publishing() {
    let place = Place::new();
    let url = place.put("home", &place.file("in", 300_000));
    place.put("other", &place.file("more", 10));
    place.run("nowhere", ["publish", &url]).exits(10);
    place.run("other", ["publish", &url, "--v2"]).exits(4).says(["blocks of", "are not here"]);
    place.run("home", ["publish", "nonsense"]).exits(2).says(["not an OFF URL"]);
    place.run("home", ["publish", &url, "--v2", "--hybrid"]).exits(2).says(["cannot be used with"]);
    place.run("home", ["publish", &url, "--web-seed", "file:///x"]).exits(2).says(["http"]);
    place.run("home", ["publish", &url, "--torrent-out", "no/where"]).exits(1).says(["no/where"]);
    let empty = place.put("home", &place.file("empty", 0));
    place.run("home", ["publish", &empty]).exits(1).says(["no blocks to publish"]);
}

#[test]
fn a_torrent_of_version_2_alone_is_not_downloaded() {
    let place = Place::new();
    let url = place.put("home", &place.file("in", 300_000));
    for (flag, code, says) in
        [("--v2", 2, "of version 2 only"), ("--hybrid", 4, "blocks not found")]
    {
        let torrent = place.path("x.torrent");
        place.run("home", ["publish", &url, flag, "--torrent-out", torrent.to_str().unwrap()]).ok();
        let args =
            ["get", &url, "--torrent", torrent.to_str().unwrap(), "--timeout", "1s", "-oout"];
        place.run("other", args).exits(code).says([says]);
    }
}
