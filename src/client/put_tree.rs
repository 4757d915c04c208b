//! Put a directory whose files come one after the other, from wherever: a folder that somebody
//! drops on a page comes so.
//!
//! As in [`put_directory`](super::put_directory) a file of [`PACKED_BELOW_LEN`] and more is a stream
//! of its own, and shorter ones are packed together. How long a file is shows when it is read: its
//! beginning is held in memory until that is known, and the short ones until they are
//! [`GATHERED_LEN`] together, and then they are put as one packed stream. So the memory used depends
//! on the number of files only.
//!
//! In version 3 nothing is packed, and empty files and folders are left out.
//!
//! All is under one lease. A tree that is dropped before it is finished is taken out of the store
//! again.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::PathBuf;

use crate::catalog::Origin;
use crate::id::{FileHasher, FileId};
use crate::limits::http::GATHERED_LEN;
use crate::limits::{MAX_DIRECTORY_LEN, PACKED_BELOW_LEN};
use crate::off::directory::{self, DirectoryError, PathError};
use crate::off::url::{Member, Named, UrlError};
use crate::off::{Directory, OffUrl, Version};
use crate::store::Lease;

use super::put::{Put, PutOptions};
use super::put_directory::{NO_EMPTY_FOLDERS, PutDirectory, Skipped, content_type_of};
use super::{Client, PutError};

/// Bytes that a file takes in the directory at least, beside its path: an OFF URL.
const ENTRY_LEN: u64 = 200;

/// A directory that is being put.
pub struct TreePut {
    client: Client,
    options: PutOptions,
    /// What keeps the blocks until all is done; gone once it is.
    lease: Option<Lease>,
    /// Blocks of the store before.
    before: u64,
    entries: Vec<(String, Option<OffUrl>)>,
    gathered: Gathered,
    skipped: Vec<Skipped>,
    /// Bytes of files read so far.
    read: u64,
    /// Bytes that the directory has at least.
    listing: u64,
}

/// Files that are not yet put.
#[derive(Default)]
struct Gathered {
    bytes: Vec<u8>,
    parts: Vec<Part>,
}

/// A file in a packed stream.
pub(super) struct Part {
    pub(super) path: String,
    pub(super) content_type: String,
    pub(super) executable: bool,
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) id: FileId,
}

impl Client {
    /// Begins a directory of version 4. Of the options the content type is not used; the name gets
    /// the ending `.ofd` unless it has it.
    pub fn begin_tree(&self, options: PutOptions) -> Result<TreePut, PutError> {
        self.begin_tree_as(PutOptions { version: Version::V4, ..options })
    }

    /// Begins a directory of the version that the options name.
    pub(super) fn begin_tree_as(&self, options: PutOptions) -> Result<TreePut, PutError> {
        OffUrl::check_words(directory::CONTENT_TYPE, &options.name)?;
        let lease = Some(self.store.lease());
        Ok(TreePut {
            client: self.clone(),
            options,
            lease,
            before: self.store.census()?.blocks,
            entries: Vec::new(),
            gathered: Gathered::default(),
            skipped: Vec::new(),
            read: 0,
            listing: 0,
        })
    }

    /// Puts the list of a directory.
    pub(super) fn put_listing(
        &self,
        directory: &Directory,
        options: &PutOptions,
    ) -> Result<OffUrl, PutError> {
        let name = options.name.strip_suffix(directory::EXTENSION).unwrap_or(&options.name);
        let options = PutOptions {
            content_type: directory::CONTENT_TYPE.into(),
            name: format!("{name}{}", directory::EXTENSION),
            executable: false,
            ..options.clone()
        };
        self.put_stream(&mut &*directory.encode()?, &options, &mut |_| {})
    }
}

impl TreePut {
    /// Adds a file. One with a path that no directory can have is left out, and nothing is read of
    /// it. `progress` is told the bytes read so far of all files.
    pub fn add(
        &mut self,
        path: &str,
        executable: bool,
        stream: &mut (dyn Read + Send),
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), PutError> {
        self.add_as(path, executable, &content_type_of(name_of(path)), stream, progress)
    }

