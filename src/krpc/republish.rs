//! When it is time to say again what we hold.
//!
//! Nodes forget: peers after 30 minutes or so, items after two hours. So peers are announced every
//! 15 to 25 minutes, items are put every 55 to 65, and within 15 minutes of midnight (UTC), because
//! the salt of the item is the day's. Intervals are spread by a chance that the caller hands in, so
//! that publications drift apart that began together.
//!
//! Two clocks are asked, and the first that says so counts: the steady one stands still while a
//! machine sleeps, and the one of the wall may be set back. One set ahead makes us early, once.

use std::time::{Duration, Instant};

use super::rendezvous::seconds_to_midnight;
use crate::limits::dht::{ITEM_INTERVAL, NEW_DAY_SPREAD, PEERS_INTERVAL, REPUBLISH_RETRY};

/// Something to say again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Errand {
    /// That we are a peer of a swarm.
    Peers,
    /// The item, of the time that it is now.
    Item,
}

/// When things of one publication are due.
#[derive(Debug, Clone, Copy)]
pub struct Republish {
    peers: Due,
    item: Option<Due>,
}

impl Republish {
    /// Of a swarm that is announced only, at once.
    #[must_use]
    pub const fn of_swarm(now: Instant, unix: u64) -> Self {
        Self { peers: Due { now, unix }, item: None }
    }

    /// Of an OFF URL, which has an item as well, at once.
    #[must_use]
    pub const fn of_url(now: Instant, unix: u64) -> Self {
        Self { peers: Due { now, unix }, item: Some(Due { now, unix }) }
    }

    /// The next errand that is due; it is due again after its interval. `unix` are Unix seconds, and
    /// `chance` is 0 to 1, drawn anew for each call. To be called until there is none.
    pub fn poll(&mut self, now: Instant, unix: u64, chance: f64) -> Option<Errand> {
        if self.peers.has_come(now, unix) {
            self.peers = Due::after(now, unix, between(PEERS_INTERVAL, chance));
            return Some(Errand::Peers);
        }
        let item = self.item.as_mut().filter(|item| item.has_come(now, unix))?;
        *item = Due::after(now, unix, until_item(unix, chance));
        Some(Errand::Item)
    }

    /// Notes that an errand reached no node: it is due again soon.
    pub fn failed(&mut self, errand: Errand, now: Instant, unix: u64) {
        let soon = Due::after(now, unix, REPUBLISH_RETRY);
        match (errand, &mut self.item) {
            (Errand::Peers, _) => self.peers = soon,
            (Errand::Item, Some(item)) => *item = soon,
            (Errand::Item, None) => {}
        }
    }

    /// When to poll again by the steady clock, at the latest.
    #[must_use]
    pub fn next(&self) -> Instant {
        self.item.map_or(self.peers.now, |item| self.peers.now.min(item.now))
    }
}

/// A time on both clocks.
#[derive(Debug, Clone, Copy)]
struct Due {
    now: Instant,
    unix: u64,
}

impl Due {
    fn after(now: Instant, unix: u64, wait: Duration) -> Self {
        Self { now: now + wait, unix: unix.saturating_add(wait.as_secs()) }
    }

    fn has_come(&self, now: Instant, unix: u64) -> bool {
        // The wall's clock counts whole seconds: of the two it must not be the earlier one. And at
        // the end of its time nothing may be due for ever.
        now >= self.now || unix > self.unix
    }
}

/// How long an item is good for: an interval, or until some time after midnight.
fn until_item(unix: u64, chance: f64) -> Duration {
    let midnight = Duration::from_secs(seconds_to_midnight(unix));
    let new_day = midnight + between((Duration::ZERO, NEW_DAY_SPREAD), chance);
    between(ITEM_INTERVAL, chance).min(new_day)
}

