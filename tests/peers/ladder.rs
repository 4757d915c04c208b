//! The ladder of a fetch among foreign seeders: native peers first, BitTorrent swarms when those miss,
//! each on a machine of its own.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use offswarm::address::put_compact;
use offswarm::limits::COMMIT_WINDOW_BLOCKS;
use offswarm::off::OffUrl;
use serde_json::{Value, json};

use crate::clients::{Client, Desk, Libtorrent, PEER_PORT, Task};
use crate::common::child::{DEADLINE, Running, poll};
use crate::common::{Home, LISTEN_HERE, Seeder};
use crate::journey::{Link, text};
use crate::krpc::private::PrivateDht;
use crate::net::{Lan, Machine};

const BLOCK_LEN: u64 = 131_072;

/// Where native peers listen, on their machines.
const NATIVE_PORT: u16 = 7000;

const TRACKER_PORT: u16 = 6969;

const SMALL: usize = 8 << 20;

/// A file that two homes have, its torrent, and a machine for each of those who have it or want it.
struct Stage {
    lan: Lan,
    contents: Vec<u8>,
    homes: [Home; 2],
    /// With no hint.
    url: OffUrl,
    infohash: offswarm::id::InfoHash,
    blocks: u64,
}

/// Bytes that are the same on every run.
fn contents(length: usize) -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(length).collect()
}

impl Stage {
    fn new(length: usize) -> Self {
        let (contents, homes) = (contents(length), [Home::new(), Home::new()]);
        fs::write(homes[0].beside("original"), &contents).unwrap();
        let torrent = homes[0].beside("blocks.torrent");
        let args = ["--torrent-out", torrent.to_str().unwrap()];
        let seeder = homes[0].share(&homes[0].beside("original"), &args);
        let got = homes[1].get(&seeder.magnet, &homes[1].beside("copy"), &[]);
        assert!(got.status.success(), "{}", text(&got.stderr));
        let (url, infohash) = (seeder.url.canonical(), seeder.url.hints.infohash.unwrap());
        seeder.stop();
        let blocks = homes[0].census();
        assert_eq!(homes[1].census(), blocks);
        Self { lan: Lan::of(4), contents, homes, url, infohash, blocks }
    }

    fn machine(&self, k: usize) -> &Machine {
        &self.lan.machines[k]
    }

    /// The machine of whoever wants the file.
    fn ours(&self) -> &Machine {
        self.machine(3)
    }

    fn natives(&self) -> [SocketAddr; 2] {
        [self.machine(0).at(NATIVE_PORT), self.machine(1).at(NATIVE_PORT)]
    }

    /// The URL with hints: the native peers and the torrent.
    fn hinted(&self) -> String {
        let mut url = self.url.clone();
        url.hints.peers = self.natives().to_vec();
        url.hints.infohash = Some(self.infohash);
        url.to_string()
    }

    /// Answers native peers on both their machines.
    fn seed(&self, args: &[&str]) -> [Seeder; 2] {
        std::array::from_fn(|k| {
            let mut seed = self.homes[k].offswarm(["seed"]);
            seed.arg(self.url.to_string()).arg("--listen").arg(self.natives()[k].to_string());
            Seeder::start(&mut self.machine(k).adopt(seed.args(args)))
        })
    }

    /// libtorrent with all the blocks, on the third machine, and a tracker there that names it.
    fn foreign(&self) -> Foreign {
        let desk = Desk::new(self.machine(2));
        let blocks = self.homes[0].blocks(&self.url);
        let name = offswarm::torrent::metainfo::content_name(self.url.descriptor().unwrap());
        fs::write(desk.content().join(name), blocks).unwrap();
        let link = Link::Torrent(self.homes[0].beside("blocks.torrent"));
        let task = Task { link, infohash: self.infohash, peers: Vec::new() };
        let client = Libtorrent::join(&desk, &task);
        client.wait_until_complete();
        let tracker = Tracker::start(self.machine(2), desk.address());
        Foreign { client, desk, tracker }
    }

