//! What goes over the wire: the bytes of the blocks that are missing, once, and little else.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::program::{Place, Ran, Seeder, Watched, kill, noise};

const BLOCK: u64 = 131_072;

/// A way to a seeder that counts what it lets through towards whoever connects.
struct Meter {
    address: String,
    passed: Arc<AtomicU64>,
}

impl Meter {
    /// Lets through at most so many bytes a second on each connection.
    fn before(seeder: &str, bytes_per_second: Option<u64>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let passed = Arc::new(AtomicU64::new(0));
        let (seeder, counted) = (seeder.to_owned(), Arc::clone(&passed));
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(&seeder) else { return };
                let (mut up_from, mut up_to) =
                    (near.try_clone().unwrap(), far.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut up_from, &mut up_to);
                    let _ = up_to.shutdown(std::net::Shutdown::Both);
                });
                let counted = Arc::clone(&counted);
                std::thread::spawn(move || pass(far, near, &counted, bytes_per_second));
            }
        });
        Self { address, passed }
    }

    fn passed(&self) -> u64 {
        self.passed.load(Ordering::SeqCst)
    }
}

fn pass(mut far: TcpStream, mut near: TcpStream, counted: &AtomicU64, limit: Option<u64>) {
    let mut part = vec![0; 16 << 10];
    while let Ok(len @ 1..) = far.read(&mut part) {
        if near.write_all(&part[..len]).is_err() {
            break;
        }
        counted.fetch_add(len as u64, Ordering::SeqCst);
        if let Some(limit) = limit {
            // The sleep is the limit.
            std::thread::sleep(Duration::from_secs_f64(len as f64 / limit as f64));
        }
    }
    let _ = near.shutdown(std::net::Shutdown::Both);
}

/// The URL with its infohash, and without the peer it names.
fn without_peers(seeder: &Seeder) -> String {
    let (url, hints) = seeder.url.split_once("&btih=").unwrap();
    format!("{url}&btih={}", &hints[..40])
}

fn json(ran: &Ran) -> serde_json::Value {
    serde_json::from_slice(&ran.0.stdout).unwrap()
}

/// So many blocks went over the wire, and at most a fiftieth more.
#[track_caller]
fn assert_little_more(passed: u64, blocks: u64) {
    let least = blocks * BLOCK;
    assert!(passed >= least && passed <= least + least / 50, "{passed} bytes for {blocks} blocks");
}

#[test]
fn only_the_missing_half_of_a_url_is_moved() {
    let place = Place::new();
    let url = place.put("a", &place.file("in.bin", 16 << 20));
    let export = ["--json", "pack", "export", "all.off", "--urls", &url];
    let blocks = json(&place.run("a", export).ok())["blocks"].as_u64().unwrap();
    let content = fs::read(place.path("all.off")).unwrap();
    let half = (blocks / 2 * BLOCK) as usize;
    fs::write(place.path("first.off"), &content[..half]).unwrap();
    fs::write(place.path("second.off"), &content[half..]).unwrap();
    let seeder = Seeder::start(place.command("a", ["seed", &url, "--listen", "127.0.0.1:0"]));
    let link = without_peers(&seeder);
    // The second half lacks the descriptor, too.
    for (home, pack, here) in
        [("first", "first.off", blocks / 2), ("second", "second.off", blocks - blocks / 2)]
    {
        place.run(home, ["pack", "adopt", pack]).ok();
        let meter = Meter::before(&seeder.address(), None);
        let get = ["--json", "get", &link, "-o", "out", "--peer", &meter.address];
        let told = json(&place.run(home, get).ok());
        assert!(fs::read(place.path("out")).unwrap() == noise(16 << 20));
        assert_little_more(meter.passed(), blocks - here);
        let received = told["bytes_received"].as_u64().unwrap();
        assert!(received <= meter.passed(), "{told}");
    }
}

