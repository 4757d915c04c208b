//! The content of an OFF torrent: blocks of the store, in the torrent's order.
//!
//! Piece `i` is block `i`, or a run of blocks (see [`mapping`]), each in its slot ([`Carriage`]). To
//! serve, the ids of all blocks are known. To download, some are: those of the descriptor that is here
//! already, and those that have come. A piece whose blocks' ids are all known is checked against these
//! alone, which is one hash instead of two; any other against the info dict, and then its blocks' ids
//! are new, and their size is the one that the OFF URL tells.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use bytes::{Bytes, BytesMut};

use crate::catalog::{Catalog, CatalogError, Priority};
use crate::id::{BlockId, PieceHash, PieceHasher};
use crate::limits::{BLOCK_LEN, SAVE_WINDOW_BLOCKS};
use crate::off::{Block, Carriage, WrongBlock};
use crate::peer::bits::Bits;
use crate::peer::content::{Content, Verdict};
use crate::peer::message::HashRange;
use crate::peer::pieces::Pieces;
use crate::store::{BlockStore, Presence, StoreError};
use crate::torrent::mapping;
use crate::torrent::merkle::Layers;
use crate::torrent::metainfo::{Info, MetainfoError, NotOff};

/// Why a download cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A block could not be kept.
    #[error("cannot keep a downloaded block")]
    Store(#[from] StoreError),
    /// What has come could not be remembered.
    #[error("cannot keep the state of a download")]
    Catalog(#[from] CatalogError),
    /// The torrent is of no use.
    #[error(transparent)]
    NotOff(#[from] NotOff),
}

/// The blocks of a torrent.
pub struct BlockContent {
    store: Arc<dyn BlockStore>,
    pieces: Pieces,
    info: Bytes,
    blocks: Blocks,
    /// The Merkle tree of a version 2 torrent, made when somebody asks for hashes of it.
    layers: OnceLock<Option<Layers>>,
    plant: Option<Plant>,
    priority: Priority,
    /// Blocks that came since this was made.
    came: AtomicU64,
    /// The first thing that went wrong since a download was begun.
    failure: Mutex<Option<Arc<Failure>>>,
}

/// Makes a Merkle tree over blocks; `None` if it cannot.
pub type Plant = Box<dyn Fn(&[BlockId]) -> Option<Layers> + Send + Sync>;

enum Blocks {
    /// All ids are known: the torrent is served.
    Known(Vec<BlockId>),
    /// It is downloaded.
    Coming(Box<Coming>),
}

struct Coming {
    catalog: Arc<Catalog>,
    info: Info,
    carriage: Carriage,
    /// The SHA-1 of the pieces.
    hashes: Vec<PieceHash>,
    /// What the first block must be.
    first: Option<BlockId>,
    /// The ids that are known, by number. Only these take memory: the number of blocks is the word
    /// of whoever made the torrent.
    ids: RwLock<BTreeMap<u64, BlockId>>,
    /// Blocks that came since the catalog was written last.
    unsaved: Mutex<Vec<(u64, BlockId)>>,
}

impl BlockContent {
    /// Blocks to be served: those of a torrent, in its order. A torrent of version 2 comes with
    /// what makes its Merkle tree.
    #[must_use]
    pub fn served(
        store: Arc<dyn BlockStore>,
        order: Vec<BlockId>,
        info: Bytes,
        plant: Option<Plant>,
        priority: Priority,
    ) -> Self {
        let pieces = cut(order.len() as u64);
        Self { plant, priority, ..Self::new(store, pieces, info, Blocks::Known(order)) }
    }

    fn new(store: Arc<dyn BlockStore>, pieces: Pieces, info: Bytes, blocks: Blocks) -> Self {
        Self {
            store,
            pieces,
            info,
            blocks,
            layers: OnceLock::new(),
            plant: None,
            priority: Priority::Normal,
            came: AtomicU64::new(0),
            failure: Mutex::default(),
        }
    }

    /// Blocks to be downloaded, carried in some way. `known` are those whose place is known: number,
    /// and id; `first` is what the first one must be.
    pub fn coming(
        store: Arc<dyn BlockStore>,
        catalog: Arc<Catalog>,
        info: Info,
        (carriage, first): (Carriage, Option<BlockId>),
        known: impl IntoIterator<Item = (u64, BlockId)>,
    ) -> Result<Self, Failure> {
        let blocks = info.blocks()?;
        let mut ids: BTreeMap<u64, BlockId> =
            catalog.download(info.infohash)?.into_iter().collect();
        ids.extend(known);
        ids.retain(|number, _| *number < blocks);
        let not_off = |error: MetainfoError| NotOff(error.to_string());
        let (raw, hashes) = (info.raw.clone(), info.piece_hashes().map_err(not_off)?);
        let coming = Coming {
            catalog,
            info,
            carriage,
            hashes,
            first,
            ids: RwLock::new(ids),
            unsaved: Mutex::default(),
        };
        Ok(Self::new(store, cut(blocks), raw, Blocks::Coming(Box::new(coming))))
    }

    /// Blocks of the torrent.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.pieces.total / BLOCK_LEN as u64
    }

    /// The piece that a block is in.
    #[must_use]
    pub fn piece_of(&self, block: u64) -> u32 {
        u32::try_from(block * BLOCK_LEN as u64 / u64::from(self.pieces.piece_len))
            .unwrap_or(u32::MAX)
    }

    /// Whether all blocks of a piece are here, as far as their ids are known.
    #[must_use]
    pub fn has_piece(&self, piece: u32) -> bool {
        self.blocks_of(piece).all(|number| self.is_held(number))
    }

    /// Ids that have become known meanwhile, by number.
    pub fn learn(&self, known: impl IntoIterator<Item = (u64, BlockId)>) {
        if let Blocks::Coming(coming) = &self.blocks {
            coming.learn(known.into_iter().filter(|(number, _)| *number < self.blocks()));
        }
    }

    /// Blocks that have come.
    #[must_use]
    pub fn came(&self) -> u64 {
        self.came.load(Ordering::Relaxed)
    }

    /// The first thing that went wrong since the last [`retry`](Self::retry).
    #[must_use]
    pub fn failure(&self) -> Option<Arc<Failure>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A download begins anew: what went wrong may have been put right.
    pub fn retry(&self) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Only the first failure is the cause; what follows from it is not news.
    fn failed(&self, failure: Failure) -> Verdict {
        let mut first = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| Arc::new(failure));
        Verdict::Failed
    }

    /// Makes everything that has come durable, and remembers that it is here.
    pub fn save(&self) -> Result<(), Failure> {
        match &self.blocks {
            Blocks::Known(_) => Ok(()),
            Blocks::Coming(coming) => coming.save(&*self.store, Vec::new(), 1),
        }
    }

    fn id(&self, number: u64) -> Option<BlockId> {
        match &self.blocks {
            Blocks::Known(order) => order.get(usize::try_from(number).ok()?).copied(),
            Blocks::Coming(coming) => coming.id(number),
        }
    }

    /// The numbers of the blocks of a piece.
    pub(super) fn blocks_of(&self, piece: u32) -> std::ops::Range<u64> {
        let per_piece = u64::from(self.pieces.piece_len) / BLOCK_LEN as u64;
        let first = u64::from(piece) * per_piece;
        first..(first + per_piece).min(self.blocks())
    }

    fn is_held(&self, number: u64) -> bool {
        let held = |id| matches!(self.store.presence(&id), Ok(Presence::Held));
        self.id(number).is_some_and(held)
    }

    /// Checks a piece of a torrent that is served, and puts it back into the store.
    fn restore(&self, order: &[BlockId], piece: u32, parts: &[Bytes]) -> Result<bool, StoreError> {
        let ids =
            self.blocks_of(piece).filter_map(|number| order.get(usize::try_from(number).ok()?));
        let check = |(id, slot): (&BlockId, Bytes)| Carriage::found_in(&slot).check(*id, &slot);
        let blocks = ids.zip(joined(parts)).map(check);
        let Ok(blocks) = blocks.collect::<Result<Vec<_>, _>>() else { return Ok(false) };
        for block in &blocks {
            let is_new = self.store.put(block)?;
            self.came.fetch_add(u64::from(is_new), Ordering::Relaxed);
        }
        self.store.commit()?;
        Ok(true)
    }

    fn keep(&self, coming: &Coming, piece: u32, parts: &[Bytes]) -> Result<Verdict, Failure> {
        let numbers = self.blocks_of(piece);
        let expected: Vec<_> = numbers.clone().map(|number| coming.id(number)).collect();
        let all_known = expected.iter().all(Option::is_some);
        if !all_known && !coming.is_right(piece, parts) {
            return Ok(Verdict::Wrong);
        }
        let mut added = Vec::new();
        for ((number, expected), slot) in numbers.zip(expected).zip(joined(parts)) {
            let first = coming.first.filter(|_| number == 0);
            let block = match coming.unload(number, expected.or(first), &slot) {
                Ok(block) => block,
                // The peer gave what the torrent promises, so it is the torrent that lies.
                Err(lie) if coming.is_right(piece, parts) => return Err(lie.into()),
                Err(_) => return Ok(Verdict::Wrong),
            };
            let is_new = self.store.put(&block)?;
            self.came.fetch_add(u64::from(is_new), Ordering::Relaxed);
            added.push((number, block.id()));
        }
        coming.learn(added.iter().copied());
        coming.save(&*self.store, added, SAVE_WINDOW_BLOCKS)?;
        Ok(Verdict::Right)
    }
}

