//! Tuples: encoding a source block, and decoding it again.
//!
//! `O = S xor R1 xor .. xor R(t-1)`, tuple `[O, R1, .., R(t-1)]`. The order matters to nobody who
//! decodes; it is fixed so that the descriptor is reproducible and recyclers can tell off blocks
//! from randomizers (js-offs writes the same order).
//!
//! Refused: a randomizer twice in a tuple, and randomizers that cancel each other, because then
//! `O = S` and the plaintext itself would be stored. js-offs does that when R1 = R2.

use crate::id::BlockId;
use crate::limits::{DEFAULT_TUPLE, MAX_TUPLE, MIN_TUPLE};

use super::block::{Block, BlockSize, SourceBlock};

/// Blocks of a tuple, off block included: 2 to 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TupleSize(u8);

/// A number that no tuple has blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tuple has {MIN_TUPLE} to {MAX_TUPLE} blocks, not {0}")]
pub struct WrongTupleSize(pub u64);

impl TupleSize {
    /// Checks the bounds.
    pub fn new(blocks: u64) -> Result<Self, WrongTupleSize> {
        u8::try_from(blocks)
            .ok()
            .filter(|&blocks| (MIN_TUPLE..=MAX_TUPLE).contains(&usize::from(blocks)))
            .map(Self)
            .ok_or(WrongTupleSize(blocks))
    }

    /// Ids in a tuple.
    #[must_use]
    pub const fn ids(self) -> u64 {
        self.0 as u64
    }

    /// Randomizers of a tuple: one less.
    #[must_use]
    pub const fn randomizers(self) -> usize {
        self.0 as usize - 1
    }
}

impl Default for TupleSize {
    fn default() -> Self {
        const { assert!(DEFAULT_TUPLE == 3) };
        Self(3)
    }
}

impl std::fmt::Display for TupleSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for TupleSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let blocks: u64 = text.parse().map_err(|error| format!("not a number: {error}"))?;
        Self::new(blocks).map_err(|error| error.to_string())
    }
}

/// The ids of the blocks whose XOR is one source block: the off block, then the randomizers.
/// They are distinct and 2 to 8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tuple(Vec<BlockId>);

/// Why ids do not make a tuple, or blocks do not hide a source block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TupleError {
    /// Too few or too many.
    #[error(transparent)]
    Size(#[from] WrongTupleSize),
    /// The same block twice.
    #[error("block {0} occurs twice in a tuple")]
    Repeated(BlockId),
    /// A block of another size than the rest.
    #[error("block {id} has {found} bytes among blocks of {expected}")]
    BlockSize {
        /// The odd one.
        id: BlockId,
        /// Its bytes.
        found: usize,
        /// Bytes of the others.
        expected: usize,
    },
    /// The randomizers XOR to nothing, so they would hide nothing.
    #[error("the randomizers cancel each other: the source block would be stored as it is")]
    Transparent,
}

impl Tuple {
    /// Takes ids in tuple order.
    pub fn new(ids: Vec<BlockId>) -> Result<Self, TupleError> {
        TupleSize::new(ids.len() as u64)?;
        match repeated(&ids.iter().copied()) {
            Some(id) => Err(TupleError::Repeated(id)),
            None => Ok(Self(ids)),
        }
    }

    /// The ids in tuple order: off block first.
    #[must_use]
    pub fn ids(&self) -> &[BlockId] {
        &self.0
    }
}

/// Hides `source` behind `randomizers`: the off block to store, and the tuple to remember.
pub fn encode(source: SourceBlock, randomizers: &[Block]) -> Result<(Block, Tuple), TupleError> {
    TupleSize::new(randomizers.len() as u64 + 1)?;
    if let Some(id) = repeated(&randomizers.iter().map(Block::id)) {
        return Err(TupleError::Repeated(id));
    }
    let size = source.size();
    check_sizes(randomizers, size)?;
    if cancel_each_other(randomizers, size) {
        return Err(TupleError::Transparent);
    }
    let mut contents = source.into_contents();
    for randomizer in randomizers {
        xor_into(&mut contents, randomizer.contents());
    }
    let off = Block::noise(contents.into(), size);
    let ids = std::iter::once(off.id()).chain(randomizers.iter().map(Block::id)).collect();
    Ok((off, Tuple::new(ids)?))
}

/// Whether `randomizers` hide `source`, so that [`encode`] makes a tuple of them: they are distinct,
/// do not cancel each other, and the off block is none of them. Only a plain stream can meet some that
/// do not, because the store may have blocks that were made of the same stream.
#[must_use]
pub fn hides(randomizers: &[Block], source: &SourceBlock) -> bool {
    let is_off_block = |one: &Block| {
        let others = randomizers.iter().filter(|other| other.id() != one.id());
        let byte_of_sum = |(at, byte): (usize, &u8)| {
            others.clone().filter_map(|b| b.contents().get(at)).fold(*byte, |sum, byte| sum ^ byte)
        };
        source.contents().iter().enumerate().map(byte_of_sum).all(|byte| byte == 0)
    };
    repeated(&randomizers.iter().map(Block::id)).is_none()
        && !cancel_each_other(randomizers, source.size())
        && !randomizers.iter().any(is_off_block)
}

/// Gives the source block back that `blocks` hide, in any order. All have one size.
pub fn decode(blocks: &[Block]) -> Result<SourceBlock, TupleError> {
    TupleSize::new(blocks.len() as u64)?;
    let (first, others) = blocks.split_first().ok_or(WrongTupleSize(0))?;
    check_sizes(others, first.size())?;
    let mut sum = first.contents().to_vec();
    for block in others {
        xor_into(&mut sum, block.contents());
    }
    Ok(SourceBlock::new(sum, first.size()))
}

