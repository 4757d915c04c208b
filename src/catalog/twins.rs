//! Twins: the torrents of version 2 and hybrids that carry the same OFF URL as the ordinary one.
//!
//! Each is a record like any other, under everything that handshakes call it, so a seeder need not
//! know what a twin is.

use crate::id::InfoHash;
use crate::off::OffUrl;

use super::urls::key;
use super::{Catalog, CatalogError, INFO, TORRENTS, TorrentRecord, URLS};

impl Catalog {
    /// Remembers a twin of the torrent that carries an OFF URL which is known, under everything that
    /// handshakes call it. [`UrlRecord::infohash`](super::UrlRecord::infohash) stays what it was.
    pub fn publish_twin(
        &self,
        url: &OffUrl,
        handshakes: &[InfoHash],
        info_dict: &[u8],
        trackers: &[String],
    ) -> Result<(), CatalogError> {
        let Some(mut known) = self.url(url)? else {
            return Ok(());
        };
        known.twins.extend_from_slice(handshakes);
        known.twins.sort_unstable();
        known.twins.dedup();
        let key = key(url);
        let value = self.encoded(key.as_bytes(), &known)?;
        let twin = TorrentRecord { url: Some(key.clone()), trackers: trackers.to_vec() };
        let of = |hash: &InfoHash| Ok((*hash, self.encoded(hash.as_bytes(), &twin)?));
        let twins = handshakes.iter().map(of).collect::<Result<Vec<_>, CatalogError>>()?;
        self.write("extend", |transaction| {
            transaction.open_table(URLS)?.insert(key.as_str(), value.as_slice())?;
            for (infohash, record) in &twins {
                transaction.open_table(TORRENTS)?.insert(infohash.as_bytes(), record.as_slice())?;
                transaction.open_table(INFO)?.insert(infohash.as_bytes(), info_dict)?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Origin;
    use crate::id::{BlockId, FileId};
    use crate::off::url::Named;
    use crate::off::{Seal, TupleSize};

    fn url() -> OffUrl {
        let named = Named {
            length: 5,
            file: FileId::of_nothing(),
            descriptor: Some(BlockId::of(b"chain")),
            tuple: TupleSize::default(),
            seal: Seal::Plain,
        };
        OffUrl::new(named, "text/plain", "n").unwrap()
    }

    #[test]
    fn twins_come_and_go_with_their_url() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&folder.path().join("catalog.redb")).unwrap();
        let [v1, v2, hybrid]: [InfoHash; 3] = [b"1", b"2", b"h"].map(|raw| InfoHash::of(raw));
        catalog.publish_twin(&url(), &[v2], b"d1:2e", &[]).unwrap();
        assert_eq!(catalog.torrents().unwrap(), [], "an unknown URL has no twins");
        catalog.add(&url(), Origin::Put).unwrap();
        catalog.publish(&url(), v1, b"d1:1e", &[]).unwrap();
        for _ in 0..2 {
            catalog.publish_twin(&url(), &[v2, hybrid], b"d1:2e", &["http://t/".into()]).unwrap();
        }
        let record = catalog.url(&url()).unwrap().unwrap();
        assert_eq!((record.infohash, record.twins.len()), (Some(v1), 2));
        assert_eq!(catalog.torrent(hybrid).unwrap().unwrap().trackers, ["http://t/"]);
        assert_eq!(catalog.info_dict(v2).unwrap().unwrap(), b"d1:2e");
        catalog.remove(&url()).unwrap();
        assert_eq!(catalog.torrents().unwrap(), []);
        assert_eq!((catalog.info_dict(v2).unwrap(), catalog.torrent(v1).unwrap()), (None, None));
    }
}
