//! Import: the blocks of a js-offs cache into the store.
//!
//! js-offs (v0.1.0) keeps a file for each block, named by the block's id, in one flat folder for each
//! class of blocks:
//!
//! | folder | bytes of a block |
//! |---|---|
//! | `.block-cache` | 128,000 |
//! | `.mini-cache` | 1,000 |
//! | `.nano-cache` | 136 |
//!
//! They lie in the folder `OFFSYSTEM` of its home, or elsewhere if it was told so. It writes a file
//! where it stays, so a file may be half written; it pads such a one with noise and uses it, and so
//! stores of it hold blocks under ids that are not theirs. Here a file is taken in only if its name,
//! its length and its SHA-256 agree, and each other one is told with what is wrong with it.
//!
//! The cache is only read: no link is followed, nothing but a regular file is opened, and folders
//! in a cache are not gone into. It may be in use by js-offs meanwhile.
//!
//! Files are read as the folder lists them, one at a time, and the store commits them in windows, so
//! memory does not depend on their number. All of it is under one lease: a store with a limit gets full rather
//! than give back what was just taken in. What was taken in stays, however the import ends.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use tokio_util::sync::CancellationToken;

use crate::id::BlockId;
use crate::off::{Block, BlockSize, WrongBlock};
use crate::store::StoreError;

use super::Client;

/// The folder of each class.
const CLASSES: [(&str, BlockSize); 3] = [
    (".block-cache", BlockSize::LegacyBlock),
    (".mini-cache", BlockSize::LegacyMini),
    (".nano-cache", BlockSize::LegacyNano),
];

/// The folder with all of them in a home of js-offs.
const HOME: &str = "OFFSYSTEM";

/// Where the blocks of js-offs are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyCache {
    folders: Vec<(PathBuf, BlockSize)>,
    /// What has the name of such a folder and is none.
    odd: Vec<(PathBuf, &'static str)>,
}

/// What came of one class of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// The class.
    pub size: BlockSize,
    /// Blocks that the store did not have.
    pub new: u64,
    /// Blocks that it had.
    pub here: u64,
    /// Bytes of the new blocks.
    pub bytes: u64,
    /// Files that are no sound block.
    pub unsound: u64,
}

/// What is told while an import runs.
#[derive(Debug)]
pub enum Told<'a> {
    /// So many bytes of files have been looked at.
    Read(u64),
    /// A file that was not taken in.
    Unsound(&'a Unsound),
}

/// A file in a cache that was not taken in.
#[derive(Debug)]
pub struct Unsound {
    /// Where it is.
    pub path: PathBuf,
    /// What is wrong with it.
    pub flaw: Flaw,
}

/// What can be wrong with a file in a cache.
#[derive(Debug, thiserror::Error)]
pub enum Flaw {
    /// No block has such a name.
    #[error("its name is no block id")]
    Name,
    /// Not a regular file.
    #[error("it is {0}")]
    Kind(&'static str),
    /// Not all of it was written.
    #[error("it is half-written: {found} of {wanted} bytes")]
    Short {
        /// Its bytes.
        found: u64,
        /// Bytes of a block of this class.
        wanted: u64,
    },
    /// More than a block.
    #[error("it has {found} bytes, a block here has {wanted}")]
    Long {
        /// Its bytes.
        found: u64,
        /// Bytes of a block of this class.
        wanted: u64,
    },
    /// Another block than its name says, or a damaged one.
    #[error("its contents are not the block of its name: they hash to {found}")]
    Contents {
        /// The id of the contents.
        found: BlockId,
    },
    /// The operating system refused.
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
}

/// Why a cache was not imported, or not to the end.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Nothing there looks like one.
    #[error(
        "{path} is no cache of js-offs: neither it nor {path}/{HOME} has a folder {names}",
        path = path.display(), names = CLASSES.map(|(name, _)| name).join(", ")
    )]
    NoCache {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A folder cannot be read.
    #[error("cannot read {} ({taken} new blocks were taken in before)", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// New blocks taken in.
        taken: u64,
        /// Why.
        source: io::Error,
    },
    /// The store failed, or is full.
    #[error("cannot store a block ({taken} new blocks were taken in before)")]
    Store {
        /// New blocks taken in.
        taken: u64,
        /// Why.
        source: StoreError,
    },
    /// Whoever wanted it wants it no more.
    #[error("the import was stopped ({taken} new blocks were taken in before)")]
    Stopped {
        /// New blocks taken in.
        taken: u64,
    },
}

