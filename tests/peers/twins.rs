//! What libtorrent makes of our torrents of version 2 and of both versions; `lt_check.py` asks it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use offswarm::client::{Client, Settings};
use offswarm::id::{InfoHash, MerkleRoot};
use offswarm::off::OffUrl;
use offswarm::torrent::magnet::Magnet;
use serde_json::Value;

use crate::common::Home;
use crate::common::child::{DEADLINE, poll};
use crate::journey::Link;
use crate::libtorrent::Libtorrent;
use crate::programs::program;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/lt_check.py");

fn libtorrent<'a>(args: impl IntoIterator<Item = &'a str>) -> Value {
    let python = program("/usr/bin/python3", "python3-libtorrent");
    let ran = Command::new(python).arg(SCRIPT).args(args).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    serde_json::from_slice(&ran.stdout).unwrap()
}

fn offswarm(home: &Home, args: &[&str]) -> Value {
    let ran = home.offswarm(["--json"]).args(args).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    serde_json::from_slice(&ran.stdout).unwrap()
}

/// Publishes a file of `length` bytes in every version and has libtorrent check each against the
/// content file, which is one and the same.
fn check_all(length: usize) {
    let home = Home::new();
    let (original, folder) = (home.beside("original.txt"), home.beside("content"));
    fs::write(&original, vec![b'x'; length]).unwrap();
    fs::create_dir(&folder).unwrap();
    let put = offswarm(&home, &["put", original.to_str().unwrap()]);
    let url = OffUrl::parse(put["url"].as_str().unwrap()).unwrap();
    let contents = home.blocks(&url);
    let blocks = contents.len() / 131_072;
    for flags in [&[][..], &["--v2"], &["--hybrid"]] {
        let torrent = home.beside("blocks.torrent");
        let mut args = vec!["publish", put["url"].as_str().unwrap()];
        args.extend(["--torrent-out", torrent.to_str().unwrap()]);
        args.extend(flags);
        let published = offswarm(&home, &args);
        let magnet = published["magnet"].as_str().unwrap();
        let name = Magnet::parse(magnet).unwrap().name.unwrap();
        fs::write(folder.join(&name), &contents).unwrap();
        let found = check(&torrent, &folder);
        let has_v2 = !flags.is_empty();
        assert_eq!(found["v1"], published["infohash"], "{flags:?}");
        assert_eq!(found["v2"], published["infohash_v2"], "{flags:?}");
        assert_eq!((found["v1"].is_null(), found["v2"].is_null()), (flags == ["--v2"], !has_v2));
        assert_eq!(found["name"], *name);
        assert_eq!(found["size"], contents.len());
        assert_eq!((&found["files"], &found["pieces"]), (&1.into(), &blocks.into()));
        assert_eq!((&found["piece_length"], &found["layers"]), (&131_072.into(), &has_v2.into()));
        assert_eq!(found["complete"], true, "{flags:?}");
        // A link names one swarm by one hash, and libtorrent reads it as we do.
        let named = libtorrent(["--magnet", magnet]);
        let by_v2 = flags == ["--v2"];
        assert_eq!(named["v2"], if by_v2 { published["infohash_v2"].clone() } else { Value::Null });
        assert_eq!(named["v1"], published["infohash"]);
        assert_eq!((magnet.contains("btmh"), magnet.contains("btih")), (by_v2, !by_v2));
        // One flipped bit, and it is not complete any more.
        let mut damaged = contents.clone();
        damaged[contents.len() - 1] ^= 1;
        fs::write(folder.join(&name), damaged).unwrap();
        assert_eq!(check(&torrent, &folder)["complete"], false, "{flags:?}");
    }
}

fn check(torrent: &Path, folder: &Path) -> Value {
    libtorrent(["--torrent", torrent.to_str().unwrap(), "--folder", folder.to_str().unwrap()])
}

#[test]
fn libtorrent_finds_every_version_right_and_its_content_complete() {
    check_all(1);
    check_all(131_073);
}

#[test]
fn libtorrent_finds_every_version_of_many_blocks_right() {
    check_all(8 << 20);
}

/// A connection to a peer of a version 2 swarm.
struct Wire(TcpStream);

