//! Deluge's daemon, steered by its RPC; `deluge_client.py` speaks it.

use std::process::Command;

use serde_json::{Value, json};

use crate::common::child::Running;
use crate::journey::Link;
use crate::libtorrent::{event, python};
use crate::programs::program;

use super::{Client, Desk, PEER_PORT, STEER_PORT, Task, version_in};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/deluge_client.py");

/// Who may steer it: name, password, and level, which is all.
const AUTH: &str = "matrix:matrix:10\n";

pub(crate) struct Deluge {
    _daemon: Running,
    steering: Running,
}

impl Client for Deluge {
    const NAME: &str = "Deluge";
    const CAN_BE_TOLD_PEERS: bool = true;

    fn version() -> String {
        version_in(Command::new(program("deluged", "deluged")).arg("--version"))
    }

    fn join(desk: &Desk, task: &Task) -> Self {
        desk.write("auth", AUTH);
        desk.write("core.conf", &format!("{}{}", json!({"file": 1, "format": 1}), settings(desk)));
        let port = STEER_PORT.to_string();
        let mut daemon = desk.command(&program("deluged", "deluged"));
        daemon.args(["--do-not-daemonize", "--loglevel", "error", "--port", &port]);
        daemon.args(["--ui-interface", "127.0.0.1", "--config"]).arg(desk.state());
        let daemon = Running::start(&mut daemon);

        let mut steering = desk.command(&python());
        steering.args([SCRIPT, "--port", &port]);
        match desk.link_to_entry(&task.link) {
            Link::Torrent(path) => steering.arg("--torrent").arg(path),
            Link::Magnet(link) => steering.arg("--magnet").arg(link),
        };
        for peer in &task.peers {
            steering.arg("--peer").arg(peer.to_string());
        }
        let steering = Running::start(&mut steering);
        event(&steering, "added");
        Self { _daemon: daemon, steering }
    }

    fn wait_for_metadata(&self) {
        event(&self.steering, "metadata");
    }

    fn wait_until_complete(&self) {
        event(&self.steering, "complete");
    }
}

fn settings(desk: &Desk) -> Value {
    let ip = desk.address().ip();
    json!({
        "daemon_port": STEER_PORT,
        "dht": desk.has_dht(),
        "download_location": desk.content(),
        "geoip_db_location": "",
        "listen_interface": ip,
        "listen_ports": [PEER_PORT, PEER_PORT],
        "lsd": false,
        "natpmp": false,
        "new_release_check": false,
        "outgoing_interface": ip,
        "random_port": false,
        "send_info": false,
        "upnp": false,
        "utpex": false,
    })
}
