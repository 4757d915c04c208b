//! Local peer discovery (BEP 14) with libtorrent, and between our own, on networks without a way out.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};

use offswarm::id::InfoHash;
use offswarm::swarm::lan::driver::{Found, Lan as Neighbourhood};
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

use crate::common::child::{DEADLINE, Running, poll};
use crate::libtorrent::{SCRIPT, event, python};
use crate::net::{Lan, Machine};
use crate::programs::program;

const PORT: u16 = 7001;

/// How a peer of BEP 3 begins: this, 8 bytes of flags, the infohash, its id.
const HEAD: &[u8] = b"\x13BitTorrent protocol";

const INFOHASH_AT: usize = 28;

fn swarm() -> InfoHash {
    InfoHash::from_bytes(*b"a swarm of neighbour")
}

/// Our part on a machine. It ends when this is dropped.
struct Ours {
    found: Receiver<Found>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Ours {
    /// Announces one swarm; none if there is no network to do it on.
    fn start(machine: &Machine, port: u16) -> Option<Self> {
        let (machine, stop) = (machine.clone(), CancellationToken::new());
        let ((started, is_there), (sender, found)) = (channel(), channel());
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            machine.enter();
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let lan = Neighbourhood::start(port, &stopped);
                started.send(lan.is_some()).unwrap();
                let Some((lan, mut found)) = lan else { return };
                assert!(lan.announce(swarm()));
                while let Some(found) = found.recv().await {
                    let _ = sender.send(found);
                }
                lan.stop().await;
            });
        });
        let ours = Self { found, stop, thread: Some(thread) };
        is_there.recv_timeout(DEADLINE).unwrap().then_some(ours)
    }

    /// Waits until it has told of a peer; an IPv6 address of the same one may come before.
    fn wait_for(&self, peer: SocketAddr) {
        let told = || self.found.recv_timeout(DEADLINE).unwrap();
        let found = std::iter::repeat_with(told).find(|(_, at)| *at == peer);
        assert_eq!(found, Some((swarm(), peer)));
    }
}

impl Drop for Ours {
    /// The receiver of what is found closes when the task has ended, and with that the thread.
    fn drop(&mut self) {
        self.stop.cancel();
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || ended.is_none_or(|ended| ended.is_ok()));
    }
}

/// libtorrent on a machine, which wants a torrent and knows nothing of it but the infohash.
struct Theirs {
    _running: Running,
    address: SocketAddr,
    _folder: TempDir,
}

impl Theirs {
    fn start(machine: &Machine) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = machine.command(python());
        command.arg(SCRIPT).arg("--lsd").arg("--folder").arg(folder.path());
        command.arg("--listen").arg(machine.at(0).to_string());
        command.arg("--magnet").arg(format!("magnet:?xt=urn:btih:{}", swarm()));
        let running = Running::start(&mut command);
        let port = event(&running, "listening")["port"].as_u64().unwrap();
        let address = machine.at(u16::try_from(port).unwrap());
        Self { _running: running, address, _folder: folder }
    }
}

/// Waits for the handshakes of peers at a port of ours, and tells whence they come and for what.
fn handshakes(machine: &Machine) -> Receiver<(SocketAddr, InfoHash)> {
    let (sender, seen) = channel();
    let machine = machine.clone();
    let (ready, is_ready) = channel();
    thread::spawn(move || {
        machine.enter();
        let listener = TcpListener::bind(machine.at(PORT)).unwrap();
        ready.send(()).unwrap();
        while let Ok((mut stream, from)) = listener.accept() {
            let mut bytes = [0; INFOHASH_AT + InfoHash::LEN];
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            // libtorrent tries encryption first, and without it when that is refused.
            if stream.read_exact(&mut bytes).is_ok() && bytes.starts_with(HEAD) {
                let infohash = InfoHash::from_slice(&bytes[INFOHASH_AT..]).unwrap();
                if sender.send((from, infohash)).is_err() {
                    return;
                }
            }
        }
    });
    is_ready.recv_timeout(DEADLINE).unwrap();
    seen
}

