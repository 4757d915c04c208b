//! A network of DHT nodes in one process, with a clock that is a number.
//!
//! Each node is a [`Machine`] with an address in a /24 of its own. Datagrams take 10 to 150 ms and
//! get lost by chance. Liars take part like everybody else, but whoever asks one for nodes, peers
//! or items hears of other liars near the target (see [`Lie`]) and of peers that do not exist, and
//! what is left with one is gone. A node may leave at any time without a word; then another one
//! joins. All chance comes from one seed.

#![allow(dead_code, reason = "each user takes the part it needs")]
#![allow(unreachable_pub, reason = "what is shared by including a file is public in it")]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use offswarm::id::NodeId;
use offswarm::id::Target;
use offswarm::krpc::contact::{Contact, Distance, Family};
use offswarm::krpc::machine::{Aim, Config, Event, Machine, Nothing, Outcome, TaskId};
use offswarm::krpc::message::{Body, Extra, Message, Method, Response};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, IteratorRandom};
use rand::{RngExt, SeedableRng};

/// Addresses from here on are peers that liars made up.
pub const MADE_UP: [u8; 2] = [66, 66];

/// Nodes that others begin with: they are honest, and stay.
pub const FIRST: usize = 8;

/// How the network is.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// Of so many datagrams this part is lost.
    pub loss: f64,
    /// Of so many nodes this part lies.
    pub liars: f64,
    /// What liars say of nodes.
    pub lie: Lie,
    /// How long nodes stay, on average; the time is distributed exponentially.
    pub session: Option<Duration>,
}

impl Weather {
    /// Nothing is lost, nobody lies, all stay.
    pub const FAIR: Self = Self { loss: 0.0, liars: 0.0, lie: Lie::Colluding, session: None };
}

/// What liars say of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// They know all of them, and name those nearest the target.
    Colluding,
    /// They name each other by ids right at the target, and answer under those.
    Forged,
    /// They name honest nodes near the target, by false ids or at false ports, and those who ask
    /// are told of these first.
    Slander,
}