    /// `offswarm --json get` on the fourth machine.
    fn get(&self, home: &Home, what: &str, args: &[&str]) -> Command {
        let mut get = home.offswarm(["--json", "get", what, "--timeout", "100s", "--output"]);
        get.arg(home.beside("copy")).arg("--listen").arg(self.ours().at(NATIVE_PORT).to_string());
        self.ours().adopt(get.args(args))
    }

    /// What a get has told that has brought the file.
    fn told(&self, home: &Home, got: &Output) -> Told {
        assert!(got.status.success(), "{}", text(&got.stderr));
        assert!(fs::read(home.beside("copy")).unwrap() == self.contents, "other bytes came");
        let told: Value = serde_json::from_slice(&got.stdout).unwrap();
        let number = |key: &str| told[key].as_u64().unwrap();
        let [local, native, swarm] =
            ["local", "native", "swarm"].map(|k| number(&format!("blocks_{k}")));
        assert_eq!(local + native + swarm, self.blocks, "each block is counted once");
        Told {
            local,
            native,
            swarm,
            bytes: number("bytes_received"),
            bytes_swarm: number("bytes_swarm"),
        }
    }
}

struct Told {
    local: u64,
    native: u64,
    swarm: u64,
    bytes: u64,
    bytes_swarm: u64,
}

/// A foreign seeder and its tracker.
struct Foreign {
    client: Libtorrent,
    desk: Desk,
    tracker: Tracker,
}

impl Foreign {
    /// Whether nobody has connected to it before we do that now.
    fn is_untouched(&self, stage: &Stage) -> bool {
        let (machine, address) = (stage.machine(1).clone(), self.desk.address());
        let touch = thread::spawn(move || {
            machine.enter();
            TcpStream::connect(address).unwrap()
        });
        let _stream = touch.join().unwrap();
        let first = self.client.wait_for_a_caller();
        first.ip() == stage.machine(1).at(0).ip()
    }
}

/// A tracker that names one peer to all who ask, and counts them.
struct Tracker {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Tracker {
    fn start(machine: &Machine, peer: SocketAddr) -> Self {
        let (machine, address) = (machine.clone(), machine.at(TRACKER_PORT));
        let asked = Arc::new(AtomicUsize::new(0));
        let (counter, (ready, is_ready)) = (Arc::clone(&asked), channel());
        thread::spawn(move || {
            machine.enter();
            let listener = TcpListener::bind(address).unwrap();
            ready.send(()).unwrap();
            for stream in listener.incoming().map_while(Result::ok) {
                counter.fetch_add(1, Ordering::SeqCst);
                answer(stream, peer);
            }
        });
        is_ready.recv_timeout(DEADLINE).unwrap();
        Self { address, asked }
    }

    fn url(&self) -> String {
        format!("http://{}/announce", self.address)
    }
}

fn answer(mut stream: TcpStream, peer: SocketAddr) {
    let mut asked = Vec::new();
    let mut part = [0; 4_096];
    while !asked.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut part) {
            Ok(len @ 1..) => asked.extend_from_slice(&part[..len]),
            _ => return,
        }
    }
    let mut compact = Vec::new();
    put_compact(&mut compact, peer);
    let body = [b"d8:intervali1800e5:peers6:", &compact[..], b"e"].concat();
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(&[head.as_bytes(), &body].concat());
}

/// Blocks in a home that somebody writes to.
fn here(home: &Home) -> u64 {
    let slabs = fs::read_dir(home.path().join("store")).into_iter().flatten().map_while(Result::ok);
    let slabs = slabs.filter(|file| file.path().extension().is_some_and(|end| end == "slab"));
    slabs.filter_map(|slab| Some(slab.metadata().ok()?.len())).sum::<u64>() / BLOCK_LEN
}

