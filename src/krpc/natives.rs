//! The nodes of our kind that have shown themselves.
//!
//! A node is native once it has answered a query of ours with the OFF extension; what others say
//! of it makes it somebody to ask. Those heard from last are kept.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Instant;

use lru::LruCache;
use rand::Rng;
use rand::seq::IteratorRandom;

use super::contact::{Contact, Family};
use super::native::NativeNode;
use crate::id::Target;
use crate::limits::dht::{MAX_NATIVES, NATIVE_LIFE};

/// Native nodes, by where they answer.
#[derive(Debug)]
pub struct Natives {
    known: LruCache<SocketAddr, (NativeNode, Instant)>,
}

impl Default for Natives {
    fn default() -> Self {
        let most = NonZeroUsize::new(MAX_NATIVES).unwrap_or(NonZeroUsize::MIN);
        Self { known: LruCache::new(most) }
    }
}

impl Natives {
    /// A node has answered with the extension; `port` is where it speaks the peer protocol.
    pub fn answered(&mut self, contact: Contact, port: u16, now: Instant) -> NativeNode {
        let peer = (port != 0).then(|| SocketAddr::new(contact.address.ip(), port));
        let node = NativeNode { contact, peer };
        self.known.put(contact.address, (node, now));
        node
    }

    /// A node has not answered, or not as one of our kind.
    pub fn failed(&mut self, address: SocketAddr) {
        self.known.pop(&address);
    }

    /// Whether a node is one of them.
    #[must_use]
    pub fn is_native(&self, address: SocketAddr) -> bool {
        self.known.contains(&address)
    }

    /// All that were heard from not too long ago.
    pub fn fresh(&self, now: Instant) -> impl Iterator<Item = NativeNode> + '_ {
        let is_fresh = move |(_, (_, at)): &(_, &(NativeNode, Instant))| {
            now.saturating_duration_since(*at) < NATIVE_LIFE
        };
        self.known.iter().filter(is_fresh).map(|(_, (node, _))| *node)
    }

    /// Some of a family, by chance.
    pub fn some(
        &self,
        family: Family,
        at_most: usize,
        chance: &mut impl Rng,
        now: Instant,
    ) -> Vec<Contact> {
        let contacts = self.fresh(now).map(|node| node.contact);
        contacts.filter(|one| Family::of(&one.address) == family).sample(chance, at_most)
    }

    /// Those of a family that are closest to a target.
    #[must_use]
    pub fn closest(
        &self,
        target: &Target,
        family: Family,
        at_most: usize,
        now: Instant,
    ) -> Vec<Contact> {
        let contacts = self.fresh(now).map(|node| node.contact);
        let mut closest: Vec<_> =
            contacts.filter(|one| Family::of(&one.address) == family).collect();
        closest.sort_unstable_by_key(|contact| contact.distance(target));
        closest.truncate(at_most);
        closest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NodeId;

    fn contact(number: u8) -> Contact {
        let address = ([203, 0, number, 1], 6881).into();
        Contact { id: NodeId::from_bytes([number; 20]), address }
    }

    #[test]
    fn keeps_those_heard_from_last() {
        let (mut natives, now) = (Natives::default(), Instant::now());
        for number in 0..=u8::MAX {
            natives.answered(contact(number), 6881, now);
        }
        assert!(natives.is_native(contact(255).address));
        assert_eq!(natives.fresh(now).count(), MAX_NATIVES.min(256));
        assert_eq!(natives.fresh(now + NATIVE_LIFE).count(), 0);
        let target = Target::from_bytes([200; 20]);
        let closest = natives.closest(&target, Family::V4, 2, now);
        assert_eq!(closest, [contact(200), contact(201)]);
        natives.failed(contact(200).address);
        assert!(!natives.is_native(contact(200).address));
        assert!(natives.closest(&target, Family::V6, 2, now).is_empty());
    }
}
