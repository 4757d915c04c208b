//! What is known of one peer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::limits::{ASK_AGAIN_AFTER, MUTE_AFTER, SNUB_AFTER, SNUB_NEWCOMER_AFTER};

use super::tree::Tree;
use super::wishes::Place;

/// Seconds for a block below which a pace is not told from another: 1 Gbit/s.
const FASTEST: f64 = 0.001;

/// A question that was not answered yet.
#[derive(Debug)]
pub(super) struct Asking {
    since: Instant,
    /// Up to where everything has been asked, when it is answered.
    pub(super) upto: Place,
    overdue: bool,
}

/// A connected peer.
#[derive(Debug)]
pub(super) struct Giver {
    /// Everything before this place was asked about.
    pub(super) cursor: Place,
    /// Places from there on that were asked about before their turn.
    pub(super) ahead: BTreeSet<Place>,
    pub(super) asking: Option<Asking>,
    /// When it last answered, and where its second round goes on.
    pub(super) asked_at: Option<Instant>,
    pub(super) again: Place,
    /// Wanted blocks it says it has.
    pub(super) has: Tree,
    /// All of those that are free, and some that are not any more.
    pub(super) candidates: Tree,
    /// What it turned out not to have, and when.
    pub(super) lacked: BTreeMap<Place, Instant>,
    /// What is wanted of it, and since when.
    pub(super) owes: BTreeMap<Place, Instant>,
    /// What was wanted of it before it was snubbed, and is no longer counted on.
    pub(super) late: BTreeSet<Place>,
    /// Ids it was asked about.
    pub(super) asked: u64,
    pub(super) came: u64,
    pub(super) lies: u64,
    /// From one block to the next while it owes some, smoothed.
    pub(super) pace: Option<Duration>,
    /// From the want of a block to its coming, smoothed.
    turnaround: Option<Duration>,
    quiet_since: Instant,
    snubbed: Option<Instant>,
    pub(super) silenced: Option<Silence>,
}

/// Why a peer counts as having nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    /// It gives nothing: until something comes.
    Mute,
    /// It lies: for good.
    Liar,
}

