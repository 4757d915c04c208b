//! The peers that others announce to us (BEP 5).
//!
//! Invariants: an endpoint is stored once per infohash and told on for [`PEER_LIFE`] after its latest
//! announce. One [`Host`] has at most [`MAX_HOST_ANNOUNCES`] entries, [`MAX_HOST_PEERS`] of them under one
//! infohash; an infohash has at most [`MAX_SWARM_PEERS`] peers; the store has at most
//! [`MAX_STORED_PEERS`], and so no more infohashes.
//!
//! Who makes room. Under an infohash that is full: its oldest peer, as the swarm has enough anyway. In
//! a full store: the oldest entry of the host with most entries, and nobody if the newcomer is that
//! host. So whoever wants to crowd out others needs as many proven addresses as there are places;
//! those who announce one swarm each are the last to go. (Distance from our id is no measure: who
//! floods the store chooses infohashes that are near.)

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use rand::Rng;
use rand::seq::SliceRandom;

use super::contact::{Family, Host};
use crate::address::may_dial;
use crate::id::InfoHash;
use crate::limits::dht::{
    MAX_HOST_ANNOUNCES, MAX_HOST_PEERS, MAX_STORED_PEERS, MAX_SWARM_PEERS, PEER_LIFE,
};

/// What became of an announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announced {
    /// The peer is stored.
    New,
    /// It was already, and is for another [`PEER_LIFE`].
    Again,
    /// Its host has its share, or nobody should dial it.
    Refused,
}

/// Which peers are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Of which swarm.
    pub infohash: InfoHash,
    /// In which network.
    pub family: Family,
    /// Only peers that are no seeds (`noseed`, BEP 33).
    pub no_seeds: bool,
    /// How many at most.
    pub at_most: usize,
}

#[derive(Debug)]
struct Peer {
    address: SocketAddr,
    seed: bool,
    announced: Instant,
}

impl Peer {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.announced) < PEER_LIFE
    }
}

/// Peers by infohash.
#[derive(Debug, Default)]
pub struct Peers {
    /// The latest announce last; never empty.
    swarms: BTreeMap<InfoHash, Vec<Peer>>,
    /// What each host has announced, the latest last; never empty.
    hosts: BTreeMap<Host, VecDeque<(InfoHash, SocketAddr)>>,
    /// Hosts by their number of entries.
    ranks: BTreeSet<(usize, Host)>,
    len: usize,
}

impl Peers {
    /// Peers stored, each counted once per infohash.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Infohashes that have peers.
    #[must_use]
    pub fn swarms(&self) -> usize {
        self.swarms.len()
    }

    /// Takes in an announce that came with a good token.
    pub fn announce(
        &mut self,
        infohash: InfoHash,
        address: SocketAddr,
        seed: bool,
        now: Instant,
    ) -> Announced {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let known = self.remove(&infohash, address);
        let stored = known || (may_dial(address) && self.make_room(&infohash, address));
        if !stored {
            return Announced::Refused;
        }
        self.insert(infohash, Peer { address, seed, announced: now });
        if known { Announced::Again } else { Announced::New }
    }

    /// A random sample of the peers wanted.
    #[must_use]
    pub fn values(&self, wanted: &Wanted, chance: &mut impl Rng, now: Instant) -> Vec<SocketAddr> {
        let peers = self.swarms.get(&wanted.infohash).into_iter().flatten();
        let fits = |peer: &&Peer| {
            let family = Family::of(&peer.address) == wanted.family;
            family && peer.is_fresh(now) && !(wanted.no_seeds && peer.seed)
        };
        let mut found: Vec<_> = peers.filter(fits).map(|peer| peer.address).collect();
        let (sample, _) = found.partial_shuffle(chance, wanted.at_most);
        sample.to_vec()
    }

    /// Drops the peers that were not announced again in time. Reads all of the store: once a minute
    /// is enough, as nobody is told of them anyway.
    pub fn expire(&mut self, now: Instant) {
        let mut expired = Vec::new();
        for (infohash, peers) in &self.swarms {
            let old = peers.iter().take_while(|peer| !peer.is_fresh(now));
            expired.extend(old.map(|peer| (*infohash, peer.address)));
        }
        for (infohash, address) in expired {
            self.remove(&infohash, address);
        }
    }

