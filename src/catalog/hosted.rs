//! The blocks that are kept for others: which they are, and what they take of the store's limit.

use std::ops::Bound;

use redb::TableDefinition;

use crate::id::BlockId;

use super::{Catalog, CatalogError, may_be_new};

const HOSTED: TableDefinition<&[u8; 32], u64> = TableDefinition::new("hosted");

impl Catalog {
    /// Enters a block that is kept for others, with the bytes it takes of the store's limit.
    pub fn host(&self, id: &BlockId, len: u64) -> Result<(), CatalogError> {
        self.write("extend", |transaction| {
            transaction.open_table(HOSTED)?.insert(id.as_bytes(), len)?;
            Ok(())
        })
    }

    /// Strikes out blocks that are kept for others no longer.
    pub fn unhost(&self, ids: &[BlockId]) -> Result<(), CatalogError> {
        if ids.is_empty() {
            return Ok(());
        }
        self.write("prune", |transaction| {
            let mut table = transaction.open_table(HOSTED)?;
            for id in ids {
                table.remove(id.as_bytes())?;
            }
            Ok(())
        })
    }

    /// Whether a block is entered as one that is kept for others.
    pub fn is_hosted(&self, id: &BlockId) -> Result<bool, CatalogError> {
        self.read(|transaction| {
            let Some(table) = may_be_new(transaction.open_table(HOSTED))? else { return Ok(false) };
            Ok(table.get(id.as_bytes())?.is_some())
        })
    }

    /// Up to `most` of the blocks kept for others with their bytes, in the order of their ids,
    /// those behind `after`; all from the first on if that is `None`.
    pub fn hosted_after(
        &self,
        after: Option<&BlockId>,
        most: usize,
    ) -> Result<Vec<(BlockId, u64)>, CatalogError> {
        self.read(|transaction| {
            let Some(table) = may_be_new(transaction.open_table(HOSTED))? else {
                return Ok(Vec::new());
            };
            let from = after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.as_bytes()));
            let mut found = Vec::new();
            for item in table.range::<&[u8; 32]>((from, Bound::Unbounded))?.take(most) {
                let (id, len) = item?;
                found.push((BlockId::from_bytes(*id.value()), len.value()));
            }
            Ok(found)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosted_blocks_are_paged_and_struck_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog.redb");
        let catalog = Catalog::open(&path).unwrap();
        let mut ids: Vec<BlockId> = (0_u8..5).map(|n| BlockId::of(&[n])).collect();
        ids.sort_unstable();
        assert_eq!(catalog.hosted_after(None, 9).unwrap(), []);
        assert!(!catalog.is_hosted(&ids[0]).unwrap());
        for (id, len) in ids.iter().zip(1..) {
            catalog.host(id, len).unwrap();
        }
        drop(catalog);
        let catalog = Catalog::open(&path).unwrap();
        assert_eq!(catalog.hosted_after(None, 2).unwrap(), [(ids[0], 1), (ids[1], 2)]);
        assert_eq!(catalog.hosted_after(Some(&ids[1]), 2).unwrap(), [(ids[2], 3), (ids[3], 4)]);
        assert_eq!(catalog.hosted_after(Some(&ids[4]), 2).unwrap(), []);
        catalog.unhost(&ids[1..]).unwrap();
        assert_eq!(catalog.hosted_after(None, 9).unwrap(), [(ids[0], 1)]);
        assert!(!catalog.is_hosted(&ids[1]).unwrap());
    }
}
