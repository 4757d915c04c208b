//! Local peer discovery without a socket and without a clock.
//!
//! What arrives is handed to [`hear`](Machine::hear), which returns the peers that it tells of; what
//! must go out is taken from [`poll`](Machine::poll), at [`next`](Machine::next) at the latest. Given
//! the same seed, datagrams and times, it does the same.
//!
//! # When something is said
//!
//! An infohash is announced at once when it is new, and every five minutes from then on. A peer that
//! was not heard before has an infohash announced again by all who have it, each after one to six
//! seconds by lot, so that the newcomer hears of them, too; that is done once a minute at most,
//! however many come. Several infohashes share a datagram, and datagrams follow each other at a
//! distance.
//!
//! # Who is believed
//!
//! Nothing proves the source of a datagram. So what is made up costs little: peers are remembered up
//! to a number, told at a rate, and one datagram brings about one announce of ours in a minute.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lru::LruCache;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::message::{Announce, Cookie};
use crate::address::{is_neighbour, may_dial};
use crate::id::InfoHash;
use crate::limits::lan::{
    LAN_ANNOUNCE_EVERY, LAN_GATHER, LAN_HEARD_BURST, LAN_HEARD_PER_SECOND, LAN_PEER_LIFE,
    LAN_REPLY_EVERY, LAN_REPLY_FIRST, LAN_REPLY_LAST, LAN_SEND_BURST, LAN_SEND_GAP, LAN_TELL_AGAIN,
    LAN_TOLD_BURST, LAN_TOLD_PER_SECOND, MAX_LAN_INFOHASHES, MAX_LAN_PEERS, MAX_LAN_SWARMS,
};

/// One of those who find each other.
#[derive(Debug)]
pub struct Machine {
    port: u16,
    cookie: Cookie,
    chance: StdRng,
    swarms: BTreeMap<InfoHash, Swarm>,
    /// The same swarms by the time of their next announce.
    due: BTreeSet<(Instant, InfoHash)>,
    peers: LruCache<(InfoHash, SocketAddr), Peer>,
    said: Pace,
    heard: Pace,
    told: Pace,
}

/// A swarm that we announce.
#[derive(Debug)]
struct Swarm {
    due: Instant,
    /// The next announce is for a new peer.
    is_reply: bool,
    /// No announce is for a new peer before that.
    reply_from: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Peer {
    heard: Instant,
    told: Instant,
}

impl Machine {
    /// Announces that peers are taken at a TCP port. All its chance comes from `seed`.
    #[must_use]
    pub fn new(port: u16, seed: [u8; 32], now: Instant) -> Self {
        let mut chance = StdRng::from_seed(seed);
        let second = Duration::from_secs(1);
        Self {
            port,
            cookie: Cookie::of_number(chance.random()),
            chance,
            swarms: BTreeMap::new(),
            due: BTreeSet::new(),
            peers: LruCache::unbounded(),
            said: Pace::new(LAN_SEND_GAP, LAN_SEND_BURST, now),
            heard: Pace::new(second / LAN_HEARD_PER_SECOND, LAN_HEARD_BURST, now),
            told: Pace::new(second / LAN_TOLD_PER_SECOND, LAN_TOLD_BURST, now),
        }
    }

    /// We are in a swarm. False if that is one too many ([`MAX_LAN_SWARMS`]): it is not announced.
    pub fn announce(&mut self, infohash: InfoHash, now: Instant) -> bool {
        if self.swarms.contains_key(&infohash) {
            return true;
        }
        if self.swarms.len() >= MAX_LAN_SWARMS {
            return false;
        }
        self.due.insert((now, infohash));
        self.swarms.insert(infohash, Swarm { due: now, is_reply: false, reply_from: now });
        true
    }

    /// We have left a swarm. BEP 14 has no word for that: nobody is told.
    pub fn withdraw(&mut self, infohash: &InfoHash) {
        let Some(swarm) = self.swarms.remove(infohash) else { return };
        self.due.remove(&(swarm.due, *infohash));
        // Should we come back, its peers are new to us.
        let keys = self.peers.iter().map(|(key, _)| *key);
        for key in keys.filter(|(of, _)| of == infohash).collect::<Vec<_>>() {
            self.peers.pop(&key);
        }
    }

    /// A datagram has arrived. Returns the peers that are to be told, and of which swarms.
    pub fn hear(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
    ) -> Vec<(InfoHash, SocketAddr)> {
        if !is_neighbour(from.ip()) || !self.heard.take(now) {
            return Vec::new();
        }
        let Ok(announce) = Announce::decode(datagram) else { return Vec::new() };
        let peer = at_port(from, announce.port);
        if announce.cookie.as_ref() == Some(&self.cookie) || !may_dial(peer) {
            return Vec::new();
        }
        let told = announce.infohashes.into_iter().filter(|of| self.is_to_be_told(*of, peer, now));
        told.map(|infohash| (infohash, peer)).collect()
    }

