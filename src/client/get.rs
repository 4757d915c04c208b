//! Get: an OFF URL in, the bytes of its stream out, all or any range.
//!
//! Two threads: one reads and verifies blocks and XORs them, a bounded window ahead; the other,
//! the caller's, unseals, hashes and writes. A range takes only the source blocks it touches, and
//! of the chain what leads to their tuples: its blocks up to the one that holds the last of them.
//!
//! Blocks are verified as they are read, the whole stream against its file id at the end. A range
//! has no id of its own; the ids of its blocks vouch for it, and the URL for the descriptor.

use std::io::Write;
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use crate::id::{BlockId, FileHasher};
use crate::limits::PIPE_BLOCKS;
use crate::off::descriptor::Walk;
use crate::off::tuple::TupleError;
use crate::off::{Block, OffUrl, Seal, Tuple, tuple};
use crate::store::BlockStore;

use super::arrivals::{Arrivals, Reader};
use super::{Client, GetError, ReadError};

impl Client {
    /// Decodes a range of a stream whose blocks are in the store: the bytes from `range.start`,
    /// counted from 0 at the first byte the URL names, up to and without `range.end`. An empty range has no parts; one that is
    /// not all inside of the stream is an error.
    pub fn stream(&self, url: &OffUrl, range: Range<u64>) -> Result<Stream, ReadError> {
        Decoder::new(self.blocks(), url.clone(), range).map(Stream::start)
    }

    /// Like [`stream`](Self::stream) while blocks still come in: waits for each until a fetch
    /// that was given the same `arrivals` has brought it or is over.
    pub fn stream_arriving(
        &self,
        url: &OffUrl,
        range: Range<u64>,
        arrivals: &Arrivals,
    ) -> Result<Stream, ReadError> {
        let reader = arrivals.reader(Some(range.clone()));
        self.stream_of(url, range, reader)
    }

    /// Like [`stream`](Self::stream) for a reader of what a fetch brings.
    pub(super) fn stream_of(
        &self,
        url: &OffUrl,
        range: Range<u64>,
        reader: Option<Reader>,
    ) -> Result<Stream, ReadError> {
        let decoder = Decoder::new(self.blocks(), url.clone(), range)?;
        Ok(Stream::start(Decoder { reader, ..decoder }))
    }

    /// Writes a stream whose blocks are all in the store to `output`. `progress` is told the
    /// bytes written so far.
    ///
    /// The file id is known to be right only when this returns: who cannot take bytes back must
    /// not show them to anybody before.
    pub fn read(
        &self,
        url: &OffUrl,
        output: &mut dyn Write,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), GetError> {
        copy_whole(self.stream(url, 0..url.length())?, url, output, progress)
    }

    /// Writes a range of a stream to `output`, or all of it and checks its file id, while a fetch
    /// that was given the same `arrivals` brings its blocks.
    pub fn read_arriving(
        &self,
        url: &OffUrl,
        range: Option<Range<u64>>,
        arrivals: &Arrivals,
        output: &mut dyn Write,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), GetError> {
        match range {
            Some(range) => {
                copy(self.stream_arriving(url, range, arrivals)?, output, &mut |_| (), progress)
            }
            None => {
                let stream = self.stream_arriving(url, 0..url.length(), arrivals)?;
                copy_whole(stream, url, output, progress)
            }
        }
    }

    /// Writes a range of a stream, as [`stream`](Self::stream) takes it, to `output`. `progress`
    /// is told the bytes written so far.
    pub fn read_range(
        &self,
        url: &OffUrl,
        range: Range<u64>,
        output: &mut dyn Write,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), GetError> {
        copy(self.stream(url, range)?, output, &mut |_| (), progress)
    }
}

/// Writes a whole stream and checks its file id.
fn copy_whole(
    stream: Stream,
    url: &OffUrl,
    output: &mut dyn Write,
    progress: &mut dyn FnMut(u64),
) -> Result<(), GetError> {
    let mut hasher = FileHasher::default();
    copy(stream, output, &mut |part| hasher.update(part), progress)?;
    let (expected, found) = (url.file(), hasher.finish());
    if expected == found { Ok(()) } else { Err(ReadError::WrongFile { expected, found }.into()) }
}

fn copy(
    stream: Stream,
    output: &mut dyn Write,
    look: &mut dyn FnMut(&[u8]),
    progress: &mut dyn FnMut(u64),
) -> Result<(), GetError> {
    let mut written = 0;
    for part in stream {
        let part = part?;
        look(&part);
        output.write_all(&part).map_err(GetError::Write)?;
        written += part.len() as u64;
        progress(written);
    }
    output.flush().map_err(GetError::Write)
}

/// The bytes of a range in order, in parts of at most a block. It ends after the first error.
///
/// A thread decodes up to [`PIPE_BLOCKS`] parts ahead; it ends with the range or with this.
#[derive(Debug)]
pub struct Stream {
    /// `None` only while it is dropped.
    parts: Option<mpsc::Receiver<Result<Sealed, ReadError>>>,
    /// `None` once it has ended.
    thread: Option<JoinHandle<()>>,
    seal: Seal,
}

