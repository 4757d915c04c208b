//! `offswarm legacy peer`, `ask` and `id`, and a daemon that answers js-offs nodes.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use offswarm::legacy::peer::LegacyPeer;
use serde_json::Value;

use crate::daemon::Daemon;
use crate::program::{Place, Ran};

use super::node::{Habit, Node};
use super::{blocks, json, vectors};

fn lines(ran: &Ran) -> Vec<Value> {
    ran.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn url(name: &str) -> String {
    let manifest = json(&vectors().join("manifest.json"));
    let all = manifest["vectors"].as_array().unwrap();
    let found = all.iter().find(|vector| vector["name"] == name).unwrap();
    found["url"].as_str().unwrap().to_owned()
}

fn minis(node: &Node) {
    node.has(2, blocks("mini").into_iter().map(|(id, bytes)| (id.as_bytes().to_vec(), bytes)));
}

/// A daemon that answers js-offs nodes, and its locator.
fn answering(place: &Place, home: &str, more: &[&str]) -> (Daemon, LegacyPeer) {
    let mut command = place.command(home, ["serve", "--json", "--no-http", "--legacy"]);
    command.args(["--legacy-listen", "127.0.0.1:0"]).args(more);
    let daemon = Daemon::spawn(command);
    let address: SocketAddr = daemon.ready["legacy"].as_str().unwrap().parse().unwrap();
    let locator = place.run(home, ["legacy", "id"]).ok().stdout();
    let peer = LegacyPeer::parse(locator.trim()).unwrap();
    assert_eq!(peer.external, address);
    (daemon, peer)
}

#[test]
fn a_file_is_got_of_a_node_that_was_named_once() {
    let place = Place::new();
    let node = Node::start(7, Habit::Honest, Duration::ZERO);
    minis(&node);
    let locator = node.peer.locator();
    let added = place.run("a", ["--json", "legacy", "peer", "add", &locator]).ok();
    assert_eq!(lines(&added)[0]["answers"], true);
    let got = place.run("a", ["--json", "get", &url("len-20001"), "-o", "out"]).ok();
    let told = &lines(&got)[0];
    assert_eq!((&told["blocks_swarm"], &told["blocks_native"]), (&0.into(), &0.into()));
    assert!(told["blocks_legacy"].as_u64().unwrap() > 40, "{told}");
    assert!(told["bytes_legacy"].as_u64().unwrap() > 40_000, "{told}");
    assert_eq!(fs::metadata(place.path("out")).unwrap().len(), 20_001);
    let listed = place.run("a", ["legacy", "peer", "ls"]).ok();
    assert!(listed.stdout().contains(&node.peer.id.to_string()), "{}", listed.stdout());
    place.run("a", ["legacy", "peer", "rm", &locator]).ok();
    place.run("a", ["legacy", "peer", "rm", &node.peer.id.to_string()]).exits(3);
    assert_eq!(place.run("a", ["legacy", "peer", "ls"]).ok().stdout(), "");
}

#[test]
fn a_node_that_does_not_answer_is_remembered_and_that_is_said() {
    let place = Place::new();
    let gone = Node::start(7, Habit::Honest, Duration::ZERO).peer;
    let gone = LegacyPeer { external: "127.0.0.1:9".parse().unwrap(), ..gone };
    place
        .run("a", ["legacy", "peer", "add", &gone.locator()])
        .exits(3)
        .says(["cannot connect to the js-offs node at 127.0.0.1:9"]);
    place.run("a", ["legacy", "peer", "add", "--no-ping", &gone.locator()]).ok();
    let got = place.run("a", ["get", &url("len-100"), "--timeout", "4s"]);
    got.exits(4).says(["1 js-offs node (0 answered)"]);
}

#[test]
fn who_knows_no_node_is_told_how_to_name_one() {
    let place = Place::new();
    let hint = "legacy peer add";
    place.run("a", ["get", &url("len-100"), "--timeout", "4s"]).exits(4).says([hint]);
    let offline = place.run("a", ["get", &url("len-100"), "--offline"]).exits(4);
    assert!(!offline.stderr().contains(hint), "{}", offline.stderr());
}

#[test]
fn what_is_no_locator_is_refused_with_the_reason() {
    let place = Place::new();
    for (text, why) in [("0", "not base58"), ("abc", "not CBOR")] {
        place.run("a", ["legacy", "peer", "add", text]).exits(2).says([why]);
        place.run("a", ["legacy", "ask", text, "ping"]).exits(2).says([why]);
    }
    let unknown = "J3HPjqsWqhPUiPTqgDLr2qbmJnK3jWYJEeQ8wxoKq4Kr";
    place.run("a", ["legacy", "ask", unknown, "ping"]).exits(2).says(["no node of that id"]);
}

#[test]
fn the_locator_is_made_of_the_id_that_stays() {
    let place = Place::new();
    let id = place.run("a", ["legacy", "id"]).ok().stdout();
    let locator = place.run("a", ["legacy", "id", "--address", "203.0.113.5:8200"]).ok().stdout();
    let peer = LegacyPeer::parse(locator.trim()).unwrap();
    assert_eq!(
        (peer.id.to_string(), peer.external.to_string()),
        (id.trim().to_owned(), "203.0.113.5:8200".to_owned())
    );
    assert_eq!(place.run("a", ["legacy", "id"]).ok().stdout(), id);
    fs::write(place.path("a").join("legacy.id"), "nonsense").unwrap();
    place.run("a", ["legacy", "id"]).exits(1).says(["legacy.id", "delete the file"]);
}

#[test]
fn a_daemon_answers_every_question() {
    let place = Place::new();
    place.file("file", 2_500);
    let url = place.run("a", ["put", "--v3", place.path("file").to_str().unwrap()]).ok().stdout();
    let (daemon, peer) = answering(&place, "a", &[]);
    let locator = peer.locator();
    let ask =
        |question: &[&str]| place.run("b", ["legacy", "ask", &locator].iter().chain(question));
    ask(&["ping"]).ok();
    assert_eq!(ask(&["find-node"]).ok().stdout(), "", "nobody else is known");
    let parts: Vec<&str> = url.trim().split('/').collect();
    let descriptor = parts[parts.len() - 2];
    ask(&["ping-value", descriptor, "--class", "mini"]).ok();
    ask(&["ping-value", descriptor, "--class", "nano"]).exits(4);
    for how in ["is here now", "was here"] {
        let found = ask(&["find-value", descriptor, "--class", "mini"]).ok().stdout();
        assert!(found.contains(how), "{found}");
    }
    ask(&["find-value", &peer.id.to_string(), "--class", "mini"])
        .exits(4)
        .says(["does not have it"]);
    let full = ask(&["ping-storage", "--class", "block"]).ok();
    assert!(full.stdout().starts_with("0 percent"), "{}", full.stdout());
    // Three off blocks, four randomizers and the descriptor, which has come; then no other.
    for _ in 0..7 {
        ask(&["random", "--class", "mini"]).ok();
    }
    ask(&["random", "--class", "mini"]).exits(4).says(["has no other block"]);
    ask(&["random", "--class", "nano"]).exits(4);
    let status = place.run("a", ["status"]).ok().stdout();
    assert!(status.contains("legacy: running"), "{status}");
    // Whoever got all of its blocks so needs nobody any more.
    place.run("b", ["get", url.trim(), "--offline", "-o", "copy"]).ok();
    assert!(fs::read(place.path("copy")).unwrap() == fs::read(place.path("file")).unwrap());
    assert_eq!(daemon.signal("TERM"), Some(0));
}

#[test]
fn a_daemon_takes_a_place_among_js_offs_nodes_and_uses_them() {
    let place = Place::new();
    let node = Node::start(7, Habit::Honest, Duration::ZERO);
    minis(&node);
    let (_daemon, peer) = answering(&place, "a", &[]);
    place.run("a", ["legacy", "peer", "add", &node.peer.locator()]).ok();
    // It is called under our own id, and so learns of us.
    assert!(node.calls().iter().all(|(_, caller)| caller == peer.id.as_bytes()));
    place.run("a", ["get", &url("len-9999"), "-o", "out"]).ok();
    assert_eq!(fs::metadata(place.path("out")).unwrap().len(), 9_999);
}

#[test]
fn a_taken_port_is_told_at_once_and_the_service_is_off_unless_wanted() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let listen = ["serve", "--no-http", "--listen", "127.0.0.1:0", "--legacy-listen", &address];
    place
        .run("a", listen.iter().copied().chain(["--legacy"]))
        .exits(1)
        .says(["cannot answer js-offs nodes on", "--legacy-listen"]);
    let daemon = Daemon::spawn(place.command("a", listen.iter().copied().chain(["--json"])));
    assert_eq!(daemon.ready["legacy"], Value::Null);
    let status = place.run("a", ["status"]).ok().stdout();
    assert!(!status.contains("legacy:"), "{status}");
}