/// Waits until a child has ended and is still to be waited for.
fn wait_for_the_end(child: &Child) {
    let (started, stat) = (Instant::now(), format!("/proc/{}/stat", child.id()));
    while !fs::read_to_string(&stat).unwrap().contains(") Z ") {
        assert!(started.elapsed() < Duration::from_secs(120), "it does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Bytes of files that a process has read.
fn bytes_read(process: u32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{process}/io")).unwrap();
    io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}

#[test]
fn an_interrupted_download_moves_and_reads_no_byte_twice() {
    for (rung, counted) in [("--swarm-only", "blocks_swarm"), ("--native-only", "blocks_native")] {
        interrupt_and_go_on(rung, counted);
    }
}

fn interrupt_and_go_on(rung: &str, counted: &str) {
    let place = Place::new();
    let len = 32 << 20;
    let seeder = place.share("a", &place.file("in.bin", len), []);
    let link = without_peers(&seeder);
    let meter = Meter::before(&seeder.address(), Some(24 << 20));
    let get = ["--json", "get", &link, "-o", "out", "--peer", &meter.address, rung];
    let mut first =
        place.command("b", get).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while meter.passed() < (30 << 20) {
        assert!(first.try_wait().unwrap().is_none(), "it ended too early to be interrupted");
        std::thread::yield_now();
    }
    kill("INT", first.id());
    assert_eq!(first.wait().unwrap().code(), Some(130));

    let told = fs::File::create(place.path("told")).unwrap();
    let mut second = place.command("b", get).stdout(told).stderr(Stdio::null()).spawn().unwrap();
    wait_for_the_end(&second);
    let read = bytes_read(second.id());
    assert!(second.wait().unwrap().success());
    assert!(fs::read(place.path("out")).unwrap() == noise(len));
    let told: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(place.path("told")).unwrap()).unwrap();
    let (local, came) = (&told["blocks_local"], &told[counted]);
    let blocks = local.as_u64().unwrap() + came.as_u64().unwrap();
    assert!(local.as_u64().unwrap() >= (26 << 20) / BLOCK, "{told}");
    assert_little_more(meter.passed(), blocks);
    // Each block is read when the file is written, and what was here is read for nothing else.
    assert!(read < blocks * BLOCK * 11 / 10, "{read} bytes read");
}

#[test]
fn a_range_moves_the_descriptor_and_its_own_blocks() {
    let place = Place::new();
    let len = 64 << 20;
    let seeder = place.share("a", &place.file("in.bin", len), []);
    let meter = Meter::before(&seeder.address(), None);
    let link = without_peers(&seeder);
    let (first, last) = (40 << 20, (48 << 20) - 1);
    let range = format!("{first}-{last}");
    let ran = place.run("b", ["cat", &link, "--range", &range, "--peer", &meter.address]).ok();
    assert!(ran.0.stdout == noise(len)[first..=last]);
    let stat = json(&place.run("b", ["--json", "stat", &link]).exits(3));
    let here = stat["blocks_here"].as_u64().unwrap();
    // 64 source blocks, each with two others of its tuple that may be shared with a neighbour,
    // and the descriptor.
    let source_blocks = (8 << 20) / BLOCK;
    assert!(here <= source_blocks * 3 + 4, "{stat}");
    assert_little_more(meter.passed(), here);
}

#[test]
fn single_blocks_are_drawn_from_shards() {
    let place = Place::new();
    // More than one shard; the small file's blocks are among them.
    let small = place.put("a", &place.file("small.bin", 1_000_000));
    place.put("a", &place.file("large.bin", 72 << 20));
    let args = ["seed", "--store", "--torrent-dir", "torrents", "--listen", "127.0.0.1:0"];
    let seeder = Watched::start(place.command("a", args));
    let torrents: Vec<String> = fs::read_dir(place.path("torrents"))
        .unwrap()
        .map(|entry| entry.unwrap().path().to_str().unwrap().to_owned())
        .filter(|path| path.ends_with(".torrent"))
        .collect();
    assert!(torrents.len() >= 2, "{torrents:?}");
    let meter = Meter::before(&seeder.address, None);
    let mut get = vec!["--json", "get", &small, "-o", "out", "--peer", &meter.address];
    get.push("--swarm-only");
    for torrent in &torrents {
        get.extend(["--torrent", torrent]);
    }
    let told = json(&place.run("b", get).ok());
    assert!(fs::read(place.path("out")).unwrap() == noise(1_000_000));
    let blocks = told["blocks_swarm"].as_u64().unwrap();
    assert_eq!((blocks, told["blocks_local"].as_u64()), (2 * 8 + 2, Some(0)), "{told}");
    assert_little_more(meter.passed(), blocks);
}
