//! Which peer is asked about which blocks.

use std::time::Instant;

use crate::id::BlockId;
use crate::limits::{MAX_ASKED, MAX_UNASKED_WANTS};

use super::choice::WINDOW;
use super::wishes::Place;
use super::{Key, Picker};

/// Wanted blocks looked at in one call for those to ask about again.
const MAX_LOOKED_AT: usize = 4 * MAX_ASKED;

impl Picker {
    /// Blocks that a peer is to be asked about now, at most [`MAX_ASKED`]: those it was not asked
    /// about yet, from the hurried one on and in order of wish, and when there are none, every
    /// [`ASK_AGAIN_AFTER`](crate::limits::ASK_AGAIN_AFTER) some that it had not. None while it owes
    /// an answer, is snubbed or silenced.
    pub fn to_ask(&mut self, key: Key, now: Instant) -> Vec<BlockId> {
        let able =
            self.givers.get(&key).is_some_and(|giver| giver.asking.is_none() && !giver.is_slack());
        if !able {
            return Vec::new();
        }
        let places = if self.is_few() { self.ask_few(key, now) } else { self.ask_many(key, now) };
        self.wishes.ids(&places)
    }

    /// A peer has answered which of some blocks it has, in the same order. A block without an
    /// answer counts as one it has not.
    pub fn answered(&mut self, key: Key, ids: &[BlockId], have: &[bool], now: Instant) {
        let Some(giver) = self.givers.get_mut(&key) else { return };
        if let Some(asking) = giver.asking.take() {
            giver.advance(asking.upto);
        }
        giver.asked_at = Some(now);
        giver.asked += ids.len() as u64;
        if giver.silenced.is_some() {
            return;
        }
        let answers = have.iter().copied().chain(std::iter::repeat(false));
        for (id, has) in ids.iter().zip(answers) {
            if let Some(place) = self.wishes.find(id) {
                self.heard(key, place, has);
            }
        }
    }

    /// Whether so few blocks are wanted that none is asked about.
    pub(super) const fn is_few(&self) -> bool {
        self.wanted() <= MAX_UNASKED_WANTS
    }

    /// A peer says whether it has a block.
    fn heard(&mut self, key: Key, place: Place, has: bool) {
        let Some(giver) = self.givers.get_mut(&key) else { return };
        giver.mark_asked(place);
        if !has {
            giver.candidates.remove(place);
            if giver.has.remove(place) {
                self.lost(place);
            }
            return;
        }
        giver.lacked.remove(&place);
        if giver.has.insert(place) {
            self.wishes.gained(place);
            self.orphans.remove(place);
            if !self.flights.contains_key(&place) {
                giver.candidates.insert(place);
            }
        }
    }

    /// Of few blocks, those that somebody lacked who was not asked, and now and then all.
    fn ask_few(&mut self, key: Key, now: Instant) -> Vec<Place> {
        let Some(giver) = self.givers.get_mut(&key) else { return Vec::new() };
        let again = giver.may_ask_again(now);
        let live = self.wishes.live().iter();
        let places = live.filter(|place| {
            if giver.was_asked(*place) {
                again && !giver.has.contains(*place) && !giver.lacked_lately(*place, now)
            } else {
                self.wishes.missed(*place)
            }
        });
        let places: Vec<Place> = places.filter(|place| !giver.is_sending(*place)).collect();
        if !places.is_empty() {
            giver.ask(giver.cursor, now);
        }
        places
    }

    fn ask_many(&mut self, key: Key, now: Instant) -> Vec<Place> {
        let live = self.wishes.live();
        let hurried = self.hurried.and_then(|id| self.wishes.find(&id));
        let urgent: Vec<Place> =
            hurried.into_iter().flat_map(|from| live.iter_from(from)).take(WINDOW).collect();
        let Some(giver) = self.givers.get_mut(&key) else { return Vec::new() };
        let is_urgent = |place| urgent.first() <= Some(&place) && Some(&place) <= urgent.last();
        let mut places: Vec<Place> =
            urgent.iter().copied().filter(|place| !giver.was_asked(*place)).collect();
        let mut upto = giver.cursor;
        for place in live.iter_from(giver.cursor) {
            if places.len() >= MAX_ASKED {
                break;
            }
            upto = place + 1;
            if !is_urgent(place) && !giver.ahead.contains(&place) {
                places.push(place);
            }
        }
        if places.is_empty() {
            giver.advance(upto);
            places = self.ask_again(key, now);
        }
        if let Some(giver) = self.givers.get_mut(&key).filter(|_| !places.is_empty()) {
            giver.ask(upto, now);
        }
        places
    }

    /// Some blocks that a peer had not when it was asked, going round.
    fn ask_again(&mut self, key: Key, now: Instant) -> Vec<Place> {
        let Some(giver) = self.givers.get_mut(&key) else { return Vec::new() };
        let mut places = Vec::new();
        if !giver.may_ask_again(now) {
            return places;
        }
        let mut live = self.wishes.live().iter_from(giver.again);
        for place in live.by_ref().take(MAX_LOOKED_AT) {
            giver.again = place + 1;
            if !giver.has.contains(place) && !giver.lacked_lately(place, now) {
                places.push(place);
            }
            if places.len() >= MAX_ASKED {
                break;
            }
        }
        if live.next().is_none() {
            giver.again = 0;
            if places.is_empty() {
                giver.asked_at = Some(now);
            }
        }
        places
    }
}
