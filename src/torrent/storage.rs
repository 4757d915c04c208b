//! librqbit's storage interface over a block store.
//!
//! librqbit writes 16 KiB chunks from up to eight threads and reads them back to check a piece.
//! So a piece lives in memory until librqbit has found its SHA-1 right; only then its blocks are
//! named by their SHA-256 and stored. What arrives wrong is never stored and never read by
//! anybody but the check.
//!
//! What librqbit 9.1 makes of answers decides ours: an error during its initial check discards
//! the rest of the file, so a piece we lack reads as zeros while there is something behind it, and
//! is an error when there is not; errors of `on_piece_completed` are
//! only logged, so the first of them is kept in [`Shared::failure`] for whoever waits for the
//! download.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use librqbit::storage::{BoxStorageFactory, StorageFactory, StorageFactoryExt, TorrentStorage};
use librqbit::{ManagedTorrentShared, TorrentMetadata};
use librqbit_core::lengths::ValidPieceIndex;

use crate::catalog::{Catalog, CatalogError};
use crate::id::{BlockId, InfoHash};
use crate::limits::{BLOCK_LEN, COMMIT_WINDOW_BLOCKS};
use crate::off::Block;
use crate::store::{BlockStore, StoreError};

use super::metainfo::{Info, NotOff};

/// Why a download cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("cannot keep a downloaded block")]
    Store(#[from] StoreError),
    #[error("cannot keep the state of a download")]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    NotOff(#[from] NotOff),
}

/// What a storage and the owner of its torrent have in common.
pub(super) struct Shared {
    pub(super) store: Arc<dyn BlockStore>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) infohash: InfoHash,
    /// Refuse a torrent with more blocks than this.
    pub(super) max_blocks: u64,
    /// The first block must be this one, if it is known.
    pub(super) first: Option<BlockId>,
    /// Blocks known beforehand: number in the torrent, and id.
    pub(super) known: Vec<(u64, BlockId)>,
    /// The info dict, once librqbit has it.
    pub(super) info: OnceLock<Info>,
    /// The first thing that went wrong.
    pub(super) failure: OnceLock<Failure>,
    /// The storage, once there is one and as long as librqbit keeps it.
    pub(super) storage: OnceLock<Weak<Inner>>,
}

impl Shared {
    /// Makes everything that has come durable, and remembers that it is here.
    pub(super) fn save(&self) -> anyhow::Result<()> {
        match self.storage.get().and_then(Weak::upgrade) {
            Some(storage) => storage.save(Vec::new(), 1),
            None => Ok(()),
        }
    }

    fn fail(&self, failure: impl Into<Failure>) -> anyhow::Error {
        let failure = failure.into();
        let error = anyhow!("{failure}");
        // Only the first failure is the cause; what follows from it is not news.
        let _ = self.failure.set(failure);
        error
    }
}

#[derive(Clone)]
pub(super) struct Factory(pub(super) Arc<Shared>);

impl StorageFactory for Factory {
    type Storage = BlockStorage;

    fn create(
        &self,
        _: &ManagedTorrentShared,
        metadata: &TorrentMetadata,
    ) -> anyhow::Result<BlockStorage> {
        let shared = Arc::clone(&self.0);
        let info = Info::decode(metadata.info_bytes.clone())
            .map_err(|error| shared.fail(NotOff(error.to_string())))?;
        let blocks = info.blocks().map_err(|error| shared.fail(error))?;
        if blocks > shared.max_blocks {
            let most = shared.max_blocks;
            return Err(shared.fail(NotOff(format!("{blocks} blocks where {most} would do"))));
        }
        let state = State::new(blocks, info.piece_length, &shared.known);
        let _ = shared.info.set(info);
        let inner = Arc::new(Inner { shared, state, checked: AtomicBool::new(false) });
        let _ = inner.shared.storage.set(Arc::downgrade(&inner));
        Ok(BlockStorage(inner))
    }

    fn clone_box(&self) -> BoxStorageFactory {
        self.clone().boxed()
    }
}

/// The storage of one torrent. librqbit "takes" it when it changes state; that is another handle
/// to the same thing.
pub(super) struct BlockStorage(Arc<Inner>);

