//! What the index remembers of how popular blocks are.

use redb::ReadableTableMetadata;

use crate::id::BlockId;
use crate::store::StoreError;

use super::{Index, POPULAR};

impl Index {
    /// How popular a block is; 0 if nothing was told.
    pub(in crate::store) fn popularity(&self, id: &BlockId) -> Result<u8, StoreError> {
        self.read(|transaction| {
            let found = transaction.open_table(POPULAR)?.get(id.as_bytes())?;
            Ok(found.map_or(0, |value| value.value()))
        })
    }

    /// Whether anything was told.
    pub(in crate::store) fn is_any_popular(&self) -> Result<bool, StoreError> {
        self.read(|transaction| Ok(!transaction.open_table(POPULAR)?.is_empty()?))
    }

    /// Remembers how popular those blocks are that are here.
    pub(in crate::store) fn set_popularity(
        &self,
        told: &[(BlockId, u8)],
    ) -> Result<(), StoreError> {
        self.write("extend", |tables| {
            for (id, popularity) in told {
                // Most is told again and again, and the order of eviction need not be touched.
                if tables.popularity(id)? == *popularity {
                    continue;
                }
                let Some(entry) = tables.forget(id)? else { continue };
                match popularity {
                    0 => tables.popular.remove(id.as_bytes())?,
                    _ => tables.popular.insert(id.as_bytes(), popularity)?,
                };
                tables.enter(id, entry)?;
            }
            Ok(())
        })
    }
}
