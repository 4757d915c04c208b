//! Announces a catalog of up to a million torrents that we only offer.
//!
//! The catalog is read in pages, round after round, and each torrent is announced as complete to
//! each of its trackers. In memory are one page, the announces under way and the health of some
//! thousands of trackers, nothing per torrent. A round begins 25 to 30 minutes after the one before
//! it, or as soon as that is through: beyond a million announces a round takes longer.
//!
//! A tracker that fails is left alone for a while, longer each time, and then tried with a single
//! announce; the torrents that would have been its turn come again in the next round. A tracker
//! that asks for a long interval is left out of as many rounds. That a tracker refuses one torrent
//! says nothing about the others.
//!
//! `started` is told in the first round. Nobody is told `stopped`, which would take as long as a
//! round: trackers forget us by themselves.

use std::error::Error;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::{Instant as Clock, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::Identity;
use super::dht::Carried;
use super::schedule::pause;
use crate::id::InfoHash;
use crate::limits::{
    ANNOUNCE_RETRY_LAST, MASS_ANNOUNCE_DEADLINE, MASS_ANNOUNCES_AT_ONCE, MASS_ANNOUNCES_PER_SECOND,
    MASS_PAGE, MASS_ROUND_LONGEST, MASS_ROUND_SHORTEST, MASS_TRACKERS,
};
use crate::swarm::guard::Guard;
use crate::swarm::tracker::{Announce, Announced, Event, Tracker, TrackerError, announce};

/// A torrent that is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its swarm.
    pub infohash: InfoHash,
    /// Where it is announced.
    pub trackers: Vec<Tracker>,
    /// The OFF URL that it carries, if any, for the DHT.
    pub carried: Option<Carried>,
}

/// Why a page of a catalog cannot be read.
pub type OffersError = Box<dyn Error + Send + Sync>;

/// A catalog of torrents, read in pages.
///
/// A page has at most `at_most` torrents, those that follow `after` in ascending order of their
/// infohashes; an empty page is the end. It is called where it may block.
pub trait Offers: Send + Sync + 'static {
    /// Reads a page.
    fn page(&self, after: Option<InfoHash>, at_most: usize) -> Result<Vec<Offer>, OffersError>;
}

impl<F> Offers for F
where
    F: Fn(Option<InfoHash>, usize) -> Result<Vec<Offer>, OffersError> + Send + Sync + 'static,
{
    fn page(&self, after: Option<InfoHash>, at_most: usize) -> Result<Vec<Offer>, OffersError> {
        self(after, at_most)
    }
}

/// How much is announced at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    /// Announces a second.
    pub per_second: u32,
    /// Announces under way.
    pub at_once: usize,
    /// How long one may take.
    pub deadline: Duration,
    /// From one round to the next.
    pub round: RangeInclusive<Duration>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            per_second: MASS_ANNOUNCES_PER_SECOND,
            at_once: MASS_ANNOUNCES_AT_ONCE,
            deadline: MASS_ANNOUNCE_DEADLINE,
            round: MASS_ROUND_SHORTEST..=MASS_ROUND_LONGEST,
        }
    }
}

/// Announces all torrents of a catalog, again and again, until it is stopped.
pub async fn announce_all(
    guard: Guard,
    offers: Arc<impl Offers>,
    identity: Identity,
    pace: Pace,
    stop: CancellationToken,
) {
    let mut mass = Mass {
        guard,
        offers,
        identity,
        trackers: Trackers::new(pace.deadline, *pace.round.end()),
        slots: Slots::new(now(), pace.per_second),
        pace,
        round: 0,
        under_way: JoinSet::new(),
    };
    // Dropping what is under way ends it.
    let _ = stop.run_until_cancelled(mass.run()).await;
}

/// The pages of a catalog, from the first to the last.
pub(super) struct Pages<'a, O> {
    offers: &'a Arc<O>,
    after: Option<InfoHash>,
}

impl<'a, O: Offers> Pages<'a, O> {
    pub(super) const fn of(offers: &'a Arc<O>) -> Self {
        Self { offers, after: None }
    }

    /// The next page, if there is one; after an error the same one is tried again.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Offer>>, OffersError> {
        let (offers, after) = (Arc::clone(self.offers), self.after);
        let page = match spawn_blocking(move || offers.page(after, MASS_PAGE)).await {
            Ok(page) => page?,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => return Err(error.into()),
            },
        };
        let last = page.last().map(|offer| offer.infohash);
        // A catalog that turns in a circle has ended, too.
        if last.is_none() || last <= after {
            return Ok(None);
        }
        self.after = last;
        Ok(Some(page))
    }
}

