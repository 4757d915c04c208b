//! The OFF URLs that are known here.

use std::time::SystemTime;

use redb::ReadableTable;
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
