//! Getting into the network, and into it again.

use std::net::SocketAddr;
use std::time::Instant;

use rand::Rng;
use rand::rngs::StdRng;

use super::tasks::{Purpose, Task};
use super::{
    AddressVotes, Aim, Config, Contact, Family, Machine, Membership, Method, NodeId, Question,
    Response, Side, Table, TaskId,
};
use crate::address::may_dial;
use crate::krpc::lookup::Lookup;
use crate::limits::dht::{
    BOOTSTRAP_AT_ONCE, BOOTSTRAP_RETRY_FIRST, BOOTSTRAP_RETRY_LAST, BUCKET_NODES, FEW_NODES,
    LOOKUP_PATHS, LOOKUP_TRIES,
};

/// How we get into a network.
#[derive(Debug)]
pub(super) struct Bootstrap {
    /// Who is asked for nodes: those known from last time, and those that were named.
    entries: Vec<SocketAddr>,
    /// How many of them were asked the last time.
    asked: usize,
    stage: Stage,
    /// Entries whose time is not over.
    waiting: Vec<SocketAddr>,
    /// Entries that have answered since they were asked: what they say again counts for nothing.
    heard: Vec<SocketAddr>,
    /// What entries have named, each with itself.
    named: Vec<Vec<Contact>>,
    /// Attempts that did not bring a bucketful of nodes.
    failures: u32,
    retry: Option<Instant>,
    /// Enough of the network is known for lookups to begin.
    joined: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Entries are asked for nodes near us.
    Asking,
    /// The way to our own id is being looked for.
    Joining,
    Ready,
}

impl Bootstrap {
    /// Whether it is time to try again; if we lost all nodes, it soon will be.
    pub(super) fn is_due(&mut self, is_lost: bool, now: Instant) -> bool {
        if is_lost && self.retry.is_none() && !self.entries.is_empty() {
            self.retry = Some(now + BOOTSTRAP_RETRY_FIRST);
        }
        self.retry.is_some_and(|at| at <= now)
    }

    /// Entries are to be asked anew.
    fn begin(&mut self) {
        (self.stage, self.retry, self.asked) = (Stage::Asking, None, 0);
        self.waiting.clear();
        self.heard.clear();
        self.named.clear();
    }

    fn try_again(&mut self, now: Instant) {
        let doubled = 2_u32.saturating_pow(self.failures);
        let pause = BOOTSTRAP_RETRY_FIRST.saturating_mul(doubled).min(BOOTSTRAP_RETRY_LAST);
        self.failures = self.failures.saturating_add(1);
        self.retry = Some(now + pause);
    }

    pub(super) fn is_ready(&self) -> bool {
        self.stage == Stage::Ready
    }

    /// Whether lookups can begin: we are in the network, or nobody is there.
    pub(super) fn may_look(&self) -> bool {
        self.joined || self.is_ready()
    }
}

impl Side {
    pub(super) fn new(family: Family, config: &Config, chance: &mut StdRng, now: Instant) -> Self {
        let is_ours = |contact: &&Contact| Family::of(&contact.address) == family;
        let saved = config.saved.iter().find(|saved| saved.family == family);
        let mut own = [0; NodeId::LEN];
        chance.fill_bytes(&mut own);
        let own = saved.map_or(NodeId::from_bytes(own), |saved| saved.id);
        let known = saved.iter().flat_map(|saved| &saved.contacts).filter(is_ours);
        let known = known.map(|contact| contact.address).take(BOOTSTRAP_AT_ONCE);
        let named = config.bootstrap.iter().copied().filter(|entry| Family::of(entry) == family);
        let entries = known.chain(named).collect();
        let bootstrap = Bootstrap {
            entries,
            asked: 0,
            stage: Stage::Ready,
            waiting: Vec::new(),
            heard: Vec::new(),
            named: Vec::new(),
            failures: 0,
            retry: None,
            joined: false,
        };
        Self { family, table: Table::new(own, now), votes: AddressVotes::new(family), bootstrap }
    }

