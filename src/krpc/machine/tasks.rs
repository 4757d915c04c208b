//! Lookups, and what follows at the nodes they find.

use std::net::SocketAddr;
use std::time::Instant;

use super::{Aim, Event, Machine, NativeNode, Outcome, Pending, Pong, Question, Response, TaskId};
use crate::address::may_dial_told;
use crate::id::BlockId;
use crate::id::InfoHash;
use crate::krpc::contact::{Contact, Family};
use crate::krpc::item::{Item, ItemError, MutableItem, Value};
use crate::krpc::lookup::{Answer, Ask, Found, Lookup};
use crate::krpc::message::{KrpcError, Method, RawItem};
use crate::limits::dht::{LOOKUP_SEEDS, MAX_TASKS, NATIVE_PROBES, QUERY_SLOW};

/// What a query is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To see whether somebody is there; a user waits for it.
    Ping(Option<TaskId>),
    /// To get into the network; asked so many times, this one included.
    Bootstrap(u8),
    /// To get closer to a target.
    Look(TaskId),
    /// To leave something at a node.
    Store(TaskId),
}

/// A lookup with what it is for.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) aim: Aim,
    pub(super) family: Family,
    pub(super) lookup: Lookup,
    stage: Stage,
    outcome: Outcome,
    /// Whether anybody is told of it; else it is our own upkeep.
    pub(super) told: bool,
    probes: usize,
    /// Nodes that are to keep something, and are asked once more if they say nothing.
    keepers: Vec<Found>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Until we are in the network.
    Waiting,
    Looking,
    Storing {
        left: usize,
    },
}

/// What became of a gift at a node.
#[derive(Debug, Clone, Copy)]
enum Stored<'a> {
    Kept,
    Refused(&'a KrpcError),
    Silence,
}

impl Aim {
    fn target(&self) -> crate::id::Target {
        match self {
            Self::Nodes(target) | Self::Natives(target) | Self::Item { target, .. } => *target,
            Self::Peers { infohash, .. } | Self::Announce { infohash, .. } => infohash.target(),
            Self::Put { item, .. } => item.target(),
        }
    }

    /// What is asked on the way.
    fn method(&self) -> Method {
        match self {
            Self::Nodes(target) => Method::FindNode { target: *target },
            Self::Natives(target) => Method::OffFind { target: *target },
            Self::Peers { infohash, .. } | Self::Announce { infohash, .. } => {
                Method::GetPeers { infohash: *infohash }
            }
            Self::Item { target, .. } => Method::Get { target: *target, seq: None },
            Self::Put { item, .. } => Method::Get { target: item.target(), seq: None },
        }
    }

    /// What is left at the nodes it finds.
    fn gift(&self) -> Option<Method> {
        match self {
            Self::Nodes(_) | Self::Natives(_) | Self::Peers { .. } | Self::Item { .. } => None,
            Self::Announce { infohash, port, seed } => Some(Method::AnnouncePeer {
                infohash: *infohash,
                port: *port,
                implied_port: false,
                seed: *seed,
            }),
            Self::Put { item, cas } => Some(Method::Put { item: raw(item), cas: *cas }),
        }
    }

    fn ids(&self) -> &[BlockId] {
        if let Self::Peers { ids, .. } = self { ids } else { &[] }
    }

    /// Whether peers of this swarm are native nodes themselves.
    fn is_for_natives(&self) -> bool {
        matches!(self, Self::Peers { infohash, .. } | Self::Announce { infohash, .. }
            if *infohash == InfoHash::native())
    }
}

impl Machine {
    /// Begins something in one of the networks, with nodes near its target if some are known from
    /// an earlier time. Events tell of it. `None` if there is too much under way, or no socket.
    pub fn begin(
        &mut self,
        aim: Aim,
        family: Family,
        seeds: &[Contact],
        now: Instant,
    ) -> Option<TaskId> {
        self.start(aim, family, seeds, true, now)
    }

    /// Ends something, without an event.
    pub fn cancel(&mut self, task: TaskId) {
        self.tasks.remove(&task);
    }

    /// Asks an address whether a node is there.
    pub fn ping(&mut self, to: SocketAddr, now: Instant) -> TaskId {
        let task = self.next_task();
        if !self.ask(Question::new(to, Method::Ping, Purpose::Ping(Some(task))), now) {
            self.events.push_back(Event::Pong { task, answer: None });
        }
        task
    }

