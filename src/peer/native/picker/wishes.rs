//! The wanted blocks in the order of wish.
//!
//! A wanted block has a place: its number in a list that only grows at its end. Who is gone leaves
//! a gap, and when there are more gaps than blocks the list is closed up and all places change
//! ([`Wishes::close_up`]). Ids are found by a table of chains through the list: 40 bytes for a
//! block and 4 to 8 for its chain, where a hash map would hold the id a second time.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::id::{BlockId, ID_LEN};

use super::tree::Tree;

/// The end of a chain.
const NONE: u32 = u32::MAX;

/// Gaps for which a short list is not closed up.
const MIN_GAPS: usize = 1_024;

/// A place in the list.
pub(super) type Place = u32;

/// A wanted block.
#[derive(Debug)]
struct Wish {
    id: BlockId,
    /// The next one in its chain.
    next: Place,
    /// Connected peers that say they have it.
    holders: u16,
    /// Whether a peer that was not asked before turned out not to have it.
    missed: bool,
}

/// The wanted blocks.
#[derive(Debug)]
pub(super) struct Wishes {
    list: Vec<Wish>,
    heads: Vec<Place>,
    /// Factors of the hash. An id in an OFF URL can be any 32 bytes: without a secret, somebody
    /// could write ids that all fall into one chain.
    factors: [u64; ID_LEN / 4],
    live: Tree,
}

impl Wishes {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let factors = std::array::from_fn(|_| rng.random());
        Self { list: Vec::new(), heads: Vec::new(), factors, live: Tree::default() }
    }

    /// Blocks that are wanted.
    pub(super) const fn len(&self) -> usize {
        self.live.len()
    }

    /// The places that are not gaps.
    pub(super) const fn live(&self) -> &Tree {
        &self.live
    }

    /// Adds a block at the end, if it is not wanted yet: its place.
    pub(super) fn add(&mut self, id: BlockId) -> Option<Place> {
        if self.find(&id).is_some() {
            return None;
        }
        if self.heads.len() < self.list.len() + 1 {
            self.widen();
        }
        let place = u32::try_from(self.list.len()).ok().filter(|place| *place < NONE >> 2)?;
        let chain = self.chain(&id);
        let head = self.heads.get_mut(chain)?;
        self.list.push(Wish { id, next: *head, holders: 0, missed: false });
        *head = place;
        self.live.insert(place);
        Some(place)
    }

    /// Where a block is that is wanted.
    pub(super) fn find(&self, id: &BlockId) -> Option<Place> {
        let mut place = *self.heads.get(self.chain(id))?;
        while let Some(wish) = self.list.get(place as usize) {
            if wish.id == *id {
                return Some(place);
            }
            place = wish.next;
        }
        None
    }

    /// Takes a block out.
    pub(super) fn remove(&mut self, place: Place) {
        if !self.live.remove(place) {
            return;
        }
        let Some(wish) = self.list.get(place as usize) else { return };
        let (chain, next) = (self.chain(&wish.id), wish.next);
        let Some(head) = self.heads.get_mut(chain) else { return };
        if *head == place {
            *head = next;
            return;
        }
        let mut before = *head;
        while let Some(wish) = self.list.get_mut(before as usize) {
            if wish.next == place {
                wish.next = next;
                return;
            }
            before = wish.next;
        }
    }

    pub(super) fn id(&self, place: Place) -> Option<BlockId> {
        self.list.get(place as usize).map(|wish| wish.id)
    }

    /// The ids at some places.
    pub(super) fn ids(&self, places: &[Place]) -> Vec<BlockId> {
        places.iter().filter_map(|place| self.id(*place)).collect()
    }

    /// Connected peers that say they have the block.
    pub(super) fn holders(&self, place: Place) -> u16 {
        self.list.get(place as usize).map_or(0, |wish| wish.holders)
    }

    /// One more peer has the block.
    pub(super) fn gained(&mut self, place: Place) {
        if let Some(wish) = self.list.get_mut(place as usize) {
            wish.holders = wish.holders.saturating_add(1);
        }
    }

    /// One peer less has the block.
    pub(super) fn lost(&mut self, place: Place) {
        if let Some(wish) = self.list.get_mut(place as usize) {
            wish.holders = wish.holders.saturating_sub(1);
        }
    }

    /// Whether a peer that was not asked before turned out not to have the block.
    pub(super) fn missed(&self, place: Place) -> bool {
        self.list.get(place as usize).is_some_and(|wish| wish.missed)
    }

    pub(super) fn miss(&mut self, place: Place) {
        if let Some(wish) = self.list.get_mut(place as usize) {
            wish.missed = true;
        }
    }

    /// Closes the gaps if there are more of them than blocks: the old places of all blocks, in
    /// order; the new one of each is its number there. One step a block, and as many removals
    /// since the last time.
    pub(super) fn close_up(&mut self) -> Option<Vec<Place>> {
        let gaps = self.list.len() - self.live.len();
        if gaps <= self.live.len() + MIN_GAPS {
            return None;
        }
        let old: Vec<Place> = self.live.iter().collect();
        let live = std::mem::take(&mut self.live);
        let mut place = 0;
        self.list.retain(|_| {
            place += 1;
            live.contains(place - 1)
        });
        self.list.shrink_to(2 * old.len());
        self.live = (0..).take(old.len()).collect();
        self.widen();
        Some(old)
    }

    /// Makes the table fit the list.
    fn widen(&mut self) {
        let wide = (self.list.len() + 1).next_power_of_two().max(64);
        self.heads = vec![NONE; wide];
        for place in self.live.iter() {
            let Some(id) = self.id(place) else { continue };
            let chain = self.chain(&id);
            let (Some(wish), Some(head)) =
                (self.list.get_mut(place as usize), self.heads.get_mut(chain))
            else {
                continue;
            };
            wish.next = *head;
            *head = place;
        }
    }

    /// The chain of an id: multilinear hashing (Carter and Wegman; Lemire and Kaser 2014).
    fn chain(&self, id: &BlockId) -> usize {
        let words = id
            .as_bytes()
            .chunks_exact(4)
            .map(|word| word.iter().fold(0_u64, |word, byte| word << 8 | u64::from(*byte)));
        let sum = words
            .zip(self.factors)
            .fold(0_u64, |sum, (word, factor)| sum.wrapping_add(word.wrapping_mul(factor)));
        (sum >> 32) as usize & self.heads.len().saturating_sub(1)
    }
}
