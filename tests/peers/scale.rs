//! A hundred thousand torrents behind one port.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use offswarm::client::{Client, Settings};
use offswarm::id::{BlockId, InfoHash, PieceHash};
use offswarm::off::{Block, BlockSize};
use offswarm::torrent::metainfo::Info;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;

use crate::common::Home;
use crate::common::child::Running;
use crate::journey::Link;
use crate::libtorrent::Libtorrent;

const TORRENTS: usize = 100_000;

/// Torrents entered at a time.
const AT_ONCE: usize = 10_000;

/// Blocks of each, all the same.
const BLOCKS: usize = 3;

/// Generous: what it takes is measured elsewhere.
const SOON: Duration = Duration::from_secs(5);

const MEMORY_KIB: u64 = 100 << 10;

/// Fills a catalog: the infohashes, and the content that all have.
fn fill(client: &Client) -> (Vec<InfoHash>, Vec<u8>) {
    let mut rng = StdRng::seed_from_u64(100_000);
    let blocks: Vec<Block> =
        (0..BLOCKS).map(|_| Block::random(BlockSize::Native, &mut rng)).collect();
    for block in &blocks {
        client.store().put(block).unwrap();
    }
    client.store().commit().unwrap();
    let ids: Vec<BlockId> = blocks.iter().map(Block::id).collect();
    let hashes: Vec<_> = blocks.iter().map(|block| PieceHash::of(block.contents())).collect();
    let mut infohashes = Vec::new();
    for first in (0..TORRENTS).step_by(AT_ONCE) {
        let torrent = |number: usize| {
            let info = Info::named(format!("{number:016x}.off"), BLOCKS as u64, &hashes).unwrap();
            (info.infohash, info.raw.to_vec(), ids.clone())
        };
        let torrents: Vec<_> = (first..first + AT_ONCE).map(torrent).collect();
        client.catalog().publish_many(&torrents, &[]).unwrap();
        infohashes.extend(torrents.into_iter().map(|(infohash, ..)| infohash));
    }
    (infohashes, blocks.iter().flat_map(|block| block.contents().to_vec()).collect())
}

/// How long a peer waits until it has a handshake for a torrent.
fn handshake(address: SocketAddr, infohash: InfoHash) -> Duration {
    let started = Instant::now();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let head: [&[u8]; 3] = [b"\x13BitTorrent protocol", &[0; 8], infohash.as_bytes()];
    stream.write_all(&[&head.concat()[..], b"-XX0000-abcdefghijkl"].concat()).unwrap();
    let mut answer = [0; 68];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer[28..48], infohash.as_bytes());
    started.elapsed()
}

fn peak_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_hundred_thousand_torrents_are_seeded_at_once() {
    let home = Home::new();
    let client = Client::open(&home.path(), &Settings::default()).unwrap();
    let (infohashes, content) = fill(&client);
    assert_eq!(client.catalog().torrent_count().unwrap(), TORRENTS as u64);
    let some = [0, 1, 777, 50_000, TORRENTS - 1].map(|number| infohashes[number]);
    let torrents = some.map(|infohash| {
        let path = home.beside(&format!("{infohash}.torrent"));
        let metainfo = client.metainfo(infohash).unwrap().unwrap();
        fs::write(&path, metainfo.encode()).unwrap();
        Link::Torrent(path)
    });
    drop(client);

    let started = Instant::now();
    let args = ["--json", "seed", "--listen", "127.0.0.1:0", "--report", "100ms"];
    let seeder = Running::start(&mut home.offswarm(args));
    let address: SocketAddr = seeder.line_with("where it listens", |line| {
        let told: Value = serde_json::from_str(line).unwrap();
        told["listen"].as_str().map(|listen| listen.parse().unwrap())
    });
    let first = handshake(address, some[0]);
    let ready = started.elapsed();
    let each = some.map(|infohash| handshake(address, infohash));
    println!("ready in {ready:?} (report included), handshakes in {first:?}, {each:?}");
    assert!(ready < SOON, "{ready:?}");

    let clients = torrents.each_ref().map(|torrent| Libtorrent::join(torrent, &[address]));
    for client in &clients {
        assert!(fs::read(client.wait_until_complete()).unwrap() == content);
    }
    let peak = peak_kib(seeder.id());
    println!("{peak} KiB at most");
    assert!(peak < MEMORY_KIB, "{peak} KiB");
}
