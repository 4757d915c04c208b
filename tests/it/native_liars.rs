//! Attacks on a download from native peers: the attacker serves (ATTACKS 9, 10 and 12). Each time the
//! file comes whole from an honest one, who is only there once the attacker has been at work.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use offswarm::id::BlockId;
use offswarm::limits::MAX_KNOWN_PEERS;
use serde_json::Value as Json;

use crate::native_peer::{Native, Said, Shared, bits, hello, names_blocks, string, with_block};
use crate::peer_liars::{compact, way_behind};
use crate::peer_wire::{LEN, Peer};
use crate::program::{Place, Ran, Seeder, noise};

/// How long a download may take beside a peer that gives nothing: what one that is new has, twice.
const PATIENCE: Duration = Duration::from_secs(25);

/// How long it may take beside one that is hung up on at once.
const SOON: Duration = Duration::from_secs(10);

/// What a liar has done so far.
#[derive(Clone, Default)]
struct Deeds {
    done: Arc<AtomicUsize>,
    met: Arc<AtomicUsize>,
}

impl Deeds {
    /// One more deed.
    fn add(&self) {
        self.done.fetch_add(1, Ordering::SeqCst);
    }
}

/// Whoever connects is met by `act` before anything is said.
fn met_by(deeds: &Deeds, act: impl Fn(Peer, &Deeds) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (act, deeds) = (Arc::new(act), deeds.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            deeds.met.fetch_add(1, Ordering::SeqCst);
            let (act, deeds) = (Arc::clone(&act), deeds.clone());
            std::thread::spawn(move || {
                if let Some(peer) = Peer::accept(stream) {
                    act(peer, &deeds);
                }
            });
        }
    });
    address
}

/// Whoever connects is introduced to; then `act` answers all that is said, as long as it wants to.
fn liar(
    deeds: &Deeds,
    act: impl Fn(&mut Native, Said, &Deeds) -> bool + Send + Sync + 'static,
) -> String {
    met_by(deeds, move |peer, deeds| {
        let Some(mut native) = Native::meet(peer, &hello("4:reqqi256e")) else { return };
        while let Some(said) = native.hear() {
            if !act(&mut native, said, deeds) {
                return;
            }
        }
    })
}

/// Says that all is there that is asked about.
fn claims_all(native: &mut Native, said: &Said) {
    if said.name == "off_ask" {
        let told = bits(&vec![true; said.head.ids().len()]);
        let _ = native.say("off_have", &[&b"d4:bits"[..], &string(&told), b"e"].concat());
    }
}

/// Gives the descriptor, as who would be asked for the rest has to: of a few blocks everybody is
/// told straight away that they are wanted.
fn gives_first(native: &mut Native, said: &Said, (id, block): &(BlockId, Vec<u8>)) -> bool {
    let asked = said.name == "off_want" && said.head.ids() == [*id];
    if asked {
        let _ = native.say("off_block", &with_block(*id, block));
    }
    asked
}

/// A finished download.
struct Got {
    told: Json,
    /// What it was waiting for, each second.
    waits: Vec<Json>,
    log: String,
    took: Duration,
    deeds: Deeds,
}

fn checked(place: &Place, blocks: usize, ran: Ran) -> (Json, Vec<Json>, String) {
    let ran = ran.ok();
    assert!(fs::read(place.path("out")).unwrap() == noise(LEN));
    let told: Json = serde_json::from_slice(&ran.0.stdout).unwrap();
    assert_eq!((&told["blocks_native"], &told["blocks_swarm"]), (&blocks.into(), &0.into()));
    place.run("b", ["check", "--read-data"]).ok();
    let stat = place.run("b", ["--json", "stat"]).ok();
    let stat: Json = serde_json::from_slice(&stat.0.stdout).unwrap();
    assert_eq!(stat["blocks"], blocks, "nothing else is kept");
    let log = ran.stderr();
    let waits = log.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok());
    let waits = waits.filter(|line| line["waiting"].is_object());
    (told, waits.map(|mut line| line["waiting"].take()).collect(), log)
}

/// Gets a file from a liar and an honest peer, who is there once the liar has done enough.
fn beside(enough: usize, lie: impl FnOnce(&Deeds, &Shared) -> String) -> Got {
    beside_all(enough, |deeds, shared| vec![lie(deeds, shared)])
}

/// The same with many liars.
fn beside_all(enough: usize, lie: impl FnOnce(&Deeds, &Shared) -> Vec<String>) -> Got {
    let place = Place::new();
    let shared = Shared::put(&place, "a", &place.file("in.bin", LEN));
    let seeder: Seeder = shared.seed(&place, "a", []);
    let deeds = Deeds::default();
    let lying = lie(&deeds, &shared);
    let honest = way_behind(&deeds.done, enough, &seeder.address());
    let started = Instant::now();
    let args = ["--json", "--log", "offswarm=info", "get", &shared.url, "-o", "out"];
    let peers = lying.iter().chain([&honest]).flat_map(|peer| ["--native-peer", peer]);
    let ran = place.run("b", args.into_iter().chain(["--timeout", "60s"]).chain(peers));
    let took = started.elapsed();
    let (told, waits, log) = checked(&place, shared.ids.len(), ran);
    Got { told, waits, log, took, deeds }
}

