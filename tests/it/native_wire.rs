//! The native protocol as whoever connects to the program sees it, and attacks on it that way
//! (ATTACKS 8 to 10 and 13).

use std::fs;
use std::io::Write;
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use offswarm::id::BlockId;

use crate::native_peer::{NAMES, NATIVE, Native, Shared, bits, hello, names_blocks, with_block};
use crate::peer_wire::{BITFIELD, LEN, MEMORY, Peer, extended, floods, handshake, message};
use crate::program::{Place, Seeder, memory, noise};

/// Ids that a message may name.
const MOST: usize = 1_024;

/// How long anything may take that the program has ten seconds for.
const SOON: Duration = Duration::from_secs(15);

/// A file that is served, and the peer it is served to.
fn serving<'a>(more: impl IntoIterator<Item = &'a str>) -> (Place, Shared, Seeder) {
    let place = Place::new();
    let shared = Shared::put(&place, "a", &place.file("in.bin", LEN));
    let seeder = shared.seed(&place, "a", more);
    (place, shared, seeder)
}

/// The program goes on serving others.
#[track_caller]
fn serves(place: &Place, shared: &Shared, seeder: &Seeder) {
    let (address, home) = (seeder.address(), format!("honest{}", rand::random::<u32>()));
    let args = ["get", &shared.url, "-o", &home, "--native-only", "--native-peer", &address];
    // Its home and its output are not to meet.
    place.run(&format!("{home}.home"), args.into_iter().chain(["--timeout", "40s"])).ok();
    assert!(fs::read(place.path(&home)).unwrap() == noise(LEN));
}

fn strange(n: u32) -> BlockId {
    BlockId::of(&n.to_be_bytes())
}

fn strangers(count: u32) -> Vec<BlockId> {
    (0..count).map(strange).collect()
}

#[test]
fn a_client_written_by_hand_is_introduced_told_and_served() {
    let (_place, shared, seeder) = serving([]);
    let mut native = Native::connect(&seeder.address());
    let theirs = &native.theirs;
    assert!(NAMES.iter().all(|name| (1..=255).contains(&native.number(name).into())));
    let off = theirs.at("off").unwrap();
    assert_eq!((off.integer("v"), off.integer("h")), (Some(1), Some(0)), "it keeps nothing");
    assert!(theirs.integer("reqq").unwrap() > 0);
    assert!(seeder.address().ends_with(&format!(":{}", theirs.integer("p").unwrap())));
    assert!(theirs.bytes("v").unwrap().starts_with(b"offswarm "));

    let asked: Vec<BlockId> = shared.ids.iter().flat_map(|id| [strange(7), *id]).collect();
    let (told, uses) = native.ask(&asked);
    let expected: Vec<bool> = asked.iter().map(|id| *id != strange(7)).collect();
    assert_eq!(told, bits(&expected));
    assert!(uses.iter().map(|uses| *uses > 0).eq(expected), "{uses:?}");
    native.say("off_ask", &names_blocks(&shared.ids, "")).unwrap();
    assert_eq!(native.hear_of("off_have").head.at("u"), None, "that was not asked");
    assert_eq!(native.ask(&strangers(MOST as u32)), (vec![0; MOST / 8], vec![0; MOST]));

    let wanted = [&shared.ids[..], &strangers(3)].concat();
    native.say("off_want", &names_blocks(&wanted, "")).unwrap();
    let (mut came, mut lacks) = (Vec::new(), Vec::new());
    while came.len() + lacks.len() < wanted.len() {
        let said = native.hear().unwrap();
        match said.name {
            "off_block" => came.push((said.head.bytes("id").unwrap().to_vec(), said.rest)),
            "off_lack" => lacks.extend(said.head.ids()),
            other => panic!("{other} was not asked"),
        }
    }
    for (id, block) in shared.ids.iter().zip(&shared.blocks) {
        let given: Vec<_> = came.iter().filter(|(given, _)| given == id.as_bytes()).collect();
        assert!(given.len() == 1 && &given[0].1 == block, "each block is given once");
    }
    assert!(strangers(3).iter().all(|id| lacks.contains(id)) && lacks.len() == 3);
}

/// The limit lets one block through at once, and then one in half a second.
#[test]
fn wants_that_were_taken_back_are_not_served() {
    let (_place, shared, seeder) = serving(["--up-limit", "256KiB"]);
    let mut native = Native::connect(&seeder.address());
    let after = strange(1);
    let said = [
        native.frame("off_want", &names_blocks(&shared.ids, "")),
        native.frame("off_cancel", &names_blocks(&shared.ids, "")),
        // What was never wanted can be taken back, too.
        native.frame("off_cancel", &names_blocks(&strangers(MOST as u32), "")),
        native.frame("off_want", &names_blocks(&[after], "")),
    ];
    native.peer.0.write_all(&said.concat()).unwrap();
    let mut came = 0;
    loop {
        let said = native.hear().unwrap();
        if said.name == "off_lack" {
            assert_eq!(said.head.ids(), [after]);
            break;
        }
        came += 1;
    }
    assert!(came <= 3, "{came} of {} were served", shared.ids.len());
}

