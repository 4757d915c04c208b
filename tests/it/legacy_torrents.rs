//! Torrents and packs of OFF URLs of version 3, whose blocks of 128,000 bytes are padded there.

use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use offswarm::client::put::PutOptions;
use offswarm::client::{Client, PublishError, Settings};
use offswarm::id::{BlockId, InfoHash, PieceHash};
use offswarm::off::{Block, BlockSize, Carriage, Directory, OffUrl, Version, directory};
use offswarm::peer::content::{Content, Verdict};
use offswarm::store::{BlockStore, MemoryStore, Presence};
use offswarm::swarm::content::BlockContent;
use offswarm::torrent::merkle::{self, Layers};
use offswarm::torrent::metainfo::{Info, Metainfo, Version as Torrent, content_name};

use crate::program::{Place, Ran, Seeder, noise};
use crate::server::{Saying, Server, answer};

const SLOT: usize = 131_072;

fn put_v3(place: &Place, home: &str, len: usize) -> String {
    let file = place.file(&format!("{len}.bin"), len);
    let ran = place.run(home, ["put", "--v3", file.to_str().unwrap()]).ok();
    ran.stdout().trim().to_owned()
}

/// Publishes a URL and seeds it.
fn seed(place: &Place, home: &str, url: &str) -> Seeder {
    place.run(home, ["publish", url]).ok();
    Seeder::start(place.command(home, ["seed", "--listen", "127.0.0.1:0"]))
}

fn client(place: &Place, home: &str) -> Client {
    Client::open(&place.path(home), &Settings::default()).unwrap()
}

fn json(ran: &Ran) -> serde_json::Value {
    serde_json::from_slice(&ran.0.stdout).unwrap()
}

/// The slots of a URL's blocks, made without our help.
fn slots(client: &Client, url: &OffUrl) -> Vec<Vec<u8>> {
    let order = client.survey(url).unwrap().order;
    let slot = |id| {
        let mut slot = client.store().get(id).unwrap().unwrap().contents().to_vec();
        assert_eq!(slot.len(), 128_000);
        slot.resize(SLOT, 0);
        slot
    };
    order.iter().map(slot).collect()
}

#[test]
fn a_url_of_version_3_crosses_the_swarm() {
    let place = Place::new();
    for len in [128_000, 128_001, 1_000_000] {
        let home = format!("a{len}");
        let url = put_v3(&place, &home, len);
        let seeder = seed(&place, &home, &url);
        assert!(seeder.url.starts_with(&url) && seeder.url.contains("btih="), "{}", seeder.url);
        for (who, link) in [("url", &seeder.url), ("magnet", &seeder.magnet)] {
            let (to, out) = (format!("{who}{len}"), format!("{who}{len}.out"));
            let get = ["--json", "get", link, "-o", &out, "--swarm-only", "--timeout", "60s"];
            let told = json(&place.run(&to, get).ok());
            assert!(fs::read(place.path(&out)).unwrap() == noise(len), "{len} by {who}");
            assert_eq!((&told["blocks_local"], &told["blocks_native"]), (&0.into(), &0.into()));
            assert!(told["blocks_swarm"].as_u64().unwrap() >= 4, "{told}");
        }
        // A range alone, into an empty home.
        let last = format!("{}-", len - 1);
        let cat = ["cat", &seeder.url, "--range", &last, "--swarm-only"];
        let ran = place.run(&format!("range{len}"), cat).ok();
        assert_eq!(ran.0.stdout, &noise(len)[len - 1..]);
    }
}

#[test]
fn whoever_has_the_blocks_makes_the_same_torrent() {
    let place = Place::new();
    let url = put_v3(&place, "a", 700_000);
    let seeder = seed(&place, "a", &url);
    place.run("b", ["get", &seeder.url, "-o", "out"]).ok();
    // Another who has nothing but the blocks.
    let parsed = OffUrl::parse(&url).unwrap();
    drop(seeder);
    let (a, c) = (client(&place, "a"), client(&place, "c"));
    for id in a.survey(&parsed).unwrap().order {
        c.store().put(&a.store().get(&id).unwrap().unwrap()).unwrap();
    }
    let b = client(&place, "b");
    let slots = slots(&a, &parsed);
    let pieces: Vec<_> = slots.iter().map(|slot| PieceHash::of(slot)).collect();
    let expected =
        Info::of_blocks(parsed.descriptor().unwrap(), slots.len() as u64, &pieces).unwrap();
    for client in [&a, &b, &c] {
        let info = client.publish(&parsed, &[]).unwrap().metainfo.info;
        assert_eq!((info.infohash, info.raw), (expected.infohash, expected.raw.clone()));
    }
    assert_eq!(expected.name, content_name(parsed.descriptor().unwrap()));
}

