//! The node on the network: one UDP socket for each family, one task that owns the machine.
//!
//! The task does what the machine says and never waits for anybody but the network: datagrams that
//! the system does not take are dropped, as the network might have, and news that nobody fetches
//! are, too. It ends when its handle is stopped or dropped, and then saves the nodes it knows.

mod joining;
mod records;
mod sockets;
mod status;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::net::UdpSocket;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::contact::{Contact, Family};
use super::item::Item;
use super::machine::{Aim, Config, Event, Holdings, Machine, Outcome, Pong, Saved, TaskId};
use super::native::NativeNode;
use super::saved;
use crate::limits::dht::{MAX_DATAGRAM_LEN, MAX_SEARCHES, NEWS_WAITING, READ_AT_ONCE, SAVE_EVERY};

pub use joining::Joined;
use joining::resolve;
pub use records::Records;
pub use sockets::beside;
use sockets::{bind, readable};
pub use status::{Network, Status};

/// Where the node lives and what it is to be.
#[derive(Clone)]
pub struct Options {
    /// Where to listen, one address of each family at most.
    pub listen: Vec<SocketAddr>,
    /// It asks and answers nobody (BEP 43).
    pub read_only: bool,
    /// Where we speak the native peer protocol over TCP; 0 is nowhere.
    pub native_port: u16,
    /// Nodes to begin with, `HOST:PORT`; names are looked up.
    pub bootstrap: Vec<String>,
    /// Where the nodes are kept that we know.
    pub state: Option<PathBuf>,
    /// The ids we had and the nodes we knew, where that is not kept in a file.
    pub known: Vec<Saved>,
    /// The blocks that are here.
    pub holdings: Arc<dyn Holdings + Send + Sync>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("listen", &self.listen).finish_non_exhaustive()
    }
}

