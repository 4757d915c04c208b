//! How a torrent is cut: pieces, and the chunks that peers are asked for.

use std::ops::Range;

use crate::limits::CHUNK_LEN;

/// The sizes of a torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pieces {
    /// Bytes in all.
    pub total: u64,
    /// Bytes of every piece but perhaps the last.
    pub piece_len: u32,
}

/// A part of a piece: what one request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Chunk {
    /// The piece.
    pub piece: u32,
    /// Bytes of the piece before it.
    pub offset: u32,
    /// Its bytes.
    pub len: u32,
}

impl Pieces {
    /// Pieces in all.
    #[must_use]
    pub fn count(&self) -> u32 {
        let count = self.total.div_ceil(u64::from(self.piece_len.max(1)));
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Bytes of a piece.
    #[must_use]
    pub fn len_of(&self, piece: u32) -> u32 {
        let rest = self.total.saturating_sub(self.start_of(piece));
        u32::try_from(rest).unwrap_or(u32::MAX).min(self.piece_len)
    }

    /// Bytes of the torrent before a piece.
    #[must_use]
    pub fn start_of(&self, piece: u32) -> u64 {
        u64::from(piece) * u64::from(self.piece_len)
    }

    /// Chunks of a piece.
    #[must_use]
    pub fn chunks_of(&self, piece: u32) -> u32 {
        self.len_of(piece).div_ceil(CHUNK_LEN)
    }

    /// A chunk by its number in the piece.
    #[must_use]
    pub fn chunk(&self, piece: u32, number: u32) -> Chunk {
        let offset = number * CHUNK_LEN;
        Chunk { piece, offset, len: CHUNK_LEN.min(self.len_of(piece).saturating_sub(offset)) }
    }

    /// Whether a part of a piece is one of its chunks, as we ask for them.
    #[must_use]
    pub fn number_of(&self, chunk: Chunk) -> Option<u32> {
        let number = chunk.offset / CHUNK_LEN;
        let known = chunk.piece < self.count() && number < self.chunks_of(chunk.piece);
        (known && self.chunk(chunk.piece, number) == chunk).then_some(number)
    }

    /// The bytes of the torrent that a request asks for; `None` if it has no such bytes.
    #[must_use]
    pub fn range_of(&self, chunk: Chunk) -> Option<Range<u64>> {
        let end = chunk.offset.checked_add(chunk.len)?;
        let inside = chunk.piece < self.count() && chunk.len > 0 && end <= self.len_of(chunk.piece);
        let start = self.start_of(chunk.piece) + u64::from(chunk.offset);
        inside.then(|| start..start + u64::from(chunk.len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_everything_and_no_more() {
        for (total, piece_len) in [(1, 1), (131_072, 131_072), (300_000, 131_072), (40_000, 16_384)]
        {
            let pieces = Pieces { total, piece_len };
            let mut at = 0;
            for piece in 0..pieces.count() {
                for number in 0..pieces.chunks_of(piece) {
                    let chunk = pieces.chunk(piece, number);
                    assert_eq!(pieces.number_of(chunk), Some(number));
                    let range = pieces.range_of(chunk).unwrap();
                    assert_eq!(range.start, at);
                    at = range.end;
                }
            }
            assert_eq!(at, total);
        }
    }

    #[test]
    fn refuses_what_lies_outside() {
        let pieces = Pieces { total: 300_000, piece_len: 131_072 };
        for (piece, offset, len) in
            [(3, 0, 1), (2, 37_856, 1), (0, 131_071, 2), (0, 0, 0), (0, u32::MAX, 2)]
        {
            assert_eq!(pieces.range_of(Chunk { piece, offset, len }), None);
        }
        assert_eq!(pieces.number_of(Chunk { piece: 0, offset: 1, len: 16_384 }), None);
        assert_eq!(pieces.number_of(Chunk { piece: 0, offset: 0, len: 16_383 }), None);
    }
}
