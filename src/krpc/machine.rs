//! A node of the DHT without a socket and without a clock.
//!
//! What arrives is handed to [`handle`](Machine::handle), time to [`tick`](Machine::tick); what must
//! go out is taken from [`transmit`](Machine::transmit), what came of it from
//! [`event`](Machine::event). Given the same seed, datagrams and times, it does the same.
//!
//! | file | what it does |
//! |---|---|
//! | [`mod`](self) | what the node is made of, and the way of a datagram |
//! | `answers` | what others are answered |
//! | `tasks` | lookups, and what follows at the nodes they find |
//! | `bootstrap` | getting into the network, and into it again |
//! | `upkeep` | refresh, pings, our own id |
//! | `words` | what a machine is told, and what it tells |
//!
//! # Manners
//!
//! No host gets more than four queries a second. Queries of others are answered up to a rate per
//! host and in all; before an address has proven itself, by an answer to a query of ours or by a
//! token, it gets no more bytes than it sent (ATTACKS 14). A node gets into the routing table only
//! by answering us. A read-only node (BEP 43) answers nobody and says so.

mod answers;
mod bootstrap;
mod tasks;
#[cfg(test)]
mod tests;
mod upkeep;
mod words;

pub use words::{
    Aim, Config, Counters, Event, Holdings, Membership, Nothing, Outcome, Pong, Saved, TaskId,
    Transmit,
};

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::contact::{Contact, Family, Host};
use super::fit::fit;
use super::guard::{Guard, Pacer};
use super::items::Items;
use super::message::{
    Body, Extra, KrpcError, Message, MessageError, Method, Query, Response, Want,
};
use super::native::{NativeNode, OffAnswer, OffQuery};
use super::natives::Natives;
use super::peers::Peers;
use super::queries::{Due, Pending, Queries};
use super::routing::{Standing, Table};
use super::secure::AddressVotes;
use super::tokens::Tokens;
use crate::id::{BlockId, NodeId};
use crate::limits::dht::{MAX_SENT_DATAGRAM_LEN, STORES_SWEPT_EVERY};

use bootstrap::Bootstrap;
use tasks::{Purpose, Task};

/// Who we are to other nodes: `OS` and the version.
const VERSION: &[u8] = b"OS\x00\x01";

/// What a node is asked.
#[derive(Debug)]
struct Question {
    to: SocketAddr,
    contact: Option<Contact>,
    method: Method,
    token: Option<Vec<u8>>,
    ids: Vec<BlockId>,
    /// Nothing but the bare query, as short as can be.
    brief: bool,
    purpose: Purpose,
}

impl Question {
    fn new(to: SocketAddr, method: Method, purpose: Purpose) -> Self {
        Self { to, contact: None, method, token: None, ids: Vec::new(), brief: false, purpose }
    }
}

/// One of the two networks we are in.
#[derive(Debug)]
struct Side {
    family: Family,
    table: Table,
    votes: AddressVotes,
    bootstrap: Bootstrap,
}

/// A node.
#[derive(Debug)]
pub struct Machine {
    config: Config,
    chance: StdRng,
    sides: Vec<Side>,
    guard: Guard,
    pacer: Pacer,
    tokens: Tokens,
    peers: Peers,
    items: Items,
    natives: Natives,
    queries: Queries<Purpose>,
    tasks: BTreeMap<TaskId, Task>,
    last_task: u64,
    outbox: VecDeque<Transmit>,
    events: VecDeque<Event>,
    counters: Counters,
    swept: Instant,
    /// No native node is asked on the word of another one before that.
    gossip_from: Instant,
}

