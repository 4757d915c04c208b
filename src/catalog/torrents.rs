//! The torrents that are made or joined here.
//!
//! A torrent carries the blocks of an OFF URL, which tells their order, or those of a pack or
//! shard, whose order stands in a table of its own. A *shard* is part of the store as it was
//! published: sealed ones stay as they are, the open one is replaced when there is more to it.

use redb::{ReadableTable, ReadableTableMetadata};
use serde::{Deserialize, Serialize};

use crate::id::{BlockId, ID_LEN, InfoHash, checksum};
use crate::off::OffUrl;

use super::urls::key;
use super::{
    Catalog, CatalogError, INFO, ORDERS, SHARDS, STANDINGS, TORRENTS, UrlRecord, may_be_new,
};

/// What is remembered about a torrent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TorrentRecord {
    /// The OFF URL it carries, canonical; `None` for a pack or shard, whose blocks
    /// [`Catalog::order`] lists.
    #[serde(default)]
    pub url: Option<String>,
    /// Trackers to announce it to.
    pub trackers: Vec<String>,
}

/// What is remembered about a shard, beside its torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardRecord {
    /// Whether it stays as it is when more blocks are put.
    pub sealed: bool,
}

impl Catalog {
    /// Remembers the torrent that carries an OFF URL. Without trackers it keeps those it had.
    pub fn publish(
        &self,
        url: &OffUrl,
        infohash: InfoHash,
        info_dict: &[u8],
        trackers: &[String],
    ) -> Result<(), CatalogError> {
        let infohash_bytes = infohash.as_bytes();
        let trackers = match self.torrent(infohash)? {
            Some(known) if trackers.is_empty() => known.trackers,
            _ => trackers.to_vec(),
        };
        let record = TorrentRecord { url: Some(key(url)), trackers };
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

    /// Remembers the torrent that carries the blocks `ids`, in this order.
    pub fn publish_blocks(
        &self,
        infohash: InfoHash,
        info_dict: &[u8],
        ids: &[BlockId],
        trackers: &[String],
    ) -> Result<(), CatalogError> {
        self.enter_blocks(infohash, info_dict, ids, trackers, None)
    }

    /// Remembers many such torrents at once: each with its info dict and its blocks.
    pub fn publish_many(
        &self,
        torrents: &[(InfoHash, Vec<u8>, Vec<BlockId>)],
        trackers: &[String],
    ) -> Result<(), CatalogError> {
        let record = TorrentRecord { url: None, trackers: trackers.to_vec() };
        let encode = |(infohash, info_dict, ids): &(InfoHash, Vec<u8>, Vec<BlockId>)| {
            let record = self.encoded(infohash.as_bytes(), &record)?;
            Ok((*infohash, info_dict.clone(), record, encoded_order(infohash, ids)))
        };
        let encoded = torrents.iter().map(encode).collect::<Result<Vec<_>, CatalogError>>()?;
        self.write("extend", |transaction| {
            let mut torrents = transaction.open_table(TORRENTS)?;
            let mut info = transaction.open_table(INFO)?;
            let mut orders = transaction.open_table(ORDERS)?;
            for (infohash, info_dict, record, order) in &encoded {
                torrents.insert(infohash.as_bytes(), record.as_slice())?;
                info.insert(infohash.as_bytes(), info_dict.as_slice())?;
                orders.insert(infohash.as_bytes(), order.as_slice())?;
            }
            Ok(())
        })
    }

    /// Remembers a shard and the torrent that carries its blocks `ids`, in this order.
    pub fn publish_shard(
        &self,
        infohash: InfoHash,
        info_dict: &[u8],
        ids: &[BlockId],
        trackers: &[String],
        shard: ShardRecord,
    ) -> Result<(), CatalogError> {
        self.enter_blocks(infohash, info_dict, ids, trackers, Some(shard))
    }

    fn enter_blocks(
        &self,
        infohash: InfoHash,
        info_dict: &[u8],
        ids: &[BlockId],
        trackers: &[String],
        shard: Option<ShardRecord>,
    ) -> Result<(), CatalogError> {
        let order = encoded_order(&infohash, ids);
        let infohash = infohash.as_bytes();
        let record = TorrentRecord { url: None, trackers: trackers.to_vec() };
        let record = self.encoded(infohash, &record)?;
        let shard = shard.map(|shard| self.encoded(infohash, &shard)).transpose()?;
        self.write("extend", |transaction| {
            transaction.open_table(TORRENTS)?.insert(infohash, record.as_slice())?;
            transaction.open_table(INFO)?.insert(infohash, info_dict)?;
            transaction.open_table(ORDERS)?.insert(infohash, order.as_slice())?;
            if let Some(shard) = &shard {
                transaction.open_table(SHARDS)?.insert(infohash, shard.as_slice())?;
            }
            Ok(())
        })
    }

    /// Announces a torrent that is known to other trackers than before.
    pub fn set_trackers(
        &self,
        infohash: InfoHash,
        trackers: &[String],
    ) -> Result<(), CatalogError> {
        let Some(known) = self.torrent(infohash)? else { return Ok(()) };
        if known.trackers == trackers {
            return Ok(());
        }
        let infohash = infohash.as_bytes();
        let record = TorrentRecord { trackers: trackers.to_vec(), ..known };
        let record = self.encoded(infohash, &record)?;
        self.write("extend", |transaction| {
            transaction.open_table(TORRENTS)?.insert(infohash, record.as_slice())?;
            Ok(())
        })
    }

    /// Forgets a torrent. The OFF URL it carries stays known.
    pub fn forget_torrent(&self, infohash: InfoHash) -> Result<(), CatalogError> {
        let url = self.torrent(infohash)?.and_then(|record| record.url);
        if let Some(url) = url.and_then(|url| OffUrl::parse(&url).ok())
            && let Some(mut known) = self.url(&url)?
        {
            known.infohash = known.infohash.filter(|ordinary| *ordinary != infohash);
            known.twins.retain(|twin| *twin != infohash);
            self.set_url(&url, &known)?;
        }
        self.write("prune", |transaction| {
            for table in [TORRENTS, INFO, ORDERS, SHARDS, STANDINGS] {
                transaction.open_table(table)?.remove(infohash.as_bytes())?;
            }
            Ok(())
        })
    }

    /// The torrents of this catalog.
    pub fn torrents(&self) -> Result<Vec<(InfoHash, TorrentRecord)>, CatalogError> {
        self.torrents_from(None, usize::MAX)
    }

    /// Up to `most` torrents in the order of their infohashes, those behind `after`.
    pub fn torrents_from(
        &self,
        after: Option<InfoHash>,
        most: usize,
    ) -> Result<Vec<(InfoHash, TorrentRecord)>, CatalogError> {
        let found = self.read(|transaction| {
            let table = transaction.open_table(TORRENTS)?;
            let first = after.map_or([0; 20], |after| *after.as_bytes());
            let mut list = Vec::new();
            for entry in table.range::<&[u8; 20]>(&first..)? {
                let (infohash, value) = entry?;
                let infohash = InfoHash::from_bytes(*infohash.value());
                if list.len() >= most {
                    break;
                }
                if Some(infohash) != after {
                    list.push((infohash, value.value().to_vec()));
                }
            }
            Ok(list)
        })?;
        let checked =
            |(hash, bytes): (InfoHash, Vec<u8>)| Ok((hash, self.parsed(hash.as_bytes(), &bytes)?));
        found.into_iter().map(checked).collect()
    }

    /// What is remembered about a torrent.
    pub fn torrent(&self, infohash: InfoHash) -> Result<Option<TorrentRecord>, CatalogError> {
        let found = self.read(|transaction| {
            let found = transaction.open_table(TORRENTS)?.get(infohash.as_bytes())?;
            Ok(found.map(|bytes| bytes.value().to_vec()))
        })?;
        found.map(|bytes| self.parsed(infohash.as_bytes(), &bytes)).transpose()
    }

    /// How many torrents are known.
    pub fn torrent_count(&self) -> Result<u64, CatalogError> {
        self.read(|transaction| Ok(transaction.open_table(TORRENTS)?.len()?))
    }

    /// The info dict of a torrent.
    pub fn info_dict(&self, infohash: InfoHash) -> Result<Option<Vec<u8>>, CatalogError> {
        self.read(|transaction| {
            let found = transaction.open_table(INFO)?.get(infohash.as_bytes())?;
            Ok(found.map(|bytes| bytes.value().to_vec()))
        })
    }

    /// The blocks of a pack or shard in the order of its torrent.
    pub fn order(&self, infohash: InfoHash) -> Result<Option<Vec<BlockId>>, CatalogError> {
        let found = self.read(|transaction| {
            let Some(orders) = may_be_new(transaction.open_table(ORDERS))? else { return Ok(None) };
            Ok(orders.get(infohash.as_bytes())?.map(|bytes| bytes.value().to_vec()))
        })?;
        let Some(found) = found else { return Ok(None) };
        let ids = self.checked(infohash.as_bytes(), &found)?;
        Ok(Some(ids.chunks(ID_LEN).filter_map(BlockId::from_slice).collect()))
    }

    /// The shards that are published, in the order of their infohashes.
    pub fn shards(&self) -> Result<Vec<(InfoHash, ShardRecord)>, CatalogError> {
        let found = self.read(|transaction| {
            let mut list = Vec::new();
            let Some(shards) = may_be_new(transaction.open_table(SHARDS))? else { return Ok(list) };
            for entry in shards.iter()? {
                let (infohash, value) = entry?;
                list.push((InfoHash::from_bytes(*infohash.value()), value.value().to_vec()));
            }
            Ok(list)
        })?;
        let checked =
            |(hash, bytes): (InfoHash, Vec<u8>)| Ok((hash, self.parsed(hash.as_bytes(), &bytes)?));
        found.into_iter().map(checked).collect()
    }
}

/// Ids, and behind them their checksum.
fn encoded_order(infohash: &InfoHash, ids: &[BlockId]) -> Vec<u8> {
    let mut order: Vec<u8> = ids.iter().flat_map(|id| *id.as_bytes()).collect();
    order.extend(checksum(infohash.as_bytes(), &order));
    order
}