/// A duration within a range, for a chance of 0 to 1; what is no such chance counts as the nearest.
fn between((shortest, longest): (Duration, Duration), chance: f64) -> Duration {
    let chance = if chance.is_nan() { 0.0 } else { chance.clamp(0.0, 1.0) };
    shortest + longest.saturating_sub(shortest).mul_f64(chance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::krpc::rendezvous::day;
    use crate::limits::dht::ITEM_LIFE;
    use proptest::prelude::*;

    const MINUTE: u64 = 60;
    /// 02:00 in the morning.
    const UNIX: u64 = 19_675 * 86_400 + 2 * 3_600;

    /// The minutes after `unix` at which the errands of some hours come, polled every second.
    fn errands(
        mut plan: Republish,
        start: Instant,
        unix: u64,
        hours: u64,
        chance: f64,
    ) -> Vec<(Errand, u64)> {
        let mut found = Vec::new();
        for second in 0..hours * 3_600 {
            let now = start + Duration::from_secs(second);
            while let Some(errand) = plan.poll(now, unix + second, chance) {
                found.push((errand, second / MINUTE));
            }
        }
        found
    }

    fn minutes(found: &[(Errand, u64)], of: Errand) -> Vec<u64> {
        found.iter().filter(|(errand, _)| *errand == of).map(|(_, minute)| *minute).collect()
    }

    #[test]
    fn peers_and_items_have_intervals_of_their_own() {
        let start = Instant::now();
        for (chance, peers, items) in [
            (0.0, [0, 15, 30, 45, 60], [0, 55, 110]),
            (0.5, [0, 20, 40, 60, 80], [0, 60, 120]),
            (1.0, [0, 25, 50, 75, 100], [0, 65, 130]),
        ] {
            let found = errands(Republish::of_url(start, UNIX), start, UNIX, 3, chance);
            assert_eq!(minutes(&found, Errand::Peers)[..5], peers);
            assert_eq!(minutes(&found, Errand::Item)[..3], items);
        }
        let found = errands(Republish::of_swarm(start, UNIX), start, UNIX, 3, 0.0);
        assert_eq!(
            (minutes(&found, Errand::Peers).len(), minutes(&found, Errand::Item).len()),
            (12, 0)
        );
    }

    #[test]
    fn a_new_day_brings_a_new_item_within_a_quarter_of_an_hour() {
        let start = Instant::now();
        let late = 19_676 * 86_400 - 30 * MINUTE;
        for (chance, items) in [(0.0, [0, 30, 85]), (0.5, [0, 37, 97]), (1.0, [0, 45, 110])] {
            let found = errands(Republish::of_url(start, late), start, late, 2, chance);
            assert_eq!(minutes(&found, Errand::Item), items, "{chance}");
        }
    }

    #[test]
    fn what_failed_is_due_again_soon() {
        let start = Instant::now();
        let mut plan = Republish::of_url(start, UNIX);
        assert_eq!(plan.next(), start);
        assert_eq!(plan.poll(start, UNIX, 1.0), Some(Errand::Peers));
        assert_eq!(plan.poll(start, UNIX, 1.0), Some(Errand::Item));
        assert_eq!(plan.poll(start, UNIX, 1.0), None);
        assert_eq!(plan.next(), start + PEERS_INTERVAL.1);
        plan.failed(Errand::Item, start, UNIX);
        let soon = start + REPUBLISH_RETRY;
        assert_eq!(plan.next(), soon);
        assert_eq!(plan.poll(soon, UNIX + 60, 1.0), Some(Errand::Item));
        plan.failed(Errand::Peers, soon, UNIX + 60);
        assert_eq!(plan.poll(soon + REPUBLISH_RETRY, UNIX + 120, 1.0), Some(Errand::Peers));
        let mut swarm = Republish::of_swarm(start, UNIX);
        swarm.failed(Errand::Item, start, UNIX);
        assert_eq!(swarm.poll(start, UNIX, 0.0), Some(Errand::Peers));
        assert_eq!(swarm.poll(start + PEERS_INTERVAL.1 / 2, UNIX, 0.0), None);
    }

    /// The steady clock stands still while the machine sleeps; the wall's may be set back by years.
    #[test]
    fn either_clock_will_do() {
        let start = Instant::now();
        let fresh = || {
            let mut plan = Republish::of_url(start, UNIX);
            while plan.poll(start, UNIX, 0.5).is_some() {}
            plan
        };
        assert_eq!(fresh().poll(start, UNIX + 8 * 3_600, 0.5), Some(Errand::Peers));
        assert_eq!(
            fresh().poll(start + Duration::from_secs(8 * 3_600), 0, 0.5),
            Some(Errand::Peers)
        );
        let mut plan = fresh();
        assert_eq!(plan.poll(start, u64::MAX, 0.5), Some(Errand::Peers));
        assert_eq!(plan.poll(start, u64::MAX, 0.5), Some(Errand::Item));
        assert_eq!(plan.poll(start, u64::MAX, 0.5), None);
    }

    #[test]
    fn no_chance_is_out_of_range() {
        for (chance, wanted) in [(-1.0, 15), (f64::NAN, 15), (7.0, 25), (f64::INFINITY, 25)] {
            assert_eq!(between(PEERS_INTERVAL, chance), Duration::from_secs(wanted * MINUTE));
        }
    }

    proptest! {
        /// At every time there is an item of ours under today's or yesterday's salt.
        #[test]
        fn readers_always_find_an_item(offset in 0..86_400_u64, chances in prop::collection::vec(0.0..=1.0, 60)) {
            let (start, unix) = (Instant::now(), UNIX + offset);
            let mut plan = Republish::of_url(start, unix);
            let (mut chances, mut put) = (chances.into_iter().cycle(), unix);
            for minute in 0..48 * 60 {
                let (now, unix) = (start + Duration::from_secs(60 * minute), unix + 60 * minute);
                while let Some(errand) = plan.poll(now, unix, chances.next().unwrap()) {
                    put = if errand == Errand::Item { unix } else { put };
                }
                prop_assert!(unix - put < ITEM_LIFE.as_secs());
                prop_assert!(day(unix) - day(put) <= 1);
                prop_assert!(day(put) == day(unix) || unix % 86_400 <= NEW_DAY_SPREAD.as_secs() + 60);
            }
        }
    }
}