/// Bytes of a stream, still sealed, that begin at an offset in it.
#[derive(Debug)]
struct Sealed {
    offset: u64,
    bytes: Vec<u8>,
}

impl Stream {
    fn start(mut decoder: Decoder) -> Self {
        let seal = *decoder.url.seal();
        let (sender, parts) = mpsc::sync_channel(PIPE_BLOCKS);
        let thread = std::thread::spawn(move || {
            // Whoever is gone wants no more.
            let _ = decoder.try_for_each(|part| sender.send(part));
        });
        Self { parts: Some(parts), thread: Some(thread), seal }
    }

    /// Waits for the thread to end. If we are wrong there, we are wrong here too: the end of the
    /// parts must not look like the end of the stream.
    fn join(&mut self) {
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            resume_unwind(panic);
        }
    }
}

impl Iterator for Stream {
    type Item = Result<Vec<u8>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some(part) = self.parts.as_ref().and_then(|parts| parts.recv().ok()) else {
            self.join();
            return None;
        };
        Some(part.map(|Sealed { offset, mut bytes }| {
            self.seal.apply_to_stream(offset, &mut bytes);
            bytes
        }))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // The thread ends when it finds nobody to send to. It must not outlive the lock on the
        // store for longer than that, so it is waited for.
        self.parts = None;
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The sealed parts of a range in order, decoded one by one. It ends after the first error.
struct Decoder {
    store: Arc<dyn BlockStore>,
    url: OffUrl,
    /// What is still to be decoded.
    range: Range<u64>,
    walk: Walk,
    /// Ids of the chain that come before the first tuple needed.
    skip: u64,
    /// What is left of the ids of the current chain block, and of a tuple cut by its end.
    ids: std::vec::IntoIter<BlockId>,
    /// Who brings the blocks that are not here yet.
    reader: Option<Reader>,
}

impl Decoder {
    fn new(store: Arc<dyn BlockStore>, url: OffUrl, range: Range<u64>) -> Result<Self, ReadError> {
        let (Range { start, end }, length) = (range, url.length());
        if start > end || end > length {
            return Err(ReadError::Range { start, end, length });
        }
        // A member's bytes are somewhere in a packed stream.
        let base = url.range().start;
        let (start, range) = (base + start, base + start..base + end);
        let first_source = start / url.block_size().len() as u64;
        let skip = first_source * url.tuple().ids();
        let (walk, ids) = (url.walk(), Vec::new().into_iter());
        Ok(Self { store, url, range, walk, skip, ids, reader: None })
    }

    fn part(&mut self) -> Result<Sealed, ReadError> {
        let Range { start, end } = self.range;
        if let Some(reader) = &self.reader {
            reader.advance(start - self.url.range().start);
        }
        let block_len = self.url.block_size().len();
        let index = start / block_len as u64;
        let tuple = self.tuple(index)?;
        let blocks = tuple.ids().iter().map(|id| self.block(id)).collect::<Result<Vec<_>, _>>()?;
        let broken = |source| ReadError::Tuple { index, source };
        let source = tuple::decode(&blocks).map_err(broken)?;
        if source.size() != self.url.block_size()
            && let Some(odd) = blocks.first()
        {
            let (id, found) = (odd.id(), odd.size().len());
            return Err(broken(TupleError::BlockSize { id, found, expected: block_len }));
        }
        let mut bytes = source.into_contents();
        let within = |at: u64| {
            let offset = at.saturating_sub(index * block_len as u64);
            usize::try_from(offset).map_or(block_len, |offset| offset.min(block_len))
        };
        bytes.truncate(within(end));
        bytes.drain(..within(start));
        self.range.start += bytes.len() as u64;
        Ok(Sealed { offset: start, bytes })
    }

    fn tuple(&mut self, index: u64) -> Result<Tuple, ReadError> {
        let size = self.url.tuple().randomizers() + 1;
        while self.ids.len() < size {
            let Some(id) = self.walk.wants() else { break };
            let more = self.walk.supply(&self.block(&id)?)?;
            let skipped = usize::try_from(self.skip).map_or(more.len(), |n| n.min(more.len()));
            self.skip -= skipped as u64;
            let needed = more.into_iter().skip(skipped);
            self.ids = self.ids.by_ref().chain(needed).collect::<Vec<_>>().into_iter();
        }
        let ids = self.ids.by_ref().take(size).collect();
        Tuple::new(ids).map_err(|source| ReadError::Tuple { index, source })
    }

    fn block(&self, id: &BlockId) -> Result<Block, ReadError> {
        let found = match &self.reader {
            Some(reader) => reader.block(&*self.store, id),
            None => self.store.get(id),
        };
        found?.ok_or(ReadError::Missing(*id))
    }
}

impl Iterator for Decoder {
    type Item = Result<Sealed, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.range.is_empty() {
            return None;
        }
        let part = self.part();
        if part.is_err() {
            self.range.start = self.range.end;
        }
        Some(part)
    }
}
