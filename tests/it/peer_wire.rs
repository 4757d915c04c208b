//! Attacks on a seeder over the peer protocol, with bare sockets (ATTACKS 8 to 10 and 13).

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use offswarm::id::InfoHash;

use crate::program::{Place, Seeder, Watched, memory, noise};

const PATIENCE: Duration = Duration::from_secs(30);

/// What an honest file has.
pub(crate) const LEN: usize = 400_000;

/// What no process that is attacked may take, in KiB.
pub(crate) const MEMORY: u64 = 100 << 10;

/// Numbers of messages.
const UNCHOKE: u8 = 1;
const INTERESTED: u8 = 2;
const NOT_INTERESTED: u8 = 3;
const HAVE: u8 = 4;
pub(crate) const BITFIELD: u8 = 5;
const REQUEST: u8 = 6;
pub(crate) const PIECE: u8 = 7;
pub(crate) const HAVE_ALL: u8 = 14;
pub(crate) const EXTENDED: u8 = 20;

/// A peer that says what it is told to.
pub(crate) struct Peer(pub(crate) TcpStream);

impl Peer {
    /// Connects and shakes hands, if it is let in.
    pub(crate) fn connect(address: &str, infohash: &str) -> Option<Self> {
        let mut peer = Self::bare(address);
        peer.0.write_all(&handshake(infohash)).ok()?;
        peer.0.read_exact(&mut [0; 68]).ok()?;
        Some(peer)
    }

    pub(crate) fn bare(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        Self::over(stream)
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    /// Answers whoever connected.
    pub(crate) fn accept(stream: TcpStream) -> Option<Self> {
        let mut peer = Self::over(stream);
        let mut theirs = [0; 68];
        peer.0.read_exact(&mut theirs).ok()?;
        let infohash = InfoHash::from_slice(&theirs[28..48]).unwrap().to_string();
        peer.0.write_all(&handshake(&infohash)).ok()?;
        Some(peer)
    }

    pub(crate) fn send(&mut self, id: u8, fields: &[u8]) -> std::io::Result<()> {
        self.0.write_all(&message(id, fields))
    }

    /// The next message that is no keep-alive; nothing at the end.
    pub(crate) fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            let mut len = [0; 4];
            self.0.read_exact(&mut len).ok()?;
            let mut body = vec![0; u32::from_be_bytes(len) as usize];
            self.0.read_exact(&mut body).ok()?;
            if let Some((id, fields)) = body.split_first() {
                return Some((*id, fields.to_vec()));
            }
        }
    }

    fn wait_for(&mut self, id: u8) -> Vec<u8> {
        loop {
            let (found, fields) = self.receive().expect("the connection to last");
            if found == id {
                return fields;
            }
        }
    }

    /// Reads until the other side ends the connection.
    pub(crate) fn is_ended(&mut self) -> bool {
        let mut waste = [0; 4_096];
        loop {
            match self.0.read(&mut waste) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => {
                    return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                }
            }
        }
    }
}

/// A handshake with the Fast extension and the extension protocol, of somebody new.
pub(crate) fn handshake(infohash: &str) -> Vec<u8> {
    let infohash = (0..20).map(|at| u8::from_str_radix(&infohash[at * 2..at * 2 + 2], 16).unwrap());
    let mut bytes = b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x04".to_vec();
    bytes.extend(infohash);
    bytes.extend(rand::random::<[u8; 20]>());
    bytes
}

pub(crate) fn message(id: u8, fields: &[u8]) -> Vec<u8> {
    let len = u32::try_from(fields.len() + 1).unwrap().to_be_bytes();
    [&len, &[id][..], fields].concat()
}

