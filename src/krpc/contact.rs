//! A node and where it is, and how far it is from a target.
//!
//! Compact node info (BEP 5, BEP 32): the 20 bytes of the id, then the compact address.

use std::net::{IpAddr, SocketAddr};

use crate::address::{Reach, from_compact, put_compact, reach};
use crate::id::{NodeId, Target};

/// A node of the DHT and the address it answers at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Contact {
    /// Its id.
    pub id: NodeId,
    /// Its address; an IPv4 one is never in IPv6 clothes.
    pub address: SocketAddr,
}

/// One of the two networks that the DHT consists of (BEP 32).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// That of an address.
    #[must_use]
    pub const fn of(address: &SocketAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// Bytes of a compact node of this family.
    #[must_use]
    pub const fn contact_len(self) -> usize {
        match self {
            Self::V4 => 26,
            Self::V6 => 38,
        }
    }

    /// Bytes of a compact address of this family.
    #[must_use]
    pub const fn address_len(self) -> usize {
        self.contact_len() - NodeId::LEN
    }
}

impl Contact {
    /// Writes the compact form, 26 or 38 bytes.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.id.as_bytes());
        put_compact(out, self.address);
    }

    /// Reads contacts of one family back to back; what is left over at the end is ignored, and so
    /// is an IPv4 address in IPv6 clothes: written again it would have another length.
    pub fn all_from(bytes: &[u8], family: Family) -> impl Iterator<Item = Self> + '_ {
        bytes.chunks_exact(family.contact_len()).filter_map(move |one| {
            let (id, address) = one.split_first_chunk::<{ NodeId::LEN }>()?;
            let address = from_compact(address).filter(|address| Family::of(address) == family)?;
            Some(Self { id: NodeId::from_bytes(*id), address })
        })
    }

    /// How far it is from a target.
    #[must_use]
    pub fn distance(&self, target: &Target) -> Distance {
        Distance::between(&self.id, target)
    }
}

/// How far a node is from a target: the exclusive or of both as a number (BEP 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Distance([u8; NodeId::LEN]);

impl Distance {
    /// The distance between a node and a target.
    #[must_use]
    pub fn between(id: &NodeId, target: &Target) -> Self {
        let mut distance = *id.as_bytes();
        distance.iter_mut().zip(target.as_bytes()).for_each(|(to, other)| *to ^= other);
        Self(distance)
    }

    /// Bits that both begin with, 0 to 160.
    #[must_use]
    pub fn common_bits(&self) -> u32 {
        let mut common = 0;
        for byte in self.0 {
            common += byte.leading_zeros();
            if byte != 0 {
                break;
            }
        }
        common
    }
}

/// The network that an address is in: whoever has many addresses has them in few of these. /24 of
/// IPv4 and /64 of IPv6. On our own networks nodes are close together for good reasons, so that
/// there each endpoint counts by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Neighbourhood {
    /// The first three bytes of an IPv4 address.
    V4([u8; 3]),
    /// The first eight bytes of an IPv6 address.
    V6([u8; 8]),
    /// An endpoint on this machine or a private network.
    Local(SocketAddr),
}

impl Neighbourhood {
    /// That of an address.
    #[must_use]
    pub fn of(address: SocketAddr) -> Self {
        if reach(address.ip()) == Reach::Local {
            return Self::Local(address);
        }
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(ip) => Self::V6(ip.octets().first_chunk().copied().unwrap_or_default()),
        }
    }
}

/// Whom limits on traffic count together: an IP address (a /64 of IPv6), but on our own networks
/// each endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// An IPv4 address.
    V4([u8; 4]),
    /// The first eight bytes of an IPv6 address.
    V6([u8; 8]),
    /// An endpoint on this machine or a private network.
    Local(SocketAddr),
}

impl Host {
    /// That of an address.
    #[must_use]
    pub fn of(address: SocketAddr) -> Self {
        match (Neighbourhood::of(address), address.ip().to_canonical()) {
            (Neighbourhood::Local(endpoint), _) => Self::Local(endpoint),
            (Neighbourhood::V6(network), _) => Self::V6(network),
            (_, IpAddr::V4(ip)) => Self::V4(ip.octets()),
            (Neighbourhood::V4(_), IpAddr::V6(_)) => Self::Local(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(address: &str) -> Contact {
        let id = NodeId::from_bytes([7; 20]);
        Contact { id, address: address.parse().unwrap() }
    }

    #[test]
    fn compact_forms_give_the_contact_back() {
        for (address, family) in [("203.0.113.5:6881", Family::V4), ("[2001:db8::5]:1", Family::V6)]
        {
            let (mut bytes, contact) = (Vec::new(), contact(address));
            contact.put(&mut bytes);
            contact.put(&mut bytes);
            bytes.push(0);
            assert_eq!(bytes.len(), 2 * family.contact_len() + 1);
            assert_eq!(Contact::all_from(&bytes, family).collect::<Vec<_>>(), [contact; 2]);
            assert_eq!(Family::of(&contact.address), family);
        }
    }

    /// Among contacts of 38 bytes one of 26 would shift all that follow.
    #[test]
    fn passes_over_ipv4_in_ipv6_clothes() {
        let [before, after] = ["[2001:db8::5]:1", "[2001:db8::6]:1"].map(contact);
        let mut bytes = Vec::new();
        before.put(&mut bytes);
        bytes.extend_from_slice(&[7; 20]);
        bytes.extend_from_slice(b"\0\0\0\0\0\0\0\0\0\0\xff\xff\x08\x08\x08\x08\x1a\xe1");
        after.put(&mut bytes);
        let read: Vec<Contact> = Contact::all_from(&bytes, Family::V6).collect();
        assert_eq!(read, [before, after]);
    }

    #[test]
    fn distances_are_ordered_by_the_first_bit_that_differs() {
        let target = Target::from_bytes([0; 20]);
        let id = |first: u8, last: u8| {
            let mut id = [0; 20];
            (id[0], id[19]) = (first, last);
            Distance::between(&NodeId::from_bytes(id), &target)
        };
        assert!(id(0, 255) < id(1, 0) && id(1, 0) < id(128, 0));
        assert_eq!(
            [id(128, 0), id(1, 0), id(0, 1), id(0, 0)].map(|d| d.common_bits()),
            [0, 7, 159, 160]
        );
    }

    #[test]
    fn counts_neighbours_together_but_not_our_own() {
        let same = |one: &str, other: &str| {
            let [one, other] = [one, other].map(|text| text.parse().unwrap());
            Neighbourhood::of(one) == Neighbourhood::of(other)
        };
        assert!(
            same("203.0.113.5:1", "203.0.113.200:2") && !same("203.0.113.5:1", "203.0.114.5:1")
        );
        assert!(same("[2001:db8::1]:1", "[2001:db8::2]:1"));
        assert!(!same("127.0.0.1:1", "127.0.0.1:2") && !same("10.0.0.1:1", "10.0.0.2:1"));
        assert_ne!(
            Host::of("203.0.113.5:1".parse().unwrap()),
            Host::of("203.0.113.6:1".parse().unwrap())
        );
        assert_eq!(
            Host::of("203.0.113.5:1".parse().unwrap()),
            Host::of("203.0.113.5:2".parse().unwrap())
        );
    }
}
