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

use std::collections::{HashSet, VecDeque};

use rand::rngs::StdRng;
use rand::{Rng, RngExt};

use crate::id::BlockId;
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

/// Chooses for one stream.
pub(super) struct Randomizers<'a> {
    store: &'a dyn BlockStore,
    draws: Draws<'a>,
    policy: Policy,
    size: BlockSize,
    count: usize,
    /// Off blocks of this stream that have not served yet.
    earlier: VecDeque<Block>,
    tuples: u64,
}

impl<'a> Randomizers<'a> {
    pub(super) fn new(
        store: &'a dyn BlockStore,
        policy: Policy,
        tuple: TupleSize,
        recycled: Vec<BlockId>,
        rng: &mut StdRng,
    ) -> Result<Self, StoreError> {
        let known: HashSet<BlockId> = recycled.iter().copied().collect();
        let others = move |id: &Result<BlockId, _>| !id.as_ref().is_ok_and(|id| known.contains(id));
        let recycled = recycled.into_iter().map(Ok);
        let draws: Draws<'a> = match policy {
            Policy::Fresh => Box::new(recycled),
            Policy::Mixed | Policy::Store => {
                Box::new(recycled.chain(store.draws(rng.random())?.filter(others)))
            }
        };
        let (size, count) = (BlockSize::Native, tuple.randomizers());
        Ok(Self { store, draws, policy, size, count, earlier: VecDeque::new(), tuples: 0 })
    }

    /// The randomizers of the next tuple, all of them in the store.
    pub(super) fn next(&mut self, rng: &mut impl Rng) -> Result<Vec<Block>, PutError> {
        let mut chosen: Vec<Block> = Vec::with_capacity(self.count);
        if self.policy != Policy::Fresh {
            chosen.extend(self.earlier.pop_front());
        }
        while chosen.len() < self.count {
            let block = match self.draw()? {
                Some(block) => block,
                None => self.generate(rng)?,
            };
            chosen.push(block);
        }
        self.tuples += 1;
        Ok(chosen)
    }

    /// Tells which off block came of the tuple.
    pub(super) fn made(&mut self, off: Block) {
        self.earlier.push_back(off);
    }

    fn draw(&mut self) -> Result<Option<Block>, StoreError> {
        for id in self.draws.by_ref() {
            let id = id?;
            // First the touch, so that it is not evicted between here and the end of the put.
            if !self.store.touch(&id)? {
                continue;
            }
            match self.store.get(&id) {
                Ok(Some(block)) if block.size() == self.size => return Ok(Some(block)),
                // Evicted, of another size or damaged: the next one will do.
                Ok(_) => {}
                Err(StoreError::Damaged { id, place }) => {
                    tracing::warn!(%id, place, "a block is damaged; it hides nothing any more");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn generate(&mut self, rng: &mut impl Rng) -> Result<Block, PutError> {
        if self.policy == Policy::Store {
            return Err(PutError::TooFewRandomizers { tuple: self.tuples });
        }
        let block = Block::random(self.size, rng);
        self.store.put(&block)?;
        Ok(block)
    }
}
