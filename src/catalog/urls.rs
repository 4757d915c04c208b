//! The OFF URLs that are known here.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::SystemTime;

use redb::{ReadableTable, ReadableTableMetadata};
use serde::{Deserialize, Serialize};

use crate::id::InfoHash;
use crate::off::OffUrl;

use super::{Catalog, CatalogError, INFO, STANDINGS, TORRENTS, URLS};

/// How an OFF URL came here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Its stream was put here.
    Put,
    /// Its stream was got from somewhere.
    Got,
}

/// What is remembered about an OFF URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UrlRecord {
    /// When it was first seen, in seconds since 1970.
    pub added: u64,
    /// How it came here.
    pub origin: Origin,
    /// Its swarm, once it was published or joined.
    pub infohash: Option<InfoHash>,
    /// Whether its blocks are exempt from eviction.
    #[serde(default)]
    pub pinned: bool,
    /// What handshakes call its torrents of version 2 and hybrids, once there are any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub twins: Vec<InfoHash>,
}

/// Some of the OFF URLs that are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlPage {
    /// Their texts, and what is remembered about each.
    pub urls: Vec<(String, UrlRecord)>,
    /// Whether there are more behind them.
    pub more: bool,
    /// How many there are in all.
    pub total: u64,
}

impl Catalog {
    /// Remembers an OFF URL; what is known about it already stays.
    pub fn add(&self, url: &OffUrl, origin: Origin) -> Result<(), CatalogError> {
        if self.url(url)?.is_some() {
            return Ok(());
        }
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let added = since_1970.map_or(0, |duration| duration.as_secs());
        let record = UrlRecord { added, origin, infohash: None, pinned: false, twins: Vec::new() };
        self.set_url(url, &record)
    }

    /// What is remembered about an OFF URL.
    pub fn url(&self, url: &OffUrl) -> Result<Option<UrlRecord>, CatalogError> {
        let key = key(url);
        let found = self.read(|transaction| {
            Ok(transaction.open_table(URLS)?.get(key.as_str())?.map(|v| v.value().to_vec()))
        })?;
        found.map(|bytes| self.parsed(key.as_bytes(), &bytes)).transpose()
    }

    /// Pins or unpins an OFF URL that is known.
    pub fn set_pinned(&self, url: &OffUrl, pinned: bool) -> Result<(), CatalogError> {
        match self.url(url)? {
            Some(known) => self.set_url(url, &UrlRecord { pinned, ..known }),
            None => Ok(()),
        }
    }

    /// Forgets an OFF URL and its torrents.
    pub fn remove(&self, url: &OffUrl) -> Result<(), CatalogError> {
        let known = self.url(url)?;
        let torrents: Vec<InfoHash> =
            known.into_iter().flat_map(|url| url.twins.into_iter().chain(url.infohash)).collect();
        let key = key(url);
        self.write("prune", |transaction| {
            transaction.open_table(URLS)?.remove(key.as_str())?;
            for infohash in torrents {
                transaction.open_table(TORRENTS)?.remove(infohash.as_bytes())?;
                transaction.open_table(INFO)?.remove(infohash.as_bytes())?;
                transaction.open_table(STANDINGS)?.remove(infohash.as_bytes())?;
            }
            Ok(())
        })
    }

    /// All OFF URLs, in the order of their texts.
    pub fn urls(&self) -> Result<Vec<(String, UrlRecord)>, CatalogError> {
        let found = self.read(|transaction| {
            let mut list = Vec::new();
            for entry in transaction.open_table(URLS)?.iter()? {
                let (key, value) = entry?;
                list.push((key.value().to_owned(), value.value().to_vec()));
            }
            Ok(list)
        })?;
        let checked = |(key, bytes): (String, Vec<u8>)| {
            let record = self.parsed(key.as_bytes(), &bytes)?;
            Ok((key, record))
        };
        found.into_iter().map(checked).collect()
    }

    /// Up to `most` OFF URLs in the order of their texts, those behind `after`. With `wanted`, which
    /// is asked of their texts, only those; then it looks at the texts of all.
    pub fn urls_from(
        &self,
        after: Option<&str>,
        most: usize,
        wanted: Option<&dyn Fn(&str) -> bool>,
    ) -> Result<UrlPage, CatalogError> {
        let (found, more, total) = self.read(|transaction| {
            let table = transaction.open_table(URLS)?;
            let is_wanted = |text: &str| wanted.is_none_or(|wanted| wanted(text));
            let first = after.map_or(Bound::Unbounded, Bound::Excluded);
            let (mut list, mut more) = (Vec::new(), false);
            for entry in table.range::<&str>((first, Bound::Unbounded))? {
                let (key, value) = entry?;
                if !is_wanted(key.value()) {
                    continue;
                }
                if list.len() >= most {
                    more = true;
                    break;
                }
                list.push((key.value().to_owned(), value.value().to_vec()));
            }
            if wanted.is_none() {
                return Ok((list, more, table.len()?));
            }
            let mut total = 0;
            for entry in table.iter()? {
                total += u64::from(is_wanted(entry?.0.value()));
            }
            Ok((list, more, total))
        })?;
        let urls = found.into_iter().map(|(key, bytes)| {
            let record = self.parsed(key.as_bytes(), &bytes)?;
            Ok((key, record))
        });
        Ok(UrlPage { urls: urls.collect::<Result<_, CatalogError>>()?, more, total })
    }

