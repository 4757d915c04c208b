//! Ids that follow from addresses, and what our own address is (BEP 42).
//!
//! Whoever may choose an id chooses one beside the values to be hidden. So the first 21 bits of an
//! id have to be those of the CRC-32C of the masked address and three bits of chance, which are
//! the last three of the id: an address has eight places in the space of ids, a /24 of IPv4 hardly
//! more. Our networks are exempt: addresses there say nothing to the world.
//!
//! What our address is, others tell us in the field `ip` of every response. [`AddressVotes`] makes
//! an agreement of that.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

use crc::{CRC_32_ISCSI, Crc};
use rand::Rng;

use super::contact::{Family, Host};
use crate::address::{Reach, reach};
use crate::id::NodeId;
use crate::limits::dht::{ADDRESS_VOTE_LIFE, MAX_ADDRESS_VOTES, MIN_ADDRESS_VOTES};

/// Bits of an IPv4 address that count: the more significant a byte, the fewer of it.
const V4_MASK: u32 = 0x030f_3fff;

/// The same for the first half of an IPv6 address.
const V6_MASK: u64 = 0x0103_070f_1f3f_7fff;

/// Bits of the first four bytes of an id that follow from the address.
const BOUND_BITS: u32 = 0xffff_f800;

static CASTAGNOLI: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// An id for a node at this address.
#[must_use]
pub fn id_for(ip: IpAddr, chance: &mut impl Rng) -> NodeId {
    let mut id = [0; NodeId::LEN];
    chance.fill_bytes(&mut id);
    let (free, bound) = (leading(&id), checksum(ip, turn(&id)));
    let first = (bound & BOUND_BITS) | (free & !BOUND_BITS);
    id.iter_mut().zip(first.to_be_bytes()).for_each(|(to, from)| *to = from);
    NodeId::from_bytes(id)
}

/// Whether a node at this address may have this id. On our own networks every one may.
#[must_use]
pub fn is_secure(id: &NodeId, ip: IpAddr) -> bool {
    let id = id.as_bytes();
    reach(ip) == Reach::Local || (leading(id) ^ checksum(ip, turn(id))) & BOUND_BITS == 0
}

fn leading(id: &[u8; NodeId::LEN]) -> u32 {
    let [a, b, c, d, ..] = *id;
    u32::from_be_bytes([a, b, c, d])
}

/// The three bits of chance.
fn turn(id: &[u8; NodeId::LEN]) -> u8 {
    let [.., last] = *id;
    last & 7
}

fn checksum(ip: IpAddr, turn: u8) -> u32 {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let seed = u32::from(ip) & V4_MASK | u32::from(turn) << 29;
            CASTAGNOLI.checksum(&seed.to_be_bytes())
        }
        IpAddr::V6(ip) => {
            let network = ip.octets().first_chunk().map_or(0, |half| u64::from_be_bytes(*half));
            let seed = network & V6_MASK | u64::from(turn) << 61;
            CASTAGNOLI.checksum(&seed.to_be_bytes())
        }
    }
}

/// Our address in one family, as others see it.
///
/// A vote is the field `ip` of a response to a query of ours, so that nobody votes by forged source
/// addresses. A crowd has one vote, the latest of it: a /16 of IPv4, a /32 of IPv6 (what a provider
/// is given), all of our own networks together. An address is agreed upon once
/// [`MIN_ADDRESS_VOTES`] crowds name it and twice as many as name any other; it stays until another
/// one is. So it takes liars in two thirds of the networks to move us, and a line that really got
/// another address notices after about twenty responses.
#[derive(Debug)]
pub struct AddressVotes {
    family: Family,
    /// The latest last, at most [`MAX_ADDRESS_VOTES`], of different crowds.
    votes: VecDeque<Vote>,
    agreed: Option<IpAddr>,
}

#[derive(Debug)]
struct Vote {
    by: Crowd,
    told: IpAddr,
    at: Instant,
}

#[derive(Debug, PartialEq, Eq)]
enum Crowd {
    V4([u8; 2]),
    V6([u8; 4]),
    Local,
}

impl Crowd {
    fn of(host: Host) -> Self {
        match host {
            Host::V4([a, b, ..]) => Self::V4([a, b]),
            Host::V6([a, b, c, d, ..]) => Self::V6([a, b, c, d]),
            Host::Local(_) => Self::Local,
        }
    }
}

impl AddressVotes {
    /// No votes yet.
    #[must_use]
    pub const fn new(family: Family) -> Self {
        Self { family, votes: VecDeque::new(), agreed: None }
    }

    /// The address that most agree upon, always a public one.
    #[must_use]
    pub const fn agreed(&self) -> Option<IpAddr> {
        self.agreed
    }

    /// Counts what a node that answered us says; true if [`Self::agreed`] is another one now.
    /// Addresses of the other family and those that are not public are no votes.
    pub fn vote(&mut self, told: IpAddr, by: Host, now: Instant) -> bool {
        let (told, by) = (told.to_canonical(), Crowd::of(by));
        if reach(told) != Reach::Public || told.is_ipv4() != (self.family == Family::V4) {
            return false;
        }
        let fresh = |vote: &Vote| now.saturating_duration_since(vote.at) < ADDRESS_VOTE_LIFE;
        self.votes.retain(|vote| vote.by != by && fresh(vote));
        if self.votes.len() >= MAX_ADDRESS_VOTES {
            self.votes.pop_front();
        }
        self.votes.push_back(Vote { by, told, at: now });
        let elected = self.agreed != Some(told) && self.wins(told);
        if elected {
            self.agreed = Some(told);
        }
        elected
    }

