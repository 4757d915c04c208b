//! The OFF URL: everything needed to read a stream again, and hints where to look. Version 4 is ours,
//! version 3 that of js-offs (see `legacy.rs`).
//!
//! ```text
//! http://localhost:23402/offsystem/v4/<type>/<length>/<file id>/<descriptor id>/<name>[?params]
//! ```
//!
//! | part | form |
//! |---|---|
//! | origin | any `scheme://host` or none; never dialled (ours is where a local gateway would be) |
//! | type | content type, two halves of `[-+.A-Za-z0-9_]+` |
//! | length | bytes of the stream, decimal, no sign, no leading zero |
//! | file id | base58 of the SHA-256 of the stream |
//! | descriptor id | base58 of the id of the first chain block; `-` for the empty stream |
//! | name | percent-encoded UTF-8; decoration that no id covers |
//!
//! Parameters, each left out at its default:
//!
//! | parameter | meaning |
//! |---|---|
//! | `t` | tuple size (3) |
//! | `k` | seal key, base58 of 32 bytes (none: plain) |
//! | `o` | where the bytes of this URL begin in a packed stream, decimal (they are a whole stream) |
//! | `s` | bytes of that packed stream, decimal; with `o` and only with it |
//! | `exec` | `1`: the file is executable (it is not) |
//! | `btih` | hint: hex infohash of the swarm that has the blocks |
//! | `tr`, `ws`, `pe` | hints: tracker, web seed, `address:port` of a peer; may be repeated |
//!
//! Several files can share one packed stream, each of them a *member* named with `o` and `s`:
//! length and file id are then the member's, descriptor, tuple size and key those of the stream,
//! whose length lays out the chain. A member has at least one byte and lies within its stream.
//!
//! Hints may be dropped. A parameter of one letter changes how a stream decodes, so an unknown one
//! is an error; unknown longer ones are skipped. A fragment is skipped.
//!
//! Where a directory's URL is taken, the path of one of its files may follow the name, its parts
//! percent-encoded: `.../<name>/<path in the directory>[?params]`.

mod error;
mod legacy;
mod parameters;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt::{self, Write as _};
use std::ops::Range;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::id::{BlockId, FileId};
use crate::limits::{MAX_DIRECTORY_BLOCKS, MAX_STREAM_LEN, MAX_URL_NAME};

use super::block::BlockSize;
use super::carriage::Carriage;
use super::descriptor::{Layout, Walk};
use super::directory;
use super::seal::Seal;
use super::tuple::TupleSize;
use parse::check_type;

pub use error::UrlError;
pub use parameters::Hints;
pub use parse::unescape;

/// The origin we print: the local gateway's, as in every OFF URL since 2006.
pub const ORIGIN: &str = "http://localhost:23402";

/// What stays bare in names and parameters. js-offs cuts names at `!*'()`, so those are escaped.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Whose form an OFF URL has, and so how its stream is cut into blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Version {
    /// That of js-offs: three sizes of blocks, tuples of three, never sealed, no empty streams.
    V3,
    /// Ours: blocks of 128 KiB.
    #[default]
    V4,
}

/// A parsed OFF URL. The length is 0 exactly if there is no descriptor, and then it is no member.
/// One of version 3 is plain, has tuples of the default size and is neither empty nor a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffUrl {
    version: Version,
    content_type: String,
    length: u64,
    file: FileId,
    descriptor: Option<BlockId>,
    name: String,
    tuple: TupleSize,
    seal: Seal,
    member: Option<Member>,
    executable: bool,
    /// Where to look; not part of what the URL names.
    pub hints: Hints,
}

/// The stream that an OFF URL names, apart from how it is typed and called.
#[derive(Debug, Clone, Copy)]
pub struct Named {
    /// Bytes.
    pub length: u64,
    /// Its contents' id.
    pub file: FileId,
    /// First block of its chain; `None` exactly if the length is 0.
    pub descriptor: Option<BlockId>,
    /// Ids in each tuple.
    pub tuple: TupleSize,
    /// The seal on stream and chain.
    pub seal: Seal,
}

