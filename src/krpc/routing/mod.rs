//! The routing table of one family: which nodes we know (BEP 5, with BEP 42).
//!
//! Invariants, against whoever wants to be all of our neighbours (many ids from one address, ids
//! made to be near us):
//! - a node has answered a query of ours; hearsay and queries, which are easily forged, enter nobody;
//! - an endpoint, an id and a [`Host`](super::contact::Host) occur once in the table, a
//!   [`Neighbourhood`](super::contact::Neighbourhood) once in a bucket;
//! - a node that lives keeps its place and its id, except that secure ids drive out others. Who comes
//!   with the id or from the host of a node gets in only when that one stopped answering, or spoke
//!   from the same endpoint and the old id has not been heard for 15 minutes;
//! - whoever lost his place or found none waits among the spares of the bucket.
//!
//! Buckets are split as in BEP 5: bucket i has the ids that share exactly i bits with ours, the last
//! one all that share more; only that one is split, when it is full and that makes room.
//!
//! Traffic of an idle table: at most 720 pings an hour ([`PING_GAP`]), as each node is pinged after
//! 15 minutes of silence, and once more 30 seconds after a failure; and at most 60 refreshing lookups
//! ([`REFRESH_GAP`]), in practice four per hour for each bucket with room.

mod bucket;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::Instant;

use rand::Rng;

use self::bucket::{Bucket, Entry, Place, ping_if_due};
use super::contact::{Contact, Distance};
use crate::id::{NodeId, Target};
use crate::limits::dht::{
    BUCKET_NODES, FORGET_FAILURES, MAX_BUCKETS, PING_GAP, REFRESH_AFTER, REFRESH_GAP,
};

/// What a node is worth (BEP 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Answered within 15 minutes, or ever answered and queried us within 15 minutes, and left no
    /// query unanswered since.
    Good,
    /// Silent for 15 minutes, or one query went unanswered.
    Questionable,
    /// Two queries in a row went unanswered. It keeps its place until somebody wants it, so that a
    /// table is not lost with the link.
    Bad,
}

/// Nodes of a table by standing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Good ones.
    pub good: usize,
    /// Questionable ones.
    pub questionable: usize,
    /// Bad ones.
    pub bad: usize,
}

/// The routing table of one family. The caller enters only contacts of that family.
#[derive(Debug)]
pub struct Table {
    own: NodeId,
    /// One to [`MAX_BUCKETS`].
    buckets: Vec<Bucket>,
    /// No maintenance ping before that.
    ping_from: Instant,
    /// No refresh before that.
    refresh_from: Instant,
}

impl Table {
    /// An empty table of a node with this id.
    #[must_use]
    pub fn new(own: NodeId, now: Instant) -> Self {
        Self { own, buckets: vec![Bucket::new(now)], ping_from: now, refresh_from: now }
    }

    /// Our id.
    #[must_use]
    pub const fn own(&self) -> NodeId {
        self.own
    }