#[test]
fn who_gives_wrong_bytes_is_banned_and_nothing_of_it_is_kept() {
    let got = beside(1, |deeds, _| {
        liar(deeds, |native, said, deeds| {
            gives_noise(native, &said, deeds);
            true
        })
    });
    assert!(got.log.contains("wrong bytes; it is banned"), "{}", got.log);
    assert_eq!(got.deeds.met.load(Ordering::SeqCst), 1, "it is not dialled again");
    assert!(got.took < SOON, "{:?}", got.took);
}

/// Whoever was gone before its bytes had been looked at was not banned, and met again twice a second.
#[test]
fn who_gives_wrong_bytes_and_leaves_at_once_is_banned_all_the_same() {
    let got = beside(1, |deeds, _| {
        liar(deeds, |native, said, deeds| {
            claims_all(native, &said);
            if said.name != "off_want" {
                return true;
            }
            let _ = native.say("off_block", &with_block(said.head.ids()[0], &noise(131_072)));
            let _ = native.peer.0.shutdown(std::net::Shutdown::Write);
            native.peer.is_ended();
            deeds.add();
            false
        })
    });
    assert!(got.log.contains("wrong bytes; it is banned"), "{}", got.log);
    assert_eq!(got.deeds.met.load(Ordering::SeqCst), 1, "it is not dialled again");
    assert!(got.took < SOON, "{:?}", got.took);
}

#[test]
fn blocks_of_wrong_lengths_are_wrong_bytes() {
    for len in [0, 1, 131_071, 131_073, 200_000] {
        let got = beside(1, |deeds, shared| {
            let blocks: Vec<_> = shared.ids.iter().copied().zip(shared.blocks.clone()).collect();
            liar(deeds, move |native, said, deeds| {
                claims_all(native, &said);
                for id in said.head.ids().iter().filter(|_| said.name == "off_want") {
                    let known = blocks.iter().find(|(known, _)| known == id);
                    let mut bytes = known.map(|(_, block)| block.clone()).unwrap();
                    bytes.resize(len, 0);
                    let _ = native.say("off_block", &with_block(*id, &bytes));
                    deeds.add();
                }
                true
            })
        });
        assert!(got.log.contains("wrong bytes; it is banned"), "{len}: {}", got.log);
    }
}

#[test]
fn who_stalls_after_the_first_handshake_is_not_waited_for() {
    let got = beside(1, |deeds, _| {
        met_by(deeds, |mut peer, deeds| {
            deeds.add();
            peer.is_ended();
        })
    });
    assert!(got.took < SOON, "{:?}", got.took);
}

#[test]
fn who_answers_nothing_is_not_waited_for() {
    let got = beside(1, |deeds, _| {
        liar(deeds, |_, _, deeds| {
            deeds.add();
            true
        })
    });
    assert!(got.took < PATIENCE, "{:?}", got.took);
}

#[test]
fn who_stalls_in_the_middle_of_a_block_is_not_waited_for() {
    let got = beside(1, |deeds, shared| {
        let first = shared.blocks[0].clone();
        liar(deeds, move |native, said, deeds| {
            claims_all(native, &said);
            if said.name == "off_want" {
                let whole = native.frame("off_block", &with_block(said.head.ids()[0], &first));
                let _ = native.peer.0.write_all(&whole[..60_000]);
                deeds.add();
                native.peer.is_ended();
            }
            true
        })
    });
    assert!(got.took < PATIENCE, "{:?}", got.took);
}

#[test]
fn who_claims_all_and_lacks_it_is_disbelieved() {
    let got = beside(1, |deeds, _| {
        liar(deeds, |native, said, deeds| {
            gives_nothing(native, &said, deeds);
            true
        })
    });
    assert!(got.took < SOON, "{:?}", got.took);
}

/// Each of these is hung up on, and may well be dialled again.
#[test]
fn who_says_what_nobody_asked_for_is_hung_up_on() {
    type Speech = fn(&Native, &[u8]) -> Vec<u8>;
    let speeches: [(&str, Speech); 8] = [
        ("a block", |native, block| {
            native.frame("off_block", &with_block(BlockId::of(b"other"), block))
        }),
        ("a lack", |native, _| native.frame("off_lack", &names_blocks(&[BlockId::of(b"x")], ""))),
        ("bits for more blocks", |native, _| native.frame("off_have", b"d4:bits9:123456789e")),
        ("no bits", |native, _| native.frame("off_have", b"d4:bits0:e")),
        ("numbers for more blocks", |native, _| native.frame("off_have", b"d4:bits2:aa1:u1:ae")),
        ("answers to more questions", |native, _| {
            native.frame("off_have", b"d4:bits2:aae").repeat(3)
        }),
        ("a length of 4 GiB", |_, _| vec![0xFF; 4]),
        ("5,000 lists", |native, _| native.frame("off_have", &b"l".repeat(5_000))),
    ];
    for (name, speech) in speeches {
        println!("{name}");
        let got = beside(2, |deeds, shared| {
            let first = shared.first();
            liar(deeds, move |native, said, deeds| {
                if !gives_first(native, &said, &first) {
                    let speech = speech(native, &first.1);
                    let _ = native.peer.0.write_all(&speech);
                    if native.peer.is_ended() {
                        deeds.add();
                    }
                }
                true
            })
        });
        assert!(got.took < SOON, "{name}: {:?}", got.took);
    }
}

