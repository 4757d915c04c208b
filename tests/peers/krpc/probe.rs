//! Who asks the nodes: `krpc_probe.py`, on a machine of its own.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use data_encoding::HEXLOWER;
use offswarm::krpc::contact::Contact;
use serde_bencode::value::Value;
use serde_json::{Value as Json, json};

use crate::common::child::{Running, poll};
use crate::libtorrent::python;
use crate::net::Machine;

use super::bencode::{bytes, decode, dict, encode, entry, int, with};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/krpc_probe.py");

/// Where it listens, on its machine.
const PORT: u16 = 7001;

/// How long a node has to answer that may not have begun to listen.
const SOON: Duration = Duration::from_millis(200);

/// A node that says nothing unless it is told to or asked. It knows no others.
pub(crate) struct Probe {
    running: Running,
    pub(crate) address: SocketAddr,
    id: [u8; 20],
    asked: AtomicU32,
}

impl Probe {
    pub(crate) fn start(machine: &Machine) -> Self {
        Self::start_at(machine, PORT, &[])
    }

    /// One that does not answer as a node of ours, and knows these others.
    pub(crate) fn stock(machine: &Machine, others: &[Contact]) -> Self {
        let mut nodes = Vec::new();
        for other in others {
            other.put(&mut nodes);
        }
        Self::start_at(machine, 0, &["--stock", "--nodes", &HEXLOWER.encode(&nodes)])
    }

    fn start_at(machine: &Machine, port: u16, args: &[&str]) -> Self {
        let mut command = machine.command(python());
        command.args([SCRIPT, "--listen", &machine.at(port).to_string()]);
        let id = rand::random::<[u8; 20]>();
        command.args(["--id", &HEXLOWER.encode(&id)]);
        let running = Running::start_obedient(command.args(args));
        let told: Json = serde_json::from_str(&running.line()).unwrap();
        let address = told["listening"].as_str().unwrap().parse().unwrap();
        Self { running, address, id, asked: AtomicU32::new(0) }
    }

    /// Waits until a node answers a ping. It asks from the node's own machine and as one that is
    /// asked nothing (BEP 43), so that the node hears of no others by this. (rTorrent, aria2 and
    /// Transmission do not know that, and keep a node that is gone for a while.)
    pub(crate) fn wait_for(machine: &Machine, node: SocketAddr) {
        let probe = Self::start_at(machine, 0, &[]);
        let ping = with(probe.query("ping", dict([])), "ro", int(1));
        poll(&format!("the node {node}"), || probe.order(node, &ping, Some(SOON)));
    }

    /// A query with the node's id and a transaction id of its own.
    pub(crate) fn query(&self, method: &str, arguments: Value) -> Value {
        let transaction = self.asked.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        dict([
            ("a", with(arguments, "id", bytes(self.id))),
            ("q", bytes(method)),
            ("t", bytes(&transaction[2..])),
            ("y", bytes("q")),
        ])
    }

    /// What a node answers to a message, if anything: it is none when the node answers later
    /// messages.
    pub(crate) fn ask(&self, node: SocketAddr, message: &Value) -> Option<Value> {
        self.order(node, message, None)
    }

    fn order(
        &self,
        node: SocketAddr,
        message: &Value,
        patience: Option<Duration>,
    ) -> Option<Value> {
        let datagram = HEXLOWER.encode(&encode(message));
        let mut order = json!({ "to": node.to_string(), "datagram": datagram });
        if let Some(patience) = patience {
            order["patience"] = patience.as_secs_f64().into();
        }
        let answer = self.obey(&order)["answer"].as_str().map(read)?;
        assert_eq!(entry(&answer, "t"), entry(message, "t"));
        Some(answer)
    }

    /// The queries of a method that have come in.
    pub(crate) fn heard(&self, method: &str) -> Vec<Value> {
        let heard = self.obey(&json!({ "heard": method }));
        heard["queries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|query| read(query.as_str().unwrap()))
            .collect()
    }

    fn obey(&self, order: &Json) -> Json {
        self.running.tell(&order.to_string());
        serde_json::from_str(&self.running.line()).unwrap()
    }
}

fn read(datagram: &str) -> Value {
    decode(&HEXLOWER.decode(datagram.as_bytes()).unwrap())
}
