//! Directories: a stream that names the files of a tree.
//!
//! A directory is an OFF stream of the content type `offsystem/directory`, named `<folder>.ofd`.
//! It holds one JSON object in UTF-8, as in js-offs:
//!
//! ```text
//! {"a b/run.sh":"http://localhost:23402/offsystem/v4/text/x-sh/12/<..>/<..>/run.sh?exec=1","empty/":null}
//! ```
//!
//! | entry | key | value |
//! |---|---|---|
//! | file | its path relative to the directory, parts separated by `/` | its OFF URL without hints |
//! | empty folder | its path with `/` at the end | `null` (js-offs knows none) |
//!
//! Folders that are not empty are only prefixes of paths. We write the keys in the order of their
//! paths, compared part by part, and read them in any order.
//!
//! A directory is somebody else's word. Refused, wholly and by name: paths that are absolute, have
//! an empty part, `.`, `..`, NUL or a backslash, or are longer or deeper than the limits; two
//! paths that would be one on a file system that folds case, or once [`safe`](super::name::safe)
//! has replaced what is merely odd in them; a file where another path needs a folder. So
//! [`Entry::safe_path`] of each entry can be created inside one empty folder, each without meeting
//! another. Hints in the URLs are dropped: they must not make us contact a crowd.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::id::excerpt;
use crate::limits::{MAX_DIRECTORY_ENTRIES, MAX_DIRECTORY_LEN, MAX_PATH_DEPTH, MAX_PATH_LEN};

use super::name;
use super::url::{OffUrl, UrlError};

/// The content type of a directory.
pub const CONTENT_TYPE: &str = "offsystem/directory";

/// How the name of a directory's URL ends.
pub const EXTENSION: &str = ".ofd";

/// Why bytes are not a directory, or files cannot make one.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// More bytes than anything sensible.
    #[error("a directory of {length} bytes is refused (limit {MAX_DIRECTORY_LEN})")]
    TooLong {
        /// Its bytes.
        length: u64,
    },
    /// Not a JSON object of texts and nulls, a key twice, or too many keys.
    #[error("the directory is not a JSON object of paths and OFF URLs")]
    Json(#[from] serde_json::Error),
    /// A path that is refused.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A value that is not an OFF URL.
    #[error("bad OFF URL at {:?} in the directory", excerpt(path))]
    Url {
        /// Where it stands.
        path: String,
        /// What is wrong with it.
        source: Box<UrlError>,
    },
    /// A file without a URL, or a folder with one.
    #[error("{:?} in the directory {what}", excerpt(path))]
    Kind {
        /// Where.
        path: String,
        /// What is wrong.
        what: &'static str,
    },
}

/// A path that a directory cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the path {:?} in the directory is refused: {fault}", excerpt(path))]
pub struct PathError {
    /// The path, whole and unsafe.
    pub path: String,
    /// What is wrong with it.
    pub fault: PathFault,
}

/// What can be wrong with a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// It begins with `/`.
    #[error("it is absolute")]
    Absolute,
    /// Nothing between two `/`, or nothing at all.
    #[error("it has an empty part")]
    EmptyPart,
    /// `.` or `..`.
    #[error("it has a part \"{0}\"")]
    Dots(String),
    /// A byte of value 0.
    #[error("it has a NUL in it")]
    Nul,
    /// What separates parts on Windows.
    #[error("it has a backslash in it")]
    Backslash,
    /// Too many bytes.
    #[error("it has {0} bytes (limit {MAX_PATH_LEN})")]
    TooLong(usize),
    /// Too many parts.
    #[error("it is {0} parts deep (limit {MAX_PATH_DEPTH})")]
    TooDeep(usize),
    /// It and another would be one file or folder.
    #[error("it collides with {:?}", excerpt(.0))]
    Collides(String),
    /// Another path is a file, and this one needs a folder of that name.
    #[error("it needs a folder where {:?} is", excerpt(.0))]
    NeedsFolder(String),
}

/// One line of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The path as it stands there; an empty folder's ends in `/`.
    pub path: &'a str,
    /// The file; `None` for an empty folder.
    pub url: Option<&'a OffUrl>,
}

impl Entry<'_> {
    /// The path with every part made safe to create, see [`safe`](super::name::safe); without the
    /// `/` at the end of a folder's.
    #[must_use]
    pub fn safe_path(&self) -> String {
        safe_path(self.path)
    }
}

/// The files and empty folders of a tree. No two paths are in each other's way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directory {
    entries: BTreeMap<Key, (String, Option<OffUrl>)>,
}

impl Directory {
    /// Makes a directory of files and, with `None`, empty folders, whose paths end in `/`.
    pub fn new(
        entries: impl IntoIterator<Item = (String, Option<OffUrl>)>,
    ) -> Result<Self, DirectoryError> {
        let entries: Vec<_> = entries.into_iter().collect();
        let paths = entries.iter().map(|(path, _)| path.as_str());
        if let Some(first) = refused(paths).into_iter().next() {
            return Err(first.into());
        }
        let mut made = BTreeMap::new();
        for (path, url) in entries {
            let what = match (path.ends_with('/'), &url) {
                (true, Some(_)) => Some("is a folder and has an OFF URL"),
                (false, None) => Some("is a file and has no OFF URL"),
                _ => None,
            };
            if let Some(what) = what {
                return Err(DirectoryError::Kind { path, what });
            }
            made.insert(Key::exact(&path), (path, url.map(|url| url.canonical())));
        }
        Ok(Self { entries: made })
    }

