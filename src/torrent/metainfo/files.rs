//! The files of foreign torrents: the list of version 1, the tree of version 2 (BEP 47, BEP 52).
//!
//! Names are somebody else's: they are shown, never written to. [`Hazards`] counts those that a
//! client which writes them would have to mistrust.

use std::collections::HashSet;

use crate::bencode::{Token, Tokens};
use crate::id::MerkleRoot;
use crate::limits::{MAX_PATH_DEPTH, MAX_TORRENT_FILES, MAX_TORRENT_PATHS_LEN};
use crate::off::name;

use super::{Fields, MetainfoError, form};

/// A file of a torrent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path below the torrent's folder, unchecked, with slashes. A slash within a component is
    /// shown as U+FFFD.
    pub path: String,
    /// Bytes.
    pub length: u64,
    /// The root of its Merkle tree, where it has one.
    pub root: Option<MerkleRoot>,
    /// Whether it is a symbolic link.
    pub is_link: bool,
    /// Whether it only fills up a piece.
    pub(super) is_padding: bool,
    /// Whether its name cannot be written as it stands.
    pub(super) is_unsafe: bool,
}

/// How many files of a torrent would be dangerous to write as they are named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hazards {
    /// Names that leave the folder, hide something or mean a device.
    pub unsafe_names: u64,
    /// Symbolic links.
    pub links: u64,
    /// Files that others would overwrite where case does not count, or that others need as folders.
    pub collisions: u64,
}

impl Hazards {
    /// Counts those of a torrent's name and files.
    pub(super) fn of(name: &str, files: &[File]) -> Self {
        // The name of a single file is the torrent's.
        let is_single = matches!(files, [only] if only.path == component(name));
        let unsafe_name = !is_single && is_unsafe(name);
        let mut seen = HashSet::new();
        let folded: Vec<String> = files.iter().map(|file| file.path.to_lowercase()).collect();
        let mut collisions = folded.iter().filter(|path| !seen.insert(path.as_str())).count();
        let is_below_file = |path: &&String| {
            path.match_indices('/')
                .any(|(at, _)| path.get(..at).is_some_and(|up| seen.contains(up)))
        };
        collisions += folded.iter().filter(is_below_file).count();
        let count = |what: &dyn Fn(&File) -> bool| files.iter().filter(|file| what(file)).count();
        Self {
            unsafe_names: (count(&|file| file.is_unsafe) + usize::from(unsafe_name)) as u64,
            links: count(&|file| file.is_link) as u64,
            collisions: collisions as u64,
        }
    }
}

/// The files that version 1 lists.
pub(super) fn list(fields: &Fields<'_>, name: &str) -> Result<Vec<File>, MetainfoError> {
    match (fields.integer("length")?, fields.value("files")) {
        (Some(length), None) => {
            let mut file = File::new(length, &Attributes::default())?;
            file.path = component(name);
            file.is_unsafe = is_unsafe(name);
            Ok(vec![file])
        }
        (None, Some(list)) => several(list),
        _ => Err(form("neither one file nor several")),
    }
}

/// Bytes of all files together.
pub(super) fn total(files: &[File]) -> Result<u64, MetainfoError> {
    let total = files.iter().try_fold(0_u64, |sum, file| sum.checked_add(file.length));
    total
        .filter(|total| i64::try_from(*total).is_ok())
        .ok_or_else(|| form("the lengths of its files add up to more than 2^63"))
}

/// `files`: a list of dictionaries.
fn several(list: &[u8]) -> Result<Vec<File>, MetainfoError> {
    let wrong = || form("\"files\" is no list of files");
    let mut tokens = Tokens::of(list);
    if tokens.next() != Some(Token::List) {
        return Err(wrong());
    }
    let mut files = Files::default();
    while let Some(token) = tokens.next() {
        match token {
            Token::Dict => {
                let found = attributes(&mut tokens).ok_or_else(wrong)?;
                let found = Attributes { root: None, ..found };
                let path = found.path.clone().ok_or_else(|| form("a file has no path"))?;
                files.add(&path, &found)?;
            }
            Token::End => return Ok(files.found),
            _ => return Err(wrong()),
        }
    }
    Err(wrong())
}

/// `file tree`: dictionaries by name, in each file's an empty name with what it is.
pub(super) fn tree(tree: &[u8]) -> Result<Vec<File>, MetainfoError> {
    let wrong = || form("\"file tree\" is no tree of files");
    let mut tokens = Tokens::of(tree);
    if tokens.next() != Some(Token::Dict) {
        return Err(wrong());
    }
    let mut files = Files::default();
    // The names from the root to here, and whether there is anything below the last of them.
    let (mut path, mut is_folder) = (Vec::new(), false);
    loop {
        match tokens.next().ok_or_else(wrong)? {
            Token::End if path.is_empty() => return Ok(files.found),
            Token::End => {
                path.pop();
                is_folder = true;
            }
            Token::String(b"") => {
                if path.is_empty() || is_folder {
                    return Err(form("a file is where a folder is needed"));
                }
                let found = (tokens.next() == Some(Token::Dict)).then(|| attributes(&mut tokens));
                let found = found.flatten().ok_or_else(wrong)?;
                if found.root.is_none() && found.length.is_some_and(|length| length > 0) {
                    return Err(form("a file without the root of its hashes"));
                }
                files.add(&path, &found)?;
                if tokens.next() != Some(Token::End) {
                    return Err(form("a file is where a folder is needed"));
                }
                path.pop();
                is_folder = true;
            }
            Token::String(name) if tokens.next() == Some(Token::Dict) => {
                path.push(name);
                is_folder = false;
                check_depth(path.len())?;
            }
            _ => return Err(wrong()),
        }
    }
}

