//! A set of pieces, as BEP 3 sends it: one bit a piece, the first piece the highest bit of the
//! first byte, spare bits zero.

/// Which of a known number of pieces are in the set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bits {
    bytes: Vec<u8>,
    len: u32,
    count: u32,
}

impl Bits {
    /// No piece of `len`.
    #[must_use]
    pub fn none(len: u32) -> Self {
        Self { bytes: vec![0; len.div_ceil(8) as usize], len, count: 0 }
    }

    /// All pieces of `len`.
    #[must_use]
    pub fn all(len: u32) -> Self {
        let mut bytes = vec![0xFF; len.div_ceil(8) as usize];
        if let (Some(last), spare @ 1..) = (bytes.last_mut(), spare_bits(len)) {
            *last = 0xFF << spare;
        }
        Self { bytes, len, count: len }
    }

    /// What a peer sent; `None` if its length is wrong or a spare bit is set.
    #[must_use]
    pub fn from_wire(bytes: &[u8], len: u32) -> Option<Self> {
        let spare = !(0xFF_u8.checked_shl(spare_bits(len)).unwrap_or(0));
        let fits = bytes.len() == len.div_ceil(8) as usize;
        let clean = bytes.last().is_none_or(|last| last & spare == 0);
        let count = bytes.iter().map(|byte| byte.count_ones()).sum();
        (fits && clean).then(|| Self { bytes: bytes.to_vec(), len, count })
    }

    /// As it is sent.
    #[must_use]
    pub fn as_wire(&self) -> &[u8] {
        &self.bytes
    }

    /// Pieces of the torrent.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether no piece is in the set.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether all pieces are in the set.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.count == self.len
    }

    /// Pieces in the set.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Whether a piece is in the set. One that the torrent does not have is not.
    #[must_use]
    pub fn has(&self, piece: u32) -> bool {
        let byte = self.bytes.get((piece / 8) as usize);
        piece < self.len && byte.is_some_and(|byte| byte & mask(piece) != 0)
    }

    /// Adds a piece: whether it is new.
    pub fn add(&mut self, piece: u32) -> bool {
        let new = piece < self.len && !self.has(piece);
        if let (true, Some(byte)) = (new, self.bytes.get_mut((piece / 8) as usize)) {
            *byte |= mask(piece);
            self.count += 1;
        }
        new
    }

    /// Takes a piece out: whether it was in.
    pub fn remove(&mut self, piece: u32) -> bool {
        let old = self.has(piece);
        if let (true, Some(byte)) = (old, self.bytes.get_mut((piece / 8) as usize)) {
            *byte &= !mask(piece);
            self.count -= 1;
        }
        old
    }

    /// The pieces in the set, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.len).filter(|piece| self.has(*piece))
    }
}

const fn spare_bits(len: u32) -> u32 {
    (8 - len % 8) % 8
}

const fn mask(piece: u32) -> u8 {
    0x80 >> (piece % 8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    proptest! {
        #[test]
        fn is_a_set(len in 0_u32..40, acts in proptest::collection::vec((0_u32..48, any::<bool>()), 0..60)) {
            let (mut bits, mut model) = (Bits::none(len), BTreeSet::new());
            for (piece, add) in acts {
                if add {
                    prop_assert_eq!(bits.add(piece), piece < len && model.insert(piece));
                } else {
                    prop_assert_eq!(bits.remove(piece), model.remove(&piece));
                }
            }
            prop_assert!(bits.iter().eq(model.iter().copied()));
            prop_assert_eq!(bits.count() as usize, model.len());
            prop_assert_eq!(Bits::from_wire(bits.as_wire(), len), Some(bits));
        }
    }

    #[test]
    fn all_has_no_spare_bits() {
        for len in 0..20 {
            let all = Bits::all(len);
            assert!(all.is_full() && all.iter().count() == len as usize);
            assert_eq!(Bits::from_wire(all.as_wire(), len), Some(all));
        }
    }

    #[test]
    fn refuses_wrong_lengths_and_spare_bits() {
        assert_eq!(Bits::from_wire(&[0xFF], 7), None);
        assert_eq!(Bits::from_wire(&[0xFE, 0], 7), None);
        assert_eq!(Bits::from_wire(&[], 1), None);
        assert!(Bits::from_wire(&[0xFE], 7).is_some());
        assert!(Bits::from_wire(&[0xFF], 8).is_some());
    }
}