pub(super) struct Inner {
    shared: Arc<Shared>,
    state: State,
    /// Whether librqbit's initial check is over.
    checked: AtomicBool,
}

struct State {
    piece_len: u64,
    /// Blocks of the torrent.
    blocks: u64,
    /// The ids of the blocks that are known, by number. Only these take memory: the number of
    /// blocks is the word of whoever made the torrent.
    ids: RwLock<BTreeMap<u64, BlockId>>,
    /// Pieces that are not complete yet.
    partial: Mutex<HashMap<u64, Arc<Mutex<Vec<u8>>>>>,
    /// Blocks that came since the catalog was written last.
    unsaved: Mutex<Vec<(u64, BlockId)>>,
}

impl State {
    fn new(blocks: u64, piece_len: u64, known: &[(u64, BlockId)]) -> Self {
        let known = known.iter().copied().filter(|(number, _)| *number < blocks);
        Self {
            piece_len,
            blocks,
            ids: RwLock::new(known.collect()),
            partial: Mutex::default(),
            unsaved: Mutex::default(),
        }
    }

    fn id(&self, number: u64) -> Option<BlockId> {
        self.ids.read().unwrap_or_else(PoisonError::into_inner).get(&number).copied()
    }

    /// Whether no block from `number` on is known.
    fn is_behind_all(&self, number: u64) -> bool {
        let ids = self.ids.read().unwrap_or_else(PoisonError::into_inner);
        ids.range(number..).next().is_none()
    }

    fn piece(&self, piece: u64) -> Option<Arc<Mutex<Vec<u8>>>> {
        self.partial.lock().unwrap_or_else(PoisonError::into_inner).get(&piece).cloned()
    }

    fn piece_or_new(&self, piece: u64) -> Arc<Mutex<Vec<u8>>> {
        let total = self.blocks * BLOCK_LEN as u64;
        let rest = total.saturating_sub(piece * self.piece_len);
        let len = usize::try_from(self.piece_len.min(rest)).unwrap_or_default();
        let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(partial.entry(piece).or_insert_with(|| Arc::new(Mutex::new(vec![0; len]))))
    }
}

