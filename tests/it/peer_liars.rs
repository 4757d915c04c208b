//! Attacks on a download over the peer protocol: the attacker seeds (ATTACKS 7, 9 and 12).

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use offswarm::client::fetch::{Waiting, Ways};
use offswarm::client::{Client, Settings};
use offswarm::limits::MAX_KNOWN_PEERS;
use offswarm::off::OffUrl;
use offswarm::torrent::metainfo::Metainfo;
use tokio_util::sync::CancellationToken;

use crate::peer_wire::{
    BITFIELD, EXTENDED, HAVE_ALL, LEN, MEMORY, PIECE, Peer, extended, fields, message,
};
use crate::program::{Place, memory, noise};

/// Everybody who connects is met by `act`.
fn seeder_of(act: impl Fn(Peer) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let act = Arc::new(act);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let act = Arc::clone(&act);
            std::thread::spawn(move || {
                if let Some(peer) = Peer::accept(stream) {
                    act(peer);
                }
            });
        }
    });
    address
}

/// A way to a seeder that is open once `gate` has been passed so often.
pub(crate) fn way_behind(gate: &Arc<AtomicUsize>, often: usize, seeder: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (gate, seeder) = (Arc::clone(gate), seeder.to_owned());
    std::thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            while gate.load(Ordering::SeqCst) < often {
                std::thread::sleep(Duration::from_millis(10));
            }
            let Ok(far) = TcpStream::connect(&seeder) else { return };
            for (mut from, mut to) in [
                (near.try_clone().unwrap(), far.try_clone().unwrap()),
                (far.try_clone().unwrap(), near.try_clone().unwrap()),
            ] {
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            }
        }
    });
    address
}

/// Says hello with so many bytes of metadata, and answers requests for it with `answer`.
fn metadata_liar(
    gate: &Arc<AtomicUsize>,
    len: u64,
    answer: impl Fn(u32) -> Option<Vec<u8>> + Send + Sync + 'static,
) -> String {
    let gate = Arc::clone(gate);
    seeder_of(move |mut peer| {
        let hello = format!("d1:md11:ut_metadatai1ee13:metadata_sizei{len}ee");
        let _ = peer.0.write_all(&extended(0, hello.as_bytes()));
        let _ = peer.send(HAVE_ALL, &[]);
        let mut asked = 0;
        while let Some((id, body)) = peer.receive() {
            if id == EXTENDED && body.first() == Some(&1) {
                gate.fetch_add(1, Ordering::SeqCst);
                if let Some(answer) = answer(asked) {
                    let _ = peer.0.write_all(&answer);
                }
                asked += 1;
            }
        }
    })
}

fn metadata_piece(piece: u32, len: usize) -> Vec<u8> {
    let head = format!("d8:msg_typei1e5:piecei{piece}e10:total_sizei40000ee");
    extended(1, &[head.as_bytes(), &vec![7; len]].concat())
}

/// Three who lie about the metadata are asked before the honest one is there.
fn liars_about_metadata(
    len: u64,
    answer: impl Fn(u32) -> Option<Vec<u8>> + Send + Sync + Clone + 'static,
) -> String {
    let place = Place::new();
    let seeder = place.share("a", &place.file("in.bin", LEN), []);
    let gate = Arc::new(AtomicUsize::new(0));
    let liars = [(); 3].map(|()| metadata_liar(&gate, len, answer.clone()));
    let honest = way_behind(&gate, 3, &seeder.address());
    let link = seeder.magnet.replace("x.pe=", "x.nobody=");
    let link: Vec<&str> = link.split("%26pe%3D").collect();
    let mut get = vec!["--log", "offswarm=info", "get", link[0], "-o", "out", "--timeout", "90s"];
    for peer in liars.iter().chain([&honest]) {
        get.extend(["--peer", peer]);
    }
    let ran = place.run("b", get).ok();
    assert!(fs::read(place.path("out")).unwrap() == noise(LEN));
    ran.stderr()
}

#[test]
fn metadata_that_never_comes_is_asked_of_others() {
    liars_about_metadata(500, |_| None);
}

#[test]
fn who_gives_false_metadata_is_banned_and_others_are_asked() {
    let log = liars_about_metadata(500, |_| Some(metadata_piece(0, 500)));
    assert!(log.contains("false info dict; it is banned"), "{log}");
}

#[test]
fn parts_of_metadata_that_make_no_sense_are_no_metadata() {
    liars_about_metadata(40_000, |asked| Some(metadata_piece(asked + 7, 16_384)));
}

#[test]
fn metadata_of_two_gigabytes_is_not_even_asked_for() {
    let place = Place::new();
    let seeder = place.share("a", &place.file("in.bin", LEN), []);
    let gate = Arc::new(AtomicUsize::new(0));
    let liar = metadata_liar(&gate, 2 << 30, |_| None);
    place.run("b", ["get", &seeder.magnet, "-o", "out", "--peer", &liar]).ok();
    assert_eq!(gate.load(Ordering::SeqCst), 0);
}

