//! Get a directory: an OFF URL in, a tree of files out.
//!
//! The tree is made in a temporary folder beside its target and renamed when it is whole, so a
//! target that exists is complete. Everything is created anew inside that folder, at the paths
//! that [`directory`](crate::off::directory) has made safe: nothing outside it is ever written.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, BufWriter};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::limits::MAX_DIRECTORY_LEN;
use crate::off::directory::{DirectoryError, Entry};
use crate::off::{Directory, OffUrl};

use super::{Client, GetError, ReadError};

/// Permissions of what is made; the umask takes its part, as of any file a program makes.
const FOLDER_MODE: u32 = 0o777;
const FILE_MODE: u32 = 0o666;
const EXECUTABLE_MODE: u32 = 0o777;

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Files.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
}

impl Client {
    /// Reads a directory whose own blocks are all in the store.
    pub fn directory(&self, url: &OffUrl) -> Result<Directory, ReadError> {
        if !url.is_directory() {
            return Err(ReadError::NotDirectory(url.to_string()));
        }
        if url.length() > MAX_DIRECTORY_LEN {
            return Err(DirectoryError::TooLong { length: url.length() }.into());
        }
        let mut bytes = Vec::new();
        match self.read(url, &mut bytes, &mut |_| {}) {
            Ok(()) => Ok(Directory::decode(&bytes)?),
            Err(GetError::Read(error)) => Err(error),
            // Writing to memory does not fail, and reading does nothing else.
            Err(error) => Err(ReadError::Store(crate::store::StoreError::Io {
                attempt: "read",
                path: PathBuf::from(url.to_string()),
                source: io::Error::other(error),
            })),
        }
    }

    /// The URL of the file at a path in a directory whose own blocks are all in the store.
    pub fn directory_member(&self, url: &OffUrl, path: &str) -> Result<OffUrl, ReadError> {
        let directory = self.directory(url)?;
        directory.file(path).cloned().ok_or_else(|| ReadError::NoMember(path.to_owned()))
    }

    /// Writes the tree of a directory, all of whose blocks are in the store, to `target`, which
    /// must not exist. `progress` is told the bytes written so far; `stop` ends it between two
    /// files, and then nothing is left.
    pub fn write_directory(
        &self,
        url: &OffUrl,
        target: &Path,
        stop: &CancellationToken,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Written, GetError> {
        let directory = self.directory(url)?;
        let tree = NewTree::begin(target)?;
        let mut written = Written::default();
        for entry in directory.entries() {
            if stop.is_cancelled() {
                return Err(GetError::Stopped);
            }
            let before = written.bytes;
            self.write_entry(entry, &tree, &mut |bytes| progress(before + bytes))?;
            written.files += u64::from(entry.url.is_some());
            written.bytes += entry.url.map_or(0, OffUrl::length);
        }
        tree.keep()?;
        Ok(written)
    }

    fn write_entry(
        &self,
        entry: Entry<'_>,
        tree: &NewTree,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), GetError> {
        let (Some((place, file)), Some(url)) = (tree.make(entry)?, entry.url) else {
            return Ok(());
        };
        // No sync of each file: thousands would take minutes, and the store still has the blocks.
        match self.read(url, &mut BufWriter::new(file), progress) {
            Err(GetError::Read(source)) => {
                let path = entry.path.to_owned();
                Err(GetError::Member { path, source: Box::new(source) })
            }
            Err(GetError::Write(source)) => Err(GetError::File { path: place, source }),
            other => other,
        }
    }
}

/// A tree that is being written. Dropped before it is kept, nothing of it is left.
pub(super) struct NewTree {
    folder: TempDir,
    target: PathBuf,
}

impl NewTree {
    /// Begins one beside `target`.
    pub(super) fn begin(target: &Path) -> Result<Self, GetError> {
        let beside = target.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = tempfile::Builder::new()
            .prefix(".offswarm-")
            .suffix(".part")
            .permissions(Permissions::from_mode(FOLDER_MODE))
            .tempdir_in(beside.unwrap_or(Path::new(".")))
            .map_err(at(target))?;
        Ok(Self { folder, target: target.to_owned() })
    }

    /// Makes an empty folder, or a file with the folders above it: where it is.
    pub(super) fn make(&self, entry: Entry<'_>) -> Result<Option<(PathBuf, File)>, GetError> {
        let place = self.folder.path().join(entry.safe_path());
        let Some(url) = entry.url else {
            make_folder(&place).map_err(at(&place))?;
            return Ok(None);
        };
        if let Some(parent) = place.parent() {
            make_folder(parent).map_err(at(parent))?;
        }
        let file = make_file(&place, url.is_executable()).map_err(at(&place))?;
        Ok(Some((place, file)))
    }

    /// Gives the tree, now that it is whole, its name.
    pub(super) fn keep(self) -> Result<(), GetError> {
        let Self { folder, target } = self;
        if target.symlink_metadata().is_ok() {
            return Err(at(&target)(io::ErrorKind::AlreadyExists.into()));
        }
        fs::rename(folder.path(), &target).map_err(at(&target))?;
        // There is nothing left to clean up.
        let _ = folder.keep();
        Ok(())
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> GetError {
    move |source| GetError::File { path: path.to_owned(), source }
}

fn make_folder(place: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(place)
}

/// Makes a file that was not there. A file system that sees two names as one where we see two
/// gives an error here, and no file replaces another.
fn make_file(place: &Path, executable: bool) -> io::Result<File> {
    let mode = if executable { EXECUTABLE_MODE } else { FILE_MODE };
    OpenOptions::new().write(true).create_new(true).mode(mode).open(place)
}
