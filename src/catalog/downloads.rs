//! What unfinished downloads have so far.

use crate::id::{BlockId, InfoHash};

use super::{Catalog, CatalogError, PIECES};

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

    /// Forgets a download that is finished or given up.
    pub fn end_download(&self, infohash: InfoHash) -> Result<(), CatalogError> {
        self.write("prune", |transaction| {
            let hash = infohash.as_bytes();
            let mut pieces = transaction.open_table(PIECES)?;
            pieces.retain_in((hash, 0)..=(hash, u64::MAX), |_, _| false)?;
            Ok(())
        })
    }
}
