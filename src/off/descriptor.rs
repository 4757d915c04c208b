//! The descriptor: the ids of all tuples in stream order, stored as a chain of blocks.
//!
//! A block of `B` bytes has `slots = B / 32` places for ids. While more ids are left than places,
//! a chain block takes `slots - 1` of them and gives its last place to the id of the next chain
//! block; the last chain block takes the rest. What is left of a block is random padding, and the
//! whole block is sealed (see [`seal`](super::seal)). Blocks are made from the last to the first,
//! because each needs the id of its successor. js-offs (v0.1.0) uses the same rule, unsealed.
//!
//! ```text
//! ids 0 .. s-2      | id of block 1 | padding
//! ids s-1 .. 2s-3   | id of block 2 | padding
//! the rest          | padding
//! ```

use std::collections::HashSet;
use std::ops::Range;

use rand::Rng;

use crate::id::{BlockId, ID_LEN};

use super::block::{Block, BlockSize};
use super::seal::Seal;

/// Where the ids of a stream stand in its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    ids: u64,
    size: BlockSize,
}

impl Layout {
    /// The chain of a stream whose tuples have `ids` ids in all.
    #[must_use]
    pub const fn new(ids: u64, size: BlockSize) -> Self {
        Self { ids, size }
    }

    /// Blocks of the chain: none for no ids.
    #[must_use]
    pub const fn blocks(&self) -> u64 {
        let slots = self.size.slots();
        match self.ids {
            0 => 0,
            ids if ids <= slots => 1,
            ids => 1 + (ids - slots).div_ceil(slots - 1),
        }
    }

    /// Which ids block `index` of the chain holds.
    #[must_use]
    pub fn ids_of(&self, index: u64) -> Range<u64> {
        let start = index * (self.size.slots() - 1);
        let end = if index + 1 < self.blocks() { start + self.size.slots() - 1 } else { self.ids };
        start.min(self.ids)..end
    }

    /// The chain block that holds id number `id`.
    #[must_use]
    pub const fn block_of(&self, id: u64) -> u64 {
        let index = id / (self.size.slots() - 1);
        // The last block has a place more than the others.
        let last = self.blocks().saturating_sub(1);
        if index < last { index } else { last }
    }

    /// Makes block `index` of the chain from its ids and the id of its successor.
    pub fn encode(
        &self,
        index: u64,
        ids: &[BlockId],
        next: Option<BlockId>,
        seal: &Seal,
        rng: &mut impl Rng,
    ) -> Block {
        let mut contents = Vec::with_capacity(self.size.len());
        for id in ids.iter().chain(&next) {
            contents.extend_from_slice(id.as_bytes());
        }
        let filled = contents.len();
        contents.resize(self.size.len(), 0);
        if let Some(rest) = contents.get_mut(filled..) {
            rng.fill_bytes(rest);
        }
        seal.apply_to_chain(index, &mut contents);
        Block::noise(contents.into(), self.size)
    }

    /// Reads block `index` of the chain: its ids, and the id of its successor unless it is the
    /// last.
    pub fn decode(
        &self,
        index: u64,
        block: &Block,
        seal: &Seal,
    ) -> Result<(Vec<BlockId>, Option<BlockId>), ChainError> {
        if block.size() != self.size {
            return Err(ChainError::BlockSize { id: block.id(), found: block.size().len() });
        }
        let mut contents = block.contents().to_vec();
        seal.apply_to_chain(index, &mut contents);
        let mut places = contents.chunks_exact(ID_LEN).filter_map(BlockId::from_slice);
        let range = self.ids_of(index);
        let count = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let ids = places.by_ref().take(count).collect();
        let next = if index + 1 < self.blocks() { places.next() } else { None };
        Ok((ids, next))
    }
}

/// A chain that leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// A block of another size than the stream has.
    #[error("chain block {id} has {found} bytes, another size than the stream's blocks")]
    BlockSize {
        /// The block.
        id: BlockId,
        /// Its bytes.
        found: usize,
    },
    /// A link back to a block that was read before.
    #[error("the descriptor chain is cyclic: it comes back to block {0}")]
    Cyclic(BlockId),
}

/// Follows a chain from its first block. It asks for one block after another and does no I/O.
#[derive(Debug)]
pub struct Walk {
    layout: Layout,
    seal: Seal,
    index: u64,
    next: Option<BlockId>,
    seen: HashSet<BlockId>,
}

