//! How a torrent stands: what the user wants of it, and what it has moved over all runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::InfoHash;

use super::{Catalog, CatalogError, STANDINGS, may_be_new};

/// How much of the upload a torrent gets beside others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// A quarter of the usual number of peers is served at a time.
    Low,
    /// The usual number.
    #[default]
    Normal,
    /// Four times the usual number.
    High,
}

impl std::fmt::Display for Priority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        })
    }
}

/// What is remembered about a torrent beside what it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Standing {
    /// What the user wants.
    pub priority: Priority,
    /// Bytes sent to peers, over all runs.
    pub sent: u64,
    /// Bytes received from peers and web seeds, over all runs.
    pub received: u64,
    /// HTTP servers that have its content file, to be named in its links.
    pub web_seeds: Vec<String>,
}

/// A change of how a torrent stands.
pub type Change = Box<dyn Fn(&mut Standing) + Send + Sync>;

impl Catalog {
    /// How a torrent stands.
    pub fn standing(&self, infohash: InfoHash) -> Result<Standing, CatalogError> {
        let found = self.read(|transaction| {
            let Some(table) = may_be_new(transaction.open_table(STANDINGS))? else {
                return Ok(None);
            };
            Ok(table.get(infohash.as_bytes())?.map(|bytes| bytes.value().to_vec()))
        })?;
        let parsed = found.map(|bytes| self.parsed(infohash.as_bytes(), &bytes)).transpose()?;
        Ok(parsed.unwrap_or_default())
    }

    /// Changes how torrents stand, all at once. Those that are not known are left out.
    pub fn change_standings(
        &self,
        changes: &BTreeMap<InfoHash, Change>,
    ) -> Result<(), CatalogError> {
        let mut records = Vec::new();
        for (infohash, change) in changes {
            let before = self.standing(*infohash)?;
            let mut standing = before.clone();
            change(&mut standing);
            if standing != before && self.is_known(*infohash)? {
                records.push((infohash, self.encoded(infohash.as_bytes(), &standing)?));
            }
        }
        if records.is_empty() {
            return Ok(());
        }
        self.write("extend", |transaction| {
            let mut table = transaction.open_table(STANDINGS)?;
            for (infohash, record) in &records {
                table.insert(infohash.as_bytes(), record.as_slice())?;
            }
            Ok(())
        })
    }

    /// Whether a torrent is listed here or on its way.
    fn is_known(&self, infohash: InfoHash) -> Result<bool, CatalogError> {
        Ok(self.torrent(infohash)?.is_some() || self.is_downloading(infohash)?)
    }

    /// Changes how one torrent stands.
    pub fn change_standing(
        &self,
        infohash: InfoHash,
        change: impl Fn(&mut Standing) + Send + Sync + 'static,
    ) -> Result<(), CatalogError> {
        self.change_standings(&BTreeMap::from([(infohash, Box::new(change) as _)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `get` received was counted before the torrent was listed, and so not at all.
    #[test]
    fn a_download_counts_from_its_first_block() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&folder.path().join("catalog.redb")).unwrap();
        let id = crate::id::BlockId::of(b"block");
        let receive = |infohash| catalog.change_standing(infohash, |one| one.received += 7);
        let (done, given_up) = (InfoHash::of(b"done"), InfoHash::of(b"given up"));
        for infohash in [done, given_up] {
            catalog.extend_download(infohash, &[(0, id)]).unwrap();
            receive(infohash).unwrap();
        }
        catalog.publish_blocks(done, b"de", &[id], &[]).unwrap();
        for (infohash, received) in [(done, 7), (given_up, 0)] {
            catalog.end_download(infohash).unwrap();
            assert_eq!(catalog.standing(infohash).unwrap().received, received);
        }
    }

    #[test]
    fn bytes_add_up_and_go_with_the_torrent() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&folder.path().join("catalog.redb")).unwrap();
        let infohash = InfoHash::of(b"x");
        let send = || catalog.change_standing(infohash, |one| one.sent += 5).unwrap();
        send();
        assert_eq!(catalog.standing(infohash).unwrap(), Standing::default(), "not known");
        catalog.publish_blocks(infohash, b"de", &[], &[]).unwrap();
        send();
        send();
        assert_eq!(catalog.standing(infohash).unwrap().sent, 10);
        catalog.change_standing(infohash, |one| one.priority = Priority::High).unwrap();
        let standing = catalog.standing(infohash).unwrap();
        assert_eq!((standing.sent, standing.priority), (10, Priority::High));
        catalog.forget_torrent(infohash).unwrap();
        assert_eq!(catalog.standing(infohash).unwrap(), Standing::default());
    }
}