/// Where the bytes of a URL lie in the packed stream they share with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Bytes of the stream before them.
    pub offset: u64,
    /// Bytes of the whole stream.
    pub stream: u64,
}

/// What chain and tuples depend on: URLs that agree in it are decoded from the same blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamKey {
    descriptor: Option<BlockId>,
    length: u64,
    tuple: TupleSize,
    seal: Seal,
    size: BlockSize,
}

impl OffUrl {
    /// Names a stream in version 4. `content_type` must be a type, `name` may be anything.
    pub fn new(named: Named, content_type: &str, name: &str) -> Result<Self, UrlError> {
        let Named { length, file, descriptor, tuple, seal } = named;
        Self::check_words(content_type, name)?;
        let content_type = content_type.to_owned();
        if length > MAX_STREAM_LEN {
            return Err(UrlError::Length(length.to_string()));
        }
        if (length == 0) != descriptor.is_none() {
            let has = if descriptor.is_some() { "has a" } else { "has no" };
            return Err(UrlError::Descriptor { length, has });
        }
        let (version, name, hints) = (Version::V4, name.to_owned(), Hints::default());
        let (member, executable) = (None, false);
        Ok(Self {
            version,
            content_type,
            length,
            file,
            descriptor,
            name,
            tuple,
            seal,
            member,
            executable,
            hints,
        })
    }

    /// Says that this URL's bytes are part of a packed stream.
    pub fn packed(self, member: Member) -> Result<Self, UrlError> {
        let Member { offset, stream } = member;
        let wrong = |key: &str, why: String| UrlError::Parameter { key: key.into(), why };
        if self.version == Version::V3 {
            return Err(wrong("o", legacy::NO_PARAMETER.into()));
        }
        if stream > MAX_STREAM_LEN {
            return Err(wrong("s", format!("{stream} bytes are refused (limit {MAX_STREAM_LEN})")));
        }
        if self.length == 0 {
            return Err(wrong("o", "an empty file is no part of a stream".into()));
        }
        if offset.checked_add(self.length).is_none_or(|end| end > stream) {
            let why = format!("{} bytes from {offset} on end after {stream} bytes", self.length);
            return Err(wrong("o", why));
        }
        Ok(Self { member: Some(member), ..self })
    }

    /// Says whether the file is executable, which version 3 cannot tell.
    #[must_use]
    pub fn executable(self, executable: bool) -> Self {
        Self { executable: executable && self.version == Version::V4, ..self }
    }

    /// Checks a content type and a name before there is a stream to name.
    pub fn check_words(content_type: &str, name: &str) -> Result<(), UrlError> {
        check_type(content_type)?;
        if name.len() > MAX_URL_NAME {
            return Err(UrlError::Name(name.len()));
        }
        Ok(())
    }