    /// Reads a directory.
    pub fn decode(bytes: &[u8]) -> Result<Self, DirectoryError> {
        let length = bytes.len() as u64;
        if length > MAX_DIRECTORY_LEN {
            return Err(DirectoryError::TooLong { length });
        }
        let Pairs(pairs) = serde_json::from_slice(bytes)?;
        let mut entries = Vec::with_capacity(pairs.len());
        for (path, url) in pairs {
            let url = match url.map(|text| OffUrl::parse(&text)).transpose() {
                Ok(url) => url,
                Err(source) => {
                    return Err(DirectoryError::Url { path, source: Box::new(source) });
                }
            };
            entries.push((path, url));
        }
        Self::new(entries)
    }

    /// Writes it.
    pub fn encode(&self) -> Result<Vec<u8>, DirectoryError> {
        let mut bytes = vec![b'{'];
        for (at, Entry { path, url }) in self.entries().enumerate() {
            if at > 0 {
                bytes.push(b',');
            }
            serde_json::to_writer(&mut bytes, path)?;
            bytes.push(b':');
            serde_json::to_writer(&mut bytes, &url.map(ToString::to_string))?;
        }
        bytes.push(b'}');
        match bytes.len() as u64 {
            length if length > MAX_DIRECTORY_LEN => Err(DirectoryError::TooLong { length }),
            _ => Ok(bytes),
        }
    }

    /// Files and empty folders in the order of their paths.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.entries.values().map(|(path, url)| Entry { path, url: url.as_ref() })
    }

    /// The files' URLs in the order of their paths.
    pub fn files(&self) -> impl Iterator<Item = &OffUrl> {
        self.entries.values().filter_map(|(_, url)| url.as_ref())
    }

    /// The file at a path, as it stands in the directory or made safe.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&OffUrl> {
        let exact = self.entries.get(&Key::exact(path)).and_then(|(_, url)| url.as_ref());
        exact.or_else(|| {
            let found =
                self.entries().find(|entry| entry.url.is_some() && entry.safe_path() == path);
            found.and_then(|entry| entry.url)
        })
    }
}

/// The paths that a directory cannot have beside the others: of two that collide, the later one.
pub fn refused<'a>(paths: impl IntoIterator<Item = &'a str>) -> Vec<PathError> {
    let mut refused = Vec::new();
    let mut sorted = Vec::new();
    for path in paths {
        match check(path) {
            Ok(()) => sorted.push((Key::folded(path), path)),
            Err(fault) => refused.push(PathError { path: path.to_owned(), fault }),
        }
    }
    sorted.sort();
    // Paths with a folded folder in common are neighbours, and a file comes before what is below
    // a folder of its name: comparing each with the one before it finds everything.
    let mut kept: Option<&str> = None;
    for (_, path) in sorted {
        match kept.and_then(|kept| clash(kept, path)) {
            Some(fault) => refused.push(PathError { path: path.to_owned(), fault }),
            None => kept = Some(path),
        }
    }
    refused
}

/// What is wrong with a path by itself.
fn check(path: &str) -> Result<(), PathFault> {
    let whole = path.strip_suffix('/').unwrap_or(path);
    if path.len() > MAX_PATH_LEN {
        return Err(PathFault::TooLong(path.len()));
    }
    if path.starts_with('/') {
        return Err(PathFault::Absolute);
    }
    if path.contains('\0') {
        return Err(PathFault::Nul);
    }
    if path.contains('\\') {
        return Err(PathFault::Backslash);
    }
    let mut depth = 0;
    for part in whole.split('/') {
        match part {
            "" => return Err(PathFault::EmptyPart),
            "." | ".." => return Err(PathFault::Dots(part.to_owned())),
            _ => depth += 1,
        }
    }
    if depth > MAX_PATH_DEPTH { Err(PathFault::TooDeep(depth)) } else { Ok(()) }
}

/// Why `path` cannot stand beside `kept`, which sorts before it.
fn clash(kept: &str, path: &str) -> Option<PathFault> {
    let mut ours = path.trim_end_matches('/').split('/');
    for theirs in kept.trim_end_matches('/').split('/') {
        match ours.next() {
            // Both sort by their folded parts, so a path does not end before its elder.
            None => return Some(PathFault::Collides(kept.to_owned())),
            Some(part) if part == theirs => {}
            Some(part) if folded(part) == folded(theirs) => {
                return Some(PathFault::Collides(kept.to_owned()));
            }
            Some(_) => return None,
        }
    }
    match ours.next() {
        Some(_) => Some(PathFault::NeedsFolder(kept.to_owned())),
        None => Some(PathFault::Collides(kept.to_owned())),
    }
}

fn safe_path(path: &str) -> String {
    let parts = path.trim_end_matches('/').split('/').map(|part| name::safe(part, "_"));
    parts.collect::<Vec<_>>().join("/")
}

/// What a part is on a file system that folds case.
fn folded(part: &str) -> String {
    // Upper case first: it is where ß and ſ meet ss and s.
    name::safe(part, "_").to_uppercase().to_lowercase()
}

/// A path that sorts part by part: `a/b` before `a.b`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key(String);

impl Key {
    fn exact(path: &str) -> Self {
        Self(path.trim_end_matches('/').replace('/', "\0"))
    }

    fn folded(path: &str) -> Self {
        let parts = path.trim_end_matches('/').split('/').map(folded);
        Self(parts.collect::<Vec<_>>().join("\0"))
    }
}

/// The object as it stands in the JSON.
struct Pairs(Vec<(String, Option<String>)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of paths and OFF URLs")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            if pairs.len() == MAX_DIRECTORY_ENTRIES {
                let limit = MAX_DIRECTORY_ENTRIES;
                return Err(A::Error::custom(format!("more than {limit} entries are refused")));
            }
            pairs.push(pair);
        }
        Ok(Pairs(pairs))
    }
}

#[cfg(test)]
mod tests;
