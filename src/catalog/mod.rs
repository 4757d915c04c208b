//! The catalog: names for OFF URLs, and what is remembered about each.
//!
//! One redb database. Torrents, later S3 keys and Venti scores, are all names for OFF URLs. OFF
//! URLs hold seal keys, so the file is readable by its owner only.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | `"format"` | version of this layout, 1 |
//! | `meta` | `"check"` | where a check that was broken off goes on |
//! | `urls` | canonical OFF URL | JSON of [`UrlRecord`] |
//! | `torrents` | infohash, 20 bytes | JSON of [`TorrentRecord`], the info dict left out |
//! | `info` | infohash | the info dict, bencoded |
//! | `pieces` | infohash, block number | block id: what an unfinished download has so far |
//!
//! A canonical OFF URL is one without hints. Behind each JSON stand eight bytes of SHA-256 over key
//! and JSON: a flipped bit in a URL would else be a URL that nothing answers to.

mod twins;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use redb::backends::FileBackend;
use redb::{
    Database, ReadableDatabase, ReadableTable, TableDefinition, TableError, WriteTransaction,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::id::{BlockId, InfoHash, checksum};
use crate::limits::CATALOG_CACHE_LEN;
use crate::off::OffUrl;

const FORMAT: u64 = 1;
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const URLS: TableDefinition<&str, &[u8]> = TableDefinition::new("urls");
const TORRENTS: TableDefinition<&[u8; 20], &[u8]> = TableDefinition::new("torrents");
const INFO: TableDefinition<&[u8; 20], &[u8]> = TableDefinition::new("info");
const PIECES: TableDefinition<(&[u8; 20], u64), &[u8; 32]> = TableDefinition::new("pieces");

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

/// What is remembered about a torrent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TorrentRecord {
    /// The OFF URL it carries, canonical.
    pub url: String,
    /// Trackers to announce it to.
    pub trackers: Vec<String>,
}

/// Why the catalog could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The database failed.
    #[error("cannot {attempt} the catalog {}", path.display())]
    Database {
        /// What was attempted, a verb.
        attempt: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: Box<redb::Error>,
    },
    /// There is a store and no catalog of what is in it.
    #[error("the catalog is lost: {} is missing or empty", path.display())]
    Lost {
        /// Where it should be.
        path: PathBuf,
    },
    /// A record that is not what was written.
    #[error("the catalog {} has a damaged record", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// A record that does not parse.
    #[error("the catalog {} has a record that cannot be read", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The catalog was written by a later version of this program.
    #[error("the catalog has format {found}; this program knows formats up to {FORMAT}")]
    Version {
        /// The format on disk.
        found: u64,
    },
}

impl CatalogError {
    /// Whether what is on disk is not what was written.
    #[must_use]
    pub fn is_corruption(&self) -> bool {
        match self {
            Self::Database { source, .. } => matches!(**source, redb::Error::Corrupted(_)),
            Self::Lost { .. } | Self::Record { .. } | Self::Damaged { .. } => true,
            Self::Version { .. } => false,
        }
    }
}

/// An open catalog.
#[derive(Debug)]
pub struct Catalog {
    database: Database,
    path: PathBuf,
}

impl Catalog {
    /// Opens the catalog in a file, and creates it if there is none.
    pub fn open(path: &Path) -> Result<Self, CatalogError> {
        let failed = |source: redb::Error| CatalogError::Database {
            attempt: "open",
            path: path.to_owned(),
            source: Box::new(source),
        };
        let failed_io = |error| failed(redb::Error::Io(error));
        if !path.try_exists().map_err(failed_io)? {
            // redb does not create its file all at once, so a new catalog gets its name when it
            // is whole.
            let new = path.with_extension("new");
            owners_file(&new).and_then(|file| file.set_len(0)).map_err(failed_io)?;
            drop(Self::in_file(&new)?);
            std::fs::rename(&new, path).map_err(failed_io)?;
        }
        if path.metadata().map_err(failed_io)?.len() == 0 {
            return Err(CatalogError::Lost { path: path.to_owned() });
        }
        Self::in_file(path)
    }