type Ended = Result<(Tracker, Result<Announced, TrackerError>), JoinError>;

struct Mass<O> {
    guard: Guard,
    offers: Arc<O>,
    identity: Identity,
    pace: Pace,
    trackers: Trackers,
    slots: Slots,
    round: u32,
    under_way: JoinSet<(Tracker, Result<Announced, TrackerError>)>,
}

impl<O: Offers> Mass<O> {
    async fn run(&mut self) {
        loop {
            let began = now();
            self.round().await;
            while let Some(ended) = self.under_way.join_next().await {
                self.note(ended);
            }
            self.round = self.round.wrapping_add(1);
            let next = began + rand::random_range(self.pace.round.clone());
            sleep_until(Clock::from_std(next)).await;
        }
    }

    async fn round(&mut self) {
        let offers = Arc::clone(&self.offers);
        let mut pages = Pages::of(&offers);
        loop {
            let page = match pages.next().await {
                Ok(Some(page)) => page,
                Ok(None) => return,
                Err(error) => {
                    warn!(error, "cannot read which torrents to announce");
                    sleep_until(Clock::now() + ANNOUNCE_RETRY_LAST).await;
                    continue;
                }
            };
            for Offer { infohash, trackers, .. } in page {
                for tracker in trackers {
                    self.offer(infohash, tracker).await;
                }
            }
        }
    }

    /// Starts one announce, as soon as there is room for it.
    async fn offer(&mut self, infohash: InfoHash, tracker: Tracker) {
        while let Some(ended) = self.under_way.try_join_next() {
            self.note(ended);
        }
        if !self.trackers.may_ask(&tracker, self.round, now()) {
            return;
        }
        while self.under_way.len() >= self.pace.at_once {
            if let Some(ended) = self.under_way.join_next().await {
                self.note(ended);
            }
        }
        sleep_until(Clock::from_std(self.slots.take(now()))).await;
        let what = self.what(infohash);
        let (guard, deadline) = (self.guard.clone(), self.pace.deadline);
        self.under_way.spawn(async move {
            let asked = timeout(deadline, announce(&guard, &tracker, &what)).await;
            let silent =
                |_| TrackerError::Silent { tracker: tracker.to_string(), waited: deadline };
            let result = asked.map_err(silent).flatten();
            (tracker, result)
        });
    }

