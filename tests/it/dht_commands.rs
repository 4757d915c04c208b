//! `offswarm dht` against nodes that `offswarm dht serve` runs on loopback, where each endpoint
//! counts as a host of its own.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use offswarm::client::Home;
use offswarm::id::{BlockId, InfoHash};
use offswarm::krpc::rendezvous::{Record, record_item, url_swarm};
use offswarm::off::OffUrl;
use serde_json::{Value, json};

use crate::program::{Place, Ran, kill};

/// Nobody is there.
const NOBODY: &str = "127.0.0.1:1";

const INFOHASH: &str = "00112233445566778899aabbccddeeff00112233";

/// A `dht` command, which begins at a node.
fn command(place: &Place, home: &str, entry: &str, args: &[&str]) -> Command {
    let mut command = place.command(home, ["dht"]);
    command.args(args).args(["--dht-bootstrap", entry]).env_remove("OFFSWARM_NO_DHT");
    command
}

/// A node, killed at the end of the test.
struct Node {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    address: String,
}

impl Node {
    fn start(place: &Place, home: &str, entry: &str) -> Self {
        let args = ["serve", "--listen", "127.0.0.1:0", "--json", "--report", "100ms"];
        let mut command = command(place, home, entry, &args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let address = first["listen"][0].as_str().unwrap().to_owned();
        Self { child, lines, address }
    }

    /// Waits until it knows so many nodes that answer; what it says then.
    #[track_caller]
    fn wait_for(&mut self, good: u64) -> Value {
        let (started, mut last) = (Instant::now(), Value::Null);
        while started.elapsed() < Duration::from_secs(60) {
            last = serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap();
            if last["networks"][0]["good"].as_u64() >= Some(good) {
                return last;
            }
        }
        panic!("waited for {good} nodes; the last line was {last}");
    }

    /// Ends it as a service manager would, and gives the exit code.
    fn stop(mut self) -> Option<i32> {
        kill("TERM", self.child.id());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Some nodes that know each other.
struct Net {
    place: Place,
    nodes: Vec<Node>,
}

impl Net {
    fn of(count: usize) -> Self {
        let place = Place::new();
        let mut nodes = vec![Node::start(&place, "node-0", NOBODY)];
        for number in 1..count {
            let entry = nodes[0].address.clone();
            nodes.push(Node::start(&place, &format!("node-{number}"), &entry));
        }
        for node in &mut nodes {
            node.wait_for(count as u64 - 1);
        }
        Self { place, nodes }
    }

    fn command(&self, args: &[&str]) -> Command {
        command(&self.place, "asker", &self.nodes[0].address, args)
    }

    fn run(&self, args: &[&str]) -> Ran {
        Ran(self.command(args).output().unwrap())
    }

    /// The objects that a command prints.
    #[track_caller]
    fn json(&self, args: &[&str]) -> Vec<Value> {
        objects(&self.run(&[args, &["--json"]].concat()).ok())
    }
}

fn objects(ran: &Ran) -> Vec<Value> {
    ran.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[test]
fn pings_a_node() {
    let net = Net::of(1);
    let node = &net.nodes[0].address;
    let pong = &net.json(&["ping", node])[0];
    assert_eq!((text(&pong["address"]), &pong["native"]), (node.as_str(), &json!(true)));
    assert_eq!((text(&pong["version"]), &pong["native_port"]), ("OS\\x00\\x01", &Value::Null));
    assert!(text(&pong["our_address"]).starts_with("127.0.0.1:"), "{pong}");
    assert!(pong["milliseconds"].as_f64().unwrap() > 0.0);
    let lines = net.run(&["ping", node]).ok().stdout();
    assert!(lines.starts_with("id        ") && lines.contains("native    yes"), "{lines}");
    // Loopback by name has two addresses, one of which nobody answers at.
    let port = node.rsplit(':').next().unwrap();
    net.run(&["ping", &format!("localhost:{port}"), "--listen", "127.0.0.1"]).ok();
}

/// A program names itself in bytes of its choice.
#[test]
fn what_a_node_says_of_itself_does_nothing_to_a_terminal() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let answering = std::thread::spawn(move || {
        let mut query = [0; 2_000];
        let (len, from) = socket.recv_from(&mut query).unwrap();
        let at = query[..len].windows(5).position(|at| at == b"1:t4:").unwrap() + 5;
        let mut answer = b"d1:rd2:id20:aaaaaaaaaaaaaaaaaaaae1:t4:".to_vec();
        answer.extend_from_slice(&query[at..at + 4]);
        answer.extend_from_slice(b"1:v6:\x1b[2J\xff\n1:y1:re");
        socket.send_to(&answer, from).unwrap();
    });
    let place = Place::new();
    let ran = Ran(command(&place, "asker", NOBODY, &["ping", &address]).output().unwrap()).ok();
    answering.join().unwrap();
    assert!(ran.stdout().contains("program   \\x1b[2J\\xff\\n\n"), "{}", ran.stdout());
    assert!(ran.stdout().contains("native    no"));
}

#[test]
fn says_when_nobody_answers_a_ping() {
    let place = Place::new();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    for more in [&[][..], &["--timeout", "100ms"]] {
        let args = [&["ping", address.as_str()], more].concat();
        let ran = Ran(command(&place, "asker", NOBODY, &args).output().unwrap());
        ran.exits(4).says(["no node at", &address]);
    }
    for bad in ["127.0.0.1", "127.0.0.1:0", ":6881", "127.0.0.1:66666"] {
        Ran(command(&place, "asker", NOBODY, &["ping", bad]).output().unwrap()).exits(2);
    }
}

#[test]
fn finds_the_closest_nodes() {
    let net = Net::of(4);
    let found = net.json(&["find-node", INFOHASH]);
    assert_eq!(found.len(), 4);
    let bits: Vec<u64> = found.iter().map(|node| node["common_bits"].as_u64().unwrap()).collect();
    assert!(bits.is_sorted_by(|one, next| one >= next), "{bits:?}");
    let ours = net.run(&["find-node"]).ok().stdout();
    assert_eq!(ours.lines().count(), 4);
    for node in &net.nodes {
        assert!(ours.contains(&format!(" {}\n", node.address)), "{ours}");
    }
    // An id of a node is closest to itself.
    let id = text(&found[2]["id"]);
    assert_eq!(net.json(&["find-node", id])[0]["id"], id);
    net.run(&["find-node", "0123"]).exits(2);
    net.run(&["find-node", &"x".repeat(40)]).exits(2);
}

#[test]
fn announces_a_peer_and_finds_it() {
    let net = Net::of(3);
    net.run(&["get-peers", INFOHASH]).exits(4).says(["no peers were found"]);
    let told = &net.json(&["announce", INFOHASH, "--port", "7001", "--seed"])[0];
    assert_eq!((&told["nodes"], &told["refused"]), (&json!(3), &Value::Null));
    net.run(&["announce", INFOHASH, "--port", "7002"]).ok();
    let mut found: Vec<String> =
        net.run(&["get-peers", INFOHASH]).ok().stdout().lines().map(str::to_owned).collect();
    found.sort_unstable();
    assert_eq!(found, ["127.0.0.1:7001", "127.0.0.1:7002"]);
    let magnet = format!("magnet:?xt=urn:btih:{INFOHASH}");
    let found = net.json(&["get-peers", &magnet]);
    assert_eq!(found.len(), 2, "each once");
    let nodes: Vec<&str> = net.nodes.iter().map(|node| node.address.as_str()).collect();
    assert!(nodes.contains(&text(&found[0]["node"])), "{}", found[0]);
    assert_eq!((text(&found[0]["source"]), text(&found[0]["infohash"])), ("argument", INFOHASH));

    net.run(&["announce", "native", "--port", "7003"]).ok();
    let native = &net.json(&["get-peers", "native"])[0];
    assert_eq!(text(&native["peer"]), "127.0.0.1:7003");
    assert_eq!(text(&native["infohash"]), InfoHash::native().to_string());
    for bad in [
        &["announce", INFOHASH, "--port", "0"][..],
        &["announce", INFOHASH],
        &["announce", "0123", "--port", "1"],
        &["get-peers", "magnet:?dn=x"],
        &["get-peers", "magnet:?xt=urn:btih:1"],
        &["get-peers", "http://x/offsystem/v9"],
    ] {
        net.run(bad).exits(2);
    }
}

/// A URL as `put` prints it.
fn url() -> (String, BlockId) {
    let place = Place::new();
    let url = place.put("home", &place.file("in.bin", 300_000));
    let descriptor = OffUrl::parse(&url).unwrap().descriptor().unwrap();
    (url, descriptor)
}

/// The value and the salt of a record, put with the key of the URL as a file.
fn put_record(net: &Net, descriptor: &BlockId, infohash: InfoHash, seq: u64) {
    let unix = offswarm::swarm::announce::dht::unix();
    let item = record_item(descriptor, &Record { infohash, blocks: 9 }, unix).unwrap();
    let seed = offswarm::id::derived_seed("offswarm item 1", descriptor);
    let file = net.place.path("record-key");
    fs::write(&file, data_encoding::HEXLOWER.encode(&seed)).unwrap();
    let salt = String::from_utf8(item.salt().to_vec()).unwrap();
    let (file, seq) = (file.to_str().unwrap(), seq.to_string());
    let args = ["put", "-", "--bencode", "--key-file", file, "--salt", &salt, "--seq", &seq];
    let ran = put_from_stdin(net, &args, item.value().as_bytes());
    assert_eq!(objects(&ran)[0]["target"], item.target().to_string());
}

fn put_from_stdin(net: &Net, args: &[&str], value: &[u8]) -> Ran {
    let mut command = net.command(args);
    command.arg("--json").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(value).unwrap();
    Ran(child.wait_with_output().unwrap()).ok()
}

#[test]
fn tells_where_the_peers_of_a_url_come_from() {
    let net = Net::of(3);
    let (url, descriptor) = url();
    net.run(&["get", &url]).exits(4).says(["no record of the OFF URL"]);
    let recorded = InfoHash::of(b"recorded");
    put_record(&net, &descriptor, recorded, 5);
    assert_eq!(net.run(&["get", &url]).ok().stdout(), format!("{recorded} 9 blocks\n"));
    let record = &net.json(&["get", &url])[0];
    assert_eq!((&record["blocks"], &record["seq"]), (&json!(9), &json!(5)));
    assert_eq!(record["signature"].as_str().map(str::len), Some(128));

    let hinted = format!("{url}&btih={INFOHASH}");
    let announced = net.json(&["announce", &hinted, "--port", "7001"]);
    let sources: Vec<&str> = announced.iter().map(|told| text(&told["source"])).collect();
    assert_eq!(sources, ["holders", "hint"]);
    assert_eq!(text(&announced[0]["infohash"]), url_swarm(&descriptor).to_string());
    net.run(&["announce", &recorded.to_string(), "--port", "7002"]).ok();

    let found = net.json(&["get-peers", &hinted]);
    let mut found: Vec<_> =
        found.iter().map(|told| (text(&told["source"]), text(&told["peer"]))).collect();
    found.sort_unstable();
    let (one, other) = ("127.0.0.1:7001", "127.0.0.1:7002");
    assert_eq!(found, [("hint", one), ("holders", one), ("record", other)]);
    let lines = net.run(&["get-peers", &hinted]).ok().stdout();
    assert_eq!(lines.lines().count(), 2, "each once: {lines}");
}

#[test]
fn keeps_a_value_that_names_itself() {
    let net = Net::of(3);
    let kept = &net.json(&["put", "Hello World!"])[0];
    let target = "e5f96f6f38320f0f33959cb4d3d656452117aadb";
    assert_eq!((text(&kept["target"]), &kept["nodes"]), (target, &json!(3)));
    assert_eq!(kept["key"], Value::Null);
    assert_eq!(net.run(&["get", target]).ok().stdout(), "Hello World!\n");
    assert_eq!(net.run(&["get", target, "--raw"]).ok().stdout(), "12:Hello World!");
    let got = &net.json(&["get", target])[0];
    assert_eq!((&got["text"], got.get("seq")), (&json!("Hello World!"), None));

    let kept = put_from_stdin(&net, &["put", "--bencode"], b"d1:x2:\xff\x1be");
    let target = text(&objects(&kept)[0]["target"]).to_owned();
    assert_eq!(net.run(&["get", &target]).ok().stdout(), "d1:x2:\\xff\\x1be\n");
    assert_eq!(net.run(&["get", &target, "--raw"]).ok().0.stdout, b"d1:x2:\xff\x1be");
    net.run(&["get", INFOHASH]).exits(4).says(["the item was not found", "--salt"]);
}

#[test]
fn keeps_the_newest_version_under_a_key() {
    let net = Net::of(3);
    let file = net.place.path("key");
    let file = file.to_str().unwrap();
    let key_of = || objects(&net.place.run("asker", ["dht", "key", file, "--json"]).ok()).remove(0);
    let (made, again) = (key_of(), key_of());
    assert_eq!((&made["created"], &again["created"]), (&json!(true), &json!(false)));
    assert_eq!(made["key"], again["key"]);
    let key = text(&made["key"]).to_owned();
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);

    let put = |value, more: &[&str]| {
        net.run(&[&["put", value, "--key-file", file, "--json"], more].concat())
    };
    let first = &objects(&put("one", &[]).ok())[0];
    assert_eq!((text(&first["key"]), &first["seq"]), (key.as_str(), &json!(1)));
    let second = &objects(&put("two", &["--cas", "1"]).ok())[0];
    assert_eq!(second["seq"], 2);
    let got = &net.json(&["get", "--key", &key])[0];
    assert_eq!((text(&got["text"]), &got["seq"], text(&got["key"])), ("two", &json!(2), &*key));
    assert_eq!(net.run(&["get", text(&first["target"])]).ok().stdout(), "two\n");

    put("three", &["--cas", "1"]).exits(1).says(["error 301", "another version"]);
    put("three", &["--seq", "1"]).exits(1).says(["error 302", "give a higher --seq"]);
    put("last", &["--seq", &i64::MAX.to_string()]).ok();
    put("more", &[]).exits(1).says(["highest number", "use another --salt"]);

    let salted = &objects(&put("salted", &["--salt", "a"]).ok())[0];
    assert_ne!(salted["target"], first["target"]);
    assert_eq!(net.run(&["get", "--key", &key, "--salt", "a"]).ok().stdout(), "salted\n");
    net.run(&["get", text(&salted["target"])]).exits(4).says(["--salt"]);
    net.run(&["get", text(&salted["target"]), "--salt", "a"]).ok();
    net.run(&["get", "--key", &key, "--salt", "b"]).exits(4);
}

/// Nothing is sent: there is nobody to send it to.
#[test]
fn refuses_what_no_node_takes_before_anything_is_sent() {
    let place = Place::new();
    fs::write(place.path("bad-key"), "77".repeat(31)).unwrap();
    fs::write(place.path("key"), format!("{}\n", "77".repeat(32))).unwrap();
    let (long, salt) = ("x".repeat(997), "x".repeat(65));
    for (args, why) in [
        (&["put", long.as_str()][..], "1001 bytes"),
        (&["put", "hello", "--bencode"], "not bencode"),
        (&["put", "x", "--key-file", "key", "--salt", &salt], "65 bytes"),
        (&["get", INFOHASH, "--salt", &salt], "65 bytes"),
        (&["put", "x", "--key-file", "bad-key"], "no key of 64 hex digits"),
        (&["put", "x", "--salt", "a"], "--key-file"),
        (&["put", "x", "--cas", "1"], "--key-file"),
        (&["put", "x", "--key-file", "key", "--seq=-1"], "--seq"),
        (&["get"], "TARGET"),
        (&["get", "0123"], "cannot read the target"),
        (&["get", "--key", "0123"], "--key"),
        (&["get", INFOHASH, "--key", &"77".repeat(32)], "cannot be used with"),
    ] {
        let ran = Ran(command(&place, "asker", NOBODY, args).output().unwrap());
        ran.exits(2).says([why]);
    }
    let missing = ["put", "x", "--key-file", "missing"];
    let ran = Ran(command(&place, "asker", NOBODY, &missing).output().unwrap());
    ran.exits(1).says(["missing", "dht key"]);
}

/// The whole wait is that for one answer, and it ends with a reason.
#[test]
fn says_that_nobody_let_it_in() {
    let place = Place::new();
    let silent = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    let [one, other] = silent.each_ref().map(|socket| socket.local_addr().unwrap().to_string());
    let args = ["get-peers", INFOHASH, "--json", "--dht-bootstrap", &other];
    let started = Instant::now();
    let ran = Ran(command(&place, "asker", &one, &args).output().unwrap()).exits(4);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    let error: Value = serde_json::from_str(&ran.stderr()).unwrap();
    assert_eq!(error["error"]["code"], 4);
    assert_eq!(
        text(&error["error"]["message"]),
        "cannot join the DHT: 2 nodes were asked, and none answered"
    );
    let args = ["find-node", "--timeout", "100ms"];
    let ran = Ran(command(&place, "asker", &one, &args).output().unwrap());
    ran.exits(4).says(["cannot join the DHT in time"]);
    assert!(!place.path("asker").exists(), "who only asks makes no home");

    let args = ["status", "--json"];
    let ran = Ran(command(&place, "asker", &one, &args).output().unwrap()).exits(4);
    let status = &objects(&ran)[0];
    assert_eq!(
        (&status["networks"][0]["joined"], &status["remembered"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(status["networks"][0]["asked"], 1);
}

#[test]
fn interrupting_ends_the_wait() {
    let place = Place::new();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let mut child = command(&place, "asker", &address, &["get-peers", INFOHASH]).spawn().unwrap();
    // It has asked, so it watches for signals.
    silent.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    silent.recv_from(&mut [0; 2_000]).unwrap();
    kill("INT", child.id());
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn status_says_how_it_stands_and_remembers_the_nodes() {
    let net = Net::of(3);
    let status = &net.json(&["status", "--listen", "127.0.0.1"])[0];
    let network = &status["networks"][0];
    assert_eq!(status["remembered"], true);
    assert_eq!((text(&network["family"]), &network["joined"]), ("ipv4", &json!(true)));
    assert_eq!((&network["good"], &network["bad"]), (&json!(3), &json!(0)));
    assert_eq!(network["native_nodes"].as_array().map(Vec::len), Some(3));
    assert!(net.place.path("asker/dht.state").is_file());
    assert!(!net.place.path("asker/store").exists(), "it needs no store");

    // The nodes are enough to get in by the next time, under the same id.
    let ran = Ran(command(&net.place, "asker", NOBODY, &["status", "--json"]).output().unwrap());
    let again = &objects(&ran.ok())[0]["networks"][0];
    assert_eq!((&again["id"], &again["good"]), (&network["id"], &json!(3)));
    let ran = Ran(command(&net.place, "asker", NOBODY, &["find-node"]).output().unwrap());
    assert_eq!(ran.ok().stdout().lines().count(), 3);
    let lines = net.run(&["status"]).ok().stdout();
    assert!(lines.starts_with("network   ipv4\njoined    yes\nid        "), "{lines}");
}

#[test]
fn works_beside_a_process_that_has_the_home() {
    let net = Net::of(2);
    net.run(&["status"]).ok();
    let state = net.place.path("asker/dht.state");
    let before = fs::read(&state).unwrap();
    let held = Home::open(&net.place.path("asker")).unwrap();
    let status = &net.json(&["status"])[0];
    assert_eq!((&status["remembered"], &status["networks"][0]["good"]), (&json!(false), &json!(2)));
    net.run(&["put", "x"]).ok();
    assert_eq!(fs::read(&state).unwrap(), before);
    drop(held);
    // A node that stays answers who asks with its home.
    let node = &net.nodes[1];
    let args = ["find-node", "--dht-bootstrap", &node.address];
    let ran = Ran(command(&net.place, "node-1", NOBODY, &args).output().unwrap()).ok();
    assert_eq!(ran.stdout().lines().count(), 2);
}

/// Who knows the way needs nobody to show it.
#[test]
fn a_node_comes_back_by_the_nodes_it_knew() {
    let mut net = Net::of(3);
    let id = |node: &mut Node, good| text(&node.wait_for(good)["networks"][0]["id"]).to_owned();
    let mut last = net.nodes.pop().unwrap();
    let before = id(&mut last, 2);
    assert_eq!(last.stop(), Some(0));
    let mut again = Node::start(&net.place, "node-2", NOBODY);
    assert_eq!(id(&mut again, 2), before);
    // A second node in its home is another one.
    let mut second = Node::start(&net.place, "node-2", NOBODY);
    assert_ne!(id(&mut second, 2), before);
    kill("INT", second.child.id());
    assert_eq!(second.child.wait().unwrap().code(), Some(130));
}

#[test]
fn serve_prints_where_it_listens_at_once() {
    let place = Place::new();
    let args = ["serve", "--listen", "127.0.0.1:0", "-q"];
    let mut child = command(&place, "node", NOBODY, &args).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let address = line.trim().to_owned();
    Ran(command(&place, "asker", NOBODY, &["ping", &address]).output().unwrap()).ok();
    let args = ["serve", "--listen", &address];
    let ran = Ran(command(&place, "node", NOBODY, &args).output().unwrap());
    ran.exits(1).says(["cannot listen for DHT nodes", &address]);
    kill("TERM", child.id());
    assert!(child.wait().unwrap().success());
    line.clear();
    stdout.read_to_string(&mut line).unwrap();
    assert_eq!(line, "");
}

/// Whoever says `dht` wants it.
#[test]
fn other_commands_staying_out_of_the_dht_is_not_looked_at() {
    let net = Net::of(1);
    let mut command = net.command(&["find-node"]);
    Ran(command.env("OFFSWARM_NO_DHT", "true").output().unwrap()).ok();
    net.run(&["find-node", "--no-dht"]).exits(2);
    fs::create_dir(net.place.path("asker")).unwrap();
    fs::write(net.place.path("asker/config.toml"), "[dht]\nenabled = false\n").unwrap();
    net.run(&["find-node"]).ok();
    assert!(!net.place.path("asker/dht.state").exists(), "there is no home");
}

#[test]
fn the_manual_has_the_commands_within_commands() {
    let place = Place::new();
    let page = place.run("home", ["man"]).ok().stdout();
    assert!(
        page.contains(".SH \"COMMAND DHT GET\\-PEERS\"") || page.contains("COMMAND DHT GET-PEERS")
    );
    assert!(page.contains("dht\\-bootstrap"), "its flags are there");
}