/// Why there is no node.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for DHT nodes on {address} (UDP)")]
pub struct DhtError {
    /// The address asked for.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

/// A running node.
#[derive(Debug)]
pub struct Dht {
    orders: mpsc::Sender<Order>,
    searches: Arc<Semaphore>,
    addresses: Vec<SocketAddr>,
    known: Arc<AtomicUsize>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// What comes in while something is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A node told of peers.
    Peers {
        /// The node.
        from: Contact,
        /// The peers.
        peers: Vec<SocketAddr>,
    },
    /// An item that is what it should be.
    Item(Item),
    /// A native node, and which of the blocks it has that it was asked about.
    Native {
        /// The node.
        node: NativeNode,
        /// In the order of the question; empty if it did not say.
        have: Vec<bool>,
    },
}

/// Something that is being looked for. Dropping it gives up.
#[derive(Debug)]
pub struct Search {
    news: mpsc::Receiver<News>,
    outcome: oneshot::Receiver<Outcome>,
    _permit: Option<OwnedSemaphorePermit>,
}

enum Order {
    Search {
        aim: Aim,
        seeds: Vec<Contact>,
        sink: Sink,
    },
    Ping {
        to: SocketAddr,
        answer: oneshot::Sender<Option<Pong>>,
    },
    Entries(Vec<SocketAddr>),
    Heard(SocketAddr),
    /// All names have been looked up once; so many have no address.
    Named {
        unknown: usize,
    },
    Joined(oneshot::Sender<Joined>),
    Status(oneshot::Sender<Status>),
}

impl Dht {
    /// Opens the sockets and joins the network. Of several addresses one that can be had is enough.
    pub fn start(options: Options) -> Result<Self, DhtError> {
        let (mut sockets, mut failed) = (Vec::new(), None);
        for address in &options.listen {
            match bind(*address) {
                Ok(socket) => sockets.push(socket),
                Err(source) => failed = Some(DhtError { address: *address, source }),
            }
        }
        if let (true, Some(error)) = (sockets.is_empty(), failed) {
            return Err(error);
        }
        let addresses: Vec<_> =
            sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect();
        let config = Config {
            families: addresses.iter().map(Family::of).collect(),
            read_only: options.read_only,
            native_port: options.native_port,
            bootstrap: options.bootstrap.iter().filter_map(|entry| entry.parse().ok()).collect(),
            saved: options.state.as_deref().map_or(options.known, saved::read),
        };
        let names = options.bootstrap.iter().filter(|entry| entry.parse::<SocketAddr>().is_err());
        let names: Vec<String> = names.cloned().collect();
        let (orders, received) = mpsc::channel(MAX_SEARCHES);
        let stop = CancellationToken::new();
        let known = Arc::new(AtomicUsize::new(0));
        let node = Node {
            machine: Machine::new(config, rand::random(), Instant::now()),
            sockets,
            holdings: options.holdings,
            state: options.state,
            sinks: BTreeMap::new(),
            groups: BTreeMap::new(),
            pings: BTreeMap::new(),
            last_group: 0,
            unknown: names.is_empty().then_some(0),
            held: Vec::new(),
            joining: Vec::new(),
            known: Arc::clone(&known),
        };
        let tasks = TaskTracker::new();
        tasks.spawn(node.run(received, stop.clone()));
        tasks.spawn(stop.clone().run_until_cancelled_owned(resolve(names, orders.clone())));
        tasks.close();
        let searches = Arc::new(Semaphore::new(MAX_SEARCHES));
        Ok(Self { orders, searches, addresses, known, stop, tasks })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Somebody has a node there: it is asked if we know few.
    pub async fn hear_of(&self, node: SocketAddr) {
        let _ = self.orders.send(Order::Heard(node)).await;
    }

    /// Nodes that it knows at the moment.
    #[must_use]
    pub fn known_nodes(&self) -> usize {
        self.known.load(Ordering::Relaxed)
    }

    /// Asks an address whether a node is there; `None` if none answers within seconds.
    pub async fn ping(&self, to: SocketAddr) -> Option<Pong> {
        let (answer, received) = oneshot::channel();
        self.orders.send(Order::Ping { to, answer }).await.ok()?;
        received.await.ok().flatten()
    }

    /// Looks for something in all networks, with nodes near it if some are known from an earlier
    /// time. It waits until not too much is under way.
    pub async fn search(&self, aim: Aim, seeds: Vec<Contact>) -> Search {
        let permit = Arc::clone(&self.searches).acquire_owned().await.ok();
        let (send_news, news) = mpsc::channel(NEWS_WAITING);
        let (done, outcome) = oneshot::channel();
        let sink = Sink { news: send_news, done };
        // Whoever does not take it any more has ended; then there is no outcome either.
        let _ = self.orders.send(Order::Search { aim, seeds, sink }).await;
        Search { news, outcome, _permit: permit }
    }

    /// Waits until it is in the network, or until nobody is left who could let it in.
    pub async fn joined(&self) -> Joined {
        let (answer, received) = oneshot::channel();
        let _ = self.orders.send(Order::Joined(answer)).await;
        received.await.unwrap_or_default()
    }

    /// How it stands.
    pub async fn status(&self) -> Status {
        let (answer, received) = oneshot::channel();
        let _ = self.orders.send(Order::Status(answer)).await;
        received.await.unwrap_or_default()
    }

    /// Is over when it has ended, whether it was stopped or broke off.
    pub async fn ended(&self) {
        self.orders.closed().await;
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.orders.is_closed()
    }

    /// Has it leave the network, without waiting for that.
    pub fn abandon(&self) {
        self.stop.cancel();
    }

    /// Leaves the network, and saves the nodes that it knows.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for Dht {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Search {
    /// What comes in next; `None` when it is over.
    pub async fn next(&mut self) -> Option<News> {
        self.news.recv().await
    }

    /// How it went. What has come in and was not fetched is lost.
    pub async fn outcome(self) -> Outcome {
        self.outcome.await.unwrap_or_default()
    }
}

struct Sink {
    news: mpsc::Sender<News>,
    done: oneshot::Sender<Outcome>,
}

/// One search in several networks.
struct Group {
    sink: Sink,
    left: usize,
    outcome: Outcome,
}

/// The task that owns the machine.
struct Node {
    machine: Machine,
    sockets: Vec<UdpSocket>,
    holdings: Arc<dyn Holdings + Send + Sync>,
    state: Option<PathBuf>,
    sinks: BTreeMap<TaskId, u64>,
    groups: BTreeMap<u64, Group>,
    pings: BTreeMap<TaskId, oneshot::Sender<Option<Pong>>>,
    last_group: u64,
    /// Entries whose names have no address, once all were looked up.
    unknown: Option<usize>,
    /// Searches that wait for somebody to ask, at most as many as there may be.
    held: Vec<(Aim, Vec<Contact>, Sink)>,
    /// Who waits until we are in the network.
    joining: Vec<oneshot::Sender<Joined>>,
    /// For those who only want to know how many nodes we know.
    known: Arc<AtomicUsize>,
}

impl Node {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>, stop: CancellationToken) {
        let mut buffers = [[0; MAX_DATAGRAM_LEN]; 2];
        let mut save = tokio::time::interval(SAVE_EVERY);
        save.tick().await;
        loop {
            self.flush();
            let [first, second] = &mut buffers;
            tokio::select! {
                () = stop.cancelled() => break,
                order = orders.recv() => match order {
                    Some(order) => self.obey(order),
                    None => break,
                },
                () = readable(self.sockets.first()) => self.read(0, first),
                () = readable(self.sockets.get(1)) => self.read(1, second),
                () = tokio::time::sleep_until(self.machine.next_tick().into()) => {
                    self.machine.tick(Instant::now());
                }
                _ = save.tick() => self.save().await,
            }
        }
        self.save().await;
    }

