//! One range of ids: the nodes in it and those that wait for a place.

use std::ops::Range;
use std::time::Instant;

use super::Standing;
use crate::krpc::contact::{Contact, Host, Neighbourhood};
use crate::krpc::secure::is_secure;
use crate::limits::dht::{
    BAD_FAILURES, BUCKET_NODES, BUCKET_SPARES, FAILURE_GAP, GOOD_FOR, PING_RETRY,
};

/// A node that has answered at least once.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) contact: Contact,
    secure: bool,
    /// The last answer, or the last query of it after one.
    alive: Instant,
    /// The last ping or failure.
    tried: Instant,
    /// Unanswered queries in a row.
    pub(super) failures: u8,
}

impl Entry {
    pub(super) fn new(contact: Contact, now: Instant) -> Self {
        let secure = is_secure(&contact.id, contact.address.ip());
        Self { contact, secure, alive: now, tried: now, failures: 0 }
    }

    pub(super) fn standing(&self, now: Instant) -> Standing {
        match self.failures {
            BAD_FAILURES.. => Standing::Bad,
            0 if now < self.alive + GOOD_FOR => Standing::Good,
            _ => Standing::Questionable,
        }
    }

    /// Whether it gave a sign of life within 15 minutes and is not bad.
    pub(super) fn is_heard(&self, now: Instant) -> bool {
        !self.is_bad() && now < self.alive + GOOD_FOR
    }

    pub(super) fn answered(&mut self, now: Instant) {
        (self.alive, self.failures) = (now, 0);
    }

    /// A query tells nothing of a node that left ours unanswered: it may be forged.
    pub(super) fn queried(&mut self, now: Instant) {
        if self.failures == 0 {
            self.alive = now;
        }
    }

    pub(super) fn failed(&mut self, now: Instant) {
        if self.failures == 0 || now >= self.tried + FAILURE_GAP {
            self.failures = self.failures.saturating_add(1);
            self.tried = now;
        }
    }

    pub(super) fn pinged(&mut self, now: Instant) {
        self.tried = now;
    }

    /// Whether it is to be pinged because something was not answered that need not be.
    pub(super) fn doubted(&mut self, now: Instant) -> bool {
        let is_due = now >= self.tried + PING_RETRY;
        if is_due {
            self.tried = now;
        }
        is_due
    }

    /// When it should be pinged.
    pub(super) fn ping_due(&self) -> Instant {
        match self.failures {
            0 => (self.alive + GOOD_FOR).max(self.tried + PING_RETRY),
            BAD_FAILURES.. => self.tried + GOOD_FOR,
            _ => self.tried + PING_RETRY,
        }
    }

    /// What is pinged first: who might be alive, then who was quiet for longest.
    pub(super) const fn ping_order(&self) -> (bool, Instant) {
        (self.is_bad(), self.alive)
    }

    pub(super) const fn is_bad(&self) -> bool {
        self.failures >= BAD_FAILURES
    }

    pub(super) fn host(&self) -> Host {
        Host::of(self.contact.address)
    }

    fn neighbourhood(&self) -> Neighbourhood {
        Neighbourhood::of(self.contact.address)
    }

    fn drives_out(&self, other: &Self) -> bool {
        !self.is_bad() && (other.is_bad() || (self.secure && !other.secure))
    }

    /// The least goes first.
    const fn worth(&self) -> (bool, bool, Instant) {
        (!self.is_bad(), self.secure, self.alive)
    }
}

/// Whether a newcomer gets in.
pub(super) enum Place {
    /// There is room.
    Free,
    /// Instead of the node at this index.
    InsteadOf(usize),
    /// All places that it might have are taken by these.
    Taken(Range<usize>),
}

/// Invariant: at most one node per [`Neighbourhood`], and one spare; nodes are at most
/// [`BUCKET_NODES`], spares [`BUCKET_SPARES`], the latest to answer last.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) nodes: Vec<Entry>,
    pub(super) spares: Vec<Entry>,
    /// The last newcomer, refresh, or (if it is full) answer.
    pub(super) changed: Instant,
}

