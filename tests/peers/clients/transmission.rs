//! Transmission, steered by its JSON RPC.
//!
//! It has no way to be told a peer, and it ignores loopback addresses.
//! <https://github.com/transmission/transmission/blob/3.00/extras/rpc-spec.txt>

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use serde_bencode::value::Value as Bencode;
use serde_json::{Value, json};

use crate::common::child::{Running, poll};
use crate::journey::Link;
use crate::net::Machine;
use crate::programs::program;
use crate::stage::{Size, Stage};

use super::{CANNOT_BE_TOLD_PEERS, Client, Desk, PEER_PORT, STEER_PORT, Task, version_in};

/// Of a torrent's `status`.
const SEEDING: u64 = 6;

/// What its answers call the token that each request must carry.
const TOKEN: &str = "X-Transmission-Session-Id: ";

pub(crate) struct Transmission {
    _running: Running,
    machine: Machine,
    token: String,
}

impl Client for Transmission {
    const NAME: &str = "Transmission";
    const CAN_BE_TOLD_PEERS: bool = false;
    const REMARK: &str = CANNOT_BE_TOLD_PEERS;

    fn version() -> String {
        let daemon = program("transmission-daemon", "transmission-daemon");
        version_in(Command::new(daemon).arg("--version"))
    }

    fn join(desk: &Desk, task: &Task) -> Self {
        desk.write("settings.json", &settings(desk).to_string());
        if let Some(dht) = &desk.dht {
            fs::write(desk.state().join("dht.dat"), remembered(&dht.entries)).unwrap();
        }
        let mut command = desk.command(&program("transmission-daemon", "transmission-daemon"));
        command.args(["--foreground", "--log-error", "--config-dir"]).arg(desk.state());
        let running = Running::start(&mut command);
        let token = poll("Transmission to answer", || {
            let refusal = desk.machine.curl([url()])?;
            let rest = refusal.split_once(TOKEN)?.1;
            Some(format!("{TOKEN}{}", rest.split('<').next()?))
        });
        let client = Self { _running: running, machine: desk.machine.clone(), token };
        let what = match &task.link {
            Link::Torrent(path) => path.to_str().unwrap(),
            Link::Magnet(link) => link,
        };
        let added = client.ask("torrent-add", &json!({ "filename": what }));
        assert_eq!(added["result"], "success", "{added}");
        client
    }

    fn wait_for_metadata(&self) {
        poll("Transmission to have the metadata", || {
            (self.torrent()["metadataPercentComplete"] == 1.0).then_some(())
        });
    }

    fn wait_until_complete(&self) {
        poll("Transmission to be complete", || {
            let torrent = self.torrent();
            assert_eq!(torrent["error"], 0, "{torrent}");
            (torrent["percentDone"] == 1.0 && torrent["status"] == SEEDING).then_some(())
        });
    }
}

impl Transmission {
    fn torrent(&self) -> Value {
        let fields = ["metadataPercentComplete", "percentDone", "status", "error", "errorString"];
        let mut answer = self.ask("torrent-get", &json!({ "fields": fields }));
        answer["arguments"]["torrents"][0].take()
    }

    fn ask(&self, method: &str, arguments: &Value) -> Value {
        let request = json!({ "method": method, "arguments": arguments }).to_string();
        let answer = self.machine.curl(["--header", &self.token, "--data", &request, &url()]);
        let answer = answer.expect("an answer of Transmission");
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error} in {answer}"))
    }
}

fn url() -> String {
    format!("http://127.0.0.1:{STEER_PORT}/transmission/rpc")
}

/// The nodes that it knew when it ran last. It asks them sooner than those in `dht.bootstrap`.
fn remembered(nodes: &[SocketAddr]) -> Vec<u8> {
    let nodes = nodes.iter().flat_map(|node| {
        let IpAddr::V4(ip) = node.ip() else { panic!("an address of a network of ours") };
        [&ip.octets()[..], &node.port().to_be_bytes()].concat()
    });
    let (id, nodes) = (rand::random::<[u8; 20]>(), nodes.collect::<Vec<_>>());
    let entries = [("id", id.to_vec()), ("nodes", nodes)];
    let entries = entries.map(|(key, bytes)| (key.into(), Bencode::Bytes(bytes)));
    serde_bencode::to_bytes(&Bencode::Dict(entries.into())).unwrap()
}

fn settings(desk: &Desk) -> Value {
    json!({
        "bind-address-ipv4": desk.address().ip(),
        "bind-address-ipv6": "::1",
        "dht-enabled": desk.has_dht(),
        "download-dir": desk.content(),
        "lpd-enabled": false,
        "peer-port": PEER_PORT,
        "pex-enabled": false,
        "port-forwarding-enabled": false,
        "rpc-bind-address": "127.0.0.1",
        "rpc-port": STEER_PORT,
        "utp-enabled": false,
    })
}

/// When it has the metadata it hangs up, to check what it has of the file, and then waits to be
/// found: whoever was told to dial it has to dial it again.
#[test]
fn transmission_downloads_by_magnet_link_when_it_is_only_dialled() {
    let stage = Stage::new(Size::SMALL);
    let desk = Desk::new(&stage.net.theirs);
    let client = Transmission::join(&desk, &stage.by_magnet(&[]));
    let _seeder = stage.seed(&[desk.address()]);
    client.wait_until_complete();
}
