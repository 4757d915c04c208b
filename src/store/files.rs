//! The files of a slab store: slots in slab files of our own, and packs that are read in place.
//!
//! A bounded number of them is open at a time. Which slabs have which numbers, `places.rs` says. A
//! pack that was adopted gets a run of slab numbers, so that its blocks have slot numbers like all
//! others; it is never written to.

use std::collections::BTreeSet;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use lru::LruCache;

use crate::limits::{BLOCK_LEN, MAX_OPEN_SLABS, SLOTS_PER_SLAB};

use super::index::{Entry, Pack};
use super::places::{FOREIGN_SLAB, Region, slab_name};
use super::{Disk, DiskFile, StoreError};

#[derive(Debug)]
pub(super) struct Files {
    disk: Arc<dyn Disk>,
    slot_len: u64,
    open: Mutex<LruCache<u64, Arc<dyn DiskFile>>>,
    packs: RwLock<Vec<Pack>>,
}

/// Where a slot is: in which file, by the number of its first slab, and at which byte.
struct Place {
    file: u64,
    offset: u64,
}

impl Files {
    pub(super) fn new(disk: Arc<dyn Disk>, slot_len: u64, packs: Vec<Pack>) -> Self {
        let capacity = NonZeroUsize::new(MAX_OPEN_SLABS).unwrap_or(NonZeroUsize::MIN);
        let open = Mutex::new(LruCache::new(capacity));
        Self { disk, slot_len, open, packs: RwLock::new(packs) }
    }

    pub(super) const fn slot_len(&self) -> u64 {
        self.slot_len
    }

    pub(super) fn write(&self, slot: u64, contents: &[u8]) -> Result<(), StoreError> {
        if contents.len() as u64 > self.slot_len {
            return Err(StoreError::TooLarge { len: contents.len(), slot: self.slot_len });
        }
        let Place { file, offset } = self.place(slot);
        let written = self.file(file)?.write_at(contents, offset);
        written.map_err(|error| self.failed("write a block to", file, error))
    }

    /// The bytes in a slot; `None` if the file ends before them.
    pub(super) fn read(&self, entry: Entry) -> Result<Option<Bytes>, StoreError> {
        let Place { file, offset } = self.place(entry.slot);
        match self.file(file)?.read(entry.len as usize, offset) {
            Ok(contents) => Ok(Some(contents.into())),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(self.failed("read a block from", file, error)),
        }
    }

    /// Gives the bytes of free slots back to the disk.
    pub(super) fn punch(&self, slots: &[u64]) -> Result<(), StoreError> {
        let is_ours = |slot: &&u64| matches!(Region::of(**slot), Region::Native | Region::Legacy);
        for slot in slots.iter().filter(is_ours) {
            let Place { file, offset } = self.place(*slot);
            let punched = self.file(file)?.punch(offset, self.slot_len);
            punched.map_err(|error| self.failed("free a slot of", file, error))?;
        }
        Ok(())
    }

    pub(super) fn sync(&self, slabs: &BTreeSet<u64>) -> Result<(), StoreError> {
        for &slab in slabs {
            self.file(slab)?.sync().map_err(|error| self.failed("sync", slab, error))?;
        }
        // One sync of the folder makes the names of new slabs durable too.
        self.disk.sync_names().map_err(|error| self.failed("sync the folder of", 0, error))
    }

    /// Makes a pack of whole blocks readable in place.
    pub(super) fn add_pack(&self, path: &Path) -> Result<Pack, StoreError> {
        let path = path.canonicalize().map_err(|source| StoreError::Io {
            attempt: "open the pack",
            path: path.to_owned(),
            source,
        })?;
        let not_a_pack =
            |why: &str| StoreError::NotAPack { path: path.clone(), why: why.to_owned() };
        let len = self.disk.open_foreign(&path).and_then(|file| file.len());
        let len = len.map_err(|source| StoreError::Io {
            attempt: "open the pack",
            path: path.clone(),
            source,
        })?;
        if len == 0 || len % BLOCK_LEN as u64 != 0 || self.slot_len != BLOCK_LEN as u64 {
            return Err(not_a_pack("its length is no whole number of blocks"));
        }
        let name = path.to_str().ok_or_else(|| not_a_pack("its path is not UTF-8"))?.to_owned();
        let mut packs = self.packs.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = packs.iter().find(|pack| pack.path == name) {
            return Ok(known.clone());
        }
        let first_slab = packs.iter().map(end_slab).max().unwrap_or(FOREIGN_SLAB);
        let pack = Pack { first_slab, path: name, blocks: len / BLOCK_LEN as u64 };
        packs.push(pack.clone());
        Ok(pack)
    }

    fn place(&self, slot: u64) -> Place {
        let slab = slot / SLOTS_PER_SLAB;
        let file = self.pack_of(slab).map_or(slab, |pack| pack.first_slab);
        Place { file, offset: (slot - file * SLOTS_PER_SLAB) * self.slot_len }
    }

    /// The file that consists of so many slots from one on, and of nothing else.
    pub(super) fn of_exactly(&self, slot: u64, slots: u64) -> Result<Option<PathBuf>, StoreError> {
        let Place { file, offset } = self.place(slot);
        let len = slots * self.slot_len;
        let is_whole = match Region::of(slot) {
            // A slab of ours that is not full grows; what is told of it now is wrong soon.
            Region::Native => slots == SLOTS_PER_SLAB,
            Region::Foreign => true,
            Region::Legacy | Region::Mini | Region::Nano => false,
        };
        if offset != 0 || !is_whole {
            return Ok(None);
        }
        let found = self.file(file)?.len().map_err(|error| self.failed("look at", file, error))?;
        Ok((found == len).then(|| self.path(file)))
    }

    fn pack_of(&self, slab: u64) -> Option<Pack> {
        if Region::of(slab.saturating_mul(SLOTS_PER_SLAB)) != Region::Foreign {
            return None;
        }
        let packs = self.packs.read().unwrap_or_else(PoisonError::into_inner);
        packs.iter().find(|pack| (pack.first_slab..end_slab(pack)).contains(&slab)).cloned()
    }

    pub(super) fn file(&self, number: u64) -> Result<Arc<dyn DiskFile>, StoreError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = open.try_get_or_insert(number, || match self.pack_of(number) {
            Some(pack) => self.disk.open_foreign(Path::new(&pack.path)),
            None => self.disk.open(&slab_name(number)),
        });
        opened.cloned().map_err(|error| self.failed("open", number, error))
    }

    fn path(&self, file: u64) -> PathBuf {
        self.pack_of(file).map_or_else(|| self.disk.path(&slab_name(file)), |pack| pack.path.into())
    }

    fn failed(&self, attempt: &'static str, file: u64, source: io::Error) -> StoreError {
        StoreError::Io { attempt, path: self.path(file), source }
    }

    /// A slot in words.
    pub(super) fn describe(&self, slot: u64) -> String {
        if Region::of(slot).in_index().is_some() {
            return "in the index".into();
        }
        let Place { file, offset } = self.place(slot);
        format!("{}, slot {}", self.path(file).display(), offset / self.slot_len)
    }
}

/// The first slab after those of a pack.
const fn end_slab(pack: &Pack) -> u64 {
    pack.first_slab + pack.blocks.div_ceil(SLOTS_PER_SLAB)
}
