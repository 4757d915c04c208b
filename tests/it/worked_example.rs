//! The example in `torrents/`: made by the program with a fixed seed, rebuilt here byte for byte.
//!
//! `OFFSWARM_BLESS=1` writes the files anew; without it a difference is a failure.

use std::fs;
use std::path::{Path, PathBuf};

use offswarm::client::put::PutOptions;
use offswarm::client::{Client, Settings};
use offswarm::id::BlockId;
use offswarm::off::{Block, OffUrl};
use offswarm::torrent::metainfo::{Metainfo, content_name};

use crate::program::Place;

const SEED: u64 = 0x0ff5_0a4e;
const FILE: &str = "owner-free.txt";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("torrents")
}

/// What the program makes of the source file: one sealed and one plain URL, each with its torrent
/// and its pack.
struct Example {
    urls: String,
    packs: Vec<Pack>,
}

struct Pack {
    name: String,
    torrent: Vec<u8>,
    contents: Vec<u8>,
}

fn make(home: &Path, seed: u64) -> Example {
    let client = Client::open_seeded(home, seed).unwrap();
    let source = fs::read(folder().join(FILE)).unwrap();
    let urls: Vec<OffUrl> = [true, false].map(|sealed| put(&client, &source, sealed)).into();
    Example {
        urls: urls.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n") + "\n",
        packs: urls.iter().map(|url| pack(&client, url)).collect(),
    }
}

fn put(client: &Client, source: &[u8], sealed: bool) -> OffUrl {
    let (content_type, name) = ("text/plain".to_owned(), FILE.to_owned());
    let options = PutOptions { content_type, name, sealed, ..PutOptions::default() };
    client.put(&mut &source[..], &options, &mut |_| ()).unwrap().url
}

fn pack(client: &Client, url: &OffUrl) -> Pack {
    let published = client.publish(url, &[]).unwrap();
    let blocks = published.order.iter().map(|id| client.store().get(id).unwrap().unwrap());
    Pack {
        name: published.metainfo.info.name.clone(),
        torrent: published.metainfo.encode(),
        contents: blocks.flat_map(|block| block.contents().to_vec()).collect(),
    }
}

#[test]
fn rebuilds_the_example_byte_for_byte() {
    let place = Place::new();
    let example = make(&place.path("home"), SEED);
    let mut files = vec![("urls.txt".to_owned(), example.urls.into_bytes())];
    for Pack { name, torrent, contents } in example.packs {
        files.push((format!("{name}.torrent"), torrent));
        files.push((name, contents));
    }
    for (name, made) in files {
        let path = folder().join(&name);
        if std::env::var_os("OFFSWARM_BLESS").is_some() {
            fs::write(&path, &made).unwrap();
        }
        assert!(fs::read(&path).unwrap() == made, "torrents/{name} is not what the program makes");
    }
}

#[test]
fn the_same_seed_gives_the_same_torrent_and_another_seed_another() {
    let place = Place::new();
    let [one, same, other] = [("one", SEED), ("same", SEED), ("other", SEED + 1)]
        .map(|(home, seed)| make(&place.path(home), seed));
    assert_eq!(one.urls, same.urls);
    assert_ne!(one.urls, other.urls);
    for ((one, same), other) in one.packs.iter().zip(&same.packs).zip(&other.packs) {
        assert!(one.torrent == same.torrent && one.torrent != other.torrent);
    }
}

#[test]
fn decodes_the_file_from_the_committed_packs() {
    let urls = fs::read_to_string(folder().join("urls.txt")).unwrap();
    assert_eq!(urls.lines().count(), 2);
    for url in urls.lines() {
        let place = Place::new();
        let url = OffUrl::parse(url).unwrap();
        let client = Client::open(&place.path("home"), &Settings::default()).unwrap();
        take_in(&client, &content_name(url.descriptor().unwrap()));
        let mut decoded = Vec::new();
        client.read(&url, &mut decoded, &mut |_| ()).unwrap();
        assert_eq!(decoded, fs::read(folder().join(FILE)).unwrap());
    }
}

/// Stores the blocks of a committed pack, after a look at its torrent.
fn take_in(client: &Client, name: &str) {
    let pack = fs::read(folder().join(name)).unwrap();
    let torrent = fs::read(folder().join(format!("{name}.torrent"))).unwrap();
    let metainfo = Metainfo::decode(&torrent).unwrap();
    assert_eq!(metainfo.info.blocks().unwrap() * 131_072, pack.len() as u64);
    for contents in pack.chunks(131_072) {
        let block = Block::check(BlockId::of(contents), contents.to_vec().into()).unwrap();
        client.store().put(&block).unwrap();
    }
}

/// The seed is a hook for tests; nothing a user can type reaches it.
#[test]
fn no_flag_or_variable_sets_the_seed() {
    let place = Place::new();
    let help = place.run("h", ["put", "--help"]).ok().stdout();
    assert!(!help.to_lowercase().contains("seed"), "{help}");
}