impl Giver {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            cursor: 0,
            ahead: BTreeSet::new(),
            asking: None,
            asked_at: None,
            again: 0,
            has: Tree::default(),
            candidates: Tree::default(),
            lacked: BTreeMap::new(),
            owes: BTreeMap::new(),
            late: BTreeSet::new(),
            asked: 0,
            came: 0,
            lies: 0,
            pace: None,
            turnaround: None,
            quiet_since: now,
            snubbed: None,
            silenced: None,
        }
    }

    /// Whether it was asked about a place, and answered in one way or another.
    pub(super) fn was_asked(&self, place: Place) -> bool {
        place < self.cursor || self.ahead.contains(&place)
    }

    pub(super) fn mark_asked(&mut self, place: Place) {
        if place >= self.cursor {
            self.ahead.insert(place);
        }
    }

    /// Everything before a place was asked about.
    pub(super) fn advance(&mut self, upto: Place) {
        if upto > self.cursor {
            self.cursor = upto;
            self.ahead = self.ahead.split_off(&upto);
        }
    }

    pub(super) fn ask(&mut self, upto: Place, now: Instant) {
        self.asking = Some(Asking { since: now, upto, overdue: false });
    }

    /// Whether it lacked the block a short time ago.
    pub(super) fn lacked_lately(&self, place: Place, now: Instant) -> bool {
        let recent = |at: &Instant| now.saturating_duration_since(*at) < ASK_AGAIN_AFTER;
        self.lacked.get(&place).is_some_and(recent)
    }

    /// Whether it may be asked again about what it had not.
    pub(super) fn may_ask_again(&self, now: Instant) -> bool {
        self.asked_at.is_none_or(|at| now.saturating_duration_since(at) >= ASK_AGAIN_AFTER)
    }

    /// Whether a block is on its way from it, or may be.
    pub(super) fn is_sending(&self, place: Place) -> bool {
        self.owes.contains_key(&place) || self.late.contains(&place)
    }

    pub(super) fn is_snubbed(&self) -> bool {
        self.snubbed.is_some() || self.asking.as_ref().is_some_and(|asking| asking.overdue)
    }

    /// Whether blocks are not counted on that it owes.
    pub(super) fn is_slack(&self) -> bool {
        self.snubbed.is_some() || self.silenced.is_some()
    }

    /// Whether it will tell, as far as one knows, what it has.
    pub(super) fn is_heard(&self) -> bool {
        self.silenced.is_none() && !self.is_snubbed()
    }

    /// How many of some blocks it may be given now.
    pub(super) fn limit(&self, room: usize) -> usize {
        if self.silenced.is_some() {
            0
        } else if self.snubbed.is_some() {
            room.min(usize::from(self.owes.is_empty() && self.late.is_empty()))
        } else {
            room
        }
    }

    /// Blocks a second.
    pub(super) fn rate(&self) -> Option<f64> {
        let pace = self.pace?.as_secs_f64();
        Some(1.0 / pace.max(FASTEST))
    }

    /// How long a block takes that is wanted of it.
    pub(super) fn turnaround(&self) -> Duration {
        self.turnaround.unwrap_or(Duration::from_secs(1))
    }

    pub(super) fn owe(&mut self, place: Place, now: Instant) {
        if self.owes.is_empty() {
            self.quiet_since = now;
        }
        self.owes.insert(place, now);
        self.candidates.remove(place);
    }

    /// A block came from it that was wanted.
    pub(super) fn gave(&mut self, place: Place, now: Instant) {
        if let Some(since) = self.owes.remove(&place) {
            let pause = now.saturating_duration_since(self.quiet_since);
            self.pace = Some(smoothed(self.pace, pause));
            let took = now.saturating_duration_since(since);
            self.turnaround = Some(smoothed(self.turnaround, took));
        }
        self.late.remove(&place);
        self.came += 1;
        self.quiet_since = now;
    }

    /// It gives again: what of it was late, if it was snubbed.
    pub(super) fn forgive(&mut self) -> Vec<Place> {
        if self.silenced == Some(Silence::Liar) {
            return Vec::new();
        }
        if self.silenced.take().is_some() {
            (self.cursor, self.again) = (0, 0);
            self.ahead.clear();
        }
        if self.snubbed.take().is_none() { Vec::new() } else { self.late.iter().copied().collect() }
    }

    /// Whether it owes blocks and has given nothing for longer than is borne.
    pub(super) fn is_behind(&self, now: Instant) -> bool {
        let quiet = now.saturating_duration_since(self.quiet_since);
        !self.owes.is_empty() && quiet >= self.patience()
    }

    /// Whether it is snubbed from now on, for blocks or an answer that it owes.
    pub(super) fn falls_silent(&mut self, now: Instant) -> bool {
        let (was, patience) = (self.is_snubbed(), self.patience());
        if let Some(asking) = &mut self.asking {
            asking.overdue |= now.saturating_duration_since(asking.since) >= patience;
        }
        if self.snubbed.is_none() && self.is_behind(now) {
            self.snubbed = Some(now);
        }
        !was && self.is_snubbed()
    }

    fn patience(&self) -> Duration {
        if self.came == 0 { SNUB_NEWCOMER_AFTER } else { SNUB_AFTER }
    }

    /// What it said does not count any more: what it had.
    pub(super) fn silence(&mut self, why: Silence) -> Tree {
        self.silenced = Some(why);
        if let Some(asking) = &mut self.asking {
            asking.upto = 0;
        }
        self.candidates = Tree::default();
        std::mem::take(&mut self.has)
    }

    /// Whether it has been snubbed for so long that what it says it has is no hope.
    pub(super) fn is_mute(&self, now: Instant) -> bool {
        let long = |since| now.saturating_duration_since(since) >= MUTE_AFTER;
        self.silenced.is_none() && self.snubbed.is_some_and(long)
    }

    /// Forgets a block that is wanted no longer: whether it was on its way.
    pub(super) fn forget(&mut self, place: Place) -> bool {
        self.has.remove(place);
        self.candidates.remove(place);
        self.ahead.remove(&place);
        self.lacked.remove(&place);
        self.late.remove(&place) | self.owes.remove(&place).is_some()
    }

    /// Places have changed: `old` are the former ones in order.
    pub(super) fn close_up(&mut self, old: &[Place]) {
        let moved = |tree: &Tree| {
            let kept = (0..).zip(old).filter(|(_, old)| tree.contains(**old));
            kept.map(|(new, _)| new).collect()
        };
        self.has = moved(&self.has);
        self.candidates = moved(&self.candidates);
        self.cursor = rank(old, self.cursor);
        self.again = rank(old, self.again);
        if let Some(asking) = &mut self.asking {
            asking.upto = rank(old, asking.upto);
        }
        self.ahead = self.ahead.iter().map(|place| rank(old, *place)).collect();
        self.late = self.late.iter().map(|place| rank(old, *place)).collect();
        self.owes = self.owes.iter().map(|(place, at)| (rank(old, *place), *at)).collect();
        self.lacked = self.lacked.iter().map(|(place, at)| (rank(old, *place), *at)).collect();
    }
}

/// How many of the old places come before one: its new place.
pub(super) fn rank(old: &[Place], place: Place) -> Place {
    u32::try_from(old.partition_point(|old| *old < place)).unwrap_or(Place::MAX)
}

/// Seven parts of what was known, and one of what is new.
fn smoothed(known: Option<Duration>, new: Duration) -> Duration {
    known.map_or(new, |known| (known * 7 + new) / 8)
}
