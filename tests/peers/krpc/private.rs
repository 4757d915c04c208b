//! A DHT made of libtorrent alone, on loopback: `lt_dht.py`.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};

use crate::common::child::{Running, poll};
use crate::libtorrent::{event, python};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/lt_dht.py");

/// Nodes that know each other, each in a /24 of its own: 127.1.0.10, 127.2.0.10, ...
pub(crate) struct PrivateDht {
    running: Running,
    pub(crate) addresses: Vec<SocketAddr>,
}

impl PrivateDht {
    /// Starts so many nodes, and waits until each knows the others (or eight of them, as more need
    /// not have room in its table).
    pub(crate) fn of(nodes: usize) -> Self {
        let mut command = Command::new(python());
        command.arg(SCRIPT).args((1..=nodes).map(|k| format!("127.{k}.0.10:0")));
        let running = Running::start_obedient(&mut command);
        let listening = event(&running, "listening");
        let addresses = listening["addresses"].as_array().unwrap().iter();
        let addresses = addresses.map(|address| address.as_str().unwrap().parse().unwrap());
        let dht = Self { addresses: addresses.collect(), running };
        dht.introduce();
        dht
    }

    fn introduce(&self) {
        let nodes = self.addresses.len();
        for node in 0..nodes {
            for address in self.addresses.iter().filter(|at| **at != self.addresses[node]) {
                self.tell(node, "add_node", json!({ "address": address.to_string() }));
            }
        }
        for node in 0..nodes {
            poll("a node to know the others", || {
                (self.nodes_known_to(node) >= (nodes - 1).min(8)).then_some(())
            });
        }
    }

    pub(crate) fn nodes_known_to(&self, node: usize) -> usize {
        self.tell(node, "state", json!({}));
        usize::try_from(self.event("state")["nodes"].as_u64().unwrap()).unwrap()
    }

    /// Gives a node an order, as the script describes them.
    pub(crate) fn tell(&self, node: usize, what: &str, mut order: Value) {
        order["node"] = node.into();
        order["do"] = what.into();
        self.running.tell(&order.to_string());
    }

    /// Waits for an event, and says what peers were found before it, if any.
    fn peers_told_before(&self, name: &str) -> Option<Value> {
        let found = RefCell::new(None);
        self.running.line_with(name, |line| {
            let mut told: Value = serde_json::from_str(line).unwrap();
            if told["event"] == "peers" {
                found.replace(Some(told["peers"].take()));
            }
            (told["event"] == name).then_some(())
        });
        found.into_inner()
    }

    /// Waits for an event; what comes before it is let go.
    pub(crate) fn event(&self, name: &str) -> Value {
        event(&self.running, name)
    }
}

#[test]
fn what_one_node_puts_another_gets() {
    let dht = PrivateDht::of(4);
    dht.tell(0, "put_immutable", json!({ "value": "Hello World!" }));
    let target = dht.event("put")["target"].take();
    assert_eq!(target, "e5f96f6f38320f0f33959cb4d3d656452117aadb");
    dht.tell(1, "get_immutable", json!({ "target": target }));
    assert_eq!(dht.event("immutable")["value"], "Hello World!");

    let seed = "11".repeat(32);
    dht.tell(0, "put_mutable", json!({ "seed": seed, "salt": "off1", "value": "here" }));
    let key = dht.event("put")["key"].take();
    assert_eq!(key, "d04ab232742bb4ab3a1368bd4615e4e6d0224ab71a016baf8520a332c9778737");
    dht.tell(1, "get_mutable", json!({ "key": key, "salt": "off1" }));
    assert_eq!(dht.event("mutable")["value"], "here");
}

#[test]
fn what_one_node_announces_another_finds() {
    let dht = PrivateDht::of(4);
    let infohash = "22".repeat(20);
    dht.tell(0, "announce", json!({ "infohash": infohash }));
    let peers = poll("the announced peer", || {
        dht.tell(1, "get_peers", json!({ "infohash": infohash }));
        // The answer to this comes once the same nodes were asked the same way.
        dht.tell(1, "get_immutable", json!({ "target": infohash }));
        dht.peers_told_before("immutable")
    });
    assert_eq!(peers, json!([dht.addresses[0].to_string()]));
}
