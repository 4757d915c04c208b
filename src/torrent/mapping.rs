//! Which block is which piece.
//!
//! The order is fixed by the OFF URL: first the blocks of the descriptor chain, then the blocks
//! of the tuples in stream order, each block once, where it occurs first. The URL of a directory
//! covers its files too: after the directory's own blocks follow, in the order of the files'
//! paths, chain and tuples of every stream that a file is or is packed in, each stream once. So
//! one torrent carries a whole directory, and everybody makes the same. Piece `i` is block `i`.
//! Above 65,536 blocks a piece is the smallest power of two of consecutive blocks that keeps to
//! 65,536 pieces; the last piece may be short. A block of js-offs takes as much of a piece as any, the rest is
//! zeros ([`Carriage`](crate::off::Carriage)).

use std::collections::HashSet;

use crate::id::BlockId;
use crate::limits::{BLOCK_LEN, MAX_PIECES};

/// Blocks of one piece in a torrent of `blocks` blocks: a power of two.
#[must_use]
pub const fn blocks_per_piece(blocks: u64) -> u64 {
    blocks.div_ceil(MAX_PIECES).next_power_of_two()
}

/// Bytes of a piece in a torrent of `blocks` blocks.
#[must_use]
pub const fn piece_len(blocks: u64) -> u64 {
    blocks_per_piece(blocks) * BLOCK_LEN as u64
}

/// The blocks of an OFF URL in the order of its torrent.
#[derive(Debug, Clone, Default)]
pub struct Mapping {
    order: Vec<BlockId>,
    seen: HashSet<BlockId>,
}

impl Mapping {
    /// No blocks yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next block; one that is in already keeps its place.
    pub fn push(&mut self, id: BlockId) {
        if self.seen.insert(id) {
            self.order.push(id);
        }
    }

    /// Adds the next blocks.
    pub fn extend(&mut self, ids: impl IntoIterator<Item = BlockId>) {
        for id in ids {
            self.push(id);
        }
    }

    /// The blocks, each once.
    #[must_use]
    pub fn order(&self) -> &[BlockId] {
        &self.order
    }

    /// Gives up the blocks, each once.
    #[must_use]
    pub fn into_order(self) -> Vec<BlockId> {
        self.order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_a_piece_a_block_up_to_65536_blocks() {
        for (blocks, expected) in
            [(1, 1), (65_536, 1), (65_537, 2), (131_072, 2), (131_073, 4), (200_000, 4)]
        {
            assert_eq!(blocks_per_piece(blocks), expected, "{blocks}");
            assert!(blocks.div_ceil(blocks_per_piece(blocks)) <= MAX_PIECES);
        }
    }

    #[test]
    fn lists_each_block_where_it_occurs_first() {
        let id = |n: u8| BlockId::from_bytes([n; 32]);
        let mut mapping = Mapping::new();
        for n in [1, 2, 1, 3, 2] {
            mapping.push(id(n));
        }
        assert_eq!(mapping.into_order(), [id(1), id(2), id(3)]);
    }
}
