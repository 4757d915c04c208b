//! What unfinished downloads have so far.

use redb::ReadableTable;

use crate::id::{BlockId, InfoHash};

use super::{Catalog, CatalogError, PIECES, STANDINGS, TORRENTS};

impl Catalog {
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

    /// Whether a download is unfinished of which something is here.
    pub(super) fn is_downloading(&self, infohash: InfoHash) -> Result<bool, CatalogError> {
        self.read(|transaction| {
            let hash = infohash.as_bytes();
            let pieces = transaction.open_table(PIECES)?;
            Ok(pieces.range((hash, 0)..=(hash, u64::MAX))?.next().is_some())
        })
    }

    /// Forgets a download that is finished or given up. One whose torrent is not listed by then
    /// loses its standing, too.
    pub fn end_download(&self, infohash: InfoHash) -> Result<(), CatalogError> {
        self.write("prune", |transaction| {
            let hash = infohash.as_bytes();
            let mut pieces = transaction.open_table(PIECES)?;
            pieces.retain_in((hash, 0)..=(hash, u64::MAX), |_, _| false)?;
            if transaction.open_table(TORRENTS)?.get(hash)?.is_none() {
                transaction.open_table(STANDINGS)?.remove(hash)?;
            }
            Ok(())
        })
    }
}
