//! Keeping a node in the network: bootstrap, refresh, pings, its own id.

use std::net::SocketAddr;
use std::time::Instant;

use rand::Rng;
use rand::rngs::StdRng;

use super::tasks::Purpose;
use super::{
    AddressVotes, Aim, Config, Contact, Family, Host, Machine, Membership, Method, NodeId, Pending,
    Question, Response, Side, Table,
};
use crate::address::{Reach, may_dial, may_dial_told, reach};
use crate::krpc::secure::{id_for, is_secure};
use crate::limits::dht::{
    BOOTSTRAP_AT_ONCE, BOOTSTRAP_RETRY_FIRST, BOOTSTRAP_RETRY_LAST, BUCKET_NODES, FEW_NODES,
    GREETING_LEN, NATIVE_PROBES,
};

/// How we get into a network.
#[derive(Debug)]
pub(super) struct Bootstrap {
    /// Who is asked for nodes: those known from last time, and those that were named.
    entries: Vec<SocketAddr>,
    /// How many of them were asked the last time.
    asked: usize,
    stage: Stage,
    failures: u32,
    retry: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// So many entries have not answered yet.
    Asking {
        left: usize,
    },
    /// The way to our own id is being looked for, and `open` if lookups need not wait for its end.
    Joining {
        open: bool,
    },
    Ready,
}

