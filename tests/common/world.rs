//! A network of DHT nodes in one process, with a clock that is a number.
//!
//! Each node is a [`Machine`] with an address in a /24 of its own. Datagrams take 10 to 150 ms and
//! get lost by chance. Liars take part like everybody else, but whoever asks one for nodes, peers
//! or items hears of other liars near the target and of peers that do not exist, and what is left
//! with one is gone. All chance comes from one seed.

#![allow(dead_code, reason = "each user takes the part it needs")]
#![allow(unreachable_pub, reason = "what is shared by including a file is public in it")]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use offswarm::id::NodeId;
use offswarm::krpc::contact::{Contact, Distance, Family};
use offswarm::krpc::machine::{Aim, Config, Event, Machine, Nothing, TaskId};
use offswarm::krpc::message::{Body, Extra, Message, Method, Response};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

/// Addresses from here on are peers that liars made up.
pub const MADE_UP: [u8; 2] = [66, 66];

/// How the network is.
#[derive(Clone, Copy)]
pub struct Weather {
    /// Of so many datagrams this part is lost.
    pub loss: f64,
    /// Of so many nodes this part lies.
    pub liars: f64,
}

struct Node {
    machine: Machine,
    address: SocketAddr,
    lies: bool,
    alive: bool,
    /// The tick that counts; earlier ones in the queue are void.
    tick: Instant,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Tick(usize),
    Arrival { to: SocketAddr, from: SocketAddr, datagram: Vec<u8> },
}

pub struct World {
    pub now: Instant,
    pub started: Instant,
    weather: Weather,
    chance: StdRng,
    nodes: Vec<Node>,
    places: HashMap<SocketAddr, usize>,
    queue: BinaryHeap<Reverse<(Instant, u64, Happening)>>,
    numbered: u64,
    /// What came of what nodes began.
    pub events: BTreeMap<(usize, TaskId), Vec<(Instant, Event)>>,
    pub datagrams: u64,
    pub bytes: u64,
}

impl World {
    pub fn new(seed: u64, weather: Weather) -> Self {
        let now = Instant::now();
        Self {
            now,
            started: now,
            weather,
            chance: StdRng::seed_from_u64(seed),
            nodes: Vec::new(),
            places: HashMap::new(),
            queue: BinaryHeap::new(),
            numbered: 0,
            events: BTreeMap::new(),
            datagrams: 0,
            bytes: 0,
        }
    }

    /// A new node, which knows some others by their addresses.
    pub fn join(&mut self) -> usize {
        let number = self.nodes.len();
        let part = |size: usize| u8::try_from(number / size % 256).unwrap();
        let address: SocketAddr = ([20 + part(1) % 64, part(64), part(64 * 256), 7], 6881).into();
        let alive: Vec<SocketAddr> =
            self.nodes.iter().filter(|node| node.alive).map(|node| node.address).collect();
        let config = Config {
            families: vec![Family::V4],
            native_port: 6881,
            bootstrap: alive.sample(&mut self.chance, 4).copied().collect(),
            ..Config::default()
        };
        let machine = Machine::new(config, self.chance.random(), self.now);
        // The first ones are who others begin with, and honest.
        let lies = number >= 8 && self.chance.random_bool(self.weather.liars);
        self.nodes.push(Node { machine, address, lies, alive: true, tick: self.now });
        self.places.insert(address, number);
        self.after(number);
        number
    }

    /// A node is gone from one moment to the next.
    pub fn leave(&mut self, number: usize) {
        self.nodes[number].alive = false;
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_honest(&self, number: usize) -> bool {
        !self.nodes[number].lies && self.nodes[number].alive
    }

    pub fn address(&self, number: usize) -> SocketAddr {
        self.nodes[number].address
    }

    pub fn machine(&self, number: usize) -> &Machine {
        &self.nodes[number].machine
    }

    /// An honest node that is there.
    pub fn somebody(&mut self) -> usize {
        let honest: Vec<usize> = (8..self.nodes.len()).filter(|n| self.is_honest(*n)).collect();
        *honest.choose(&mut self.chance).unwrap()
    }

    /// Anybody who is there, but for the first ones.
    pub fn anybody(&mut self) -> usize {
        let alive: Vec<usize> = (8..self.nodes.len()).filter(|n| self.nodes[*n].alive).collect();
        *alive.choose(&mut self.chance).unwrap()
    }

    pub fn begin(&mut self, number: usize, aim: Aim) -> TaskId {
        let now = self.now;
        let task = self.nodes[number].machine.begin(aim, Family::V4, &[], now).unwrap();
        self.events.insert((number, task), Vec::new());
        self.after(number);
        task
    }

    /// Lets so much time pass.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(Reverse((at, ..))) = self.queue.peek()
            && *at <= until
        {
            let Some(Reverse((at, _, happening))) = self.queue.pop() else { return };
            self.now = at;
            self.happen(happening);
        }
        self.now = until;
    }

