//! Where blocks are kept: id to block, nothing else. A store knows no files and no names.
//!
//! [`BlockStore`] is the boundary; its doc is the contract, and `contract.rs` holds it against
//! every implementation: [`SlabStore`] on disk, [`MemoryStore`] for tests and small things,
//! [`QuotaStore`] and [`CachedStore`] around either. [`Upkeep`] is the second half of it, for
//! whoever decides what is worth keeping.
//!
//! The trait is synchronous on purpose: the codec is, and a block is read in less time than a hop
//! to another thread takes when it is in the page cache.

mod cache;
#[cfg(test)]
mod contract;
mod disk;
#[cfg(test)]
mod fault;
mod files;
mod forward;
mod index;
mod lease;
mod memory;
#[cfg(test)]
mod model;
mod places;
mod quota;
mod shuffle;
mod sketch;
mod slabs;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::id::{BlockId, MerkleRoot, PieceHash};
use crate::limits::{BLOCK_LEN, INDEXED_BLOCK_COST};
use crate::off::{Block, BlockSize};

pub use cache::CachedStore;
pub use disk::{Disk, DiskFile, Folder};
pub use lease::Lease;
pub use memory::MemoryStore;
pub use quota::QuotaStore;
pub use sketch::{Sketch, SketchCell};
pub use slabs::SlabStore;

/// A set of blocks.
///
/// # Contract
///
/// * A block that was put is readable at once, by every thread.
/// * It survives a crash once a later [`commit`](Self::commit) has returned `Ok`. A crash before
///   that loses it whole: no half of it is ever read.
/// * Every block read hashes to its id. One that does not is reported once as
///   [`StoreError::Damaged`], is absent from then on (its [`presence`](Self::presence) says why)
///   and is whole again after the next put.
/// * Putting a block that is held changes nothing.
pub trait BlockStore: Send + Sync {
    /// Adds a block. `true` if it was not held before.
    fn put(&self, block: &Block) -> Result<bool, StoreError>;

    /// Reads a block and verifies it; `None` if it is not held.
    fn get(&self, id: &BlockId) -> Result<Option<Block>, StoreError>;

    /// Whether a block is held, without reading it.
    fn presence(&self, id: &BlockId) -> Result<Presence, StoreError>;

    /// Makes everything put so far durable.
    fn commit(&self) -> Result<(), StoreError>;

    /// Draws blocks of one size uniformly at random without repetition, among those held now and
    /// not put after this call, in an order that depends on `seed` alone. Each draw takes constant
    /// time and memory however many blocks are held, of this size or others.
    fn draws(&self, size: BlockSize, seed: u64) -> Result<Draws<'_>, StoreError>;

    /// Counts a block as used now. `false` if it is not held.
    fn touch(&self, id: &BlockId) -> Result<bool, StoreError>;

    /// Keeps all blocks that are put or touched from now on, until the lease is dropped: nothing
    /// evicts or removes them.
    fn lease(&self) -> Lease;

    /// What is held.
    fn census(&self) -> Result<StoreCensus, StoreError>;

    /// What was remembered about a block by [`keep_digests`](Self::keep_digests).
    fn digests(&self, id: &BlockId) -> Result<Option<Digests>, StoreError>;

    /// Remembers the digests of those blocks that are held, durably, as long as they are held. The
    /// store does not look at them: they are right if the caller is.
    fn keep_digests(&self, digests: &[(BlockId, Digests)]) -> Result<(), StoreError>;

    /// How much nodes of others use a block, as far as [`Upkeep::set_popularity`] was told; 0 if
    /// nothing is known or the block is not held.
    fn popularity(&self, id: &BlockId) -> Result<u8, StoreError>;

    /// Whether any block has a popularity other than 0. It takes constant time.
    fn is_any_popular(&self) -> Result<bool, StoreError>;
}