/// Gives wrong chunks to whoever connects, asked and unasked, each of them twice.
#[test]
fn chunks_that_nobody_asked_for_or_has_twice_are_not_kept() {
    let place = Place::new();
    let torrent = place.path("in.torrent");
    let out = ["--torrent-out", torrent.to_str().unwrap()];
    let seeder = place.share("a", &place.file("in.bin", LEN), out);
    let pushy = seeder_of(|mut peer| {
        let _ = peer.send(HAVE_ALL, &[]);
        // Never asked: it does not even say that it would serve.
        for piece in 0..10_u32 {
            for chunk in 0..8 {
                let said = [&fields(&[piece, chunk * 16_384])[..], &[9; 16_384]].concat();
                if peer.send(PIECE, &said).and_then(|()| peer.send(PIECE, &said)).is_err() {
                    return;
                }
            }
        }
        peer.is_ended();
    });
    let url = seeder.url.clone();
    let args = ["--json", "get", &url, "-o", "out", "--torrent", torrent.to_str().unwrap()];
    let ran = place.run("b", args.into_iter().chain(["--swarm-only", "--peer", &pushy])).ok();
    assert!(fs::read(place.path("out")).unwrap() == noise(LEN));
    let told: serde_json::Value = serde_json::from_slice(&ran.0.stdout).unwrap();
    let stat = place.run("b", ["--json", "stat"]).ok();
    let stat: serde_json::Value = serde_json::from_slice(&stat.0.stdout).unwrap();
    assert_eq!((&stat["blocks"], &told["blocks_swarm"]), (&10.into(), &10.into()));
    place.run("b", ["check", "--read-data"]).ok();
}

/// Messages before the torrent is known are kept, and must not be worth anything.
#[test]
fn what_is_said_before_the_torrent_is_known_takes_no_memory() {
    let place = Place::new();
    let seeder = place.share("a", &place.file("in.bin", LEN), []);
    let link = seeder.magnet.clone();
    drop(seeder);
    let long = vec![0; 200_000];
    for flood in [
        [message(BITFIELD, &[0]), message(99, &long)].concat(),
        message(BITFIELD, &long),
        message(PIECE, &long),
    ] {
        let talker = seeder_of(move |mut peer| while peer.0.write_all(&flood).is_ok() {});
        let args = ["get", &link, "-o", "out", "--peer", &talker, "--timeout", "3s"];
        let mut get = place.command("b", args);
        let mut get = get.stderr(Stdio::null()).spawn().unwrap();
        while get.try_wait().unwrap().is_none() {
            let status = fs::read_to_string(format!("/proc/{}/status", get.id()));
            if status.is_ok_and(|status| status.contains("VmRSS")) {
                assert!(memory(get.id(), "VmRSS") < MEMORY);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The peers that a download has heard of when it gives up, after one peer named others.
async fn heard_of(named: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static) -> u64 {
    let place = Place::new();
    let torrent = place.path("in.torrent");
    let out = ["--torrent-out", torrent.to_str().unwrap()];
    let seeder = place.share("a", &place.file("in.bin", LEN), out);
    let url = OffUrl::parse(&seeder.url).unwrap().canonical();
    let gossip = seeder_of(move |mut peer| {
        let _ = peer.0.write_all(&extended(0, b"d1:md6:ut_pexi1eee"));
        for round in 0..40 {
            let added = named(round);
            let body = [format!("d5:added{}:", added.len()).as_bytes(), &added, b"e"].concat();
            let _ = peer.0.write_all(&extended(2, &body));
        }
        peer.is_ended();
    });
    let client = Client::open(&place.path("b"), &Settings::default()).unwrap();
    let ways = Ways {
        peers: vec![gossip.parse().unwrap()],
        torrents: vec![Metainfo::decode(&fs::read(torrent).unwrap()).unwrap()],
        timeout: Some(Duration::from_secs(4)),
        ..Ways::default()
    };
    let mut most = 0;
    let stop = CancellationToken::new();
    let watch = &mut |waiting: &Waiting| {
        most = most.max(waiting.swarm.map_or(0, |swarm| swarm.known_peers));
    };
    client.fetch(&url, &ways, &stop, watch).await.unwrap_err();
    most
}

pub(crate) fn compact(address: [u8; 4], port: u16) -> Vec<u8> {
    [&address[..], &port.to_be_bytes()].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_cannot_be_peers_are_not_dialled() {
    let heard = heard_of(|_| {
        let nobody = [[0; 4], [224, 0, 0, 1], [239, 1, 2, 3], [255; 4]];
        let ports = [0, 22, 25, 80, 1_023];
        let nobodies = nobody.map(|address| compact(address, 7_000)).concat();
        nobodies
            .into_iter()
            .chain(ports.iter().flat_map(|port| compact([127, 0, 0, 1], *port)))
            .collect()
    });
    assert_eq!(heard.await, 1, "only the one that was named by the user");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_peers_is_not_remembered() {
    let heard = heard_of(|round| {
        let peer = |n: u32| {
            let [_, a, b, c] = (round * 40_000 + n).to_be_bytes();
            compact([127, 64 + a, b, c], 7_000)
        };
        (0..40_000).flat_map(peer).collect()
    });
    let (heard, most) = (heard.await, MAX_KNOWN_PEERS as u64);
    assert!(heard > 100 && heard <= most + 1, "{heard}");
}
