//! What a daemon survives: the death of its services, its own, and that of the swarms it reads from.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::num::NonZeroU32;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use offswarm::client::put::PutOptions;
use offswarm::client::{Client, Settings};
use offswarm::off::OffUrl;
use offswarm::peer::front::Limits;
use offswarm::swarm::session::{Options, Swarms};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::program::{Place, noise};

impl Daemon {
    /// One that may be made to fail.
    fn faulty(place: &Place, home: &str) -> Self {
        let serve = ["serve", "--json", "--fault-injection", "--legacy", "--legacy-listen"];
        let serve = serve.into_iter().chain(["127.0.0.1:0"]);
        Self::spawn(place.command(home, serve))
    }

    fn at(&self, path: &str) -> String {
        format!("{}{}", self.ready["http"].as_str().unwrap().trim_end_matches('/'), path)
    }

    fn ask(&self, path: &str) -> Value {
        let out = curl([&*self.at(path)]).output().unwrap();
        serde_json::from_slice(&out.stdout).unwrap_or(Value::Null)
    }

    fn tell(&self, path: &str, body: &Value) -> Value {
        let (body, url) = (body.to_string(), self.at(path));
        let headers = ["-H", "Offswarm-Request: 1", "-H", "Content-Type: application/json"];
        let out = curl(["-X", "POST", "-d", &body, &url].into_iter().chain(headers)).output();
        serde_json::from_slice(&out.unwrap().stdout).unwrap_or(Value::Null)
    }

    /// The bytes of an OFF URL; `None` if the gateway says something else than 200.
    fn get(&self, url: &str, target: &Path) -> Option<Vec<u8>> {
        let path = url.strip_prefix("http://localhost:23402").unwrap();
        let (out, at) = (target.to_str().unwrap(), self.at(path));
        let ran = curl(["-f", "-o", out, &at]).output().unwrap();
        ran.status.success().then(|| fs::read(target).unwrap())
    }

    fn put(&self, name: &str, file: &Path) -> Child {
        let (at, file) = (self.at(&format!("/v4/{name}")), file.to_str().unwrap());
        let mut put = curl(["-f", "-T", file, &*at]);
        put.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn service(&self, name: &str) -> Value {
        let status = self.ask("/api/status");
        let services = status["services"].as_array().cloned().unwrap_or_default();
        services.into_iter().find(|service| service["name"] == name).unwrap_or(Value::Null)
    }
}

fn curl<'a>(args: impl IntoIterator<Item = &'a str>) -> Command {
    let mut curl = Command::new("curl");
    curl.args(["-s", "--max-time", "60"]).args(args);
    curl
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what}");
        sleep(Duration::from_millis(50));
    }
}

/// Somebody who has a file and lets others have it, slowly.
async fn giver(
    place: &Place,
    stream: &mut (dyn Read + Send),
    upload: Option<u32>,
) -> (OffUrl, Swarms) {
    let client = Client::open(&place.path("giver"), &Settings::default()).unwrap();
    let put = client.put(stream, &PutOptions::default(), &mut |_| ()).unwrap();
    let limits = Limits { upload: upload.and_then(NonZeroU32::new), ..Limits::default() };
    let listen = Some("127.0.0.1:0".parse().unwrap());
    let swarms = client.swarms(&Options { listen, limits, ..Options::default() }).await.unwrap();
    let mut url = put.url;
    url.hints.peers = vec![swarms.listen()];
    (url, swarms)
}

