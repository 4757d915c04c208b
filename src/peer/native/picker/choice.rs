//! Which free blocks a peer is to send, and which that others owe.

use std::time::Instant;

use crate::id::BlockId;
use crate::limits::MAX_FLIGHTS;

use super::giver::Giver;
use super::wishes::Place;
use super::{Key, Picker};

/// Free blocks that a peer has among which the rarest go first: 32 MiB of a stream.
pub(super) const WINDOW: usize = 256;

/// The end is when at most so many blocks for each peer are in flight.
const LAST_FLIGHTS: usize = 2;

/// The end is the last of so many parts of all that was wanted: of a small file not every block is to
/// be sent twice because many peers have it.
const LAST_PART: usize = 4;

impl Picker {
    /// Blocks to be wanted now of a peer that has room for so many more, in order. They are in
    /// flight from now on.
    pub fn next(&mut self, key: Key, room: usize, now: Instant) -> Vec<BlockId> {
        let most = self.givers.get(&key).map_or(0, |giver| giver.limit(room));
        if most == 0 || self.is_idle() {
            return Vec::new();
        }
        let mut chosen = Vec::new();
        chosen.extend(self.hurried_for(key, now));
        let share = self.share(key);
        let skipped = self.choose(key, most, share, &mut chosen);
        if self.is_few() {
            self.guess(key, most, share, &mut chosen);
        }
        if chosen.len() < most && !skipped {
            self.choose_again(key, most, now, &mut chosen);
        }
        for place in &chosen {
            self.fly(key, *place, now);
        }
        self.wishes.ids(&chosen)
    }

    /// The block that is waited for, if this peer is the one to send it.
    fn hurried_for(&self, key: Key, now: Instant) -> Option<Place> {
        let place = self.hurried.and_then(|id| self.wishes.find(&id))?;
        let giver = self.givers.get(&key)?;
        let free = !self.flights.contains_key(&place) && self.may_send(giver, place);
        (free || self.is_overdue(giver, place, now)).then_some(place)
    }

    /// Whether a peer may be told to send a block: it says it has it, or it was not asked and few
    /// are wanted.
    fn may_send(&self, giver: &Giver, place: Place) -> bool {
        let guess = || self.is_few() && !giver.was_asked(place) && !self.wishes.missed(place);
        (giver.has.contains(place) || guess()) && !giver.is_sending(place)
    }

    /// Whether a peer would have brought a block by now if it had been asked for it instead.
    fn is_overdue(&self, giver: &Giver, place: Place, now: Instant) -> bool {
        self.flights.get(&place).is_some_and(|flight| {
            flight.peers < MAX_FLIGHTS
                && now.saturating_duration_since(flight.last) >= giver.turnaround()
                && self.may_send(giver, place)
        })
    }

    /// How many blocks more a peer may owe of those that others have too: as many as it sends
    /// while the others send the rest. Whose pace is not known counts as one of the average.
    fn share(&self, key: Key) -> usize {
        let busy = |giver: &&Giver| {
            let guesses =
                || self.is_few() && self.wishes.live().iter().any(|one| self.may_send(giver, one));
            !giver.is_slack()
                && (!giver.owes.is_empty() || !giver.candidates.is_empty() || guesses())
        };
        let rates = || self.givers.values().filter(busy).map(Giver::rate);
        let (sum, known) =
            rates().flatten().fold((0.0, 0_u32), |(sum, n), rate| (sum + rate, n + 1));
        let unknown = u32::try_from(rates().count()).unwrap_or(u32::MAX).saturating_sub(known);
        let average = if known == 0 { 1.0 } else { sum / f64::from(known) };
        let total = f64::from(unknown).mul_add(average, sum);
        let Some(giver) = self.givers.get(&key).filter(|_| total > 0.0) else { return usize::MAX };
        let part = giver.rate().unwrap_or(average) / total;
        let left = if self.is_few() { self.wanted() } else { self.wanted() - self.orphans.len() };
        let left = f64::from(u32::try_from(left).unwrap_or(u32::MAX));
        whole(left * part).saturating_sub(giver.owes.len())
    }

    /// Chooses of the free blocks that a peer has: whether some were left to others.
    fn choose(&mut self, key: Key, most: usize, share: usize, chosen: &mut Vec<Place>) -> bool {
        let mut window = self.window(key, most.max(WINDOW), chosen);
        window.sort_unstable();
        let mut skipped = false;
        for (holders, _, place) in window {
            if chosen.len() >= most {
                break;
            }
            if holders <= 1 || chosen.len() < share {
                chosen.push(place);
            } else {
                skipped = true;
            }
        }
        skipped
    }

    /// The next free blocks that a peer has, from the hurried one on and then from the first on:
    /// after the number of those who have it, and whether it is one of the first. Candidates that
    /// are not free are struck off: each was put there once.
    fn window(&mut self, key: Key, wide: usize, chosen: &[Place]) -> Vec<(u16, bool, Place)> {
        let mut window = Vec::new();
        let start = self.hurried.and_then(|id| self.wishes.find(&id)).unwrap_or(0);
        let Some(giver) = self.givers.get_mut(&key) else { return window };
        for (mut from, end) in [(start, Place::MAX), (0, start)] {
            while let Some(place) = giver.candidates.first_from(from) {
                if place >= end || window.len() >= wide {
                    break;
                }
                from = place + 1;
                if self.flights.contains_key(&place) || giver.late.contains(&place) {
                    giver.candidates.remove(place);
                } else if !chosen.contains(&place) {
                    window.push((self.wishes.holders(place), place < start, place));
                }
            }
        }
        window
    }

    /// Chooses of few free blocks those that a peer was not asked about.
    fn guess(&self, key: Key, most: usize, share: usize, chosen: &mut Vec<Place>) {
        let Some(giver) = self.givers.get(&key) else { return };
        for place in self.wishes.live().iter() {
            let free = !self.flights.contains_key(&place) && !chosen.contains(&place);
            if chosen.len() < most.min(share) && free && self.may_send(giver, place) {
                chosen.push(place);
            }
        }
    }

    /// Chooses of the last blocks those that others have owed for longest.
    fn choose_again(&self, key: Key, most: usize, now: Instant, chosen: &mut Vec<Place>) {
        let Some(giver) = self.givers.get(&key) else { return };
        let part = ((self.brought + self.wanted()) / LAST_PART).max(1);
        if self.flights.len() > part.min(LAST_FLIGHTS * self.givers.len()) {
            return;
        }
        let overdue = self
            .flights
            .iter()
            .filter(|(place, _)| !chosen.contains(place) && self.is_overdue(giver, **place, now));
        let mut overdue: Vec<_> = overdue.map(|(place, flight)| (flight.first, *place)).collect();
        overdue.sort_unstable();
        chosen.extend(overdue.into_iter().map(|(_, place)| place).take(most - chosen.len()));
    }
}

/// A number of blocks, rounded up.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and a count of blocks is no negative number"
)]
fn whole(blocks: f64) -> usize {
    blocks.ceil() as usize
}