    /// Whether we are in it.
    pub(super) fn membership(&self) -> Membership {
        match self.bootstrap.stage {
            Stage::Asking | Stage::Joining => Membership::Pending,
            Stage::Ready if self.table.is_empty() => {
                Membership::Outside { asked: self.bootstrap.asked }
            }
            Stage::Ready => Membership::Inside,
        }
    }

    /// When something is to be done.
    pub(super) fn next(&self) -> Option<Instant> {
        let retry = self.bootstrap.retry.filter(|_| self.bootstrap.is_ready());
        [self.table.next_due(), retry].into_iter().flatten().min()
    }
}

impl Machine {
    /// Nodes to ask for others, beside those that were known at the start.
    pub fn add_entries(&mut self, entries: impl IntoIterator<Item = SocketAddr>, now: Instant) {
        for entry in entries {
            if let Some(side) = self.side_mut(Family::of(&entry))
                && !side.bootstrap.entries.contains(&entry)
            {
                side.bootstrap.entries.push(entry);
                match side.bootstrap.stage {
                    Stage::Asking => self.ask_too(entry, now),
                    Stage::Ready if side.table.is_empty() => side.bootstrap.retry = Some(now),
                    Stage::Ready | Stage::Joining => {}
                }
            }
        }
        self.keep_up(now);
    }

    /// Somebody has a node there, a peer of ours for one: it is asked if we know few.
    pub fn hear_of(&mut self, node: SocketAddr, now: Instant) {
        let Some(side) = self.side_mut(Family::of(&node)) else { return };
        if !may_dial(node) || side.table.len() >= FEW_NODES {
            return;
        }
        if side.table.is_empty() {
            if side.bootstrap.stage == Stage::Ready {
                side.bootstrap.begin();
            }
            self.ask_too(node, now);
            self.end_if_nobody_is_asked(Family::of(&node));
        } else {
            self.ask(Question::new(node, Method::Ping, Purpose::Ping(None)), now);
        }
    }

    /// Asks an entry beside those that have not answered yet: they may never do.
    fn ask_too(&mut self, entry: SocketAddr, now: Instant) {
        let family = Family::of(&entry);
        let is_waiting = |side: &Side| side.bootstrap.waiting.contains(&entry);
        if !self.side(family).is_some_and(is_waiting)
            && self.ask_entry(entry, now)
            && let Some(side) = self.side_mut(family)
        {
            side.bootstrap.waiting.push(entry);
            side.bootstrap.asked += 1;
        }
    }

    /// Asks an entry for nodes near us.
    fn ask_entry(&mut self, entry: SocketAddr, now: Instant) -> bool {
        let Some(own) = self.id(Family::of(&entry)) else { return false };
        let method = Method::FindNode { target: own.target() };
        self.ask(Question::new(entry, method, Purpose::Bootstrap(1)), now)
    }

    /// Asks the entries of all networks for nodes near us.
    pub(super) fn bootstrap(&mut self, now: Instant) {
        for family in Family::ALL {
            self.bootstrap_side(family, now);
        }
    }

    pub(super) fn bootstrap_side(&mut self, family: Family, now: Instant) {
        let Some(side) = self.side_mut(family) else { return };
        side.bootstrap.begin();
        for entry in side.bootstrap.entries.clone() {
            self.ask_too(entry, now);
        }
        self.end_if_nobody_is_asked(family);
    }

    /// There are no entries, or too much is under way.
    fn end_if_nobody_is_asked(&mut self, family: Family) {
        if let Some(side) = self.side_mut(family)
            && side.bootstrap.stage == Stage::Asking
            && side.bootstrap.waiting.is_empty()
        {
            side.bootstrap.stage = Stage::Ready;
        }
    }