    /// Whose form it has.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The content type, `major/minor`.
    #[must_use]
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// Whether it names a directory, whose files' blocks go with it.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.content_type == directory::CONTENT_TYPE
    }

    /// Bytes it names: the stream, or a member of it.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Where these bytes lie in a packed stream; `None` if they are a stream of their own.
    #[must_use]
    pub const fn member(&self) -> Option<Member> {
        self.member
    }

    /// Bytes of the whole stream.
    #[must_use]
    pub const fn stream_length(&self) -> u64 {
        match self.member {
            Some(member) => member.stream,
            None => self.length,
        }
    }

    /// The bytes of the stream that it names.
    #[must_use]
    pub const fn range(&self) -> Range<u64> {
        match self.member {
            Some(member) => member.offset..member.offset + self.length,
            None => 0..self.length,
        }
    }

    /// Whether the file is executable.
    #[must_use]
    pub const fn is_executable(&self) -> bool {
        self.executable
    }

    /// SHA-256 of the bytes it names.
    #[must_use]
    pub const fn file(&self) -> FileId {
        self.file
    }

    /// The first chain block; `None` for the empty stream.
    #[must_use]
    pub const fn descriptor(&self) -> Option<BlockId> {
        self.descriptor
    }

    /// The file name as somebody typed it: not safe to create, see [`name::safe`](super::name::safe).
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Ids in each tuple.
    #[must_use]
    pub const fn tuple(&self) -> TupleSize {
        self.tuple
    }

    /// The seal on stream and chain.
    #[must_use]
    pub const fn seal(&self) -> &Seal {
        &self.seal
    }

    /// The size of all blocks of this stream.
    #[must_use]
    pub const fn block_size(&self) -> BlockSize {
        match self.version {
            Version::V3 => BlockSize::legacy_of(self.length),
            Version::V4 => BlockSize::Native,
        }
    }

    /// How torrents and packs carry the blocks of this stream; `None` if they do not.
    #[must_use]
    pub const fn carriage(&self) -> Option<Carriage> {
        Carriage::of(self.block_size())
    }

    /// Source blocks, and so tuples, of the stream.
    #[must_use]
    pub const fn source_blocks(&self) -> u64 {
        self.block_size().source_blocks(self.stream_length())
    }

    /// What its blocks depend on.
    #[must_use]
    pub const fn stream_key(&self) -> StreamKey {
        let Self { descriptor, tuple, seal, .. } = *self;
        let (length, size) = (self.stream_length(), self.block_size());
        StreamKey { descriptor, length, tuple, seal, size }
    }

    /// Where its ids stand in its chain.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        Layout::new(self.source_blocks() * self.tuple.ids(), self.block_size())
    }

    /// A walk along its chain.
    #[must_use]
    pub fn walk(&self) -> Walk {
        Walk::new(self.descriptor, self.layout(), self.seal)
    }

    /// The most blocks this URL can consist of: the chain and every id of every tuple; for a
    /// directory, whose URL does not tell what is in it, a limit.
    #[must_use]
    pub fn max_blocks(&self) -> u64 {
        if self.is_directory() { MAX_DIRECTORY_BLOCKS } else { self.stream_blocks() }
    }

    /// The most blocks its stream alone can consist of.
    #[must_use]
    pub const fn stream_blocks(&self) -> u64 {
        self.layout().blocks() + self.source_blocks() * self.tuple.ids()
    }

    /// The URL without its hints: the text two people who hold the same stream agree on.
    #[must_use]
    pub fn canonical(&self) -> Self {
        Self { hints: Hints::default(), ..self.clone() }
    }

    /// The same bytes as a stream that means nothing: what a directory is when it is not read.
    #[must_use]
    pub fn as_stream(&self) -> Self {
        Self { content_type: "application/octet-stream".into(), ..self.clone() }
    }

    /// Path and parameters without the origin, as a magnet link carries them.
    #[must_use]
    pub fn path(&self) -> String {
        let descriptor = self.descriptor.map_or_else(|| "-".to_owned(), |id| id.to_string());
        let mut text = format!(
            "/offsystem/{}/{}/{}/{}/{descriptor}/{}",
            self.version,
            self.content_type,
            self.length,
            self.file,
            escape(&self.name)
        );
        for (at, (key, value)) in self.parameters().into_iter().enumerate() {
            let separator = if at == 0 { '?' } else { '&' };
            // Writing into a string cannot fail.
            let _ = write!(text, "{separator}{key}={}", escape(&value));
        }
        text
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut list = Vec::new();
        if self.tuple != TupleSize::default() {
            list.push(("t", self.tuple.to_string()));
        }
        if let Seal::Key(key) = &self.seal {
            list.push(("k", key.reveal()));
        }
        if let Some(Member { offset, stream }) = self.member {
            list.extend([("o", offset.to_string()), ("s", stream.to_string())]);
        }
        if self.executable {
            list.push(("exec", "1".into()));
        }
        let Hints { infohash, trackers, web_seeds, peers } = &self.hints;
        list.extend(infohash.map(|hash| ("btih", hash.to_string())));
        list.extend(trackers.iter().map(|tracker| ("tr", tracker.clone())));
        list.extend(web_seeds.iter().map(|seed| ("ws", seed.clone())));
        list.extend(peers.iter().map(|peer| ("pe", peer.to_string())));
        list
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V3 => "v3",
            Self::V4 => "v4",
        })
    }
}

impl fmt::Display for OffUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ORIGIN}{}", self.path())
    }
}

/// Percent-encodes everything but letters, digits and `-_.~`.
#[must_use]
pub fn escape(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}
