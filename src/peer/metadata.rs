//! An info dict as one peer sends it (BEP 9).
//!
//! Each peer that is asked gives all of it, so that whoever gives a false one is known. At most
//! [`ASKED_AT_ONCE`] are asked at a time; the dictionary is small, and the first right one ends it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::extension::METADATA_PIECE_LEN;
use super::live::Live;

/// Peers asked for the info dict at a time.
const ASKED_AT_ONCE: usize = 3;

/// Parts asked for at a time: rTorrent 0.9.8 drops a request that comes before it has answered the
/// one before.
const PIPELINE: u32 = 1;

/// How long a part may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What has come of an info dict.
#[derive(Debug)]
pub(super) struct Assembly {
    live: Arc<Live>,
    len: usize,
    parts: Vec<Option<Bytes>>,
    asked: u32,
    come: u32,
    /// When the last part came, or this began.
    moved: Instant,
}

impl Assembly {
    /// Begins one of `len` bytes, unless enough peers are asked already.
    pub(super) fn begin(len: usize, live: &Arc<Live>) -> Option<Self> {
        let before = live.asking.fetch_add(1, Ordering::AcqRel);
        let parts = vec![None; len.div_ceil(METADATA_PIECE_LEN)];
        let moved = Instant::now();
        // Dropped, it is not counted any more.
        let assembly = Self { live: Arc::clone(live), len, parts, asked: 0, come: 0, moved };
        (before < ASKED_AT_ONCE).then_some(assembly)
    }

    /// The number of the next part to ask for, if it is time.
    pub(super) fn next_request(&mut self) -> Option<u32> {
        let due = (self.asked as usize) < self.parts.len() && self.asked - self.come < PIPELINE;
        due.then(|| {
            self.asked += 1;
            self.asked - 1
        })
    }

    /// Whether the peer has owed a part for too long.
    pub(super) fn is_late(&self) -> bool {
        self.moved.elapsed() > PATIENCE
    }

    /// A part has come: the info dict, if that was the last. Parts that make no sense are ignored.
    pub(super) fn add(&mut self, piece: u32, bytes: Bytes) -> Option<Bytes> {
        let start = (piece as usize).checked_mul(METADATA_PIECE_LEN)?;
        let expected = self.len.checked_sub(start)?.min(METADATA_PIECE_LEN);
        let part = self.parts.get_mut(piece as usize).filter(|part| part.is_none())?;
        if bytes.len() != expected || piece >= self.asked {
            return None;
        }
        *part = Some(bytes);
        (self.come, self.moved) = (self.come + 1, Instant::now());
        let mut whole = BytesMut::with_capacity(self.len);
        for part in &self.parts {
            whole.extend_from_slice(part.as_ref()?);
        }
        Some(whole.freeze())
    }
}

impl Drop for Assembly {
    fn drop(&mut self) {
        self.live.asking.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::InfoHash;

    #[test]
    fn parts_make_the_whole() {
        let live = Arc::new(Live::new(InfoHash::of(b"x")));
        let info = Bytes::from((0..40_000_u32).map(|n| n as u8).collect::<Vec<_>>());
        let mut assembly = Assembly::begin(info.len(), &live).unwrap();
        let part = |n: usize| info.slice(n * 16_384..info.len().min((n + 1) * 16_384));
        for piece in 0..3 {
            assert_eq!(assembly.next_request(), Some(piece));
            assert_eq!(assembly.next_request(), None, "one at a time");
            for (piece, bytes) in [(7, part(0)), (2, part(0)), (u32::MAX, part(0))] {
                assert_eq!(assembly.add(piece, bytes), None, "it makes no sense");
            }
            let whole = assembly.add(piece, part(piece as usize));
            assert_eq!(whole, (piece == 2).then(|| info.clone()));
        }
    }

    #[test]
    fn few_peers_are_asked_at_a_time() {
        let live = Arc::new(Live::new(InfoHash::of(b"x")));
        let mut asked: Vec<_> = (0..ASKED_AT_ONCE).map(|_| Assembly::begin(5, &live)).collect();
        assert!(asked.iter().all(Option::is_some));
        assert!(Assembly::begin(5, &live).is_none());
        asked.pop();
        assert!(Assembly::begin(5, &live).is_some());
    }
}
