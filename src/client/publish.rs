//! Publish: makes the torrent of a URL. Nothing is announced here; that is the seeder's part.
//!
//! A torrent shows which blocks belong together, so publishing is always an explicit act. There is
//! one ordinary torrent per URL, of version 1; its twins of version 2 and both are made on request
//! and carry the same content file.

use crate::catalog::Origin;
use crate::id::BlockId;
use crate::off::{Carriage, OffUrl};
use crate::torrent::merkle::{self, Layers};
use crate::torrent::metainfo::{Info, Metainfo, PieceLayers, Version};

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
    /// Makes the ordinary torrent of a URL whose blocks are all here, and remembers it.
    pub fn publish(&self, url: &OffUrl, trackers: &[String]) -> Result<Published, PublishError> {
        self.publish_as(url, Version::V1, trackers)
    }

    /// Publishes the URLs that came from others without a torrent and are whole: how many.
    pub fn publish_what_came(&self, trackers: &[String]) -> Result<u64, PublishError> {
        let mut published = 0;
        for (url, record) in self.known_urls()? {
            let came = record.origin == Origin::Got && record.infohash.is_none();
            let hurt = |source| PublishError::Read { url: url.to_string(), source };
            if came && url.descriptor().is_some() && self.survey(&url).map_err(hurt)?.is_whole() {
                match self.publish(&url, trackers) {
                    Ok(_) => published += 1,
                    Err(
                        error @ (PublishError::ShortBlocks { .. }
                        | PublishError::MixedBlocks { .. }),
                    ) => tracing::debug!("{error}"),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(published)
    }

    /// Makes a torrent of some version of a URL whose blocks are all here, and remembers both.
    pub fn publish_as(
        &self,
        url: &OffUrl,
        version: Version,
        trackers: &[String],
    ) -> Result<Published, PublishError> {
        let published = self.torrent_as(url, version, trackers)?;
        let info = &published.metainfo.info;
        self.remember(url, Origin::Got).map_err(Box::new)?;
        match version {
            Version::V1 => self.catalog.publish(url, info.infohash, &info.raw, trackers)?,
            Version::V2 | Version::Hybrid => {
                self.catalog.publish_twin(url, &info.handshakes(), &info.raw, trackers)?;
            }
        }
        // Nobody may be seeding.
        let _ = self.published.send(info.infohash);
        Ok(published)
    }

    /// Makes the ordinary torrent of a URL whose blocks are all here.
    pub fn torrent_of(&self, url: &OffUrl, trackers: &[String]) -> Result<Published, PublishError> {
        self.torrent_as(url, Version::V1, trackers)
    }

    /// Makes a torrent of some version of a URL whose blocks are all here.
    pub fn torrent_as(
        &self,
        url: &OffUrl,
        version: Version,
        trackers: &[String],
    ) -> Result<Published, PublishError> {
        let hurt = |source| PublishError::Read { url: url.to_string(), source };
        let survey = self.survey(url).map_err(hurt)?;
        if !survey.is_whole() {
            let (missing, blocks) = (survey.lacking(), survey.blocks);
            return Err(PublishError::Incomplete { url: url.to_string(), missing, blocks });
        }
        let order = survey.order;
        self.carriage(url, &order)?;
        let first = *order.first().ok_or(PublishError::Empty)?;
        let blocks = order.len() as u64;
        let (info, piece_layers) = match version {
            Version::V1 => (self.info_of(url, first, &order)?, PieceLayers::default()),
            Version::V2 | Version::Hybrid => {
                let hashes = self.torrent_hashes(&order, version).map_err(hurt)?;
                let pieces = version.has_v1().then_some(hashes.pieces.as_slice());
                let layers = Layers::of_blocks(hashes.roots);
                let info = Info::twin_of_blocks(first, blocks, layers.root(), pieces)?;
                let height = merkle::piece_height(info.piece_length);
                let layer = height.and_then(|height| layers.layer(height)).unwrap_or_default();
                (info, PieceLayers::of_file(layers.root(), layer))
            }
        };
        let (trackers, web_seeds) = (trackers.to_vec(), Vec::new());
        Ok(Published {
            metainfo: Metainfo { info, trackers, web_seeds, piece_layers, ids: None },
            order,
        })
    }

    /// How the torrent of a URL carries its blocks. A URL of short blocks has none, and neither has a
    /// directory whose files have blocks of another size than its own.
    pub(super) fn carriage(
        &self,
        url: &OffUrl,
        order: &[BlockId],
    ) -> Result<Carriage, PublishError> {
        let (url_text, size) = (|| url.canonical().to_string(), url.block_size());
        let Some(carriage) = Carriage::of(size) else {
            let class = size.class();
            return Err(PublishError::ShortBlocks { url: url_text(), len: size.len(), class });
        };
        let expected = size.len() as u64;
        for id in order.iter().filter(|_| url.is_directory()) {
            let found = self.store.locate(id)?.map_or(expected, |found| found.len);
            if found != expected {
                return Err(PublishError::MixedBlocks { url: url_text(), expected, found });
            }
        }
        Ok(carriage)
    }

    /// The Merkle tree over blocks in the order of their torrent, for those that ask for its hashes.
    /// Once the torrent was published this reads no block.
    pub fn merkle_layers(&self, order: &[BlockId]) -> Result<Layers, ReadError> {
        Ok(Layers::of_blocks(self.torrent_hashes(order, Version::V2)?.roots))
    }

    /// The info dict of the ordinary torrent, as it was made when the URL was published before or
    /// anew.
    fn info_of(
        &self,
        url: &OffUrl,
        first: BlockId,
        order: &[BlockId],
    ) -> Result<Info, PublishError> {
        let blocks = order.len() as u64;
        if let Some(known) = self.known_info(url)? {
            // One that was joined may be a hybrid or have keys of its own: another swarm's.
            let pieces = known.piece_hashes()?;
            if Info::of_blocks(first, blocks, &pieces).is_ok_and(|ours| ours == known) {
                return Ok(known);
            }
        }
        let hurt = |source| PublishError::Read { url: url.to_string(), source };
        let hashes = self.torrent_hashes(order, Version::V1).map_err(hurt)?;
        Ok(Info::of_blocks(first, blocks, &hashes.pieces)?)
    }

    fn known_info(&self, url: &OffUrl) -> Result<Option<Info>, PublishError> {
        let Some(infohash) = self.catalog.url(url)?.and_then(|record| record.infohash) else {
            return Ok(None);
        };
        let raw = self.catalog.info_dict(infohash)?;
        Ok(raw.map(|raw| Info::decode(raw.into())).transpose()?)
    }
}