impl Content for BlockContent {
    fn pieces(&self) -> Pieces {
        self.pieces
    }

    fn info(&self) -> Bytes {
        self.info.clone()
    }

    fn here(&self) -> Bits {
        let mut here = Bits::none(self.pieces.count());
        match &self.blocks {
            Blocks::Known(_) => {
                for piece in 0..self.pieces.count() {
                    if self.has_piece(piece) {
                        here.add(piece);
                    }
                }
            }
            // Not every piece is looked at: there may be far more of them than we know of.
            Blocks::Coming(coming) => {
                for piece in coming.begun(|number| self.piece_of(number)) {
                    if self.has_piece(piece) {
                        here.add(piece);
                    }
                }
            }
        }
        here
    }

    fn block(&self, number: u64) -> Option<Bytes> {
        let id = self.id(number)?;
        match self.store.get(&id) {
            Ok(block) => block.as_ref().and_then(Block::slot),
            Err(error) => {
                tracing::warn!(%id, "cannot serve a block: {error}");
                None
            }
        }
    }

    fn take(&self, piece: u32, parts: &[Bytes]) -> Verdict {
        match &self.blocks {
            Blocks::Known(order) => match self.restore(order, piece, parts) {
                Ok(true) => Verdict::Right,
                Ok(false) => Verdict::Wrong,
                Err(error) => {
                    tracing::warn!("cannot keep a downloaded block: {error}");
                    self.failed(error.into())
                }
            },
            Blocks::Coming(coming) => {
                let kept = self.keep(coming, piece, parts);
                kept.unwrap_or_else(|failure| self.failed(failure))
            }
        }
    }