#[test]
fn torrents_of_version_2_are_over_padded_blocks_as_well() {
    let place = Place::new();
    let url = OffUrl::parse(&put_v3(&place, "a", 700_000)).unwrap();
    let client = client(&place, "a");
    let slots = slots(&client, &url);
    let roots = slots.iter().map(|slot| merkle::root_of_bytes(slot)).collect();
    let layers = Layers::of_blocks(roots);
    let pieces: Vec<_> = slots.iter().map(|slot| PieceHash::of(slot)).collect();
    for version in [Torrent::V2, Torrent::Hybrid, Torrent::V2] {
        let published = client.publish_as(&url, version, &[]).unwrap();
        let info = &published.metainfo.info;
        assert_eq!(info.files[0].root, Some(layers.root()));
        if version == Torrent::Hybrid {
            assert_eq!(info.piece_hashes().unwrap(), pieces);
        }
        assert_eq!(client.merkle_layers(&published.order).unwrap().root(), layers.root());
    }
}

#[test]
fn short_blocks_are_refused_and_convert_is_named() {
    let place = Place::new();
    for (len, bytes, class) in [(500, "136 bytes", "nano"), (50_000, "1000 bytes", "mini")] {
        let url = put_v3(&place, "a", len);
        let export = ["pack", "export", "x.off", "--urls", &url];
        for args in [&["publish", &url][..], &["publish", &url, "--v2"], &export] {
            let ran = place.run("a", args).exits(1);
            ran.says([bytes, class, "convert URL --to v4", "131072"]);
        }
        assert!(!place.path("x.off").exists());
        let get = ["get", &url, "-o", "out", "--swarm-only", "--timeout", "5s"];
        place.run("b", get).exits(4).says(["no swarm", bytes]);
    }
    let client = client(&place, "a");
    let [nano, mini] = [500, 50_000].map(|len| {
        let found = client.known_urls().unwrap().into_iter().find(|(url, _)| url.length() == len);
        found.unwrap().0
    });
    for url in [nano, mini] {
        let error = client.publish(&url, &[]).unwrap_err();
        assert!(matches!(error, PublishError::ShortBlocks { .. }), "{error}");
    }
    assert_eq!(client.publish_what_came(&[]).unwrap(), 0);
}

/// Puts a list of `count` names for one file.
fn listing(client: &Client, version: Version, file: &OffUrl, count: usize) -> OffUrl {
    let entry = |at| (format!("file {at:06}"), Some(file.clone()));
    let entries: Vec<_> = (0..count).map(entry).collect();
    let bytes = Directory::new(entries).unwrap().encode().unwrap();
    let content_type = directory::CONTENT_TYPE.to_owned();
    let options = PutOptions { version, content_type, name: "d.ofd".into(), ..Default::default() };
    client.put(&mut &*bytes, &options, &mut |_| ()).unwrap().url
}

#[test]
fn a_directory_has_a_torrent_if_all_its_blocks_have_one_size() {
    let place = Place::new();
    let v3 = OffUrl::parse(&put_v3(&place, "a", 300_000)).unwrap();
    let v4 = OffUrl::parse(&place.put("a", &place.path("300000.bin"))).unwrap();
    let (whole, member) = {
        let client = client(&place, "a");
        let mixed = |version, file, count| {
            let url = listing(&client, version, file, count);
            client.publish(&url, &[]).unwrap_err()
        };
        for error in [
            mixed(Version::V4, &v3, 3),
            mixed(Version::V3, &v4, 1_000),
            client.pack_of(&[v3.clone(), v4.clone()]).unwrap_err(),
        ] {
            assert!(matches!(error, PublishError::MixedBlocks { .. }), "{error}");
        }
        let short = mixed(Version::V3, &v3, 3);
        assert!(matches!(short, PublishError::ShortBlocks { .. }), "{short}");
        let whole = listing(&client, Version::V3, &v3, 1_000);
        assert_eq!(whole.block_size(), BlockSize::LegacyBlock);
        (whole.to_string(), "file%20000999")
    };
    let seeder = seed(&place, "a", &whole);
    let (path, hints) = seeder.url.split_once('?').unwrap();
    let link = format!("{path}/{member}?{hints}");
    place.run("b", ["get", &link, "-o", "out", "--swarm-only", "--timeout", "60s"]).ok();
    assert!(fs::read(place.path("out")).unwrap() == noise(300_000));
}