    /// Sends what is to be sent and tells what is to be told.
    fn flush(&mut self) {
        while let Some(transmit) = self.machine.transmit() {
            let family = Family::of(&transmit.to);
            let is_of = |socket: &&UdpSocket| {
                socket.local_addr().is_ok_and(|address| Family::of(&address) == family)
            };
            let Some(socket) = self.sockets.iter().find(is_of) else { continue };
            tracing::trace!(to = %transmit.to, datagram = %transmit.datagram.escape_ascii(), "sent");
            if let Err(error) = socket.try_send_to(&transmit.datagram, transmit.to)
                && error.kind() != io::ErrorKind::WouldBlock
            {
                self.machine.undeliverable(transmit.to, Instant::now());
            }
        }
        while let Some(event) = self.machine.event() {
            self.tell(event);
        }
        if !self.held.is_empty() && self.may_search() {
            for (aim, seeds, sink) in std::mem::take(&mut self.held) {
                self.search(&aim, &seeds, sink, Instant::now());
            }
        }
        self.tell_joined();
        self.known.store(self.machine.known_nodes(), Ordering::Relaxed);
    }

    fn tell(&mut self, event: Event) {
        match event {
            Event::Peers { task, from, peers, .. } => self.news(task, News::Peers { from, peers }),
            Event::Item { task, item } => self.news(task, News::Item(item)),
            Event::Native { task, node, have } => self.news(task, News::Native { node, have }),
            Event::Pong { task, answer } => {
                if let Some(waiting) = self.pings.remove(&task) {
                    let _ = waiting.send(answer);
                }
            }
            Event::Done { task, outcome } => self.done(task, outcome),
        }
    }

    fn news(&mut self, task: TaskId, news: News) {
        let group = self.sinks.get(&task).and_then(|group| self.groups.get(group));
        let Some(group) = group else { return };
        if let Err(mpsc::error::TrySendError::Closed(_)) = group.sink.news.try_send(news) {
            self.sinks.remove(&task);
            self.machine.cancel(task);
        }
    }

    fn done(&mut self, task: TaskId, outcome: Outcome) {
        let Some(number) = self.sinks.remove(&task) else { return };
        let Some(group) = self.groups.get_mut(&number) else { return };
        group.left -= 1;
        group.outcome.add(outcome);
        self.end_if_over(number);
    }