impl Walk {
    /// Starts at the block the OFF URL names; `None` is the empty stream.
    #[must_use]
    pub fn new(first: Option<BlockId>, layout: Layout, seal: Seal) -> Self {
        Self { layout, seal, index: 0, next: first, seen: HashSet::new() }
    }

    /// The chain block needed now, `None` at the end.
    #[must_use]
    pub const fn wants(&self) -> Option<BlockId> {
        self.next
    }

    /// Takes the block that [`wants`](Self::wants) named and gives its ids in stream order.
    pub fn supply(&mut self, block: &Block) -> Result<Vec<BlockId>, ChainError> {
        if !self.seen.insert(block.id()) {
            return Err(ChainError::Cyclic(block.id()));
        }
        let (ids, next) = self.layout.decode(self.index, block, &self.seal)?;
        self.index += 1;
        self.next = next;
        Ok(ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use crate::off::SealKey;

    fn ids(count: u64) -> Vec<BlockId> {
        (0..count).map(|i| BlockId::of(&i.to_le_bytes())).collect()
    }

    fn chain(ids: &[BlockId], layout: Layout, seal: &Seal, rng: &mut StdRng) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        for index in (0..layout.blocks()).rev() {
            let range = layout.ids_of(index);
            let part = &ids[range.start as usize..range.end as usize];
            let next = blocks.last().map(Block::id);
            blocks.push(layout.encode(index, part, next, seal, rng));
        }
        blocks.reverse();
        blocks
    }

    /// The table of JSOFFS section 3: a nano block holds 4 ids, a mini block 31.
    #[test]
    fn chain_lengths_are_those_of_js_offs() {
        let blocks = |ids, size| Layout::new(ids, size).blocks();
        for (ids, expected) in [(0, 0), (3, 1), (4, 1), (6, 2), (7, 2), (8, 3)] {
            assert_eq!(blocks(ids, BlockSize::LegacyNano), expected, "{ids} ids");
        }
        assert_eq!(blocks(30, BlockSize::LegacyMini), 1);
        assert_eq!(blocks(33, BlockSize::LegacyMini), 2);
        assert_eq!(blocks(3 * 1_333, BlockSize::LegacyBlock), 1);
        assert_eq!(blocks(3 * 1_334, BlockSize::LegacyBlock), 2);
        assert_eq!(blocks(4_096, BlockSize::Native), 1);
        assert_eq!(blocks(4_097, BlockSize::Native), 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn a_walk_gives_back_the_ids(seed: u64, count in 0u64..200, sealed: bool, mini: bool) {
            let rng = &mut StdRng::seed_from_u64(seed);
            let seal = if sealed { Seal::Key(SealKey::random(rng)) } else { Seal::Plain };
            let size = if mini { BlockSize::LegacyMini } else { BlockSize::LegacyNano };
            let layout = Layout::new(count, size);
            let expected = ids(count);
            let blocks = chain(&expected, layout, &seal, rng);
            let mut walk = Walk::new(blocks.first().map(Block::id), layout, seal);
            let mut found = Vec::new();
            for (index, block) in blocks.iter().enumerate() {
                prop_assert_eq!(walk.wants(), Some(block.id()));
                let part = walk.supply(block).unwrap();
                for id in found.len()..found.len() + part.len() {
                    prop_assert_eq!(layout.block_of(id as u64), index as u64);
                }
                found.extend(part);
            }
            prop_assert_eq!(walk.wants(), None);
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn rejects_a_cyclic_chain_and_blocks_of_another_size() {
        let rng = &mut StdRng::seed_from_u64(1);
        let layout = Layout::new(40, BlockSize::LegacyNano);
        let block = layout.encode(0, &ids(3), Some(BlockId::of(b"x")), &Seal::Plain, rng);
        let mut walk = Walk::new(Some(block.id()), layout, Seal::Plain);
        walk.supply(&block).unwrap();
        assert_eq!(walk.supply(&block), Err(ChainError::Cyclic(block.id())));
        let mini = Block::random(BlockSize::LegacyMini, rng);
        assert!(matches!(walk.supply(&mini), Err(ChainError::BlockSize { found: 1_000, .. })));
    }
}
