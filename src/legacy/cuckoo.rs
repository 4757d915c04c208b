//! The filter of Random: which blocks somebody has, with some taken for one that it has not.
//!
//! It is a cuckoo filter as the library `cuckoo-filter` 1.1.3 makes it, in CBOR. Items are block ids in
//! their text form (base58, ASCII). There are `cfSize` buckets of `bSize` slots, and a slot holds a
//! fingerprint of `fpSize` bytes or nothing:
//!
//! ```text
//! {bSize, count, cfSize, fpSize, buckets: [null | {contents: [null | {fp: {data: [byte*], type: "Buffer"}}*]}*]}
//!
//! fingerprint(item) = FNV-1a 32 of the item, little-endian, the first fpSize bytes
//! hash(bytes)       = from h = 5381, for each byte:  h = ((h << 5) mod 2^32) + h + byte
//! j = hash(item) mod cfSize      k = int32(j xor hash(fingerprint)) rem cfSize, with the sign of the first
//! ```
//!
//! An item is in bucket j, else in k. A negative k is a place that only whoever made the filter had: it is
//! lost in CBOR, so the item is not found. A filter of `n` items has n + ⌈n/10⌉ buckets of four slots (none:
//! 65,536), and fingerprints of four bytes.
//!
//! Vectors: `tests/vectors/jsoffs/cuckoo`.

use std::collections::{BTreeMap, HashSet};

use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

use crate::id::BlockId;
use crate::limits::legacy::MAX_LEGACY_FILTER_SLOTS;

/// Bytes of a fingerprint that we write; what is read may have fewer.
const FINGERPRINT_LEN: usize = 4;

/// Slots of a bucket that we write.
const BUCKET_SLOTS: usize = 4;

/// Buckets of a filter without items, as js-offs writes it.
const EMPTY_BUCKETS: u64 = 65_536;

/// How deep lists may be within each other in what is skipped: js-offs writes none there.
const MAX_DEPTH: usize = 8;

/// Items that change places for a new one before it is given up.
const MAX_MOVES: u32 = 500;

/// Why bytes are no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// They are not CBOR, or of another form.
    #[error("not a filter: {0}")]
    Form(String),
    /// Lists within lists within lists.
    #[error("the filter has lists more than {MAX_DEPTH} deep")]
    Deep,
    /// A number that must be there is not.
    #[error("the filter has no {0}")]
    Without(&'static str),
    /// Fingerprints longer than anybody can have.
    #[error("the filter has fingerprints of {0} bytes")]
    Fingerprint(u64),
    /// More slots than are read.
    #[error("the filter has more than {MAX_LEGACY_FILTER_SLOTS} full slots")]
    TooLarge,
}

impl From<minicbor::decode::Error> for FilterError {
    fn from(error: minicbor::decode::Error) -> Self {
        Self::Form(error.to_string())
    }
}

/// A filter that somebody has sent. It takes some 16 bytes for each full slot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    buckets: u64,
    fingerprint_len: usize,
    /// Bucket, and a fingerprint in it.
    slots: HashSet<(u32, u32)>,
}

impl Filter {
    /// Reads a filter. Memory is taken for slots that are there, not for those that are declared.
    pub fn decode(bytes: &[u8]) -> Result<Self, FilterError> {
        let mut decoder = Decoder::new(bytes);
        let (mut size, mut fingerprint, mut has_count, mut has_slots) = (None, None, false, false);
        let mut slots = Vec::new();
        each(&mut decoder, Decoder::map, &mut |decoder| {
            match decoder.str()? {
                "cfSize" => size = Some(decoder.u64()?),
                "fpSize" => fingerprint = Some(decoder.u64()?),
                "bSize" => has_slots = decoder.u64().map(|_| true)?,
                "count" => has_count = decoder.u64().map(|_| true)?,
                "buckets" => buckets(decoder, &mut slots)?,
                _ => skip(decoder, MAX_DEPTH)?,
            }
            Ok::<_, FilterError>(())
        })?;
        let buckets = size.ok_or(FilterError::Without("cfSize"))?;
        let fingerprint = fingerprint.ok_or(FilterError::Without("fpSize"))?;
        for (is_there, name) in [(has_slots, "bSize"), (has_count, "count")] {
            if !is_there {
                return Err(FilterError::Without(name));
            }
        }
        let fingerprint_len =
            usize::try_from(fingerprint).ok().filter(|len| (1..=64).contains(len));
        let fingerprint_len = fingerprint_len.ok_or(FilterError::Fingerprint(fingerprint))?;
        let fingerprint_len = fingerprint_len.min(FINGERPRINT_LEN);
        // A shorter fingerprint than all have is nobody's.
        let fitting = slots.into_iter().filter(|(_, len, _)| usize::from(*len) == fingerprint_len);
        let slots = fitting.map(|(bucket, _, fingerprint)| (bucket, fingerprint)).collect();
        Ok(Self { buckets, fingerprint_len, slots })
    }