impl LegacyCache {
    /// Finds the folders of blocks: `path` is one of them, or has them, or has them in `OFFSYSTEM`.
    pub fn find(path: &Path) -> Result<Self, ImportError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| ImportError::Folder { path, taken: 0, source }
        };
        // Whether it is a folder that may be read shows here; a path may end in `.`.
        fs::read_dir(path).map_err(failed(path))?;
        let whole = path.canonicalize().map_err(failed(path))?;
        let mut named = [path.file_name(), whole.file_name()].into_iter().flatten();
        if let Some(size) = named.find_map(class_of) {
            return Ok(Self { folders: vec![(path.to_owned(), size)], odd: Vec::new() });
        }
        for place in [path.to_owned(), path.join(HOME)] {
            let found = Self::look(&place).map_err(failed(&place))?;
            if !found.folders.is_empty() || !found.odd.is_empty() {
                return Ok(found);
            }
        }
        Err(ImportError::NoCache { path: path.to_owned() })
    }

    fn look(place: &Path) -> io::Result<Self> {
        let (mut folders, mut odd) = (Vec::new(), Vec::new());
        for (name, size) in CLASSES {
            let folder = place.join(name);
            match folder.symlink_metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push((folder, size)),
                Ok(metadata) => odd.push((folder, kind_of(metadata.file_type()))),
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { folders, odd })
    }
}

impl Client {
    /// Takes in what is sound of a cache: what came of each class. `tell` hears of every file that
    /// was left.
    pub fn import(
        &self,
        cache: &LegacyCache,
        stop: &CancellationToken,
        tell: &mut dyn FnMut(Told<'_>),
    ) -> Result<Vec<Taken>, ImportError> {
        let _lease = self.store.lease();
        let mut import = Import { client: self, stop, tell, read: 0, done: Vec::new() };
        let ended = import.all(cache);
        // However it ended: what was taken in is to stay.
        let committed = self.store.commit().map_err(|source| import.broken(source));
        ended.and(committed).map(|()| import.done)
    }
}

/// An import that is under way.
struct Import<'a> {
    client: &'a Client,
    stop: &'a CancellationToken,
    tell: &'a mut dyn FnMut(Told<'_>),
    read: u64,
    done: Vec<Taken>,
}

