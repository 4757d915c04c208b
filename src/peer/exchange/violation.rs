//! How a peer breaks the protocol.

/// A peer that breaks the protocol; its connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// It names a piece that the torrent does not have.
    #[error("piece {0} of a smaller torrent")]
    NoPiece(u32),
    /// Its bitfield has a wrong length, or spare bits.
    #[error("a bitfield of the wrong length")]
    Bitfield,
    /// It asks for bytes that do not exist, or for too many.
    #[error("a request for {len} bytes at {offset} of piece {piece}")]
    Request {
        /// The piece.
        piece: u32,
        /// Bytes of it before the request.
        offset: u32,
        /// Bytes asked for.
        len: u32,
    },
    /// It sends what nobody asked for, again and again.
    #[error("{0} bytes nobody asked for")]
    Unasked(u64),
    /// It goes on speaking and does not read the answers.
    #[error("{0} messages wait for it")]
    Unread(usize),
}
