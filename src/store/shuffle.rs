//! Numbers in a random order, each once, in constant memory.

/// The numbers `0..end` in a random order, each once, in constant memory: a Feistel network of
/// four rounds is a permutation of the next larger power of four, and what falls outside of the
/// range is walked on until it falls inside (Black and Rogaway 2002, "cycle walking").
#[derive(Debug)]
pub(super) struct Shuffled {
    end: u64,
    next: u64,
    half_bits: u32,
    keys: [u64; 4],
}

impl Shuffled {
    pub(super) fn new(end: u64, seed: u64) -> Self {
        let bits = u64::BITS - end.saturating_sub(1).leading_zeros();
        let keys = [1, 2, 3, 4].map(|round| mixed(seed ^ mixed(round)));
        Self { end, next: 0, half_bits: bits.div_ceil(2).max(1), keys }
    }

    fn permuted(&self, number: u64) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let (mut left, mut right) = (number >> self.half_bits, number & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (mixed(right ^ key) & mask));
        }
        left << self.half_bits | right
    }
}

impl Iterator for Shuffled {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        if self.next >= self.end {
            return None;
        }
        let mut number = self.permuted(self.next);
        while number >= self.end {
            number = self.permuted(number);
        }
        self.next += 1;
        Some(number)
    }
}

/// The finaliser of `SplitMix64` (Steele, Lea, Flood 2014).
const fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffles_every_range_into_a_permutation() {
        for end in [0, 1, 2, 3, 5, 64, 65, 1_000] {
            let mut order: Vec<u64> = Shuffled::new(end, 7).collect();
            assert_ne!(order, Shuffled::new(end.max(64), 8).collect::<Vec<_>>());
            order.sort_unstable();
            assert_eq!(order, (0..end).collect::<Vec<_>>());
        }
    }

    #[test]
    fn draws_spread_evenly() {
        let mut firsts = [0_u32; 10];
        for seed in 0..10_000 {
            firsts[Shuffled::new(10, seed).next().unwrap() as usize] += 1;
        }
        assert!(firsts.iter().all(|&n| (800..1_200).contains(&n)), "{firsts:?}");
    }
}