    fn end_if_over(&mut self, number: u64) {
        if self.groups.get(&number).is_some_and(|group| group.left == 0)
            && let Some(group) = self.groups.remove(&number)
        {
            let _ = group.sink.done.send(group.outcome);
        }
    }

    fn obey(&mut self, order: Order) {
        let now = Instant::now();
        match order {
            Order::Search { aim, seeds, sink } if self.may_search() => {
                self.search(&aim, &seeds, sink, now);
            }
            Order::Search { aim, seeds, sink } => self.held.push((aim, seeds, sink)),
            Order::Ping { to, answer } => {
                let task = self.machine.ping(to, now);
                self.pings.insert(task, answer);
            }
            Order::Entries(entries) => self.machine.add_entries(entries, now),
            Order::Heard(node) => self.machine.hear_of(node, now),
            Order::Named { unknown } => self.unknown = Some(unknown),
            Order::Joined(answer) => self.joining.push(answer),
            Order::Status(answer) => {
                let _ = answer.send(self.status(now));
            }
        }
    }

    /// Whether somebody can be asked, or it is known that nobody can: names are still looked up.
    fn may_search(&self) -> bool {
        self.unknown.is_some() || self.machine.known_nodes() > 0
    }

    fn search(&mut self, aim: &Aim, seeds: &[Contact], sink: Sink, now: Instant) {
        self.last_group += 1;
        let number = self.last_group;
        let begun = Family::ALL.map(|family| {
            let is_of = |seed: &&Contact| Family::of(&seed.address) == family;
            let seeds: Vec<Contact> = seeds.iter().filter(is_of).copied().collect();
            self.machine.begin(aim.clone(), family, &seeds, now)
        });
        let begun: Vec<TaskId> = begun.into_iter().flatten().collect();
        let group = Group { sink, left: begun.len(), outcome: Outcome::default() };
        self.groups.insert(number, group);
        self.sinks.extend(begun.into_iter().map(|task| (task, number)));
        self.end_if_over(number);
    }

    fn read(&mut self, socket: usize, buffer: &mut [u8]) {
        for _ in 0..READ_AT_ONCE {
            let Some(socket) = self.sockets.get(socket) else { return };
            // An error is a message from a router about a datagram of ours; the next one is read.
            match socket.try_recv_from(buffer) {
                Ok((length, from)) => {
                    let datagram = buffer.get(..length).unwrap_or_default();
                    tracing::trace!(%from, datagram = %datagram.escape_ascii(), "received");
                    self.machine.handle(from, datagram, &*self.holdings, Instant::now());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {}
            }
        }
    }

    async fn save(&mut self) {
        // Who gave up a search without a word is noticed here at the latest.
        let closed = |group: &Group| group.sink.news.is_closed();
        let given_up: Vec<TaskId> = self
            .sinks
            .iter()
            .filter(|(_, number)| self.groups.get(number).is_none_or(closed))
            .map(|(task, _)| *task)
            .collect();
        for task in given_up {
            self.sinks.remove(&task);
            self.machine.cancel(task);
        }
        self.groups.retain(|_, group| !group.sink.news.is_closed());
        let Some(path) = self.state.clone() else { return };
        let known: Vec<Saved> = self.machine.save(Instant::now());
        if known.iter().all(|side| side.contacts.is_empty()) {
            return;
        }
        let saved = tokio::task::spawn_blocking(move || saved::write(&path, &known)).await;
        if let Ok(Err(error)) = saved {
            tracing::warn!("the nodes of the DHT are not remembered: {error}");
        }
    }
}

impl Outcome {
    /// Takes in how the same went in another network.
    fn add(&mut self, other: Self) {
        self.closest.extend(other.closest);
        self.asked += other.asked;
        self.answered += other.answered;
        self.stored += other.stored;
        self.refused = self.refused.take().or(other.refused);
    }
}
