//! The folder a client lives in.
//!
//! ```text
//! <home>/lock            held while a client is open
//! <home>/catalog.redb    names, see the module `catalog`
//! <home>/store/          blocks, see the module `store`
//! <home>/dht.state       nodes of the DHT, see the module `krpc::saved`
//! <home>/legacy.id       our id in the legacy network, see the module `client::legacy`
//! <home>/dht.lock        held by `offswarm dht serve`, which needs no more of a home
//! ```
//!
//! The catalog holds seal keys, so the folder is its owner's alone (mode 0700).

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::OpenError;

/// A home, locked for as long as this lives. The operating system lets go of the lock when the
/// process ends, however it ends.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    _lock: File,
}

impl Home {
    /// Locks a home, and creates it if there is none.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Folder { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        Self::locked(path)
    }

    /// Locks a home that is there already.
    pub fn open_existing(path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Folder { path: path.to_owned(), source };
        let there = |name| path.join(name).try_exists().map_err(failed);
        if !there("catalog.redb")? && !there("store/index.redb")? {
            return Err(OpenError::NoStore { path: path.to_owned() });
        }
        Self::locked(path)
    }

    fn locked(path: &Path) -> Result<Self, OpenError> {
        let name = path.join("lock");
        let failed = |source: io::Error| OpenError::Folder { path: name.clone(), source };
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let lock = options.open(&name).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    /// The nodes of the DHT that are remembered.
    #[must_use]
    pub fn dht_state(&self) -> PathBuf {
        self.path.join("dht.state")
    }

    pub(super) fn catalog(&self) -> PathBuf {
        self.path.join("catalog.redb")
    }
}