    /// Makes room for a new peer; false if it is its own host that has too many.
    fn make_room(&mut self, infohash: &InfoHash, address: SocketAddr) -> bool {
        let host = Host::of(address);
        let entries = self.hosts.get(&host).map_or(0, VecDeque::len);
        let peers = self.swarms.get(infohash).map(Vec::as_slice).unwrap_or_default();
        let same = peers.iter().filter(|peer| Host::of(peer.address) == host).count();
        if entries >= MAX_HOST_ANNOUNCES || same >= MAX_HOST_PEERS {
            return false;
        }
        if let Some(oldest) = peers.first().filter(|_| peers.len() >= MAX_SWARM_PEERS) {
            let oldest = oldest.address;
            self.remove(infohash, oldest);
        }
        self.len < MAX_STORED_PEERS || self.evict(entries)
    }

    /// Drops the oldest entry of the host with most, if it has more than so many.
    fn evict(&mut self, entries: usize) -> bool {
        let Some((most, host)) = self.ranks.last() else { return false };
        let oldest = self.hosts.get(host).and_then(VecDeque::front).copied();
        let Some((infohash, address)) = oldest.filter(|_| *most > entries) else { return false };
        self.remove(&infohash, address)
    }

    fn insert(&mut self, infohash: InfoHash, peer: Peer) {
        let address = peer.address;
        self.swarms.entry(infohash).or_default().push(peer);
        self.change_host(address, |entries| entries.push_back((infohash, address)));
        self.len += 1;
    }

    fn remove(&mut self, infohash: &InfoHash, address: SocketAddr) -> bool {
        let Some(peers) = self.swarms.get_mut(infohash) else { return false };
        let Some(at) = peers.iter().position(|peer| peer.address == address) else { return false };
        peers.remove(at);
        if peers.is_empty() {
            self.swarms.remove(infohash);
        }
        self.change_host(address, |entries| entries.retain(|one| *one != (*infohash, address)));
        self.len -= 1;
        true
    }

