//! Put: a stream of bytes in, an OFF URL out.
//!
//! Two threads: one reads, hashes and seals the stream, the other hides the source blocks and
//! stores what comes of it. The channel between them is short, so the memory used does not depend
//! on the length. The URL exists only when everything it needs is on disk.

use std::io::Read;
use std::sync::mpsc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::catalog::Origin;
use crate::id::{BlockId, FileHasher, FileId};
use crate::limits::MAX_STREAM_LEN;
use crate::off::descriptor::Layout;
use crate::off::url::Named;
use crate::off::{BlockSize, OffUrl, Seal, SealKey, SourceBlock, TupleSize, tuple};

use super::randomizers::{Policy, Randomizers};
use super::{Client, PutError};

/// Source blocks on their way from the reading to the storing thread.
const IN_FLIGHT: usize = 8;

/// How a stream is to be put.
#[derive(Debug, Clone)]
pub struct PutOptions {
    /// Its content type, `major/minor`.
    pub content_type: String,
    /// Its file name; decoration.
    pub name: String,
    /// Blocks of a tuple.
    pub tuple: TupleSize,
    /// Whether to seal it. Without a seal whoever holds the blocks can try to combine them.
    pub sealed: bool,
    /// Where randomizers come from.
    pub randomizers: Policy,
    /// URLs whose blocks are used as randomizers before all others.
    pub recycle: Vec<OffUrl>,
}

impl Default for PutOptions {
    fn default() -> Self {
        Self {
            content_type: "application/octet-stream".into(),
            name: String::new(),
            tuple: TupleSize::default(),
            sealed: true,
            randomizers: Policy::default(),
            recycle: Vec::new(),
        }
    }
}

/// What came of a put.
#[derive(Debug, Clone)]
pub struct Put {
    /// The name of the stream.
    pub url: OffUrl,
    /// Blocks the store has more than before.
    pub new_blocks: u64,
}

impl Client {
    /// Stores a stream until its end. `progress` is told the bytes read so far.
    pub fn put(
        &self,
        stream: &mut (dyn Read + Send),
        options: &PutOptions,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Put, PutError> {
        OffUrl::check_words(&options.content_type, &options.name)?;
        self.undoing(|| {
            let before = self.store.census()?.blocks;
            let url = self.put_stream(stream, options, progress)?;
            self.store.commit()?;
            self.remember(&url, Origin::Put).map_err(Box::new)?;
            Ok(Put { url, new_blocks: self.store.census()?.blocks.saturating_sub(before) })
        })
    }

    /// Runs a put under a lease, so that nothing it needs is evicted before it is done, and takes
    /// out again what it has stored if it fails.
    pub(super) fn undoing<T>(
        &self,
        put: impl FnOnce() -> Result<T, PutError>,
    ) -> Result<T, PutError> {
        let lease = self.store.lease();
        let done = put();
        if done.is_err()
            && let Err(error) = self.store.undo(&lease)
        {
            tracing::warn!("what a failed put has stored stays until the next gc: {error}");
        }
        done
    }

    /// Stores a stream until its end. It is durable after the next commit, and only its URL names
    /// it.
    pub(super) fn put_stream(
        &self,
        stream: &mut (dyn Read + Send),
        options: &PutOptions,
        progress: &mut dyn FnMut(u64),
    ) -> Result<OffUrl, PutError> {
        let mut rng = self.rng();
        let seal = if options.sealed { Seal::Key(SealKey::random(&mut rng)) } else { Seal::Plain };
        let mut splitter = Splitter::new(stream, seal, StdRng::from_rng(&mut rng));
        let ids = std::thread::scope(|scope| {
            let (sender, receiver) = mpsc::sync_channel(IN_FLIGHT);
            let splitter = &mut splitter;
            scope.spawn(move || splitter.run(&sender));
            self.hide(&receiver, options, &mut rng, progress)
        })?;
        let (length, file) = splitter.finish();
        let descriptor = self.store_chain(&ids, &seal, &mut rng)?;
        let named = Named { length, file, descriptor, tuple: options.tuple, seal };
        Ok(OffUrl::new(named, &options.content_type, &options.name)?)
    }

    /// Hides source blocks until the stream ends: the ids of all tuples.
    fn hide(
        &self,
        sources: &mpsc::Receiver<Result<(SourceBlock, u64), PutError>>,
        options: &PutOptions,
        rng: &mut StdRng,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Vec<BlockId>, PutError> {
        let store = &*self.store;
        let recycled = self.blocks_of(&options.recycle).map_err(Box::new)?;
        let (policy, tuple) = (options.randomizers, options.tuple);
        let mut randomizers = Randomizers::new(store, policy, tuple, recycled, rng)?;
        let mut ids = Vec::new();
        for source in sources {
            let (source, read) = source?;
            let (off, tuple) = tuple::encode(source, &randomizers.next(rng)?)?;
            store.put(&off)?;
            ids.extend_from_slice(tuple.ids());
            randomizers.made(off);
            progress(read);
        }
        Ok(ids)
    }

    /// Stores the descriptor, last block first: the id of the first.
    fn store_chain(
        &self,
        ids: &[BlockId],
        seal: &Seal,
        rng: &mut impl Rng,
    ) -> Result<Option<BlockId>, PutError> {
        let layout = Layout::new(ids.len() as u64, BlockSize::Native);
        let mut next = None;
        for index in (0..layout.blocks()).rev() {
            let range = layout.ids_of(index);
            let part = usize::try_from(range.start)
                .ok()
                .zip(usize::try_from(range.end).ok())
                .and_then(|(start, end)| ids.get(start..end))
                .unwrap_or_default();
            let block = layout.encode(index, part, next, seal, rng);
            self.store.put(&block)?;
            next = Some(block.id());
        }
        Ok(next)
    }
}

/// Cuts a stream into sealed, padded source blocks.
struct Splitter<'a> {
    stream: &'a mut (dyn Read + Send),
    seal: Seal,
    rng: StdRng,
    hasher: FileHasher,
    read: u64,
}

impl<'a> Splitter<'a> {
    fn new(stream: &'a mut (dyn Read + Send), seal: Seal, rng: StdRng) -> Self {
        Self { stream, seal, rng, hasher: FileHasher::default(), read: 0 }
    }

    /// Sends every source block with the bytes read up to its end, or the error that ended it.
    fn run(&mut self, sources: &mpsc::SyncSender<Result<(SourceBlock, u64), PutError>>) {
        while let Some(next) = self.next().transpose() {
            let failed = next.is_err();
            // A receiver that is gone has its own error to tell.
            if sources.send(next).is_err() || failed {
                return;
            }
        }
    }

    fn next(&mut self) -> Result<Option<(SourceBlock, u64)>, PutError> {
        let size = BlockSize::Native;
        let mut contents = Vec::with_capacity(size.len());
        let mut limited = (&mut *self.stream).take(size.len() as u64);
        limited
            .read_to_end(&mut contents)
            .map_err(|source| PutError::Read { read: self.read, source })?;
        if contents.is_empty() {
            return Ok(None);
        }
        self.hasher.update(&contents);
        self.seal.apply_to_stream(self.read, &mut contents);
        self.read += contents.len() as u64;
        if self.read > MAX_STREAM_LEN {
            return Err(PutError::TooLong { limit: MAX_STREAM_LEN });
        }
        Ok(Some((SourceBlock::padded(contents, size, &mut self.rng), self.read)))
    }

    fn finish(self) -> (u64, FileId) {
        (self.read, self.hasher.finish())
    }
}
