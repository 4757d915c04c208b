//! Reading a URL while its blocks may still come.
//!
//! What is here is read from the store and asks nobody. At the first block that is not, the reader
//! takes part in the fetch of the URL and goes on as its blocks come.

use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::client::fetch::Ways;
use crate::client::get::Stream;
use crate::client::{GetError, ReadError};
use crate::id::FileHasher;
use crate::limits::MAX_DIRECTORY_LEN;
use crate::off::directory::DirectoryError;
use crate::off::{Directory, OffUrl};
use crate::store::StoreError;

use super::Session;

/// Parts that wait for whoever reads them slowly, besides those that are decoded ahead.
const PARTS_AHEAD: usize = 2;

/// How often a reader takes part in a fetch that ends well without bringing its block. Only what is
/// evicted at once can do that.
const TRIES: usize = 3;

/// What is read: a file, and the URL whose fetch brings its blocks.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file.
    pub file: OffUrl,
    /// The URL that it is part of: a directory's, or its own.
    pub carrier: OffUrl,
}

impl From<OffUrl> for Source {
    fn from(file: OffUrl) -> Self {
        Self { carrier: file.clone(), file }
    }
}

/// The bytes of a range in order. An error is the last thing that comes, and then the bytes before
/// it are not the whole range. Of a whole file the last part comes only when its file id has been
/// found right, then or when it was read before.
#[derive(Debug)]
pub struct Reading {
    /// Ends the thread that waits for blocks.
    _gone: DropGuard,
    first: Option<Bytes>,
    parts: mpsc::Receiver<Result<Bytes, Arc<GetError>>>,
}

impl Reading {
    /// The next part, up to a block long; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, Arc<GetError>>> {
        match self.first.take() {
            Some(first) => Some(Ok(first)),
            None => self.parts.recv().await,
        }
    }
}

impl Session {
    /// Reads a range of a file, from `range.start` up to and without `range.end`, and fetches what
    /// is not here. Waits for the first part, so that what fails before it is an error here.
    /// Dropping the reading ends it, and the fetch if nobody else wants it.
    pub async fn read(&self, source: &Source, range: Range<u64>) -> Result<Reading, Arc<GetError>> {
        let (sender, mut parts) = mpsc::channel(PARTS_AHEAD);
        let (session, source) = (self.clone(), source.clone());
        let gone = CancellationToken::new();
        let (gone, waits) = (gone.clone().drop_guard(), gone);
        tokio::task::spawn_blocking(move || {
            let mut send = |part| sender.blocking_send(Ok(part)).is_ok();
            if let Err(error) = session.produce(&source, range, &waits, &mut send) {
                // Whoever is gone wants no error either.
                let _ = sender.blocking_send(Err(error));
            }
        });
        match parts.recv().await {
            Some(Err(error)) => Err(error),
            Some(Ok(first)) => Ok(Reading { _gone: gone, first: Some(first), parts }),
            None => Ok(Reading { _gone: gone, first: None, parts }),
        }
    }

    /// The listing of a directory, fetched if it is not here; of its files nothing is.
    pub async fn directory(&self, url: &OffUrl) -> Result<Arc<Directory>, Arc<GetError>> {
        let listings = &self.0.listings;
        if let Some(listing) = listings.find(url) {
            return Ok(listing);
        }
        // Nobody closes these.
        let _reading = listings.reading.acquire().await;
        let gone = CancellationToken::new();
        let _gone = gone.clone().drop_guard();
        let (session, read) = (self.clone(), url.clone());
        let bytes = blocking(move || session.read_listing(&read, &gone)).await?;
        let _decoding = listings.decoding.acquire().await;
        if let Some(listing) = listings.find(url) {
            return Ok(listing);
        }
        let decoded = blocking(move || Directory::decode(&bytes).map_err(|e| failed(e.into())));
        let listing = Arc::new(decoded.await?);
        listings.keep(url, &listing);
        Ok(listing)
    }

    /// The JSON of a directory.
    fn read_listing(
        &self,
        url: &OffUrl,
        gone: &CancellationToken,
    ) -> Result<Vec<u8>, Arc<GetError>> {
        if !url.is_directory() {
            return Err(failed(ReadError::NotDirectory(url.to_string())));
        }
        if url.length() > MAX_DIRECTORY_LEN {
            return Err(failed(DirectoryError::TooLong { length: url.length() }.into()));
        }
        let mut listing = Vec::new();
        let mut keep = |part: Bytes| listing.write_all(&part).is_ok();
        self.produce(&url.clone().into(), 0..url.length(), gone, &mut keep)?;
        Ok(listing)
    }

