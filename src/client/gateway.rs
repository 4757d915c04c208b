//! Get from the HTTP port of another OFF program: to a file, into the store, or both at once.
//!
//! A file is put while it comes. The put hears of the end only when the file has proved right, so
//! that one that is wrong, cut short or stopped leaves no block. A directory is its list, and then
//! one file after the other: all of it is right, or nothing is kept.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::gateway::{Body, GatewayError, Node, Wanted};
use crate::id::{FileHash, excerpt};
use crate::limits::MAX_DIRECTORY_LEN;
use crate::off::directory::{DirectoryError, Entry};
use crate::off::{Directory, OffUrl};

use super::get_directory::{NewTree, Written};
use super::pipe::{PipeReader, PipeWriter, pipe};
use super::put::{Put, PutOptions};
use super::put_directory::PutDirectory;
use super::put_tree::TreePut;
use super::{Client, GetError, PutError};

/// Why nothing was got.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// It did not come, or not as it should be.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// The same of a file of a directory.
    #[error("cannot get {:?} of the directory", excerpt(path))]
    Member {
        /// The path in the directory.
        path: String,
        /// Why.
        source: GatewayError,
    },
    /// A directory that is none, or not one to be followed.
    #[error("the directory cannot be used")]
    Directory(#[from] DirectoryError),
    /// A directory has no file at a path.
    #[error("the directory has no file at {:?}", excerpt(.0))]
    NoMember(String),
    /// The output could not be written.
    #[error("cannot write the file")]
    Write(#[source] io::Error),
    /// A tree could not be written.
    #[error(transparent)]
    Tree(GetError),
    /// It came, and could not be put.
    #[error("cannot put what comes")]
    Put(#[from] PutError),
    /// Whoever wanted it wants it no more.
    #[error("stopped")]
    Stopped,
}

/// What takes the parts of a file as they come; the last one is taken only if all are right.
pub type Take<'a> = dyn FnMut(&[u8]) -> io::Result<()> + Send + 'a;

/// A directory that is to be got.
pub struct Tree<'a> {
    /// The node that has it.
    pub node: &'a Node,
    /// What it names.
    pub directory: &'a Directory,
    /// The folder to write, which must not exist.
    pub target: Option<&'a Path>,
    /// Where to put it, and how.
    pub put: Option<(&'a Client, PutOptions)>,
    /// Ends it.
    pub stop: &'a CancellationToken,
}

/// What came of a directory.
#[derive(Debug)]
pub struct TakenTree {
    /// Its files.
    pub written: Written,
    /// The directory in the store, if it was put. Of version 4: it has no empty folders.
    pub put: Option<PutDirectory>,
}

/// Gets a file: by which hash it is right, and what came of its put.
pub async fn take(
    body: &mut Body,
    take: &mut Take<'_>,
    put: Option<(&Client, PutOptions)>,
    stop: &CancellationToken,
) -> Result<(Option<FileHash>, Option<Put>), TakeError> {
    let Some((client, options)) = put else {
        pour(body, take, None, stop).await?;
        return Ok((body.verified(), None));
    };
    let (client, (writer, mut reader)) = (client.clone(), pipe());
    let putting =
        tokio::task::spawn_blocking(move || client.put(&mut reader, &options, &mut |_| {}));
    let poured = pour(body, take, Some(writer), stop).await;
    let put = joined(putting.await)?;
    // What went wrong with the file says more than that its put has failed.
    poured?;
    Ok((body.verified(), Some(put?)))
}

/// Reads the list that a directory is.
pub async fn take_directory(
    node: &Node,
    wanted: &Wanted,
    stop: &CancellationToken,
) -> Result<Directory, TakeError> {
    let length = wanted.url().length();
    if length > MAX_DIRECTORY_LEN {
        return Err(DirectoryError::TooLong { length }.into());
    }
    let mut list = Vec::new();
    let mut body = ask(node, wanted, stop).await?;
    let mut keep = |part: &[u8]| {
        list.extend_from_slice(part);
        Ok(())
    };
    pour(&mut body, &mut keep, None, stop).await?;
    Ok(Directory::decode(&list)?)
}

/// The file that a directory has at a path.
pub fn member(directory: &Directory, path: &str) -> Result<Wanted, TakeError> {
    let url = directory.file(path).ok_or_else(|| TakeError::NoMember(path.to_owned()))?;
    checked(path, url)
}

/// Begins to get a file.
pub async fn ask(
    node: &Node,
    wanted: &Wanted,
    stop: &CancellationToken,
) -> Result<Body, TakeError> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(TakeError::Stopped),
        body = node.get(wanted) => Ok(body?),
    }
}

