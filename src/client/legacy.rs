//! The legacy network (js-offs) as a client sees it: the peers it knows, and its place among them.
//!
//! `<home>/legacy.id` has our id there, base58 and the end of the line. It is made when it is first
//! needed and never changed: js-offs remembers four peers, and each new id takes a place.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tempfile::NamedTempFile;

use crate::catalog::{Catalog, CatalogError};
use crate::id::LegacyId;
use crate::legacy::caller::{CallError, Identity, Ourselves, call};
use crate::legacy::contacts::{Contact, Contacts};
use crate::legacy::errand::LegacyErrand;
use crate::legacy::message::{Answer, Call};
use crate::legacy::peer::LegacyPeer;
use crate::legacy::upkeep::{SharedContacts, locked};

use super::Client;

/// The file of our id.
const ID: &str = "legacy.id";

/// The id in the home cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the id in the legacy network that is in {}", path.display())]
pub struct LegacyIdError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// What a client knows of the legacy network.
#[derive(Debug)]
pub(super) struct LegacyNetwork {
    contacts: SharedContacts,
    identity: Mutex<Identity>,
}

impl LegacyNetwork {
    /// The peers that the catalog names.
    pub(super) fn of(catalog: &Catalog) -> Result<Self, CatalogError> {
        let mut contacts = Contacts::new();
        for locator in catalog.legacy_peers()? {
            match LegacyPeer::parse(&locator) {
                Ok(peer) => contacts.name(peer),
                Err(error) => tracing::warn!("a peer in the catalog is left out: {error}"),
            }
        }
        Ok(Self { contacts: SharedContacts::new(Mutex::new(contacts)), identity: Mutex::default() })
    }
}

/// A place in the legacy network. When it is dropped nobody can call us any more.
#[derive(Debug)]
pub struct LegacyPlace {
    client: Client,
    ourselves: Ourselves,
}

impl LegacyPlace {
    /// Who we are there.
    #[must_use]
    pub const fn ourselves(&self) -> Ourselves {
        self.ourselves
    }
}

impl Drop for LegacyPlace {
    fn drop(&mut self) {
        self.client.legacy.set_identity(Identity::Guest);
    }
}

impl LegacyNetwork {
    fn set_identity(&self, identity: Identity) {
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = identity;
    }

    fn identity(&self) -> Identity {
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// Our id in the legacy network. It is made, durably, if there is none yet.
    pub fn legacy_id(&self) -> Result<LegacyId, LegacyIdError> {
        let path = self.home.path().join(ID);
        let failed = |source| LegacyIdError { path: path.clone(), source };
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
            Ok(text) => {
                let id = LegacyId::parse(text.trim());
                return id.map_err(|error| failed(io::Error::new(ErrorKind::InvalidData, error)));
            }
        }
        let id = LegacyId::from_bytes(rand::random());
        let mut file = NamedTempFile::new_in(self.home.path()).map_err(failed)?;
        writeln!(file, "{id}").map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        match file.persist_noclobber(&path) {
            Ok(_) => {}
            // Somebody else has made one at the same time.
            Err(error) if error.error.kind() == ErrorKind::AlreadyExists => {
                return self.legacy_id();
            }
            Err(error) => return Err(failed(error.error)),
        }
        let synced = fs::File::open(self.home.path()).and_then(|folder| folder.sync_all());
        synced.map_err(failed)?;
        Ok(id)
    }

    /// Takes our place in the legacy network: calls of ours name it from now on.
    #[must_use]
    pub fn take_legacy_place(&self, ourselves: Ourselves) -> LegacyPlace {
        locked(&self.legacy.contacts).we_are(ourselves.id);
        self.legacy.set_identity(Identity::Node(ourselves));
        LegacyPlace { client: self.clone(), ourselves }
    }

    /// The table of peers, for whoever answers them.
    #[must_use]
    pub fn legacy_contacts(&self) -> SharedContacts {
        SharedContacts::clone(&self.legacy.contacts)
    }

    /// The peers that are known: first those that the user named.
    #[must_use]
    pub fn legacy_peers(&self) -> Vec<Contact> {
        let mut all = locked(&self.legacy.contacts).all().to_vec();
        all.sort_by_key(|contact| !contact.named);
        all
    }

    /// Remembers a peer that the user names, durably.
    pub fn add_legacy_peer(&self, peer: LegacyPeer) -> Result<(), CatalogError> {
        self.catalog.add_legacy_peer(&peer.id, &peer.locator())?;
        locked(&self.legacy.contacts).name(peer);
        Ok(())
    }

    /// Forgets a peer. `false` if it was not known.
    pub fn remove_legacy_peer(&self, id: LegacyId) -> Result<bool, CatalogError> {
        let was_named = self.catalog.remove_legacy_peer(&id)?;
        Ok(locked(&self.legacy.contacts).forget(id) || was_named)
    }

    /// Calls a peer.
    pub async fn call_legacy(&self, peer: &LegacyPeer, asked: &Call) -> Result<Answer, CallError> {
        let answered = call(peer, &self.legacy.identity(), asked).await?;
        locked(&self.legacy.contacts).answered(peer.id, Instant::now());
        Ok(answered.answer)
    }

    /// The legacy nodes that may be asked, as the source of one fetch; `None` if none is known. Must
    /// be called in a runtime.
    pub(super) fn legacy_errand(&self) -> Option<LegacyErrand> {
        let nodes = locked(&self.legacy.contacts).to_ask();
        let identity = self.legacy.identity();
        (!nodes.is_empty()).then(|| LegacyErrand::begin(self.blocks(), nodes, identity))
    }

    /// Whether any legacy node may be asked.
    pub(super) fn knows_legacy_nodes(&self) -> bool {
        !locked(&self.legacy.contacts).to_ask().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Settings;

    fn client(folder: &std::path::Path) -> Client {
        Client::open(folder, &Settings::default()).unwrap()
    }

    #[test]
    fn the_id_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let id = client(folder.path()).legacy_id().unwrap();
        assert_eq!(client(folder.path()).legacy_id().unwrap(), id);
        fs::write(folder.path().join(ID), "short").unwrap();
        let error = client(folder.path()).legacy_id().unwrap_err();
        assert!(error.to_string().contains("legacy.id"), "{error}");
    }

    #[test]
    fn named_peers_are_there_again_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let address = "203.0.113.5:8200".parse().unwrap();
        let id = LegacyId::from_bytes([3; 32]);
        let peer = LegacyPeer { id, external: address, internal: address };
        client(folder.path()).add_legacy_peer(peer).unwrap();
        let named: Vec<_> = client(folder.path()).legacy_peers();
        assert_eq!(named.iter().map(|contact| contact.peer).collect::<Vec<_>>(), [peer]);
        assert!(client(folder.path()).remove_legacy_peer(id).unwrap());
        assert!(client(folder.path()).legacy_peers().is_empty());
    }
}