    /// Decodes a range and hands its parts on, until `send` says that nobody wants them.
    fn produce(
        &self,
        source: &Source,
        range: Range<u64>,
        gone: &CancellationToken,
        send: &mut dyn FnMut(Bytes) -> bool,
    ) -> Result<(), Arc<GetError>> {
        // Blocks that are verified decode to the same bytes each time, so once is enough.
        let is_whole = range == (0..source.file.length()) && !self.0.proven.has(&source.file);
        let mut parts =
            Parts { session: self, source, range, from: Origin::Store, tries: TRIES, gone };
        let (mut hasher, mut held) = (FileHasher::default(), None);
        while let Some(part) = parts.next()? {
            if is_whole {
                hasher.update(&part);
            }
            if held.replace(part).is_some_and(|part| !send(part)) {
                return Ok(());
            }
        }
        if is_whole {
            let (expected, found) = (source.file.file(), hasher.finish());
            if expected != found {
                return Err(Arc::new(ReadError::WrongFile { expected, found }.into()));
            }
            self.0.proven.add(&source.file);
        }
        held.map(send);
        Ok(())
    }
}

/// The parts of a range, from the store as long as it has them, then as they come.
struct Parts<'a> {
    session: &'a Session,
    source: &'a Source,
    /// What is still to be read.
    range: Range<u64>,
    from: Origin,
    /// Fetches to take part in.
    tries: usize,
    /// Is cancelled when nobody waits for them any more.
    gone: &'a CancellationToken,
}

/// Where parts come from.
enum Origin {
    /// The store, not begun.
    Store,
    Begun(Stream, Option<u64>),
}

impl Parts<'_> {
    fn next(&mut self) -> Result<Option<Bytes>, Arc<GetError>> {
        loop {
            if self.range.is_empty() {
                return Ok(None);
            }
            let fetch = match &mut self.from {
                Origin::Store => {
                    let client = self.session.client();
                    let stream = client.stream(&self.source.file, self.range.clone());
                    self.from = Origin::Begun(stream.map_err(failed)?, None);
                    continue;
                }
                Origin::Begun(stream, fetch) => match stream.next() {
                    Some(Ok(part)) => {
                        self.range.start += part.len() as u64;
                        return Ok(Some(part.into()));
                    }
                    Some(Err(error)) if is_absence(&error) => (*fetch, error),
                    Some(Err(error)) => return Err(failed(error)),
                    None => return Ok(None),
                },
            };
            self.from = self.take_part(fetch)?;
        }
    }

    /// Goes on by a fetch where the store, or the fetch before, lacks a block.
    fn take_part(
        &mut self,
        (fetch, lack): (Option<u64>, ReadError),
    ) -> Result<Origin, Arc<GetError>> {
        if let Some(error) = fetch.and_then(|id| self.session.0.transfers.error_of(id)) {
            return Err(error);
        }
        if self.gone.is_cancelled() {
            return Err(Arc::new(GetError::Stopped));
        }
        let Some(tries) = self.tries.checked_sub(1) else { return Err(failed(lack)) };
        self.tries = tries;
        let Source { file, carrier } = self.source;
        // What the fetch brings for a file of a directory is the directory.
        let is_own = file == carrier;
        let wanted = is_own.then(|| self.range.clone());
        let joined = self.session.join(carrier, wanted, false, &Ways::default());
        let reader = joined.reader.until(self.gone.clone());
        let client = self.session.client();
        let stream = client.stream_of(file, self.range.clone(), Some(reader));
        Ok(Origin::Begun(stream.map_err(failed)?, Some(joined.id)))
    }
}

/// Whether a block is not here, or not whole, which others may mend.
const fn is_absence(error: &ReadError) -> bool {
    matches!(error, ReadError::Missing(_) | ReadError::Store(StoreError::Damaged { .. }))
}

/// Does something on a thread that may block. We are wrong if that breaks off.
async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, Arc<GetError>> + Send + 'static,
) -> Result<T, Arc<GetError>> {
    let done = tokio::task::spawn_blocking(act).await;
    done.map_err(|error| Arc::new(GetError::Keep { why: error.to_string() }))?
}

fn failed(error: ReadError) -> Arc<GetError> {
    Arc::new(error.into())
}
