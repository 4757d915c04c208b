//! Put: a stream of bytes in, an OFF URL out.
//!
//! Three threads: one reads, hashes and seals the stream, one chooses the randomizers (reads and
//! verifies them, or generates and stores them), and this one encodes and stores the off blocks.
//! SHA-256 takes most of the time, and so each block's is on another thread. The channels between
//! them are short and the ids of a long stream are spooled to disk, so the memory used does not
//! depend on the length. The URL exists only when everything it needs is on disk.
//!
//! A stream for js-offs (version 3) is plain, has tuples of three, and its length chooses the size of its
//! blocks. Where the length is not known before the end, it is enough to know whether it reaches that
//! from which on the largest blocks are used, so no more than this is read ahead.

use std::io::Read;
use std::sync::mpsc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_util::sync::CancellationToken;

use crate::catalog::Origin;
use crate::id::{BlockId, FileHasher, FileId};
use crate::limits::{MAX_STREAM_LEN, PIPE_BLOCKS};
use crate::off::descriptor::Layout;
use crate::off::url::{Named, UrlError};
use crate::off::{Block, BlockSize, OffUrl, Seal, SealKey, SourceBlock, TupleSize, Version, tuple};

use super::randomizers::{Policy, Randomizers};
use super::spool::IdSpool;
use super::{Client, PutError};

/// How a stream is to be put.
#[derive(Debug, Clone)]
pub struct PutOptions {
    /// Its content type, `major/minor`.
    pub content_type: String,
    /// Its file name; decoration.
    pub name: String,
    /// The version of its URL. In version 3 tuples have their default size and nothing is sealed.
    pub version: Version,
    /// Blocks of a tuple.
    pub tuple: TupleSize,
    /// Whether to seal it. Without a seal whoever holds the blocks can try to combine them.
    pub sealed: bool,
    /// Where randomizers come from.
    pub randomizers: Policy,
    /// URLs whose blocks are used as randomizers before all others, if they have the size of this
    /// stream's.
    pub recycle: Vec<OffUrl>,
    /// Ends the put when it is cancelled, and then nothing of it is left.
    pub stop: CancellationToken,
    /// Whether it is an executable file.
    pub executable: bool,
}

impl Default for PutOptions {
    fn default() -> Self {
        Self {
            content_type: "application/octet-stream".into(),
            name: String::new(),
            version: Version::default(),
            tuple: TupleSize::default(),
            sealed: true,
            randomizers: Policy::default(),
            recycle: Vec::new(),
            stop: CancellationToken::new(),
            executable: false,
        }
    }
}

impl PutOptions {
    /// An error if the put is to stop.
    pub(super) fn go_on(&self) -> Result<(), PutError> {
        if self.stop.is_cancelled() { Err(PutError::Stopped) } else { Ok(()) }
    }
}