    /// The same for a file of a known content type.
    pub(super) fn add_as(
        &mut self,
        path: &str,
        executable: bool,
        content_type: &str,
        stream: &mut (dyn Read + Send),
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), PutError> {
        // It may collide with another one, but only all of them together tell which is left out.
        if let Some(error) = directory::refused([path]).pop() {
            self.skipped.push(left_out(&error));
            return Ok(());
        }
        self.listing += path.len() as u64 + ENTRY_LEN;
        if self.listing > MAX_DIRECTORY_LEN {
            return Err(DirectoryError::TooLong { length: self.listing }.into());
        }
        let mut beginning = Vec::new();
        let failed = |source| PutError::Read { read: 0, source };
        (&mut *stream).take(PACKED_BELOW_LEN).read_to_end(&mut beginning).map_err(failed)?;
        let packs = self.options.version == Version::V4;
        if !packs && beginning.is_empty() {
            self.leave_out(path, &UrlError::Empty.to_string());
            return Ok(());
        }
        if packs && (beginning.len() as u64) < PACKED_BELOW_LEN {
            self.read += beginning.len() as u64;
            progress(self.read);
            self.gathered.add(path, (content_type, executable), &beginning);
            return if self.gathered.bytes.len() < GATHERED_LEN { Ok(()) } else { self.flush() };
        }
        let name = name_of(path);
        let options = PutOptions {
            content_type: content_type.to_owned(),
            name: name.to_owned(),
            executable,
            ..self.options.clone()
        };
        let (mut whole, before) = (io::Cursor::new(beginning).chain(stream), self.read);
        let mut progress = |read| progress(before + read);
        let url = self.client.put_stream(&mut whole, &options, &mut progress)?;
        self.read += url.length();
        self.entries.push((path.to_owned(), Some(url)));
        Ok(())
    }

    /// Adds an empty folder, with `/` at the end of its path; in version 3 it is left out.
    pub(super) fn add_folder(&mut self, path: &str) {
        if self.options.version == Version::V3 {
            self.leave_out(path, NO_EMPTY_FOLDERS);
        } else {
            self.listing += path.len() as u64;
            self.entries.push((path.to_owned(), None));
        }
    }

    fn leave_out(&mut self, path: &str, why: &str) {
        self.skipped.push(Skipped { path: PathBuf::from(path), why: why.to_owned() });
    }

    /// Puts the directory itself and enters it in the catalog.
    pub fn finish(mut self) -> Result<PutDirectory, PutError> {
        self.flush()?;
        self.leave_out_refused();
        let entries = std::mem::take(&mut self.entries);
        let urls = entries.iter().filter_map(|(_, url)| url.as_ref());
        let (files, bytes) = urls.fold((0, 0), |(n, sum), url| (n + 1, sum + url.length()));
        let url = self.client.put_listing(&Directory::new(entries)?, &self.options)?;
        let store = &self.client.store;
        store.commit()?;
        self.client.remember(&url, Origin::Put).map_err(Box::new)?;
        let new_blocks = store.census()?.blocks.saturating_sub(self.before);
        self.lease = None;
        let mut skipped = std::mem::take(&mut self.skipped);
        skipped.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(PutDirectory { put: Put { url, new_blocks }, files, bytes, skipped })
    }

    /// Puts what was gathered as one packed stream.
    fn flush(&mut self) -> Result<(), PutError> {
        let Gathered { bytes, parts } = std::mem::take(&mut self.gathered);
        if parts.is_empty() {
            return Ok(());
        }
        let stream = self.client.put_stream(&mut &*bytes, &self.options, &mut |_| {})?;
        for part in parts {
            let url = part.url(&stream)?;
            self.entries.push((part.path, Some(url)));
        }
        Ok(())
    }

    /// Leaves out those that collide with others; of two with the same path the first one stays.
    fn leave_out_refused(&mut self) {
        let refused = directory::refused(self.entries.iter().map(|(path, _)| path.as_str()));
        self.skipped.extend(refused.iter().map(left_out));
        let mut counts: HashMap<String, usize> = HashMap::new();
        for error in refused {
            *counts.entry(error.path).or_default() += 1;
        }
        self.entries.reverse();
        self.entries.retain(|(path, _)| match counts.get_mut(path) {
            Some(left) if *left > 0 => {
                *left -= 1;
                false
            }
            _ => true,
        });
        self.entries.reverse();
    }
}

impl Drop for TreePut {
    fn drop(&mut self) {
        if let Some(lease) = &self.lease
            && let Err(error) = self.client.store.undo(lease)
        {
            tracing::warn!("what a failed put has stored stays until the next gc: {error}");
        }
    }
}

impl Gathered {
    fn add(&mut self, path: &str, (content_type, executable): (&str, bool), bytes: &[u8]) {
        let mut hasher = FileHasher::default();
        hasher.update(bytes);
        self.parts.push(Part {
            path: path.to_owned(),
            content_type: content_type.to_owned(),
            executable,
            offset: self.bytes.len() as u64,
            length: bytes.len() as u64,
            id: hasher.finish(),
        });
        self.bytes.extend_from_slice(bytes);
    }
}

