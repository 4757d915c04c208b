//! The choice of randomizers: what each source block is hidden behind.
//!
//! Of the `t - 1` randomizers of a tuple one is an earlier off block of the same stream (it is in
//! the store by then, so the OFF rule allows it), the others are drawn from the blocks the store
//! had when the stream began, and only what is missing is generated. So with tuples of three a
//! stream grows a warm store by its own size and a cold one by twice that, and a downloader with
//! nothing moves two blocks per source block instead of three.
//!
//! No block is a randomizer twice in one stream: each off block serves once, as the earlier one
//! of the next tuple; draws do not repeat and leave out blocks put since the stream began.
//!
//! Blocks that nodes of others use too are preferred: who gets the stream has them already, or
//! finds them in many places, and the more streams share a block the less it says. For each one
//! two are drawn and the more popular is taken, the first if they are equal. The other is set
//! aside, and comes when the draws have ended or too many are set aside. It does not compete with
//! the next one: then every block that is drawn would be taken soon, popular or not. While nothing
//! is known of any block, they are taken as they are drawn.
//!
//! No more than the better of two, because popularity is the word of strangers. Whoever makes up
//! numbers makes a block twice as likely to be taken at most, for it has to be drawn first, and
//! what is drawn nobody else can tell or choose. The best of all would be a choice that others
//! make for us, and they could know what a stream hides behind.
//!
//! Here the drawn and the generated ones are chosen; the off block before is added where tuples
//! are encoded, so that choosing (reading and verifying, or generating) need not wait for that.

use std::collections::{HashSet, VecDeque};

use rand::RngExt;
use rand::rngs::StdRng;

use crate::id::BlockId;
use crate::limits::MAX_SET_ASIDE;
use crate::off::{Block, BlockSize, TupleSize};
use crate::store::{BlockStore, Draws, StoreError};

use super::PutError;

/// Where randomizers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// An earlier off block of the stream, then blocks of the store, then fresh ones.
    #[default]
    Mixed,
    /// Like mixed, but fail rather than generate.
    Store,
    /// Generate all: the stream shares no block with anything before it but what it recycles.
    Fresh,
}

impl Policy {
    /// Whether the off block of a tuple is a randomizer of the next one.
    pub(super) fn takes_earlier(self) -> bool {
        self != Self::Fresh
    }
}

/// Chooses for one stream.
pub(super) struct Randomizers<'a> {
    store: &'a dyn BlockStore,
    recycled: std::vec::IntoIter<BlockId>,
    draws: Draws<'a>,
    /// Whether anything is known of how popular blocks are.
    choosy: bool,
    /// Drawn, and less popular than what was drawn with them; those drawn first are in front.
    aside: VecDeque<BlockId>,
    policy: Policy,
    count: usize,
    size: BlockSize,
    tuples: u64,
    rng: &'a mut StdRng,
}