    fn note(&mut self, ended: Ended) {
        match ended {
            Ok((tracker, result)) => {
                if let Err(error) = &result {
                    debug!(%tracker, %error, "announce failed");
                }
                self.trackers.note(&tracker, &result, now());
            }
            Err(error) => {
                if let Ok(panic) = error.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }

    fn what(&self, infohash: InfoHash) -> Announce {
        let Identity { peer_id, port, key } = self.identity;
        Announce {
            infohash,
            peer_id,
            port,
            uploaded: 0,
            downloaded: 0,
            left: 0,
            event: (self.round == 0).then_some(Event::Started),
            want: 0,
            key,
            tracker_id: None,
        }
    }
}

/// Points in time, so many a second.
#[derive(Debug)]
struct Slots {
    next: Instant,
    step: Duration,
}

impl Slots {
    /// How far behind the clock slots are made up for: timers are exact to a millisecond.
    const SLACK: Duration = Duration::from_millis(10);

    fn new(now: Instant, per_second: u32) -> Self {
        Self { next: now, step: Duration::from_secs(1) / per_second.max(1) }
    }

    fn take(&mut self, now: Instant) -> Instant {
        let at = self.next.max(now.checked_sub(Self::SLACK).unwrap_or(now));
        self.next = at + self.step;
        at
    }
}

/// How trackers fare.
#[derive(Debug)]
struct Trackers {
    known: LruCache<Tracker, Health>,
    deadline: Duration,
    round: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Health {
    failures: u32,
    quiet_until: Option<Instant>,
    /// Whether one announce is to show how it fares now.
    on_trial: bool,
    /// It is asked in one round of so many.
    every: u32,
}

impl Trackers {
    fn new(deadline: Duration, round: Duration) -> Self {
        let most = NonZeroUsize::new(MASS_TRACKERS).unwrap_or(NonZeroUsize::MIN);
        Self { known: LruCache::new(most), deadline, round }
    }

    fn may_ask(&mut self, tracker: &Tracker, round: u32, now: Instant) -> bool {
        let Some(health) = self.known.get_mut(tracker) else {
            return true;
        };
        let is_quiet = health.quiet_until.is_some_and(|until| now < until);
        if is_quiet || !round.is_multiple_of(health.every) {
            return false;
        }
        if health.failures > 0 {
            health.on_trial = true;
            health.quiet_until = Some(now + self.deadline * 2);
        }
        true
    }

    fn note(&mut self, tracker: &Tracker, result: &Result<Announced, TrackerError>, now: Instant) {
        let fresh = || Health { failures: 0, quiet_until: None, on_trial: false, every: 1 };
        let health = self.known.get_or_insert_mut(tracker.clone(), fresh);
        match result {
            Ok(answer) => {
                let rounds = answer.interval.as_secs() / self.round.as_secs().max(1);
                let every = u32::try_from(rounds).unwrap_or(u32::MAX).max(1);
                *health = Health { every, ..fresh() };
            }
            Err(TrackerError::Refused { .. }) => {
                *health = Health { every: health.every, ..fresh() }
            }
            Err(_) => {
                // Of many announces that fail together, the first one counts.
                let counted = health.quiet_until.is_some_and(|until| now < until);
                if !counted || health.on_trial {
                    health.quiet_until = Some(now + pause(health.failures, rand::random()));
                    health.failures = health.failures.saturating_add(1);
                    health.on_trial = false;
                }
            }
        }
    }
}

fn now() -> Instant {
    Clock::now().into_std()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::guard::Origin;

    fn tracker() -> Tracker {
        Tracker::parse("http://t.example/announce", Origin::Stranger).unwrap()
    }

    fn silent() -> Result<Announced, TrackerError> {
        Err(TrackerError::Silent { tracker: "t".into(), waited: Duration::ZERO })
    }

    fn answer(interval: u64) -> Announced {
        Announced {
            interval: Duration::from_secs(interval),
            min_interval: None,
            peers: Vec::new(),
            seeders: None,
            leechers: None,
            warning: None,
            tracker_id: None,
        }
    }

    fn trackers() -> Trackers {
        Trackers::new(MASS_ANNOUNCE_DEADLINE, MASS_ROUND_LONGEST)
    }

    #[test]
    fn keeps_the_pace_and_makes_up_for_no_pause() {
        let start = Instant::now();
        let mut slots = Slots::new(start, 100);
        let at: Vec<_> = (0..3).map(|_| (slots.take(start) - start).as_millis()).collect();
        assert_eq!(at, [0, 10, 20]);
        let later = start + Duration::from_secs(60);
        let in_one_second =
            (0..1_000).filter(|_| slots.take(later) < later + Duration::from_secs(1));
        assert_eq!(in_one_second.count(), 101);
    }

    #[test]
    fn leaves_a_tracker_alone_that_fails_and_tries_it_with_one_announce() {
        let (mut trackers, tracker, start) = (trackers(), tracker(), Instant::now());
        assert!(trackers.may_ask(&tracker, 0, start));
        (0..50).for_each(|_| trackers.note(&tracker, &silent(), start));
        assert!(!trackers.may_ask(&tracker, 0, start + Duration::from_secs(9)));
        let later = start + Duration::from_secs(13);
        assert!(trackers.may_ask(&tracker, 0, later));
        assert!(!trackers.may_ask(&tracker, 0, later), "one announce is enough to see");
        trackers.note(&tracker, &silent(), later);
        assert!(!trackers.may_ask(&tracker, 0, later + Duration::from_secs(19)));
        let later = later + Duration::from_secs(26);
        assert!(trackers.may_ask(&tracker, 0, later));
        trackers.note(&tracker, &Ok(answer(1800)), later);
        assert!(trackers.may_ask(&tracker, 1, later) && trackers.may_ask(&tracker, 1, later));
    }

    #[test]
    fn leaves_a_tracker_with_a_long_interval_out_of_rounds() {
        let (mut trackers, tracker, now) = (trackers(), tracker(), Instant::now());
        trackers.note(&tracker, &Ok(answer(3 * 1800)), now);
        let asked = (0..7).filter(|round| trackers.may_ask(&tracker, *round, now));
        assert_eq!(asked.collect::<Vec<_>>(), [0, 3, 6]);
    }

    #[test]
    fn blames_no_tracker_for_refusing_a_torrent() {
        let (mut trackers, tracker, now) = (trackers(), tracker(), Instant::now());
        let refused =
            Err(TrackerError::Refused { tracker: "t".into(), reason: "not authorized".into() });
        trackers.note(&tracker, &refused, now);
        assert!(trackers.may_ask(&tracker, 1, now) && trackers.may_ask(&tracker, 1, now));
    }
}