impl Tree<'_> {
    /// Gets all files. `progress` is told the bytes that have come.
    pub async fn take(
        self,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<TakenTree, TakeError> {
        let Self { node, directory, target, put, stop } = self;
        // Whoever cannot be asked for all files is asked for none.
        for Entry { path, url } in directory.entries() {
            url.map(|url| checked(path, url)).transpose()?;
        }
        let tree = target.map(NewTree::begin).transpose().map_err(TakeError::Tree)?;
        let mut put = put.map(|(client, options)| client.begin_tree(options)).transpose()?;
        let mut written = Written::default();
        for entry in directory.entries() {
            let made = tree.as_ref().map(|tree| tree.make(entry)).transpose();
            let file = made.map_err(TakeError::Tree)?.flatten().map(|(_, file)| file);
            let Some(url) = entry.url else { continue };
            let before = written.bytes;
            let mut told = |bytes| progress(before + bytes);
            put = take_member(node, entry.path, url, file, put, stop, &mut told).await?;
            written.files += 1;
            written.bytes += url.length();
        }
        // The store first: a tree that is there is one that was put.
        let put = match put {
            Some(put) => Some(joined(tokio::task::spawn_blocking(|| put.finish()).await)??),
            None => None,
        };
        tree.map(NewTree::keep).transpose().map_err(TakeError::Tree)?;
        Ok(TakenTree { written, put })
    }
}

/// Gets a file of a directory; gives the put back.
async fn take_member(
    node: &Node,
    path: &str,
    url: &OffUrl,
    mut file: Option<File>,
    put: Option<TreePut>,
    stop: &CancellationToken,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<Option<TreePut>, TakeError> {
    let of_member = |error| match error {
        TakeError::Gateway(source) => TakeError::Member { path: path.to_owned(), source },
        error => error,
    };
    let mut body = ask(node, &checked(path, url)?, stop).await.map_err(of_member)?;
    let mut come = 0;
    let mut keep = |part: &[u8]| {
        come += part.len() as u64;
        progress(come);
        file.as_mut().map_or(Ok(()), |file| file.write_all(part))
    };
    let Some(tree) = put else {
        pour(&mut body, &mut keep, None, stop).await.map_err(of_member)?;
        return Ok(None);
    };
    let (writer, reader) = pipe();
    let (path, executable) = (path.to_owned(), url.is_executable());
    let adding = tokio::task::spawn_blocking(move || add(tree, &path, executable, reader));
    let poured = pour(&mut body, &mut keep, Some(writer), stop).await;
    let added = joined(adding.await)?;
    poured.map_err(of_member)?;
    match (added?, body.verified()) {
        (tree, Some(_)) => Ok(Some(tree)),
        // The put has left it out, which a path does not come to that a directory can have.
        (_, None) => Err(PutError::Stopped.into()),
    }
}

fn add(
    mut tree: TreePut,
    path: &str,
    executable: bool,
    mut file: PipeReader,
) -> Result<TreePut, PutError> {
    tree.add(path, executable, &mut file, &mut |_| {}).map(|()| tree)
}

/// Moves a file on until it has proved right.
async fn pour(
    body: &mut Body,
    take: &mut Take<'_>,
    put: Option<PipeWriter>,
    stop: &CancellationToken,
) -> Result<(), TakeError> {
    loop {
        let part = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(TakeError::Stopped),
            part = body.next() => part?,
        };
        let Some(part) = part else { break };
        tokio::task::block_in_place(|| take(&part)).map_err(TakeError::Write)?;
        if !hand_on(put.as_ref(), part).await {
            // It has failed, and says why itself.
            return Ok(());
        }
    }
    if let Some(put) = put {
        put.finish().await;
    }
    Ok(())
}

async fn hand_on(put: Option<&PipeWriter>, part: Bytes) -> bool {
    match put {
        Some(put) => put.send(part).await,
        None => true,
    }
}

fn checked(path: &str, url: &OffUrl) -> Result<Wanted, TakeError> {
    let wanted = Wanted::file(url);
    let of_member = |source| TakeError::Member { path: path.to_owned(), source };
    wanted.check().map_err(of_member)?;
    Ok(wanted)
}

/// What a task came to that nobody aborts.
fn joined<T>(done: Result<T, tokio::task::JoinError>) -> Result<T, TakeError> {
    done.map_err(|error| TakeError::Write(io::Error::other(error)))
}