    /// Whether an item may be in it.
    #[must_use]
    pub fn contains(&self, id: &BlockId) -> bool {
        if self.buckets == 0 || self.slots.is_empty() {
            return false;
        }
        let item = id.to_string();
        let Places { fingerprint, first, second } =
            places(item.as_bytes(), self.buckets, self.fingerprint_len);
        let is_in = |bucket: i64| {
            u32::try_from(bucket).is_ok_and(|bucket| self.slots.contains(&(bucket, fingerprint)))
        };
        is_in(first) || is_in(second)
    }

    /// The filter of some blocks, as js-offs would write it. `rng` chooses who makes room when both
    /// places of a block are full; a block for which there is none after all is left out.
    #[must_use]
    pub fn encode_of(ids: &[BlockId], rng: &mut impl rand::Rng) -> Vec<u8> {
        let count = ids.len() as u64;
        let buckets = if count == 0 { EMPTY_BUCKETS } else { count + count.div_ceil(10) };
        let mut made =
            Making { size: buckets, buckets: Vec::new(), lost: BTreeMap::new(), count: 0 };
        made.buckets.resize(usize::try_from(buckets).unwrap_or(0), None);
        for id in ids {
            made.add(id.to_string().as_bytes(), rng);
        }
        made.encode()
    }

    /// The shortest filter there is: whoever asks has nothing.
    #[must_use]
    pub fn nothing() -> Vec<u8> {
        Making { size: 1, buckets: vec![None], lost: BTreeMap::new(), count: 0 }.encode()
    }
}

