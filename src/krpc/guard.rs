//! What may be sent to an address and taken from it, and how fast we ask.
//!
//! The source of a datagram is easily forged. So until a round trip is proven, a host is sent no more
//! bytes than came from it: whoever forges the address of a victim gains nothing (amplification at
//! most 1). Whoever floods us meets a limit per host and one for all.
//!
//! There are two classes of hosts with a limit and a memory of their own: those we asked or that are
//! proven, and strangers. Only what we do ourselves puts a host into the first one, so however many
//! addresses a flood is forged from, it neither drowns the answers we wait for nor makes a neighbour
//! unproven.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lru::LruCache;

use super::contact::Host;
use crate::limits::dht::{
    ALL_BURST, ALL_DATAGRAMS, ASKED_FOR, CREDIT_FOR, GOOD_FOR, HOST_BURST, HOST_DATAGRAMS,
    MAX_GUARDED_HOSTS, PACE_BURST, PACE_GAP,
};

/// A rate with bursts (GCRA): when all that passed would have passed at an even pace. Nothing that lies
/// in the past means anything.
#[derive(Debug, Clone, Copy)]
struct Rate(Instant);

impl Rate {
    /// Takes `burst` at once, or one every `gap` in the long run.
    fn take(&mut self, gap: Duration, burst: u32, now: Instant) -> bool {
        let fits = self.next(gap, burst, now) <= now;
        if fits {
            self.0 = self.0.max(now) + gap;
        }
        fits
    }

    /// When the next one fits.
    fn next(&self, gap: Duration, burst: u32, now: Instant) -> Instant {
        let ahead = self.0.saturating_duration_since(now);
        now + ahead.saturating_sub(gap * (burst - 1))
    }
}

/// Bytes that may be sent to a host in reaction to what came from it.
#[derive(Debug, Clone, Copy)]
struct Credit {
    bytes: usize,
    /// The latest datagram from it.
    at: Instant,
}

impl Credit {
    fn left(&self, now: Instant) -> usize {
        if now.saturating_duration_since(self.at) < CREDIT_FOR { self.bytes } else { 0 }
    }
}

#[derive(Debug)]
struct Record {
    rate: Rate,
    credit: Credit,
    /// No stranger until then.
    known_until: Instant,
    proven_until: Instant,
}

impl Record {
    const fn new(now: Instant) -> Self {
        let credit = Credit { bytes: 0, at: now };
        Self { rate: Rate(now), credit, known_until: now, proven_until: now }
    }
}

/// Records of hosts and their common rate.
#[derive(Debug)]
struct Class {
    hosts: LruCache<Host, Record>,
    rate: Rate,
}

impl Class {
    fn new(now: Instant) -> Self {
        Self { hosts: LruCache::unbounded(), rate: Rate(now) }
    }

    fn record(&mut self, host: Host, or: impl FnOnce() -> Record) -> &mut Record {
        if self.hosts.len() >= MAX_GUARDED_HOSTS && !self.hosts.contains(&host) {
            self.hosts.pop_lru();
        }
        self.hosts.get_or_insert_mut(host, or)
    }

    fn arrived(&mut self, host: Host, len: usize, now: Instant) -> bool {
        let record = self.record(host, || Record::new(now));
        // First the host's own: who is over it must not use up that of the others.
        if !record.rate.take(Duration::from_secs(1) / HOST_DATAGRAMS, HOST_BURST, now)
            || !self.rate.take(Duration::from_secs(1) / ALL_DATAGRAMS, ALL_BURST, now)
        {
            return false;
        }
        if let Some(record) = self.hosts.peek_mut(&host) {
            let bytes = record.credit.left(now).saturating_add(len);
            record.credit = Credit { bytes, at: now };
        }
        true
    }
}

/// Guards one socket. Remembers at most [`MAX_GUARDED_HOSTS`] of either class.
#[derive(Debug)]
pub struct Guard {
    /// Hosts that we asked or that are proven, some no longer.
    known: Class,
    strangers: Class,
}

