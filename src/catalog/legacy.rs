//! The peers of the legacy network (js-offs) that the user named: their locators.

use redb::{ReadableTable, TableDefinition};

use crate::id::LegacyId;

use super::{Catalog, CatalogError, may_be_new};

const LEGACY_PEERS: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("legacy_peers");

impl Catalog {
    /// Remembers the locator of a peer, durably, instead of the one there was.
    pub fn add_legacy_peer(&self, id: &LegacyId, locator: &str) -> Result<(), CatalogError> {
        let value = self.encoded(id.as_bytes(), &locator)?;
        self.write("extend", |transaction| {
            transaction.open_table(LEGACY_PEERS)?.insert(id.as_bytes(), value.as_slice())?;
            Ok(())
        })
    }

    /// Forgets a peer. `false` if there was none.
    pub fn remove_legacy_peer(&self, id: &LegacyId) -> Result<bool, CatalogError> {
        self.write("prune", |transaction| {
            Ok(transaction.open_table(LEGACY_PEERS)?.remove(id.as_bytes())?.is_some())
        })
    }

    /// The locators of all peers.
    pub fn legacy_peers(&self) -> Result<Vec<String>, CatalogError> {
        let found = self.read(|transaction| {
            let Some(table) = may_be_new(transaction.open_table(LEGACY_PEERS))? else {
                return Ok(Vec::new());
            };
            let mut list = Vec::new();
            for entry in table.iter()? {
                let (key, value) = entry?;
                list.push((*key.value(), value.value().to_vec()));
            }
            Ok(list)
        })?;
        found.iter().map(|(key, value)| self.parsed(key, value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_the_last_locator_of_each_peer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog.redb");
        let catalog = Catalog::open(&path).unwrap();
        assert_eq!(catalog.legacy_peers().unwrap(), [] as [&str; 0]);
        let [one, other] = [1, 2].map(|byte| LegacyId::from_bytes([byte; 32]));
        for (id, locator) in [(one, "a"), (other, "b"), (one, "c")] {
            catalog.add_legacy_peer(&id, locator).unwrap();
        }
        drop(catalog);
        let catalog = Catalog::open(&path).unwrap();
        assert_eq!(catalog.legacy_peers().unwrap(), ["c", "b"]);
        assert!(catalog.remove_legacy_peer(&one).unwrap());
        assert!(!catalog.remove_legacy_peer(&one).unwrap());
        assert_eq!(catalog.legacy_peers().unwrap(), ["b"]);
    }
}