#[test]
fn each_service_comes_back_from_a_panic_and_takes_no_other_with_it() {
    let place = Place::new();
    let daemon = Daemon::faulty(&place, "home");
    let url = place.put("home", &place.file("in.bin", 300_000));
    let all: Vec<String> = daemon.ask("/api/status")["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|service| service["name"].as_str().unwrap().to_owned())
        .collect();
    let names = ["store", "peers", "native", "seeding", "meter", "legacy", "commands", "http"];
    let locator = place.run("home", ["legacy", "id"]).ok().stdout();
    for name in names {
        assert!(all.iter().any(|other| other == name), "{all:?}");
    }
    for name in &all {
        let before: BTreeMap<&String, Value> =
            all.iter().map(|name| (name, daemon.service(name)["restarts"].clone())).collect();
        let told = daemon.tell("/api/services/panic", &json!({ "name": name }));
        // The answer of the one that answers may be cut off.
        assert!(told["changed"] == true || name == "http" || name == "store", "{name}: {told}");
        let is_back = |service: &Value| {
            service["restarts"].as_u64() > before[name].as_u64() && service["state"] == "running"
        };
        wait_for(name, || is_back(&daemon.service(name)));
        let error = daemon.service(name)["last_error"].clone();
        assert!(error.as_str().unwrap().contains("panic"), "{name}: {error}");
        if name != "store" {
            for other in all.iter().filter(|other| *other != name) {
                assert_eq!(daemon.service(other)["restarts"], before[other], "{other} for {name}");
            }
        }
        wait_for("it serves", || daemon.get(&url, &place.path("out")) == Some(noise(300_000)));
        wait_for("it takes commands", || place.run("home", ["stat", &url]).0.status.success());
    }
    place.run("other", ["legacy", "ask", locator.trim(), "ping"]).ok();
    let ready = curl(["-o", "/dev/null", "-w", "%{http_code}", &daemon.at("/readyz")]).output();
    assert_eq!(String::from_utf8(ready.unwrap().stdout).unwrap(), "200");
    assert_eq!(daemon.signal("TERM"), Some(0));
}

/// Each time it dies, some puts are under way, and a fetch.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn thirty_deaths_lose_nothing_that_was_acknowledged_and_fetches_go_on() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let place = Place::new();
    let wanted = noise(40 << 20);
    let (url, _swarms) = giver(&place, &mut &*wanted, Some(4 << 20)).await;
    let url = url.to_string();
    tokio::task::block_in_place(|| {
        let files: Vec<_> = (0..3)
            .map(|number| place.file(&format!("in{number}"), 150_000 << (2 * number)))
            .collect();
        let mut acknowledged: Vec<(String, usize)> = Vec::new();
        for round in 0..30 {
            let daemon = Daemon::start(&place, "home");
            if round == 0 {
                let told = daemon.tell("/api/fetch", &json!({ "url": url }));
                assert!(told["id"].is_u64(), "{told}");
            }
            let mut puts: Vec<_> =
                (0..3).map(|n| (n, daemon.put(&format!("r{round}"), &files[n]))).collect();
            if round % 2 == 0 {
                wait_for("a put", || puts[0].1.try_wait().unwrap().is_some());
            }
            sleep(Duration::from_millis(rng.random_range(0..500)));
            daemon.signal("KILL");
            for (number, put) in puts {
                let put = put.wait_with_output().unwrap();
                if put.status.success() {
                    let url = String::from_utf8(put.stdout).unwrap().trim().to_owned();
                    acknowledged.push((url, number));
                }
            }
        }
        assert!(acknowledged.len() >= 15, "{} puts were acknowledged", acknowledged.len());
        let daemon = Daemon::start(&place, "home");
        for (url, number) in &acknowledged {
            let bytes = daemon.get(url, &place.path("out"));
            assert!(bytes == Some(noise(150_000 << (2 * number))), "{url}");
        }
        wait_for("the fetch goes on", || {
            daemon.ask("/api/transfers")["transfers"][0]["state"] == "done"
        });
        assert!(
            daemon.get(&OffUrl::parse(&url).unwrap().canonical().to_string(), &place.path("out"))
                == Some(wanted.clone())
        );
        drop(daemon);
        let daemon = Daemon::start(&place, "home");
        assert_eq!(daemon.ask("/api/transfers"), json!({ "transfers": [] }), "it has ended");
        place.run("home", ["check", "--read-data"]).ok();
        drop(daemon);
    });
}

/// What systemd hears, by a socket of our own in its place.
#[test]
fn systemd_is_told_of_readiness_of_life_and_of_the_end() {
    let place = Place::new();
    let path = place.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut serve = place.command("home", ["serve", "--json"]);
    serve.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000");
    let daemon = Daemon::spawn(serve);
    let hear = |what: &str| {
        let mut buffer = [0; 1_024];
        loop {
            let len = socket.recv(&mut buffer).unwrap();
            let said = String::from_utf8(buffer[..len].to_vec()).unwrap();
            if said.lines().any(|line| line == what) {
                break said;
            }
        }
    };
    assert!(hear("READY=1").contains("STATUS=serving "));
    hear("WATCHDOG=1");
    hear("WATCHDOG=1");
    assert_eq!(daemon.signal("TERM"), Some(0));
    hear("STOPPING=1");
}

/// A stream of any length, of which any part can be told.
struct Pattern {
    place: u64,
    len: u64,
}