    fn wins(&self, candidate: IpAddr) -> bool {
        let mut tally = BTreeMap::<IpAddr, usize>::new();
        for vote in &self.votes {
            *tally.entry(vote.told).or_default() += 1;
        }
        let own = tally.remove(&candidate).unwrap_or_default();
        let second = tally.into_values().max().unwrap_or_default();
        own >= MIN_ADDRESS_VOTES && own >= 2 * second
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    /// The five of BEP 42.
    #[test]
    fn agrees_with_the_specification() {
        for (ip, id) in [
            ("124.31.75.21", "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401"),
            ("21.75.31.124", "5a3ce9c14e7a08645677bbd1cfe7d8f956d53256"),
            ("65.23.51.170", "a5d43220bc8f112a3d426c84764f8c2a1150e616"),
            ("84.124.73.14", "1b0321dd1bb1fe518101ceef99462b947a01ff41"),
            ("43.213.53.83", "e56f6cbf5b7c4be0237986d5243b87aa6d51305a"),
        ] {
            let (ip, id) = (ip.parse().unwrap(), NodeId::parse(id).unwrap());
            assert!(is_secure(&id, ip), "{ip}");
            assert!(!is_secure(&id, "8.8.8.8".parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn every_id_is_good_on_our_own_networks() {
        let id = NodeId::from_bytes([7; 20]);
        for ip in ["127.0.0.1", "10.1.2.3", "192.168.0.9", "::1", "fd00::1"] {
            assert!(is_secure(&id, ip.parse().unwrap()));
        }
    }

    proptest! {
        #[test]
        fn ids_made_for_an_address_are_secure_there_and_differ(ip: IpAddr, seed: u64) {
            let chance = &mut SmallRng::seed_from_u64(seed);
            let (one, other) = (id_for(ip, chance), id_for(ip, chance));
            prop_assert!(is_secure(&one, ip) && is_secure(&other, ip));
            prop_assert_ne!(one, other);
        }
    }

    fn host(a: u8, b: u8, c: u8) -> Host {
        Host::V4([a, b, c, 1])
    }

    const OURS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 5));
    const FALSE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 9));

    #[test]
    fn four_networks_agree_upon_an_address() {
        let (mut votes, now) = (AddressVotes::new(Family::V4), Instant::now());
        for _ in 0..2 {
            assert!((1..4).all(|b| !votes.vote(OURS, host(80, b, 0), now)));
        }
        assert_eq!(votes.agreed(), None);
        assert!(votes.vote(OURS, host(80, 4, 0), now) && votes.agreed() == Some(OURS));
    }

    #[test]
    fn a_crowd_of_liars_from_one_network_has_one_vote() {
        let (mut votes, now) = (AddressVotes::new(Family::V4), Instant::now());
        (0..=255).for_each(|c| assert!(!votes.vote(FALSE, host(66, 6, c), now)));
        (0..4).for_each(|b| assert_eq!(votes.vote(OURS, host(80, b, 0), now), b == 3));
        (0..=255).for_each(|c| assert!(!votes.vote(FALSE, host(66, 6, c), now)));
        (0..40).for_each(|port| {
            let local = Host::Local(([10, 0, 0, 1], port).into());
            assert!(!votes.vote(FALSE, local, now));
        });
        assert_eq!(votes.agreed(), Some(OURS));
    }

    #[test]
    fn three_liars_in_ten_do_not_move_us_but_another_address_does() {
        let (mut votes, now) = (AddressVotes::new(Family::V4), Instant::now());
        for voter in 0..200u8 {
            let told = if voter % 10 < 3 { FALSE } else { OURS };
            votes.vote(told, host(voter, 0, 0), now);
            assert!(votes.agreed() != Some(FALSE) && votes.votes.len() <= MAX_ADDRESS_VOTES);
        }
        let answers = (0..200).position(|voter| votes.vote(FALSE, host(voter, 1, 0), now));
        assert!((10..30).contains(&answers.unwrap()), "{answers:?}");
    }

    #[test]
    fn votes_count_for_an_hour_and_only_for_public_addresses_of_the_family() {
        let (mut votes, now) = (AddressVotes::new(Family::V4), Instant::now());
        for told in ["10.0.0.1", "169.254.169.254", "2001:db8::1", "::1"] {
            (0..9).for_each(|b| assert!(!votes.vote(told.parse().unwrap(), host(80, b, 0), now)));
        }
        (0..3).for_each(|b| assert!(!votes.vote(OURS, host(80, b, 0), now)));
        assert!(!votes.vote(OURS, host(80, 9, 0), now + ADDRESS_VOTE_LIFE));
        let mapped = "::ffff:203.0.113.5".parse().unwrap();
        (0..3).for_each(|b| {
            let later = now + ADDRESS_VOTE_LIFE;
            assert_eq!(votes.vote(mapped, host(80, b, 0), later), b == 2);
        });
    }
}
