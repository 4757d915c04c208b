//! libtorrent (rasterbar), through its Python binding.

use std::net::SocketAddr;
use std::process::Command;

use crate::common::child::Running;
use crate::journey::Link;
use crate::libtorrent::{SCRIPT, event, python};

use super::{Client, Desk, Task, version_in};

pub(crate) struct Libtorrent {
    running: Running,
}

impl Libtorrent {
    /// Waits for the next one who has connected to it.
    pub(crate) fn wait_for_a_caller(&self) -> SocketAddr {
        event(&self.running, "called")["by"].as_str().unwrap().parse().unwrap()
    }
}

impl Client for Libtorrent {
    const NAME: &str = "libtorrent";
    const CAN_BE_TOLD_PEERS: bool = true;

    fn version() -> String {
        let script = "import libtorrent; print(libtorrent.version)";
        version_in(Command::new(python()).args(["-c", script]))
    }

    fn join(desk: &Desk, task: &Task) -> Self {
        let mut command = desk.command(&python());
        command.arg(SCRIPT).arg("--folder").arg(desk.content());
        command.arg("--listen").arg(desk.address().to_string());
        if desk.has_dht() {
            command.arg("--dht");
        }
        if let Some(entry) = desk.entry() {
            command.arg("--node").arg(entry.to_string());
        }
        match &task.link {
            Link::Torrent(path) => command.arg("--torrent").arg(path),
            Link::Magnet(link) => command.arg("--magnet").arg(link),
        };
        for peer in &task.peers {
            command.arg("--peer").arg(peer.to_string());
        }
        let running = Running::start(&mut command);
        event(&running, "listening");
        Self { running }
    }

    fn wait_for_metadata(&self) {
        event(&self.running, "metadata");
    }

    fn wait_until_complete(&self) {
        event(&self.running, "complete");
    }
}
