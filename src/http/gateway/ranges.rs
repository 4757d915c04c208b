//! The `Range` header (RFC 9110, section 14): which bytes of how many.

use std::ops::Range;

use crate::limits::http::MAX_RANGES;

/// What of a file is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it: no ranges were asked for, or nothing that could be understood.
    Whole,
    /// These, in this order; none is empty, and together they are no more than the file.
    Ranges(Vec<Range<u64>>),
    /// None of the ranges is in the file, or they are too many.
    Nothing,
}

/// What the value of a `Range` header wants of a file of `length` bytes.
pub(super) fn wanted(value: &str, length: u64) -> Wanted {
    let Some((unit, set)) = value.split_once('=') else { return Wanted::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    let specs = set.split(',').map(|spec| spec.trim_matches([' ', '\t']));
    let specs: Option<Vec<Spec>> = specs.filter(|spec| !spec.is_empty()).map(Spec::parse).collect();
    let Some(specs) = specs.filter(|specs| !specs.is_empty()) else { return Wanted::Whole };
    let ranges: Vec<_> = specs.iter().filter_map(|spec| spec.within(length)).collect();
    let total =
        ranges.iter().try_fold(0_u64, |sum, range| sum.checked_add(range.end - range.start));
    let is_fair = ranges.len() <= MAX_RANGES && total.is_some_and(|total| total <= length);
    if ranges.is_empty() || !is_fair { Wanted::Nothing } else { Wanted::Ranges(ranges) }
}

#[derive(Debug, Clone, Copy)]
enum Spec {
    /// From a byte to a byte, or to the end.
    From(u64, Option<u64>),
    /// The last ones.
    Last(u64),
}

impl Spec {
    fn parse(text: &str) -> Option<Self> {
        match text.split_once('-')? {
            ("", last) => Some(Self::Last(number(last)?)),
            (first, "") => Some(Self::From(number(first)?, None)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::From(first, Some(last)))
            }
        }
    }

    /// `None` if nothing of it is in the file.
    fn within(self, length: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::From(first, last) => {
                first..last.map_or(length, |last| last.saturating_add(1).min(length))
            }
            Self::Last(bytes) => length.saturating_sub(bytes)..length,
        };
        Some(range).filter(|range| !range.is_empty())
    }
}

/// Digits; what no file can have is as good as the largest number.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ranges(list: &[(u64, u64)]) -> Wanted {
        Wanted::Ranges(list.iter().map(|(start, end)| *start..*end).collect())
    }

    #[test]
    fn reads_what_rfc_9110_says() {
        for (value, expected) in [
            ("bytes=0-499", ranges(&[(0, 500)])),
            ("bytes=500-999", ranges(&[(500, 1000)])),
            ("bytes=-500", ranges(&[(9500, 10000)])),
            ("bytes=9500-", ranges(&[(9500, 10000)])),
            ("bytes=0-0,-1", ranges(&[(0, 1), (9999, 10000)])),
            ("bytes= 0-0 ,\t5-6", ranges(&[(0, 1), (5, 7)])),
            ("Bytes=0-0", ranges(&[(0, 1)])),
            ("bytes=,0-0,,", ranges(&[(0, 1)])),
            ("bytes=5-6,0-1", ranges(&[(5, 7), (0, 2)])),
            ("bytes=0-99999", ranges(&[(0, 10000)])),
            ("bytes=-99999", ranges(&[(0, 10000)])),
            ("bytes=9999-10000", ranges(&[(9999, 10000)])),
            ("bytes=0-9223372036854775808", ranges(&[(0, 10000)])),
            ("bytes=0-99999999999999999999999", ranges(&[(0, 10000)])),
            ("bytes=-99999999999999999999999", ranges(&[(0, 10000)])),
            ("bytes=0-0,10000-", ranges(&[(0, 1)])),
            // Not in the file.
            ("bytes=10000-", Wanted::Nothing),
            ("bytes=99999999999999999999999-", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=10000-10001,-0", Wanted::Nothing),
            // More than the file.
            ("bytes=0-,0-", Wanted::Nothing),
            ("bytes=0-9999,5-5", Wanted::Nothing),
            // Not understood.
            ("bytes=", Wanted::Whole),
            ("bytes=,", Wanted::Whole),
            ("bytes", Wanted::Whole),
            ("", Wanted::Whole),
            ("items=0-1", Wanted::Whole),
            ("bytes=1-0", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=--1", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes=0-1,x", Wanted::Whole),
            ("bytes=0 - 1", Wanted::Whole),
        ] {
            assert_eq!(wanted(value, 10_000), expected, "{value}");
        }
    }

    #[test]
    fn an_empty_file_has_no_ranges() {
        for value in ["bytes=0-", "bytes=-1", "bytes=0-0"] {
            assert_eq!(wanted(value, 0), Wanted::Nothing, "{value}");
        }
    }

    #[test]
    fn as_many_ranges_as_the_limit_are_answered() {
        let many = |count: usize| {
            let specs: Vec<_> = (0..count).map(|at| format!("{at}-{at}")).collect();
            wanted(&format!("bytes={}", specs.join(",")), 100_000)
        };
        assert!(matches!(many(MAX_RANGES), Wanted::Ranges(ranges) if ranges.len() == MAX_RANGES));
        assert_eq!(many(MAX_RANGES + 1), Wanted::Nothing);
        assert_eq!(many(10_000), Wanted::Nothing);
    }

    proptest! {
        #[test]
        fn never_leaves_the_file(value in "(bytes=)?[-0-9, ]{0,60}", length in 0_u64..2000) {
            if let Wanted::Ranges(ranges) = wanted(&value, length) {
                prop_assert!(ranges.iter().all(|range| range.start < range.end && range.end <= length));
                prop_assert!(ranges.iter().map(|range| range.end - range.start).sum::<u64>() <= length);
            }
        }
    }
}