#[test]
fn libtorrent_that_comes_first_is_told_of_us_and_connects() {
    let lan = Lan::of(2);
    let seen = handshakes(&lan.machines[0]);
    let theirs = Theirs::start(&lan.machines[1]);
    let _ours = Ours::start(&lan.machines[0], PORT).unwrap();
    let (from, infohash) = seen.recv_timeout(DEADLINE).unwrap();
    assert_eq!((from.ip(), infohash), (theirs.address.ip(), swarm()));
}

/// It does not answer what it hears, so that it is ours who have to speak again.
#[test]
fn libtorrent_that_comes_later_is_heard_and_hears_us_in_turn() {
    let lan = Lan::of(2);
    let seen = handshakes(&lan.machines[0]);
    let ours = Ours::start(&lan.machines[0], PORT).unwrap();
    let theirs = Theirs::start(&lan.machines[1]);
    ours.wait_for(theirs.address);
    let (from, infohash) = seen.recv_timeout(DEADLINE).unwrap();
    assert_eq!((from.ip(), infohash), (theirs.address.ip(), swarm()));
}

#[test]
fn ours_on_three_machines_find_each_other() {
    let lan = Lan::of(3);
    let start = |machine: &Machine| Ours::start(machine, PORT).unwrap();
    let ours: Vec<Ours> = lan.machines.iter().map(start).collect();
    for (k, one) in ours.iter().enumerate() {
        let others = lan.machines.iter().enumerate().filter(|(other, _)| *other != k);
        let mut wanted: Vec<SocketAddr> = others.map(|(_, machine)| machine.at(PORT)).collect();
        while !wanted.is_empty() {
            let (_, peer) = one.found.recv_timeout(DEADLINE).unwrap();
            wanted.retain(|wanted| *wanted != peer);
        }
    }
}

/// They meet by IPv6 as well: by addresses of the link's own where there are no others.
#[test]
fn ours_find_each_other_where_there_is_no_ipv4() {
    let lan = Lan::of(2);
    for machine in &lan.machines {
        ip(machine, &["-4", "address", "flush", "scope", "global"]);
        // An address cannot be used before the system knows that nobody else has it.
        poll("an address of the link's own", || {
            let shown = machine.command(program("ip", "iproute2"));
            let told = { shown }.args(["-6", "address", "show", "scope", "link"]).output().unwrap();
            let told = String::from_utf8(told.stdout).unwrap();
            (told.contains("fe80::") && !told.contains("tentative")).then_some(())
        });
    }
    let ours = lan.machines.iter().map(|machine| Ours::start(machine, PORT).unwrap());
    for one in ours.collect::<Vec<_>>() {
        let (infohash, peer) = one.found.recv_timeout(DEADLINE).unwrap();
        let SocketAddr::V6(peer) = peer else { panic!("{peer}") };
        assert_eq!((infohash, peer.port()), (swarm(), PORT));
        assert!(peer.ip().is_unicast_link_local() && peer.scope_id() > 0, "{peer}");
    }
}

#[test]
fn ours_on_one_machine_without_a_network_find_each_other() {
    let lan = Lan::of(1);
    let machine = &lan.machines[0];
    ip(machine, &["link", "set", "cable", "down"]);
    let one = Ours::start(machine, PORT).unwrap();
    let other = Ours::start(machine, PORT + 1).unwrap();
    one.wait_for(([127, 0, 0, 1], PORT + 1).into());
    other.wait_for(([127, 0, 0, 1], PORT).into());
}

#[test]
fn without_any_interface_ours_do_without() {
    let lan = Lan::of(1);
    for name in ["cable", "lo"] {
        ip(&lan.machines[0], &["link", "set", name, "down"]);
    }
    assert!(Ours::start(&lan.machines[0], PORT).is_none());
}

fn ip(machine: &Machine, args: &[&str]) {
    let done = machine.command(program("ip", "iproute2")).args(args).status().unwrap();
    assert!(done.success(), "ip: {done}");
}
