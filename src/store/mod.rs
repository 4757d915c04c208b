//! Where blocks are kept: id to block, nothing else. A store knows no files and no names.
//!
//! [`BlockStore`] is the boundary; its doc is the contract, and `contract.rs` holds it against
//! every implementation: [`SlabStore`] on disk, [`MemoryStore`] for tests and small things,
//! [`CachedStore`] around either.
//!
//! The trait is synchronous on purpose: librqbit's storage interface is, and a block is read in
//! less time than a hop to another thread takes when it is in the page cache.

mod cache;
#[cfg(test)]
mod contract;
mod disk;
mod index;
mod memory;
mod slabs;

use std::io;
use std::path::PathBuf;

use crate::id::BlockId;
use crate::off::Block;

pub use cache::CachedStore;
pub use disk::{Disk, DiskFile, Folder};
pub use memory::MemoryStore;
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

    /// Draws blocks uniformly at random without repetition, among those held now and not put
    /// after this call, in an order that depends on `seed` alone. Each draw takes constant time
    /// and memory however many blocks are held.
    fn draws(&self, seed: u64) -> Result<Draws<'_>, StoreError>;

    /// What is held.
    fn census(&self) -> Result<StoreCensus, StoreError>;
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
    /// Bytes of these blocks.
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
    /// Whether the disk is full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => is_full(source),
            Self::Index { source, .. } => {
                matches!(&**source, redb::Error::Io(source) if is_full(source))
            }
            Self::Damaged { .. } | Self::Version { .. } => false,
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
