//! How popular blocks are elsewhere: what peers say of their own uses, added up.
//!
//! Peers are asked about blocks that are held here, a random [`sample`](Client::sample) of them,
//! and say how many URLs of theirs use each. The sum decides what is evicted first and what is
//! preferred as a randomizer, so no one may decide it: the word of one peer counts
//! [`MAX_WORD`] at most, several add up to [`MAX_POPULARITY`] at most, and a peer that speaks
//! again corrects itself. Whoever has many addresses still counts for many; that makes some of our
//! blocks stay longer and a randomizer twice as likely, and no more.
//!
//! No socket, no clock, bounded memory: of blocks, those heard of last are remembered. What was
//! taken and written to the store stays there.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;

use lru::LruCache;

use crate::address::household;
use crate::id::BlockId;
use crate::limits::{MAX_POPULARITY, MAX_SPEAKERS, MAX_WORD, POPULAR_BLOCKS};
use crate::off::BlockSize;
use crate::store::StoreError;

use super::Client;

/// Adds up what peers say.
#[derive(Debug)]
pub struct Popularity(LruCache<BlockId, Heard>);

/// What was heard of a block.
#[derive(Debug, Default)]
struct Heard {
    /// Who uses it, and how much.
    words: Vec<(Speaker, u8)>,
    /// The sum when it was taken last.
    taken: Option<u8>,
}

/// Who counts as one: a household, or on this machine a port.
type Speaker = (IpAddr, u16);

impl Popularity {
    /// Nothing was heard yet.
    #[must_use]
    pub fn new() -> Self {
        Self::of_at_most(POPULAR_BLOCKS)
    }

    fn of_at_most(blocks: usize) -> Self {
        Self(LruCache::new(NonZeroUsize::new(blocks).unwrap_or(NonZeroUsize::MIN)))
    }

    /// Takes the answers of a peer: how many URLs of its own use a block. Only what it was asked
    /// about should come here, or it could make all else forgotten.
    pub fn hear(&mut self, peer: SocketAddr, answers: &[(BlockId, u8)]) {
        let speaker = speaker(peer);
        for (id, uses) in answers {
            self.0.get_or_insert_mut(*id, Heard::default).hear(speaker, (*uses).min(MAX_WORD));
        }
    }

    /// How popular those blocks are of which it has changed since the last time, for
    /// [`Client::popular`].
    pub fn take(&mut self) -> Vec<(BlockId, u8)> {
        let mut changed = Vec::new();
        for (id, heard) in &mut self.0 {
            let sum = heard.sum();
            if heard.taken.replace(sum) != Some(sum) {
                changed.push((*id, sum));
            }
        }
        changed
    }
}

impl Default for Popularity {
    fn default() -> Self {
        Self::new()
    }
}

impl Heard {
    fn hear(&mut self, speaker: Speaker, uses: u8) {
        self.words.retain(|(other, _)| *other != speaker);
        if uses > 0 && self.words.len() < MAX_SPEAKERS {
            self.words.push((speaker, uses));
        }
    }

    fn sum(&self) -> u8 {
        let sum = self.words.iter().fold(0_u8, |sum, (_, uses)| sum.saturating_add(*uses));
        sum.min(MAX_POPULARITY)
    }
}

/// By address, so that one host cannot speak many times; on this machine, which is one host, by
/// port. A host with IPv6 usually has all 2^64 addresses of its network.
fn speaker(peer: SocketAddr) -> Speaker {
    let ip = household(peer.ip());
    (ip, if ip.is_loopback() { peer.port() } else { 0 })
}

impl Client {
    /// Remembers how popular blocks are, those that are held.
    pub fn popular(&self, told: &[(BlockId, u8)]) -> Result<(), StoreError> {
        if told.is_empty() { Ok(()) } else { self.store.set_popularity(told) }
    }

    /// Up to `most` blocks that are held, at random, to ask others about.
    pub fn sample(&self, seed: u64, most: usize) -> Result<Vec<BlockId>, StoreError> {
        self.store.draws(BlockSize::Native, seed)?.take(most).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn id(n: usize) -> BlockId {
        BlockId::of(&n.to_le_bytes())
    }

    #[test]
    fn one_peer_counts_three_at_most_and_several_add_up() {
        let mut heard = Popularity::new();
        assert_eq!(heard.take(), []);
        heard.hear(peer("203.0.113.1:6881"), &[(id(1), 200), (id(2), 1)]);
        heard.hear(peer("203.0.113.2:6881"), &[(id(1), 2)]);
        let mut taken = heard.take();
        taken.sort_unstable_by_key(|(_, sum)| *sum);
        assert_eq!(taken, [(id(2), 1), (id(1), 5)]);
        assert_eq!(heard.take(), [], "nothing is new");
        for last in 3..=9 {
            heard.hear(peer(&format!("203.0.113.{last}:1")), &[(id(1), 3)]);
        }
        assert_eq!(heard.take(), [(id(1), 15)], "it ends somewhere");
        heard.hear(peer("203.0.113.250:1"), &[(id(1), 3)]);
        assert_eq!(heard.take(), []);
    }

    #[test]
    fn a_peer_that_speaks_again_corrects_itself() {
        let mut heard = Popularity::new();
        heard.hear(peer("203.0.113.1:1"), &[(id(1), 3)]);
        heard.hear(peer("203.0.113.1:2"), &[(id(1), 3)]);
        heard.hear(peer("[::ffff:203.0.113.1]:3"), &[(id(1), 2)]);
        assert_eq!(heard.take(), [(id(1), 2)]);
        heard.hear(peer("203.0.113.1:1"), &[(id(1), 0)]);
        assert_eq!(heard.take(), [(id(1), 0)]);
    }

    #[test]
    fn a_host_is_an_address_a_network_of_ipv6_or_a_port_of_this_machine() {
        let sums = [
            (["203.0.113.1:1", "203.0.113.1:2"], 1),
            (["203.0.113.1:1", "203.0.113.2:1"], 2),
            (["[2001:db8::1]:1", "[2001:db8::2]:1"], 1),
            (["[2001:db8::1]:1", "[2001:db8:0:1::1]:1"], 2),
            (["127.0.0.1:1", "127.0.0.1:2"], 2),
            (["[::1]:1", "[::1]:2"], 2),
        ];
        for (peers, sum) in sums {
            let mut heard = Popularity::new();
            for text in peers {
                heard.hear(peer(text), &[(id(1), 1)]);
            }
            assert_eq!(heard.take(), [(id(1), sum)], "{peers:?}");
        }
    }

    #[test]
    fn remembers_so_many_blocks_and_speakers_and_no_more() {
        let mut heard = Popularity::of_at_most(100);
        for speaker in 0..50 {
            let answers: Vec<_> = (0..1_000).map(|n| (id(n), 1)).collect();
            heard.hear(peer(&format!("127.0.0.1:{}", 1 + speaker)), &answers);
        }
        assert_eq!(heard.0.len(), 100);
        for speaker in 0..50 {
            heard.hear(peer(&format!("127.0.0.1:{}", 1 + speaker)), &[(id(999), 1)]);
        }
        assert!(heard.0.iter().all(|(_, heard)| heard.words.len() <= MAX_SPEAKERS));
        assert!(heard.take().contains(&(id(999), 15)));
    }
}