    /// An entry has named nodes: the way to our own id goes on from there, as soon as each path can
    /// begin at another entry. One that lies must not be the only one we hear.
    pub(super) fn bootstrapped(&mut self, from: Contact, response: &Response, now: Instant) {
        let family = Family::of(&from.address);
        let mut named = self.believable(response.contacts(), from.address, family);
        named.insert(0, from);
        let joining = self.joining(family);
        let Some(side) = self.side_mut(family) else { return };
        if side.bootstrap.heard.contains(&from.address) {
            return;
        }
        side.bootstrap.heard.push(from.address);
        side.bootstrap.waiting.retain(|entry| *entry != from.address);
        match side.bootstrap.stage {
            Stage::Asking => {
                side.bootstrap.named.push(named);
                if side.bootstrap.waiting.is_empty()
                    || side.bootstrap.named.len() >= usize::from(LOOKUP_PATHS)
                {
                    self.join(family, now);
                }
            }
            Stage::Joining => {
                let Some(id) = joining else { return };
                if let Some(task) = self.tasks.get_mut(&id) {
                    task.lookup.begin_with(named);
                }
                self.advance(id, now);
            }
            Stage::Ready => {
                let Some(target) = self.id(family).map(|id| id.target()) else { return };
                let mut lookup = Lookup::new(target, []);
                lookup.begin_with(named);
                self.start_with(Aim::Nodes(target), family, lookup, true, false, now);
            }
        }
    }

    /// An entry takes its time: those that have answered are enough to begin with. It is asked again,
    /// as a datagram may be lost: who does not hear an honest one may hear liars only.
    pub(super) fn bootstrap_is_slow(&mut self, entry: SocketAddr, tries: u8, now: Instant) {
        let family = Family::of(&entry);
        let side = self.side(family).filter(|side| !side.bootstrap.heard.contains(&entry));
        let Some(side) = side else { return };
        let target = side.table.own().target();
        let is_asking = side.bootstrap.stage == Stage::Asking;
        if is_asking && !side.bootstrap.named.is_empty() {
            self.join(family, now);
        }
        if tries < LOOKUP_TRIES {
            let purpose = Purpose::Bootstrap(tries + 1);
            self.ask(Question::new(entry, Method::FindNode { target }, purpose), now);
        }
    }

    /// An entry has not answered in time.
    pub(super) fn not_bootstrapped(&mut self, entry: SocketAddr, tries: u8, now: Instant) {
        let family = Family::of(&entry);
        let Some(side) = self.side_mut(family) else { return };
        // The first query to it says when its time is over.
        if tries > 1 {
            return;
        }
        side.bootstrap.waiting.retain(|waiting| *waiting != entry);
        if side.bootstrap.stage != Stage::Asking || !side.bootstrap.waiting.is_empty() {
            return;
        }
        if side.bootstrap.named.is_empty() {
            side.bootstrap.try_again(now);
            side.bootstrap.stage = Stage::Ready;
            self.start_waiting(family, now);
        } else {
            self.join(family, now);
        }
    }

    /// Looks for our own id.
    fn join(&mut self, family: Family, now: Instant) {
        let Some(side) = self.side_mut(family) else { return };
        side.bootstrap.stage = Stage::Joining;
        let target = side.table.own().target();
        let mut lookup = Lookup::new(target, []);
        for named in std::mem::take(&mut side.bootstrap.named) {
            lookup.begin_with(named);
        }
        self.start_with(Aim::Nodes(target), family, lookup, true, false, now);
    }

    /// The lookup of our own that has been under way for longest.
    fn joining(&self, family: Family) -> Option<TaskId> {
        let ours = |task: &Task| task.family == family && !task.told;
        self.tasks.iter().find(|(_, task)| ours(task)).map(|(id, _)| *id)
    }

    /// A lookup of our own is over.
    pub(super) fn kept_up(&mut self, family: Family, now: Instant) {
        // Our id may have become another one meanwhile: then that one is looked for, too.
        if self.joining(family).is_some() {
            return;
        }
        let Some(side) = self.side_mut(family) else { return };
        if side.bootstrap.stage == Stage::Joining {
            side.bootstrap.stage = Stage::Ready;
            side.bootstrap.joined = true;
            if side.table.len() < BUCKET_NODES {
                side.bootstrap.try_again(now);
            } else {
                side.bootstrap.failures = 0;
            }
            self.start_waiting(family, now);
        }
    }

