//! Where those meet in the DHT who hold the blocks of an OFF URL, or speak our extension at all.
//!
//! All of it are ordinary announces (BEP 5) and items (BEP 44) on nodes that know nothing of OFF.
//! `+` joins bytes, labels are ASCII without an end mark, a descriptor is its 32 bytes (the id of
//! the first descriptor block, which stands in the URL).
//!
//! | what | where |
//! |---|---|
//! | peers: native nodes | infohash SHA-1("offswarm native 1") |
//! | peers: who holds the blocks of an OFF URL | infohash SHA-1("offswarm url 1" + descriptor) |
//! | item: the torrent of an OFF URL | SHA-1(public key + salt), below |
//!
//! The key of the item is the ed25519 key of the seed SHA-256("offswarm item 1" + descriptor). The
//! salt is "off1" and the UTC day in decimal, counted from 1970-01-01 (Unix seconds divided by
//! 86,400), the sequence number is the time in Unix seconds, and the value is
//!
//! ```text
//! d4:btih20:(infohash of the torrent)1:ni(number of its blocks)ee
//! ```
//!
//! Readers skip other keys. `n` is 1 to [`MAX_RECORD_BLOCKS`].
//!
//! **Who may what.** All three places follow from the descriptor by one-way functions. So whoever
//! has the URL can find, read, refresh and replace; a node that keeps the item sees a key, an
//! infohash and a count, and can neither tell the descriptor nor sign; who knows no more than the
//! infohash of the torrent does not find the item. (Who holds the torrent's first piece has the
//! descriptor block and with it its id: to have the blocks is to have the name, as everywhere in
//! OFF.) The infohash in the item is as public as every announced torrent.
//!
//! **What somebody with the URL can do** is to lie: sign a false record, also of sequence number
//! 2^63-1, which no later one can replace. A record is therefore a hint. It is believed only when
//! the first piece of that torrent has the descriptor id as its SHA-256, a false one is skipped, and
//! a lookup gathers all records that nodes give, not only the highest. The harm ends with the day: the
//! next salt is another place, which the liar has to take again. As long as he does so at all of
//! the nodes, the item is lost to its readers, but not the peers announced beside it.
//!
//! **Why two salts are read.** Clocks differ, and publishers move to the new day within
//! [`NEW_DAY_SPREAD`](crate::limits::dht::NEW_DAY_SPREAD) of midnight; until then, and for the two
//! hours of an item's life after it, yesterday's is there. A reader whose clock is ahead by less
//! than a day finds the right day as his yesterday's. One whose clock is behind by more than those
//! two hours may find nothing soon after midnight.

use super::item::{ItemError, ItemSecret, MutableItem, Value};
use crate::bencode::{Dict, put_integer, put_string};
use crate::id::{BlockId, InfoHash, derived_seed};
use crate::limits::dht::MAX_RECORD_BLOCKS;

const SECONDS_PER_DAY: u64 = 86_400;

/// The swarm of those who hold the blocks of an OFF URL, by its descriptor.
#[must_use]
pub fn url_swarm(descriptor: &BlockId) -> InfoHash {
    InfoHash::of(&[b"offswarm url 1", descriptor.as_bytes().as_slice()].concat())
}

/// The key of the item of an OFF URL.
#[must_use]
pub fn item_secret(descriptor: &BlockId) -> ItemSecret {
    ItemSecret::from_seed(derived_seed("offswarm item 1", descriptor))
}

/// The UTC day of a time in Unix seconds.
#[must_use]
pub const fn day(unix: u64) -> u64 {
    unix / SECONDS_PER_DAY
}

/// Seconds from a time in Unix seconds to the next midnight (UTC), 1 to 86,400.
#[must_use]
pub const fn seconds_to_midnight(unix: u64) -> u64 {
    SECONDS_PER_DAY - unix % SECONDS_PER_DAY
}

/// The salt of items of a day, at most 24 bytes.
#[must_use]
pub fn salt(day: u64) -> Vec<u8> {
    format!("off1{day}").into_bytes()
}