pub(crate) fn fields(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

pub(crate) fn extended(which: u8, body: &[u8]) -> Vec<u8> {
    message(EXTENDED, &[&[which], body].concat())
}

fn infohash(seeder: &Seeder) -> String {
    seeder.url.split("btih=").nth(1).unwrap()[..40].to_owned()
}

/// The seeder goes on serving.
#[track_caller]
fn serves(place: &Place, link: &str) {
    static HOMES: AtomicUsize = AtomicUsize::new(0);
    let home = format!("honest{}", HOMES.fetch_add(1, Ordering::Relaxed));
    place.run(&home, ["get", link, "-o", &format!("{home}.out"), "--timeout", "60s"]).ok();
    assert!(fs::read(place.path(&format!("{home}.out"))).unwrap() == noise(LEN));
}

#[test]
fn who_breaks_the_protocol_is_dropped() {
    let place = Place::new();
    let seeder = place.share("a", &place.file("in.bin", LEN), []);
    let request = |piece, offset, len| message(REQUEST, &fields(&[piece, offset, len]));
    for (name, attack) in [
        ("a length of 4 GiB", vec![0xFF; 4]),
        ("a bitfield too short", message(BITFIELD, &[])),
        ("a bitfield too long", message(BITFIELD, &[0; 9])),
        ("a bitfield with spare bits", message(BITFIELD, &[0xFF; 2])),
        ("a piece that is not there", message(HAVE, &fields(&[10]))),
        ("the last piece of all", message(HAVE, &fields(&[u32::MAX]))),
        ("a have without a piece", message(HAVE, &[])),
        ("a request for no piece", request(10, 0, 16_384)),
        ("a request behind the piece", request(0, 131_072, 16_384)),
        ("a request over the end", request(0, 131_071, 2)),
        ("a request that overflows", request(0, u32::MAX, u32::MAX)),
        ("a request for everything", request(0, 0, u32::MAX)),
        ("an extension without a number", message(EXTENDED, &[])),
    ] {
        let mut peer = Peer::connect(&seeder.address(), &infohash(&seeder)).unwrap();
        peer.0.write_all(&attack).unwrap();
        assert!(peer.is_ended(), "{name}");
    }
    for (name, attack) in [
        ("a message before the handshake", message(INTERESTED, &[]).repeat(20)),
        ("another torrent", handshake(&"7".repeat(40))),
        ("another protocol", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".repeat(3)),
    ] {
        let mut peer = Peer::bare(&seeder.address());
        peer.0.write_all(&attack).unwrap();
        assert!(peer.is_ended(), "{name}");
    }
    serves(&place, &seeder.magnet);
}

#[test]
fn what_makes_no_sense_and_does_no_harm_is_ignored() {
    let place = Place::new();
    let seeder = place.share("a", &place.file("in.bin", LEN), []);
    let many = (0..9_000).map(|n| format!("5:{n:05}i1e")).collect::<Vec<_>>().concat();
    for (name, said) in [
        ("unknown numbers", (24..=255).flat_map(|id| message(id, b"what")).collect()),
        ("an unknown extension", extended(200, b"what")),
        ("a negative queue", extended(0, b"d4:reqqi-1ee")),
        ("a queue that overflows", extended(0, b"d4:reqqi99999999999999999999ee")),
        ("a huge table", extended(0, format!("d1:md{many}ee").as_bytes())),
        ("numbers out of range", extended(0, b"d1:md11:ut_metadatai999e6:ut_pexi-7eee")),
        ("a port out of range", extended(0, b"d1:pi65536ee")),
        ("no dictionary", extended(0, b"garbage")),
        ("a deep list", extended(0, &b"l".repeat(100_000))),
        ("a request for metadata that is not", extended(1, b"d8:msg_typei0e5:piecei99999ee")),
        ("metadata nobody asked for", extended(1, b"d8:msg_typei1e5:piecei0eexxxx")),
        (
            "a chunk nobody asked for",
            message(PIECE, &[&fields(&[0, 0]), &[7; 16_384][..]].concat()),
        ),
        ("a chunk of no piece", message(PIECE, &fields(&[u32::MAX, u32::MAX]))),
        ("a piece taken back that is not there", extended(3, &[0xFF; 4])),
    ] {
        let said: Vec<u8> = said;
        let mut peer = Peer::connect(&seeder.address(), &infohash(&seeder)).unwrap();
        // Chunks that come before that are not waited for.
        peer.wait_for(HAVE_ALL);
        peer.0.write_all(&said).unwrap();
        peer.send(INTERESTED, &[]).unwrap();
        peer.wait_for(UNCHOKE);
        peer.send(REQUEST, &fields(&[1, 16_384, 16_384])).unwrap();
        let got = peer.wait_for(PIECE);
        assert_eq!((&got[..8], got.len()), (&fields(&[1, 16_384])[..], 8 + 16_384), "{name}");
    }
    assert!(memory(seeder.id(), "VmHWM") < MEMORY);
    serves(&place, &seeder.magnet);
}

#[test]
fn who_does_not_finish_a_handshake_is_dropped() {
    let place = Place::new();
    let seeder = place.share("a", &place.file("in.bin", LEN), []);
    let started = Instant::now();
    let mut peers = [0, 1, 47, 67].map(|len| {
        let mut peer = Peer::bare(&seeder.address());
        peer.0.write_all(&handshake(&infohash(&seeder))[..len]).unwrap();
        peer
    });
    assert!(peers.iter_mut().all(Peer::is_ended));
    assert!(started.elapsed() < Duration::from_secs(25), "{:?}", started.elapsed());
    serves(&place, &seeder.magnet);
}

#[test]
fn idle_connections_do_not_keep_others_out() {
    let place = Place::new();
    let seeder = place.share("a", &place.file("in.bin", LEN), []);
    let hash = infohash(&seeder);
    let idle: Vec<Peer> = (0..300)
        .map(|n| {
            let mut peer = Peer::bare(&seeder.address());
            // Some say nothing at all.
            if n % 3 > 0 {
                peer.0.write_all(&handshake(&hash)).unwrap();
            }
            peer
        })
        .collect();
    serves(&place, &seeder.magnet);
    assert_eq!(idle.len(), 300);
}

/// Sends `flood` again and again for a while, or until nothing more is taken.
pub(crate) fn floods(peer: &mut Peer, flood: &[u8], process: u32) {
    peer.0.set_write_timeout(Some(Duration::from_secs(3))).unwrap();
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(6) {
        let written = peer.0.write_all(flood);
        let taken = memory(process, "VmRSS");
        assert!(taken < MEMORY, "{taken} KiB");
        if written.is_err() {
            return;
        }
    }
}

#[test]
fn who_asks_and_does_not_read_takes_no_memory_and_is_dropped() {
    let place = Place::new();
    let url = place.put("a", &place.file("in.bin", LEN));
    let mut seeder = Watched::start(place.command("a", ["seed", &url, "--listen", "127.0.0.1:0"]));
    let hash = seeder.wait(|told| told["swarms"][0]["infohash"].as_str().map(ToOwned::to_owned));
    let connect = || Peer::connect(&seeder.address, &hash).unwrap();
    let request = message(REQUEST, &fields(&[0, 0, 131_072]));
    let toggle = [message(INTERESTED, &[]), message(NOT_INTERESTED, &[])].concat();
    let asked = extended(1, b"d8:msg_typei0e5:piecei0ee");
    let hello = extended(0, b"d1:md11:ut_metadatai1eee");
    let greedy = [message(INTERESTED, &[]), request.repeat(2_000)].concat();
    let fickle = [greedy.clone(), message(NOT_INTERESTED, &[])].concat();
    let curious = [hello, asked.repeat(2_000)].concat();
    for flood in [toggle.repeat(2_000), fickle, curious] {
        floods(&mut connect(), &flood, seeder.id());
    }
    let mut peer = connect();
    floods(&mut peer, &greedy, seeder.id());
    // It is still there, as far as it knows, and has read nothing.
    seeder.wait(|told| (told["peers"] == 0).then_some(()));
    assert!(peer.is_ended());
    let link = format!("{url}&btih={hash}&pe={}", seeder.address);
    serves(&place, &link);
}