    fn change_host(
        &mut self,
        address: SocketAddr,
        change: impl FnOnce(&mut VecDeque<(InfoHash, SocketAddr)>),
    ) {
        let host = Host::of(address);
        let entries = self.hosts.entry(host).or_default();
        self.ranks.remove(&(entries.len(), host));
        change(entries);
        if entries.is_empty() {
            self.hosts.remove(&host);
        } else {
            self.ranks.insert((entries.len(), host));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    fn swarm(number: usize) -> InfoHash {
        InfoHash::of(&number.to_be_bytes())
    }

    fn at(host: u32, port: u16) -> SocketAddr {
        (std::net::Ipv4Addr::from(0x3c00_0000 + host), port).into()
    }

    fn values(peers: &Peers, number: usize, at_most: usize, now: Instant) -> Vec<SocketAddr> {
        let wanted =
            Wanted { infohash: swarm(number), family: Family::V4, no_seeds: false, at_most };
        peers.values(&wanted, &mut SmallRng::seed_from_u64(1), now)
    }

    /// Sizes, ranks and lists agree, and all bounds hold.
    fn check(peers: &Peers) {
        let entries = |host: &Host| peers.hosts[host].len();
        assert_eq!(peers.swarms.values().map(Vec::len).sum::<usize>(), peers.len());
        assert_eq!(peers.hosts.values().map(VecDeque::len).sum::<usize>(), peers.len());
        assert_eq!(peers.hosts.len(), peers.ranks.len());
        assert!(peers.ranks.iter().all(|(count, host)| *count == entries(host)));
        assert!(peers.len() <= MAX_STORED_PEERS);
        assert!(peers.ranks.last().is_none_or(|(count, _)| *count <= MAX_HOST_ANNOUNCES));
        assert!(peers.swarms.values().all(|peers| (1..=MAX_SWARM_PEERS).contains(&peers.len())));
    }

    #[test]
    fn peers_are_told_on_for_half_an_hour_after_their_latest_announce() {
        let (mut peers, now) = (Peers::default(), Instant::now());
        assert_eq!(peers.announce(swarm(1), at(1, 6881), false, now), Announced::New);
        assert_eq!(peers.announce(swarm(1), at(2, 6881), false, now), Announced::New);
        let later = now + Duration::from_secs(1_500);
        assert_eq!(peers.announce(swarm(1), at(1, 6881), true, later), Announced::Again);
        assert_eq!(values(&peers, 1, 9, later).len(), 2);
        assert_eq!(values(&peers, 1, 9, now + PEER_LIFE), [at(1, 6881)]);
        assert!(values(&peers, 2, 9, now).is_empty());
        peers.expire(now + PEER_LIFE);
        assert_eq!((peers.len(), peers.swarms()), (1, 1));
        peers.expire(later + PEER_LIFE);
        assert!(peers.is_empty() && peers.hosts.is_empty());
    }

    #[test]
    fn gives_a_sample_of_the_kind_that_is_wanted() {
        let (mut peers, now) = (Peers::default(), Instant::now());
        (0..100).for_each(|host| _ = peers.announce(swarm(1), at(host, 6881), host < 50, now));
        peers.announce(swarm(1), "[2001:db8::1]:6881".parse().unwrap(), false, now);
        let mut chance = SmallRng::seed_from_u64(1);
        let mut ask = |family, no_seeds, at_most| {
            let wanted = Wanted { infohash: swarm(1), family, no_seeds, at_most };
            peers.values(&wanted, &mut chance, now).into_iter().collect::<BTreeSet<_>>()
        };
        assert_eq!(ask(Family::V6, false, 10).len(), 1);
        assert_eq!(ask(Family::V4, true, 1_000).len(), 50);
        let (one, other) = (ask(Family::V4, false, 20), ask(Family::V4, false, 20));
        assert!(one.len() == 20 && other.len() == 20 && one != other);
    }

    #[test]
    fn one_address_cannot_fill_the_store_or_a_swarm() {
        let (mut peers, now) = (Peers::default(), Instant::now());
        for number in 0..1_000 {
            peers.announce(swarm(number), at(1, 6881), false, now);
            peers.announce(swarm(5_000), at(2, 2_000 + number as u16), false, now);
        }
        check(&peers);
        assert_eq!(peers.len(), MAX_HOST_ANNOUNCES + MAX_HOST_PEERS);
        assert_eq!(peers.announce(swarm(1), at(1, 6881), false, now), Announced::Again);
        for port in [0, 25, 80] {
            assert_eq!(peers.announce(swarm(1), at(3, port), false, now), Announced::Refused);
        }
    }

    #[test]
    fn a_swarm_that_is_full_forgets_its_oldest_peer() {
        let (mut peers, now) = (Peers::default(), Instant::now());
        (0..501).for_each(|host| _ = peers.announce(swarm(1), at(host, 6881), false, now));
        let all = values(&peers, 1, 1_000, now);
        assert!(all.len() == MAX_SWARM_PEERS && !all.contains(&at(0, 6881)));
        check(&peers);
    }

    #[test]
    fn in_a_full_store_those_who_announce_most_make_room() {
        let (mut peers, now) = (Peers::default(), Instant::now());
        (0..100).for_each(|host| _ = peers.announce(swarm(1), at(host, 6881), false, now));
        for number in 0..MAX_STORED_PEERS {
            let liar = at(1_000 + number as u32 / MAX_HOST_ANNOUNCES as u32, 6881);
            peers.announce(swarm(100 + number), liar, false, now);
        }
        (100..200).for_each(|host| {
            assert_eq!(peers.announce(swarm(1), at(host, 6881), false, now), Announced::New);
        });
        assert!(peers.len() == MAX_STORED_PEERS && values(&peers, 1, 1_000, now).len() == 200);
        check(&peers);
    }

    proptest! {
        #[test]
        fn lists_agree_whatever_comes(
            announces in prop::collection::vec((0usize..4, 0u32..6, 1_020u16..1_030, 0u64..200), 0..300),
        ) {
            let (mut peers, mut now) = (Peers::default(), Instant::now());
            for (number, host, port, pause) in announces {
                now += Duration::from_secs(pause);
                let announced = peers.announce(swarm(number), at(host, port), false, now);
                let told = values(&peers, number, 1_000, now).contains(&at(host, port));
                prop_assert_eq!(told, announced != Announced::Refused);
                if port == 1_025 {
                    peers.expire(now);
                }
                check(&peers);
            }
        }
    }
}
