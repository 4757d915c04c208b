//! Machines and wires between them, made of network namespaces.
//!
//! Some clients ignore peers on loopback addresses, and no two of them need agree about ports. So
//! a test gets a network of its own: `ours` and `theirs`, two namespaces that a virtual cable
//! joins, or any number of them at a virtual switch. There is no way out of them, neither a route nor another interface, and since each test
//! has its own, addresses and ports can be the same in all tests.
//!
//! The namespaces have no names. Each lives as long as the process that was started with it, which
//! the kernel ends together with the test, as it does all that runs in them: a test that is killed
//! leaves nothing to remove. Making them takes root.

use std::ffi::OsStr;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::common::child::Running;
use crate::programs::program;

const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const THEIRS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

const CABLE: &str = "cable";

/// The whole of any network, in which machines at a switch have a /24 each.
const PREFIX_LEN: u8 = 16;

const SWITCH: &str = "switch";

/// What is first in a namespace: it says when it is there, and then keeps it.
const KEEPER: &str = "ip link set lo up && echo up && exec sleep infinity";

/// Has the kernel end a program when the thread ends that started it, however that comes about.
const LEASH: [&str; 4] = ["setpriv", "--pdeathsig", "KILL", "--"];

/// Who takes care to be `nobody` is that from the start: a change of user slips the leash.
const LEASH_OF_NOBODY: [&str; 7] =
    ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--pdeathsig", "KILL", "--"];

/// Where a program runs.
#[derive(Clone)]
pub(crate) struct Machine {
    /// None is the namespace that the tests run in.
    namespace: Option<PathBuf>,
    ip: Ipv4Addr,
}

impl Machine {
    /// The machine that the tests run on, by loopback.
    pub(crate) fn this() -> Self {
        Self { namespace: None, ip: Ipv4Addr::LOCALHOST }
    }

    fn of(keeper: &Running, ip: Ipv4Addr) -> Self {
        Self { namespace: Some(format!("/proc/{}/ns/net", keeper.id()).into()), ip }
    }

    /// A program on this machine.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.leashed(&LEASH, program.as_ref())
    }

    /// A program on this machine that would become `nobody`.
    pub(crate) fn command_of_nobody(&self, program: impl AsRef<OsStr>) -> Command {
        self.leashed(&LEASH_OF_NOBODY, program.as_ref())
    }

    fn leashed(&self, leash: &[&str], program: &OsStr) -> Command {
        let Some(namespace) = &self.namespace else { return Command::new(program) };
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", namespace.display())).args(leash).arg(program);
        command
    }

    /// A command with all its settings, on this machine.
    pub(crate) fn adopt(&self, command: &Command) -> Command {
        let mut adopted = self.command(command.get_program());
        adopted.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => adopted.env(name, value),
                None => adopted.env_remove(name),
            };
        }
        adopted
    }

    /// Takes the calling thread to this machine, for good: what sockets it opens are there.
    pub(crate) fn enter(&self) {
        let Some(namespace) = &self.namespace else { return };
        let namespace = File::open(namespace).unwrap();
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }

    pub(crate) fn at(&self, port: u16) -> SocketAddr {
        (self.ip, port).into()
    }

    /// What an HTTP server on this machine answers, if anything.
    pub(crate) fn curl<A: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
    ) -> Option<String> {
        let mut command = self.command(program("curl", "curl"));
        let got = command.args(["--silent", "--max-time", "10"]).args(args).output().unwrap();
        got.status.success().then(|| String::from_utf8_lossy(&got.stdout).into_owned())
    }

    fn ip<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) {
        let done = self.command(program("ip", "iproute2")).args(args).status().unwrap();
        assert!(done.success(), "ip: {done}");
    }

    fn raise(&self) {
        self.ip(["address", "add", &format!("{}/{PREFIX_LEN}", self.ip), "dev", CABLE]);
        self.ip(["link", "set", CABLE, "up"]);
    }
}

/// Two machines that reach each other and nobody else.
pub(crate) struct Net {
    pub(crate) ours: Machine,
    pub(crate) theirs: Machine,
    _keepers: [Running; 2],
}

impl Net {
    pub(crate) fn new() -> Self {
        let keepers = [keeper(), keeper()];
        let (ours, theirs) = (Machine::of(&keepers[0], OURS), Machine::of(&keepers[1], THEIRS));
        let there = keepers[1].id().to_string();
        ours.ip(["link", "add", CABLE, "type", "veth", "peer", CABLE, "netns", &there]);
        ours.raise();
        theirs.raise();
        Self { ours, theirs, _keepers: keepers }
    }
}

/// Machines at a switch that reach each other and nobody else.
///
/// Each has a /24 of its own, as nodes on one are taken for one by many nodes of a DHT.
pub(crate) struct Lan {
    /// The machine `k`, counted from 1, is 10.0.k.1.
    pub(crate) machines: Vec<Machine>,
    keepers: Vec<Running>,
}

impl Lan {
    pub(crate) fn of(machines: u8) -> Self {
        let at = keeper();
        // A switch has no address.
        let switch = Machine::of(&at, Ipv4Addr::UNSPECIFIED);
        switch.ip(["link", "add", SWITCH, "type", "bridge"]);
        switch.ip(["link", "set", SWITCH, "up"]);
        let mut lan = Self { machines: Vec::new(), keepers: vec![at] };
        for k in 1..=machines {
            lan.plug(&switch, k);
        }
        lan
    }

    fn plug(&mut self, switch: &Machine, k: u8) {
        let keeper = keeper();
        let machine = Machine::of(&keeper, Ipv4Addr::new(10, 0, k, 1));
        let (socket, there) = (format!("socket{k}"), keeper.id().to_string());
        switch.ip(["link", "add", &socket, "type", "veth", "peer", CABLE, "netns", &there]);
        switch.ip(["link", "set", &socket, "master", SWITCH, "up"]);
        machine.raise();
        self.machines.push(machine);
        self.keepers.push(keeper);
    }
}

/// Starts a program in a namespace of its own, and waits until that is there.
fn keeper() -> Running {
    let mut command = Command::new(program("unshare", "util-linux"));
    let keeper = Running::start(command.arg("--net").args(LEASH).args(["sh", "-c", KEEPER]));
    assert_eq!(keeper.line(), "up");
    keeper
}

fn reaches(machine: &Machine, to: &str) -> bool {
    let mut command = machine.command(program("ip", "iproute2"));
    command.args(["route", "get", to]).output().unwrap().status.success()
}

#[test]
fn two_machines_reach_each_other_and_nobody_else() {
    let net = Net::new();
    for machine in [&net.ours, &net.theirs] {
        assert!(reaches(machine, "10.0.0.1") && reaches(machine, "10.0.0.2"));
        assert!(!reaches(machine, "10.1.0.1") && !reaches(machine, "192.0.2.1"));
    }
}

#[test]
fn machines_at_a_switch_reach_each_other_and_nobody_else() {
    let lan = Lan::of(3);
    for machine in &lan.machines {
        assert!(["10.0.1.1", "10.0.2.1", "10.0.3.1"].iter().all(|to| reaches(machine, to)));
        assert!(!reaches(machine, "10.1.0.1") && !reaches(machine, "192.0.2.1"));
    }
}
