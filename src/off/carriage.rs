//! How torrents and packs carry blocks: each in a *slot* of 131,072 bytes.
//!
//! | blocks | in their slot |
//! |---|---|
//! | native, 131,072 bytes | as they are |
//! | of js-offs, 128,000 bytes | from its beginning, then 3,072 zero bytes |
//! | of js-offs, 1,000 and 136 bytes | never: a slot would be 99 % padding |
//!
//! The content file of a torrent is slots back to back, and so is a pack; where a piece is one slot,
//! piece `i` is block `i`. Only torrents and packs know of the padding: the store has the block, and
//! the block's id is over its own bytes. A slot has one reading only, because padding that is not zero
//! is refused, so whoever has the blocks makes the same torrent.
//!
//! Without an OFF URL nothing says which of the two a slot holds, but a block is noise: it ends in so
//! many zeros once in 2^24576 times.

use bytes::Bytes;

use crate::id::BlockId;
use crate::limits::BLOCK_LEN;

use super::block::{Block, BlockSize, WrongBlock};

/// How the blocks of one torrent or pack lie in their slots. All have one size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Carriage {
    /// Native blocks, which fill their slots.
    #[default]
    Whole,
    /// Blocks of 128,000 bytes, each followed by zeros.
    Padded,
}

impl Carriage {
    /// How blocks of a size are carried; `None` if they are not.
    #[must_use]
    pub const fn of(size: BlockSize) -> Option<Self> {
        match size {
            BlockSize::Native => Some(Self::Whole),
            BlockSize::LegacyBlock => Some(Self::Padded),
            BlockSize::LegacyMini | BlockSize::LegacyNano => None,
        }
    }

    /// What a slot holds by its looks, where nobody knows.
    #[must_use]
    pub fn found_in(slot: &[u8]) -> Self {
        match slot.get(BlockSize::LegacyBlock.len()..) {
            Some(padding) if !padding.is_empty() && are_zero(padding) => Self::Padded,
            _ => Self::Whole,
        }
    }

    /// The size of the blocks.
    #[must_use]
    pub const fn block_size(self) -> BlockSize {
        match self {
            Self::Whole => BlockSize::Native,
            Self::Padded => BlockSize::LegacyBlock,
        }
    }

    /// Takes the block out of a slot of a pack, or of a piece whose hash was right. A slot names no
    /// block id, so this is the one way in that computes the id instead of comparing it: what it
    /// admits is what the maker of pack or torrent published, and it is found again only by who asks
    /// for that id.
    pub fn unload(self, slot: &Bytes) -> Result<Block, WrongBlock> {
        Ok(Block::noise(self.contents(slot)?, self.block_size()))
    }

    /// Takes the block `id` out of a slot.
    pub fn check(self, id: BlockId, slot: &Bytes) -> Result<Block, WrongBlock> {
        Block::check(id, self.contents(slot)?)
    }

    /// The bytes of the block in a slot, without a copy.
    fn contents(self, slot: &Bytes) -> Result<Bytes, WrongBlock> {
        if slot.len() != BLOCK_LEN {
            return Err(WrongBlock::Length { len: slot.len() });
        }
        let contents = slot.slice(..self.block_size().len());
        let padding = slot.get(contents.len()..).unwrap_or_default();
        if are_zero(padding) { Ok(contents) } else { Err(WrongBlock::Padding) }
    }
}

impl Block {
    /// The bytes of its slot in a torrent or pack; `None` if neither carries blocks of its size. A
    /// native block's are not copied.
    #[must_use]
    pub fn slot(&self) -> Option<Bytes> {
        match Carriage::of(self.size())? {
            Carriage::Whole => Some(self.bytes().clone()),
            Carriage::Padded => {
                let mut slot = self.contents().to_vec();
                slot.resize(BLOCK_LEN, 0);
                Some(slot.into())
            }
        }
    }
}

fn are_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_gives_the_block_back() {
        for size in BlockSize::ALL {
            let block = Block::random(size, &mut rand::rng());
            let Some(slot) = block.slot() else {
                assert!(size.len() <= 1_000 && Carriage::of(size).is_none());
                continue;
            };
            let carriage = Carriage::of(size).unwrap();
            assert_eq!((slot.len(), carriage.block_size()), (BLOCK_LEN, size));
            assert_eq!(Carriage::found_in(&slot), carriage);
            assert_eq!(carriage.unload(&slot).unwrap(), block);
            assert_eq!(carriage.check(block.id(), &slot).unwrap(), block);
        }
    }

    #[test]
    fn native_blocks_are_not_copied() {
        let block = Block::random(BlockSize::Native, &mut rand::rng());
        assert_eq!(block.slot().unwrap().as_ptr(), block.bytes().as_ptr());
    }

    #[test]
    fn padding_is_zeros() {
        let block = Block::random(BlockSize::LegacyBlock, &mut rand::rng());
        for at in [128_000, 130_000, 131_071] {
            let mut slot = block.slot().unwrap().to_vec();
            slot[at] = 1;
            assert_eq!(Carriage::found_in(&slot), Carriage::Whole);
            let slot = Bytes::from(slot);
            assert_eq!(Carriage::Padded.unload(&slot), Err(WrongBlock::Padding));
            assert_eq!(Carriage::Padded.check(block.id(), &slot), Err(WrongBlock::Padding));
        }
    }

    #[test]
    fn a_slot_has_one_length() {
        for len in [0, 128_000, BLOCK_LEN - 1, BLOCK_LEN + 1] {
            let slot = Bytes::from(vec![0; len]);
            for carriage in [Carriage::Whole, Carriage::Padded] {
                assert_eq!(carriage.unload(&slot), Err(WrongBlock::Length { len }));
            }
        }
        assert_eq!(Carriage::found_in(&vec![0; 128_000]), Carriage::Whole);
        assert_eq!(Carriage::found_in(&[]), Carriage::Whole);
    }
}