/// The salts under which a record is looked for: today's and yesterday's.
#[must_use]
pub fn read_salts(unix: u64) -> [Vec<u8>; 2] {
    let today = day(unix);
    [salt(today), salt(today.saturating_sub(1))]
}

/// What the item of an OFF URL says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Record {
    /// The torrent of its blocks.
    pub infohash: InfoHash,
    /// How many they are, 1 to [`MAX_RECORD_BLOCKS`].
    pub blocks: u64,
}

impl Record {
    /// The value of an item, 31 to 38 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![b'd'];
        put_string(&mut out, "btih");
        put_string(&mut out, self.infohash.as_bytes());
        put_string(&mut out, "n");
        put_integer(&mut out, self.blocks);
        out.push(b'e');
        out
    }

    /// Reads any bytes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let dict = Dict::check(bytes).ok()?;
        let infohash = InfoHash::from_slice(dict.string("btih")?)?;
        let blocks = u64::try_from(dict.integer("n")?).ok()?;
        (1..=MAX_RECORD_BLOCKS).contains(&blocks).then_some(Self { infohash, blocks })
    }
}

/// The item that says a record today. It never fails for a count that fits into 63 bits.
pub fn record_item(
    descriptor: &BlockId,
    record: &Record,
    unix: u64,
) -> Result<MutableItem, ItemError> {
    let value = Value::check(&record.encode())?;
    let seq = i64::try_from(unix).unwrap_or(i64::MAX);
    item_secret(descriptor).sign(&salt(day(unix)), seq, value)
}

