//! What a torrent consists of here, as far as connections need to know.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;

use crate::id::InfoHash;

use super::bits::Bits;
use super::message::HashRange;
use super::pieces::Pieces;

/// Whether a piece that came is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is, and it is kept.
    Right,
    /// It is not: somebody lied.
    Wrong,
    /// It cannot be kept, or the torrent is of no use. The content knows why; the download is
    /// over.
    Failed,
}

/// The bytes of a torrent. All methods may read or write disk, so they are called on threads that
/// may block.
pub trait Content: Send + Sync {
    /// The sizes.
    fn pieces(&self) -> Pieces;

    /// The info dict.
    fn info(&self) -> Bytes;

    /// The pieces that are here.
    fn here(&self) -> Bits;

    /// The block of this number, verified, in [`BLOCK_LEN`](crate::limits::BLOCK_LEN) bytes of
    /// content; `None` if it is not whole here.
    fn block(&self, number: u64) -> Option<Bytes>;

    /// Checks a piece that has come in parts, and keeps it if it is right.
    fn take(&self, piece: u32, parts: &[Bytes]) -> Verdict;

    /// Peers to be served at a time, where the usual number is `usual`.
    fn slots(&self, usual: usize) -> usize {
        usual
    }

    /// Hashes of a version 2 torrent, then the proofs; `None` if they are not known here.
    fn hashes(&self, range: &HashRange) -> Option<Vec<[u8; 32]>>;

    /// Itself, for whoever made it and knows what it is.
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// Bytes that a torrent has moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes received.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
}

/// All torrents that can be served.
pub trait Library: Send + Sync {
    /// The content of a torrent, by what its swarm's handshakes name; `None` if it is not ours.
    /// It reads the disk.
    fn find(&self, infohash: InfoHash) -> Option<Arc<dyn Content>>;

    /// Takes note of bytes that torrents have received and sent. It may write the disk.
    fn account(&self, moved: &[(InfoHash, Traffic)]);
}
