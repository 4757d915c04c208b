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
//! | `orders` | infohash of a pack or shard | the 32-byte ids of its blocks in order |
//! | `shards` | infohash of a shard | JSON of [`ShardRecord`] |
//! | `standings` | infohash | JSON of [`Standing`] |
//! | `hosted` | block id | bytes of the store's limit taken by a block that is kept for others |
//! | `awaited` | canonical OFF URL | JSON of [`AwaitedRecord`] |
//! | `legacy_peers` | legacy node id | JSON of a locator |
//! | `pieces` | infohash, block number | block id: what an unfinished download has so far |
//!
//! A canonical OFF URL is one without hints. Behind each JSON and each order stand eight bytes of
//! SHA-256 over key and value: a flipped bit in a URL would else be a URL that nothing answers to.
//! `orders`, `shards`, `hosted`, `awaited` and `legacy_peers` are made when they are first written to.

mod awaited;
mod downloads;
mod hosted;
mod legacy;
mod standing;
mod torrents;
mod twins;
mod urls;

use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase, TableDefinition, TableError, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::id::checksum;
use crate::limits::CATALOG_CACHE_LEN;

pub use awaited::AwaitedRecord;
pub use standing::{Change, Priority, Standing};
pub use torrents::{ShardRecord, TorrentRecord};
pub use urls::{Origin, UrlPage, UrlRecord};

const FORMAT: u64 = 1;
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const URLS: TableDefinition<&str, &[u8]> = TableDefinition::new("urls");
const TORRENTS: TableDefinition<&[u8; 20], &[u8]> = TableDefinition::new("torrents");
const INFO: TableDefinition<&[u8; 20], &[u8]> = TableDefinition::new("info");
const ORDERS: TableDefinition<&[u8; 20], &[u8]> = TableDefinition::new("orders");
const SHARDS: TableDefinition<&[u8; 20], &[u8]> = TableDefinition::new("shards");
const STANDINGS: TableDefinition<&[u8; 20], &[u8]> = TableDefinition::new("standings");
const PIECES: TableDefinition<(&[u8; 20], u64), &[u8; 32]> = TableDefinition::new("pieces");

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
        self.read(|transaction| {
            let Some(meta) = may_be_new(transaction.open_table(META))? else { return Ok(None) };
            Ok(meta.get("format")?.map(|value| value.value()))
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

    fn parsed<T: DeserializeOwned>(&self, key: &[u8], value: &[u8]) -> Result<T, CatalogError> {
        let json = self.checked(key, value)?;
        let failed = |source| CatalogError::Record { path: self.path.clone(), source };
        serde_json::from_slice(json).map_err(failed)
    }

    /// What stands before the checksum, if that is right.
    fn checked<'a>(&self, key: &[u8], value: &'a [u8]) -> Result<&'a [u8], CatalogError> {
        let damaged = || CatalogError::Damaged { path: self.path.clone() };
        let (contents, sum) = value.split_last_chunk().ok_or_else(damaged)?;
        if *sum == checksum(key, contents) { Ok(contents) } else { Err(damaged()) }
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

/// A table that is not there before something is written to it.
fn may_be_new<T>(opened: Result<T, TableError>) -> Result<Option<T>, TableError> {
    match opened {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn owners_file(path: &Path) -> std::io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{BlockId, InfoHash};
    use crate::off::OffUrl;

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
        assert_eq!(catalog.torrents().unwrap()[0].1.url, Some(url(b"a").to_string()));
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

    #[test]
    fn lists_torrents_page_by_page_and_forgets_them() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&folder.path().join("catalog.redb")).unwrap();
        let ids = [BlockId::of(b"x"), BlockId::of(b"y")];
        let mut hashes: Vec<InfoHash> = (0_u8..5).map(|n| InfoHash::of(&[n])).collect();
        hashes.sort_unstable();
        catalog.add(&url(b"a"), Origin::Put).unwrap();
        catalog.publish(&url(b"a"), hashes[0], b"de", &[]).unwrap();
        assert_eq!((catalog.order(hashes[0]).unwrap(), catalog.shards().unwrap()), (None, vec![]));
        for hash in &hashes[1..4] {
            catalog.publish_blocks(*hash, b"de", &ids, &["http://t/".into()]).unwrap();
        }
        let sealed = ShardRecord { sealed: true };
        catalog.publish_shard(hashes[4], b"de", &ids, &[], sealed).unwrap();
        assert_eq!(catalog.order(hashes[4]).unwrap().unwrap(), ids);
        assert_eq!(catalog.shards().unwrap(), [(hashes[4], sealed)]);
        assert_eq!(catalog.torrent_count().unwrap(), 5);
        let (mut after, mut seen) = (None, Vec::new());
        loop {
            let page = catalog.torrents_from(after, 2).unwrap();
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            assert!(page.len() <= 2);
            seen.extend(page.iter().map(|(hash, _)| *hash));
        }
        assert_eq!(seen, hashes);
        for hash in &hashes {
            catalog.forget_torrent(*hash).unwrap();
            assert_eq!(catalog.torrent(*hash).unwrap(), None);
            assert_eq!(catalog.order(*hash).unwrap(), None);
        }
        assert_eq!((catalog.torrent_count().unwrap(), catalog.shards().unwrap()), (0, vec![]));
        assert_eq!(catalog.url(&url(b"a")).unwrap().unwrap().infohash, None);
    }

    #[test]
    fn reads_torrents_of_before_there_were_packs() {
        let record: TorrentRecord =
            serde_json::from_str(r#"{"url":"/offsystem/v4/x","trackers":[]}"#).unwrap();
        assert_eq!(record.url.as_deref(), Some("/offsystem/v4/x"));
    }
}