/// The record that an item of an OFF URL holds, if it is one of that. The day is not looked at: an
/// item is found at the place that its salt leads to.
#[must_use]
pub fn check_record(descriptor: &BlockId, item: &MutableItem) -> Option<Record> {
    (item.key() == item_secret(descriptor).key()).then_some(())?;
    Record::decode(item.value().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    const UNIX: u64 = 1_700_000_000;

    fn descriptor() -> BlockId {
        BlockId::from_bytes(std::array::from_fn(|at| u8::try_from(at).unwrap()))
    }

    fn record() -> Record {
        let infohash = std::array::from_fn(|at| u8::try_from(100 + at).unwrap());
        Record { infohash: InfoHash::from_bytes(infohash), blocks: 300 }
    }

    /// `d = bytes(range(32))`, `hashlib.sha1(b"offswarm url 1" + d)` and so on, in Python.
    #[test]
    fn places_are_the_same_for_everybody() {
        assert_eq!(InfoHash::native().to_string(), "776a67d6bf07e1231ee02a97232daf2a042e8751");
        assert_eq!(
            url_swarm(&descriptor()).to_string(),
            "af863708e48e2f64bb66b0a1cec82b566d0ca8eb"
        );
        assert_eq!(
            item_secret(&descriptor()).key().to_string(),
            "d68a686b2bea7ee43d56f8ec999ffae28b5175eda0de1ff7a752e0bc536ea8ab"
        );
    }

    /// In Python: `Ed25519PrivateKey.from_private_bytes(sha256(b"offswarm item 1" + d).digest())`
    /// of `cryptography` signs `b"4:salt9:off1196753:seqi1700000000e1:v" + v`, where
    /// `v = b"d4:btih20:" + bytes(range(100, 120)) + b"1:ni300ee"`; the target is
    /// `sha1(public_key + b"off119675")`.
    #[test]
    fn the_item_is_the_same_for_everybody() {
        let item = record_item(&descriptor(), &record(), UNIX).unwrap();
        assert_eq!(item.salt(), b"off119675");
        assert_eq!(item.seq(), 1_700_000_000);
        let infohash: Vec<u8> = (100..120).collect();
        let value = [b"d4:btih20:", &infohash[..], b"1:ni300ee"].concat();
        assert_eq!(item.value().as_bytes(), value);
        assert_eq!(
            HEXLOWER.encode(item.signature()),
            "99f1c7eaf445ec779bb409d6dab7c6dea41c12bf1bb66ce359638d68f9a34ecc\
             91ff5c756ea69ce09efd05fa0fc44439dd5a85e7712cad0a0100f6828647840e"
        );
        assert_eq!(item.target().to_string(), "b2f5d5bc49e16c6eeae93a794c1ad1584f7114c2");
    }

    #[test]
    fn an_item_is_found_on_its_day_and_the_next() {
        let item = record_item(&descriptor(), &record(), UNIX).unwrap();
        let found = |unix: u64| {
            let key = item_secret(&descriptor()).key();
            let mut salts = read_salts(unix).into_iter();
            salts.any(|salt| MutableItem::target_of(&key, &salt) == item.target())
        };
        let midnight = UNIX + seconds_to_midnight(UNIX);
        let days = [midnight - 86_401, midnight - 1, midnight + 86_399, midnight + 86_400];
        assert_eq!(days.map(found), [false, true, true, false]);
        assert_eq!((day(midnight), day(midnight - 1)), (19_676, 19_675));
        assert_eq!((seconds_to_midnight(0), seconds_to_midnight(86_399)), (86_400, 1));
    }

    #[test]
    fn believes_records_under_the_key_of_the_descriptor_only() {
        let item = record_item(&descriptor(), &record(), UNIX).unwrap();
        assert_eq!(check_record(&descriptor(), &item), Some(record()));
        assert_eq!(check_record(&BlockId::of(b"another"), &item), None);
        let other = Value::check(b"5:hello").unwrap();
        let item = item_secret(&descriptor()).sign(b"off1", i64::MAX, other).unwrap();
        assert_eq!(check_record(&descriptor(), &item), None);
    }

    #[test]
    fn counts_are_bounded_and_other_keys_are_skipped() {
        let bytes = |head: &str, len: usize, tail: &str| {
            [head.as_bytes(), &vec![7; len], tail.as_bytes()].concat()
        };
        let count = |head, tail| Record::decode(&bytes(head, 20, tail)).map(|record| record.blocks);
        assert_eq!(count("d4:btih20:", "1:ni33554432ee"), Some(MAX_RECORD_BLOCKS));
        assert_eq!(count("d1:ale4:btih20:", "1:ni1e1:zi0ee"), Some(1));
        assert_eq!(count("d1:ni2e4:btih20:", "e"), Some(2));
        for tail in ["1:ni33554433ee", "1:ni0ee", "1:ni-1ee", "1:n1:1e", "e", "1:ni1e", "1:ni1ee "]
        {
            assert_eq!(count("d4:btih20:", tail), None, "{tail}");
        }
        assert_eq!(Record::decode(&bytes("d4:btih19:", 19, "1:ni1ee")), None);
        assert_eq!(Record::decode(&bytes("l4:btih20:", 20, "1:ni1ee")), None);
    }

    /// Far away times have a salt and a sequence number too.
    #[test]
    fn no_time_is_too_early_or_too_late() {
        assert_eq!(read_salts(0), [b"off10".to_vec(), b"off10".to_vec()]);
        let item = record_item(&descriptor(), &record(), u64::MAX).unwrap();
        assert_eq!((item.seq(), item.salt()), (i64::MAX, &b"off1213503982334601"[..]));
    }

    proptest! {
        #[test]
        fn records_come_back(infohash: [u8; 20], blocks in 1..=MAX_RECORD_BLOCKS) {
            let record = Record { infohash: InfoHash::from_bytes(infohash), blocks };
            prop_assert_eq!(Record::decode(&record.encode()), Some(record));
        }

        #[test]
        fn any_bytes_are_a_record_or_none(
            mut bytes in prop::collection::vec(any::<u8>(), 0..60), at: usize, to: u8
        ) {
            let _ = Record::decode(&bytes);
            bytes = record().encode();
            let len = bytes.len();
            bytes[at % len] = to;
            let _ = Record::decode(&bytes);
        }
    }
}
