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
//! Here the drawn and the generated ones are chosen; the off block before is added where tuples
//! are encoded, so that choosing (reading and verifying, or generating) need not wait for that.

use std::collections::HashSet;

use rand::RngExt;
use rand::rngs::StdRng;

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

impl Policy {
    /// Whether the off block of a tuple is a randomizer of the next one.
    pub(super) fn takes_earlier(self) -> bool {
        self != Self::Fresh
    }
}

/// Chooses for one stream.
pub(super) struct Randomizers<'a> {
    store: &'a dyn BlockStore,
    draws: Draws<'a>,
    policy: Policy,
    count: usize,
    tuples: u64,
    rng: &'a mut StdRng,
}

impl<'a> Randomizers<'a> {
    pub(super) fn new(
        store: &'a dyn BlockStore,
        policy: Policy,
        tuple: TupleSize,
        recycled: Vec<BlockId>,
        rng: &'a mut StdRng,
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
        Ok(Self { store, draws, policy, count: tuple.randomizers(), tuples: 0, rng })
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
        for id in self.draws.by_ref() {
            let id = id?;
            // First the touch, so that it is not evicted between here and the end of the put.
            if !self.store.touch(&id)? {
                continue;
            }
            match self.store.get(&id) {
                Ok(Some(block)) if block.size() == BlockSize::Native => return Ok(Some(block)),
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

    fn generate(&mut self) -> Result<Block, PutError> {
        if self.policy == Policy::Store {
            return Err(PutError::TooFewRandomizers { tuple: self.tuples });
        }
        let block = Block::random(BlockSize::Native, self.rng);
        self.store.put(&block)?;
        Ok(block)
    }
}