impl Pattern {
    fn word(number: u64) -> [u8; 8] {
        let word = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (word ^ (word >> 29)).to_le_bytes()
    }

    fn byte(place: u64) -> u8 {
        Self::word(place / 8)[(place % 8) as usize]
    }
}

/// It is read by whole words.
impl Read for Pattern {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = buffer.len().min((self.len - self.place) as usize) / 8 * 8;
        for (number, word) in (self.place / 8..).zip(buffer[..count].chunks_exact_mut(8)) {
            word.copy_from_slice(&Self::word(number));
        }
        self.place += count as u64;
        Ok(count)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_video_of_a_gibibyte_that_is_elsewhere_is_sought_without_moving_the_whole() {
    const LEN: u64 = 1 << 30;
    let place = Place::new();
    let (url, swarms) = giver(&place, &mut Pattern { place: 0, len: LEN }, None).await;
    let path = url.path();
    tokio::task::block_in_place(|| {
        let daemon = Daemon::start(&place, "home");
        for (at, within) in [(LEN - 5_000_000, 2.0), (LEN / 2, 2.0)] {
            let (range, url) = (format!("{at}-{}", at + 999_999), daemon.at(&path));
            let out = place.path("part");
            let told = "%{http_code} %{time_starttransfer}";
            let ran = curl(["-r", &range, "-o", out.to_str().unwrap(), "-w", told, &url]).output();
            let told = String::from_utf8(ran.unwrap().stdout).unwrap();
            let (code, seconds) = told.split_once(' ').unwrap();
            println!("{range}: {told} s");
            assert_eq!(code, "206");
            let part = fs::read(out).unwrap();
            assert!(part.len() == 1_000_000);
            assert!((at..).zip(&part).all(|(place, byte)| *byte == Pattern::byte(place)));
            assert!(seconds.parse::<f64>().unwrap() < within, "{seconds} s");
        }
        let moved = swarms.traffic().sent;
        assert!(moved < 100 << 20, "{moved} bytes moved for two parts of a megabyte");
    });
}

/// What a command fetches in the daemon is seen there, and can be stopped from there.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_get_in_the_daemon_is_listed_and_moves_through_its_port() {
    let place = Place::new();
    let bytes = noise(4 << 20);
    let (url, _swarms) = giver(&place, &mut &*bytes, Some(2 << 20)).await;
    tokio::task::block_in_place(|| {
        let daemon = Daemon::start(&place, "home");
        let url = url.to_string();
        let begin = |out: &str| {
            let mut get = place.command("home", ["get", &url, "-o", out]);
            get.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        };
        let state = || daemon.ask("/api/transfers")["transfers"][0]["state"].clone();
        let mut get = begin("stopped");
        wait_for("it is listed", || state() == "running");
        let id = daemon.ask("/api/transfers")["transfers"][0]["id"].clone();
        assert_eq!(daemon.tell("/api/transfers/cancel", &json!({ "id": id }))["changed"], true);
        assert_eq!(get.wait().unwrap().code(), Some(130));
        assert_eq!(state(), "stopped");
        let mut get = begin("out");
        wait_for("it is listed again", || state() == "running");
        wait_for("it comes through the port", || {
            daemon.ask("/api/status")["peers"]["native"].as_u64() > Some(0)
        });
        assert!(get.wait().unwrap().success());
        assert_eq!(state(), "done");
        assert!(fs::read(place.path("out")).unwrap() == bytes && !place.path("stopped").exists());
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_daemon_that_is_told_to_stop_ends_what_is_under_way() {
    let place = Place::new();
    let bytes = noise(6 << 20);
    let (url, _swarms) = giver(&place, &mut &*bytes, Some(4 << 20)).await;
    tokio::task::block_in_place(|| {
        let daemon = Daemon::start(&place, "home");
        let out = place.path("out");
        let mut get = curl(["-f", "-o", out.to_str().unwrap(), &*daemon.at(&url.path())]);
        let mut get = get.spawn().unwrap();
        wait_for("it has begun", || out.metadata().is_ok_and(|file| file.len() > 0));
        let at = daemon.at("/healthz");
        assert_eq!(daemon.signal("TERM"), Some(0));
        assert!(get.wait().unwrap().success(), "what was begun was not cut");
        assert!(fs::read(out).unwrap() == bytes);
        assert!(!curl(["-f", &*at]).status().unwrap().success(), "the port is closed");
    });
}