    fn in_file(path: &Path) -> Result<Self, CatalogError> {
        let failed = |source: redb::Error| CatalogError::Database {
            attempt: "open",
            path: path.to_owned(),
            source: Box::new(source),
        };
        let file = owners_file(path).map_err(|error| failed(redb::Error::Io(error)))?;
        let database = Database::builder()
            .set_cache_size(CATALOG_CACHE_LEN)
            .create_with_backend(FileBackend::new(file).map_err(|error| failed(error.into()))?)
            .map_err(|error| failed(error.into()))?;
        let catalog = Self { database, path: path.to_owned() };
        catalog.check_format()?;
        Ok(catalog)
    }

    fn check_format(&self) -> Result<(), CatalogError> {
        // A catalog that is there is not written to: on a full disk it can still be read.
        match self.format()? {
            None => self.write("create", |transaction| {
                for table in [TORRENTS, INFO] {
                    transaction.open_table(table)?;
                }
                transaction.open_table(URLS)?;
                transaction.open_table(PIECES)?;
                transaction.open_table(META)?.insert("format", FORMAT)?;
                Ok(())
            }),
            Some(found) if found > FORMAT => Err(CatalogError::Version { found }),
            Some(_) => Ok(()),
        }
    }

    /// The format on disk; `None` if nothing was written yet.
    fn format(&self) -> Result<Option<u64>, CatalogError> {
        self.read(|transaction| match transaction.open_table(META) {
            Ok(meta) => Ok(meta.get("format")?.map(|value| value.value())),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        })
    }

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
            }
            Ok(())
        })
    }

    /// Where a check that was broken off goes on, if one was.
    pub fn check_place(&self) -> Result<Option<u64>, CatalogError> {
        self.read(|transaction| {
            Ok(transaction.open_table(META)?.get("check")?.map(|place| place.value()))
        })
    }

    /// Remembers where a check goes on, or that it is over.
    pub fn set_check_place(&self, place: Option<u64>) -> Result<(), CatalogError> {
        self.write("extend", |transaction| {
            let mut meta = transaction.open_table(META)?;
            match place {
                Some(place) => meta.insert("check", place)?,
                None => meta.remove("check")?,
            };
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

    /// The blocks that an unfinished download has so far: number in the torrent, and id.
    pub fn download(&self, infohash: InfoHash) -> Result<Vec<(u64, BlockId)>, CatalogError> {
        self.read(|transaction| {
            let hash = infohash.as_bytes();
            let mut list = Vec::new();
            for entry in transaction.open_table(PIECES)?.range((hash, 0)..=(hash, u64::MAX))? {
                let (key, id) = entry?;
                list.push((key.value().1, BlockId::from_bytes(*id.value())));
            }
            Ok(list)
        })
    }

    /// Remembers more blocks of an unfinished download.
    pub fn extend_download(
        &self,
        infohash: InfoHash,
        blocks: &[(u64, BlockId)],
    ) -> Result<(), CatalogError> {
        self.write("extend", |transaction| {
            let mut pieces = transaction.open_table(PIECES)?;
            for (number, id) in blocks {
                pieces.insert((infohash.as_bytes(), *number), id.as_bytes())?;
            }
            Ok(())
        })
    }

    /// Forgets a download that is finished or given up.
    pub fn end_download(&self, infohash: InfoHash) -> Result<(), CatalogError> {
        self.write("prune", |transaction| {
            let hash = infohash.as_bytes();
            let mut pieces = transaction.open_table(PIECES)?;
            pieces.retain_in((hash, 0)..=(hash, u64::MAX), |_, _| false)?;
            Ok(())
        })
    }

    fn set_url(&self, url: &OffUrl, record: &UrlRecord) -> Result<(), CatalogError> {
        let key = key(url);
        let value = self.encoded(key.as_bytes(), record)?;
        self.write("extend", |transaction| {
            transaction.open_table(URLS)?.insert(key.as_str(), value.as_slice())?;
            Ok(())
        })
    }

    fn parsed<T: DeserializeOwned>(&self, key: &[u8], value: &[u8]) -> Result<T, CatalogError> {
        let damaged = || CatalogError::Damaged { path: self.path.clone() };
        let (json, sum) = value.split_last_chunk().ok_or_else(damaged)?;
        if *sum != checksum(key, json) {
            return Err(damaged());
        }
        let failed = |source| CatalogError::Record { path: self.path.clone(), source };
        serde_json::from_slice(json).map_err(failed)
    }

    fn encoded(&self, key: &[u8], record: &impl Serialize) -> Result<Vec<u8>, CatalogError> {
        let failed = |source| CatalogError::Record { path: self.path.clone(), source };
        let mut value = serde_json::to_vec(record).map_err(failed)?;
        value.extend(checksum(key, &value));
        Ok(value)
    }

    fn failed<E: Into<redb::Error>>(&self, attempt: &'static str) -> impl Fn(E) -> CatalogError {
        move |error| CatalogError::Database {
            attempt,
            path: self.path.clone(),
            source: Box::new(error.into()),
        }
    }

    fn read<T>(
        &self,
        look: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, CatalogError> {
        let transaction = self.database.begin_read().map_err(self.failed("read"))?;
        look(&transaction).map_err(self.failed("read"))
    }

    fn write<T>(
        &self,
        attempt: &'static str,
        change: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, CatalogError> {
        let mut transaction = self.database.begin_write().map_err(self.failed(attempt))?;
        transaction.set_quick_repair(true);
        let done = change(&transaction).map_err(self.failed(attempt))?;
        transaction.commit().map_err(self.failed(attempt))?;
        Ok(done)
    }
}

/// The text under which an OFF URL stands in the catalog.
fn key(url: &OffUrl) -> String {
    url.canonical().to_string()
}

fn owners_file(path: &Path) -> std::io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(descriptor: &[u8]) -> OffUrl {
        let named = crate::off::url::Named {
            length: 5,
            file: crate::id::FileId::of_nothing(),
            descriptor: Some(BlockId::of(descriptor)),
            tuple: crate::off::TupleSize::default(),
            seal: crate::off::Seal::Plain,
        };
        OffUrl::new(named, "text/plain", "n").unwrap()
    }

    #[test]
    fn remembers_urls_and_torrents_over_a_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog.redb");
        let infohash = InfoHash::of(b"d1:xe");
        let catalog = Catalog::open(&path).unwrap();
        let mut hinted = url(b"a");
        hinted.hints.infohash = Some(infohash);
        catalog.add(&hinted, Origin::Put).unwrap();
        catalog.add(&url(b"b"), Origin::Got).unwrap();
        catalog.publish(&url(b"a"), infohash, b"d1:xe", &["http://t/".into()]).unwrap();
        catalog.add(&url(b"a"), Origin::Got).unwrap();
        drop(catalog);
        let catalog = Catalog::open(&path).unwrap();
        assert_eq!(catalog.urls().unwrap().len(), 2);
        let record = catalog.url(&url(b"a")).unwrap().unwrap();
        assert_eq!((record.origin, record.infohash), (Origin::Put, Some(infohash)));
        assert_eq!(catalog.torrents().unwrap()[0].1.url, url(b"a").to_string());
        assert_eq!(catalog.info_dict(infohash).unwrap().unwrap(), b"d1:xe");
        assert_eq!(catalog.url(&url(b"c")).unwrap(), None);
    }

    #[test]
    fn keeps_downloads_apart() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&folder.path().join("catalog.redb")).unwrap();
        let (one, other) = (InfoHash::of(b"1"), InfoHash::of(b"2"));
        let id = BlockId::of(b"x");
        catalog.extend_download(one, &[(0, id), (7, id)]).unwrap();
        catalog.extend_download(other, &[(3, id)]).unwrap();
        assert_eq!(catalog.download(one).unwrap(), [(0, id), (7, id)]);
        catalog.end_download(one).unwrap();
        assert_eq!(catalog.download(one).unwrap(), []);
        assert_eq!(catalog.download(other).unwrap(), [(3, id)]);
    }
}
