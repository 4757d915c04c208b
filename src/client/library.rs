//! The torrents of the catalog, for peers that ask for one of them.

use std::sync::Arc;

use crate::catalog::{Change, Standing};
use crate::id::{BlockId, InfoHash};
use crate::off::OffUrl;
use crate::peer::content::{Content, Library, Traffic};
use crate::swarm::content::{BlockContent, Plant};
use crate::torrent::metainfo::Info;

use super::{Client, PublishError, ReadError};

impl Library for Client {
    fn find(&self, infohash: InfoHash) -> Option<Arc<dyn Content>> {
        self.content(infohash).unwrap_or_else(|error| {
            tracing::warn!(%infohash, "a torrent cannot be served: {error}");
            None
        })
    }

    fn account(&self, moved: &[(InfoHash, Traffic)]) {
        let add = |Traffic { received, sent }: Traffic| {
            Box::new(move |standing: &mut Standing| {
                standing.received += received;
                standing.sent += sent;
            }) as Change
        };
        let changes = moved.iter().map(|(infohash, traffic)| (*infohash, add(*traffic))).collect();
        if let Err(error) = self.catalog.change_standings(&changes) {
            tracing::warn!("what was moved is not counted: {error}");
        }
    }
}

impl Client {
    /// The content of a torrent of the catalog; `None` if there is no such torrent, or its
    /// descriptor is not here.
    fn content(&self, infohash: InfoHash) -> Result<Option<Arc<dyn Content>>, PublishError> {
        let (Some(record), Some(info)) =
            (self.catalog.torrent(infohash)?, self.catalog.info_dict(infohash)?)
        else {
            return Ok(None);
        };
        let order = match &record.url {
            Some(url) => self.order_of(url)?,
            None => self.catalog.order(infohash)?,
        };
        let info = Info::decode(info.into())?;
        let priority = self.catalog.standing(infohash)?.priority;
        let plant = info.version.has_v2().then(|| self.plant());
        let Some(order) = order else { return Ok(None) };
        let content = BlockContent::served(self.blocks(), order, info.raw, plant, priority);
        Ok(Some(Arc::new(content)))
    }

    /// Makes Merkle trees, of digests that were kept when the torrent was published.
    fn plant(&self) -> Plant {
        let client = self.clone();
        Box::new(move |order| {
            let layers = client.merkle_layers(order);
            layers.inspect_err(|error| tracing::warn!("no Merkle tree: {error}")).ok()
        })
    }

    /// The blocks of a URL in the order of its torrent, if its descriptor is here.
    fn order_of(&self, url: &str) -> Result<Option<Vec<BlockId>>, PublishError> {
        let Ok(parsed) = OffUrl::parse(url) else { return Ok(None) };
        let hurt = |source: ReadError| PublishError::Read { url: url.to_owned(), source };
        let survey = self.survey(&parsed).map_err(hurt)?;
        Ok(survey.complete.then_some(survey.order))
    }
}