    /// Up to `most` OFF URLs, the latest first, those behind `after`: when it was added, and its
    /// text. It looks at all records, and keeps no more than are asked for.
    pub fn latest_urls(
        &self,
        after: Option<(u64, &str)>,
        most: usize,
        wanted: Option<&dyn Fn(&str) -> bool>,
    ) -> Result<UrlPage, CatalogError> {
        let (latest, total) = self.read(|transaction| {
            let after = after.map(|(added, text)| (Reverse(added), text));
            let (mut latest, mut total) = (BTreeMap::new(), 0);
            for entry in transaction.open_table(URLS)?.iter()? {
                let (key, value) = entry?;
                let text = key.value();
                if !wanted.is_none_or(|wanted| wanted(text)) {
                    continue;
                }
                total += 1;
                let place = (Reverse(added(value.value())), text);
                let last = latest.last_key_value();
                let is_late = latest.len() > most
                    && last.is_some_and(|((when, text), _): (&(_, String), _)| {
                        (*when, text.as_str()) < place
                    });
                if is_late || after.is_some_and(|after| place <= after) {
                    continue;
                }
                latest.insert((place.0, text.to_owned()), value.value().to_vec());
                if latest.len() > most + 1 {
                    latest.pop_last();
                }
            }
            Ok((latest, total))
        })?;
        let more = latest.len() > most;
        let urls = latest.into_iter().take(most).map(|((_, key), bytes)| {
            let record = self.parsed(key.as_bytes(), &bytes)?;
            Ok((key, record))
        });
        Ok(UrlPage { urls: urls.collect::<Result<_, CatalogError>>()?, more, total })
    }

    /// How many OFF URLs are known.
    pub fn url_count(&self) -> Result<u64, CatalogError> {
        self.read(|transaction| Ok(transaction.open_table(URLS)?.len()?))
    }

    pub(super) fn set_url(&self, url: &OffUrl, record: &UrlRecord) -> Result<(), CatalogError> {
        let key = key(url);
        let value = self.encoded(key.as_bytes(), record)?;
        self.write("extend", |transaction| {
            transaction.open_table(URLS)?.insert(key.as_str(), value.as_slice())?;
            Ok(())
        })
    }
}

/// The text under which an OFF URL stands in the catalog.
pub(super) fn key(url: &OffUrl) -> String {
    url.canonical().to_string()
}

/// When a URL was added, by its record as it is stored; 0 if that cannot be read.
fn added(value: &[u8]) -> u64 {
    #[derive(Deserialize)]
    struct Added {
        added: u64,
    }
    let json = value.split_last_chunk::<8>().map_or(value, |(json, _)| json);
    serde_json::from_slice::<Added>(json).map_or(0, |record| record.added)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{BlockId, FileId};
    use crate::off::url::Named;
    use crate::off::{Seal, TupleSize};

    fn url(name: &str) -> OffUrl {
        let named = Named {
            length: 5,
            file: FileId::of_nothing(),
            descriptor: Some(BlockId::of(name.as_bytes())),
            tuple: TupleSize::default(),
            seal: Seal::Plain,
        };
        OffUrl::new(named, "text/plain", name).unwrap()
    }

    fn names(page: &UrlPage) -> Vec<String> {
        let name = |text: &str| OffUrl::parse(text).unwrap().name().to_owned();
        page.urls.iter().map(|(text, _)| name(text)).collect()
    }

    #[test]
    fn urls_are_paged_by_text_and_by_age() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&folder.path().join("catalog.redb")).unwrap();
        let record = |added| UrlRecord {
            added,
            origin: Origin::Put,
            infohash: None,
            pinned: false,
            twins: Vec::new(),
        };
        for (name, added) in [("a", 3), ("b", 9), ("c", 3), ("d", 7), ("e", 1)] {
            catalog.set_url(&url(name), &record(added)).unwrap();
        }
        let mut by_text = catalog.urls().unwrap();
        let wanted = |text: &str| !text.ends_with("/e");
        let (mut after, mut seen): (Option<String>, Vec<_>) = (None, Vec::new());
        loop {
            let page = catalog.urls_from(after.as_deref(), 2, None).unwrap();
            assert_eq!((page.total, page.urls.len() <= 2), (5, true));
            after = page.urls.last().map(|(text, _)| text.clone());
            seen.extend(page.urls);
            if !page.more {
                break;
            }
        }
        assert_eq!(seen, by_text);
        by_text.retain(|(text, _)| wanted(text));
        let page = catalog.urls_from(None, 9, Some(&wanted)).unwrap();
        assert_eq!((page.urls, page.more, page.total), (by_text, false, 4));

        let all = catalog.latest_urls(None, 9, None).unwrap();
        let ages: Vec<u64> = all.urls.iter().map(|(_, record)| record.added).collect();
        assert_eq!((ages, all.more, all.total), (vec![9, 7, 3, 3, 1], false, 5));
        let (mut after, mut seen): (Option<(u64, String)>, Vec<_>) = (None, Vec::new());
        loop {
            let place = after.as_ref().map(|(added, text)| (*added, text.as_str()));
            let page = catalog.latest_urls(place, 2, None).unwrap();
            after = page.urls.last().map(|(text, record)| (record.added, text.clone()));
            seen.extend(names(&page));
            if !page.more {
                break;
            }
        }
        assert_eq!(seen, names(&all));
        let page = catalog.latest_urls(None, 1, Some(&wanted)).unwrap();
        assert_eq!((names(&page), page.more, page.total), (vec!["b".to_owned()], true, 4));
        assert_eq!(catalog.url_count().unwrap(), 5);
    }
}