impl<'a> Randomizers<'a> {
    pub(super) fn new(
        store: &'a dyn BlockStore,
        policy: Policy,
        (tuple, size): (TupleSize, BlockSize),
        recycled: Vec<BlockId>,
        rng: &'a mut StdRng,
    ) -> Result<Self, StoreError> {
        let known: HashSet<BlockId> = recycled.iter().copied().collect();
        let others = move |id: &Result<BlockId, _>| !id.as_ref().is_ok_and(|id| known.contains(id));
        let draws: Draws<'a> = match policy {
            Policy::Fresh => Box::new(std::iter::empty()),
            Policy::Mixed | Policy::Store => {
                Box::new(store.draws(size, rng.random())?.filter(others))
            }
        };
        let (recycled, aside) = (recycled.into_iter(), VecDeque::new());
        let (choosy, count) = (store.is_any_popular()?, tuple.randomizers());
        Ok(Self { store, recycled, draws, choosy, aside, policy, count, size, tuples: 0, rng })
    }

    /// The randomizers of the next tuple apart from the off block before, all in the store.
    pub(super) fn next(&mut self) -> Result<Vec<Block>, PutError> {
        let earlier = usize::from(self.policy.takes_earlier() && self.tuples > 0);
        let chosen = (earlier..self.count).map(|_| match self.draw()? {
            Some(block) => Ok(block),
            None => self.generate(),
        });
        let chosen = chosen.collect::<Result<Vec<_>, PutError>>()?;
        self.tuples += 1;
        Ok(chosen)
    }

    fn draw(&mut self) -> Result<Option<Block>, StoreError> {
        while let Some(id) = self.choose()? {
            // First the touch, so that it is not evicted between here and the end of the put.
            if !self.store.touch(&id)? {
                continue;
            }
            match self.store.get(&id) {
                Ok(Some(block)) if block.size() == self.size => return Ok(Some(block)),
                // Evicted, of another size or damaged: the next one will do.
                Ok(_) => {}
                Err(StoreError::Damaged { id, place, .. }) => {
                    tracing::warn!(%id, place, "a block is damaged; it hides nothing any more");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// The block to try next: a recycled one, else the more popular of two.
    fn choose(&mut self) -> Result<Option<BlockId>, StoreError> {
        if let Some(id) = self.recycled.next() {
            return Ok(Some(id));
        }
        let Some(first) = self.candidate()? else { return Ok(None) };
        let rival = if self.choosy { self.draws.next().transpose()? } else { None };
        let Some(second) = rival else { return Ok(Some(first)) };
        let is_better = self.store.popularity(&second)? > self.store.popularity(&first)?;
        let (taken, other) = if is_better { (second, first) } else { (first, second) };
        self.aside.push_back(other);
        Ok(Some(taken))
    }

    /// The first of two: drawn, or set aside before if nothing else is left or too much is there.
    fn candidate(&mut self) -> Result<Option<BlockId>, StoreError> {
        if self.aside.len() < MAX_SET_ASIDE
            && let Some(id) = self.draws.next()
        {
            return id.map(Some);
        }
        Ok(self.aside.pop_front())
    }

    fn generate(&mut self) -> Result<Block, PutError> {
        if self.policy == Policy::Store {
            return Err(PutError::TooFewRandomizers { tuple: self.tuples });
        }
        let block = Block::random(self.size, self.rng);
        self.store.put(&block)?;
        Ok(block)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::store::{MemoryStore, Upkeep};

    /// A store of so many blocks, the same for every run.
    fn store(blocks: usize) -> (MemoryStore, Vec<BlockId>) {
        let (store, mut rng) = (MemoryStore::new(), StdRng::seed_from_u64(1));
        let put = |_| {
            let block = Block::random(BlockSize::Native, &mut rng);
            store.put(&block).unwrap();
            block.id()
        };
        let ids = (0..blocks).map(put).collect();
        (store, ids)
    }

    /// The first `most` blocks that are chosen with a seed.
    fn chosen(store: &MemoryStore, seed: u64, recycled: &[BlockId], most: usize) -> Vec<BlockId> {
        let mut rng = StdRng::seed_from_u64(seed);
        let (policy, recycled) = (Policy::Store, recycled.to_vec());
        let shape = (TupleSize::default(), BlockSize::Native);
        let mut choice = Randomizers::new(store, policy, shape, recycled, &mut rng).unwrap();
        std::iter::from_fn(|| choice.draw().unwrap()).take(most).map(|block| block.id()).collect()
    }

    /// The draws that a choice with this seed is made from.
    fn draws(store: &MemoryStore, seed: u64) -> Vec<BlockId> {
        let seed = StdRng::seed_from_u64(seed).random();
        store.draws(BlockSize::Native, seed).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn with_nothing_known_the_choice_is_that_of_the_draws() {
        let (store, _) = store(9);
        for seed in 0..20 {
            assert_eq!(chosen(&store, seed, &[], 99), draws(&store, seed));
        }
    }

    #[test]
    fn of_equals_the_first_is_taken_and_the_others_come_last() {
        let (store, ids) = store(9);
        store.set_popularity(&ids.iter().map(|id| (*id, 5)).collect::<Vec<_>>()).unwrap();
        for seed in 0..20 {
            let draws = draws(&store, seed);
            let firsts = draws.iter().step_by(2);
            let expected: Vec<BlockId> =
                firsts.chain(draws.iter().skip(1).step_by(2)).copied().collect();
            assert_eq!(chosen(&store, seed, &[], 99), expected);
        }
    }

    /// A quarter of the blocks is popular, and of the better of two it is 7 of 16 (without what is
    /// drawn already): nearly twice as many, and never more.
    #[test]
    fn popular_blocks_are_taken_nearly_twice_as_often() {
        let (store, ids) = store(64);
        let told: Vec<_> = ids[..16].iter().map(|id| (*id, 3)).collect();
        store.set_popularity(&told).unwrap();
        let popular: HashSet<&BlockId> = ids[..16].iter().collect();
        let (mut taken, mut all) = (0, 0);
        for seed in 0..200 {
            let chosen = chosen(&store, seed, &[], 16);
            all += chosen.len();
            taken += chosen.iter().filter(|id| popular.contains(id)).count();
        }
        assert!((all * 6..=all * 8).contains(&(taken * 16)), "{taken} of {all}");
    }

    #[test]
    fn a_made_up_number_makes_one_block_twice_as_likely_at_most() {
        let (store, ids) = store(20);
        store.set_popularity(&[(ids[0], 255)]).unwrap();
        let seeds = 0..2_000;
        let first = seeds.filter(|seed| chosen(&store, *seed, &[], 1) == ids[..1]).count();
        assert!((150..=250).contains(&first), "{first} of 2,000, and 100 without it");
    }

    #[test]
    fn everything_comes_once_and_what_is_recycled_first_and_in_order() {
        let (store, ids) = store(21);
        let told: Vec<_> = ids.iter().zip(0_u8..).map(|(id, told)| (*id, told % 4)).collect();
        store.set_popularity(&told).unwrap();
        for seed in 0..50 {
            let recycled = [ids[4], ids[7], ids[0]];
            let mut chosen = chosen(&store, seed, &recycled, 99);
            assert_eq!(chosen[..3], recycled);
            chosen.sort_unstable();
            let mut all = ids.clone();
            all.sort_unstable();
            assert_eq!(chosen, all, "seed {seed}");
        }
    }
}