#[test]
fn who_hangs_up_at_once_again_and_again_does_no_harm() {
    // Before it has introduced itself, afterwards, when something is wanted of it.
    for when in 0..3 {
        let got = beside(3, |deeds, _| {
            met_by(deeds, move |peer, deeds| {
                if when == 0 {
                    return deeds.add();
                }
                let Some(mut native) = Native::meet(peer, &hello("")) else { return };
                if when == 2 {
                    native.hear();
                }
                deeds.add();
            })
        });
        assert!(got.took < PATIENCE, "{when}: {:?}", got.took);
    }
}

/// They name more than anybody remembers, and nobody is there. Who the user named comes first.
#[test]
fn a_flood_of_gossip_is_not_remembered() {
    let got = beside(1, |deeds, _| {
        liar(deeds, |native, said, deeds| {
            if said.name == "off_want" {
                for round in 0..10_u32 {
                    let named = |n: u32| {
                        let [_, a, b, c] = (round * 10_000 + n).to_be_bytes();
                        compact([127, 64 + a, b, c], 7_000)
                    };
                    let added: Vec<u8> = (0..10_000).flat_map(named).collect();
                    let body = [&b"d5:added"[..], &string(&added), b"e"].concat();
                    let _ = native.say("ut_pex", &body);
                }
                // Long enough for the program to tell of it.
                std::thread::sleep(Duration::from_secs(3));
                deeds.add();
            }
            true
        })
    });
    let known = got.waits.iter().filter_map(|wait| wait["native_known"].as_u64()).max();
    let most = MAX_KNOWN_PEERS as u64 + 2;
    assert!(known.is_some_and(|known| known > 100 && known <= most), "{known:?}");
    assert!(got.took < PATIENCE, "{:?}", got.took);
}

/// The honest one is only known by gossip, of a peer that has nothing.
#[test]
fn an_honest_peer_is_found_by_gossip() {
    let place = Place::new();
    let shared = Shared::put(&place, "a", &place.file("in.bin", LEN));
    let seeder = shared.seed(&place, "a", []);
    let port = seeder.address().rsplit(':').next().unwrap().parse().unwrap();
    let gossip = liar(&Deeds::default(), move |native, said, _| {
        if said.name == "off_want" {
            let body = [&b"d5:added"[..], &string(&compact([127, 0, 0, 1], port)), b"e"].concat();
            let _ = native.say("ut_pex", &body);
            let _ = native.say("off_lack", &names_blocks(&said.head.ids(), ""));
        }
        true
    });
    let args = ["--json", "get", &shared.url, "-o", "out", "--native-peer", &gossip];
    let ran = place.run("b", args.into_iter().chain(["--timeout", "30s"]));
    checked(&place, shared.ids.len(), ran);
}

/// Says that all is there, and gives other bytes.
fn gives_noise(native: &mut Native, said: &Said, deeds: &Deeds) {
    claims_all(native, said);
    for id in said.head.ids().iter().filter(|_| said.name == "off_want") {
        let _ = native.say("off_block", &with_block(*id, &noise(131_072)));
        deeds.add();
    }
}

/// Says that all is there, and then that it is not.
fn gives_nothing(native: &mut Native, said: &Said, deeds: &Deeds) {
    claims_all(native, said);
    if said.name == "off_want" {
        let _ = native.say("off_lack", &names_blocks(&said.head.ids(), ""));
        deeds.add();
    }
}

#[test]
fn a_crowd_of_liars_does_not_keep_a_file_from_coming() {
    let got = beside_all(6, |deeds, _| {
        let always = |act: fn(&mut Native, &Said, &Deeds)| {
            liar(deeds, move |native, said, deeds| {
                act(native, &said, deeds);
                true
            })
        };
        let silent = || liar(&Deeds::default(), |_, _, _| true);
        let hurried = || liar(&Deeds::default(), |_, _, _| false);
        let three =
            [(); 3].map(|()| [always(gives_noise), always(gives_nothing), silent(), hurried()]);
        three.concat()
    });
    assert!(got.took < PATIENCE, "{:?}", got.took);
    assert_eq!(got.told["blocks_local"], 0);
}