    /// Lets time pass until a task is over, but no more than so much.
    pub fn wait_for(&mut self, number: usize, task: TaskId, at_most: Duration) {
        let until = self.now + at_most;
        while self.now < until && !self.is_over(number, task) {
            self.pass(Duration::from_millis(100));
        }
    }

    pub fn is_over(&self, number: usize, task: TaskId) -> bool {
        let told = self.events.get(&(number, task));
        told.is_some_and(|told| matches!(told.last(), Some((_, Event::Done { .. }))))
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Tick(number) => {
                let (now, node) = (self.now, &mut self.nodes[number]);
                if node.alive && node.tick == now {
                    node.machine.tick(now);
                    self.after(number);
                }
            }
            Happening::Arrival { to, from, datagram } => {
                let Some(number) = self.places.get(&to).copied() else { return };
                if !self.nodes[number].alive {
                    return;
                }
                if self.nodes[number].lies && self.lie(number, from, &datagram) {
                    return;
                }
                let now = self.now;
                self.nodes[number].machine.handle(from, &datagram, &Nothing, now);
                self.after(number);
            }
        }
    }

    /// Takes from a machine what came of the last thing that happened to it.
    fn after(&mut self, number: usize) {
        while let Some(transmit) = self.nodes[number].machine.transmit() {
            self.send(self.nodes[number].address, transmit.to, transmit.datagram);
        }
        while let Some(event) = self.nodes[number].machine.event() {
            let task = match &event {
                Event::Peers { task, .. }
                | Event::Item { task, .. }
                | Event::Native { task, .. }
                | Event::Pong { task, .. }
                | Event::Done { task, .. } => *task,
            };
            if let Some(told) = self.events.get_mut(&(number, task)) {
                told.push((self.now, event));
            }
        }
        let (now, node) = (self.now, &mut self.nodes[number]);
        let tick = node.machine.next_tick().max(now + Duration::from_millis(1));
        if tick != node.tick {
            node.tick = tick;
            self.push(tick, Happening::Tick(number));
        }
    }

    fn send(&mut self, from: SocketAddr, to: SocketAddr, datagram: Vec<u8>) {
        self.datagrams += 1;
        self.bytes += datagram.len() as u64;
        if !self.chance.random_bool(self.weather.loss) {
            let takes = Duration::from_micros(self.chance.random_range(10_000..150_000));
            self.push(self.now + takes, Happening::Arrival { to, from, datagram });
        }
    }

    fn push(&mut self, at: Instant, happening: Happening) {
        self.numbered += 1;
        self.queue.push(Reverse((at, self.numbered, happening)));
    }

    /// What a liar answers. False if it behaves.
    fn lie(&mut self, number: usize, from: SocketAddr, datagram: &[u8]) -> bool {
        let Ok(Message { transaction, body: Body::Query(query), .. }) = Message::decode(datagram)
        else {
            return false;
        };
        let target = match &query.method {
            Method::FindNode { target }
            | Method::Get { target, .. }
            | Method::OffFind { target } => *target,
            Method::GetPeers { infohash } => infohash.target(),
            Method::AnnouncePeer { .. } | Method::Put { .. } => {
                self.answer(number, from, transaction, Response::of(self.id(number)));
                return true;
            }
            _ => return false,
        };
        let mut others: Vec<Contact> = (0..self.nodes.len())
            .filter(|other| self.nodes[*other].lies && self.nodes[*other].alive)
            .map(|other| Contact { id: self.id(other), address: self.nodes[other].address })
            .collect();
        others.sort_unstable_by_key(|other| Distance::between(&other.id, &target));
        others.truncate(8);
        let mut response = Response::of(self.id(number));
        response.nodes = Some(others);
        response.token = Some(b"lie".to_vec());
        if matches!(query.method, Method::GetPeers { .. }) {
            let [a, b] = MADE_UP;
            response.values =
                (0..8).map(|c| ([a, b, c, self.chance.random()], 6881).into()).collect();
        }
        self.answer(number, from, transaction, response);
        true
    }

    fn id(&self, number: usize) -> NodeId {
        self.nodes[number].machine.id(Family::V4).unwrap()
    }

    fn answer(&mut self, number: usize, to: SocketAddr, transaction: Vec<u8>, response: Response) {
        let message = Message {
            transaction,
            body: Body::Response(Box::new(response)),
            version: None,
            ip: Some(to),
            read_only: false,
            extra: Extra::new(),
        };
        self.send(self.nodes[number].address, to, message.encode());
    }
}
