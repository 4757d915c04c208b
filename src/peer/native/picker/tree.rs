//! A set of small numbers that finds its next member at once.

/// Numbers below 2^30: far more blocks than memory holds.
const LEVELS: usize = 5;

/// A set of numbers: bits, and above each word of bits one that tells whether the word has any.
/// Every operation takes at most five steps; a number costs 1.02 bits up to the largest.
#[derive(Debug, Default, Clone)]
pub(super) struct Tree {
    levels: [Vec<u64>; LEVELS],
    len: usize,
}

impl Tree {
    /// Members.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn contains(&self, number: u32) -> bool {
        let (word, bit) = place(number as usize);
        self.levels.first().and_then(|level| level.get(word)).is_some_and(|word| word & bit != 0)
    }

    /// Adds a number: whether it was no member.
    pub(super) fn insert(&mut self, number: u32) -> bool {
        if self.contains(number) {
            return false;
        }
        self.len += 1;
        let mut at = number as usize;
        for level in &mut self.levels {
            let (word, bit) = place(at);
            if level.len() <= word {
                level.resize(word + 1, 0);
            }
            if let Some(word) = level.get_mut(word) {
                *word |= bit;
            }
            at = word;
        }
        true
    }

    /// Takes a number out: whether it was a member.
    pub(super) fn remove(&mut self, number: u32) -> bool {
        if !self.contains(number) {
            return false;
        }
        self.len -= 1;
        let mut at = number as usize;
        for level in &mut self.levels {
            let (word, bit) = place(at);
            let Some(bits) = level.get_mut(word) else { break };
            *bits &= !bit;
            if *bits != 0 {
                break;
            }
            at = word;
        }
        true
    }

    /// The least member from a number on.
    pub(super) fn first_from(&self, number: u32) -> Option<u32> {
        let mut at = number as usize;
        for (height, level) in self.levels.iter().enumerate() {
            let word = at / 64;
            // The bits above stand for words above, all of which are in reach.
            let bits = level.get(word)? & (u64::MAX << (at % 64));
            if bits != 0 {
                return self.descend(height, word * 64 + bits.trailing_zeros() as usize);
            }
            at = word + 1;
        }
        None
    }

    /// Members in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.iter_from(0)
    }

    /// Members from a number on, in order.
    pub(super) fn iter_from(&self, number: u32) -> impl Iterator<Item = u32> + '_ {
        std::iter::successors(self.first_from(number), |last| self.first_from(last + 1))
    }

    /// The least member below a bit that is set at some height.
    fn descend(&self, height: usize, mut at: usize) -> Option<u32> {
        for level in self.levels.iter().take(height).rev() {
            at = at * 64 + level.get(at)?.trailing_zeros() as usize;
        }
        u32::try_from(at).ok()
    }
}

impl FromIterator<u32> for Tree {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        let mut tree = Self::default();
        for number in numbers {
            tree.insert(number);
        }
        tree
    }
}

/// The word of a bit, and the bit in it.
const fn place(at: usize) -> (usize, u64) {
    (at / 64, 1 << (at % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_a_set(steps in prop::collection::vec((any::<bool>(), 0u32..20_000), 0..200), from in 0u32..20_000) {
            let (mut tree, mut model) = (Tree::default(), BTreeSet::new());
            for (insert, number) in steps {
                if insert {
                    prop_assert_eq!(tree.insert(number), model.insert(number));
                } else {
                    prop_assert_eq!(tree.remove(number), model.remove(&number));
                }
            }
            prop_assert_eq!(tree.len(), model.len());
            prop_assert!(tree.iter().eq(model.iter().copied()));
            prop_assert!(tree.iter_from(from).eq(model.range(from..).copied()));
        }
    }
}
