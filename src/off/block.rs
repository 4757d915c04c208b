//! Blocks and source blocks: what may be stored, and what may not.
//!
//! The type system keeps plaintext out of the store. A [`SourceBlock`] has no id and no way to
//! become a [`Block`] but through [`encode`](super::tuple::encode); a [`Block`] is made only by
//! that, by [`Block::check`] against an id somebody asked for, from a slot of a torrent or pack
//! ([`Carriage::unload`](super::Carriage::unload)), or from fresh randomness. So this
//! does not compile:
//!
//! ```compile_fail
//! use offswarm::off::{BlockSize, SourceBlock};
//! use offswarm::store::{BlockStore, MemoryStore};
//!
//! let plain = SourceBlock::padded(vec![0; 5], BlockSize::Native, &mut rand::rng());
//! MemoryStore::new().put(&plain).unwrap(); // expected `&Block`, found `&SourceBlock`
//! ```
//!
//! while the same with a block does:
//!
//! ```
//! use offswarm::off::{Block, BlockSize};
//! use offswarm::store::{BlockStore, MemoryStore};
//!
//! let noise = Block::random(BlockSize::Native, &mut rand::rng());
//! MemoryStore::new().put(&noise).unwrap();
//! ```

use bytes::Bytes;
use rand::Rng;

use crate::id::{BlockId, ID_LEN};
use crate::limits::BLOCK_LEN;

/// Bytes of a block: one native size, three of the legacy program js-offs (v0.1.0).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlockSize {
    /// 131,072 bytes, the only size we write natively.
    Native,
    /// 128,000 bytes: js-offs's `block`, for streams of at least that length.
    LegacyBlock,
    /// 1,000 bytes: js-offs's `mini`.
    LegacyMini,
    /// 136 bytes: js-offs's `nano`.
    LegacyNano,
}

impl BlockSize {
    /// All sizes, the native one first.
    pub const ALL: [Self; 4] =
        [Self::Native, Self::LegacyBlock, Self::LegacyMini, Self::LegacyNano];

    /// Bytes of a block.
    #[expect(clippy::len_without_is_empty, reason = "no block is empty")]
    #[must_use]
    pub const fn len(self) -> usize {
        match self {
            Self::Native => BLOCK_LEN,
            Self::LegacyBlock => 128_000,
            Self::LegacyMini => 1_000,
            Self::LegacyNano => 136,
        }
    }

    /// What js-offs calls blocks of that size.
    #[must_use]
    pub const fn class(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::LegacyBlock => "block",
            Self::LegacyMini => "mini",
            Self::LegacyNano => "nano",
        }
    }

    /// The size that has blocks of so many bytes.
    #[must_use]
    pub fn from_len(len: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|size| size.len() == len)
    }

    /// The size of the blocks of a stream of `length` bytes in js-offs, which goes by the length
    /// alone: `block` from 128,000 bytes on, `mini` from 1,000 on, else `nano`.
    #[must_use]
    pub const fn legacy_of(length: u64) -> Self {
        match length {
            0..1_000 => Self::LegacyNano,
            1_000..128_000 => Self::LegacyMini,
            _ => Self::LegacyBlock,
        }
    }

    /// Ids that fit into a descriptor block. The bytes behind them are random padding.
    #[must_use]
    pub const fn slots(self) -> u64 {
        (self.len() / ID_LEN) as u64
    }

    /// Source blocks of a stream of `length` bytes.
    #[must_use]
    pub const fn source_blocks(self, length: u64) -> u64 {
        length.div_ceil(self.len() as u64)
    }
}

/// Bytes that are not the block they were said to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WrongBlock {
    /// No block has so many bytes.
    #[error("{len} bytes are not a block")]
    Length {
        /// Bytes found.
        len: usize,
    },
    /// A slot of a torrent or pack has bytes behind the block that are not zero.
    #[error("the bytes behind the block are not zero")]
    Padding,
    /// The bytes have another SHA-256.
    #[error("the contents of block {expected} hash to {found}")]
    Contents {
        /// The id asked for.
        expected: BlockId,
        /// The id of the bytes.
        found: BlockId,
    },
}

/// A block of the OFF store: noise, named by its SHA-256. Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    id: BlockId,
    size: BlockSize,
    contents: Bytes,
}

