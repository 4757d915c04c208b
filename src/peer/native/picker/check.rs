//! What holds of a picker after whatever happened.

use crate::limits::MAX_FLIGHTS;

use super::{Giver, Picker};

impl Picker {
    /// Every wanted block is free or in flight, and whoever has a free one can be given it.
    pub(super) fn check(&self) {
        let live = self.wishes.live();
        assert_eq!(live.len(), self.wanted());
        for place in live.iter() {
            assert_eq!(self.wishes.find(&self.wishes.id(place).unwrap()), Some(place));
            let holders = self.givers.values().filter(|giver| giver.has.contains(place)).count();
            assert_eq!(usize::from(self.wishes.holders(place)), holders);
            assert_eq!(self.orphans.contains(place), holders == 0);
            let owe = self.givers.values().filter(|giver| giver.owes.contains_key(&place)).count();
            assert_eq!(self.flights.get(&place).map_or(0, |flight| flight.peers), owe);
            assert!(owe <= MAX_FLIGHTS);
        }
        assert!(self.orphans.iter().all(|place| live.contains(place)));
        for (place, flight) in &self.flights {
            assert!(live.contains(*place) && flight.peers > 0 && flight.first <= flight.last);
        }
        self.givers.values().for_each(|giver| self.check_giver(giver));
    }

    fn check_giver(&self, giver: &Giver) {
        let live = self.wishes.live();
        let known = giver.has.iter().chain(giver.owes.keys().copied());
        let known = known.chain(giver.late.iter().chain(&giver.ahead).copied());
        known.chain(giver.lacked.keys().copied()).for_each(|place| assert!(live.contains(place)));
        for place in giver.has.iter() {
            assert!(giver.was_asked(place));
            let spoken_for = self.flights.contains_key(&place) || giver.late.contains(&place);
            assert!(spoken_for || giver.candidates.contains(place), "cannot be picked");
        }
        assert!(giver.candidates.iter().all(|place| giver.has.contains(place)));
        assert!(giver.late.iter().all(|place| !giver.owes.contains_key(place)));
        assert!(giver.ahead.range(..giver.cursor).next().is_none());
        if giver.silenced.is_some() {
            assert!(giver.has.is_empty() && giver.owes.is_empty());
        }
        if giver.is_slack() {
            assert!(giver.owes.len() <= 1);
        } else {
            let free = |place: &u32| !self.flights.contains_key(place);
            assert!(!giver.late.iter().any(free), "nobody counts on it, though it gives");
        }
    }
}
