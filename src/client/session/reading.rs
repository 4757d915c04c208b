//! Reading a URL while its blocks may still come.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::client::{Client, GetError, ReadError};
use crate::id::FileHasher;
use crate::off::{Directory, OffUrl};

use super::Session;

/// Parts that are decoded ahead of whoever reads them slowly.
const PARTS_AHEAD: usize = 8;

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
/// found right.
#[derive(Debug)]
pub struct Reading {
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
        let (client, url) = (self.client().clone(), source.file.clone());
        tokio::task::spawn_blocking(move || produce(&client, &url, range, &sender));
        match parts.recv().await {
            Some(Err(error)) => Err(error),
            Some(Ok(first)) => Ok(Reading { first: Some(first), parts }),
            None => Ok(Reading { first: None, parts }),
        }
    }

    /// The listing of a directory, fetched if it is not here.
    pub async fn directory(&self, url: &OffUrl) -> Result<Directory, Arc<GetError>> {
        let (client, url) = (self.client().clone(), url.clone());
        let read = tokio::task::spawn_blocking(move || client.directory(&url));
        let read =
            read.await.map_err(|error| Arc::new(GetError::Keep { why: error.to_string() }))?;
        read.map_err(|error| Arc::new(error.into()))
    }
}

type Sender = mpsc::Sender<Result<Bytes, Arc<GetError>>>;

fn produce(client: &Client, url: &OffUrl, range: Range<u64>, sender: &Sender) {
    if let Err(error) = try_produce(client, url, range, sender) {
        // Whoever is gone wants no error either.
        let _ = sender.blocking_send(Err(Arc::new(error)));
    }
}

fn try_produce(
    client: &Client,
    url: &OffUrl,
    range: Range<u64>,
    sender: &Sender,
) -> Result<(), GetError> {
    let is_whole = range == (0..url.length());
    let (mut hasher, mut held) = (FileHasher::default(), None);
    for part in client.stream(url, range)? {
        let part = part?;
        if is_whole {
            hasher.update(&part);
        }
        if let Some(part) = held.replace(Bytes::from(part))
            && sender.blocking_send(Ok(part)).is_err()
        {
            return Ok(());
        }
    }
    let (expected, found) = (url.file(), hasher.finish());
    if is_whole && expected != found {
        return Err(ReadError::WrongFile { expected, found }.into());
    }
    if let Some(part) = held {
        let _ = sender.blocking_send(Ok(part));
    }
    Ok(())
}
