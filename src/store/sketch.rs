//! A sketch of a store for people: what its slots hold, in some hundred cells.
//!
//! A large store has millions of slots, so some of each cell are looked at, evenly spaced, and stand
//! for the others.

use std::ops::Range;

use super::UseCount;

/// A sketch of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sketch {
    /// Equal parts of its slots, in their order. Fewer than were asked for if there are fewer slots.
    pub cells: Vec<SketchCell>,
    /// Blocks held that are pinned.
    pub pinned: u64,
}

/// What the slots of one part hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SketchCell {
    /// Slots that were looked at.
    pub looked: u64,
    /// Those of them that hold a block.
    pub used: u64,
    /// Those whose block is pinned.
    pub pinned: u64,
    /// Those whose block is used by several URLs.
    pub shared: u64,
}

impl SketchCell {
    /// Enters a slot: what its block is worth, if there is one.
    pub(super) fn look(&mut self, block: Option<UseCount>) {
        self.looked += 1;
        if let Some(UseCount { uses, pins }) = block {
            self.used += 1;
            self.pinned += u64::from(pins > 0);
            self.shared += u64::from(uses > 1);
        }
    }
}

/// Which slots to look at for each cell: of `ranges` of slots one after the other, cut into up to
/// `cells` parts, at most `most` of all.
pub(super) fn plan(ranges: &[Range<u64>], cells: usize, most: usize) -> Vec<Vec<u64>> {
    let total: u64 = ranges.iter().map(|range| range.end - range.start).sum();
    let cells = total.min(cells as u64);
    let per_cell = (most as u64).checked_div(cells).unwrap_or_default().max(1);
    let slot = |mut nth: u64| {
        ranges.iter().find_map(|range| match nth.checked_sub(range.end - range.start) {
            None => Some(range.start + nth),
            Some(rest) => {
                nth = rest;
                None
            }
        })
    };
    let share = |part: u64, of: u64, whole: u64| {
        u64::try_from(u128::from(whole) * u128::from(part) / u128::from(of)).unwrap_or(whole)
    };
    let cell = |at: u64| {
        let (start, end) = (share(at, cells, total), share(at + 1, cells, total));
        let looked = per_cell.min(end - start);
        let spaced = (0..looked).map(|nth| start + share(nth, looked, end - start));
        spaced.filter_map(slot).collect()
    };
    (0..cells).map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_at_all_of_a_small_store_once() {
        let looked = plan(&[0..10, 100..103], 4, 1_000);
        assert_eq!(looked.len(), 4);
        let all: Vec<u64> = looked.concat();
        assert_eq!(all, (0..10).chain(100..103).collect::<Vec<u64>>());
    }

    #[test]
    fn looks_at_some_of_a_large_store_in_all_its_parts() {
        let looked = plan(&[0..1 << 40, 1 << 50..1 << 51], 256, 20_000);
        assert_eq!(looked.len(), 256);
        assert!(looked.concat().len() <= 20_000);
        assert!(looked.iter().all(|cell| cell.len() == 20_000 / 256));
        assert!(looked.concat().is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn an_empty_store_has_no_cells() {
        assert_eq!(plan(&[], 256, 100), Vec::<Vec<u64>>::new());
        assert_eq!(plan(&[0..0, 5..6], 256, 100), [[5]]);
    }
}