    /// Begins something for a user or for ourselves.
    pub(super) fn start(
        &mut self,
        aim: Aim,
        family: Family,
        seeds: &[Contact],
        told: bool,
        now: Instant,
    ) -> Option<TaskId> {
        let side = self.side(family).filter(|_| self.tasks.len() < MAX_TASKS)?;
        let target = aim.target();
        let known = match aim {
            Aim::Natives(_) => self.natives.closest(&target, family, LOOKUP_SEEDS, now),
            _ => side.table.closest(&target, LOOKUP_SEEDS, now),
        };
        let is_ready = side.bootstrap.may_look() || !told;
        let lookup = Lookup::new(target, seeds.iter().copied().chain(known));
        Some(self.start_with(aim, family, lookup, is_ready, told, now))
    }

    /// Begins with a lookup that has its first nodes.
    pub(super) fn start_with(
        &mut self,
        aim: Aim,
        family: Family,
        lookup: Lookup,
        is_ready: bool,
        told: bool,
        now: Instant,
    ) -> TaskId {
        let stage = if is_ready { Stage::Looking } else { Stage::Waiting };
        let task = self.next_task();
        let outcome = Outcome::default();
        let keepers = Vec::new();
        let begun = Task { aim, family, lookup, stage, outcome, told, probes: 0, keepers };
        self.tasks.insert(task, begun);
        self.advance(task, now);
        task
    }

    fn next_task(&mut self) -> TaskId {
        self.last_task += 1;
        TaskId(self.last_task)
    }

    /// Begins what has waited for us to get into the network.
    pub(super) fn start_waiting(&mut self, family: Family, now: Instant) {
        let waits = |task: &Task| task.family == family && task.stage == Stage::Waiting;
        let waiting: Vec<TaskId> =
            self.tasks.iter().filter(|(_, task)| waits(task)).map(|(id, _)| *id).collect();
        for id in waiting {
            let Some(task) = self.tasks.get_mut(&id) else { continue };
            let target = task.lookup.target();
            task.stage = Stage::Looking;
            if let Some(side) = self.sides.iter().find(|side| side.family == family) {
                let known = side.table.closest(&target, LOOKUP_SEEDS, now);
                for contact in known {
                    task.lookup.begin_with([contact]);
                }
            }
            self.advance(id, now);
        }
    }

    /// Asks whom the lookup wants to be asked, and goes on when it is done.
    pub(super) fn advance(&mut self, id: TaskId, now: Instant) {
        loop {
            let Some(task) = self.tasks.get_mut(&id) else { return };
            if task.stage != Stage::Looking {
                return;
            }
            let Some(Ask { contact, token }) = task.lookup.next_ask() else {
                if task.lookup.is_done() {
                    self.looked(id, now);
                }
                return;
            };
            let (method, ids) = (task.aim.method(), task.aim.ids().to_vec());
            let to = contact.address;
            let purpose = Purpose::Look(id);
            let question = Question {
                contact: Some(contact),
                token,
                ids,
                ..Question::new(to, method, purpose)
            };
            if !self.ask(question, now)
                && let Some(task) = self.tasks.get_mut(&id)
            {
                task.lookup.is_slow(to);
            }
        }
    }