#[test]
fn pushed_blocks_are_refused_by_default() {
    let (place, shared, seeder) = serving([]);
    let mut native = Native::connect(&seeder.address());
    let pushed = noise(131_072);
    for _ in 0..20 {
        assert!(!native.push(&pushed));
    }
    assert_eq!(native.ask(&[BlockId::of(&pushed)]), (vec![0], vec![0]));
    assert!(native.push(&shared.blocks[0]), "it is there already");
    assert_eq!(native.want(BlockId::of(&pushed)), None);
    serves(&place, &shared, &seeder);
}

#[test]
fn pushed_blocks_are_kept_and_served_where_the_owner_lets_others() {
    let (place, shared, seeder) = serving(["--limit", "64MiB", "--host-share", "50"]);
    let mut native = Native::connect(&seeder.address());
    assert_eq!(native.theirs.at("off").unwrap().integer("h"), Some(1));
    let pushed = noise(131_072);
    let id = BlockId::of(&pushed);
    assert_eq!(native.want(id), None);
    assert!(native.push(&pushed) && native.push(&pushed));
    let mut other = Native::connect(&seeder.address());
    assert_eq!(other.ask(&[id]), (vec![0x80], vec![0]), "no URL of its own uses it");
    assert!(other.want(id).unwrap() == pushed);
    serves(&place, &shared, &seeder);
}

#[test]
fn who_pushes_wrong_bytes_is_hung_up_on_and_banned() {
    for more in [&[][..], &["--limit", "64MiB", "--host-share", "50"]] {
        let (place, shared, seeder) = serving([&["--log", "offswarm=info"], more].concat());
        let id = strange(1);
        for (what, bytes) in [
            ("other bytes", noise(131_072)),
            ("too few", noise(1_000)),
            ("too many", noise(200_000)),
            ("none", Vec::new()),
        ] {
            let mut native = Native::connect(&seeder.address());
            native.say("off_push", &with_block(id, &bytes)).unwrap();
            assert!(native.hear().is_none() && native.peer.is_ended(), "{what}");
        }
        assert_eq!(Native::connect(&seeder.address()).ask(&[id]), (vec![0], vec![0]));
        serves(&place, &shared, &seeder);
        let log = seeder.log();
        assert_eq!(log.matches("wrong bytes; it is banned").count(), 4, "{log}");
    }
}

#[test]
fn unknown_keys_and_messages_are_passed_over() {
    let (_place, shared, seeder) = serving([]);
    let more = "4:reqqi-1e5:shapel5:roundd1:zi0eee1:v12:somebody new7:zzzzzzzi99e";
    let mut native = Native::connect_with(&seeder.address(), &hello(more)).unwrap();
    let numbers: Vec<u8> = NAMES.iter().map(|name| native.number(name)).collect();
    let unknown = (1..=255).filter(|number| !numbers.contains(number));
    let mut said: Vec<u8> = unknown.flat_map(|number| extended(number, b"what")).collect();
    // Messages that are none of its extensions, keep-alives, a second introduction.
    said.extend((24..=255).flat_map(|id| message(id, b"what")));
    said.extend(message(BITFIELD, &[0xFF; 100]));
    said.extend([0; 40]);
    said.extend(extended(0, b"d1:mdee"));
    native.peer.0.write_all(&said).unwrap();
    let asked = [&b"d1:ai0e1:bl1:ce3:ids32:"[..], shared.ids[0].as_bytes(), b"3:zzzdee"].concat();
    native.say("off_ask", &asked).unwrap();
    assert_eq!(native.hear_of("off_have").head.bytes("bits"), Some(&[0x80][..]));
    let used = [&b"d3:ids32:"[..], shared.ids[0].as_bytes(), b"1:ui2ee"].concat();
    native.say("off_ask", &used).unwrap();
    native.hear_of("off_have");
    assert!(native.want(shared.ids[0]).unwrap() == shared.blocks[0]);
}

