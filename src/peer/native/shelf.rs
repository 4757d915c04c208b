//! The blocks here, as native peers may see and change them.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::id::BlockId;

/// What became of bytes that came as a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// They are the block, and it is here.
    Kept,
    /// It is not taken in.
    Refused,
    /// They are not the block: somebody lied.
    Wrong,
    /// They are the block, and it could not be kept: why.
    Failed(String),
}

/// Blocks to be served, and where those go that come. All methods may read or write disk, so they
/// are called on threads that may block.
pub trait Shelf: Send + Sync {
    /// Which of these blocks are here.
    fn holds(&self, ids: &[BlockId]) -> Vec<bool>;

    /// How many OFF URLs use each of these blocks; 255 is that many or more.
    fn uses(&self, ids: &[BlockId]) -> Vec<u8>;

    /// The bytes of a block, verified; `None` if it is not whole here.
    fn block(&self, id: &BlockId) -> Option<Bytes>;

    /// Checks a block that we wanted, and keeps it if it is right.
    fn take(&self, id: BlockId, bytes: Bytes) -> Taken;

    /// Checks a block that a peer wants us to keep, and keeps it if it is right and the owner of this
    /// store lets it.
    fn host(&self, id: BlockId, bytes: Bytes) -> Taken;

    /// Whether blocks of others may be kept at all.
    fn hosts(&self) -> bool;

    /// A peer that was asked has told how much it uses blocks.
    fn heard_of_uses(&self, peer: SocketAddr, uses: &[(BlockId, u8)]);

    /// Up to `most` blocks that are here, at random.
    fn sample(&self, most: usize) -> Vec<BlockId>;

    /// Writes down what was heard, as far as it is about blocks that are here.
    fn settle(&self);
}