    /// A lookup is done: what is to be left at the nodes it found is left there.
    fn looked(&mut self, id: TaskId, now: Instant) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let found = task.lookup.closest();
        task.outcome.closest = found.iter().map(|found| found.contact).collect();
        task.stage = Stage::Storing { left: 0 };
        if let Some(method) = task.aim.gift() {
            task.keepers.clone_from(&found);
            for keeper in found {
                if self.give(id, keeper, method.clone(), now)
                    && let Some(Task { stage: Stage::Storing { left }, .. }) =
                        self.tasks.get_mut(&id)
                {
                    *left += 1;
                }
            }
        }
        self.finish_if_done(id, now);
    }

    /// Leaves something at a node; false if it gave no token, or too much is under way.
    fn give(&mut self, id: TaskId, keeper: Found, method: Method, now: Instant) -> bool {
        let Found { contact, token: Some(token) } = keeper else { return false };
        let purpose = Purpose::Store(id);
        let question = Question::new(contact.address, method, purpose);
        self.ask(Question { contact: Some(contact), token: Some(token), ..question }, now)
    }

    fn finish_if_done(&mut self, id: TaskId, now: Instant) {
        let is_done = |task: &Task| task.stage == Stage::Storing { left: 0 };
        if !self.tasks.get(&id).is_some_and(is_done) {
            return;
        }
        let Some(task) = self.tasks.remove(&id) else { return };
        let mut outcome = task.outcome;
        (outcome.asked, outcome.answered) = task.lookup.counts();
        if task.told {
            self.events.push_back(Event::Done { task: id, outcome });
        } else {
            self.kept_up(task.family, now);
        }
    }

    /// A node has answered a query.
    pub(super) fn answered(
        &mut self,
        pending: &Pending<Purpose>,
        response: Response,
        version: Option<Vec<u8>>,
        ip: Option<SocketAddr>,
        now: Instant,
    ) {
        let contact = Contact { id: response.id, address: pending.to };
        self.note_answer(pending, &response, contact, ip, now);
        let native = response.off.as_ref().map(|off| self.natives.answered(contact, off.port, now));
        if native.is_none() {
            self.natives.failed(pending.to);
        }
        match pending.purpose {
            Purpose::Ping(None) => {}
            Purpose::Ping(Some(task)) => {
                let native = response.off.map(|off| off.port);
                let after = now.saturating_duration_since(pending.sent);
                let answer = Some(Pong { contact, version, after, ip, native });
                self.events.push_back(Event::Pong { task, answer });
            }
            Purpose::Bootstrap(_) => self.bootstrapped(contact, &response, now),
            Purpose::Look(task) => {
                self.tell(task, contact, &response, native);
                self.go_on(task, contact, &response, now);
            }
            Purpose::Store(task) => self.stored(task, Stored::Kept, now),
        }
    }

    /// A node has refused a query. That it does not know a method is no fault of it.
    pub(super) fn refused(&mut self, pending: &Pending<Purpose>, error: &KrpcError, now: Instant) {
        // It is there, so that nothing is said against its place in the table.
        match pending.purpose {
            Purpose::Store(task) => self.stored(task, Stored::Refused(error), now),
            Purpose::Look(id) => {
                if let Some(task) = self.tasks.get_mut(&id) {
                    task.lookup.refused(pending.to);
                    self.advance(id, now);
                }
            }
            _ if pending.is_common => self.silent(pending, now),
            _ => self.not_answered(pending, now),
        }
    }

    /// A node takes its time.
    pub(super) fn slow(&mut self, pending: &Pending<Purpose>, now: Instant) {
        if let Purpose::Bootstrap(tries) = pending.purpose {
            self.bootstrap_is_slow(pending.to, tries, now);
        }
        if let Purpose::Look(id) = pending.purpose
            && let Some(task) = self.tasks.get_mut(&id)
        {
            task.lookup.is_slow(pending.to);
            if !task.told {
                self.open(Family::of(&pending.to), now);
            }
            self.advance(id, now);
        }
    }

    /// A node has said nothing. If it need not, a ping shows whether it is there.
    pub(super) fn silent(&mut self, pending: &Pending<Purpose>, now: Instant) {
        if pending.is_common {
            self.note_silence(pending.to, now);
        } else {
            self.doubt(pending.to, now);
        }
        self.not_answered(pending, now);
    }

    /// Goes on without what was asked for.
    fn not_answered(&mut self, pending: &Pending<Purpose>, now: Instant) {
        match pending.purpose {
            Purpose::Ping(Some(task)) => self.events.push_back(Event::Pong { task, answer: None }),
            Purpose::Bootstrap(tries) => self.not_bootstrapped(pending.to, tries, now),
            // What is slow has been given up already; this could not be sent at all.
            Purpose::Look(id) if now < pending.sent + QUERY_SLOW => {
                if let Some(task) = self.tasks.get_mut(&id) {
                    task.lookup.is_slow(pending.to);
                    self.advance(id, now);
                }
            }
            Purpose::Look(_) | Purpose::Ping(None) => {}
            Purpose::Store(task) => {
                if !self.give_again(task, pending.to, now) {
                    self.stored(task, Stored::Silence, now);
                }
            }
        }
    }

    /// Asks a node once more that has just been there: a datagram was lost.
    fn give_again(&mut self, id: TaskId, to: SocketAddr, now: Instant) -> bool {
        let Some(task) = self.tasks.get_mut(&id) else { return false };
        let place = task.keepers.iter().position(|keeper| keeper.contact.address == to);
        let Some((keeper, method)) =
            place.map(|place| task.keepers.swap_remove(place)).zip(task.aim.gift())
        else {
            return false;
        };
        self.give(id, keeper, method, now)
    }

    /// Tells what a node on the way knows.
    fn tell(&mut self, id: TaskId, from: Contact, response: &Response, native: Option<NativeNode>) {
        let Some(task) = self.tasks.get_mut(&id).filter(|task| task.told) else { return };
        let hops = task.lookup.depth(from.address) + 1;
        if matches!(task.aim, Aim::Peers { .. } | Aim::Announce { .. }) {
            let ip = from.address.ip();
            let peers = response.values.iter().copied().filter(|peer| may_dial_told(*peer, ip));
            let peers: Vec<SocketAddr> = peers.collect();
            if !peers.is_empty() {
                self.events.push_back(Event::Peers { task: id, from, peers, hops });
            }
        }
        if let Some(node) = native {
            let asked = task.aim.ids().len();
            let off = response.off.as_ref().filter(|off| !off.have.is_empty());
            let have = off.map(|off| (0..asked).map(|number| off.has(number)).collect());
            let have = have.unwrap_or_default();
            self.events.push_back(Event::Native { task: id, node, have });
        }
        if let Some(item) = item_for(&task.aim, response) {
            self.events.push_back(Event::Item { task: id, item });
        }
    }

    /// Takes a lookup a step further by an answer.
    fn go_on(&mut self, id: TaskId, from: Contact, response: &Response, now: Instant) {
        let Some(task) = self.tasks.get(&id) else { return };
        let (family, for_natives) = (task.family, task.aim.is_for_natives());
        let contacts = self.believable(response.contacts(), from.address, family);
        let off = response.off.as_ref();
        let answer =
            Answer { contacts, cut: off.is_some_and(|off| off.cut), token: response.token.clone() };
        if let Some(task) = self.tasks.get_mut(&id) {
            let is_expected = task.lookup.answered(from.address, from.id, answer);
            if is_expected && for_natives {
                self.probe(id, from, &response.values, now);
            }
        }
        self.advance(id, now);
    }

    /// Peers of the native swarm answer KRPC on the same port: some of them are asked.
    fn probe(&mut self, id: TaskId, from: Contact, peers: &[SocketAddr], now: Instant) {
        for peer in peers.iter().filter(|peer| may_dial_told(**peer, from.address.ip())) {
            let Some(task) = self.tasks.get_mut(&id) else { return };
            if task.probes < NATIVE_PROBES && !self.natives.is_native(*peer) {
                task.probes += 1;
                self.ask(Question::new(*peer, Method::Ping, Purpose::Ping(None)), now);
            }
        }
    }

    /// A node has taken a gift, refused it, or said nothing.
    fn stored(&mut self, id: TaskId, how: Stored<'_>, now: Instant) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        if let Stage::Storing { left } = &mut task.stage {
            *left = left.saturating_sub(1);
        }
        match how {
            Stored::Kept => task.outcome.stored += 1,
            Stored::Refused(error) => {
                task.outcome.refused.get_or_insert_with(|| error.clone());
            }
            Stored::Silence => {}
        }
        self.finish_if_done(id, now);
    }
}