impl Import<'_> {
    fn all(&mut self, cache: &LegacyCache) -> Result<(), ImportError> {
        for (path, what) in &cache.odd {
            let size = path.file_name().and_then(class_of).unwrap_or(BlockSize::Native);
            self.done.push(Taken { size, new: 0, here: 0, bytes: 0, unsound: 1 });
            (self.tell)(Told::Unsound(&Unsound { path: path.clone(), flaw: Flaw::Kind(what) }));
        }
        cache.folders.iter().try_for_each(|(folder, size)| self.folder(folder, *size))
    }

    fn folder(&mut self, folder: &Path, size: BlockSize) -> Result<(), ImportError> {
        self.done.push(Taken { size, new: 0, here: 0, bytes: 0, unsound: 0 });
        let entries = fs::read_dir(folder);
        for entry in entries.map_err(|source| self.failed(folder, source))? {
            if self.stop.is_cancelled() {
                return Err(ImportError::Stopped { taken: self.taken() });
            }
            let path = entry.map_err(|source| self.failed(folder, source))?.path();
            match read_block(&path, size) {
                Ok(block) => self.take(&block)?,
                // js-offs has removed it since.
                Err(Flaw::Unreadable(error)) if is_absent(&error) => {}
                Err(flaw) => {
                    self.count(|taken| taken.unsound += 1);
                    (self.tell)(Told::Unsound(&Unsound { path, flaw }));
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, block: &Block) -> Result<(), ImportError> {
        let is_new = self.client.store.put(block).map_err(|source| self.broken(source))?;
        let bytes = block.contents().len();
        self.count(|taken| {
            taken.new += u64::from(is_new);
            taken.here += u64::from(!is_new);
            taken.bytes += if is_new { bytes as u64 } else { 0 };
        });
        self.read += bytes as u64;
        (self.tell)(Told::Read(self.read));
        Ok(())
    }

    fn count(&mut self, change: impl FnOnce(&mut Taken)) {
        if let Some(taken) = self.done.last_mut() {
            change(taken);
        }
    }

    fn taken(&self) -> u64 {
        self.done.iter().map(|taken| taken.new).sum()
    }

    fn failed(&self, folder: &Path, source: io::Error) -> ImportError {
        ImportError::Folder { path: folder.to_owned(), taken: self.taken(), source }
    }

    fn broken(&self, source: StoreError) -> ImportError {
        ImportError::Store { taken: self.taken(), source }
    }
}

/// Reads a file of a cache, not more of it than a block has.
fn read_block(path: &Path, size: BlockSize) -> Result<Block, Flaw> {
    let name = path.file_name().and_then(OsStr::to_str);
    let id = name.and_then(|name| BlockId::parse(name).ok()).ok_or(Flaw::Name)?;
    let file = open(path)?;
    let wanted = size.len() as u64;
    check_length(file.metadata().map_err(Flaw::Unreadable)?.len(), wanted)?;
    let mut contents = Vec::with_capacity(size.len());
    let read = file.take(wanted + 1).read_to_end(&mut contents).map_err(Flaw::Unreadable)?;
    // It may have changed in between.
    check_length(read as u64, wanted)?;
    Block::check(id, contents.into()).map_err(|wrong| match wrong {
        WrongBlock::Contents { found, .. } => Flaw::Contents { found },
        // Its length was checked.
        WrongBlock::Length { .. } | WrongBlock::Padding => {
            Flaw::Long { found: read as u64, wanted }
        }
    })
}

/// Opens a regular file and nothing else, whatever takes its place meanwhile.
fn open(path: &Path) -> Result<File, Flaw> {
    let kind = path.symlink_metadata().map_err(Flaw::Unreadable)?.file_type();
    if !kind.is_file() {
        return Err(Flaw::Kind(kind_of(kind)));
    }
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags.bits().cast_signed());
    let file = options.open(path).map_err(Flaw::Unreadable)?;
    let kind = file.metadata().map_err(Flaw::Unreadable)?.file_type();
    if kind.is_file() { Ok(file) } else { Err(Flaw::Kind(kind_of(kind))) }
}

fn check_length(found: u64, wanted: u64) -> Result<(), Flaw> {
    match found {
        _ if found < wanted => Err(Flaw::Short { found, wanted }),
        _ if found > wanted => Err(Flaw::Long { found, wanted }),
        _ => Ok(()),
    }
}

fn class_of(name: &OsStr) -> Option<BlockSize> {
    CLASSES.into_iter().find(|(class, _)| name == *class).map(|(_, size)| size)
}

fn kind_of(kind: fs::FileType) -> &'static str {
    match kind {
        _ if kind.is_symlink() => "a symbolic link",
        _ if kind.is_dir() => "a folder",
        _ if kind.is_file() => "a file",
        _ => "a special file",
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mini(seed: u8) -> Block {
        Block::check(BlockId::of(&[seed; 1_000]), vec![seed; 1_000].into()).unwrap()
    }

    /// A home of js-offs with nothing in it.
    fn home() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, _) in CLASSES {
            fs::create_dir_all(folder.path().join(HOME).join(name)).unwrap();
        }
        folder
    }

    #[test]
    fn finds_the_cache_from_each_of_three_places() {
        let folder = home();
        let place = folder.path().join(HOME);
        let all = LegacyCache::find(folder.path()).unwrap();
        assert_eq!(all.folders.len(), 3);
        assert_eq!(LegacyCache::find(&place).unwrap(), all);
        let one = LegacyCache::find(&place.join(".mini-cache/.")).unwrap();
        assert_eq!(one.folders, [(place.join(".mini-cache/."), BlockSize::LegacyMini)]);
        fs::remove_dir(place.join(".mini-cache")).unwrap();
        assert_eq!(LegacyCache::find(folder.path()).unwrap().folders.len(), 2);
    }

    #[test]
    fn says_where_it_has_looked() {
        let folder = tempfile::tempdir().unwrap();
        let error = LegacyCache::find(folder.path()).unwrap_err();
        let told = error.to_string();
        assert!(told.contains("OFFSYSTEM has a folder .block-cache, .mini-cache"), "{told}");
        let error = LegacyCache::find(&folder.path().join("none")).unwrap_err();
        assert!(matches!(error, ImportError::Folder { .. }), "{error}");
    }

    #[test]
    fn a_link_in_place_of_a_cache_is_named_and_not_followed() {
        let (folder, elsewhere) = (home(), tempfile::tempdir().unwrap());
        let place = folder.path().join(HOME).join(".mini-cache");
        fs::remove_dir(&place).unwrap();
        symlink(elsewhere.path(), &place).unwrap();
        let cache = LegacyCache::find(folder.path()).unwrap();
        assert_eq!((cache.folders.len(), cache.odd), (2, vec![(place, "a symbolic link")]));
    }

    #[test]
    fn each_flaw_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let block = mini(7);
        let place = folder.path().join(block.id().to_string());
        let flaw = |contents: &[u8]| {
            fs::write(&place, contents).unwrap();
            read_block(&place, BlockSize::LegacyMini).err()
        };
        assert!(flaw(block.contents()).is_none());
        assert!(matches!(flaw(b""), Some(Flaw::Short { found: 0, wanted: 1_000 })));
        assert!(matches!(flaw(&[7; 999]), Some(Flaw::Short { .. })));
        assert!(matches!(flaw(&[7; 1_001]), Some(Flaw::Long { found: 1_001, .. })));
        assert!(matches!(flaw(&[6; 1_000]), Some(Flaw::Contents { .. })));
        fs::remove_file(&place).unwrap();
        symlink("/dev/zero", &place).unwrap();
        let found = read_block(&place, BlockSize::LegacyMini);
        assert!(matches!(found, Err(Flaw::Kind("a symbolic link"))));
        let found = read_block(&folder.path().join("config"), BlockSize::LegacyMini);
        assert!(matches!(found, Err(Flaw::Name)));
    }

    #[test]
    fn what_was_taken_in_before_a_stop_stays() {
        let (folder, store) = (home(), tempfile::tempdir().unwrap());
        for seed in 0..10 {
            let block = mini(seed);
            let path = folder.path().join(HOME).join(".mini-cache").join(block.id().to_string());
            fs::write(path, block.contents()).unwrap();
        }
        let cache = LegacyCache::find(folder.path()).unwrap();
        let stop = CancellationToken::new();
        let error = {
            let client = Client::open_seeded(store.path(), 1).unwrap();
            let mut tell = |told: Told<'_>| {
                if matches!(told, Told::Read(read) if read >= 4_000) {
                    stop.cancel();
                }
            };
            client.import(&cache, &stop, &mut tell).unwrap_err()
        };
        assert!(matches!(error, ImportError::Stopped { taken: 4 }), "{error}");
        let client = Client::open_seeded(store.path(), 1).unwrap();
        assert_eq!(client.store().census().unwrap().blocks, 4);
        let rest = client.import(&cache, &CancellationToken::new(), &mut |_| {}).unwrap();
        let mini = rest.iter().find(|taken| taken.size == BlockSize::LegacyMini).unwrap();
        assert_eq!((mini.new, mini.here, mini.bytes, mini.unsound), (6, 4, 6_000, 0));
    }
}