#[test]
fn packs_of_padded_blocks_go_out_and_come_in() {
    let place = Place::new();
    let url = put_v3(&place, "a", 700_000);
    let published = place.run("a", ["publish", &url]).ok().stdout();
    let infohash = published.split("btih=").nth(1).unwrap()[..40].to_owned();
    place.run("a", ["pack", "export", "one.off", "--urls", &url]).ok();
    let metainfo = Metainfo::decode(&fs::read(place.path("one.off.torrent")).unwrap()).unwrap();
    assert_eq!(metainfo.info.infohash, InfoHash::parse(&infohash).unwrap(), "one swarm");
    let pack = fs::read(place.path("one.off")).unwrap();
    let expected = {
        let a = client(&place, "a");
        slots(&a, &OffUrl::parse(&url).unwrap()).concat()
    };
    assert!(pack == expected);
    for (home, how) in [("copy", None), ("place", Some("--in-place"))] {
        let adopt = ["pack", "adopt", "one.off"].into_iter().chain(how);
        let out = place.run(home, adopt).ok().stdout();
        assert_eq!(out.trim(), format!("one.off: {} new blocks", pack.len() / SLOT));
        let out = format!("{home}.out");
        place.run(home, ["get", &url, "-o", &out, "--offline"]).ok();
        assert!(fs::read(place.path(&out)).unwrap() == noise(700_000));
        place.run(home, ["check", "--read-data"]).ok();
        let again = place.run(home, ["publish", &url]).ok().stdout();
        assert!(again.contains(&infohash));
    }
    assert_eq!(fs::read_dir(place.path("place/store")).unwrap().count(), 1, "nothing is copied");
    // Shards are of native blocks only.
    assert_eq!(client(&place, "copy").publish_store(&[]).unwrap().len(), 0);
}

/// A torrent whose second piece somebody has made, and what comes of downloading it.
struct Forgery {
    blocks: [Block; 2],
    slots: [Vec<u8>; 2],
}

impl Forgery {
    fn new(change: impl Fn(&mut Vec<u8>)) -> Self {
        let blocks = [(); 2].map(|()| Block::random(BlockSize::LegacyBlock, &mut rand::rng()));
        let mut slots = [0, 1].map(|at: usize| blocks[at].slot().unwrap().to_vec());
        change(&mut slots[1]);
        Self { blocks, slots }
    }

    /// What is said of the second piece, and why the torrent is given up.
    fn taken(&self, known: bool, promised: bool) -> (Verdict, String) {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Client::open(folder.path(), &Settings::default()).unwrap().catalog().clone();
        let store = Arc::new(MemoryStore::new());
        let mut pieces = self.slots.each_ref().map(|slot| PieceHash::of(slot));
        if !promised {
            pieces[1] = PieceHash::of(&self.blocks[1].slot().unwrap());
        }
        let first = self.blocks[0].id();
        let info = Info::of_blocks(first, 2, &pieces).unwrap();
        let ids = self.blocks.iter().map(Block::id).enumerate();
        let known = ids.map(|(at, id)| (at as u64, id)).filter(|_| known);
        let form = (Carriage::Padded, Some(first));
        let content = BlockContent::coming(store.clone(), catalog, info, form, known).unwrap();
        let give = |at: usize| content.take(at as u32, &[Bytes::from(self.slots[at].clone())]);
        assert_eq!(give(0), Verdict::Right);
        let verdict = give(1);
        let is_here = store.presence(&self.blocks[1].id()).unwrap() == Presence::Held;
        assert_eq!(
            is_here,
            verdict == Verdict::Right && self.slots[1][..128_000] == *self.blocks[1].contents()
        );
        (verdict, content.failure().map(|failure| failure.to_string()).unwrap_or_default())
    }
}