    /// The next announce that is to be sent now.
    pub fn poll(&mut self, now: Instant) -> Option<Announce> {
        let is_due = self.due.first().is_some_and(|(due, _)| *due <= now);
        if !is_due || !self.said.take(now) {
            return None;
        }
        let infohashes = self.gather(now);
        for infohash in &infohashes {
            self.announced(*infohash, now);
        }
        Some(Announce { port: self.port, infohashes, cookie: Some(self.cookie.clone()) })
    }

    /// When [`poll`](Self::poll) is to be called at the latest; never if nothing is announced.
    #[must_use]
    pub fn next(&self, now: Instant) -> Option<Instant> {
        self.due.first().map(|(due, _)| self.said.next(now).max(*due))
    }

    /// How many swarms are announced, and how many peers of them are remembered.
    #[must_use]
    pub fn kept(&self) -> (usize, usize) {
        (self.swarms.len(), self.peers.len())
    }

    /// Notes a peer of a swarm.
    fn is_to_be_told(&mut self, infohash: InfoHash, peer: SocketAddr, now: Instant) -> bool {
        if !self.swarms.contains_key(&infohash) {
            return false;
        }
        let key = (infohash, peer);
        let known = self.peers.get(&key).copied();
        let known = known.filter(|known| now < known.heard + LAN_PEER_LIFE);
        let told = known.map(|known| known.told).filter(|told| now < *told + LAN_TELL_AGAIN);
        if told.is_none() && !self.told.take(now) {
            return false;
        }
        if known.is_none() {
            self.reply(infohash, now);
        }
        if self.peers.len() >= MAX_LAN_PEERS && !self.peers.contains(&key) {
            self.peers.pop_lru();
        }
        self.peers.put(key, Peer { heard: now, told: told.unwrap_or(now) });
        told.is_none()
    }

    /// Has a swarm announced soon, for a peer that does not know of us.
    fn reply(&mut self, infohash: InfoHash, now: Instant) {
        let Some(swarm) = self.swarms.get_mut(&infohash) else { return };
        let wait = self.chance.random_range(LAN_REPLY_FIRST..=LAN_REPLY_LAST);
        let at = (now + wait).max(swarm.reply_from);
        if at < swarm.due {
            self.due.remove(&(swarm.due, infohash));
            self.due.insert((at, infohash));
            (swarm.due, swarm.is_reply) = (at, true);
        }
    }

    /// The infohashes of one datagram: those that are due, then those that will be soon.
    fn gather(&self, now: Instant) -> Vec<InfoHash> {
        let may_go = |due: Instant, infohash: &InfoHash| {
            let swarm = self.swarms.get(infohash);
            due <= now || swarm.is_some_and(|swarm| !swarm.is_reply || swarm.reply_from <= now)
        };
        self.due
            .iter()
            .take_while(|(due, _)| *due <= now + LAN_GATHER)
            .filter(|(due, infohash)| may_go(*due, infohash))
            .map(|(_, infohash)| *infohash)
            .take(MAX_LAN_INFOHASHES)
            .collect()
    }

    fn announced(&mut self, infohash: InfoHash, now: Instant) {
        let Some(swarm) = self.swarms.get_mut(&infohash) else { return };
        self.due.remove(&(swarm.due, infohash));
        if std::mem::take(&mut swarm.is_reply) {
            swarm.reply_from = now + LAN_REPLY_EVERY;
        }
        swarm.due = now + LAN_ANNOUNCE_EVERY;
        self.due.insert((swarm.due, infohash));
    }
}

/// The sender of a datagram, where it takes peers. An address of the link's own keeps its interface.
fn at_port(from: SocketAddr, port: u16) -> SocketAddr {
    let mut peer = from;
    if from.ip().to_canonical() != from.ip() {
        peer.set_ip(from.ip().to_canonical());
    }
    peer.set_port(port);
    peer
}

/// Lets `burst` through at once, or one every `gap` in the long run.
#[derive(Debug)]
struct Pace {
    gap: Duration,
    burst: u32,
    /// When all is let through again that may be at once.
    rested: Instant,
}

impl Pace {
    const fn new(gap: Duration, burst: u32, now: Instant) -> Self {
        Self { gap, burst, rested: now }
    }

    fn take(&mut self, now: Instant) -> bool {
        let fits = self.next(now) <= now;
        if fits {
            self.rested = self.rested.max(now) + self.gap;
        }
        fits
    }

    /// When the next one is let through.
    fn next(&self, now: Instant) -> Instant {
        let ahead = self.rested.saturating_duration_since(now);
        now + ahead.saturating_sub(self.gap * (self.burst - 1))
    }
}
