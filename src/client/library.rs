//! The torrents of the catalog, for peers that ask for one of them.

use std::sync::Arc;

use crate::id::{BlockId, InfoHash};
use crate::off::OffUrl;
use crate::peer::content::{Content, Library};
use crate::swarm::content::BlockContent;

use super::{Client, PublishError, ReadError};

impl Library for Client {
    fn find(&self, infohash: InfoHash) -> Option<Arc<dyn Content>> {
        self.content(infohash).unwrap_or_else(|error| {
            tracing::warn!(%infohash, "a torrent cannot be served: {error}");
            None
        })
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
        let store = self.blocks();
        Ok(order.map(|order| {
            Arc::new(BlockContent::served(store, order, info.into())) as Arc<dyn Content>
        }))
    }

    /// The blocks of a URL in the order of its torrent, if its descriptor is here.
    fn order_of(&self, url: &str) -> Result<Option<Vec<BlockId>>, PublishError> {
        let Ok(parsed) = OffUrl::parse(url) else { return Ok(None) };
        let hurt = |source: ReadError| PublishError::Read { url: url.to_owned(), source };
        let survey = self.survey(&parsed).map_err(hurt)?;
        Ok(survey.complete.then_some(survey.order))
    }
}