    fn slots(&self, usual: usize) -> usize {
        match self.priority {
            Priority::Low => (usual / 4).max(1),
            Priority::Normal => usual,
            Priority::High => usual * 4,
        }
    }

    fn hashes(&self, range: &HashRange) -> Option<Vec<[u8; 32]>> {
        let (Blocks::Known(order), Some(plant)) = (&self.blocks, &self.plant) else { return None };
        let layers = self.layers.get_or_init(|| plant(order)).as_ref()?;
        let HashRange { root, base, index, length, proofs } = *range;
        let asked = (layers.root().as_bytes() == &root)
            .then_some(())
            .and_then(|()| layers.answer(base, index, length, proofs))?;
        Some(asked.iter().map(|hash| *hash.as_bytes()).collect())
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl Coming {
    fn id(&self, number: u64) -> Option<BlockId> {
        self.ids.read().unwrap_or_else(PoisonError::into_inner).get(&number).copied()
    }

    fn learn(&self, known: impl IntoIterator<Item = (u64, BlockId)>) {
        self.ids.write().unwrap_or_else(PoisonError::into_inner).extend(known);
    }

    /// The pieces of which a block is known.
    fn begun(&self, piece_of: impl Fn(u64) -> u32) -> BTreeSet<u32> {
        let ids = self.ids.read().unwrap_or_else(PoisonError::into_inner);
        ids.keys().map(|number| piece_of(*number)).collect()
    }

    /// Takes a block out of its slot, or says what is wrong with it.
    fn unload(
        &self,
        number: u64,
        expected: Option<BlockId>,
        slot: &Bytes,
    ) -> Result<Block, NotOff> {
        let len = self.carriage.block_size().len();
        let block = self.carriage.unload(slot).map_err(|error| {
            NotOff(match error {
                WrongBlock::Padding => format!(
                    "the bytes behind its block {number} are not zero, as they are where blocks \
                     have {len} bytes"
                ),
                other => format!("of its block {number}, {other}"),
            })
        })?;
        let id = block.id();
        let Some(other) = expected.filter(|other| *other != id) else { return Ok(block) };
        Err(NotOff(match number {
            0 => format!("it begins with block {id}, the URL's descriptor is {other}"),
            _ => format!(
                "its block {number} is {id} where the OFF URL has {other}: the torrent is \
                 forged, or the link has a wrong key"
            ),
        }))
    }

    /// Whether a piece has the SHA-1 that the info dict says.
    fn is_right(&self, piece: u32, parts: &[Bytes]) -> bool {
        let mut hasher = PieceHasher::default();
        for part in parts {
            hasher.update(part);
        }
        self.hashes.get(piece as usize) == Some(&hasher.finish())
    }

    /// Makes what has come durable once it is at least `window` blocks: first the blocks, then
    /// the record that they are here.
    fn save(
        &self,
        store: &dyn BlockStore,
        added: Vec<(u64, BlockId)>,
        window: usize,
    ) -> Result<(), Failure> {
        let mut unsaved = self.unsaved.lock().unwrap_or_else(PoisonError::into_inner);
        unsaved.extend(added);
        if unsaved.is_empty() || unsaved.len() < window {
            return Ok(());
        }
        let batch = std::mem::take(&mut *unsaved);
        drop(unsaved);
        store.commit()?;
        Ok(self.catalog.extend_download(self.info.infohash, &batch)?)
    }
}

/// How a torrent of so many blocks is cut.
fn cut(blocks: u64) -> Pieces {
    let piece_len = u32::try_from(mapping::piece_len(blocks)).unwrap_or(u32::MAX);
    Pieces { total: blocks * BLOCK_LEN as u64, piece_len }
}

/// Chunks put together to blocks.
fn joined(parts: &[Bytes]) -> Vec<Bytes> {
    let (mut blocks, mut block) = (Vec::new(), BytesMut::new());
    for part in parts {
        if block.is_empty() {
            block.reserve(BLOCK_LEN);
        }
        block.extend_from_slice(part);
        if block.len() >= BLOCK_LEN {
            blocks.push(block.split().freeze());
        }
    }
    if !block.is_empty() {
        blocks.push(block.freeze());
    }
    blocks
}
