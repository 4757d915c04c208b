//! The program as a node that others ask, and as one that asks.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::process::Output;

use serde_json::Value;

use crate::clients::PEER_PORT;
use crate::common::Home;
use crate::common::child::Running;
use crate::journey::text;
use crate::net::Machine;

use super::ours::queries;

/// Who is told no node is told this one, as else it would look for those that all the world knows.
const NOBODY: ([u8; 4], u16) = ([127, 0, 0, 1], 9);

const PATIENCE: &str = "60s";

/// `offswarm dht serve`, at the port where clients listen, too. It logs all datagrams.
pub(super) struct Served {
    _running: Running,
    home: Home,
    pub(super) address: SocketAddr,
}

impl Served {
    pub(super) fn start(machine: &Machine, entry: Option<SocketAddr>) -> Self {
        let home = Home::new();
        let address = machine.at(PEER_PORT);
        let mut command = home.offswarm(["--json", "--log", "offswarm::krpc=trace"]);
        command.args(["dht", "serve", "--listen", &address.to_string(), "--dht-bootstrap"]);
        command.arg(entry.unwrap_or(NOBODY.into()).to_string()).env("NO_COLOR", "1");
        let mut command = machine.adopt(&command);
        let running = Running::start(command.stderr(File::create(home.beside("log")).unwrap()));
        let told: Value = serde_json::from_str(&running.line()).unwrap();
        assert_eq!(told["listen"][0], address.to_string());
        Self { _running: running, home, address }
    }

    /// Whether an address has asked it this.
    pub(super) fn was_asked(&self, method: &str, by: SocketAddr) -> bool {
        let log = fs::read(self.home.beside("log")).unwrap();
        queries(&text(&log), "received from=", method).contains(&by)
    }

    /// Whether it has asked an address this.
    pub(super) fn has_asked(&self, method: &str, whom: SocketAddr) -> bool {
        let log = fs::read(self.home.beside("log")).unwrap();
        queries(&text(&log), "sent to=", method).contains(&whom)
    }
}

/// Asks by `offswarm dht`, and remembers nothing.
pub(super) struct Asker {
    pub(super) machine: Machine,
}

impl Asker {
    /// Pings a node.
    pub(super) fn ping(&self, node: SocketAddr) -> Value {
        self.run(&["ping", &node.to_string()]).remove(0)
    }

    /// What it is told who knows one node.
    pub(super) fn ask(&self, entry: SocketAddr, what: &[&str]) -> Vec<Value> {
        self.run(&[what, &["--dht-bootstrap", &entry.to_string()]].concat())
    }

    /// The same, if it is told anything.
    pub(super) fn try_ask(&self, entry: SocketAddr, what: &[&str]) -> Option<Vec<Value>> {
        let ran = self.output(&[what, &["--dht-bootstrap", &entry.to_string()]].concat());
        ran.status.success().then(|| lines(&ran))
    }

    fn run(&self, what: &[&str]) -> Vec<Value> {
        let ran = self.output(what);
        assert!(ran.status.success(), "{what:?}: {}", text(&ran.stderr));
        lines(&ran)
    }

    fn output(&self, what: &[&str]) -> Output {
        let home = Home::new();
        let mut command = home.offswarm(["--json", "dht"]);
        let mut ran = self.machine.adopt(command.args(what).args(["--timeout", PATIENCE]));
        ran.output().unwrap()
    }
}

fn lines(ran: &Output) -> Vec<Value> {
    text(&ran.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Whether one of the answers has this address at a key.
pub(super) fn names(answers: &[Value], key: &str, address: SocketAddr) -> bool {
    answers.iter().any(|answer| answer[key] == address.to_string())
}