/// The item that an answer has for somebody who looks for it, if it is what it should be.
fn item_for(aim: &Aim, response: &Response) -> Option<Item> {
    let (Aim::Item { target, salt }, Some(raw)) = (aim, &response.item) else { return None };
    let item = check(raw, salt).ok()?;
    (item.target() == *target).then_some(item)
}

/// Checks an item of a message, whose salt may stand elsewhere.
pub(super) fn check(raw: &RawItem, salt: &[u8]) -> Result<Item, KrpcError> {
    let refused = |error: ItemError| KrpcError::new(error.code(), error.to_string());
    let lacks = |what| KrpcError::new(KrpcError::PROTOCOL, format!("an item without {what}"));
    let value = raw.value.as_deref().ok_or_else(|| lacks("a value"))?;
    let value = Value::check(value).map_err(refused)?;
    let Some(key) = raw.key else { return Ok(Item::Immutable(value)) };
    let signature = raw.signature.ok_or_else(|| lacks("a signature"))?;
    let seq = raw.seq.ok_or_else(|| lacks("a number"))?;
    let item = MutableItem::check(key, salt, seq, value, signature).map_err(refused)?;
    Ok(Item::Mutable(item))
}

/// An item as it stands in a message.
pub(super) fn raw(item: &Item) -> RawItem {
    match item {
        Item::Immutable(value) => {
            RawItem { value: Some(value.as_bytes().to_vec()), ..RawItem::default() }
        }
        Item::Mutable(item) => RawItem {
            value: Some(item.value().as_bytes().to_vec()),
            key: Some(item.key()),
            signature: Some(*item.signature()),
            salt: item.salt().to_vec(),
            seq: Some(item.seq()),
        },
    }
}