struct Node {
    machine: Machine,
    address: SocketAddr,
    lies: bool,
    alive: bool,
    /// The tick that counts; earlier ones in the queue are void.
    tick: Instant,
    /// Datagrams it sent, and their bytes.
    sent: (u64, u64),
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Tick(usize),
    Leave(usize),
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
    /// Who was told of which liar by a forged id.
    forged: HashSet<(SocketAddr, usize, Target)>,
    /// What came of what nodes began.
    pub events: BTreeMap<(usize, TaskId), Vec<(Instant, Event)>>,
    pub datagrams: u64,
    pub bytes: u64,
    /// What went to where nobody is, if somebody wants to know.
    pub lost: Option<Vec<(SocketAddr, Vec<u8>)>>,
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
            forged: HashSet::new(),
            events: BTreeMap::new(),
            datagrams: 0,
            bytes: 0,
            lost: None,
        }
    }

    /// A new node, which knows some others by their addresses: two of the first ones, as everybody
    /// knows a router or two, and two of any that are there.
    pub fn join(&mut self) -> usize {
        let number = self.nodes.len();
        let part = |size: usize| u8::try_from(number / size % 256).unwrap();
        let address: SocketAddr = ([20 + part(1) % 64, part(64), part(64 * 256), 7], 6881).into();
        let alive: Vec<SocketAddr> =
            self.nodes.iter().filter(|node| node.alive).map(|node| node.address).collect();
        let routers = alive.iter().take(FIRST).sample(&mut self.chance, 2);
        let others = alive.sample(&mut self.chance, 2);
        let bootstrap: BTreeSet<SocketAddr> = routers.into_iter().chain(others).copied().collect();
        let bootstrap = bootstrap.into_iter().collect();
        let config = Config {
            families: vec![Family::V4],
            native_port: 6881,
            bootstrap,
            ..Config::default()
        };
        let machine = Machine::new(config, self.chance.random(), self.now);
        // The first ones are who others begin with, and honest.
        let lies = number >= FIRST && self.chance.random_bool(self.weather.liars);
        self.nodes.push(Node { machine, address, lies, alive: true, tick: self.now, sent: (0, 0) });
        self.places.insert(address, number);
        self.after(number);
        if let Some(mean) = self.weather.session.filter(|_| number >= FIRST) {
            let stays = mean.mul_f64(-(1.0 - self.chance.random::<f64>()).ln());
            self.push(self.now + stays, Happening::Leave(number));
        }
        number
    }

    /// A node is gone from one moment to the next.
    pub fn leave(&mut self, number: usize) {
        self.nodes[number].alive = false;
    }

    /// A datagram from anywhere arrives at a node.
    pub fn inject(&mut self, number: usize, from: SocketAddr, datagram: &[u8]) {
        let now = self.now;
        self.nodes[number].machine.handle(from, datagram, &Nothing, now);
        self.after(number);
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
        let honest: Vec<usize> = (FIRST..self.nodes.len()).filter(|n| self.is_honest(*n)).collect();
        *honest.choose(&mut self.chance).unwrap()
    }

    /// Anybody who is there, but for the first ones.
    pub fn anybody(&mut self) -> usize {
        let alive: Vec<usize> =
            (FIRST..self.nodes.len()).filter(|n| self.nodes[*n].alive).collect();
        *alive.choose(&mut self.chance).unwrap()
    }

    /// Datagrams that a node sent, and their bytes.
    pub fn sent(&self, number: usize) -> (u64, u64) {
        self.nodes[number].sent
    }

    pub fn lies(&self, address: SocketAddr) -> bool {
        self.places.get(&address).is_some_and(|number| self.nodes[*number].lies)
    }

    pub fn begin(&mut self, number: usize, aim: Aim) -> TaskId {
        self.begin_near(number, aim, &[])
    }

    /// Begins with nodes that are known from last time.
    pub fn begin_near(&mut self, number: usize, aim: Aim, seeds: &[Contact]) -> TaskId {
        let now = self.now;
        let task = self.nodes[number].machine.begin(aim, Family::V4, seeds, now).unwrap();
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

    /// What came of a task that is over, and the time of each; `None` if its node has left.
    pub fn told(
        &mut self,
        number: usize,
        task: TaskId,
    ) -> Option<(Vec<(Instant, Event)>, Outcome)> {
        let mut told = self.events.remove(&(number, task))?;
        match told.pop() {
            Some((_, Event::Done { outcome, .. })) => Some((told, outcome)),
            _ => None,
        }
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
            Happening::Leave(number) => {
                self.leave(number);
                self.join();
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
            let sent = &mut self.nodes[number].sent;
            *sent = (sent.0 + 1, sent.1 + transmit.datagram.len() as u64);
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
        if let Some(lost) = self.lost.as_mut().filter(|_| !self.places.contains_key(&to)) {
            lost.push((to, datagram));
            return;
        }
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
        let mut response = Response::of(self.answers_as(number, from, target));
        response.nodes = Some(self.named(from, target));
        response.token = Some(b"lie".to_vec());
        if matches!(query.method, Method::GetPeers { .. }) {
            let [a, b] = MADE_UP;
            response.values =
                (0..8).map(|c| ([a, b, c, self.chance.random()], 6881).into()).collect();
        }
        self.answer(number, from, transaction, response);
        true
    }

    /// The nodes that a liar names.
    fn named(&mut self, to: SocketAddr, target: Target) -> Vec<Contact> {
        let lie = self.weather.lie;
        let meant = |node: &Node| node.alive && node.lies == (lie != Lie::Slander);
        let mut others: Vec<(Distance, usize)> = (0..self.nodes.len())
            .filter(|other| meant(&self.nodes[*other]))
            .map(|other| (Distance::between(&self.id(other), &target), other))
            .collect();
        if others.len() > 8 {
            others.select_nth_unstable(8);
            others.truncate(8);
        }
        others.sort_unstable();
        others.into_iter().map(|(_, other)| self.spoken_of(other, to, target)).collect()
    }

    /// A node as a liar speaks of it.
    fn spoken_of(&mut self, number: usize, to: SocketAddr, target: Target) -> Contact {
        let (id, mut address) = (self.id(number), self.nodes[number].address);
        match self.weather.lie {
            Lie::Colluding => Contact { id, address },
            Lie::Forged => {
                self.forged.insert((to, number, target));
                Contact { id: forged(number, target), address }
            }
            Lie::Slander if self.chance.random() => {
                address.set_port(self.chance.random_range(1_024..60_000));
                Contact { id, address }
            }
            Lie::Slander => {
                let mut id = *id.as_bytes();
                id[self.chance.random_range(0..20)] ^= 0x55;
                Contact { id: NodeId::from_bytes(id), address }
            }
        }
    }

    /// The id that a liar answers under.
    fn answers_as(&self, number: usize, to: SocketAddr, target: Target) -> NodeId {
        let is_forged = self.forged.contains(&(to, number, target));
        if is_forged { forged(number, target) } else { self.id(number) }
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

/// An id right at a target.
fn forged(number: usize, target: Target) -> NodeId {
    let mut id = *target.as_bytes();
    for (to, from) in id[16..].iter_mut().zip((number as u32).to_be_bytes()) {
        *to ^= from;
    }
    NodeId::from_bytes(id)
}
