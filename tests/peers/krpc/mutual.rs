//! Our node and a stock client in one DHT: what each does for the other, as a section of `DHT.md`.
//!
//! Ours come up first and the client is told them. Two more of ours are told the client alone:
//! whatever they know they have from there.

use std::net::SocketAddr;
use std::thread;

use offswarm::id::{InfoHash, NodeId};
use offswarm::krpc::item::{Item, Value};
use offswarm::krpc::machine::Aim;

use crate::clients::{
    Aria2, Client, Deluge, Desk, Libtorrent, QBittorrent, RTorrent, Transmission,
};
use crate::common::child::poll;
use crate::net::{Lan, Machine};
use crate::record::Record;

use super::node::{DhtNode, nobodys};
use super::ours::OurNode;
use super::program::{Asker, Served, names};

const DHT: Record = Record {
    path: concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/DHT.md"),
    introduction: "\
# What our node and stock nodes do for each other

Written by the tests in `krpc/mutual.rs` with `OFFSWARM_BLESS=1`, and compared by them else. Each
client runs in a network of its own, and is told one node of ours; Transmission is told nine, as it
looks nothing up before it knows so many. Two more of ours are told the client alone. Whatever is said
here of the client it did itself, also where others could have done it: answers are told apart by who
gave them. All queries of ours carry `off`.
",
};

/// The port of the peer that the guest announces.
const PORT: u16 = 7002;

/// What a client does, and needs for it.
struct Habits {
    /// Nodes of ours that it is told.
    ours: u8,
    /// What it asks us by itself, the last of it last.
    asks: &'static [&'static str],
    /// It turns the bytes of a peer's port around when it tells it.
    swaps_ports: bool,
    /// It keeps items (BEP 44).
    keeps_items: bool,
}

impl Habits {
    const OF_LIBTORRENT: Self = Self {
        ours: 1,
        asks: &["get_peers", "announce_peer"],
        swaps_ports: false,
        keeps_items: true,
    };
}

/// The infohash that no other node is as near to.
fn beside(node: NodeId) -> InfoHash {
    let mut bytes = *node.as_bytes();
    bytes[NodeId::LEN - 1] ^= 1;
    InfoHash::from_bytes(bytes)
}

/// An item that is kept near a point, if it is kept by a dozen nodes.
fn item_near(point: InfoHash) -> Item {
    let item = |number| Item::Immutable(Value::check(format!("i{number}e").as_bytes()).unwrap());
    let is_near = |item: &Item| item.target().as_bytes()[0] == point.as_bytes()[0];
    (0..=u32::MAX).map(item).find(is_near).unwrap()
}

/// A client that has asked the nodes of ours that it was told, and more of ours.
struct Scene {
    ours: Vec<Served>,
    at: SocketAddr,
    /// The torrent of the client.
    its: InfoHash,
    /// What nobody is nearer to than the client.
    near: InfoHash,
    /// It is told the first of ours.
    neighbour: OurNode,
    /// They are told the client.
    guests: [OurNode; 2],
    asker: Asker,
}

impl Scene {
    /// Waits until the client has asked, by itself, all that it asks, and we know it.
    fn of(lan: &Lan, ours: Vec<Served>, at: SocketAddr, its: InfoHash, habits: &Habits) -> Self {
        for method in habits.asks {
            poll(&format!("the client to ask {method}"), || {
                ours.iter().any(|node| node.was_asked(method, at)).then_some(())
            });
        }
        let [.., first, second] = &lan.machines[..] else { unreachable!() };
        let start = |machine: &Machine, entry| OurNode::start(machine, machine.at(0), &[entry]);
        let neighbour = start(first, ours[0].address);
        let id = neighbour.ping(at).expect("it answers a ping").contact.id;
        let guests = [start(first, at), start(second, at)];
        let asker = Asker { machine: second.clone() };
        Self { ours, at, its, near: beside(id), neighbour, guests, asker }
    }

    /// It is in our table and we are in its.
    fn know_each_other(&self, habits: &Habits) -> String {
        poll("a node of ours to name the client", || {
            let named = self.neighbour.search(Aim::Nodes(self.near.target()));
            named.has_close(self.at).then_some(())
        });
        let [guest, _] = &self.guests;
        assert!(guest.search(Aim::Nodes(self.near.target())).has_close(self.at));
        assert!(self.ours.iter().any(|node| guest.knows(node.address)), "it names a node of ours");
        let asks = habits.asks.iter().map(|method| format!("`{method}`"));
        let asks = asks.collect::<Vec<_>>().join(" ");
        format!("| it asks us | {asks}: it is in our table, and we are in its |\n")
    }

    /// A peer that one of ours announced to it is found there by another.
    fn tells_of_our_peer(&self, habits: &Habits) -> String {
        let [guest, other] = &self.guests;
        let announce = Aim::Announce { infohash: self.near, port: PORT, seed: false };
        let outcome = guest.search(announce).outcome;
        assert_eq!(outcome.refused, None);
        assert!(guest.asked("announce_peer").contains(&self.at));
        let found = other.peers_of(self.near).peers_from(self.at);
        assert_eq!(found, [self.our_peer(habits)]);
        let how = if habits.swaps_ports { ", with its port swapped" } else { "" };
        format!("| a peer announced by one of ours | found there by another{how} |\n")
    }

    /// The peer that a guest announces, as the client tells of it.
    fn our_peer(&self, habits: &Habits) -> SocketAddr {
        let port = if habits.swaps_ports { PORT.swap_bytes() } else { PORT };
        SocketAddr::new(self.guests[0].address.ip(), port)
    }