    /// Lets lookups begin before the way to our own id is found: enough nodes are known, or some
    /// of them take their time.
    pub(super) fn open(&mut self, family: Family, now: Instant) {
        if let Some(side) = self.side_mut(family)
            && side.bootstrap.stage == Stage::Joining
            && !side.bootstrap.joined
        {
            side.bootstrap.joined = true;
            self.start_waiting(family, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::krpc::machine::Nothing;
    use crate::krpc::message::{Body, Message};
    use crate::limits::dht::QUERY_TIMEOUT;

    fn asked(machine: &mut Machine) -> Vec<SocketAddr> {
        std::iter::from_fn(|| machine.transmit()).map(|transmit| transmit.to).collect()
    }

    fn machine(bootstrap: &[SocketAddr], now: Instant) -> Machine {
        let (families, bootstrap) = (vec![Family::V4], bootstrap.to_vec());
        Machine::new(Config { families, bootstrap, ..Config::default() }, [7; 32], now)
    }

    /// The nodes of last time may all be gone when the names of others have been looked up.
    #[test]
    fn asks_entries_at_once_that_come_while_others_are_silent() {
        let start = Instant::now();
        let [gone, named] = [1, 2].map(|last| ([203, 0, 113, last], 6881).into());
        let mut machine = machine(&[gone], start);
        assert_eq!(asked(&mut machine), [gone]);
        machine.add_entries([named, gone], start);
        assert_eq!(asked(&mut machine), [named]);
        assert_eq!(machine.membership(Family::V4), Some(Membership::Pending));
        machine.tick(start + QUERY_TIMEOUT);
        assert_eq!(machine.membership(Family::V4), Some(Membership::Outside { asked: 2 }));
        assert_eq!(machine.membership(Family::V6), None);
    }

    /// Somebody is named who was known from last time: waited for twice, and heard once.
    #[test]
    fn an_entry_that_is_known_twice_is_asked_once() {
        let start = Instant::now();
        let entry: SocketAddr = ([203, 0, 113, 1], 6881).into();
        let mut machine = machine(&[entry, entry], start);
        assert_eq!(asked(&mut machine), [entry]);
        machine.tick(start + QUERY_TIMEOUT);
        assert_eq!(machine.membership(Family::V4), Some(Membership::Outside { asked: 1 }));
    }

    /// An answer to each of several tries brought about a lookup each.
    #[test]
    fn an_entry_is_heard_once() {
        let mut now = Instant::now();
        let entry: SocketAddr = ([203, 0, 113, 1], 6881).into();
        let mut machine = machine(&[entry], now);
        let mut queries = Vec::new();
        for _ in 0..3 {
            let datagram = machine.transmit().unwrap().datagram;
            queries.push(Message::decode(&datagram).unwrap());
            now += crate::limits::dht::QUERY_SLOW;
            machine.tick(now);
        }
        let said = asked(&mut machine).len();
        for query in queries {
            let body = Body::Response(Box::new(Response::of(NodeId::from_bytes([9; 20]))));
            machine.handle(entry, &Message { body, ..query }.encode(), &Nothing, now);
        }
        assert_eq!((said, asked(&mut machine).len()), (1, 1));
        assert_eq!(machine.tasks.len(), 1);
    }

    #[test]
    fn is_inside_once_somebody_has_answered() {
        let start = Instant::now();
        let entry: SocketAddr = ([203, 0, 113, 1], 6881).into();
        let mut machine = machine(&[entry], start);
        let query = Message::decode(&machine.transmit().unwrap().datagram).unwrap();
        let body = Body::Response(Box::new(Response::of(NodeId::from_bytes([9; 20]))));
        let answer = Message { body, ..query };
        machine.handle(entry, &answer.encode(), &Nothing, start);
        // The way to our own id leads to the entry again.
        let query = Message::decode(&machine.transmit().unwrap().datagram).unwrap();
        machine.handle(
            entry,
            &Message { transaction: query.transaction, ..answer }.encode(),
            &Nothing,
            start,
        );
        assert_eq!(machine.membership(Family::V4), Some(Membership::Inside));
    }
}