/// What a store lets the owner of names do: say what blocks are worth, and take them out.
///
/// # Contract
///
/// * Uses and pins are remembered for blocks that are not held, too.
/// * Neither [`remove_unused`](Self::remove_unused) nor [`evict`](Self::evict) takes a block that is pinned or
///   that was put or touched under a [`lease`](BlockStore::lease) which still lives.
/// * A block that is taken out is absent, its bytes are given back to the disk.
pub trait Upkeep: BlockStore {
    /// Changes how many URLs use and pin each of `ids`; an id that is repeated counts repeatedly.
    fn mark(&self, ids: &[BlockId], mark: Mark) -> Result<(), StoreError>;

    /// How many URLs use and pin a block.
    fn uses(&self, id: &BlockId) -> Result<UseCount, StoreError>;

    /// Makes `expected` all uses there are, and says how many blocks were worth something else.
    fn recount(&self, expected: &HashMap<BlockId, UseCount>) -> Result<u64, StoreError>;

    /// Takes those of `ids` out that no URL uses.
    fn remove_unused(&self, ids: &[BlockId]) -> Result<Removed, StoreError>;

    /// Takes out what was put under a lease and no URL uses. For a put that has failed. While other
    /// leases live nothing happens, because nobody knows whose blocks they are.
    fn undo(&self, lease: &Lease) -> Result<Removed, StoreError>;

    /// Remembers how popular blocks are, all at once and durably, of those that are held and as
    /// long as they are held. The last word counts: 0 is to forget it.
    fn set_popularity(&self, told: &[(BlockId, u8)]) -> Result<(), StoreError>;

    /// Takes out up to `most` blocks that at most `uses` URLs use, those with the fewest uses
    /// first, of these the least popular and of these the least recently used. With `dry` they
    /// stay.
    fn evict(&self, uses: u32, most: u64, dry: bool) -> Result<Removed, StoreError>;

    /// Takes out blocks in the order of [`evict`](Self::evict), however many URLs use them, until
    /// they make so many bytes of room or no other may go.
    fn make_room(&self, bytes: u64) -> Result<Removed, StoreError>;

    /// How many blocks are used by how many URLs: pairs (uses, blocks), by uses.
    fn sharing(&self) -> Result<Vec<(u32, u64)>, StoreError>;

    /// What the slots hold, in up to `cells` parts, of which at most `most` slots are looked at.
    /// Blocks that are not durable yet may be left out.
    fn sketch(&self, cells: usize, most: usize) -> Result<Sketch, StoreError>;

    /// Up to `most` blocks from `place` on, each with its place, in an order that does not change
    /// while they stay: for walks that can be broken off and taken up again.
    fn walk(&self, place: u64, most: usize) -> Result<Vec<(u64, BlockId)>, StoreError>;

    /// Where a block is in the order of [`walk`](Self::walk); `None` if it is not held.
    fn locate(&self, id: &BlockId) -> Result<Option<Located>, StoreError>;

    /// The file that consists of the `blocks` native blocks from `place` on and of nothing else,
    /// if there is one. It is for reading only, and only while these blocks stay.
    fn file_of(&self, place: u64, blocks: u64) -> Result<Option<PathBuf>, StoreError>;

    /// All blocks found damaged and not replaced yet.
    fn damaged(&self) -> Result<Vec<BlockId>, StoreError>;

    /// Takes the blocks of a pack in without copying them: the file is read where it is, verified
    /// on every read and never written. How many blocks are new.
    fn adopt(&self, pack: &Path) -> Result<u64, StoreError>;
}

/// Hashes of a block that torrents are made of, so that a block is read once for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digests {
    /// SHA-1, its hash as a piece.
    pub piece: PieceHash,
    /// The root of its Merkle tree.
    pub root: MerkleRoot,
}

/// A change of what a block is worth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    /// URLs that use it more, or less.
    pub uses: i32,
    /// Pinned URLs that use it more, or less.
    pub pins: i32,
}