/// Compares the halves of a hybrid: the same files in the same order, each at the start of a piece.
pub(super) fn check_halves(
    listed: &[File],
    grown: &[File],
    piece_length: u64,
) -> Result<(), MetainfoError> {
    let mut grown = grown.iter();
    let mut offset = 0_u64;
    let differ = || form("its halves of version 1 and 2 list different files");
    for file in listed {
        if !file.is_padding {
            let twin = grown.next().ok_or_else(differ)?;
            let aligned = file.length == 0 || offset.is_multiple_of(piece_length);
            if (&twin.path, twin.length) != (&file.path, file.length) || !aligned {
                return Err(differ());
            }
        }
        offset = offset.saturating_add(file.length);
    }
    if grown.next().is_some() { Err(differ()) } else { Ok(()) }
}

/// The files found so far.
#[derive(Default)]
struct Files {
    found: Vec<File>,
    paths_len: usize,
}

impl Files {
    fn add(&mut self, path: &[&[u8]], found: &Attributes<'_>) -> Result<(), MetainfoError> {
        if self.found.len() >= MAX_TORRENT_FILES {
            return Err(form(&format!("more than {MAX_TORRENT_FILES} files")));
        }
        check_depth(path.len())?;
        if path.is_empty() {
            return Err(form("a file has no path"));
        }
        self.paths_len += path.iter().map(|part| part.len() + 1).sum::<usize>();
        if self.paths_len > MAX_TORRENT_PATHS_LEN {
            return Err(form(&format!("paths of more than {MAX_TORRENT_PATHS_LEN} bytes")));
        }
        let without = if found.has(b'l') { 0 } else { -1 };
        let mut file = File::new(found.length.unwrap_or(without), found)?;
        for part in path {
            let part = String::from_utf8_lossy(part);
            file.is_unsafe |= is_unsafe(&part);
            if !file.path.is_empty() {
                file.path.push('/');
            }
            file.path.push_str(&component(&part));
        }
        self.found.push(file);
        Ok(())
    }
}

impl File {
    fn new(length: i64, found: &Attributes<'_>) -> Result<Self, MetainfoError> {
        let length = u64::try_from(length).map_err(|_| form("a file without a possible length"))?;
        let root = match found.root {
            None => None,
            Some(bytes) => Some(
                MerkleRoot::from_slice(bytes)
                    .filter(|root| *root != MerkleRoot::BEYOND)
                    .ok_or_else(|| form("a root of zeros, or one that is no SHA-256"))?,
            ),
        };
        let (is_link, is_padding) = (found.has(b'l'), found.has(b'p'));
        Ok(Self { path: String::new(), length, root, is_link, is_padding, is_unsafe: false })
    }
}

/// What a torrent says about a file.
#[derive(Default)]
struct Attributes<'a> {
    length: Option<i64>,
    path: Option<Vec<&'a [u8]>>,
    root: Option<&'a [u8]>,
    flags: &'a [u8],
}

impl Attributes<'_> {
    fn has(&self, flag: u8) -> bool {
        self.flags.contains(&flag)
    }
}

/// The rest of a dictionary about a file; `None` if a value is not of its kind.
fn attributes<'a>(tokens: &mut Tokens<'a>) -> Option<Attributes<'a>> {
    let mut found = Attributes::default();
    loop {
        let key = match tokens.next()? {
            Token::End => return Some(found),
            Token::String(key) => key,
            _ => return None,
        };
        match key {
            b"length" => found.length = Some(integer(tokens)?),
            b"path" => found.path = Some(components(tokens)?),
            b"pieces root" => found.root = Some(string(tokens)?),
            b"attr" => found.flags = string(tokens)?,
            _ => tokens.skip_value()?,
        }
    }
}

fn integer(tokens: &mut Tokens<'_>) -> Option<i64> {
    match tokens.next()? {
        Token::Integer(number) => Some(number),
        _ => None,
    }
}

fn string<'a>(tokens: &mut Tokens<'a>) -> Option<&'a [u8]> {
    match tokens.next()? {
        Token::String(string) => Some(string),
        _ => None,
    }
}

/// A list of names; not many more of them than a path may have.
fn components<'a>(tokens: &mut Tokens<'a>) -> Option<Vec<&'a [u8]>> {
    let mut path = Vec::new();
    if tokens.next()? != Token::List {
        return None;
    }
    loop {
        match tokens.next()? {
            Token::End => return Some(path),
            Token::String(part) if path.len() <= MAX_PATH_DEPTH => path.push(part),
            Token::String(_) => {}
            _ => return None,
        }
    }
}

fn check_depth(depth: usize) -> Result<(), MetainfoError> {
    if depth > MAX_PATH_DEPTH {
        return Err(form(&format!("a path of more than {MAX_PATH_DEPTH} components")));
    }
    Ok(())
}

/// One component of a path that is shown.
fn component(name: &str) -> String {
    name.replace('/', "\u{fffd}")
}

fn is_unsafe(component: &str) -> bool {
    name::safe(component, "") != component || component.is_empty()
}