/// Acts on every entry of an array or map, whether its length is told or not.
fn each<'b, F: From<minicbor::decode::Error>>(
    decoder: &mut Decoder<'b>,
    begin: impl Fn(&mut Decoder<'b>) -> Result<Option<u64>, minicbor::decode::Error>,
    act: &mut dyn FnMut(&mut Decoder<'b>) -> Result<(), F>,
) -> Result<(), F> {
    let length = begin(decoder)?;
    let mut seen = 0;
    loop {
        match length {
            Some(length) if seen == length => return Ok(()),
            None if decoder.datatype()? == Type::Break => return Ok(decoder.skip()?),
            _ => act(decoder)?,
        }
        seen += 1;
    }
}

/// A bucket, and of what is in one of its slots the length and the number.
type Slot = (u32, u8, u32);

fn buckets(decoder: &mut Decoder<'_>, slots: &mut Vec<Slot>) -> Result<(), FilterError> {
    let mut number: u32 = 0;
    each(decoder, Decoder::array, &mut |decoder| {
        if is_null(decoder)? {
            skip(decoder, MAX_DEPTH)?;
        } else {
            each(decoder, Decoder::map, &mut |decoder| {
                if decoder.str()? == "contents" {
                    return contents(decoder, number, slots);
                }
                skip(decoder, MAX_DEPTH)
            })?;
        }
        number = number.checked_add(1).ok_or(FilterError::TooLarge)?;
        Ok(())
    })
}

fn contents(
    decoder: &mut Decoder<'_>,
    bucket: u32,
    slots: &mut Vec<Slot>,
) -> Result<(), FilterError> {
    each(decoder, Decoder::array, &mut |decoder| {
        if is_null(decoder)? {
            return skip(decoder, MAX_DEPTH);
        }
        each(decoder, Decoder::map, &mut |decoder| match decoder.str()? {
            "fp" => {
                if slots.len() >= MAX_LEGACY_FILTER_SLOTS {
                    return Err(FilterError::TooLarge);
                }
                let (len, fingerprint) = fingerprint(decoder)?;
                slots.push((bucket, len, fingerprint));
                Ok(())
            }
            _ => skip(decoder, MAX_DEPTH),
        })
    })
}

/// The length of a fingerprint and its number; of more bytes than anybody has, those that are too many
/// are left out.
fn fingerprint(decoder: &mut Decoder<'_>) -> Result<(u8, u32), FilterError> {
    let (mut data, mut len) = ([0; FINGERPRINT_LEN], 0_u8);
    each(decoder, Decoder::map, &mut |decoder| match decoder.str()? {
        "data" => each(decoder, Decoder::array, &mut |decoder| {
            let byte = decoder.u8()?;
            if let Some(place) = data.get_mut(usize::from(len)) {
                *place = byte;
            }
            len = len.saturating_add(1);
            Ok::<_, FilterError>(())
        }),
        _ => skip(decoder, MAX_DEPTH),
    })?;
    Ok((len, number(&data)))
}

/// Skips an item. The library's own way takes 16 bytes for every byte of lists within lists.
fn skip(decoder: &mut Decoder<'_>, depth: usize) -> Result<(), FilterError> {
    let within = || depth.checked_sub(1).ok_or(FilterError::Deep);
    match decoder.datatype()? {
        Type::Array | Type::ArrayIndef => {
            let within = within()?;
            each(decoder, Decoder::array, &mut |decoder| skip(decoder, within))
        }
        Type::Map | Type::MapIndef => {
            let within = within()?;
            each(decoder, Decoder::map, &mut |decoder| {
                skip(decoder, within)?;
                skip(decoder, within)
            })
        }
        Type::Tag => {
            decoder.tag()?;
            skip(decoder, within()?)
        }
        Type::Break => Err(FilterError::Form("a list ends that has not begun".into())),
        _ => Ok(decoder.skip()?),
    }
}

fn is_null(decoder: &Decoder<'_>) -> Result<bool, FilterError> {
    Ok(matches!(decoder.datatype()?, Type::Null | Type::Undefined))
}

/// Where an item may be.
struct Places {
    fingerprint: u32,
    first: i64,
    second: i64,
}

fn places(item: &[u8], buckets: u64, fingerprint_len: usize) -> Places {
    let fingerprint = fnv1a(item).to_le_bytes();
    let fingerprint = fingerprint.get(..fingerprint_len).unwrap_or(&fingerprint);
    let first = i64::try_from(hash(item) % buckets).unwrap_or(i64::MAX);
    let second = other_place(first, fingerprint, buckets);
    Places { fingerprint: number(fingerprint), first, second }
}

/// The other place of a fingerprint. JavaScript's `^` is of 32 bits and signed, and its `%` has the
/// sign of the first.
#[expect(clippy::cast_possible_truncation, reason = "as JavaScript does")]
#[expect(clippy::cast_possible_wrap, reason = "as JavaScript does")]
fn other_place(place: i64, fingerprint: &[u8], buckets: u64) -> i64 {
    let mixed = (place as i32) ^ (hash(fingerprint) as u32 as i32);
    i64::from(mixed) % i64::try_from(buckets).unwrap_or(i64::MAX)
}

/// Up to four bytes as a number.
fn number(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn fnv1a(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[expect(clippy::cast_possible_truncation, reason = "as JavaScript does")]
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(5_381, |hash: u64, byte| {
        u64::from((hash as u32) << 5).wrapping_add(hash).wrapping_add(u64::from(*byte))
    })
}

type Bucket = [Option<[u8; FINGERPRINT_LEN]>; BUCKET_SLOTS];

/// A filter that is being made.
struct Making {
    size: u64,
    buckets: Vec<Option<Bucket>>,
    /// Buckets at negative places: they take items and are not written.
    lost: BTreeMap<i64, Bucket>,
    count: u64,
}

impl Making {
    fn add(&mut self, item: &[u8], rng: &mut impl rand::Rng) {
        let Places { fingerprint, first, second } = places(item, self.size, FINGERPRINT_LEN);
        let mut fingerprint = fingerprint.to_le_bytes();
        // js-offs makes both buckets, whichever takes the item.
        let has_room = [first, second].map(|place| self.bucket(place).contains(&None));
        let place = match has_room {
            [true, _] => Some(first),
            [false, true] => Some(second),
            [false, false] => None,
        };
        if let Some(place) = place {
            self.count += u64::from(self.put(place, fingerprint));
            return;
        }
        let mut place = if rng.next_u32() & 1 == 0 { first } else { second };
        for _ in 0..MAX_MOVES {
            let slot = rng.next_u32() as usize % BUCKET_SLOTS;
            if let Some(Some(other)) = self.bucket(place).get_mut(slot) {
                std::mem::swap(other, &mut fingerprint);
            }
            place = other_place(place, &fingerprint, self.size);
            if self.put(place, fingerprint) {
                self.count += 1;
                return;
            }
        }
    }

    fn put(&mut self, place: i64, fingerprint: [u8; FINGERPRINT_LEN]) -> bool {
        let free = self.bucket(place).iter_mut().find(|slot| slot.is_none());
        free.map(|slot| *slot = Some(fingerprint)).is_some()
    }

    fn bucket(&mut self, place: i64) -> &mut Bucket {
        let written = usize::try_from(place).ok().filter(|place| *place < self.buckets.len());
        if let Some(bucket) = written.and_then(|place| self.buckets.get_mut(place)) {
            return bucket.get_or_insert_default();
        }
        self.lost.entry(place).or_default()
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Writing to memory cannot fail.
        let _ = self.write(&mut Encoder::new(&mut bytes));
        bytes
    }

    /// Keys are ordered by length, then by bytes.
    fn write(
        &self,
        encoder: &mut Encoder<&mut Vec<u8>>,
    ) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
        encoder.map(5)?.str("bSize")?.u64(BUCKET_SLOTS as u64)?.str("count")?.u64(self.count)?;
        encoder.str("cfSize")?.u64(self.size)?.str("fpSize")?.u64(FINGERPRINT_LEN as u64)?;
        encoder.str("buckets")?.array(self.buckets.len() as u64)?;
        for bucket in &self.buckets {
            let Some(slots) = bucket else {
                encoder.null()?;
                continue;
            };
            encoder.map(1)?.str("contents")?.array(BUCKET_SLOTS as u64)?;
            for slot in slots {
                let Some(fingerprint) = slot else {
                    encoder.null()?;
                    continue;
                };
                encoder.map(1)?.str("fp")?.map(2)?.str("data")?.array(FINGERPRINT_LEN as u64)?;
                for byte in fingerprint {
                    encoder.u8(*byte)?;
                }
                encoder.str("type")?.str("Buffer")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn ids(count: u32) -> Vec<BlockId> {
        (0..count).map(|n| BlockId::of(&n.to_le_bytes())).collect()
    }

    #[test]
    fn a_filter_has_what_was_put_in_it_and_hardly_anything_else() {
        let (all, mut rng) = (ids(3_000), StdRng::seed_from_u64(1));
        let (inside, outside) = all.split_at(2_000);
        let filter = Filter::decode(&Filter::encode_of(inside, &mut rng)).unwrap();
        let found = inside.iter().filter(|id| filter.contains(id)).count();
        // Places of which one is negative are lost, as in js-offs.
        assert!(found > 1_500, "{found}");
        assert!(outside.iter().all(|id| !filter.contains(id)));
    }

    #[test]
    fn a_filter_of_nothing_has_nothing() {
        let mut rng = StdRng::seed_from_u64(2);
        for bytes in [Filter::nothing(), Filter::encode_of(&[], &mut rng)] {
            let filter = Filter::decode(&bytes).unwrap();
            assert!(ids(100).iter().all(|id| !filter.contains(id)));
        }
        assert_eq!(Filter::encode_of(&[], &mut rng).len(), 65_584);
    }

    #[test]
    fn refuses_what_js_offs_would_not_read() {
        let whole = Filter::encode_of(&ids(10), &mut StdRng::seed_from_u64(3));
        for cut in 0..whole.len() {
            assert!(Filter::decode(&whole[..cut]).is_err(), "{cut}");
        }
        let without = |name: &str| {
            let mut bytes = whole.clone();
            let at = bytes.windows(name.len()).position(|part| part == name.as_bytes()).unwrap();
            bytes[at] = b'x';
            Filter::decode(&bytes)
        };
        for name in ["bSize", "count", "cfSize", "fpSize"] {
            assert_eq!(without(name).unwrap_err().to_string(), format!("the filter has no {name}"));
        }
        assert!(without("buckets").is_ok(), "it has nothing");
        assert!(Filter::decode(b"").is_err());
        assert!(Filter::decode(b"\x80").is_err());
    }

    #[test]
    fn a_filter_with_impossible_sizes_harms_nobody() {
        let filter = |size: u64, fingerprint: u64| {
            let mut bytes = Vec::new();
            let mut encoder = Encoder::new(&mut bytes);
            encoder.map(5).unwrap().str("bSize").unwrap().u8(4).unwrap().str("count").unwrap();
            encoder.u8(1).unwrap().str("cfSize").unwrap().u64(size).unwrap().str("fpSize").unwrap();
            encoder.u64(fingerprint).unwrap().str("buckets").unwrap().array(1).unwrap();
            encoder.map(1).unwrap().str("contents").unwrap().array(1).unwrap().map(1).unwrap();
            encoder.str("fp").unwrap().map(1).unwrap().str("data").unwrap().array(1).unwrap();
            encoder.u8(7).unwrap();
            Filter::decode(&bytes)
        };
        for size in [0, 1, u64::MAX] {
            let filter = filter(size, 1).unwrap();
            assert!(ids(100).iter().filter(|id| filter.contains(id)).count() <= 1);
        }
        assert_eq!(filter(1, 0).unwrap_err(), FilterError::Fingerprint(0));
        assert_eq!(filter(1, 65).unwrap_err(), FilterError::Fingerprint(65));
    }

    /// Eight MiB of them took 128 MiB to skip, once more for each request under way.
    #[test]
    fn lists_within_lists_are_not_followed() {
        let with = |more: &[u8]| {
            let mut bytes = Filter::nothing();
            assert_eq!(bytes[0], 0xa5);
            bytes[0] = 0xa6;
            bytes.extend([0x61, b'x']);
            bytes.extend(more);
            Filter::decode(&bytes)
        };
        assert_eq!(with(&[0x9f].repeat(1_000_000)), Err(FilterError::Deep));
        assert_eq!(with(&[0x82, 0x9f, 0xff].repeat(10)), Err(FilterError::Deep));
        assert_eq!(with(&[0xc1].repeat(1_000_000)), Err(FilterError::Deep));
        assert!(with(&[0xff]).is_err());
        let harmless = [0x83, 0x9f, 0x01, 0xff, 0xa1, 0x01, 0x02, 0x5f, 0x41, 0x07, 0xff];
        assert!(with(&harmless).is_ok());
    }

    #[test]
    fn takes_no_memory_for_what_is_only_declared() {
        // An array of 2^60 buckets, and no bucket.
        let mut bytes = Filter::nothing();
        let at = bytes.len() - 2;
        assert_eq!(bytes.split_off(at), [0x81, 0xf6]);
        bytes.extend([0x9b, 0x10, 0, 0, 0, 0, 0, 0, 0]);
        assert!(Filter::decode(&bytes).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_give_a_filter_or_an_error(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
            let _ = Filter::decode(&bytes);
        }
    }
}