#[test]
fn padding_that_is_not_zero_gives_a_torrent_or_a_peer_away() {
    for at in [128_000, 131_071] {
        let forgery = Forgery::new(|slot| slot[at] = 1);
        for known in [false, true] {
            let (verdict, why) = forgery.taken(known, true);
            assert_eq!(verdict, Verdict::Failed, "it is what the torrent promises");
            assert!(why.contains("are not zero"), "{why}");
            let (verdict, why) = forgery.taken(known, false);
            assert_eq!((verdict, why.as_str()), (Verdict::Wrong, ""), "a peer lied");
        }
    }
}

#[test]
fn a_wrong_block_in_a_padded_piece_gives_it_away() {
    let forgery = Forgery::new(|slot| slot[5] ^= 1);
    let (verdict, why) = forgery.taken(true, true);
    assert_eq!(verdict, Verdict::Failed);
    assert!(why.contains("the torrent is forged"), "{why}");
    assert_eq!(forgery.taken(true, false), (Verdict::Wrong, String::new()));
    assert_eq!(forgery.taken(false, false), (Verdict::Wrong, String::new()));
    // Nobody knows yet which block is to be there: the torrent's word is taken, under its own id.
    assert_eq!(forgery.taken(false, true).0, Verdict::Right);
    let honest = Forgery::new(|_| ());
    for known in [false, true] {
        assert_eq!(honest.taken(known, true).0, Verdict::Right);
    }
}

/// Above 65,536 blocks a piece has several slots.
#[test]
fn a_piece_of_two_slots_has_two_padded_blocks() {
    let honest = Forgery::new(|_| ());
    let forged = Forgery::new(|slot| slot[131_000] = 1);
    for (forgery, expected) in [(honest, Verdict::Right), (forged, Verdict::Failed)] {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Client::open(folder.path(), &Settings::default()).unwrap().catalog().clone();
        let store = Arc::new(MemoryStore::new());
        let first = forgery.blocks[0].id();
        let mut pieces = vec![PieceHash::of(b"others"); 32_769];
        pieces[0] = PieceHash::of(&forgery.slots.concat());
        let info = Info::of_blocks(first, 65_537, &pieces).unwrap();
        let form = (Carriage::Padded, Some(first));
        let content = BlockContent::coming(store.clone(), catalog, info, form, []).unwrap();
        let parts: Vec<Bytes> =
            forgery.slots.concat().chunks(16_384).map(Bytes::copy_from_slice).collect();
        assert_eq!(content.take(0, &parts), expected);
        if expected == Verdict::Right {
            let whole = |at: usize| content.block(at as u64).unwrap() == forgery.slots[at];
            assert!(whole(0) && whole(1), "what came is served as it came");
        }
    }
}

/// The whole program, and a web seed that has just what the forged torrent promises.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_torrent_is_an_integrity_failure() {
    let place = Place::new();
    let url = put_v3(&place, "a", 300_000);
    let parsed = OffUrl::parse(&url).unwrap();
    let mut slots = slots(&client(&place, "a"), &parsed);
    *slots.last_mut().unwrap().last_mut().unwrap() = 1;
    let pieces: Vec<_> = slots.iter().map(|slot| PieceHash::of(slot)).collect();
    let first: BlockId = parsed.descriptor().unwrap();
    let info = Info::of_blocks(first, slots.len() as u64, &pieces).unwrap();
    let (trackers, web_seeds, piece_layers) = Default::default();
    let forged = Metainfo { info, trackers, web_seeds, piece_layers, ids: None };
    fs::write(place.path("forged.torrent"), forged.encode()).unwrap();
    let content = slots.concat();
    let server = Server::start(move |head| part_of(&content, head)).await;
    let seed = server.url("/x.off");
    let ran = tokio::task::block_in_place(|| {
        let get = ["get", &url, "-o", "out", "--torrent", "forged.torrent", "--web-seed", &seed];
        place.run("b", get.into_iter().chain(["--swarm-only", "--timeout", "60s"]))
    });
    ran.exits(5).says(["not a torrent of OFF blocks", "are not zero"]);
    assert!(!place.path("out").exists());
}

/// The range of some content that a request asks for.
fn part_of(content: &[u8], head: &str) -> Saying {
    let head = head.to_lowercase();
    let (_, range) = head.split_once("range: bytes=").unwrap();
    let (first, last) = range.lines().next().unwrap().split_once('-').unwrap();
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    let range = format!("Content-Range: bytes {first}-{last}/{}", content.len());
    answer("206 Partial Content", &[&range], &content[first..=last])
}
