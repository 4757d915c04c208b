//! qBittorrent without its window, steered by its web API.
//!
//! <https://github.com/qbittorrent/qBittorrent/wiki/WebUI-API-(qBittorrent-4.1)>

use std::process::Command;

use serde_json::Value;

use crate::common::child::{Running, poll};
use crate::journey::Link;
use crate::net::Machine;
use crate::programs::program;

use super::{Client, Desk, PEER_PORT, STEER_PORT, Task, version_in};

pub(crate) struct QBittorrent {
    _running: Running,
    machine: Machine,
}

impl Client for QBittorrent {
    const NAME: &str = "qBittorrent";
    const CAN_BE_TOLD_PEERS: bool = true;

    fn version() -> String {
        version_in(Command::new(program("qbittorrent-nox", "qbittorrent-nox")).arg("--version"))
    }

    fn join(desk: &Desk, task: &Task) -> Self {
        desk.write("qBittorrent/config/qBittorrent.conf", &settings(desk));
        let mut command = desk.command(&program("qbittorrent-nox", "qbittorrent-nox"));
        command.arg(format!("--profile={}", desk.state().display()));
        let running = Running::start(&mut command);
        let client = Self { _running: running, machine: desk.machine.clone() };
        poll("qBittorrent to answer", || client.call("app/version", &[]));
        let what = match desk.link_to_entry(&task.link) {
            Link::Torrent(path) => format!("torrents=@{}", path.display()),
            Link::Magnet(link) => format!("urls={link}"),
        };
        let added = client.call("torrents/add", &["--form", &what]);
        assert_eq!(added.as_deref(), Some("Ok."));
        poll("qBittorrent to have added the torrent", || client.torrent().map(drop));
        for peer in &task.peers {
            let hashes = format!("hashes={}", task.infohash);
            let peers = format!("peers={peer}");
            client.call("torrents/addPeers", &["--data", &hashes, "--data", &peers]).unwrap();
        }
        client
    }

    fn wait_for_metadata(&self) {
        poll("qBittorrent to have the metadata", || (self.state()? != "metaDL").then_some(()));
    }

    fn wait_until_complete(&self) {
        poll("qBittorrent to be complete", || {
            let state = self.state()?;
            assert!(!["error", "missingFiles"].contains(&state.as_str()), "{state}");
            ["uploading", "stalledUP", "forcedUP"].contains(&state.as_str()).then_some(())
        });
    }
}

impl QBittorrent {
    fn torrent(&self) -> Option<Value> {
        let torrents = self.call("torrents/info", &[])?;
        let mut torrents: Value = serde_json::from_str(&torrents).unwrap();
        torrents.get_mut(0).map(Value::take)
    }

    fn state(&self) -> Option<String> {
        Some(self.torrent()?["state"].as_str()?.to_owned())
    }

    fn call(&self, method: &str, args: &[&str]) -> Option<String> {
        let url = format!("http://127.0.0.1:{STEER_PORT}/api/v2/{method}");
        self.machine.curl([&["--fail", &url], args].concat())
    }
}

fn settings(desk: &Desk) -> String {
    format!(
        r"[BitTorrent]
Session\AddExtensionToIncompleteFiles=false
Session\BTProtocol=TCP
Session\DHTEnabled={dht}
Session\DefaultSavePath={content}
Session\Interface=cable
Session\InterfaceAddress={ip}
Session\LSDEnabled=false
Session\PeXEnabled=false
Session\Port={PEER_PORT}
Session\QueueingSystemEnabled=false

[LegalNotice]
Accepted=true

[Network]
PortForwardingEnabled=false

[Preferences]
WebUI\Address=127.0.0.1
WebUI\LocalHostAuth=false
WebUI\Port={STEER_PORT}
WebUI\UseUPnP=false
",
        content = desk.content().display(),
        dht = desk.has_dht(),
        ip = desk.address().ip(),
    )
}
