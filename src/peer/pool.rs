//! Addresses of peers, and which to dial when. A machine without a clock: time is an argument.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::limits::MAX_KNOWN_PEERS;

/// The pause after a first failure; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause for an address the user named.
const NAMED_PAUSE: Duration = Duration::from_secs(4);

/// The longest pause for others.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

#[derive(Debug)]
struct Entry {
    named: bool,
    busy: bool,
    failures: u32,
    next: Instant,
}

/// The addresses known for one torrent.
#[derive(Debug, Default)]
pub struct Pool(BTreeMap<SocketAddr, Entry>);

impl Pool {
    /// Adds an address; `named` if it was the user who named it. Beyond [`MAX_KNOWN_PEERS`] only
    /// those are taken, and others in the place of those that failed.
    pub fn add(&mut self, peer: SocketAddr, named: bool, now: Instant) {
        if let Some(entry) = self.0.get_mut(&peer) {
            entry.named |= named;
        } else if named || self.has_room() {
            self.0.insert(peer, Entry { named, busy: false, failures: 0, next: now });
        }
    }

    /// Whether there is room for another one; if need be, the one goes that failed most.
    fn has_room(&mut self) -> bool {
        if self.0.len() < MAX_KNOWN_PEERS {
            return true;
        }
        let useless = self.0.iter().filter(|(_, one)| !one.named && !one.busy && one.failures > 0);
        let worst = useless.max_by_key(|(_, one)| one.failures).map(|(peer, _)| *peer);
        worst.is_some_and(|peer| self.0.remove(&peer).is_some())
    }

    /// Addresses known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no address is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Addresses that were never dialled in vain, or not since somebody of use was there.
    #[must_use]
    pub fn open(&self) -> HashSet<SocketAddr> {
        let open = self.0.iter().filter(|(_, entry)| entry.failures == 0);
        open.map(|(peer, _)| *peer).collect()
    }

    /// Addresses that the user named.
    #[must_use]
    pub fn named(&self) -> HashSet<SocketAddr> {
        self.0.iter().filter(|(_, entry)| entry.named).map(|(peer, _)| *peer).collect()
    }

    /// The next address to dial, if one is due; it is busy until [`ended`](Self::ended).
    pub fn next(&mut self, now: Instant) -> Option<SocketAddr> {
        let due = self.0.iter().filter(|(_, entry)| !entry.busy && entry.next <= now);
        let (peer, _) = due.min_by_key(|(_, entry)| (!entry.named, entry.failures, entry.next))?;
        let peer = *peer;
        if let Some(entry) = self.0.get_mut(&peer) {
            entry.busy = true;
        }
        Some(peer)
    }

    /// A peer is connected that may be known by this address.
    pub fn is_connected(&mut self, peer: SocketAddr) {
        if let Some(entry) = self.0.get_mut(&peer) {
            entry.busy = true;
        }
    }

    /// A connection to an address has ended, or never was.
    pub fn ended(&mut self, peer: SocketAddr, was_of_use: bool, now: Instant) {
        let Some(entry) = self.0.get_mut(&peer) else { return };
        entry.busy = false;
        entry.failures = if was_of_use { 0 } else { entry.failures.saturating_add(1) };
        let longest = if entry.named { NAMED_PAUSE } else { LONGEST_PAUSE };
        entry.next = now + (FIRST_PAUSE * 2_u32.pow(entry.failures.min(16))).min(longest);
    }

    /// Never dials an address again.
    pub fn ban(&mut self, peer: SocketAddr) {
        self.0.remove(&peer);
    }
}

/// How long a liar is not spoken to.
const BAN: Duration = Duration::from_secs(3600);

/// Liars remembered.
const MAX_BANS: usize = 10_000;

/// Those who gave wrong bytes. On this machine many programs share an address, so there it is a
/// port that is banned.
#[derive(Debug, Default)]
pub struct Bans(BTreeMap<(IpAddr, u16), Instant>);

impl Bans {
    /// Bans who speaks from an address.
    pub fn add(&mut self, peer: SocketAddr, now: Instant) {
        self.0.retain(|_, until| *until > now);
        if self.0.len() < MAX_BANS {
            self.0.insert(Self::key(peer), now + BAN);
        }
    }

    /// Whether an address is banned.
    #[must_use]
    pub fn has(&self, peer: SocketAddr, now: Instant) -> bool {
        self.0.get(&Self::key(peer)).is_some_and(|until| *until > now)
    }

    fn key(peer: SocketAddr) -> (IpAddr, u16) {
        let ip = peer.ip().to_canonical();
        (ip, if ip.is_loopback() { peer.port() } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> SocketAddr {
        SocketAddr::from(([203, 0, 113, n], 6881))
    }

    #[test]
    fn failures_make_it_patient() {
        let (mut pool, mut now) = (Pool::default(), Instant::now());
        pool.add(peer(1), false, now);
        let mut pauses = Vec::new();
        for _ in 0..14 {
            assert_eq!(pool.next(now), Some(peer(1)));
            assert_eq!(pool.next(now), None, "it is busy");
            pool.ended(peer(1), false, now);
            let before = now;
            while pool.next(now).is_none() {
                now += Duration::from_millis(500);
            }
            pool.ended(peer(1), false, before);
            pauses.push(now - before);
            now += LONGEST_PAUSE;
        }
        assert!(pauses.is_sorted() && pauses.last() == Some(&LONGEST_PAUSE), "{pauses:?}");
    }

    #[test]
    fn who_the_user_named_comes_first_and_soon_again() {
        let (mut pool, now) = (Pool::default(), Instant::now());
        pool.add(peer(1), false, now);
        pool.add(peer(2), true, now);
        assert_eq!(pool.next(now), Some(peer(2)));
        for _ in 0..20 {
            pool.ended(peer(2), false, now);
        }
        assert_eq!(pool.next(now + NAMED_PAUSE), Some(peer(2)));
    }

    #[test]
    fn a_crowd_is_not_remembered() {
        let (mut pool, now) = (Pool::default(), Instant::now());
        for port in 1..=10_000 {
            pool.add(SocketAddr::from(([203, 0, 113, 9], port)), false, now);
        }
        assert_eq!(pool.len(), MAX_KNOWN_PEERS);
        pool.add(peer(1), true, now);
        assert_eq!(pool.next(now), Some(peer(1)));
    }

    #[test]
    fn who_failed_makes_room() {
        let (mut pool, now) = (Pool::default(), Instant::now());
        for port in 1..=10_000 {
            pool.add(SocketAddr::from(([203, 0, 113, 9], port)), false, now);
        }
        let failed = pool.next(now).unwrap();
        pool.ended(failed, false, now);
        pool.add(peer(1), false, now);
        assert_eq!(pool.len(), MAX_KNOWN_PEERS);
        let dialled: Vec<_> = std::iter::from_fn(|| pool.next(now + LONGEST_PAUSE)).collect();
        assert!(dialled.contains(&peer(1)) && !dialled.contains(&failed));
    }

    #[test]
    fn a_ban_ends() {
        let (mut bans, now) = (Bans::default(), Instant::now());
        bans.add(peer(1), now);
        let other_port = SocketAddr::new(peer(1).ip(), 1);
        assert!(bans.has(peer(1), now) && bans.has(other_port, now) && !bans.has(peer(2), now));
        assert!(!bans.has(peer(1), now + BAN));
        bans.add("127.0.0.1:5000".parse().unwrap(), now);
        assert!(!bans.has("127.0.0.1:5001".parse().unwrap(), now));
    }
}