/// What is said behind the handshakes and must end the connection.
fn breaches(native: &Native, shared: &Shared) -> Vec<(&'static str, Vec<u8>)> {
    let cut = |name| {
        let ids = [&b"d3:ids33:"[..], shared.ids[0].as_bytes(), b"xe"].concat();
        native.frame(name, &ids)
    };
    let too_many = strangers(MOST as u32 + 1);
    let say = |name, body: &[u8]| native.frame(name, body);
    let deep = [&b"d1:a"[..], &b"l".repeat(5_000), &b"e".repeat(5_000), b"e"].concat();
    vec![
        ("a length of 4 GiB", vec![0xFF; 4]),
        ("a length of 1 MiB", vec![0, 0x10, 0, 0]),
        ("an extension without a number", message(20, &[])),
        ("an ask with a cut id", cut("off_ask")),
        ("a want with a cut id", cut("off_want")),
        ("a cancel with a cut id", cut("off_cancel")),
        ("a want of none", say("off_want", b"d3:ids0:e")),
        ("a want without ids", say("off_want", b"de")),
        ("a want of a list", say("off_want", b"d3:idsleee")),
        ("a want of too many", say("off_want", &names_blocks(&too_many, ""))),
        ("an ask about too many", say("off_ask", &names_blocks(&too_many, ""))),
        ("a want that is no dictionary", say("off_want", b"le")),
        ("a want that is nothing", say("off_want", b"")),
        ("a want that goes on for ever", say("off_want", b"d3:ids99999999999999999999:")),
        ("5,000 lists", say("off_want", &b"l".repeat(5_000))),
        ("5,000 lists at a key", say("off_ask", &deep)),
        ("a block without an id", say("off_block", b"de")),
        ("a push with half an id", say("off_push", b"d2:id16:0123456789abcdefe")),
        ("an answer to no question", say("off_have", b"d4:bits1:xe")),
        ("an answer without bits", say("off_have", b"de")),
        ("too many bits", say("off_have", &[b"d4:bits129:", &[0; 129][..], b"e"].concat())),
        (
            "a block nobody asked for",
            say("off_block", &with_block(shared.ids[0], &vec![1; 131_072])),
        ),
        ("a lack of what nobody wanted", say("off_lack", &names_blocks(&shared.ids, ""))),
        ("many questions", say("off_ask", &names_blocks(&shared.ids, "")).repeat(500)),
        ("many wants", say("off_want", &names_blocks(&strangers(1_000), "")).repeat(50)),
    ]
}

#[test]
fn who_breaks_the_protocol_is_hung_up_on() {
    let (place, shared, seeder) = serving([]);
    let count = breaches(&Native::connect(&seeder.address()), &shared).len();
    for case in 0..count {
        let mut native = Native::connect(&seeder.address());
        let (name, attack) = breaches(&native, &shared).swap_remove(case);
        println!("{name}");
        // It may be hung up on before all is said.
        let _ = native.peer.0.write_all(&attack);
        assert!(native.peer.is_ended(), "{name}");
    }
    assert!(memory(seeder.id(), "VmHWM") < MEMORY);
    serves(&place, &shared, &seeder);
}

#[test]
fn who_does_not_introduce_itself_properly_is_hung_up_on() {
    let (place, shared, seeder) = serving([]);
    let numbers = Native::connect(&seeder.address());
    let deep = [&b"d1:m"[..], &b"l".repeat(5_000)].concat();
    for (name, said) in [
        ("a question first", numbers.frame("off_ask", &names_blocks(&shared.ids, ""))),
        ("a want first", numbers.frame("off_want", &names_blocks(&shared.ids, ""))),
        ("gossip first", numbers.frame("ut_pex", b"d5:added6:aaaaaae")),
        ("no dictionary", extended(0, b"garbage")),
        ("nothing", extended(0, b"")),
        ("5,000 lists", extended(0, &deep)),
        ("no word of the protocol", extended(0, b"d1:md7:off_aski1eee")),
        ("another version", extended(0, b"d1:md7:off_aski1ee3:offd1:vi2eee")),
        ("too few messages", extended(0, b"d1:md7:off_aski1ee3:offd1:vi1eee")),
        ("a number out of range", {
            let named =
                String::from_utf8(hello("")).unwrap().replace("off_wanti103e", "off_wanti-1e");
            extended(0, named.as_bytes())
        }),
    ] {
        let mut peer = Peer::connect(&seeder.address(), NATIVE).unwrap();
        peer.0.write_all(&said).unwrap();
        assert!(peer.is_ended(), "{name}");
    }
    serves(&place, &shared, &seeder);
}

