//! The OFF URLs that are being fetched in the background, so that a fetch goes on after the program
//! was ended, in whatever way.

use std::net::SocketAddr;

use redb::{ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use crate::off::OffUrl;

use super::{Catalog, CatalogError, may_be_new};

const AWAITED: TableDefinition<&str, &[u8]> = TableDefinition::new("awaited");

/// A fetch that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwaitedRecord {
    /// The URL, with its hints.
    pub url: String,
    /// Peers that the user named.
    #[serde(default)]
    pub peers: Vec<SocketAddr>,
    /// Trackers that the user named.
    #[serde(default)]
    pub trackers: Vec<String>,
    /// Web seeds that the user named.
    #[serde(default)]
    pub web_seeds: Vec<String>,
}

impl Catalog {
    /// Remembers that a URL is being fetched, durably.
    pub fn await_url(&self, url: &OffUrl, record: &AwaitedRecord) -> Result<(), CatalogError> {
        let key = url.canonical().to_string();
        let value = self.encoded(key.as_bytes(), record)?;
        self.write("extend", |transaction| {
            transaction.open_table(AWAITED)?.insert(key.as_str(), value.as_slice())?;
            Ok(())
        })
    }

    /// Forgets that a URL is being fetched.
    pub fn await_no_more(&self, url: &OffUrl) -> Result<(), CatalogError> {
        let key = url.canonical().to_string();
        self.write("prune", |transaction| {
            transaction.open_table(AWAITED)?.remove(key.as_str())?;
            Ok(())
        })
    }

    /// All fetches that have not ended.
    pub fn awaited(&self) -> Result<Vec<AwaitedRecord>, CatalogError> {
        let found = self.read(|transaction| {
            let Some(table) = may_be_new(transaction.open_table(AWAITED))? else {
                return Ok(Vec::new());
            };
            let mut list = Vec::new();
            for entry in table.iter()? {
                let (key, value) = entry?;
                list.push((key.value().to_owned(), value.value().to_vec()));
            }
            Ok(list)
        })?;
        found.iter().map(|(key, value)| self.parsed(key.as_bytes(), value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_what_is_being_fetched_until_it_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog.redb");
        let url = "/offsystem/v4/text/plain/0/GKot5hBsd81kMupNCXHaqbhv3huEbxAFMLnpcX2hniwn/-/n";
        let url = OffUrl::parse(url).unwrap();
        let record = AwaitedRecord {
            url: format!("{url}?pe=127.0.0.1%3A1"),
            peers: vec!["127.0.0.1:1".parse().unwrap()],
            trackers: vec!["http://t/".into()],
            web_seeds: Vec::new(),
        };
        let catalog = Catalog::open(&path).unwrap();
        assert_eq!(catalog.awaited().unwrap(), []);
        catalog.await_url(&url, &record).unwrap();
        catalog.await_url(&url, &record).unwrap();
        drop(catalog);
        let catalog = Catalog::open(&path).unwrap();
        assert_eq!(catalog.awaited().unwrap(), [record]);
        catalog.await_no_more(&url).unwrap();
        assert_eq!(catalog.awaited().unwrap(), []);
    }
}