/// How a stream is cut, hidden and named.
#[derive(Debug, Clone, Copy)]
struct Shape {
    version: Version,
    size: BlockSize,
    tuple: TupleSize,
    seal: Seal,
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
            options.go_on()?;
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
        match options.version {
            Version::V3 => {
                let begun = begin_of(stream)?;
                let (tuple, seal) = (TupleSize::default(), Seal::Plain);
                let size = BlockSize::legacy_of(begun.len() as u64);
                let shape = Shape { version: Version::V3, size, tuple, seal };
                let stream = &mut begun.chain(stream);
                self.put_shaped(stream, shape, options, &mut rng, progress)
            }
            Version::V4 => {
                let key = options.sealed.then(|| SealKey::random(&mut rng));
                let seal = key.map_or(Seal::Plain, Seal::Key);
                let (version, size, tuple) = (Version::V4, BlockSize::Native, options.tuple);
                let shape = Shape { version, size, tuple, seal };
                self.put_shaped(stream, shape, options, &mut rng, progress)
            }
        }
    }

    fn put_shaped(
        &self,
        stream: &mut (dyn Read + Send),
        shape: Shape,
        options: &PutOptions,
        rng: &mut StdRng,
        progress: &mut dyn FnMut(u64),
    ) -> Result<OffUrl, PutError> {
        let mut splitter = Splitter::new(stream, shape, StdRng::from_rng(rng));
        let mut ids = IdSpool::new(self.home.path());
        self.hide(&mut splitter, options, rng, &mut ids, progress)?;
        let (length, file) = splitter.finish();
        let chain = self.store_chain(&mut ids, shape, rng)?;
        let (content_type, name) = (&options.content_type, &options.name);
        let Shape { version, tuple, seal, .. } = shape;
        Ok(match (version, chain) {
            (Version::V3, Some(id)) => OffUrl::legacy(length, file, id, content_type, name)?,
            (Version::V3, None) => return Err(UrlError::Empty.into()),
            (Version::V4, descriptor) => {
                let named = Named { length, file, descriptor, tuple, seal };
                OffUrl::new(named, content_type, name)?.executable(options.executable)
            }
        })
    }

    /// Hides source blocks until the stream ends, and spools the ids of all tuples.
    fn hide(
        &self,
        splitter: &mut Splitter<'_>,
        options: &PutOptions,
        rng: &mut StdRng,
        ids: &mut IdSpool,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), PutError> {
        let Shape { size, tuple: tuple_size, .. } = splitter.shape;
        let is_of_use = |url: &&OffUrl| url.is_directory() || url.block_size() == size;
        let recycled: Vec<OffUrl> = options.recycle.iter().filter(is_of_use).cloned().collect();
        let recycled = self.blocks_of(&recycled).map_err(Box::new)?;
        let (store, policy) = (&*self.store, options.randomizers);
        let mut randomizers = Randomizers::new(store, policy, (tuple_size, size), recycled, rng)?;
        std::thread::scope(|scope| {
            let (sender, sources) = mpsc::sync_channel(PIPE_BLOCKS);
            scope.spawn(move || forward(splitter, &sender));
            let (sender, chosen) = mpsc::sync_channel(PIPE_BLOCKS);
            let choose = move |source: Result<_, PutError>| Ok((source?, randomizers.next()?));
            scope.spawn(move || forward(sources.into_iter().map(choose), &sender));
            let mut earlier = None;
            for next in chosen {
                options.go_on()?;
                let ((source, read), chosen) = next?;
                let mut hiding: Vec<Block> = earlier.take().into_iter().chain(chosen).collect();
                if policy != Policy::Store && !tuple::hides(&hiding, &source) {
                    hiding = self.fresh_randomizers(size, tuple_size)?;
                }
                let (off, tuple) = tuple::encode(source, &hiding)?;
                store.put(&off)?;
                ids.push(tuple.ids())?;
                earlier = policy.takes_earlier().then_some(off);
                progress(read);
            }
            Ok(())
        })
    }

    /// Randomizers that are nowhere else yet.
    fn fresh_randomizers(&self, size: BlockSize, tuple: TupleSize) -> Result<Vec<Block>, PutError> {
        let mut rng = self.rng();
        let blocks: Vec<_> =
            (0..tuple.randomizers()).map(|_| Block::random(size, &mut rng)).collect();
        blocks.iter().try_for_each(|block| self.store.put(block).map(|_| ()))?;
        Ok(blocks)
    }

    /// Stores the descriptor, last block first: the id of the first.
    fn store_chain(
        &self,
        ids: &mut IdSpool,
        shape: Shape,
        rng: &mut impl Rng,
    ) -> Result<Option<BlockId>, PutError> {
        let layout = Layout::new(ids.len(), shape.size);
        let mut next = None;
        for index in (0..layout.blocks()).rev() {
            let part = ids.read(layout.ids_of(index))?;
            let block = layout.encode(index, &part, next, &shape.seal, rng);
            self.store.put(&block)?;
            next = Some(block.id());
        }
        Ok(next)
    }
}

/// Sends what comes, up to the first error.
fn forward<T>(
    items: impl IntoIterator<Item = Result<T, PutError>>,
    sender: &mpsc::SyncSender<Result<T, PutError>>,
) {
    for item in items {
        let failed = item.is_err();
        // A receiver that is gone has its own error to tell.
        if sender.send(item).is_err() || failed {
            return;
        }
    }
}

/// The first bytes of a stream: all of it, or as many as make it one of the largest blocks.
fn begin_of(stream: &mut (dyn Read + Send)) -> Result<Vec<u8>, PutError> {
    let mut begun = Vec::new();
    let mut limited = stream.take(BlockSize::LegacyBlock.len() as u64);
    limited.read_to_end(&mut begun).map_err(|source| PutError::Read { read: 0, source })?;
    if begun.is_empty() { Err(UrlError::Empty.into()) } else { Ok(begun) }
}

/// Cuts a stream into sealed, padded source blocks.
struct Splitter<'a> {
    stream: &'a mut (dyn Read + Send),
    shape: Shape,
    rng: StdRng,
    hasher: FileHasher,
    read: u64,
}

impl<'a> Splitter<'a> {
    fn new(stream: &'a mut (dyn Read + Send), shape: Shape, rng: StdRng) -> Self {
        Self { stream, shape, rng, hasher: FileHasher::default(), read: 0 }
    }

    fn finish(self) -> (u64, FileId) {
        (self.read, self.hasher.finish())
    }

    fn cut(&mut self) -> Result<Option<(SourceBlock, u64)>, PutError> {
        let Shape { size, seal, .. } = self.shape;
        let mut contents = Vec::with_capacity(size.len());
        let mut limited = (&mut *self.stream).take(size.len() as u64);
        limited
            .read_to_end(&mut contents)
            .map_err(|source| PutError::Read { read: self.read, source })?;
        if contents.is_empty() {
            return Ok(None);
        }
        self.hasher.update(&contents);
        seal.apply_to_stream(self.read, &mut contents);
        self.read += contents.len() as u64;
        if self.read > MAX_STREAM_LEN {
            return Err(PutError::TooLong { limit: MAX_STREAM_LEN });
        }
        Ok(Some((SourceBlock::padded(contents, size, &mut self.rng), self.read)))
    }
}

/// Every source block with the bytes read up to its end.
impl Iterator for Splitter<'_> {
    type Item = Result<(SourceBlock, u64), PutError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.cut().transpose()
    }
}
