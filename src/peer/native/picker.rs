//! Which blocks are wanted of which native peer: a machine without socket or clock.
//!
//! A peer is asked which of the wanted blocks it has ([`Picker::to_ask`], [`Picker::answered`]),
//! and told which of them to send ([`Picker::next`]); what comes, or is lacking, is reported. A
//! wanted block is at any moment free, or in flight at one peer:
//!
//! - The block a stream waits for goes first, then of the next 256 wanted ones that a peer has the
//!   rarest, and of equally rare ones those that were wished for first. "Next" starts at the block
//!   that is waited for, so that a stream which seeks is read ahead of. With one peer that is the
//!   order of wish.
//! - Towards the end each peer gets its share by the pace it has shown, so that a slow one does not
//!   hold the last blocks. When a peer has nothing else to do and few blocks are in flight, it is
//!   asked for those too that it would have brought by now, oldest first. The block a stream waits
//!   for is treated so at any time. Who answers first wins, the others are told to cancel.
//! - Who owes blocks and gives nothing for [`SNUB_AFTER`](crate::limits::SNUB_AFTER) is snubbed:
//!   what it owes is free again, though it may still come, and it gets one block at a time until it
//!   delivers. Before its first block it has
//!   [twice as long](crate::limits::SNUB_NEWCOMER_AFTER). Snubbed for
//!   [`MUTE_AFTER`](crate::limits::MUTE_AFTER), it counts as having nothing until something comes.
//! - Who says it has blocks and then lacks them counts as having nothing once that happened
//!   [`MAX_BROKEN_PROMISES`] times, and more often than it gave a block.
//! - While at most [`MAX_UNASKED_WANTS`](crate::limits::MAX_UNASKED_WANTS) blocks are wanted they
//!   are wanted without a question, of one peer each, until one lacks the block: then all are asked.
//!
//! With `w` wanted blocks and `p` peers, a call takes O(p) steps, beside those for the ids it is
//! given, a fixed window of them, and a tree of what is in flight. What a peer said is paid for once
//! more when it leaves, and O(p) steps a block each time the list is closed up, which as many
//! removals have paid for. A wanted block takes 44 to 48 bytes (twice that while the list grows) and
//! 2 bits for each peer that was asked about it.

mod asks;
#[cfg(test)]
mod check;
mod choice;
mod giver;
#[cfg(test)]
mod simulation;
mod tree;
mod wishes;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::id::BlockId;
use crate::limits::MAX_BROKEN_PROMISES;

use giver::{Giver, Silence, rank};
use tree::Tree;
use wishes::{Place, Wishes};

/// A connected native peer.
pub type Key = u64;

/// What became of a block that came.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Arrived {
    /// Whether it was still wanted.
    pub wanted: bool,
    /// Who else is to be told that it is not needed any more.
    pub cancel: Vec<Key>,
}

/// What a peer has shown itself to be worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Ids it was asked about, counted each time.
    pub asked: u64,
    /// Blocks wanted now that it says it has.
    pub has: usize,
    /// Blocks in flight from it.
    pub owes: usize,
    /// Wanted blocks that came from it.
    pub came: u64,
    /// From one block to the next while it owes some, smoothed; `None` before the first.
    pub pace: Option<Duration>,
    /// Blocks it said it has and then lacked, and wrong ones.
    pub lies: u64,
    /// Whether it gives, or tells, nothing for too long.
    pub snubbed: bool,
    /// Whether it counts as having nothing: it lies, or has been snubbed for long. Nothing is
    /// asked of it; it may as well be dropped.
    pub silenced: bool,
}

/// A block that is wanted of some peers.
#[derive(Debug)]
struct Flight {
    /// When it was first wanted, and last.
    first: Instant,
    last: Instant,
    /// Of how many it is wanted.
    peers: usize,
}

/// The blocks one node wants, and the peers it has for them.
#[derive(Debug)]
pub struct Picker {
    wishes: Wishes,
    givers: BTreeMap<Key, Giver>,
    flights: BTreeMap<Place, Flight>,
    /// Wanted blocks that no peer says it has.
    orphans: Tree,
    hurried: Option<BlockId>,
    /// Blocks that came since nothing was wanted.
    brought: usize,
}