/// Each says a byte of what it has to say now and then, so that it is never silent for long.
#[test]
fn who_takes_too_long_to_introduce_itself_is_hung_up_on() {
    let (place, shared, seeder) = serving([]);
    let introduction = extended(0, &hello(""));
    let started = Instant::now();
    let (ended, all) = channel();
    for (shaken, begun, drips) in [
        (false, 0, false),
        (false, 1, true),
        (false, 67, false),
        (true, 0, false),
        (true, 1, true),
        (true, introduction.len() - 1, false),
    ] {
        let (address, introduction) = (seeder.address(), introduction.clone());
        let ended = ended.clone();
        thread::spawn(move || {
            let (mut peer, said) = if shaken {
                (Peer::connect(&address, NATIVE).unwrap(), introduction)
            } else {
                (Peer::bare(&address), handshake(NATIVE))
            };
            peer.0.write_all(&said[..begun]).unwrap();
            let mut dripping = peer.0.try_clone().unwrap();
            thread::spawn(move || {
                for byte in said[begun..].iter().filter(|_| drips) {
                    // The pace of the attack.
                    thread::sleep(Duration::from_secs(1));
                    if dripping.write_all(&[*byte]).is_err() {
                        return;
                    }
                }
            });
            ended.send((shaken, begun, peer.is_ended())).unwrap();
        });
    }
    drop(ended);
    let all: Vec<_> = all.into_iter().collect();
    assert!(all.len() == 6 && all.iter().all(|(.., ended)| *ended), "{all:?}");
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    serves(&place, &shared, &seeder);
}

/// Lets this process have so many sockets, as most systems let one that asks.
fn allow_sockets(count: usize) {
    let mut prlimit = Command::new("prlimit");
    prlimit.args(["--pid", &std::process::id().to_string(), &format!("--nofile={count}:")]);
    assert!(prlimit.status().unwrap().success(), "no {count} sockets are to be had");
}

/// What the system lets one process have at most.
fn sockets_to_be_had() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    line.split_whitespace().nth(4).unwrap().parse().unwrap_or(usize::MAX)
}

/// Some say nothing at all, some only shake hands, some introduce themselves and are silent.
#[test]
fn ten_thousand_idle_connections_keep_nobody_out() {
    let count = 10_000.min(sockets_to_be_had() - 1_000);
    allow_sockets(count + 1_000);
    let (place, shared, seeder) = serving([]);
    let (shake, introduce) = (handshake(NATIVE), extended(0, &hello("")));
    let idle: Vec<Peer> = (0..count)
        .map(|n| {
            let mut peer = Peer::bare(&seeder.address());
            let said = [&[][..], &shake, &introduce][..=n % 3].concat();
            let _ = peer.0.write_all(&said);
            peer
        })
        .collect();
    serves(&place, &shared, &seeder);
    let taken = memory(seeder.id(), "VmHWM");
    assert!(taken < MEMORY, "{taken} KiB");
    assert_eq!(idle.len(), count);
}

#[test]
fn who_floods_and_does_not_read_takes_no_memory_and_is_hung_up_on() {
    let (place, shared, seeder) = serving([]);
    let native = Native::connect(&seeder.address());
    let asks = native.frame("off_ask", &names_blocks(&strangers(MOST as u32), "1:ui1e"));
    let wants = native.frame("off_want", &names_blocks(&shared.ids, ""));
    let cancels = native.frame("off_cancel", &names_blocks(&shared.ids, ""));
    let push = native.frame("off_push", &with_block(BlockId::of(&noise(9)), &noise(9)));
    let peers: Vec<u8> =
        (0..40_000_u32).flat_map(|n| [127, 0, 0, 1, 99, (n % 251) as u8]).collect();
    let gossip = [format!("d5:added{}:", peers.len()).as_bytes(), &peers, b"e"].concat();
    let gossip = native.frame("ut_pex", &gossip);
    for (name, flood) in [
        ("asks", asks.repeat(100)),
        ("wants", wants.repeat(1_000)),
        ("wants and cancels", [&wants[..], &cancels].concat().repeat(100)),
        ("pushes", push.repeat(1_000)),
    ] {
        println!("{name}");
        let mut native = Native::connect(&seeder.address());
        floods(&mut native.peer, &flood, seeder.id());
    }
    let (mut idler, mut gossiper) =
        (Native::connect(&seeder.address()), Native::connect(&seeder.address()));
    let idling = thread::spawn({
        let process = seeder.id();
        move || floods(&mut idler.peer, &vec![0; 100_000], process)
    });
    floods(&mut gossiper.peer, &gossip.repeat(10), seeder.id());
    idling.join().unwrap();
    serves(&place, &shared, &seeder);
}

/// Whoever is served holds one of a few places. Those who want blocks and do not read them must not
/// hold theirs for as long as they like.
#[test]
fn who_wants_and_does_not_read_keeps_nobody_out() {
    let (place, shared, seeder) = serving([]);
    let wants = names_blocks(&shared.ids.repeat(MOST / shared.ids.len()), "");
    let stuck: Vec<Native> = (0..24)
        .map(|_| {
            let mut native = Native::connect(&seeder.address());
            native.say("off_want", &wants).unwrap();
            native
        })
        .collect();
    let started = Instant::now();
    serves(&place, &shared, &seeder);
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    let taken = memory(seeder.id(), "VmHWM");
    assert!(taken < MEMORY, "{taken} KiB");
    assert_eq!(stuck.len(), 24);
}