impl Machine {
    /// A node that knows what `config` tells it. All its chance comes from `seed`.
    #[must_use]
    pub fn new(config: Config, seed: [u8; 32], now: Instant) -> Self {
        let mut chance = StdRng::from_seed(seed);
        let sides =
            config.families.iter().map(|family| Side::new(*family, &config, &mut chance, now));
        let sides = sides.collect();
        let tokens = Tokens::new(&mut chance, now);
        let mut machine = Self {
            config,
            chance,
            sides,
            guard: Guard::new(now),
            pacer: Pacer::default(),
            tokens,
            peers: Peers::default(),
            items: Items::default(),
            natives: Natives::default(),
            queries: Queries::default(),
            tasks: BTreeMap::new(),
            last_task: 0,
            outbox: VecDeque::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
            swept: now,
            gossip_from: now,
        };
        machine.bootstrap(now);
        machine
    }

    /// A datagram has arrived.
    pub fn handle(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        holdings: &dyn Holdings,
        now: Instant,
    ) {
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        self.counters.received += 1;
        self.counters.received_bytes += datagram.len() as u64;
        if self.side(Family::of(&from)).is_none() {
            return;
        }
        match Message::decode(datagram) {
            Ok(message) => self.take(from, message, datagram.len(), holdings, now),
            Err(MessageError::Query { transaction, lacks }) if !self.config.read_only => {
                if self.is_welcome(from, datagram.len(), now) {
                    let error =
                        KrpcError::new(KrpcError::PROTOCOL, format!("a query without {lacks}"));
                    self.reply(from, transaction, Body::Error(error), false, now);
                }
            }
            Err(_) => {}
        }
    }

