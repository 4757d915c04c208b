//! aria2, steered by its JSON RPC.
//!
//! It has no way to be told a peer. <https://aria2.github.io/manual/en/html/aria2c.html>

use std::process::Command;

use serde_json::{Value, json};

use crate::common::child::{Running, poll};
use crate::journey::Link;
use crate::net::Machine;
use crate::programs::program;

use super::{CANNOT_BE_TOLD_PEERS, Client, Desk, PEER_PORT, STEER_PORT, Task, version_in};

const SETTINGS: &[&str] = &[
    "--no-conf=true",
    "--disable-ipv6=true",
    "--enable-dht6=false",
    "--bt-enable-lpd=false",
    "--enable-peer-exchange=false",
    "--enable-rpc=true",
    "--file-allocation=none",
    "--follow-torrent=mem",
    "--quiet=true",
    // No limit: it seeds until it is killed.
    "--seed-ratio=0.0",
    // It takes what is in the folder for what it wants once that is checked.
    "--check-integrity=true",
];

pub(crate) struct Aria2 {
    _running: Running,
    machine: Machine,
}

impl Client for Aria2 {
    const NAME: &str = "aria2";
    const CAN_BE_TOLD_PEERS: bool = false;
    const REMARK: &str = CANNOT_BE_TOLD_PEERS;

    fn version() -> String {
        version_in(Command::new(program("aria2c", "aria2")).arg("--version"))
    }

    fn join(desk: &Desk, task: &Task) -> Self {
        let mut command = desk.command(&program("aria2c", "aria2"));
        command
            .args(SETTINGS)
            .arg(format!("--interface={}", desk.address().ip()))
            .arg(format!("--listen-port={PEER_PORT}"))
            .arg(format!("--rpc-listen-port={STEER_PORT}"))
            .arg(format!("--dir={}", desk.content().display()));
        match &desk.dht {
            None => command.arg("--enable-dht=false"),
            Some(_) => command
                .arg("--enable-dht=true")
                .arg(format!("--dht-listen-port={PEER_PORT}"))
                .arg(format!("--dht-file-path={}", desk.state().join("dht.dat").display())),
        };
        command.args(desk.entry().map(|entry| format!("--dht-entry-point={entry}")));
        match &task.link {
            Link::Torrent(path) => command.arg(path),
            Link::Magnet(link) => command.arg(link),
        };
        let running = Running::start(&mut command);
        let client = Self { _running: running, machine: desk.machine.clone() };
        poll("aria2 to answer", || client.download());
        client
    }

    fn wait_for_metadata(&self) {
        poll("aria2 to have the metadata", || {
            let name = &self.download()?["bittorrent"]["info"]["name"];
            name.is_string().then_some(())
        });
    }

    fn wait_until_complete(&self) {
        poll("aria2 to be complete", || (self.download()?["seeder"] == "true").then_some(()));
    }
}

impl Aria2 {
    /// The download that runs: first that of the metadata, then that of the content.
    fn download(&self) -> Option<Value> {
        let request = json!({ "jsonrpc": "2.0", "id": "matrix", "method": "aria2.tellActive" });
        let url = format!("http://127.0.0.1:{STEER_PORT}/jsonrpc");
        let answer = self.machine.curl(["--data", &request.to_string(), &url])?;
        let mut answer: Value = serde_json::from_str(&answer).unwrap();
        answer["result"].get_mut(0).map(Value::take)
    }
}