impl Part {
    /// The URL of this file in the packed stream.
    pub(super) fn url(&self, stream: &OffUrl) -> Result<OffUrl, PutError> {
        let named = Named {
            length: self.length,
            file: self.id,
            descriptor: stream.descriptor().filter(|_| self.length > 0),
            tuple: stream.tuple(),
            seal: *stream.seal(),
        };
        let url = OffUrl::new(named, &self.content_type, name_of(&self.path))?;
        let url = url.executable(self.executable);
        // A stream of its own needs no place in one.
        if self.length == 0 || self.length == stream.length() {
            return Ok(url);
        }
        Ok(url.packed(Member { offset: self.offset, stream: stream.length() })?)
    }
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn left_out(error: &PathError) -> Skipped {
    Skipped { path: PathBuf::from(&error.path), why: error.fault.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that goes away.
    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    fn client() -> (tempfile::TempDir, Client) {
        let folder = tempfile::tempdir().unwrap();
        let client = Client::open_seeded(&folder.path().join("home"), 7).unwrap();
        (folder, client)
    }

    fn options() -> PutOptions {
        PutOptions { name: "tree".into(), ..PutOptions::default() }
    }

    fn contents(client: &Client, url: &OffUrl) -> Vec<u8> {
        let mut bytes = Vec::new();
        client.read(url, &mut bytes, &mut |_| {}).unwrap();
        bytes
    }

    #[test]
    fn small_files_share_streams_and_large_ones_have_their_own() {
        let (_folder, client) = client();
        let mut tree = client.begin_tree(options()).unwrap();
        let at_limit = PACKED_BELOW_LEN as usize;
        let lengths = [0, 1, 1000, at_limit - 1, at_limit, 300_000];
        let file = |at: usize| vec![at as u8 + 1; lengths[at]];
        let mut told = 0;
        for at in 0..lengths.len() {
            let path = format!("d/{at}.txt");
            tree.add(&path, at == 1, &mut &*file(at), &mut |read| told = read).unwrap();
        }
        let done = tree.finish().unwrap();
        let total = lengths.iter().sum::<usize>() as u64;
        assert_eq!((done.files, done.bytes, told), (6, total, total));
        assert!(done.skipped.is_empty() && done.put.url.name() == "tree.ofd");
        let listed = client.directory(&done.put.url).unwrap();
        for at in 0..lengths.len() {
            let url = listed.file(&format!("d/{at}.txt")).unwrap();
            assert_eq!(contents(&client, url), file(at), "{at}");
            assert_eq!(url.content_type(), "text/plain");
            assert_eq!(url.member().is_some(), (1..=3).contains(&at), "{at}");
            assert_eq!(url.is_executable(), at == 1);
        }
        assert_eq!(client.known_urls().unwrap().len(), 1, "the directory alone is entered");
    }

    #[test]
    fn many_small_files_make_several_streams() {
        let (_folder, client) = client();
        let mut tree = client.begin_tree(options()).unwrap();
        let (file, count) = (vec![7; 60_000], GATHERED_LEN / 60_000 + 10);
        for at in 0..count {
            tree.add(&format!("{at}"), false, &mut &*file, &mut |_| {}).unwrap();
            assert!(tree.gathered.bytes.len() < GATHERED_LEN);
        }
        let listed = client.directory(&tree.finish().unwrap().put.url).unwrap();
        let mut streams: Vec<_> = listed.files().map(OffUrl::descriptor).collect();
        streams.dedup();
        assert_eq!(listed.files().count(), count);
        assert!(streams.len() >= 2 && contents(&client, listed.file("0").unwrap()) == file);
    }

    #[test]
    fn paths_that_no_directory_can_have_are_left_out() {
        let (_folder, client) = client();
        let mut tree = client.begin_tree(options()).unwrap();
        let paths = ["a", "../x", "/etc/x", "b//c", "A", "a", "a/b", "good/c", "x\\y", "n\0"];
        for (at, path) in paths.iter().enumerate() {
            tree.add(path, false, &mut &*vec![at as u8 + 1; 10], &mut |_| {}).unwrap();
        }
        let done = tree.finish().unwrap();
        let listed = client.directory(&done.put.url).unwrap();
        let kept: Vec<_> = listed.entries().map(|entry| entry.path).collect();
        assert_eq!(kept.len() + done.skipped.len(), paths.len(), "{kept:?} {:?}", done.skipped);
        assert!(kept.contains(&"good/c") && kept.len() == 2, "{kept:?}");
    }

    #[test]
    fn what_is_not_finished_leaves_nothing() {
        let (_folder, client) = client();
        let mut tree = client.begin_tree(options()).unwrap();
        tree.add("large", false, &mut &*vec![1; 400_000], &mut |_| {}).unwrap();
        assert!(client.store().census().unwrap().blocks > 0);
        let failed = tree.add("broken", false, &mut Broken, &mut |_| {});
        assert!(matches!(failed, Err(PutError::Read { .. })));
        drop(tree);
        assert_eq!(client.store().census().unwrap().blocks, 0);
        assert!(client.known_urls().unwrap().is_empty());
    }
}