/// What was taken out, or would be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Blocks.
    pub blocks: u64,
    /// Bytes of a limit that they took, see [`room_of`].
    pub bytes: u64,
}

impl std::ops::AddAssign for Removed {
    fn add_assign(&mut self, more: Self) {
        self.blocks += more.blocks;
        self.bytes += more.bytes;
    }
}

/// The bytes of a store's limit that a block takes: a whole slot, or if it is kept in the index what
/// that grows by.
#[must_use]
pub const fn room_of(size: BlockSize) -> u64 {
    match size {
        BlockSize::Native | BlockSize::LegacyBlock => BLOCK_LEN as u64,
        BlockSize::LegacyMini | BlockSize::LegacyNano => size.len() as u64 + INDEXED_BLOCK_COST,
    }
}

/// A block that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Located {
    /// Its place in the order of [`Upkeep::walk`].
    pub place: u64,
    /// Bytes of the block.
    pub len: u64,
}

/// What a block is worth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UseCount {
    /// URLs that use it.
    pub uses: u32,
    /// Pinned URLs among them.
    pub pins: u32,
}

/// The iterator of [`BlockStore::draws`].
pub type Draws<'a> = Box<dyn Iterator<Item = Result<BlockId, StoreError>> + Send + 'a>;

/// Whether a store has a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is there (whether it is whole is known when it is read).
    Held,
    /// It was there and was found to be damaged.
    Damaged,
    /// It is not there.
    Absent,
}

/// Totals of a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreCensus {
    /// Blocks held.
    pub blocks: u64,
    /// Bytes of a limit that these blocks take, see [`room_of`].
    pub bytes: u64,
    /// Blocks found damaged and not replaced yet.
    pub damaged: u64,
}

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk holds other bytes than were written.
    #[error("block {id} is damaged on disk ({place})")]
    Damaged {
        /// The block.
        id: BlockId,
        /// Slab file and slot.
        place: String,
        /// Bytes of a limit that it took, see [`room_of`].
        bytes: u64,
    },
    /// The operating system refused.
    #[error("cannot {attempt} {}", path.display())]
    Io {
        /// What was attempted, a verb.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The index failed.
    #[error("cannot {attempt} the index of the store")]
    Index {
        /// What was attempted, a verb.
        attempt: &'static str,
        /// Why it failed.
        source: Box<redb::Error>,
    },
    /// There are slabs, and no index that says what is in them.
    #[error("the index of the store is lost: {} is missing or empty beside its slabs", path.display())]
    Lost {
        /// Where it should be.
        path: PathBuf,
    },
    /// A block that does not fit into a slot of this store.
    #[error("a block of {len} bytes does not fit into slots of {slot} bytes")]
    TooLarge {
        /// Bytes of the block.
        len: usize,
        /// Bytes of a slot.
        slot: u64,
    },
    /// A pack that cannot be one.
    #[error("{} is not a pack: {why}", path.display())]
    NotAPack {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The limit is reached, and everything that is held is pinned or in use.
    #[error("the store is full: its limit is {limit} bytes, and nothing can be evicted")]
    Full {
        /// The limit in bytes.
        limit: u64,
    },
    /// The store was written by a later version of this program.
    #[error("the store has format {found}; this program knows formats up to {known}")]
    Version {
        /// The format on disk.
        found: u64,
        /// The latest this program reads.
        known: u64,
    },
}

impl StoreError {
    /// Whether what is on disk is not what was written.
    #[must_use]
    pub fn is_corruption(&self) -> bool {
        match self {
            Self::Damaged { .. } | Self::Lost { .. } => true,
            Self::Index { source, .. } => matches!(**source, redb::Error::Corrupted(_)),
            _ => false,
        }
    }

    /// Whether the disk is full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => is_full(source),
            Self::Index { source, .. } => {
                matches!(&**source, redb::Error::Io(source) if is_full(source))
            }
            _ => false,
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