impl Guard {
    /// Knows nobody.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { known: Class::new(now), strangers: Class::new(now) }
    }

    /// Counts a datagram that arrived. False if it is over a rate: drop it without an answer.
    #[must_use]
    pub fn arrived(&mut self, from: SocketAddr, len: usize, now: Instant) -> bool {
        let host = Host::of(from);
        let known = self.known.hosts.peek(&host).is_some_and(|record| now < record.known_until);
        let class = if known { &mut self.known } else { &mut self.strangers };
        class.arrived(host, len, now)
    }

    /// We send a query: the answer is no stranger's. Proves nothing.
    pub fn asked(&mut self, to: SocketAddr, now: Instant) {
        let record = self.known_record(Host::of(to), now);
        record.known_until = record.known_until.max(now + ASKED_FOR);
    }

    /// A round trip is proven: the host answered a query of ours with its transaction id, or
    /// showed a good token.
    pub fn prove(&mut self, from: SocketAddr, now: Instant) {
        let record = self.known_record(Host::of(from), now);
        (record.known_until, record.proven_until) = (now + GOOD_FOR, now + GOOD_FOR);
    }

    /// Bytes that may be sent now in reaction to what came from a host: any number if a round trip
    /// was proven within 15 minutes, else what came from it within the last seconds less what it
    /// was sent.
    #[must_use]
    pub fn allowance(&self, to: SocketAddr, now: Instant) -> usize {
        let host = Host::of(to);
        let records = [&self.known, &self.strangers].map(|class| class.hosts.peek(&host));
        if records.iter().flatten().any(|record| now < record.proven_until) {
            return usize::MAX;
        }
        records.iter().flatten().map(|record| record.credit.left(now)).sum()
    }

    /// Counts a datagram that was sent, a query too.
    pub fn sent(&mut self, to: SocketAddr, len: usize) {
        let (host, mut left) = (Host::of(to), len);
        for class in [&mut self.known, &mut self.strangers] {
            if let Some(record) = class.hosts.peek_mut(&host) {
                let paid = record.credit.bytes.min(left);
                record.credit.bytes -= paid;
                left -= paid;
            }
        }
    }

    /// The record of a host of the first class, with what it was as a stranger.
    fn known_record(&mut self, host: Host, now: Instant) -> &mut Record {
        let before = self.strangers.hosts.pop(&host);
        let record = self.known.record(host, || Record::new(now));
        if let Some(before) = before {
            record.rate.0 = record.rate.0.max(before.rate.0);
            let bytes = record.credit.left(now).saturating_add(before.credit.left(now));
            record.credit = Credit { bytes, at: record.credit.at.max(before.credit.at) };
        }
        record
    }
}

/// Paces our own queries: to one host one every [`PACE_GAP`] and [`PACE_BURST`] at once, so that
/// never more than 40 fall into 10 seconds.
///
/// Remembers [`MAX_GUARDED_HOSTS`] hosts that have to wait; whoever asks more than that at once breaks the
/// promise to the one not asked for longest.
#[derive(Debug)]
pub struct Pacer(LruCache<Host, Rate>);

impl Default for Pacer {
    fn default() -> Self {
        Self(LruCache::unbounded())
    }
}

