//! Clients of others, each behind the same few verbs.
//!
//! Each runs in a network of its own (see `net`), in an empty folder, with one torrent. All that
//! looks for strangers is switched off: DHT (unless the desk is in one), local discovery, port
//! mapping, peer exchange.

mod aria2;
mod deluge;
mod libtorrent;
mod qbittorrent;
mod rtorrent;
mod transmission;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use offswarm::id::InfoHash;
use serde_bencode::value::Value as Bencode;
use tempfile::TempDir;

use crate::journey::{Link, text};
use crate::net::Machine;

pub(crate) use aria2::Aria2;
pub(crate) use deluge::Deluge;
pub(crate) use libtorrent::Libtorrent;
pub(crate) use qbittorrent::QBittorrent;
pub(crate) use rtorrent::RTorrent;
pub(crate) use transmission::Transmission;

/// Where a client listens for peers, on its machine.
pub(crate) const PEER_PORT: u16 = 6881;

/// Where a client listens for whoever steers it, on loopback.
const STEER_PORT: u16 = 8080;

const CANNOT_BE_TOLD_PEERS: &str = "\
Nothing tells it a peer but a tracker: no option or RPC method does, and peer exchange is off. To
download by `.torrent` it is dialled; by magnet link it asks a tracker that the link names.";

/// A running client with one torrent. It ends when this is dropped.
pub(crate) trait Client: Sized {
    const NAME: &str;

    /// Whether it can be told a peer in any way. One that cannot is dialled.
    const CAN_BE_TOLD_PEERS: bool;

    /// How it is brought to download, and what it cannot do.
    const REMARK: &str = "To download it is told the peer.";

    /// The version, as the program tells it.
    fn version() -> String;

    /// Starts it with a torrent; when this returns, peers can connect.
    fn join(desk: &Desk, task: &Task) -> Self;

    /// Waits until it has the info dict.
    fn wait_for_metadata(&self);

    /// Waits until it says that it has checked everything and seeds.
    fn wait_until_complete(&self);
}

/// What a client is asked to do.
pub(crate) struct Task {
    pub(crate) link: Link,
    pub(crate) infohash: InfoHash,
    /// For those that can be told.
    pub(crate) peers: Vec<SocketAddr>,
}

/// Where a client works: a machine, and a folder that nobody else uses.
pub(crate) struct Desk {
    machine: Machine,
    folder: TempDir,
    dht: Option<Dht>,
}

/// That a client is to be a node of a DHT, at its peer port.
pub(crate) struct Dht {
    /// The nodes that it is told: one, if it is not Transmission. Without any it waits to be asked.
    pub(crate) entries: Vec<SocketAddr>,
}

impl Desk {
    pub(crate) fn new(machine: &Machine) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let desk = Self { machine: machine.clone(), folder, dht: None };
        fs::create_dir(desk.content()).unwrap();
        fs::create_dir(desk.state()).unwrap();
        desk
    }

    /// The desk of a client that is a node, too.
    pub(crate) fn in_dht(machine: &Machine, entries: &[SocketAddr]) -> Self {
        Self { dht: Some(Dht { entries: entries.to_vec() }), ..Self::new(machine) }
    }

    fn has_dht(&self) -> bool {
        self.dht.is_some()
    }

    fn entry(&self) -> Option<SocketAddr> {
        self.dht.as_ref()?.entries.first().copied()
    }

    /// A link that names the entry, too, for clients that are told nodes in no other way.
    fn link_to_entry(&self, link: &Link) -> Link {
        match (link, self.entry()) {
            (Link::Magnet(link), Some(entry)) => Link::Magnet(format!("{link}&dht={entry}")),
            (Link::Magnet(link), None) => Link::Magnet(link.clone()),
            (Link::Torrent(path), None) => Link::Torrent(path.clone()),
            (Link::Torrent(path), Some(entry)) => {
                let named = self.state().join("named.torrent");
                fs::write(&named, with_node(&fs::read(path).unwrap(), entry)).unwrap();
                Link::Torrent(named)
            }
        }
    }

    /// Where downloads go.
    pub(crate) fn content(&self) -> PathBuf {
        self.folder.path().join("content")
    }

    pub(crate) fn machine(&self) -> &Machine {
        &self.machine
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn write(&self, name: &str, contents: &str) -> PathBuf {
        let path = self.state().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, contents).unwrap();
        path
    }

    /// A client whose standard files lie in the state folder.
    fn command(&self, program: &Path) -> Command {
        let mut command = self.machine.command(program);
        command.env("HOME", self.state()).current_dir(self.state());
        command
    }

    /// Where peers connect to it.
    pub(crate) fn address(&self) -> SocketAddr {
        self.machine.at(PEER_PORT)
    }
}

/// A torrent file with the key `nodes` (BEP 5).
fn with_node(torrent: &[u8], node: SocketAddr) -> Vec<u8> {
    let Bencode::Dict(mut torrent) = serde_bencode::from_bytes(torrent).unwrap() else {
        panic!("no torrent file");
    };
    let host = node.ip().to_string().into_bytes();
    let node = vec![Bencode::Bytes(host), Bencode::Int(node.port().into())];
    torrent.insert(b"nodes".to_vec(), Bencode::List(vec![Bencode::List(node)]));
    serde_bencode::to_bytes(&Bencode::Dict(torrent)).unwrap()
}

/// What looks like a version in what a program says of itself.
fn version_in(command: &mut Command) -> String {
    let said = command.output().unwrap();
    let said = text(&said.stdout) + &text(&said.stderr);
    let is_version = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
    let words = said.split([' ', '\n', ',']);
    let words = words.map(|word| word.trim_start_matches('v').trim_end_matches('.'));
    words.clone().find(is_version).unwrap_or_else(|| panic!("no version in {said}")).to_owned()
}