#[test]
fn while_native_peers_serve_no_swarm_is_touched() {
    let stage = Stage::new(SMALL);
    let foreign = stage.foreign();
    let natives = stage.seed(&[]);
    let home = Home::new();
    let tracker = foreign.tracker.url();
    let got = stage.get(&home, &stage.hinted(), &["--tracker", &tracker]).output().unwrap();
    let told = stage.told(&home, &got);
    assert_eq!((told.local, told.native, told.swarm), (0, stage.blocks, 0));
    assert_eq!((told.bytes_swarm, foreign.tracker.asked.load(Ordering::SeqCst)), (0, 0));
    assert!(foreign.is_untouched(&stage));
    natives.into_iter().for_each(Seeder::stop);
}

/// The natives' connections are cut in the middle of a block each. What was on its way then is lost,
/// and nothing else comes twice.
#[test]
fn what_native_peers_leave_unfinished_comes_of_the_swarm() {
    let stage = Stage::new(4 * SMALL);
    let foreign = stage.foreign();
    let natives = stage.seed(&["--up-limit", "8MiB"]);
    let home = Home::new();
    let tracker = foreign.tracker.url();
    let mut get = stage.get(&home, &stage.hinted(), &["--tracker", &tracker]);
    let mut get = get.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    poll("a third of the blocks", || (here(&home) > stage.blocks / 3).then_some(()));
    assert!(get.try_wait().unwrap().is_none(), "it was not done yet");
    natives.into_iter().for_each(Seeder::kill);
    let told = stage.told(&home, &get.wait_with_output().unwrap());
    assert_eq!(told.local, 0);
    assert!(told.native >= stage.blocks / 3 && told.swarm > 0, "{}", told.native);
    let needed = stage.blocks * BLOCK_LEN;
    let extra = told.bytes.saturating_sub(needed);
    // A hundredth for all that is not blocks, and for each connection a block on its way.
    assert!(extra < needed / 100 + 3 * BLOCK_LEN, "{extra} bytes more than needed");
    assert!(foreign.tracker.asked.load(Ordering::SeqCst) > 0);
}

/// Who shared the file is gone; a stock client has its blocks, and a DHT of stock nodes knows that.
#[test]
fn without_any_native_peer_stock_seeders_and_their_dht_are_enough() {
    let dht = PrivateDht::of(5);
    let home = Home::new();
    let contents = contents(SMALL / 4);
    fs::write(home.beside("file"), &contents).unwrap();
    let joined = |mut command: Command, entry: usize| {
        command.env_remove("OFFSWARM_NO_DHT").args(LISTEN_HERE);
        command.arg("--dht-bootstrap").arg(dht.addresses[entry].to_string());
        command
    };
    let mut share = joined(home.offswarm(["--quiet", "share", "--bare"]), 0);
    let sharing = Running::start(share.arg(home.beside("file")));
    let url = OffUrl::parse(&sharing.line()).unwrap();
    assert_eq!(url, url.canonical(), "the URL has no hints");
    let get = |entry: usize, more: &[&str]| -> Value {
        let home = Home::new();
        let mut get = joined(home.offswarm(["--json", "get", "--timeout", "90s"]), entry);
        get.args(more);
        let got =
            get.arg("--output").arg(home.beside("out")).arg(url.to_string()).output().unwrap();
        assert!(got.status.success(), "{}", text(&got.stderr));
        assert!(fs::read(home.beside("out")).unwrap() == contents);
        serde_json::from_slice(&got.stdout).unwrap()
    };
    // By then the record is in the DHT.
    get(1, &["--swarm-only"]);
    let folder = tempfile::tempdir().unwrap();
    dht.tell(2, "add_torrent", json!({ "what": sharing.line(), "folder": folder.path() }));
    dht.event("complete");
    assert!(sharing.terminate().success());
    let blocks = home.census();

    for more in [&[][..], &["--swarm-only"]] {
        let told = get(3, more);
        assert_eq!((&told["blocks_native"], &told["blocks_swarm"]), (&0.into(), &blocks.into()));
    }
}

