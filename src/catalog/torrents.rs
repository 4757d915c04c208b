//! The torrents that are made or joined here.

use redb::ReadableTable;
use serde::{Deserialize, Serialize};

use crate::id::InfoHash;
use crate::off::OffUrl;

use super::urls::key;
use super::{Catalog, CatalogError, INFO, TORRENTS, UrlRecord};

/// What is remembered about a torrent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TorrentRecord {
    /// The OFF URL it carries, canonical.
    pub url: String,
    /// Trackers to announce it to.
    pub trackers: Vec<String>,
}

impl Catalog {
    /// Remembers the torrent that carries an OFF URL.
    pub fn publish(
        &self,
        url: &OffUrl,
        infohash: InfoHash,
        info_dict: &[u8],
        trackers: &[String],
    ) -> Result<(), CatalogError> {
        let infohash_bytes = infohash.as_bytes();
        let record = TorrentRecord { url: key(url), trackers: trackers.to_vec() };
        let record = self.encoded(infohash_bytes, &record)?;
        self.write("extend", |transaction| {
            transaction.open_table(TORRENTS)?.insert(infohash_bytes, record.as_slice())?;
            transaction.open_table(INFO)?.insert(infohash_bytes, info_dict)?;
            Ok(())
        })?;
        if let Some(known) = self.url(url)? {
            self.set_url(url, &UrlRecord { infohash: Some(infohash), ..known })?;
        }
        Ok(())
    }

    /// The torrents of this catalog.
    pub fn torrents(&self) -> Result<Vec<(InfoHash, TorrentRecord)>, CatalogError> {
        let found = self.read(|transaction| {
            let mut list = Vec::new();
            for entry in transaction.open_table(TORRENTS)?.iter()? {
                let (infohash, value) = entry?;
                list.push((InfoHash::from_bytes(*infohash.value()), value.value().to_vec()));
            }
            Ok(list)
        })?;
        let checked =
            |(hash, bytes): (InfoHash, Vec<u8>)| Ok((hash, self.parsed(hash.as_bytes(), &bytes)?));
        found.into_iter().map(checked).collect()
    }

    /// The info dict of a torrent.
    pub fn info_dict(&self, infohash: InfoHash) -> Result<Option<Vec<u8>>, CatalogError> {
        self.read(|transaction| {
            let found = transaction.open_table(INFO)?.get(infohash.as_bytes())?;
            Ok(found.map(|bytes| bytes.value().to_vec()))
        })
    }
}
