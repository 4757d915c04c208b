//! The nodes of the last time: `dht.state` of a home, which other processes may use as well.
//!
//! It belongs to whoever holds the home (`lock`), and beside that to the `dht serve` that has taken
//! `dht.lock`: they have the ids in it. Everybody else reads the nodes and asks under an id of the
//! moment, so that the node whose id it is answers, too. The file is written only while nobody else
//! holds either lock.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use crate::client::{Home, OpenError};
use crate::id::NodeId;
use crate::krpc::contact::{Contact, Family};
use crate::krpc::machine::Saved;
use crate::krpc::saved;

/// What a home remembers of the network.
pub(super) struct Memory {
    folder: PathBuf,
    known: Vec<Saved>,
    /// Held by a node that has the ids as its own.
    own: Option<File>,
}

impl Memory {
    /// Reads what there is, for somebody who only asks.
    pub(super) fn read(folder: PathBuf) -> Self {
        let known = saved::read(&folder.join("dht.state"));
        Self { folder, known, own: None }
    }

    /// Takes the ids for a node that stays, if they are free. The folder is made.
    pub(super) fn take(folder: PathBuf) -> Self {
        let own = Home::open(&folder).ok().and_then(|_held| lock(&folder));
        Self { own, ..Self::read(folder) }
    }

    /// The id of a node of this home that stays.
    pub(super) fn id(&self, family: Family) -> Option<NodeId> {
        self.known.iter().find(|side| side.family == family).map(|side| side.id)
    }

    /// What a node begins with.
    pub(super) fn known(&self) -> Vec<Saved> {
        let mut known = self.known.clone();
        if self.own.is_none() {
            for side in &mut known {
                side.id = NodeId::from_bytes(rand::random());
            }
        }
        known
    }

    /// Whether it belongs to a node that stays.
    pub(super) const fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Whether there is a home to remember it in.
    pub(super) fn has_home(&self) -> bool {
        self.folder.join("lock").is_file()
    }

    /// Remembers what a node knows now. False if that is up to another process.
    pub(super) fn write(&mut self, found: Vec<Saved>) -> Result<bool, OpenError> {
        if found.iter().all(|side| side.contacts.is_empty()) {
            return Ok(false);
        }
        let _held = match Home::open(&self.folder) {
            Ok(held) => held,
            Err(OpenError::Locked { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let _own = match &self.own {
            Some(_) => None,
            None => match lock(&self.folder) {
                Some(own) => Some(own),
                None => return Ok(false),
            },
        };
        for side in found {
            self.learn(side);
        }
        let path = self.folder.join("dht.state");
        let written = saved::write(&path, &self.known);
        written.map(|()| true).map_err(|source| OpenError::Folder { path, source })
    }

    /// Takes in what was found in a network. Who only asked has seen a part of it: the rest stays
    /// behind that.
    fn learn(&mut self, mut found: Saved) {
        let Some(known) = self.known.iter_mut().find(|side| side.family == found.family) else {
            self.known.push(found);
            return;
        };
        if found.contacts.is_empty() {
            return;
        }
        if self.own.is_none() {
            found.id = known.id;
            let fresh = found.contacts.len();
            for old in &known.contacts {
                let again = |new: &Contact| new.address == old.address || new.id == old.id;
                if !found.contacts.iter().take(fresh).any(again) {
                    found.contacts.push(*old);
                }
            }
        }
        *known = found;
    }
}

/// Takes the lock of a node that stays, unless there is one.
fn lock(folder: &std::path::Path) -> Option<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(folder.join("dht.lock")).ok()?;
    file.try_lock().is_ok().then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    fn side(id: u8, ports: &[u16]) -> Saved {
        let contact = |port: &u16| {
            let mut id = [0; 20];
            id[..2].copy_from_slice(&port.to_be_bytes());
            Contact { id: NodeId::from_bytes(id), address: ([127, 0, 0, 1], *port).into() }
        };
        let contacts = ports.iter().map(contact).collect();
        Saved { family: Family::V4, id: NodeId::from_bytes([id; 20]), contacts }
    }

    #[test]
    fn who_only_asks_adds_to_what_is_remembered() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("new");
        let mut owner = Memory::take(folder.clone());
        assert!(owner.write(vec![side(1, &[1, 2])]).unwrap());

        let mut asker = Memory::read(folder.clone());
        assert_eq!(asker.id(Family::V4), Some(NodeId::from_bytes([1; 20])));
        assert_ne!(asker.known()[0].id, NodeId::from_bytes([1; 20]));
        assert!(!asker.write(vec![side(2, &[3])]).unwrap(), "a node that stays has the file");
        drop(owner);
        assert!(asker.write(vec![side(2, &[3, 2])]).unwrap());
        assert_eq!(Memory::take(folder.clone()).known(), [side(1, &[3, 2, 1])]);
        assert!(!asker.write(vec![side(2, &[])]).unwrap(), "nothing was found");

        let _held = Home::open(&folder).unwrap();
        assert!(!asker.write(vec![side(2, &[4])]).unwrap(), "another process has the home");
        assert_ne!(Memory::take(folder).known()[0].id, NodeId::from_bytes([1; 20]));
    }

    #[test]
    fn who_stays_replaces_what_is_remembered() {
        let home = tempfile::tempdir().unwrap();
        let mut owner = Memory::take(home.path().to_owned());
        assert!(owner.write(vec![side(1, &[1, 2])]).unwrap());
        assert!(owner.write(vec![side(5, &[2, 3])]).unwrap());
        let other = Memory::take(home.path().to_owned());
        assert_eq!(other.known()[0].contacts, side(5, &[2, 3]).contacts);
        assert_ne!(other.known()[0].id, NodeId::from_bytes([5; 20]), "one node has an id");
        drop(owner);
        assert_eq!(Memory::take(home.path().to_owned()).known(), [side(5, &[2, 3])]);
    }
}
