//! A disk in memory that stops, fails and forgets when a test wants it to.
//!
//! Writes are kept apart from what a sync has made durable. After the crash a file consists of
//! its durable bytes and of any part of the writes since: none, all, or some, torn at will.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Disk, DiskFile};

/// Which of the unsynced writes a crash keeps.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kept {
    None,
    All,
    /// A random part, the last bytes of each possibly torn off.
    Some(u64),
}

#[derive(Debug, Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Len(u64),
}

#[derive(Debug, Default)]
struct Contents {
    now: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

/// How the disk misbehaves.
#[derive(Debug, Default)]
struct Plan {
    /// Changes (writes, syncs, lengths, holes) so far.
    changes: AtomicU64,
    /// From this change on everything fails: the machine is off. 0 is never.
    stop_at: AtomicU64,
    /// This change alone fails. 0 is none.
    fail_at: AtomicU64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct FaultDisk {
    files: Arc<Mutex<HashMap<String, Arc<Mutex<Contents>>>>>,
    plan: Arc<Plan>,
}

#[derive(Debug)]
struct FaultFile {
    contents: Arc<Mutex<Contents>>,
    plan: Arc<Plan>,
}

impl Plan {
    fn change(&self) -> io::Result<()> {
        let change = self.changes.fetch_add(1, Ordering::SeqCst) + 1;
        let stop = self.stop_at.load(Ordering::SeqCst);
        if stop != 0 && change >= stop {
            return Err(io::Error::other("the machine is off"));
        }
        if self.fail_at.load(Ordering::SeqCst) == change {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl FaultDisk {
    /// Turns the machine off at the `n`-th change from now.
    pub(super) fn stop_at(&self, n: u64) {
        self.plan.stop_at.store(self.changes() + n, Ordering::SeqCst);
    }

    /// Lets the `n`-th change from now fail as on a full disk.
    pub(super) fn fail_at(&self, n: u64) {
        self.plan.fail_at.store(self.changes() + n, Ordering::SeqCst);
    }

    pub(super) fn changes(&self) -> u64 {
        self.plan.changes.load(Ordering::SeqCst)
    }

    /// The disk as it is found when the machine is on again.
    pub(super) fn after_crash(&self, kept: Kept) -> Self {
        let files = self.files.lock().unwrap();
        let survivors = files.iter().map(|(name, contents)| {
            let bytes = contents.lock().unwrap().after_crash(kept);
            let contents = Contents { now: bytes.clone(), durable: bytes, pending: Vec::new() };
            (name.clone(), Arc::new(Mutex::new(contents)))
        });
        let files = Arc::new(Mutex::new(survivors.collect()));
        Self { files, plan: Arc::default() }
    }

    /// Flips a bit of a file behind the store's back.
    pub(super) fn flip(&self, name: &str, offset: usize) {
        let files = self.files.lock().unwrap();
        files[name].lock().unwrap().now[offset] ^= 1;
    }

    pub(super) fn len(&self, name: &str) -> usize {
        self.files.lock().unwrap().get(name).map_or(0, |file| file.lock().unwrap().now.len())
    }
}

impl Contents {
    fn after_crash(&self, kept: Kept) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        let mut rng = StdRng::seed_from_u64(if let Kept::Some(seed) = kept { seed } else { 0 });
        for change in &self.pending {
            match kept {
                Kept::All => apply(&mut bytes, change),
                Kept::Some(_) if rng.random_ratio(1, 2) => {
                    let mut change = change.clone();
                    if let Change::Write(_, data) = &mut change {
                        data.truncate(rng.random_range(0..=data.len()));
                    }
                    apply(&mut bytes, &change);
                }
                Kept::None | Kept::Some(_) => {}
            }
        }
        bytes
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Len(len) => bytes.resize(*len as usize, 0),
        Change::Write(offset, data) => {
            let start = *offset as usize;
            if bytes.len() < start + data.len() {
                bytes.resize(start + data.len(), 0);
            }
            bytes[start..start + data.len()].copy_from_slice(data);
        }
    }
}

impl Disk for FaultDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut files = self.files.lock().unwrap();
        let contents = Arc::clone(files.entry(name.to_owned()).or_default());
        Ok(Arc::new(FaultFile { contents, plan: Arc::clone(&self.plan) }))
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        Ok(self.files.lock().unwrap().contains_key(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.plan.change()?;
        let mut files = self.files.lock().unwrap();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn open_foreign(&self, _: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn sync_names(&self) -> io::Result<()> {
        self.plan.change()
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(name)
    }
}

impl FaultFile {
    fn change(&self, change: Change) -> io::Result<()> {
        self.plan.change()?;
        let mut contents = self.contents.lock().unwrap();
        apply(&mut contents.now, &change);
        contents.pending.push(change);
        Ok(())
    }
}

impl DiskFile for FaultFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let contents = self.contents.lock().unwrap();
        let start = offset as usize;
        let found = contents.now.get(start..start + bytes.len());
        bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.change(Change::Write(offset, bytes.to_vec()))
    }

    fn sync(&self) -> io::Result<()> {
        self.plan.change()?;
        let mut contents = self.contents.lock().unwrap();
        let pending = std::mem::take(&mut contents.pending);
        for change in &pending {
            apply(&mut contents.durable, change);
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.contents.lock().unwrap().now.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::Len(len))
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.change(Change::Write(offset, vec![0; len as usize]))
    }
}