impl Picker {
    /// Nothing is wanted, nobody is connected. The seed keeps strangers from choosing ids that make
    /// the table of ids slow.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            wishes: Wishes::new(seed),
            givers: BTreeMap::new(),
            flights: BTreeMap::new(),
            orphans: Tree::default(),
            hurried: None,
            brought: 0,
        }
    }

    /// Adds blocks to those that are wanted, in order of wish: how many were not yet.
    pub fn want(&mut self, ids: impl IntoIterator<Item = BlockId>) -> usize {
        let before = self.wishes.len();
        if before == 0 {
            self.brought = 0;
        }
        for id in ids {
            if let Some(place) = self.wishes.add(id) {
                self.orphans.insert(place);
            }
        }
        self.wishes.len() - before
    }

    /// The block that somebody waits for: once it is wanted it goes first, and the later ones go
    /// before the earlier ones.
    pub fn hurry(&mut self, id: Option<BlockId>) {
        self.hurried = id;
    }

    /// A block came from elsewhere or is not wanted any more: who is to be told to cancel it.
    pub fn unwant(&mut self, id: &BlockId) -> Vec<Key> {
        self.wishes.find(id).map(|place| self.finish(place)).unwrap_or_default()
    }

    /// A peer is connected. Who had its key before has left.
    pub fn join(&mut self, key: Key, now: Instant) {
        self.leave(key, now);
        self.givers.insert(key, Giver::new(now));
    }

    /// A peer is gone: what was wanted of it is free.
    pub fn leave(&mut self, key: Key, now: Instant) {
        let Some(giver) = self.givers.remove(&key) else { return };
        giver.has.iter().for_each(|place| self.lost(place));
        for place in giver.owes.into_keys() {
            self.land(place, now);
        }
    }

    /// The checked bytes of a block came from a peer.
    pub fn arrived(&mut self, key: Key, id: &BlockId, now: Instant) -> Arrived {
        let Some(place) = self.wishes.find(id) else { return Arrived::default() };
        self.brought += 1;
        let mut late = Vec::new();
        if let Some(giver) = self.givers.get_mut(&key) {
            giver.gave(place, now);
            late = giver.forgive();
        }
        for place in late {
            self.resume(key, place, now);
        }
        Arrived { wanted: true, cancel: self.finish(place) }
    }

    /// A peer has not got some blocks that were wanted of it.
    pub fn lacked(&mut self, key: Key, ids: &[BlockId], now: Instant) {
        for id in ids {
            let Some(place) = self.wishes.find(id) else { continue };
            let Some(giver) = self.givers.get_mut(&key) else { return };
            let owed = giver.owes.remove(&place).is_some();
            let asked = owed | giver.late.remove(&place);
            giver.mark_asked(place);
            giver.lacked.insert(place, now);
            giver.candidates.remove(place);
            if giver.has.remove(place) {
                giver.lies += u64::from(asked);
                self.lost(place);
            } else {
                self.wishes.miss(place);
            }
            if owed {
                self.land(place, now);
            }
        }
        let liar = |giver: &Giver| giver.lies >= MAX_BROKEN_PROMISES && giver.lies > giver.came;
        if self.givers.get(&key).is_some_and(liar) {
            self.silence(key, Silence::Liar, now);
        }
    }

    /// A peer sent bytes that are not the block: it counts as having nothing, and is to be banned.
    pub fn wrong(&mut self, key: Key, id: &BlockId, now: Instant) {
        let place = self.wishes.find(id);
        let Some(giver) = self.givers.get_mut(&key) else { return };
        giver.lies += 1;
        let owed = place.filter(|place| giver.owes.remove(place).is_some());
        if let Some(place) = place {
            giver.late.remove(&place);
        }
        if let Some(place) = owed {
            self.land(place, now);
        }
        self.silence(key, Silence::Liar, now);
    }

    /// Time has passed: which peers are snubbed from now on. Blocks may be free now, and overdue:
    /// [`next`](Self::next) is to be asked for every peer with room. To be called about every
    /// quarter of a second.
    pub fn tick(&mut self, now: Instant) -> Vec<Key> {
        let keys: Vec<Key> = self.givers.keys().copied().collect();
        let mut snubbed = Vec::new();
        for key in keys {
            let Some(giver) = self.givers.get_mut(&key) else { continue };
            if giver.falls_silent(now) {
                snubbed.push(key);
            }
            let (behind, mute) = (giver.is_behind(now), giver.is_mute(now));
            if behind {
                self.release(key, now);
            }
            if mute {
                self.silence(key, Silence::Mute, now);
            }
        }
        snubbed
    }

    /// Blocks that are wanted.
    #[must_use]
    pub const fn wanted(&self) -> usize {
        self.wishes.len()
    }

    /// Blocks that are wanted of some peer and counted on.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// The blocks in flight.
    #[must_use]
    pub fn all_in_flight(&self) -> Vec<BlockId> {
        self.flights.keys().filter_map(|place| self.wishes.id(*place)).collect()
    }

    /// Whether nothing is wanted.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.wishes.len() == 0
    }

    /// Whether a block is wanted.
    #[must_use]
    pub fn wants(&self, id: &BlockId) -> bool {
        self.wishes.find(id).is_some()
    }

    /// Whether a connected peer says it has a wanted block, or is to send it.
    #[must_use]
    pub fn claimed(&self, id: &BlockId) -> bool {
        self.wishes
            .find(id)
            .is_some_and(|place| !self.orphans.contains(place) || self.flights.contains_key(&place))
    }

    /// The wanted blocks, in order of wish, that every connected peer was asked about and none has.
    /// Who does not answer is not waited for.
    pub fn unclaimed(&self) -> impl Iterator<Item = BlockId> + '_ {
        let heard = || self.givers.values().filter(|giver| giver.is_heard());
        let last = heard().min_by_key(|giver| giver.cursor);
        let cursor = last.map_or(Place::MAX, |giver| giver.cursor);
        let all = self.orphans.iter().take_while(move |place| *place < cursor);
        let ahead = last.into_iter().flat_map(move |giver| giver.ahead.range(cursor..).copied());
        let ahead = ahead.filter(move |place| {
            self.orphans.contains(*place) && heard().all(|giver| giver.was_asked(*place))
        });
        let free = all.chain(ahead).filter(|place| !self.flights.contains_key(place));
        free.filter_map(|place| self.wishes.id(place))
    }

    /// What a peer has shown itself to be worth; `None` if it is not connected.
    #[must_use]
    pub fn standing(&self, key: Key) -> Option<Standing> {
        let giver = self.givers.get(&key)?;
        Some(Standing {
            asked: giver.asked,
            has: giver.has.len(),
            owes: giver.owes.len(),
            came: giver.came,
            pace: giver.pace,
            lies: giver.lies,
            snubbed: giver.is_snubbed(),
            silenced: giver.silenced.is_some(),
        })
    }

    /// A block is wanted no longer: of whom it was wanted.
    fn finish(&mut self, place: Place) -> Vec<Key> {
        self.wishes.remove(place);
        self.orphans.remove(place);
        self.flights.remove(&place);
        let others =
            self.givers.iter_mut().filter_map(|(key, giver)| giver.forget(place).then_some(*key));
        let others = others.collect();
        if let Some(old) = self.wishes.close_up() {
            self.close_up(&old);
        }
        others
    }

    /// Places have changed.
    fn close_up(&mut self, old: &[Place]) {
        let orphans = (0..).zip(old).filter(|(_, old)| self.orphans.contains(**old));
        self.orphans = orphans.map(|(new, _)| new).collect();
        let flights = std::mem::take(&mut self.flights);
        self.flights =
            flights.into_iter().map(|(place, flight)| (rank(old, place), flight)).collect();
        self.givers.values_mut().for_each(|giver| giver.close_up(old));
    }

    /// One peer less has a block.
    fn lost(&mut self, place: Place) {
        self.wishes.lost(place);
        if self.wishes.holders(place) == 0 {
            self.orphans.insert(place);
        }
    }

    /// A peer is to send a block.
    fn fly(&mut self, key: Key, place: Place, now: Instant) {
        let Some(giver) = self.givers.get_mut(&key) else { return };
        giver.owe(place, now);
        let fresh = Flight { first: now, last: now, peers: 0 };
        let flight = self.flights.entry(place).or_insert(fresh);
        flight.last = now;
        flight.peers += 1;
    }

    /// One peer less is to send a block; when it was the last, the block is free.
    fn land(&mut self, place: Place, now: Instant) {
        let Some(flight) = self.flights.get_mut(&place) else { return };
        flight.peers -= 1;
        if flight.peers > 0 {
            return;
        }
        self.flights.remove(&place);
        let mut sender = None;
        for (key, giver) in &mut self.givers {
            if giver.has.contains(place) {
                giver.candidates.insert(place);
            }
            if giver.late.contains(&place) && !giver.is_slack() {
                sender = Some(*key);
            }
        }
        if let Some(key) = sender {
            self.resume(key, place, now);
        }
    }

    /// A late block is counted on again, if nobody else is to send it.
    fn resume(&mut self, key: Key, place: Place, now: Instant) {
        if !self.flights.contains_key(&place)
            && let Some(giver) = self.givers.get_mut(&key)
            && giver.late.remove(&place)
        {
            self.fly(key, place, now);
        }
    }

    /// What a peer is to send is free for others, though it may still come.
    fn release(&mut self, key: Key, now: Instant) {
        let Some(giver) = self.givers.get_mut(&key) else { return };
        let owed = std::mem::take(&mut giver.owes);
        giver.late.extend(owed.keys());
        for place in owed.into_keys() {
            self.land(place, now);
        }
    }

    /// From now on a peer counts as having nothing.
    fn silence(&mut self, key: Key, why: Silence, now: Instant) {
        let Some(giver) = self.givers.get_mut(&key) else { return };
        let had = giver.silence(why);
        had.iter().for_each(|place| self.lost(place));
        self.release(key, now);
    }
}

#[cfg(test)]
mod tests;