impl Bootstrap {
    /// Whether lookups can begin: we are in the network, or nobody is there.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.stage, Stage::Ready | Stage::Joining { open: true })
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
        let bootstrap =
            Bootstrap { entries, asked: 0, stage: Stage::Ready, failures: 0, retry: None };
        Self { family, table: Table::new(own, now), votes: AddressVotes::new(family), bootstrap }
    }

    /// Whether we are in it.
    pub(super) fn membership(&self) -> Membership {
        match self.bootstrap.stage {
            Stage::Asking { .. } | Stage::Joining { .. } => Membership::Pending,
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
                    Stage::Asking { .. } => self.ask_too(entry, now),
                    Stage::Ready if side.table.is_empty() => side.bootstrap.retry = Some(now),
                    Stage::Ready | Stage::Joining { .. } => {}
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
                side.bootstrap.stage = Stage::Asking { left: 0 };
            }
            self.ask_too(node, now);
        } else {
            self.ask(Question::new(node, Method::Ping, Purpose::Ping(None)), now);
        }
    }

    /// Asks an entry beside those that have not answered yet: they may never do.
    fn ask_too(&mut self, entry: SocketAddr, now: Instant) {
        if self.ask_entry(entry, now)
            && let Some(side) = self.side_mut(Family::of(&entry))
            && let Stage::Asking { left } = &mut side.bootstrap.stage
        {
            *left += 1;
            side.bootstrap.asked += 1;
        }
    }

    /// Asks an entry for nodes near us.
    fn ask_entry(&mut self, entry: SocketAddr, now: Instant) -> bool {
        let Some(own) = self.id(Family::of(&entry)) else { return false };
        let method = Method::FindNode { target: own.target() };
        self.ask(Question::new(entry, method, Purpose::Bootstrap), now)
    }

    /// Asks the entries of all networks for nodes near us.
    pub(super) fn bootstrap(&mut self, now: Instant) {
        for family in Family::ALL {
            self.bootstrap_side(family, now);
        }
    }

    fn bootstrap_side(&mut self, family: Family, now: Instant) {
        let Some(side) = self.side_mut(family) else { return };
        side.bootstrap.retry = None;
        let entries = side.bootstrap.entries.clone();
        let left = entries.into_iter().filter(|entry| self.ask_entry(*entry, now)).count();
        if let Some(side) = self.side_mut(family) {
            side.bootstrap.asked = left;
            let asking = Stage::Asking { left };
            side.bootstrap.stage = if left > 0 { asking } else { Stage::Ready };
        }
    }

    /// An entry has named nodes: the way to our own id goes on from there.
    pub(super) fn bootstrapped(&mut self, from: Contact, response: &Response, now: Instant) {
        let family = Family::of(&from.address);
        let mut seeds = self.believable(response.contacts(), from.address, family);
        seeds.push(from);
        let Some(side) = self.side_mut(family) else { return };
        let target = side.table.own().target();
        let first = matches!(side.bootstrap.stage, Stage::Asking { .. });
        if first {
            side.bootstrap.stage = Stage::Joining { open: false };
            side.bootstrap.failures = 0;
            self.start(Aim::Nodes(target), family, &seeds, false, now);
        }
    }

    /// An entry has not answered.
    pub(super) fn not_bootstrapped(&mut self, family: Family, now: Instant) {
        let Some(side) = self.side_mut(family) else { return };
        let Stage::Asking { left } = &mut side.bootstrap.stage else { return };
        *left = left.saturating_sub(1);
        if *left == 0 {
            let doubled = 2_u32.saturating_pow(side.bootstrap.failures);
            let pause = BOOTSTRAP_RETRY_FIRST.saturating_mul(doubled).min(BOOTSTRAP_RETRY_LAST);
            side.bootstrap.failures = side.bootstrap.failures.saturating_add(1);
            side.bootstrap.retry = Some(now + pause);
            side.bootstrap.stage = Stage::Ready;
            self.start_waiting(family, now);
        }
    }

    /// A lookup of our own is over.
    pub(super) fn kept_up(&mut self, family: Family, now: Instant) {
        if let Some(side) = self.side_mut(family)
            && matches!(side.bootstrap.stage, Stage::Joining { .. })
        {
            side.bootstrap.stage = Stage::Ready;
            self.start_waiting(family, now);
        }
    }

    /// Lets lookups begin before the way to our own id is found: enough nodes are known, or some
    /// of them take their time.
    pub(super) fn open(&mut self, family: Family, now: Instant) {
        if let Some(side) = self.side_mut(family)
            && side.bootstrap.stage == (Stage::Joining { open: false })
        {
            side.bootstrap.stage = Stage::Joining { open: true };
            self.start_waiting(family, now);
        }
    }

    /// Does what is due in all networks.
    pub(super) fn keep_up(&mut self, now: Instant) {
        for family in Family::ALL {
            let side = self.sides.iter_mut().find(|side| side.family == family);
            let Some(side) = side.filter(|side| side.bootstrap.is_ready()) else { continue };
            if side.bootstrap.retry.is_some_and(|at| at <= now) {
                self.bootstrap_side(family, now);
                continue;
            }
            let is_lost = side.table.is_empty() && !side.bootstrap.entries.is_empty();
            if is_lost && side.bootstrap.retry.is_none() {
                side.bootstrap.retry = Some(now + BOOTSTRAP_RETRY_FIRST);
            }
            let ping = side.table.questionable_due(now);
            let refresh = side.table.refresh_due(&mut self.chance, now);
            if let Some(contact) = ping {
                self.check_on(contact, now);
            }
            if let Some(target) = refresh {
                self.start(Aim::Nodes(target), family, &[], false, now);
            }
        }
    }

    /// What an answer tells about the node and about us.
    pub(super) fn note_answer(
        &mut self,
        pending: &Pending<Purpose>,
        response: &Response,
        contact: Contact,
        ip: Option<SocketAddr>,
        now: Instant,
    ) {
        self.guard.prove(pending.to, now);
        let family = Family::of(&contact.address);
        let Some(side) = self.side_mut(family).filter(|side| side.table.own() != contact.id) else {
            return;
        };
        if let Some(ip) = ip {
            side.votes.vote(ip.ip().to_canonical(), Host::of(contact.address), now);
        }
        // Under whatever id it answers now: nodes that learn their address take another one.
        if let Some(doubtful) = side.table.answered(contact, now) {
            self.check_on(doubtful, now);
        }
        if self.side(family).is_some_and(|side| side.table.len() >= BUCKET_NODES) {
            self.open(family, now);
        }
        self.follow_our_address(family, now);
        if let Some(off) = &response.off {
            self.hear_of_natives(&off.on, contact.address, now);
        }
    }

    /// A node has not answered.
    pub(super) fn note_silence(&mut self, address: SocketAddr, now: Instant) {
        self.natives.failed(address);
        if let Some(side) = self.side_mut(Family::of(&address)) {
            side.table.failed(address, now);
        }
    }

    /// A node may not be there.
    pub(super) fn doubt(&mut self, address: SocketAddr, now: Instant) {
        let side = self.side_mut(Family::of(&address));
        if let Some(doubtful) = side.and_then(|side| side.table.doubt(address, now)) {
            self.check_on(doubtful, now);
        }
    }

    /// A node has asked us something: if there is a place for it, we ask it something, too, as soon
    /// as it has sent enough for that.
    pub(super) fn meet(&mut self, contact: Contact, now: Instant) {
        let Some(side) = self.side_mut(Family::of(&contact.address)) else { return };
        side.table.queried_us(&contact, now);
        let allowance = self.guard.allowance(contact.address, now);
        if allowance >= GREETING_LEN && self.is_wanted(&contact, now) {
            self.check(contact, allowance != usize::MAX, now);
        }
    }

    /// Asks native nodes that others named whether they are there, some at a time.
    fn hear_of_natives(&mut self, named: &[Contact], by: SocketAddr, now: Instant) {
        let named = self.believable(named.iter().copied(), by, Family::of(&by));
        let known = self.natives.fresh(now).count();
        let unknown = named.into_iter().filter(|one| !self.natives.is_native(one.address));
        let unknown: Vec<_> = unknown.take(NATIVE_PROBES.saturating_sub(known)).collect();
        for contact in unknown {
            self.check_on(contact, now);
        }
    }

    /// Asks a node whether it is there.
    fn check_on(&mut self, contact: Contact, now: Instant) {
        self.check(contact, false, now);
    }

    fn check(&mut self, contact: Contact, brief: bool, now: Instant) {
        let question = Question::new(contact.address, Method::Ping, Purpose::Ping(None));
        self.ask(Question { contact: Some(contact), brief, ..question }, now);
    }

    /// Takes an id that follows from our address, once that is known (BEP 42).
    fn follow_our_address(&mut self, family: Family, now: Instant) {
        let Some(side) = self.sides.iter_mut().find(|side| side.family == family) else { return };
        let Some(ip) = side.votes.agreed() else { return };
        if !is_secure(&side.table.own(), ip) {
            side.table.rebase(id_for(ip, &mut self.chance), now);
        }
    }

    /// The nodes that somebody named and that may be asked: of the family, not ourselves, and not
    /// in our network if who named them is not.
    pub(super) fn believable(
        &self,
        contacts: impl Iterator<Item = Contact>,
        by: SocketAddr,
        family: Family,
    ) -> Vec<Contact> {
        let own = self.id(family);
        let is_good = |contact: &Contact| {
            Family::of(&contact.address) == family
                && Some(contact.id) != own
                && may_dial_told(contact.address, by.ip())
                && reach(contact.address.ip()) != Reach::Nowhere
        };
        contacts.filter(is_good).take(2 * BUCKET_NODES).collect()
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
