//! Keeping a node in the network: bootstrap, refresh, pings, its own id.

use std::net::SocketAddr;
use std::time::Instant;

use rand::Rng;
use rand::rngs::StdRng;

use super::tasks::{Purpose, Task};
use super::{
    AddressVotes, Aim, Config, Contact, Family, Host, Machine, Method, NodeId, Pending, Question,
    Response, Side, Table, TaskId,
};
use crate::address::{Reach, may_dial_told, reach};
use crate::krpc::lookup::Lookup;
use crate::krpc::secure::{id_for, is_secure};
use crate::limits::dht::{
    BOOTSTRAP_AT_ONCE, BOOTSTRAP_RETRY_FIRST, BOOTSTRAP_RETRY_LAST, BUCKET_NODES, GOSSIP_GAP,
    GREETING_LEN, LOOKUP_PATHS, LOOKUP_TRIES, NATIVE_PROBES,
};

/// How we get into a network.
#[derive(Debug)]
pub(super) struct Bootstrap {
    /// Who is asked for nodes: those known from last time, and those that were named.
    entries: Vec<SocketAddr>,
    stage: Stage,
    /// What entries have named, each with itself.
    named: Vec<Vec<Contact>>,
    /// Attempts that did not bring a bucketful of nodes.
    failures: u32,
    retry: Option<Instant>,
    /// We were in the network before.
    joined: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// So many entries have not answered yet.
    Asking {
        left: usize,
    },
    /// The way to our own id is being looked for.
    Joining,
    Ready,
}

impl Bootstrap {
    fn try_again(&mut self, now: Instant) {
        let doubled = 2_u32.saturating_pow(self.failures);
        let pause = BOOTSTRAP_RETRY_FIRST.saturating_mul(doubled).min(BOOTSTRAP_RETRY_LAST);
        self.failures = self.failures.saturating_add(1);
        self.retry = Some(now + pause);
    }

    fn is_ready(&self) -> bool {
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
            stage: Stage::Ready,
            named: Vec::new(),
            failures: 0,
            retry: None,
            joined: false,
        };
        Self { family, table: Table::new(own, now), votes: AddressVotes::new(family), bootstrap }
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
                if side.bootstrap.is_ready() && side.table.is_empty() {
                    side.bootstrap.retry = Some(now);
                }
            }
        }
        self.keep_up(now);
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
        side.bootstrap.named.clear();
        let (entries, target) = (side.bootstrap.entries.clone(), side.table.own().target());
        let mut left = 0;
        for entry in entries {
            let method = Method::FindNode { target };
            left += usize::from(self.ask(Question::new(entry, method, Purpose::Bootstrap(1)), now));
        }
        if let Some(side) = self.side_mut(family) {
            let asking = Stage::Asking { left };
            side.bootstrap.stage = if left > 0 { asking } else { Stage::Ready };
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
        match &mut side.bootstrap.stage {
            Stage::Asking { left } => {
                *left = left.saturating_sub(1);
                let all = *left == 0;
                side.bootstrap.named.push(named);
                if all || side.bootstrap.named.len() >= usize::from(LOOKUP_PATHS) {
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

    /// An entry takes its time: those that have answered are enough.
    pub(super) fn bootstrap_is_slow(&mut self, family: Family, now: Instant) {
        let Some(side) = self.side(family) else { return };
        if matches!(side.bootstrap.stage, Stage::Asking { .. }) && !side.bootstrap.named.is_empty()
        {
            self.join(family, now);
        }
    }

    /// An entry has not answered: a datagram may be lost. Whoever does not hear an honest one may
    /// hear liars only.
    pub(super) fn not_bootstrapped(&mut self, entry: SocketAddr, tries: u8, now: Instant) {
        let family = Family::of(&entry);
        let target = self.id(family).map(|id| id.target());
        if let Some(target) = target.filter(|_| tries < LOOKUP_TRIES) {
            let purpose = Purpose::Bootstrap(tries + 1);
            if self.ask(Question::new(entry, Method::FindNode { target }, purpose), now) {
                return;
            }
        }
        let Some(side) = self.side_mut(family) else { return };
        let Stage::Asking { left } = &mut side.bootstrap.stage else { return };
        *left = left.saturating_sub(1);
        if *left > 0 {
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
        if self.start_with(Aim::Nodes(target), family, lookup, true, false, now).is_none() {
            self.kept_up(family, now);
        }
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

    /// Does what is due in all networks.
    pub(super) fn keep_up(&mut self, now: Instant) {
        for family in Family::ALL {
            let side = self.sides.iter_mut().find(|side| side.family == family);
            let Some(side) = side.filter(|side| side.bootstrap.is_ready()) else { continue };
            if side.bootstrap.retry.is_some_and(|at| at <= now) {
                self.bootstrap_side(family, now);
                continue;
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

    /// Asks native nodes that others named whether they are there, one at a time: who names them may
    /// lie, and go on for as long as it is asked.
    fn hear_of_natives(&mut self, named: &[Contact], by: SocketAddr, now: Instant) {
        if now < self.gossip_from || self.natives.fresh(now).count() >= NATIVE_PROBES {
            return;
        }
        let named = self.believable(named.iter().copied(), by, Family::of(&by));
        let unknown = named.into_iter().find(|one| !self.natives.is_native(one.address));
        if let Some(contact) = unknown {
            self.gossip_from = now + GOSSIP_GAP;
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
            // Our neighbours are others now, and do not know us.
            let target = side.table.own().target();
            self.start(Aim::Nodes(target), family, &[], false, now);
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
