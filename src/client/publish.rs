//! Publish: makes the torrent of a URL. Nothing is announced here; that is the seeder's part.
//!
//! A torrent shows which blocks belong together, so publishing is always an explicit act.

use std::num::NonZeroUsize;

use crate::id::{BlockId, PieceHash};
use crate::off::OffUrl;
use crate::torrent::mapping;
use crate::torrent::metainfo::{Info, Metainfo};

use super::{Client, PublishError, ReadError};

/// A URL as a torrent.
#[derive(Debug, Clone)]
pub struct Published {
    /// The torrent, with its trackers.
    pub metainfo: Metainfo,
    /// Its blocks in order.
    pub order: Vec<BlockId>,
}

impl Client {
    /// Makes the torrent of a URL whose blocks are all here, and remembers it.
    pub fn publish(&self, url: &OffUrl, trackers: &[String]) -> Result<Published, PublishError> {
        let published = self.torrent_of(url, trackers)?;
        let info = &published.metainfo.info;
        self.catalog.publish(url, info.infohash, &info.raw, trackers)?;
        Ok(published)
    }

    /// Makes the torrent of a URL whose blocks are all here.
    pub fn torrent_of(&self, url: &OffUrl, trackers: &[String]) -> Result<Published, PublishError> {
        let hurt = |source| PublishError::Read { url: url.to_string(), source };
        let survey = self.survey(url).map_err(hurt)?;
        if !survey.is_whole() {
            let (missing, blocks) = (survey.lacking(), survey.blocks);
            return Err(PublishError::Incomplete { url: url.to_string(), missing, blocks });
        }
        let order = survey.order;
        let first = *order.first().ok_or(PublishError::Empty)?;
        let info = if let Some(info) = self.known_info(url)? {
            info
        } else {
            let pieces = self.piece_hashes(&order).map_err(hurt)?;
            Info::of_blocks(first, order.len() as u64, &pieces)?
        };
        let (trackers, web_seeds) = (trackers.to_vec(), Vec::new());
        let metainfo = Metainfo { info, trackers, web_seeds, ids: None };
        Ok(Published { metainfo, order })
    }

    /// The info dict made when the URL was published before.
    fn known_info(&self, url: &OffUrl) -> Result<Option<Info>, PublishError> {
        let Some(infohash) = self.catalog.url(url)?.and_then(|record| record.infohash) else {
            return Ok(None);
        };
        let raw = self.catalog.info_dict(infohash)?;
        Ok(raw.map(|raw| Info::decode(raw.into())).transpose()?)
    }

    fn piece_hashes(&self, order: &[BlockId]) -> Result<Vec<PieceHash>, ReadError> {
        let per_piece = mapping::blocks_per_piece(order.len() as u64);
        let per_piece = usize::try_from(per_piece).ok().and_then(NonZeroUsize::new);
        order
            .chunks(per_piece.map_or(1, NonZeroUsize::get))
            .map(|ids| self.piece_hash(ids))
            .collect()
    }

    pub(super) fn piece_hash(&self, ids: &[BlockId]) -> Result<PieceHash, ReadError> {
        let mut hasher = crate::id::PieceHasher::default();
        for id in ids {
            let block = self.store.get(id)?.ok_or(ReadError::Missing(*id))?;
            hasher.update(block.contents());
        }
        Ok(hasher.finish())
    }
}
