//! Put a directory: a tree of files in, one OFF URL out.
//!
//! Files of [`PACKED_BELOW_LEN`] and more are streams of their own; all shorter ones are read one
//! after the other into a single packed stream, in the order of their paths, and named by where
//! they lie in it. Then the directory itself is put, and its URL alone is entered in the catalog.
//! Nothing is held in memory but the paths and URLs.
//!
//! In version 3 nothing is packed, and what js-offs has no form for, empty files and folders, is left
//! out and reported.
//!
//! A tree may change while it is read. Offsets and file ids are those of the bytes that were
//! really read, so a file that grows or shrinks is what it was at that moment and moves no other.
//! What cannot be put is left out and reported: symbolic links and special files, names that are
//! no UTF-8 or that a directory refuses (see [`directory`]), what cannot be read, and the client's
//! own home, which would grow as fast as it is read.

use std::collections::HashSet;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::catalog::Origin;
use crate::id::{FileHasher, FileId};
use crate::limits::{MAX_PATH_DEPTH, PACKED_BELOW_LEN};
use crate::off::url::UrlError;
use crate::off::{Directory, OffUrl, Version, directory};

use super::put::{Put, PutOptions};
use super::put_tree;
use super::{Client, PutError};

/// What came of a directory's put.
#[derive(Debug)]
pub struct PutDirectory {
    /// The directory's URL and the blocks that it and its files added.
    pub put: Put,
    /// Files in it.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// What was left out.
    pub skipped: Vec<Skipped>,
}

/// A file or folder that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Where it is.
    pub path: PathBuf,
    /// Why it was left out.
    pub why: String,
}

/// Why an empty folder is left out.
pub(super) const NO_EMPTY_FOLDERS: &str = "a directory of version 3 has no empty folders";

/// The content type that a file's name suggests.
#[must_use]
pub fn content_type_of(name: &str) -> String {
    mime_guess::from_path(name).first_or_octet_stream().essence_str().to_owned()
}

impl Client {
    /// Stores the tree below a folder. Of the options the content type is not used; the name gets
    /// the ending `.ofd` unless it has it. `progress` is told the bytes read so far.
    pub fn put_directory(
        &self,
        folder: &Path,
        options: &PutOptions,
        progress: &mut dyn FnMut(u64),
    ) -> Result<PutDirectory, PutError> {
        self.undoing(|| self.put_tree(folder, options, progress))
    }

    fn put_tree(
        &self,
        folder: &Path,
        options: &PutOptions,
        progress: &mut dyn FnMut(u64),
    ) -> Result<PutDirectory, PutError> {
        let before = self.store.census()?.blocks;
        let mut tree = Tree::list(folder, self.home.path())?;
        let packs = options.version == Version::V4;
        if !packs {
            tree.leave_out_empty_folders(folder);
        }
        let Tree { files, empty, mut skipped, .. } = tree;
        let (small, large): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|file| packs && file.length < PACKED_BELOW_LEN);
        let mut read = 0;
        let mut entries: Vec<_> = empty.into_iter().map(|path| (path, None)).collect();
        for found in &large {
            match self.put_large(found, options, &mut |bytes| progress(read + bytes)) {
                Ok(url) => {
                    read += url.length();
                    entries.push((found.path.clone(), Some(url)));
                }
                Err(PutError::Read { source, .. }) => skipped.push(found.skipped(&source)),
                Err(PutError::Url(error @ UrlError::Empty)) => skipped.push(found.skipped(&error)),
                Err(error) => return Err(error),
            }
        }
        if packs {
            let packed = self.put_packed(&small, options, &mut skipped, &mut |bytes| {
                progress(read + bytes);
            })?;
            entries.extend(packed.into_iter().map(|(path, url)| (path, Some(url))));
        }
        let files = entries.iter().filter_map(|(_, url)| url.as_ref());
        let (files, bytes) = files.fold((0, 0), |(n, sum), url| (n + 1, sum + url.length()));
        let url = self.put_listing(&Directory::new(entries)?, options)?;
        self.store.commit()?;
        options.go_on()?;
        self.remember(&url, Origin::Put).map_err(Box::new)?;
        let new_blocks = self.store.census()?.blocks.saturating_sub(before);
        skipped.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(PutDirectory { put: Put { url, new_blocks }, files, bytes, skipped })
    }

    fn put_large(
        &self,
        found: &Found,
        options: &PutOptions,
        progress: &mut dyn FnMut(u64),
    ) -> Result<OffUrl, PutError> {
        let mut file = found.open().map_err(|source| PutError::Read { read: 0, source })?;
        let options = PutOptions {
            content_type: content_type_of(found.name()),
            name: found.name().to_owned(),
            executable: found.executable,
            ..options.clone()
        };
        self.put_stream(&mut file, &options, progress)
    }

    /// Puts many files as one stream: the paths and URLs of those that could be read.
    fn put_packed(
        &self,
        files: &[Found],
        options: &PutOptions,
        skipped: &mut Vec<Skipped>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Vec<(String, OffUrl)>, PutError> {
        let mut pack = Pack::new(files);
        let stream = self.put_stream(&mut pack, options, progress)?;
        skipped.append(&mut pack.skipped);
        let name = |part: &Part<'_>| Ok((part.file.path.clone(), part.url(&stream)?));
        pack.parts.iter().map(name).collect()
    }
}