    /// Nodes, bad ones too.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.nodes.len()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buckets.iter().all(|bucket| bucket.nodes.is_empty())
    }

    /// All nodes, those far from us first.
    pub fn contacts(&self, now: Instant) -> impl Iterator<Item = (Contact, Standing)> + '_ {
        self.nodes().map(move |node| (node.contact, node.standing(now)))
    }

    /// How many nodes there are of each standing.
    #[must_use]
    pub fn counts(&self, now: Instant) -> Counts {
        let mut counts = Counts::default();
        for node in self.nodes() {
            match node.standing(now) {
                Standing::Good => counts.good += 1,
                Standing::Questionable => counts.questionable += 1,
                Standing::Bad => counts.bad += 1,
            }
        }
        counts
    }

    /// A node answered a query of ours. Gives a questionable node that should be pinged, because
    /// this one waits for its place; the same one not again within 30 seconds.
    #[must_use]
    pub fn answered(&mut self, contact: Contact, now: Instant) -> Option<Contact> {
        let at = self.index(&contact.id.target());
        let bucket = self.buckets.get_mut(at)?;
        let full = bucket.is_full();
        if let Some(node) = bucket.nodes.iter_mut().find(|node| node.contact == contact) {
            node.answered(now);
            if full {
                bucket.changed = now;
            }
            return None;
        }
        self.enter(Entry::new(contact, now), now)
    }

    /// A node queried us: good news of one that is known. An unknown one is not entered.
    pub fn queried_us(&mut self, contact: &Contact, now: Instant) {
        let at = self.index(&contact.id.target());
        let nodes = self.buckets.get_mut(at).into_iter().flat_map(|bucket| &mut bucket.nodes);
        nodes.filter(|node| node.contact == *contact).for_each(|node| node.queried(now));
    }

    /// A node did not answer a query. A spare takes the place of one that is bad.
    pub fn failed(&mut self, address: SocketAddr, now: Instant) {
        self.forget_spares(address);
        let Some((at, place)) = self.find(|node| node.contact.address == address) else { return };
        let Some(bucket) = self.buckets.get_mut(at) else { return };
        let Some(node) = bucket.nodes.get_mut(place) else { return };
        node.failed(now);
        let (bad, gone) = (node.is_bad(), node.failures >= FORGET_FAILURES);
        if gone {
            bucket.nodes.remove(place);
        } else if bad {
            self.promote(at, Some(place), now);
        }
    }

    /// A node may not be there. It is given to be pinged, if nobody just did.
    pub fn doubt(&mut self, address: SocketAddr, now: Instant) -> Option<Contact> {
        let (at, place) = self.find(|node| node.contact.address == address)?;
        let node = self.buckets.get_mut(at)?.nodes.get_mut(place)?;
        node.doubted(now).then_some(node.contact)
    }

    /// Takes out who should not be asked: a node that is read-only (BEP 43) or misbehaves.
    pub fn remove(&mut self, address: SocketAddr, now: Instant) {
        self.forget_spares(address);
        if let Some((at, place)) = self.find(|node| node.contact.address == address) {
            self.buckets.get_mut(at).map(|bucket| bucket.nodes.remove(place));
            self.promote(at, None, now);
        }
    }

    /// The nodes closest to a target: those heard within 15 minutes by distance, then other
    /// questionable ones by distance. Who left one query unanswered is among the first: one lost
    /// datagram in five must not hide a third of the network.
    #[must_use]
    pub fn closest(&self, target: &Target, count: usize, now: Instant) -> Vec<Contact> {
        let nearest = self.index(target);
        // All of a group are nearer than all of the next: they differ from the target in a later bit.
        let nearer = [nearest..nearest + 1, nearest + 1..self.buckets.len()];
        let farther = (0..nearest).rev().map(|at| at..at + 1);
        let (mut found, mut doubtful) = (Vec::with_capacity(2 * BUCKET_NODES), Vec::new());
        for group in nearer.into_iter().chain(farther) {
            let before = found.len();
            let buckets = self.buckets.get(group).unwrap_or_default();
            for node in buckets.iter().flat_map(|bucket| &bucket.nodes) {
                if node.is_heard(now) {
                    found.push(node.contact);
                } else if !node.is_bad() {
                    doubtful.push(node.contact);
                }
            }
            sort(found.get_mut(before..).unwrap_or_default(), target);
            if found.len() >= count {
                break;
            }
        }
        if found.len() < count {
            sort(&mut doubtful, target);
            found.append(&mut doubtful);
        }
        found.truncate(count);
        found
    }

    /// Whether a node that is only heard of would find a place, so that it is worth a ping.
    #[must_use]
    pub fn wants(&self, contact: &Contact, now: Instant) -> bool {
        let newcomer = Entry::new(*contact, now);
        let at = self.index(&contact.id.target());
        let known = contact.id == self.own || self.find(|node| is_clash(node, &newcomer)).is_some();
        let finds_place = |bucket: &Bucket| {
            let free = !matches!(bucket.place_for(&newcomer), Place::Taken(_));
            free || self.should_split(at, &newcomer)
        };
        !known && self.buckets.get(at).is_some_and(finds_place)
    }

    /// The next node to ping for maintenance; it counts as pinged.
    #[must_use]
    pub fn questionable_due(&mut self, now: Instant) -> Option<Contact> {
        if now < self.ping_from {
            return None;
        }
        let nodes = self.buckets.iter_mut().flat_map(|bucket| &mut bucket.nodes);
        let due = nodes.filter(|node| node.ping_due() <= now);
        let node = due.min_by_key(|node| node.ping_order())?;
        node.pinged(now);
        self.ping_from = now + PING_GAP;
        Some(node.contact)
    }

    /// What to look up now, as a bucket has not changed for 15 minutes: a random id of the stalest
    /// one's range. It counts as refreshed.
    #[must_use]
    pub fn refresh_due(&mut self, chance: &mut impl Rng, now: Instant) -> Option<Target> {
        if now < self.refresh_from {
            return None;
        }
        let stale = self.buckets.iter_mut().enumerate();
        let (at, bucket) = stale.min_by_key(|(_, bucket)| bucket.changed)?;
        if now < bucket.changed + REFRESH_AFTER {
            return None;
        }
        bucket.changed = now;
        self.refresh_from = now + REFRESH_GAP;
        Some(self.target_in(at, chance))
    }

    /// When [`Self::questionable_due`] or [`Self::refresh_due`] gives something next.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let ping = self.nodes().map(Entry::ping_due).min().map(|due| due.max(self.ping_from));
        let stale = self.buckets.iter().map(|bucket| bucket.changed + REFRESH_AFTER).min();
        ping.into_iter().chain(stale.map(|due| due.max(self.refresh_from))).min()
    }

    /// Our id is another one from now on (BEP 42). All nodes that find a place are kept.
    pub fn rebase(&mut self, own: NodeId, now: Instant) {
        let old = std::mem::replace(&mut self.buckets, vec![Bucket::new(now)]);
        self.own = own;
        let (nodes, spares): (Vec<_>, Vec<_>) =
            old.into_iter().map(|bucket| (bucket.nodes, bucket.spares)).unzip();
        for entry in nodes.into_iter().chain(spares).flatten() {
            // Who is in doubt is pinged in its turn.
            let _ = self.enter(entry, now);
        }
    }

    fn nodes(&self) -> impl Iterator<Item = &Entry> {
        self.buckets.iter().flat_map(|bucket| &bucket.nodes)
    }

    /// The bucket whose range has this target.
    fn index(&self, target: &Target) -> usize {
        let common = Distance::between(&self.own, target).common_bits();
        usize::try_from(common).unwrap_or(usize::MAX).min(self.buckets.len() - 1)
    }

    /// Whether a bucket is full and splitting it would make room.
    fn should_split(&self, at: usize, newcomer: &Entry) -> bool {
        let own = self.own.target();
        let deepest = u32::try_from(MAX_BUCKETS - 1).unwrap_or(u32::MAX);
        let depth = |node: &Entry| node.contact.distance(&own).common_bits().min(deepest);
        let last = self.buckets.last().filter(|_| at + 1 == self.buckets.len());
        last.is_some_and(|bucket| {
            bucket.is_crowded_for(newcomer)
                && bucket.nodes.iter().any(|node| depth(node) != depth(newcomer))
        })
    }

    /// The bucket and the place of the first node that is meant.
    fn find(&self, meant: impl Fn(&Entry) -> bool) -> Option<(usize, usize)> {
        self.buckets
            .iter()
            .enumerate()
            .find_map(|(at, bucket)| bucket.nodes.iter().position(&meant).map(|place| (at, place)))
    }

    fn enter(&mut self, newcomer: Entry, now: Instant) -> Option<Contact> {
        if newcomer.contact.id == self.own {
            return None;
        }
        while let Some((at, place)) = self.find(|node| is_clash(node, &newcomer)) {
            let bucket = self.buckets.get_mut(at)?;
            let old = bucket.nodes.get_mut(place)?;
            if keeps_place(old, &newcomer, now) {
                return ping_if_due(old, now);
            }
            bucket.nodes.remove(place);
        }
        let mut at = self.index(&newcomer.contact.id.target());
        while self.should_split(at, &newcomer) {
            self.split();
            at = self.index(&newcomer.contact.id.target());
        }
        self.buckets.get_mut(at)?.enter(newcomer, now)
    }

    /// Splits the last bucket.
    fn split(&mut self) {
        let Some(last) = self.buckets.pop() else { return };
        let (mut near, mut far) = (Bucket::new(last.changed), Bucket::new(last.changed));
        let depth = self.buckets.len();
        let own = self.own.target();
        let is_near = |node: &Entry| node.contact.distance(&own).common_bits() as usize > depth;
        (near.nodes, far.nodes) = last.nodes.into_iter().partition(is_near);
        (near.spares, far.spares) = last.spares.into_iter().partition(is_near);
        self.buckets.extend([far, near]);
    }

    /// Puts a spare at the place of a node, or at a free one.
    fn promote(&mut self, at: usize, leaving: Option<usize>, now: Instant) {
        let left = leaving.and_then(|place| self.buckets.get(at)?.nodes.get(place));
        let stays = |node: &Entry| left.is_none_or(|left| left.contact != node.contact);
        let clashes = |spare: &Entry| self.nodes().any(|node| stays(node) && is_clash(node, spare));
        let chosen = self.buckets.get(at).and_then(|bucket| bucket.successor(leaving, clashes));
        let (Some(chosen), Some(bucket)) = (chosen, self.buckets.get_mut(at)) else { return };
        let spare = bucket.spares.remove(chosen);
        match leaving.and_then(|place| bucket.nodes.get_mut(place)) {
            Some(node) => *node = spare,
            None => bucket.nodes.push(spare),
        }
        bucket.changed = now;
    }

    fn forget_spares(&mut self, address: SocketAddr) {
        for bucket in &mut self.buckets {
            bucket.spares.retain(|spare| spare.contact.address != address);
        }
    }

    /// A random target of a bucket's range.
    fn target_in(&self, at: usize, chance: &mut impl Rng) -> Target {
        let mut bytes = [0; Target::LEN];
        chance.fill_bytes(&mut bytes);
        let last = at + 1 == self.buckets.len();
        for (bit, (byte, own)) in bytes.iter_mut().zip(self.own.as_bytes()).enumerate() {
            for turn in 0..8 {
                let (mask, depth) = (0x80_u8 >> turn, bit * 8 + turn);
                match depth.cmp(&at) {
                    std::cmp::Ordering::Less => *byte = *byte & !mask | own & mask,
                    std::cmp::Ordering::Equal if !last => *byte = *byte & !mask | !own & mask,
                    _ => {}
                }
            }
        }
        Target::from_bytes(bytes)
    }
}

fn sort(contacts: &mut [Contact], target: &Target) {
    contacts.sort_unstable_by_key(|contact| contact.distance(target));
}

/// Whether two cannot both be in a table.
fn is_clash(node: &Entry, newcomer: &Entry) -> bool {
    node.contact.id == newcomer.contact.id || node.host() == newcomer.host()
}

/// Whether a node stays although a newcomer has its id or its host.
fn keeps_place(old: &Entry, newcomer: &Entry, now: Instant) -> bool {
    match old.standing(now) {
        Standing::Good => true,
        Standing::Questionable => {
            old.failures == 0 && old.contact.address != newcomer.contact.address
        }
        Standing::Bad => false,
    }
}