    /// What it announced is found at a node of ours, by another that was told one of them.
    fn is_found_at_ours(&self) -> String {
        let found = self.neighbour.peers_of(self.its);
        let mut told = self.ours.iter().flat_map(|node| found.peers_from(node.address));
        assert!(told.any(|peer| peer == self.at));
        "| a peer announced by it | found at ours by another of ours |\n".into()
    }

    /// Whether it keeps an item, as nodes of ours do.
    fn keeps_our_item(&self, habits: &Habits) -> String {
        let [guest, _] = &self.guests;
        let item = item_near(self.near);
        assert!(guest.search(Aim::Put { item, cas: None }).outcome.stored > 0);
        assert!(guest.asked("get").contains(&self.at));
        assert_eq!(guest.asked("put").contains(&self.at), habits.keeps_items);
        assert!(guest.knows(self.at), "it is no worse a node for that");
        let how = if habits.keeps_items { "kept" } else { "not kept: it gives no token for it" };
        format!("| our item (BEP 44) | {how} |\n")
    }

    /// What the program says that is told the client. (Clients that do not know BEP 43 take it for a
    /// node, which is gone at once. So nobody looks for anything after this.)
    fn answers_the_program(&self, habits: &Habits) -> String {
        let pong = self.asker.ping(self.at);
        assert_eq!(
            (&pong["native"], &pong["address"]),
            (&false.into(), &self.at.to_string().into())
        );
        let version = pong["version"].as_str().map(|version| format!("`{version}`"));
        let version = version.unwrap_or_else(|| "not said".into());

        let [near, its, new] =
            [self.near, self.its, InfoHash::of(b"new")].map(|hash| hash.to_string());
        let port = PORT.to_string();
        let (asker, at, first) = (&self.asker, self.at, self.ours[0].address);
        let ask = |entry, what: &[&str]| asker.ask(entry, what);
        thread::scope(|scope| {
            let nodes = scope.spawn(|| ask(at, &["find-node", &near]));
            let ours = scope.spawn(|| ask(at, &["get-peers", &near]));
            let its = scope.spawn(|| ask(first, &["get-peers", &its]));
            let told = scope.spawn(|| ask(at, &["announce", &new, "--port", &port]));
            let [nodes, ours, its, told] =
                [nodes, ours, its, told].map(|asked| asked.join().unwrap());
            assert!(names(&nodes, "address", self.at), "{nodes:?}");
            assert!(names(&ours, "peer", self.our_peer(habits)), "{ours:?}");
            assert!(names(&its, "peer", self.at), "{its:?}");
            assert!(
                told[0]["nodes"].as_u64().unwrap() > 0 && told[0]["refused"].is_null(),
                "{told:?}"
            );
        });
        format!(
            "| `offswarm dht ping` | its id; `v` is {version} |\n\
             | `dht find-node` `dht get-peers` `dht announce` | answered, and the announce is taken |\n"
        )
    }
}

fn client_and_ours_serve_each_other<C: Client>(habits: &Habits) {
    let lan = Lan::of(habits.ours + 3);
    let (ours, others) = lan.machines.split_at(habits.ours.into());
    let first = Served::start(&ours[0], None);
    let entry = first.address;
    let more = ours[1..].iter().map(|machine| Served::start(machine, Some(entry)));
    let ours = std::iter::once(first).chain(more).collect::<Vec<_>>();
    let told = ours.iter().map(|node| node.address).collect::<Vec<_>>();
    let its = InfoHash::of(C::NAME.as_bytes());
    let desk = Desk::in_dht(&others[0], &told);
    let client = DhtNode::<C>::start_unasked(desk, &nobodys(its));
    let scene = Scene::of(&lan, ours, client.address, its, habits);
    let text = format!("Version {}.\n\n| what | what came of it |\n|---|---|\n", C::version())
        + &scene.know_each_other(habits)
        + &scene.tells_of_our_peer(habits)
        + &scene.is_found_at_ours()
        + &scene.keeps_our_item(habits)
        + &scene.answers_the_program(habits);
    assert!(!scene.guests.iter().any(|node| node.asked("off_find").contains(&scene.at)));
    assert!(!scene.ours.iter().any(|node| node.has_asked("off_find", scene.at)));
    DHT.compare(C::NAME, &text);
}

#[test]
fn aria2_and_ours_serve_each_other() {
    client_and_ours_serve_each_other::<Aria2>(&Habits {
        asks: &["ping", "get_peers", "announce_peer"],
        keeps_items: false,
        ..Habits::OF_LIBTORRENT
    });
}

#[test]
fn deluge_and_ours_serve_each_other() {
    client_and_ours_serve_each_other::<Deluge>(&Habits::OF_LIBTORRENT);
}

#[test]
fn libtorrent_and_ours_serve_each_other() {
    client_and_ours_serve_each_other::<Libtorrent>(&Habits::OF_LIBTORRENT);
}

#[test]
fn qbittorrent_and_ours_serve_each_other() {
    client_and_ours_serve_each_other::<QBittorrent>(&Habits::OF_LIBTORRENT);
}

#[test]
fn rtorrent_and_ours_serve_each_other() {
    client_and_ours_serve_each_other::<RTorrent>(&Habits {
        asks: &["ping", "find_node", "get_peers", "announce_peer"],
        swaps_ports: true,
        keeps_items: false,
        ..Habits::OF_LIBTORRENT
    });
}

/// It looks nothing up before it knows nine nodes, four of them alive.
#[test]
fn transmission_and_ours_serve_each_other() {
    client_and_ours_serve_each_other::<Transmission>(&Habits {
        ours: 9,
        asks: &["ping", "find_node", "get_peers", "announce_peer"],
        keeps_items: false,
        ..Habits::OF_LIBTORRENT
    });
}
