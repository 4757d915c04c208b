//! When one tracker hears of one torrent (BEP 3, "Trackers").
//!
//! * `started` at once, and again until it was heard;
//! * then without an event, each time the tracker's interval is over;
//! * every half minute while a download has no peer at all, unless the tracker's minimal interval
//!   is longer;
//! * `completed` as soon as a download is, once, and only after `started`;
//! * after a failure in 10 s, then 20 s, ... 10 min, each up to a quarter longer by chance, so that
//!   the clients of a tracker that failed do not come back all at once.

use std::time::{Duration, Instant};

use crate::limits::{ANNOUNCE_RETRY_FIRST, ANNOUNCE_RETRY_LAST, LONELY_ANNOUNCE_INTERVAL};
use crate::swarm::tracker::{Announced, Event};

/// When one tracker hears of one torrent. Time is an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// The next announce in any case.
    next: Instant,
    /// The next announce of a download without peers.
    earliest: Instant,
    failures: u32,
    started: bool,
    completion: Completion,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Completion {
    Missing,
    Untold,
    Told,
}

impl Schedule {
    /// The schedule of a torrent that is joined now.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self {
            next: now,
            earliest: now,
            failures: 0,
            started: false,
            completion: Completion::Missing,
        }
    }

    /// When to announce. `lonely` is a download without a single peer.
    #[must_use]
    pub fn due(&self, lonely: bool) -> Instant {
        let may_hurry = lonely && self.failures == 0;
        if may_hurry { self.next.min(self.earliest) } else { self.next }
    }

    /// The event that an announce carries now.
    #[must_use]
    pub const fn event(&self) -> Option<Event> {
        match (self.started, self.completion) {
            (false, _) => Some(Event::Started),
            (true, Completion::Untold) => Some(Event::Completed),
            (true, Completion::Missing | Completion::Told) => None,
        }
    }

    /// Whether the tracker has heard of us.
    #[must_use]
    pub const fn has_started(&self) -> bool {
        self.started
    }

    /// The download is complete.
    pub fn complete(&mut self, now: Instant) {
        if self.completion == Completion::Missing {
            self.completion = Completion::Untold;
            self.hurry(now);
        }
    }

    /// The tracker heard an announce with this event.
    pub fn succeeded(&mut self, now: Instant, sent: Option<Event>, answer: &Announced) {
        let least = answer.min_interval.unwrap_or_default();
        self.failures = 0;
        self.next = now + answer.interval.max(least);
        self.earliest = now + LONELY_ANNOUNCE_INTERVAL.max(least);
        match sent {
            Some(Event::Started) => self.started = true,
            Some(Event::Completed) => self.completion = Completion::Told,
            Some(Event::Stopped) | None => {}
        }
        self.hurry(now);
    }

    /// An announce failed. `chance` is between 0 and 1.
    pub fn failed(&mut self, now: Instant, chance: f64) {
        self.next = now + pause(self.failures, chance);
        self.failures = self.failures.saturating_add(1);
    }

    /// Events do not wait, but for a tracker that fails.
    fn hurry(&mut self, now: Instant) {
        if self.event().is_some() && self.failures == 0 {
            self.next = self.next.min(now);
        }
    }
}

/// The pause after a failure that followed so many others.
pub(super) fn pause(failures: u32, chance: f64) -> Duration {
    let doubled = 2_u32.saturating_pow(failures);
    let pause = ANNOUNCE_RETRY_FIRST.saturating_mul(doubled).min(ANNOUNCE_RETRY_LAST);
    pause + (pause / 4).mul_f64(chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn answer(interval: u64, min_interval: Option<u64>) -> Announced {
        Announced {
            interval: seconds(interval),
            min_interval: min_interval.map(seconds),
            peers: Vec::new(),
            seeders: None,
            leechers: None,
            warning: None,
            tracker_id: None,
        }
    }

    #[test]
    fn starts_at_once_and_returns_after_the_interval() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now);
        assert_eq!((schedule.due(false), schedule.event()), (now, Some(Event::Started)));
        schedule.succeeded(now, Some(Event::Started), &answer(1800, None));
        assert_eq!((schedule.due(false), schedule.event()), (now + seconds(1800), None));
        schedule.succeeded(now, None, &answer(60, Some(120)));
        assert_eq!(schedule.due(false), now + seconds(120));
    }

    #[test]
    fn asks_more_often_while_it_has_no_peer() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now);
        schedule.succeeded(now, Some(Event::Started), &answer(1800, None));
        assert_eq!(schedule.due(true), now + seconds(30));
        schedule.succeeded(now, None, &answer(1800, Some(900)));
        assert_eq!(schedule.due(true), now + seconds(900));
        schedule.failed(now, 0.0);
        schedule.failed(now, 0.0);
        schedule.failed(now, 0.0);
        assert_eq!(schedule.due(true), now + seconds(40), "a tracker that fails is left alone");
    }

    #[test]
    fn tells_of_a_completion_once_and_after_the_start() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now);
        schedule.complete(now);
        assert_eq!(schedule.event(), Some(Event::Started));
        schedule.succeeded(now, Some(Event::Started), &answer(1800, None));
        assert_eq!((schedule.due(false), schedule.event()), (now, Some(Event::Completed)));
        schedule.failed(now, 0.0);
        assert_eq!(schedule.due(false), now + seconds(10));
        assert_eq!(schedule.event(), Some(Event::Completed));
        schedule.succeeded(now, Some(Event::Completed), &answer(1800, None));
        assert_eq!((schedule.due(false), schedule.event()), (now + seconds(1800), None));
        schedule.complete(now);
        assert_eq!(schedule.event(), None);
    }

    #[test]
    fn a_completion_does_not_press_a_tracker_that_fails() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now);
        schedule.succeeded(now, Some(Event::Started), &answer(60, None));
        schedule.failed(now, 0.0);
        schedule.complete(now);
        assert_eq!(schedule.due(false), now + seconds(10));
    }

    #[test]
    fn waits_longer_after_each_failure_but_not_for_ever() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            schedule.failed(now, 0.0);
            pauses.push((schedule.due(false) - now).as_secs());
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 600, 600, 600]);
        assert_eq!(pause(u32::MAX, 1.0), seconds(750));
        assert_eq!(schedule.event(), Some(Event::Started));
    }
}