impl Wire {
    /// libtorrent hangs up on those who come before it has looked at its files.
    fn connect(peer: &Libtorrent, infohash: InfoHash) -> Self {
        let reserved = [0, 0, 0, 0, 0, 0, 0, 0x10];
        let name = infohash.as_bytes();
        let handshake = [&b"\x13BitTorrent protocol"[..], &reserved, name, &[b'x'; 20]].concat();
        poll("a handshake", || {
            let mut stream = TcpStream::connect(peer.address).unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            stream.write_all(&handshake).unwrap();
            stream.read_exact(&mut [0; 68]).is_ok().then_some(Self(stream))
        })
    }

    /// Sends a `hash request` and gives the hashes; `None` for a `hash reject`.
    fn ask(&mut self, root: &MerkleRoot, numbers: [u32; 4]) -> Option<Vec<MerkleRoot>> {
        let range = [&root.as_bytes()[..], &numbers.map(u32::to_be_bytes).concat()].concat();
        self.0.write_all(&[&49_u32.to_be_bytes()[..], &[21], &range].concat()).unwrap();
        loop {
            let mut length = [0; 4];
            self.0.read_exact(&mut length).unwrap();
            let mut message = vec![0; u32::from_be_bytes(length) as usize];
            self.0.read_exact(&mut message).unwrap();
            match message.first() {
                Some(22) => {
                    assert_eq!(message[1..49], range);
                    return Some(
                        message[49..].chunks(32).filter_map(MerkleRoot::from_slice).collect(),
                    );
                }
                Some(23) => return None,
                // Its bitfield and the like.
                _ => {}
            }
        }
    }
}

/// What we answer to a `hash request` (BEP 52) is what libtorrent answers, hash by hash.
#[test]
fn libtorrent_answers_requests_for_hashes_as_we_do() {
    let (home, folder) = (Home::new(), tempfile::tempdir().unwrap());
    let (original, torrent) = (home.beside("original.txt"), home.beside("blocks.torrent"));
    fs::write(&original, vec![b'x'; 8 << 20]).unwrap();
    let put = offswarm(&home, &["put", original.to_str().unwrap()]);
    let url = put["url"].as_str().unwrap();
    let args = ["publish", url, "--v2", "--torrent-out", torrent.to_str().unwrap()];
    let magnet = Magnet::parse(offswarm(&home, &args)["magnet"].as_str().unwrap()).unwrap();
    let url = OffUrl::parse(url).unwrap();
    fs::write(folder.path().join(magnet.name.unwrap()), home.blocks(&url)).unwrap();
    let layers = {
        let client = Client::open_existing(&home.path(), &Settings::default()).unwrap();
        client.merkle_layers(&client.survey(&url).unwrap().order).unwrap()
    };
    let peer = Libtorrent::seed_unchecked(&Link::Torrent(torrent), folder);
    let mut wire = Wire::connect(&peer, magnet.infohash_v2.unwrap().truncated());
    let blocks = u32::try_from(layers.layer(3).unwrap().len()).unwrap();
    let height = blocks.next_power_of_two().ilog2();
    let last = (blocks - 1) & !7;
    let mut answered = 0;
    for [base, index, length, proofs] in [
        [3, 0, blocks.next_power_of_two(), 0],
        [3, 0, blocks.next_power_of_two(), height - 1],
        [3, 0, blocks, height - 1],
        [3, 0, 2, 0],
        [3, 0, 2, height - 1],
        [3, 6, 2, 3],
        [3, 8, 8, height - 1],
        [3, last, 8, height - 1],
        [3, last, 8, 2],
        [3, last, 8, 3],
        [3, 4, 1, height - 1],
        [3, 0, 2, height],
        [3, blocks.next_power_of_two(), 2, 0],
        [3 + height, 0, 2, 0],
        [4, 0, 4, height - 2],
        [5, 2, 2, height - 3],
    ] {
        let theirs = wire.ask(&layers.root(), [base, index, length, proofs]);
        let ours = layers.answer(base, index, length, proofs);
        assert_eq!(theirs, ours, "{base} {index} {length} {proofs}");
        answered += u32::from(ours.is_some());
    }
    assert!(answered > 10, "{answered}");
}