impl Bucket {
    pub(super) const fn new(changed: Instant) -> Self {
        Self { nodes: Vec::new(), spares: Vec::new(), changed }
    }

    pub(super) fn is_full(&self) -> bool {
        self.nodes.len() >= BUCKET_NODES
    }

    /// Whether splitting would make room: a node next door is in the way either way.
    pub(super) fn is_crowded_for(&self, newcomer: &Entry) -> bool {
        self.is_full() && self.next_door(newcomer).is_none()
    }

    fn next_door(&self, newcomer: &Entry) -> Option<usize> {
        let network = newcomer.neighbourhood();
        self.nodes.iter().position(|node| node.neighbourhood() == network)
    }

    /// A newcomer takes the place of a bad node, or of one with an insecure id if its own is secure
    /// (BEP 42). Otherwise who is there stays, as nodes that are old live long.
    pub(super) fn place_for(&self, newcomer: &Entry) -> Place {
        let rivals = match self.next_door(newcomer) {
            Some(at) => at..at + 1,
            None if self.is_full() => 0..self.nodes.len(),
            None => return Place::Free,
        };
        let ranked = self.nodes.iter().enumerate().filter(|(at, _)| rivals.contains(at));
        match ranked.min_by_key(|(_, node)| node.worth()) {
            Some((at, least)) if newcomer.drives_out(least) => Place::InsteadOf(at),
            _ => Place::Taken(rivals),
        }
    }

    /// Takes a newcomer in, or lets it wait. Gives the node to ping because somebody waits for its
    /// place: the questionable one that was quiet for longest, unless it was just tried.
    pub(super) fn enter(&mut self, newcomer: Entry, now: Instant) -> Option<Contact> {
        match self.place_for(&newcomer) {
            Place::Free => self.nodes.push(newcomer),
            Place::InsteadOf(at) => {
                let old = std::mem::replace(self.nodes.get_mut(at)?, newcomer);
                self.keep(old);
            }
            Place::Taken(by) => {
                self.keep(newcomer);
                let rivals = self.nodes.get_mut(by).unwrap_or_default().iter_mut();
                let oldest = rivals.filter(|node| !node.is_bad()).min_by_key(|node| node.alive)?;
                return ping_if_due(oldest, now);
            }
        }
        self.changed = now;
        None
    }

    /// Lets a node wait for a place, secure ids first.
    fn keep(&mut self, spare: Entry) {
        let network = spare.neighbourhood();
        self.spares.retain(|other| other.neighbourhood() != network);
        if spare.is_bad() {
            return;
        }
        if self.spares.len() >= BUCKET_SPARES {
            let insecure = self.spares.iter().position(|other| !other.secure);
            let Some(out) = insecure.or(spare.secure.then_some(0)) else { return };
            self.spares.remove(out);
        }
        self.spares.push(spare);
    }

    /// The spare that should have the place of the node at `leaving`, or a free one: secure ids
    /// first, then the latest to answer. `clashes` tells who may not enter.
    pub(super) fn successor(
        &self,
        leaving: Option<usize>,
        clashes: impl Fn(&Entry) -> bool,
    ) -> Option<usize> {
        let fits = |spare: &Entry| {
            let neighbour = self.next_door(spare);
            (neighbour.is_none() || neighbour == leaving) && !clashes(spare)
        };
        let fitting = self.spares.iter().enumerate().filter(|(_, spare)| fits(spare));
        fitting.max_by_key(|(_, spare)| spare.worth()).map(|(at, _)| at)
    }
}

/// A node as one to ping, if nobody just did.
pub(super) fn ping_if_due(node: &mut Entry, now: Instant) -> Option<Contact> {
    (node.standing(now) != Standing::Good && now >= node.ping_due()).then(|| {
        node.pinged(now);
        node.contact
    })
}