fn repeated(ids: &(impl Iterator<Item = BlockId> + Clone)) -> Option<BlockId> {
    ids.clone().enumerate().find(|(at, id)| ids.clone().take(*at).any(|x| x == *id)).map(|x| x.1)
}

fn check_sizes(blocks: &[Block], size: BlockSize) -> Result<(), TupleError> {
    blocks.iter().find(|block| block.size() != size).map_or(Ok(()), |odd| {
        let (id, found) = (odd.id(), odd.size().len());
        Err(TupleError::BlockSize { id, found, expected: size.len() })
    })
}

/// Whether the XOR of all is zero everywhere. Of blocks that hide anything, that is known after
/// a byte or two, so their sum need not be computed for it.
fn cancel_each_other(blocks: &[Block], size: BlockSize) -> bool {
    let byte_of_sum =
        |at| blocks.iter().filter_map(|b| b.contents().get(at)).fold(0, |sum, byte| sum ^ byte);
    (0..size.len()).all(|at| byte_of_sum(at) == 0)
}

/// `sum ^= bytes`. The loop is left plain because the compiler makes vector instructions of it.
fn xor_into(sum: &mut [u8], bytes: &[u8]) {
    for (sum, byte) in sum.iter_mut().zip(bytes) {
        *sum ^= byte;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn randomizers(count: usize, size: BlockSize, rng: &mut StdRng) -> Vec<Block> {
        (0..count).map(|_| Block::random(size, rng)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn decode_inverts_encode_in_any_order(
            seed: u64, tuple in MIN_TUPLE..=MAX_TUPLE, filled in 0usize..=1_000, turn in 0usize..8,
        ) {
            let rng = &mut StdRng::seed_from_u64(seed);
            let mut plain = vec![0; filled];
            rand::Rng::fill_bytes(rng, &mut plain);
            let size = BlockSize::LegacyMini;
            let hiding = randomizers(tuple - 1, size, rng);
            let source = SourceBlock::padded(plain.clone(), size, rng);
            let (off, ids) = encode(source, &hiding).unwrap();
            prop_assert_eq!(ids.ids()[0], off.id());
            let mut blocks = hiding;
            blocks.push(off);
            blocks.rotate_left(turn % tuple);
            let decoded = decode(&blocks).unwrap();
            prop_assert_eq!(&decoded.contents()[..filled], &plain[..]);
        }
    }

    /// js-offs hands out the same block twice in one tuple when a recycled list is short, and
    /// then stores the plaintext (JavaScript client v0.1.0, reproduced on the running program).
    #[test]
    fn refuses_to_store_plaintext_behind_equal_randomizers() {
        let rng = &mut StdRng::seed_from_u64(1);
        let one = Block::random(BlockSize::Native, rng);
        let source = SourceBlock::padded(vec![1; 10], BlockSize::Native, rng);
        let error = encode(source, &[one.clone(), one.clone()]).unwrap_err();
        assert_eq!(error, TupleError::Repeated(one.id()));
    }

    #[test]
    fn refuses_distinct_randomizers_that_cancel_each_other() {
        let rng = &mut StdRng::seed_from_u64(2);
        let pair = randomizers(2, BlockSize::LegacyNano, rng);
        let third = decode(&pair).unwrap().into_contents();
        let third = Block::check(BlockId::of(&third), third.into()).unwrap();
        let source = SourceBlock::padded(vec![1; 10], BlockSize::LegacyNano, rng);
        let error = encode(source, &[pair[0].clone(), pair[1].clone(), third]).unwrap_err();
        assert_eq!(error, TupleError::Transparent);
    }

    /// Of three blocks that XOR to the source, two and an off block that is the third are no tuple.
    #[test]
    fn tells_beforehand_what_encode_refuses() {
        let rng = &mut StdRng::seed_from_u64(4);
        let size = BlockSize::LegacyNano;
        let [one, two]: [Block; 2] = randomizers(2, size, rng).try_into().unwrap();
        let source = |contents: &[u8]| SourceBlock::new(contents.to_vec(), size);
        let fine = source(&[9; 136]);
        assert!(hides(&[one.clone(), two.clone()], &fine));
        assert!(!hides(&[one.clone(), one.clone()], &fine));
        for stored in [&one, &two] {
            let source = source(stored.contents());
            assert!(!hides(&[one.clone(), two.clone()], &source));
            let refused = encode(source, &[one.clone(), two.clone()]).unwrap_err();
            assert!(matches!(refused, TupleError::Repeated(_)), "{refused}");
        }
    }

    #[test]
    fn refuses_mixed_sizes_and_bad_counts() {
        let rng = &mut StdRng::seed_from_u64(3);
        let odd =
            [Block::random(BlockSize::LegacyNano, rng), Block::random(BlockSize::LegacyMini, rng)];
        assert!(matches!(decode(&odd), Err(TupleError::BlockSize { found: 1_000, .. })));
        assert!(matches!(decode(&odd[..1]), Err(TupleError::Size(WrongTupleSize(1)))));
        let many = randomizers(8, BlockSize::LegacyNano, rng);
        let source = SourceBlock::padded(vec![], BlockSize::LegacyNano, rng);
        assert!(matches!(encode(source, &many), Err(TupleError::Size(WrongTupleSize(9)))));
    }
}