/// What is below a folder, in the order of the paths.
#[derive(Default)]
struct Tree {
    files: Vec<Found>,
    /// Paths of empty folders, with `/` at the end.
    empty: Vec<String>,
    skipped: Vec<Skipped>,
    /// The home of the client, which is not gone into.
    home: Option<(u64, u64)>,
}

/// A file as it was when the tree was listed.
struct Found {
    /// Relative to the directory, parts separated by `/`.
    path: String,
    place: PathBuf,
    /// Bytes.
    length: u64,
    executable: bool,
    /// What it is known by, whatever becomes of its path.
    identity: (u64, u64),
}

impl Tree {
    fn list(folder: &Path, home: &Path) -> Result<Self, PutError> {
        let failed = |source| PutError::Folder { path: folder.to_owned(), source };
        let whole = |path: &Path| path.canonicalize().map_err(failed);
        if whole(folder)?.starts_with(whole(home)?) {
            return Err(failed(io::Error::other("it belongs to this store")));
        }
        let home = fs::metadata(home).map_err(failed)?;
        let mut tree = Self { home: Some(identity(&home)), ..Self::default() };
        tree.walk(folder, "", 1).map_err(failed)?;
        tree.leave_out_refused(folder);
        Ok(tree)
    }

    /// Lists a folder, whose path in the directory is `prefix`: how much it holds, left out or not.
    fn walk(&mut self, folder: &Path, prefix: &str, depth: usize) -> io::Result<usize> {
        let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in &entries {
            let place = entry.path();
            if let Err(why) = self.visit(&place, prefix, depth) {
                self.skipped.push(Skipped { path: place, why });
            }
        }
        Ok(entries.len())
    }

    fn visit(&mut self, place: &Path, prefix: &str, depth: usize) -> Result<(), String> {
        let name = place.file_name().and_then(|name| name.to_str());
        let path = format!("{prefix}{}", name.ok_or("its name is no UTF-8")?);
        let metadata = place.symlink_metadata().map_err(|error| error.to_string())?;
        let kind = metadata.file_type();
        if kind.is_file() {
            self.files.push(Found::new(path, place, &metadata));
        } else if kind.is_dir() && self.home == Some(identity(&metadata)) {
            return Err("it belongs to this store".into());
        } else if kind.is_dir() {
            if depth > MAX_PATH_DEPTH {
                return Err(format!("it is more than {MAX_PATH_DEPTH} folders deep"));
            }
            let prefix = format!("{path}/");
            let held = self.walk(place, &prefix, depth + 1).map_err(|error| error.to_string())?;
            if held == 0 {
                self.empty.push(prefix);
            }
        } else {
            let what = if kind.is_symlink() { "a symbolic link" } else { "a special file" };
            return Err(format!("it is {what}"));
        }
        Ok(())
    }

    /// Leaves out what a directory of version 3 has no form for.
    fn leave_out_empty_folders(&mut self, folder: &Path) {
        let left_out = self.empty.drain(..);
        let left_out =
            left_out.map(|path| Skipped { path: folder.join(path), why: NO_EMPTY_FOLDERS.into() });
        self.skipped.extend(left_out);
    }

    /// Leaves out what a directory would refuse.
    fn leave_out_refused(&mut self, folder: &Path) {
        let files = self.files.iter().map(|file| file.path.as_str());
        let refused = directory::refused(files.chain(self.empty.iter().map(String::as_str)));
        let paths: HashSet<_> = refused.iter().map(|error| error.path.as_str()).collect();
        self.files.retain(|file| !paths.contains(file.path.as_str()));
        self.empty.retain(|path| !paths.contains(path.as_str()));
        self.skipped.extend(
            refused.iter().map(|error| Skipped {
                path: folder.join(&error.path),
                why: error.fault.to_string(),
            }),
        );
    }
}

impl Found {
    fn new(path: String, place: &Path, metadata: &Metadata) -> Self {
        Self {
            path,
            place: place.to_owned(),
            length: metadata.len(),
            executable: metadata.permissions().mode() & 0o111 != 0,
            identity: identity(metadata),
        }
    }

    fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Opens the file that was listed, and no other that has taken its place: a symbolic link
    /// could lead out of the tree, and a pipe would never end.
    fn open(&self) -> io::Result<File> {
        let is_same =
            |metadata: &Metadata| metadata.is_file() && identity(metadata) == self.identity;
        if is_same(&self.place.symlink_metadata()?) {
            let file = File::open(&self.place)?;
            if is_same(&file.metadata()?) {
                return Ok(file);
            }
        }
        Err(io::Error::other("another file has taken its place"))
    }