#[test]
fn where_nobody_is_it_ends_in_time_and_says_who_was_asked() {
    let stage = Stage::new(1);
    let tracker = Tracker::start(stage.machine(2), stage.machine(2).at(PEER_PORT));
    let home = Home::new();
    let args = ["--tracker", &tracker.url(), "--timeout", "5s"];
    let mut get = home.offswarm(["--json", "get", &stage.hinted(), "--output"]);
    get.arg(home.beside("copy")).arg("--listen").arg(stage.ours().at(NATIVE_PORT).to_string());
    let started = Instant::now();
    let got = stage.ours().adopt(get.args(args)).output().unwrap();
    let (took, said) = (started.elapsed(), text(&got.stderr));
    assert_eq!(got.status.code(), Some(4), "{said}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    println!("{said}");
    let swarm =
        format!("swarm {} (2 peers named, 1 tracker, 3 heard of, 0 connected)", stage.infohash);
    for part in ["blocks not found", "the store", "2 native peers (0 connected)", &swarm] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    assert!(!home.beside("copy").exists());
}

/// Neither names the other, and no DHT is asked: they hear each other on the network.
fn find_each_other(flags: &[&str]) {
    let stage = Stage::new(SMALL);
    let mut seed = stage.homes[0].offswarm(["seed", "--lan", &stage.url.to_string()]);
    let listen = stage.machine(0).at(NATIVE_PORT).to_string();
    let seeding = Seeder::start(&mut stage.machine(0).adopt(seed.args(["--listen", &listen])));
    let home = Home::new();
    let got = stage.get(&home, &stage.url.to_string(), flags).output().unwrap();
    let told = stage.told(&home, &got);
    assert_eq!((told.local, told.native, told.swarm), (0, stage.blocks, 0));
    seeding.stop();
}

#[test]
fn two_on_one_network_find_each_other_without_any_address() {
    find_each_other(&["--lan"]);
}

#[test]
fn two_on_one_network_find_each_other_with_native_peers_only() {
    find_each_other(&["--lan", "--native-only"]);
}

#[test]
fn alone_on_a_network_it_waits_for_neighbours_as_long_as_it_may() {
    let stage = Stage::new(1);
    for flags in [&["--lan"][..], &["--lan", "--native-only"]] {
        let (home, started) = (Home::new(), Instant::now());
        let flags = [flags, &["--stall", "2s"]].concat();
        let got = stage.get(&home, &stage.url.to_string(), &flags).output().unwrap();
        assert_eq!(got.status.code(), Some(4), "{}", text(&got.stderr));
        let took = started.elapsed();
        assert!((2..10).contains(&took.as_secs()), "{took:?}");
    }
}

#[test]
fn after_a_kill_only_what_is_missing_comes_again() {
    let stage = Stage::new(4 * SMALL);
    let natives = stage.seed(&["--up-limit", "16MiB"]);
    let home = Home::new();
    let mut get = stage.get(&home, &stage.hinted(), &[]);
    let get = Running::start(&mut get);
    poll("most of the blocks", || (here(&home) > stage.blocks * 3 / 4).then_some(()));
    get.kill();
    let there = here(&home);
    assert!(there < stage.blocks && !home.beside("copy").exists(), "it was not done yet");

    let told = stage.told(&home, &stage.get(&home, &stage.hinted(), &[]).output().unwrap());
    let (lost, most) = (there.saturating_sub(told.local), COMMIT_WINDOW_BLOCKS as u64);
    println!("{} of {there} blocks survived, of {} in all", told.local, stage.blocks);
    assert!(lost <= most && told.local > 0, "{lost} of {there} are lost");
    let needed = (stage.blocks - told.local) * BLOCK_LEN;
    // A fiftieth for all that is not blocks, and for each connection a block that came twice at the end.
    let most = needed + needed / 50 + 3 * BLOCK_LEN;
    assert!(told.bytes < most, "{} bytes came, {needed} were needed", told.bytes);
    natives.into_iter().for_each(Seeder::stop);
}
