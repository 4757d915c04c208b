//! Nodes of ours among stock nodes: they find each other, and stock nodes notice nothing.

use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;

use offswarm::id::InfoHash;
use offswarm::krpc::contact::Contact;
use offswarm::krpc::machine::Aim;

use crate::common::child::poll;
use crate::common::{Home, Seeder};
use crate::net::Machine;

use super::bencode::entry;
use super::ours::{Found, NATIVE_PORT, OurNode};
use super::private::PrivateDht;
use super::probe::Probe;
use super::program::{Asker, names};

fn ours(number: u8, entries: &[SocketAddr]) -> OurNode {
    let listen = SocketAddr::from(([127, 100, number, 10], 0));
    OurNode::start(&Machine::this(), listen, entries)
}

impl OurNode {
    /// Says where others find it: its peer port has the same number as its own.
    fn say_that_it_is_native(&self) {
        let (infohash, port) = (InfoHash::native(), self.address.port());
        assert!(self.search(Aim::Announce { infohash, port, seed: false }).outcome.stored > 0);
    }

    fn natives(&self) -> Vec<SocketAddr> {
        self.status().native_nodes.iter().map(|node| node.contact.address).collect()
    }

    fn find_natives(&self) -> Found {
        self.search(Aim::Natives(InfoHash::of(b"anything").target()))
    }

    fn contact(&self) -> Contact {
        Contact { id: self.id(), address: self.address }
    }
}

/// Each is told another node of libtorrent. They have nothing in common but the native swarm.
#[test]
fn ours_find_each_other_among_nodes_of_libtorrent() {
    let dht = PrivateDht::of(6);
    let nodes = [0, 1, 2].map(|number| ours(number, &dht.addresses[usize::from(number)..][..1]));
    nodes.iter().for_each(OurNode::say_that_it_is_native);
    for node in &nodes {
        poll("a node of ours to know the others", || {
            let others = nodes.iter().filter(|other| other.address != node.address);
            let known = node.natives();
            // Whoever came first looks again, as it does now and then.
            let known = others.into_iter().all(|other| known.contains(&other.address));
            known.then_some(()).or_else(|| {
                node.say_that_it_is_native();
                None
            })
        });
        let natives = node.find_natives().natives();
        let others = nodes.iter().filter(|other| other.address != node.address);
        assert!(others.into_iter().all(|other| natives.contains(&other.address)), "{natives:?}");
    }
    for node in &nodes {
        let is_ours = |at: &SocketAddr| nodes.iter().any(|node| node.address == *at);
        assert!(node.natives().iter().all(is_ours), "no node of libtorrent is taken for native");
        assert!(node.asked("off_find").iter().all(is_ours), "none is asked off_find");
        assert!(!node.asked("off_find").is_empty());
    }
    let peers = nodes[0].status().native_nodes.into_iter().map(|node| node.peer.unwrap().port());
    assert!(peers.into_iter().all(|port| port == NATIVE_PORT));
}

/// What goes through a stock node arrives, and the node gets ordinary queries with one argument
/// more.
#[test]
fn lookups_of_ours_pass_through_a_stock_node() {
    let holder = ours(0, &[]);
    let stock = Probe::stock(&Machine::this(), &[holder.contact()]);
    let teller = ours(1, &[stock.address]);
    let infohash = InfoHash::of(b"a torrent");
    let told = teller.search(Aim::Announce { infohash, port: 7002, seed: true }).outcome;
    assert_eq!((told.stored, told.refused), (2, None));
    let seeker = ours(2, &[stock.address]);
    let found = seeker.peers_of(infohash).peers_from(holder.address);
    assert_eq!(found, [SocketAddr::new(teller.address.ip(), 7002)]);

    assert!(seeker.find_natives().natives().contains(&holder.address));
    for node in [&holder, &teller, &seeker] {
        assert!(!node.natives().contains(&stock.address));
        assert!(!node.asked("off_find").contains(&stock.address));
    }
    assert!(stock.heard("off_find").is_empty());
    for method in ["find_node", "get_peers", "announce_peer"] {
        let heard = stock.heard(method);
        assert!(!heard.is_empty(), "{method}");
        assert!(heard.iter().all(|query| entry(entry(query, "a").unwrap(), "off").is_some()));
    }
}

/// Who shares says that it is native. A third, who knows a node of libtorrent, finds both.
#[test]
fn those_who_share_are_found_as_native() {
    let dht = PrivateDht::of(4);
    let sharers = [0, 1].map(|number| {
        let home = Home::new();
        fs::write(home.beside("file"), [number]).unwrap();
        let file = home.beside("file");
        let mut share = home.offswarm([OsStr::new("share"), file.as_os_str()]);
        share.env_remove("OFFSWARM_NO_DHT").args(["--listen", &format!("127.100.{number}.10:0")]);
        share.args(["--dht-bootstrap", &dht.addresses[usize::from(number)].to_string()]);
        (Seeder::start(&mut share), home)
    });
    let sharers = sharers.each_ref().map(|(sharer, _)| sharer.address());
    let (asker, entry) = (Asker { machine: Machine::this() }, dht.addresses[2]);
    poll("the program to find the sharers in the native swarm", || {
        let found = asker.try_ask(entry, &["get-peers", "native"])?;
        sharers.iter().all(|sharer| names(&found, "peer", *sharer)).then_some(())
    });
    poll("the program to know the sharers as native", || {
        let status = asker.try_ask(entry, &["status"])?.remove(0);
        let natives = status["networks"][0]["native_nodes"].as_array()?.clone();
        assert!(dht.addresses.iter().all(|node| !names(&natives, "address", *node)));
        let is_known =
            |sharer| names(&natives, "address", sharer) && names(&natives, "peer", sharer);
        sharers.iter().all(|sharer| is_known(*sharer)).then_some(())
    });
}
