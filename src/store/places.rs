//! Places: the numbers under which the index keeps blocks, and what is kept where.
//!
//! | places | what is there | size of the blocks |
//! |---|---|---|
//! | from 0 | slots of our slabs | native |
//! | from 2^50 | slots of packs that are read in place | native, or 128,000 bytes |
//! | from 2^54 | slots of our slabs for js-offs's large blocks | 128,000 bytes |
//! | from 2^60 | the index itself | 1,000 bytes |
//! | from 2^61 | the index itself | 136 bytes |
//!
//! Places of one size have numbers of their own that are taken from the lowest on, so that one of them
//! can be drawn in constant time however few they are. Stores of formats before 3 may have short
//! blocks among the native ones; they stay there.

use std::ops::Range;

use crate::limits::SLOTS_PER_SLAB;
use crate::off::BlockSize;

/// The first slab that is not ours.
pub(super) const FOREIGN_SLAB: u64 = 1 << 40;

/// The first slab of js-offs's large blocks.
const LEGACY_SLAB: u64 = 1 << 44;

const FOREIGN_SLOT: u64 = FOREIGN_SLAB * SLOTS_PER_SLAB;
const LEGACY_SLOT: u64 = LEGACY_SLAB * SLOTS_PER_SLAB;
const MINI_PLACE: u64 = 1 << 60;
const NANO_PLACE: u64 = 1 << 61;

/// Where blocks are that have something in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Region {
    /// Slots of our own slabs.
    Native,
    /// Packs that are read in place.
    Foreign,
    /// Slots of our own slabs, for js-offs's large blocks.
    Legacy,
    /// The index, for blocks of 1,000 bytes.
    Mini,
    /// The index, for blocks of 136 bytes.
    Nano,
}

impl Region {
    /// Where a block of ours goes, if it is not of the size that the slabs are made for.
    pub(super) const fn of_size(size: BlockSize) -> Self {
        match size {
            BlockSize::Native => Self::Native,
            BlockSize::LegacyBlock => Self::Legacy,
            BlockSize::LegacyMini => Self::Mini,
            BlockSize::LegacyNano => Self::Nano,
        }
    }

    /// Where a place is.
    pub(super) const fn of(place: u64) -> Self {
        match place {
            NANO_PLACE.. => Self::Nano,
            MINI_PLACE.. => Self::Mini,
            LEGACY_SLOT.. => Self::Legacy,
            FOREIGN_SLOT.. => Self::Foreign,
            _ => Self::Native,
        }
    }

    /// Its places.
    pub(super) const fn places(self) -> Range<u64> {
        match self {
            Self::Native => 0..FOREIGN_SLOT,
            Self::Foreign => FOREIGN_SLOT..LEGACY_SLOT,
            Self::Legacy => LEGACY_SLOT..MINI_PLACE,
            Self::Mini => MINI_PLACE..NANO_PLACE,
            Self::Nano => NANO_PLACE..u64::MAX,
        }
    }

    /// The size of its blocks, if they are in the index.
    pub(super) const fn in_index(self) -> Option<BlockSize> {
        match self {
            Self::Mini => Some(BlockSize::LegacyMini),
            Self::Nano => Some(BlockSize::LegacyNano),
            Self::Native | Self::Foreign | Self::Legacy => None,
        }
    }
}

/// The name of a slab file of our own.
pub(super) fn slab_name(slab: u64) -> String {
    match slab.checked_sub(LEGACY_SLAB) {
        Some(slab) => format!("{slab:06}.128000.slab"),
        None => format!("{slab:06}.slab"),
    }
}

/// The names of the first slabs, one of which is there if any block of ours is in a slab.
pub(super) fn first_slab_names() -> [String; 2] {
    [slab_name(0), slab_name(LEGACY_SLAB)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_in_one_region() {
        let all = [Region::Native, Region::Foreign, Region::Legacy, Region::Mini, Region::Nano];
        let mut end = 0;
        for region in all {
            let places = region.places();
            assert_eq!(places.start, end);
            assert_eq!((Region::of(places.start), Region::of(places.end - 1)), (region, region));
            end = places.end;
        }
        assert_eq!(end, u64::MAX);
    }
}