impl Block {
    /// Takes bytes from outside as the block `id`.
    ///
    /// The bytes must be as many as a block of some size has and hash to `id`.
    pub fn check(id: BlockId, contents: Bytes) -> Result<Self, WrongBlock> {
        let size = BlockSize::from_len(contents.len())
            .ok_or(WrongBlock::Length { len: contents.len() })?;
        let block = Self::noise(contents, size);
        if block.id == id {
            Ok(block)
        } else {
            Err(WrongBlock::Contents { expected: id, found: block.id })
        }
    }

    /// A fresh randomizer.
    pub fn random(size: BlockSize, rng: &mut impl Rng) -> Self {
        let mut contents = vec![0; size.len()];
        rng.fill_bytes(&mut contents);
        Self::noise(contents.into(), size)
    }

    /// Bytes that this crate has made noise of: an encoded source block, a chain block.
    pub(super) fn noise(contents: Bytes, size: BlockSize) -> Self {
        debug_assert_eq!(contents.len(), size.len());
        Self { id: BlockId::of(&contents), size, contents }
    }

    /// SHA-256 of the contents.
    #[must_use]
    pub const fn id(&self) -> BlockId {
        self.id
    }

    /// How many bytes it has.
    #[must_use]
    pub const fn size(&self) -> BlockSize {
        self.size
    }

    /// All its bytes, [`BlockSize::len`] of them.
    #[must_use]
    pub fn contents(&self) -> &[u8] {
        &self.contents
    }

    /// The bytes as a shared buffer, for sending them on without a copy.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.contents
    }
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Block({}, {:?})", self.id, self.size)
    }
}

/// A piece of a stream before it is hidden: exactly one block long, without an id, so that
/// nothing can store or announce it. It is not `Clone` and its `Debug` shows no contents.
pub struct SourceBlock {
    contents: Vec<u8>,
    size: BlockSize,
}

impl SourceBlock {
    /// Takes the next `contents` of a stream, at most a block of them, and fills the rest of the
    /// block with random bytes (only the last source block of a stream has a rest).
    pub fn padded(mut contents: Vec<u8>, size: BlockSize, rng: &mut impl Rng) -> Self {
        let filled = contents.len();
        debug_assert!(filled <= size.len());
        contents.resize(size.len(), 0);
        if let Some(rest) = contents.get_mut(filled..) {
            rng.fill_bytes(rest);
        }
        Self { contents, size }
    }

    /// How many bytes it has.
    #[must_use]
    pub const fn size(&self) -> BlockSize {
        self.size
    }

    /// Its bytes, padding included.
    #[must_use]
    pub fn contents(&self) -> &[u8] {
        &self.contents
    }

    /// Gives up the bytes, padding included.
    #[must_use]
    pub fn into_contents(self) -> Vec<u8> {
        self.contents
    }

    pub(super) const fn new(contents: Vec<u8>, size: BlockSize) -> Self {
        Self { contents, size }
    }
}

impl std::fmt::Debug for SourceBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SourceBlock({:?})", self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_a_block_with_other_contents() {
        let block = Block::random(BlockSize::LegacyMini, &mut rand::rng());
        let mut bytes = block.contents().to_vec();
        bytes[999] ^= 1;
        let error = Block::check(block.id(), bytes.into()).unwrap_err();
        assert!(matches!(error, WrongBlock::Contents { expected, .. } if expected == block.id()));
    }

    #[test]
    fn legacy_sizes_go_by_the_length_alone() {
        let len = |length| BlockSize::legacy_of(length).len();
        for (length, expected) in
            [(1, 136), (136, 136), (999, 136), (1_000, 1_000), (127_999, 1_000), (128_000, 128_000)]
        {
            assert_eq!(len(length), expected, "{length}");
        }
        assert_eq!(len(u64::MAX), 128_000);
    }

    #[test]
    fn rejects_truncated_and_oversized_bytes() {
        for len in [0, 1, 135, 137, BLOCK_LEN - 1, BLOCK_LEN + 1] {
            let bytes = vec![7; len];
            let error = Block::check(BlockId::of(&bytes), bytes.into()).unwrap_err();
            assert_eq!(error, WrongBlock::Length { len });
        }
    }

    #[test]
    fn pads_a_short_source_block_with_noise() {
        let padded = || SourceBlock::padded(b"abc".to_vec(), BlockSize::Native, &mut rand::rng());
        let (one, other) = (padded(), padded());
        assert_eq!(&one.contents()[..3], b"abc");
        assert_eq!(one.contents().len(), BLOCK_LEN);
        assert_ne!(one.contents()[3..], other.contents()[3..]);
    }
}