    fn skipped(&self, error: &impl std::error::Error) -> Skipped {
        Skipped { path: self.place.clone(), why: error.to_string() }
    }
}

/// Device and number: two paths with the same are the same file or folder.
fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Files one after the other, as one stream.
struct Pack<'a> {
    waiting: std::slice::Iter<'a, Found>,
    current: Option<(Part<'a>, File, FileHasher)>,
    /// Bytes read so far.
    read: u64,
    parts: Vec<Part<'a>>,
    skipped: Vec<Skipped>,
}

/// A file that was read, and where its bytes lie.
struct Part<'a> {
    file: &'a Found,
    offset: u64,
    length: u64,
    id: FileId,
}

impl<'a> Pack<'a> {
    fn new(files: &'a [Found]) -> Self {
        let (parts, skipped) = (Vec::new(), Vec::new());
        Self { waiting: files.iter(), current: None, read: 0, parts, skipped }
    }

    /// Goes on to the next file that can be opened; `false` if there is none.
    fn next_file(&mut self) -> bool {
        for file in self.waiting.by_ref() {
            match file.open() {
                Ok(opened) => {
                    let id = FileId::of_nothing();
                    let part = Part { file, offset: self.read, length: 0, id };
                    self.current = Some((part, opened, FileHasher::default()));
                    return true;
                }
                Err(error) => self.skipped.push(file.skipped(&error)),
            }
        }
        false
    }
}

impl Read for Pack<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.current.is_none() && !self.next_file() {
                return Ok(0);
            }
            let Some((part, file, hasher)) = &mut self.current else { continue };
            match file.read(buffer) {
                Ok(0) => {
                    let Some((part, _, hasher)) = self.current.take() else { continue };
                    self.parts.push(Part { id: hasher.finish(), ..part });
                }
                Ok(read) => {
                    hasher.update(buffer.get(..read).unwrap_or_default());
                    part.length += read as u64;
                    self.read += read as u64;
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // What was read of it stays in the stream, where no URL names it.
                Err(error) => {
                    self.skipped.push(part.file.skipped(&error));
                    self.current = None;
                }
            }
        }
    }
}

impl Part<'_> {
    /// The URL of this file in the packed stream.
    fn url(&self, stream: &OffUrl) -> Result<OffUrl, PutError> {
        let Self { file, offset, length, id } = *self;
        let (path, executable) = (file.path.clone(), file.executable);
        let content_type = content_type_of(file.name());
        put_tree::Part { path, content_type, executable, offset, length, id }.url(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of a tree whose files change after it was listed: what each part of the pack
    /// is said to be, and what was left out.
    fn pack_after(change: impl Fn(&Path)) -> (Vec<(String, Vec<u8>)>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            fs::write(folder.path().join(name), name.repeat(10)).unwrap();
        }
        let home = tempfile::tempdir().unwrap();
        let tree = Tree::list(folder.path(), home.path()).unwrap();
        change(folder.path());
        let mut pack = Pack::new(&tree.files);
        let mut stream = Vec::new();
        pack.read_to_end(&mut stream).unwrap();
        let parts = pack.parts.iter().map(|part| {
            let bytes = &stream[part.offset as usize..(part.offset + part.length) as usize];
            let mut hasher = FileHasher::default();
            hasher.update(bytes);
            assert_eq!(part.id, hasher.finish());
            (part.file.path.clone(), bytes.to_vec())
        });
        let skipped = pack.skipped.iter().map(|skipped| skipped.path.display().to_string());
        (parts.collect(), skipped.collect())
    }

    fn part(name: &str, contents: &str) -> (String, Vec<u8>) {
        (name.to_owned(), contents.as_bytes().to_vec())
    }

    #[test]
    fn a_file_that_changes_its_size_moves_no_other() {
        let (grown, skipped) =
            pack_after(|folder| fs::write(folder.join("b"), "B".repeat(99)).unwrap());
        let (a, c) = (part("a", &"a".repeat(10)), part("c", &"c".repeat(10)));
        assert_eq!(grown, [a.clone(), part("b", &"B".repeat(99)), c.clone()]);
        assert!(skipped.is_empty());
        let (shrunk, _) = pack_after(|folder| fs::write(folder.join("b"), "").unwrap());
        assert_eq!(shrunk, [a, part("b", ""), c]);
    }

    #[test]
    fn a_file_that_is_gone_or_another_is_left_out() {
        let swap = |folder: &Path| {
            fs::remove_file(folder.join("a")).unwrap();
            fs::remove_file(folder.join("b")).unwrap();
            std::os::unix::fs::symlink("c", folder.join("b")).unwrap();
        };
        let (parts, skipped) = pack_after(swap);
        assert_eq!(parts, [part("c", &"c".repeat(10))]);
        assert_eq!(skipped.len(), 2);
        assert!(skipped[0].ends_with("/a") && skipped[1].ends_with("/b"));
    }
}
