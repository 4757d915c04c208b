//! The shards of a store as mutable DHT items (BEP 44), in the manner of BEP 46.
//!
//! Whoever hosts a store publishes which torrents make it up under an ed25519 key, and who knows
//! the key follows the store as it grows. BEP 46 names one torrent so; a store is many, and a list
//! of them is no noise, so it cannot be stored as blocks. It is cut into pages, one item each, all
//! under the same key: page `n` has the salt `off shards <n>`, counted from 0, and the value
//!
//! ```text
//! d1:ni<shards of the whole set>e10:off shards<length>:<20-byte infohashes>e
//! ```
//!
//! A value has at most 1,000 bytes (BEP 44), so a page names up to 48 shards (6 GiB), and all
//! pages but the last name as many. An empty set is one page that names none. A page tells how
//! many there are, and a reader that finds pages disagree on that has met a store that changes; it
//! may use what it has found, and look again for the rest.

use crate::bencode::{BencodeError, Dict};
use crate::id::InfoHash;
use crate::limits::{MAX_SHARDS, MAX_SHARDS_PER_PAGE};

/// Why bytes are not a page of a set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShardPageError {
    /// Not bencode.
    #[error("not a page of shards")]
    Bencode(#[from] BencodeError),
    /// Bencode of another form.
    #[error("not a page of shards: {0}")]
    Form(&'static str),
}

/// The torrents that make up a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShardSet {
    /// Their infohashes, at most 1,048,576.
    pub infohashes: Vec<InfoHash>,
}

/// What one item names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardPage {
    /// Shards of the whole set, at most 1,048,576.
    pub total: usize,
    /// Those on this page, at most 48.
    pub infohashes: Vec<InfoHash>,
}

impl ShardSet {
    /// The items of the set: the salt and the value of each.
    pub fn pages(&self) -> impl Iterator<Item = (String, Vec<u8>)> + '_ {
        let shards = self.infohashes.get(..MAX_SHARDS).unwrap_or(&self.infohashes);
        let pages = ShardPage::count(shards.len());
        (0..pages).map(move |page| {
            let first = page * MAX_SHARDS_PER_PAGE;
            let last = shards.len().min(first + MAX_SHARDS_PER_PAGE);
            let infohashes = shards.get(first..last).unwrap_or_default().to_vec();
            (ShardPage::salt(page), ShardPage { total: shards.len(), infohashes }.encode())
        })
    }
}

impl ShardPage {
    /// How many pages a set of so many shards has.
    #[must_use]
    pub const fn count(shards: usize) -> usize {
        let pages = shards.div_ceil(MAX_SHARDS_PER_PAGE);
        if pages == 0 { 1 } else { pages }
    }

    /// The salt of a page, counted from 0.
    #[must_use]
    pub fn salt(page: usize) -> String {
        format!("off shards {page}")
    }

    /// Writes the value of the item.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let names: Vec<u8> = self.infohashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
        let head = format!("d1:ni{}e10:off shards{}:", self.total, names.len());
        [head.as_bytes(), &names, b"e"].concat()
    }

    /// Reads the value of an item. Keys that are not ours are skipped.
    pub fn decode(value: &[u8]) -> Result<Self, ShardPageError> {
        let page = Dict::check(value)?;
        let form = ShardPageError::Form;
        let total = page.integer("n").and_then(|total| usize::try_from(total).ok());
        let total = total.ok_or(form("it does not tell how many"))?;
        let names = page.string("off shards").ok_or(form("it has no list"))?;
        if total > MAX_SHARDS {
            return Err(form("too many shards"));
        }
        let count = names.len() / InfoHash::LEN;
        if !names.len().is_multiple_of(InfoHash::LEN) || count > MAX_SHARDS_PER_PAGE.min(total) {
            return Err(form("its list has an impossible length"));
        }
        let infohashes = names.chunks(InfoHash::LEN).filter_map(InfoHash::from_slice).collect();
        Ok(Self { total, infohashes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(shards: usize) -> ShardSet {
        let infohashes = (0..shards).map(|n| InfoHash::of(&n.to_le_bytes())).collect();
        ShardSet { infohashes }
    }

    #[test]
    fn pages_give_the_set_back_and_fit_into_an_item() {
        for shards in [0, 1, 47, 48, 49, 96, 1_000, MAX_SHARDS] {
            let (set, mut found, mut count) = (set(shards), Vec::new(), 0);
            for (page, (salt, value)) in set.pages().enumerate() {
                assert!(value.len() <= 1_000 && salt.len() <= 64, "{} {salt}", value.len());
                assert_eq!(salt, format!("off shards {page}"));
                let page = ShardPage::decode(&value).unwrap();
                assert_eq!(page.total, shards);
                found.extend(page.infohashes);
                count += 1;
            }
            assert_eq!((found, count), (set.infohashes, ShardPage::count(shards)));
        }
    }

    #[test]
    fn a_page_looks_as_described() {
        let (salt, value) = set(1).pages().next().unwrap();
        assert_eq!(salt, "off shards 0");
        assert!(value.starts_with(b"d1:ni1e10:off shards20:") && value.ends_with(b"e"));
    }

    #[test]
    fn refuses_what_is_no_page() {
        for bad in [
            "de",
            "le",
            "d1:ni1ee",
            "d1:ni-1e10:off shards0:e",
            "d1:n1:110:off shards0:e",
            "d1:ni1e10:off shardslee",
            "d1:ni1e10:off shards19:aaaaaaaaaaaaaaaaaaae",
            "d1:ni0e10:off shards20:aaaaaaaaaaaaaaaaaaaae",
            "d1:ni1048577e10:off shards0:e",
        ] {
            assert!(ShardPage::decode(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(value in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = ShardPage::decode(&value);
        }
    }
}