impl Inner {
    /// Fills `out`, which lies in one block, from `offset` in the torrent.
    fn read(&self, offset: u64, out: &mut [u8]) -> anyhow::Result<()> {
        if let Some(piece) = self.state.piece(offset / self.state.piece_len) {
            let bytes = piece.lock().unwrap_or_else(PoisonError::into_inner);
            return copy(&bytes, offset % self.state.piece_len, out);
        }
        let block = match self.state.id(offset / BLOCK_LEN as u64) {
            Some(id) => self.shared.store.get(&id),
            None => Ok(None),
        };
        match block {
            Ok(Some(block)) => copy(block.contents(), offset % BLOCK_LEN as u64, out),
            // Nothing more is here, so librqbit need not hash zeros to the end.
            Ok(None)
                if !self.checked.load(Ordering::Acquire)
                    && self.state.is_behind_all(offset / BLOCK_LEN as u64) =>
            {
                Err(anyhow!("nothing more is here"))
            }
            _ if !self.checked.load(Ordering::Acquire) => {
                out.fill(0);
                Ok(())
            }
            Ok(None) => Err(anyhow!("block {} is not here", offset / BLOCK_LEN as u64)),
            // A damaged block concerns who asks for it, not the whole torrent.
            Err(error) => Err(error.into()),
        }
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> anyhow::Result<()> {
        let piece = self.state.piece_or_new(offset / self.state.piece_len);
        let mut piece = piece.lock().unwrap_or_else(PoisonError::into_inner);
        let start = usize::try_from(offset % self.state.piece_len)?;
        let place = start.checked_add(bytes.len()).and_then(|end| piece.get_mut(start..end));
        place.context("a chunk beyond its piece")?.copy_from_slice(bytes);
        Ok(())
    }

    /// Stores the blocks of a piece whose SHA-1 is right.
    fn complete(&self, piece: u64) -> anyhow::Result<()> {
        let Some(bytes) = self.state.piece(piece) else {
            return Ok(());
        };
        // A copy, because peers may read the piece until its blocks are in the store.
        let bytes = Bytes::copy_from_slice(&bytes.lock().unwrap_or_else(PoisonError::into_inner));
        let first = piece * (self.state.piece_len / BLOCK_LEN as u64);
        let mut added = Vec::new();
        for (number, start) in (first..).zip((0..bytes.len()).step_by(BLOCK_LEN)) {
            let end = bytes.len().min(start + BLOCK_LEN);
            let block = Block::from_piece(bytes.slice(start..end))?;
            self.check_first(number, block.id())?;
            self.shared.store.put(&block).map_err(|error| self.shared.fail(error))?;
            added.push((number, block.id()));
        }
        self.learn(&added);
        self.state.partial.lock().unwrap_or_else(PoisonError::into_inner).remove(&piece);
        self.save(added, COMMIT_WINDOW_BLOCKS)
    }

    /// A swarm whose first block is not the descriptor the URL names is somebody else's.
    fn check_first(&self, number: u64, id: BlockId) -> anyhow::Result<()> {
        match self.shared.first {
            Some(first) if number == 0 && first != id => Err(self.shared.fail(NotOff(format!(
                "it begins with block {id}, the URL's descriptor is {first}"
            )))),
            _ => Ok(()),
        }
    }

    fn learn(&self, added: &[(u64, BlockId)]) {
        let mut ids = self.state.ids.write().unwrap_or_else(PoisonError::into_inner);
        ids.extend(added.iter().copied());
    }

    /// Makes what has come durable once it is at least `window` blocks: first the blocks, then
    /// the record that they are here.
    fn save(&self, added: Vec<(u64, BlockId)>, window: usize) -> anyhow::Result<()> {
        let mut unsaved = self.state.unsaved.lock().unwrap_or_else(PoisonError::into_inner);
        unsaved.extend(added);
        if unsaved.is_empty() || unsaved.len() < window {
            return Ok(());
        }
        let batch = std::mem::take(&mut *unsaved);
        drop(unsaved);
        let Shared { store, catalog, infohash, .. } = &*self.shared;
        store.commit().map_err(|error| self.shared.fail(error))?;
        catalog.extend_download(*infohash, &batch).map_err(|error| self.shared.fail(error))
    }
}

fn copy(from: &[u8], offset: u64, out: &mut [u8]) -> anyhow::Result<()> {
    let start = usize::try_from(offset)?;
    let bytes = start.checked_add(out.len()).and_then(|end| from.get(start..end));
    out.copy_from_slice(bytes.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
    Ok(())
}

impl TorrentStorage for BlockStorage {
    fn init(&mut self, _: &ManagedTorrentShared, _: &TorrentMetadata) -> anyhow::Result<()> {
        Ok(())
    }

    fn pread_exact(&self, _: usize, mut offset: u64, buf: &mut [u8]) -> anyhow::Result<()> {
        let mut rest = buf;
        while !rest.is_empty() {
            let in_block = BLOCK_LEN - usize::try_from(offset % BLOCK_LEN as u64)?;
            let (now, later) = rest.split_at_mut(in_block.min(rest.len()));
            self.0.read(offset, now)?;
            offset += now.len() as u64;
            rest = later;
        }
        Ok(())
    }

    fn pwrite_all(&self, _: usize, offset: u64, buf: &[u8]) -> anyhow::Result<()> {
        if buf.is_empty() { Ok(()) } else { self.0.write(offset, buf) }
    }

    fn remove_file(&self, _: usize, _: &Path) -> anyhow::Result<()> {
        Ok(())
    }

    fn remove_directory_if_empty(&self, _: &Path) -> anyhow::Result<()> {
        Ok(())
    }

    fn ensure_file_length(&self, _: usize, _: u64) -> anyhow::Result<()> {
        // librqbit calls this once, right after its initial check.
        self.0.checked.store(true, Ordering::Release);
        Ok(())
    }

    fn take(&self) -> anyhow::Result<Box<dyn TorrentStorage>> {
        Ok(Box::new(Self(Arc::clone(&self.0))))
    }

    fn on_piece_completed(&self, piece: ValidPieceIndex) -> anyhow::Result<()> {
        self.0.complete(u64::from(piece.get()))
    }
}