    fn take(
        &mut self,
        from: SocketAddr,
        message: Message,
        length: usize,
        holdings: &dyn Holdings,
        now: Instant,
    ) {
        let Message { transaction, body, version, ip, read_only, .. } = message;
        match body {
            Body::Query(query) => {
                if !self.config.read_only && self.is_welcome(from, length, now) {
                    self.answer(from, transaction, &query, read_only, holdings, now);
                }
            }
            Body::Response(response) => {
                if let Some(pending) = self.queries.take(&transaction, from) {
                    self.answered(&pending, *response, version, ip, now);
                }
            }
            Body::Error(error) => {
                if let Some(pending) = self.queries.take(&transaction, from) {
                    self.guard.prove(from, now);
                    self.refused(&pending, &error, now);
                }
            }
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Instant) {
        while let Some(due) = self.queries.due(now) {
            match due {
                Due::Send { to, datagram } => self.send(to, datagram),
                Due::Slow(pending) => self.slow(&pending, now),
                Due::Silent(pending) => self.silent(&pending, now),
            }
        }
        self.keep_up(now);
        if now.saturating_duration_since(self.swept) >= STORES_SWEPT_EVERY {
            self.swept = now;
            self.peers.expire(now);
            self.items.expire(now);
        }
    }

    /// A datagram cannot be sent there: what was asked is not answered.
    pub fn undeliverable(&mut self, to: SocketAddr, now: Instant) {
        for pending in self.queries.take_all(to) {
            self.silent(&pending, now);
        }
    }

    /// When [`tick`](Self::tick) is to be called at the latest.
    #[must_use]
    pub fn next_tick(&self) -> Instant {
        let upkeep = self.sides.iter().filter_map(Side::next);
        let swept = self.swept + STORES_SWEPT_EVERY;
        upkeep.chain(self.queries.next()).fold(swept, Instant::min)
    }

    /// The next datagram to send.
    pub fn transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    /// The next thing that came of what was begun.
    pub fn event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What went over the wire so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Our id in a network.
    #[must_use]
    pub fn id(&self, family: Family) -> Option<NodeId> {
        self.side(family).map(|side| side.table.own())
    }

    /// Whether we are in a network.
    #[must_use]
    pub fn membership(&self, family: Family) -> Option<Membership> {
        self.side(family).map(Side::membership)
    }

    /// Our address, as others see it.
    #[must_use]
    pub fn external_ip(&self, family: Family) -> Option<IpAddr> {
        self.side(family).and_then(|side| side.votes.agreed())
    }

    /// The nodes of a network that we know.
    #[must_use]
    pub fn contacts(&self, family: Family, now: Instant) -> Vec<(Contact, Standing)> {
        self.side(family).map(|side| side.table.contacts(now).collect()).unwrap_or_default()
    }

    /// How many nodes of all networks we know.
    #[must_use]
    pub fn known_nodes(&self) -> usize {
        self.sides.iter().map(|side| side.table.len()).sum()
    }

    /// Native nodes that we know.
    #[must_use]
    pub fn native_nodes(&self, now: Instant) -> Vec<NativeNode> {
        self.natives.fresh(now).collect()
    }

    /// Peers and items that others have us keep.
    #[must_use]
    pub fn kept(&self) -> (usize, usize) {
        (self.peers.len(), self.items.len())
    }

    /// Our ids and the nodes that answered us, for the next start.
    #[must_use]
    pub fn save(&self, now: Instant) -> Vec<Saved> {
        let side = |side: &Side| {
            let alive = side.table.contacts(now).filter(|(_, standing)| *standing != Standing::Bad);
            let contacts = alive.map(|(contact, _)| contact).collect();
            Saved { family: side.family, id: side.table.own(), contacts }
        };
        self.sides.iter().map(side).collect()
    }

    fn side(&self, family: Family) -> Option<&Side> {
        self.sides.iter().find(|side| side.family == family)
    }

    fn side_mut(&mut self, family: Family) -> Option<&mut Side> {
        self.sides.iter_mut().find(|side| side.family == family)
    }

    /// Whether a datagram is within the rates.
    fn is_welcome(&mut self, from: SocketAddr, length: usize, now: Instant) -> bool {
        let welcome = self.guard.arrived(from, length, now);
        self.counters.dropped += u64::from(!welcome);
        welcome
    }

    /// Sends an answer, as long as it may be, or with no more than it must have.
    fn reply(
        &mut self,
        to: SocketAddr,
        transaction: Vec<u8>,
        body: Body,
        brief: bool,
        now: Instant,
    ) {
        let limit = self.guard.allowance(to, now).min(MAX_SENT_DATAGRAM_LEN);
        let message = Message {
            transaction,
            body,
            version: (!brief).then(|| VERSION.to_vec()),
            ip: (!brief).then_some(to),
            read_only: false,
            extra: Extra::new(),
        };
        if let Some(datagram) = fit(message, limit) {
            self.guard.sent(to, datagram.len());
            self.send(to, datagram);
        } else {
            self.counters.dropped += 1;
        }
    }

    /// Asks a node something, as soon as manners allow. False if too much is under way.
    fn ask(&mut self, question: Question, now: Instant) -> bool {
        let Question { to, contact, method, token, ids, brief, purpose } = question;
        let Some(id) = self.id(Family::of(&to)).filter(|_| self.queries.has_room()) else {
            return false;
        };
        let transaction = self.queries.transaction(&mut self.chance);
        let ids = if self.natives.is_native(to) { ids } else { Vec::new() };
        let is_common = method.is_common();
        let both = self.sides.len() > 1 && method.finds_nodes();
        let query = Query {
            id,
            want: Want { v4: both, v6: both },
            method,
            token,
            off: (!brief).then_some(OffQuery { ids, port: self.config.native_port }),
            extra: Extra::new(),
        };
        let message = Message {
            transaction: transaction.to_be_bytes().to_vec(),
            body: Body::Query(Box::new(query)),
            version: (!brief).then(|| VERSION.to_vec()),
            ip: None,
            read_only: self.config.read_only,
            extra: Extra::new(),
        };
        let (sent, datagram) = (self.pacer.slot(to, now), message.encode());
        let pending = Pending { to, contact, purpose, is_common, sent };
        self.guard.asked(to, now);
        self.guard.sent(to, datagram.len());
        if sent > now {
            self.queries.add(transaction, pending, Some(datagram));
        } else {
            self.queries.add(transaction, pending, None);
            self.send(to, datagram);
        }
        true
    }

    fn send(&mut self, to: SocketAddr, datagram: Vec<u8>) {
        self.counters.sent += 1;
        self.counters.sent_bytes += datagram.len() as u64;
        self.outbox.push_back(Transmit { to, datagram });
    }
}