impl Pacer {
    /// When the next query to a host may be sent, `now` or later. The slot is taken: whoever comes
    /// next gets a later one.
    #[must_use]
    pub fn slot(&mut self, to: SocketAddr, now: Instant) -> Instant {
        let spent = |(_, rate): (&Host, &Rate)| rate.0 <= now;
        while self.0.peek_lru().is_some_and(spent) {
            self.0.pop_lru();
        }
        if self.0.len() >= MAX_GUARDED_HOSTS && !self.0.contains(&Host::of(to)) {
            self.0.pop_lru();
        }
        let rate = self.0.get_or_insert_mut(Host::of(to), || Rate(now));
        let slot = rate.next(PACE_GAP, PACE_BURST, now);
        rate.0 = rate.0.max(now) + PACE_GAP;
        slot
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(host: u32) -> SocketAddr {
        (std::net::Ipv4Addr::from(0x3c00_0000 + host), 6881).into()
    }

    #[test]
    fn a_stranger_is_sent_what_came_from_it_and_a_proven_host_anything() {
        let now = Instant::now();
        let mut guard = Guard::new(now);
        assert_eq!(guard.allowance(at(1), now), 0);
        assert!(guard.arrived(at(1), 100, now) && guard.allowance(at(1), now) == 100);
        guard.sent(at(1), 60);
        assert_eq!(guard.allowance(at(1), now), 40);
        guard.asked(at(1), now);
        assert_eq!(guard.allowance(at(1), now), 40);
        assert!(guard.arrived(at(1), 10, now) && guard.allowance(at(1), now) == 50);
        assert_eq!(guard.allowance(at(1), now + CREDIT_FOR), 0);
        guard.prove(at(1), now);
        assert_eq!(guard.allowance(at(1), now + 899 * SECOND), usize::MAX);
        assert_eq!(guard.allowance(at(1), now + GOOD_FOR), 0);
        assert_eq!(guard.allowance(at(2), now), 0);
    }

    #[test]
    fn a_host_has_a_rate() {
        let now = Instant::now();
        let mut guard = Guard::new(now);
        let arrive = |guard: &mut Guard, host, count: u32, now| {
            (0..count).filter(|_| guard.arrived(at(host), 1, now)).count()
        };
        assert_eq!(arrive(&mut guard, 1, 500, now), HOST_BURST as usize);
        assert_eq!(arrive(&mut guard, 1, 500, now + SECOND), HOST_DATAGRAMS as usize);
        guard.prove(at(1), now + SECOND);
        assert_eq!(arrive(&mut guard, 1, 500, now + SECOND), 0);
        assert_eq!(arrive(&mut guard, 2, 500, now + SECOND), HOST_BURST as usize);
        let answered = guard.allowance(at(2), now + SECOND);
        assert_eq!(answered, HOST_BURST as usize, "what is dropped earns nothing");
    }

    #[test]
    fn a_forged_flood_neither_drowns_answers_nor_makes_a_neighbour_unproven() {
        let now = Instant::now();
        let mut guard = Guard::new(now);
        guard.prove(at(1), now);
        guard.asked(at(2), now);
        let taken = (10..200_000).filter(|host| guard.arrived(at(*host), 1, now)).count();
        assert_eq!(taken, ALL_BURST as usize);
        assert!(guard.arrived(at(1), 1, now) && guard.arrived(at(2), 1, now));
        assert_eq!(guard.allowance(at(1), now), usize::MAX);
        let later = now + ASKED_FOR;
        (10..5_000).for_each(|host| _ = guard.arrived(at(host), 1, later));
        assert!(guard.arrived(at(1), 1, later) && !guard.arrived(at(2), 1, later));
        for class in [&guard.known, &guard.strangers] {
            assert!(class.hosts.len() <= MAX_GUARDED_HOSTS);
        }
    }

    #[test]
    fn the_pacer_forgets_hosts_that_need_not_wait() {
        let (mut pacer, now) = (Pacer::default(), Instant::now());
        (0..10_000).for_each(|host| assert_eq!(pacer.slot(at(host), now), now));
        assert_eq!(pacer.0.len(), MAX_GUARDED_HOSTS);
        assert_eq!(pacer.slot(at(1), now + SECOND), now + SECOND);
        assert_eq!(pacer.0.len(), 1);
        assert!((1..6).all(|_| pacer.slot(at(1), now + SECOND) == now + SECOND));
        assert_eq!(pacer.slot(at(1), now + SECOND), now + SECOND + PACE_GAP);
    }

    proptest! {
        #[test]
        fn never_more_than_forty_queries_in_ten_seconds(
            pauses in prop::collection::vec(0u64..2_000, 50..300), crowd in 1usize..60,
        ) {
            let (mut pacer, mut now) = (Pacer::default(), Instant::now());
            let mut slots = Vec::new();
            for pause in pauses.chunks(crowd) {
                now += Duration::from_millis(pause.iter().max().copied().unwrap_or_default());
                slots.extend(pause.iter().map(|_| pacer.slot(at(1), now)));
            }
            prop_assert!(slots.is_sorted());
            for window in slots.windows(41) {
                prop_assert!(window[40] - window[0] > 10 * SECOND);
            }
        }

        #[test]
        fn amplification_is_never_above_one(
            acts in prop::collection::vec((0u8..4, 1usize..1_500, 0u64..3_000), 0..200),
        ) {
            let mut now = Instant::now();
            let (mut guard, mut received, mut reacted) = (Guard::new(now), 0, 0);
            for (act, len, pause) in acts {
                now += Duration::from_millis(pause);
                match act {
                    0 => received += if guard.arrived(at(1), len, now) { len } else { 0 },
                    1 => guard.asked(at(1), now),
                    _ => {
                        let allowed = guard.allowance(at(1), now).min(len);
                        guard.sent(at(1), allowed);
                        reacted += allowed;
                    }
                }
                prop_assert!(reacted <= received);
            }
        }
    }
}
