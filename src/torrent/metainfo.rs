//! Info dicts and `.torrent` files (BEP 3; trackers BEP 12, web seeds BEP 19, version 2 BEP 52).
//!
//! The info dict of an OFF torrent has four keys and nothing else, so that it depends on the
//! blocks alone:
//!
//! | key | value |
//! |---|---|
//! | `length` | blocks * 131072, shorter ones padded with zeros ([`Carriage`](crate::off::Carriage)) |
//! | `name` | first 16 hex digits of the first block's id (the descriptor's), then `.off`; for a pack that is not one OFF URL's, of SHA-256 over the ids of its blocks ([`PackId`]) |
//! | `piece length` | 131072, or a power of two of them, see [`mapping`] |
//! | `pieces` | SHA-1 of each piece, 20 bytes each |
//!
//! Its twin of version 2 has `file tree` and `meta version` in place of `length` and `pieces`, and
//! the piece layer beside the info dict; the hybrid twin has all of them. Both are made on request
//! only and have infohashes of their own.
//!
//! The `.torrent` file of a pack has one key of our own beside `info`, where it changes nothing for
//! anybody else:
//!
//! | key | value |
//! |---|---|
//! | `off ids` | the ids of the blocks, 32 bytes each, in their order |
//!
//! It tells which piece to ask for to have one block. Packs of more than 262,144 blocks have
//! none.
//!
//! Torrents of other programs are read for `torrent show`; only those of the forms above carry
//! blocks. The infohash is always over the info dict's bytes as they came. Whatever the bytes are,
//! reading them takes one pass, no recursion and a few times their length of memory; no name in them
//! is ever written to.

mod encode;
mod files;
mod layers;
#[cfg(test)]
mod tests;

use std::ops::Range;

use bytes::Bytes;

use crate::bencode::{self, BencodeError, Token, Tokens, put_string};
use crate::id::{BlockId, ID_LEN, InfoHash, InfoHashV2, PackId, PieceHash};
use crate::limits::{BLOCK_LEN, MAX_HINTS, MAX_LISTED_IDS, MAX_METAINFO_LEN, MAX_PIECE_LEN};

use super::{mapping, merkle};

pub use files::{File, Hazards};
pub use layers::PieceLayers;

/// How the name of every content file ends.
const EXTENSION: &str = ".off";

/// Why bytes are not a torrent we can read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetainfoError {
    /// Larger than any sensible torrent.
    #[error("a torrent of more than {MAX_METAINFO_LEN} bytes is refused")]
    TooLong(usize),
    /// Not bencode.
    #[error("not a torrent")]
    Bencode(#[from] BencodeError),
    /// Bencode without what a torrent needs, or with what none can have.
    #[error("not a torrent: {0}")]
    Form(String),
    /// Version 2 metainfo whose hashes do not lead to its roots.
    #[error("a forged or damaged torrent: {0}")]
    Layers(String),
}

/// Why a torrent, though sound, carries no OFF blocks we can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a torrent of OFF blocks: {0}")]
pub struct NotOff(pub String);

/// Which clients understand a torrent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Version {
    /// All (BEP 3).
    #[default]
    V1,
    /// Those that know version 2 (BEP 52).
    V2,
    /// Both, each by its own half; some of the first kind choke on the second half.
    Hybrid,
}

impl Version {
    /// The version of an info dict, which must have what that version needs and nothing of another.
    fn of(fields: &Fields<'_>) -> Result<Self, MetainfoError> {
        let has = |key| fields.range(key).is_some();
        match (fields.integer("meta version")?, has("file tree"), has("pieces")) {
            (None | Some(1), false, _) => Ok(Self::V1),
            (Some(2), true, false) => Ok(Self::V2),
            (Some(2), true, true) => Ok(Self::Hybrid),
            (Some(2), false, _) => Err(form("version 2 without a file tree")),
            (None | Some(1), true, _) => Err(form("a file tree without its version")),
            (Some(other), ..) => Err(form(&format!("version {other} is unknown"))),
        }
    }

    /// Whether there are SHA-1 hashes of pieces.
    #[must_use]
    pub const fn has_v1(self) -> bool {
        matches!(self, Self::V1 | Self::Hybrid)
    }

    /// Whether there are Merkle trees.
    #[must_use]
    pub const fn has_v2(self) -> bool {
        matches!(self, Self::V2 | Self::Hybrid)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::Hybrid => "hybrid",
        })
    }
}

/// An info dict, of an OFF torrent or any other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// What handshakes call it: SHA-1 of [`raw`](Self::raw), or if it is of version 2 only, the first
    /// 20 bytes of the SHA-256.
    pub infohash: InfoHash,
    /// SHA-256 of [`raw`](Self::raw), if it is of version 2.
    pub infohash_v2: Option<InfoHashV2>,
    /// Of which version it is.
    pub version: Version,
    /// The suggested name, unchecked.
    pub name: String,
    /// Bytes of a piece but the last.
    pub piece_length: u64,
    /// Pieces.
    pub pieces: u64,
    /// The files, without those that only fill up pieces.
    pub files: Vec<File>,
    /// What would be unsafe to write.
    pub hazards: Hazards,
    /// The info dict as it came.
    pub raw: Bytes,
    /// Where the SHA-1 hashes stand in it.
    hashes: Range<usize>,
}

/// A `.torrent` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metainfo {
    /// What is shared.
    pub info: Info,
    /// Tracker addresses, unchecked, at most 16.
    pub trackers: Vec<String>,
    /// HTTP addresses of the content, unchecked, at most 16.
    pub web_seeds: Vec<String>,
    /// Hashes of the pieces of files of version 2 that have more than one.
    pub piece_layers: PieceLayers,
    /// The blocks in order, as the maker of the file says: as many as
    /// [`Info::content_blocks`], and unchecked.
    pub ids: Option<Vec<BlockId>>,
}

impl Info {
    /// Reads an info dict of either version.
    pub fn decode(raw: Bytes) -> Result<Self, MetainfoError> {
        if raw.len() > MAX_METAINFO_LEN {
            return Err(MetainfoError::TooLong(raw.len()));
        }
        let fields = Fields { entries: bencode::check(&raw)?, bytes: &raw };
        if raw.first() != Some(&b'd') {
            return Err(form("the info dict is no dictionary"));
        }
        let name = fields.string("name")?.ok_or_else(|| form("it has no name"))?;
        let name = String::from_utf8_lossy(name).into_owned();
        let piece_length = fields.integer("piece length")?.and_then(|len| u64::try_from(len).ok());
        let piece_length = piece_length
            .filter(|length| (1..=MAX_PIECE_LEN).contains(length))
            .ok_or_else(|| form("impossible piece length"))?;
        let version = Version::of(&fields)?;
        let mut listed = None;
        let (mut pieces, mut hashes) = (0, 0..0);
        if version.has_v1() {
            let found = fields.string("pieces")?.ok_or_else(|| form("it has no pieces"))?;
            let files = files::list(&fields, &name)?;
            pieces = check_pieces(found.len(), piece_length, &files)?;
            let end = fields.range("pieces").map_or(0, |range| range.end);
            hashes = end - found.len()..end;
            listed = Some(files);
        }
        let mut grown = None;
        if version.has_v2() {
            let tree = fields.value("file tree").unwrap_or_default();
            if merkle::piece_height(piece_length).is_none() {
                return Err(form("version 2 cannot have this piece length"));
            }
            let files = files::tree(tree)?;
            files::total(&files)?;
            pieces = files.iter().map(|file| file.length.div_ceil(piece_length)).sum();
            grown = Some(files);
        }
        if let (Some(listed), Some(grown)) = (&listed, &grown) {
            files::check_halves(listed, grown, piece_length)?;
        }
        let mut files = grown.or(listed).unwrap_or_default();
        files.retain(|file| !file.is_padding);
        let infohash_v2 = version.has_v2().then(|| InfoHashV2::of(&raw));
        let infohash = match infohash_v2 {
            Some(hash) if version == Version::V2 => hash.truncated(),
            _ => InfoHash::of(&raw),
        };
        let hazards = Hazards::of(&name, &files);
        Ok(Self {
            infohash,
            infohash_v2,
            version,
            name,
            piece_length,
            pieces,
            files,
            hazards,
            raw,
            hashes,
        })
    }

    /// What handshakes may call it: of a hybrid there are two such names.
    #[must_use]
    pub fn handshakes(&self) -> Vec<InfoHash> {
        let mut all = vec![self.infohash];
        all.extend(self.infohash_v2.map(|hash| hash.truncated()).filter(|v2| *v2 != self.infohash));
        all
    }

    /// The SHA-1 hashes of its pieces; an error if it is of version 2 only.
    pub fn piece_hashes(&self) -> Result<Vec<PieceHash>, MetainfoError> {
        if !self.version.has_v1() {
            return Err(form("it has no pieces of version 1"));
        }
        let hashes = self.raw.get(self.hashes.clone()).unwrap_or_default();
        Ok(hashes.chunks(PieceHash::LEN).filter_map(PieceHash::from_slice).collect())
    }

    /// Bytes of all files.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.files.iter().map(|file| file.length).sum()
    }

    /// How many OFF blocks the torrent carries, if its form is ours and there are SHA-1 hashes by
    /// which a download can verify them.
    pub fn blocks(&self) -> Result<u64, NotOff> {
        if !self.version.has_v1() {
            return Err(NotOff("it is of version 2 only".into()));
        }
        self.content_blocks()
    }

    /// How many OFF blocks the torrent carries, whatever its version, if its form is ours.
    pub fn content_blocks(&self) -> Result<u64, NotOff> {
        let block = BLOCK_LEN as u64;
        let [File { length, .. }] = *self.files.as_slice() else {
            return Err(NotOff(format!("it has {} files", self.files.len())));
        };
        if length == 0 || length % block != 0 {
            return Err(NotOff(format!("its {length} bytes are no whole number of blocks")));
        }
        if self.name.strip_suffix(EXTENSION).is_none() {
            return Err(NotOff(format!("its name does not end in {EXTENSION}")));
        }
        let blocks = length / block;
        if self.piece_length != mapping::piece_len(blocks) {
            let expected = mapping::piece_len(blocks);
            return Err(NotOff(format!(
                "its pieces have {} bytes, not {expected}",
                self.piece_length
            )));
        }
        Ok(blocks)
    }
}

/// Compares the number of piece hashes with what the files need: the pieces.
fn check_pieces(hashes: usize, piece_length: u64, files: &[File]) -> Result<u64, MetainfoError> {
    if !hashes.is_multiple_of(PieceHash::LEN) {
        return Err(form("the piece hashes are not a multiple of 20 bytes"));
    }
    let (pieces, total) = ((hashes / PieceHash::LEN) as u64, files::total(files)?);
    if total.div_ceil(piece_length) != pieces {
        return Err(form("as many piece hashes as its length needs are not there"));
    }
    Ok(pieces)
}

impl Metainfo {
    /// Reads a `.torrent` file.
    pub fn decode(bytes: &[u8]) -> Result<Self, MetainfoError> {
        if bytes.len() > MAX_METAINFO_LEN {
            return Err(MetainfoError::TooLong(bytes.len()));
        }
        let fields = Fields { entries: bencode::check(bytes)?, bytes };
        let info = fields.value("info").ok_or_else(|| form("it has no info"))?;
        let info = Info::decode(Bytes::copy_from_slice(info))?;
        let layers = fields.value("piece layers");
        let piece_layers = match layers {
            _ if !info.version.has_v2() => PieceLayers::default(),
            layers => PieceLayers::decode(layers, &info)?,
        };
        let mut trackers = strings(fields.value("announce"));
        for tracker in strings(fields.value("announce-list")) {
            if trackers.len() < MAX_HINTS && !trackers.contains(&tracker) {
                trackers.push(tracker);
            }
        }
        let web_seeds = strings(fields.value("url-list"));
        let ids = fields.value("off ids").map(|ids| listed(ids, &info)).transpose()?;
        Ok(Self { info, trackers, web_seeds, piece_layers, ids })
    }

    /// Writes the `.torrent` file. It depends on its fields alone.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = b"d".to_vec();
        if let Some(first) = self.trackers.first() {
            put_string(&mut out, "announce");
            put_string(&mut out, first);
        }
        if self.trackers.len() > 1 {
            put_string(&mut out, "announce-list");
            out.push(b'l');
            for tracker in &self.trackers {
                out.push(b'l');
                put_string(&mut out, tracker);
                out.push(b'e');
            }
            out.push(b'e');
        }
        put_string(&mut out, "info");
        out.extend_from_slice(&self.info.raw);
        if let Some(ids) = self.ids.as_ref().filter(|ids| ids.len() <= MAX_LISTED_IDS) {
            put_string(&mut out, "off ids");
            put_string(&mut out, ids.iter().flat_map(|id| *id.as_bytes()).collect::<Vec<_>>());
        }
        if self.info.version.has_v2() {
            put_string(&mut out, "piece layers");
            self.piece_layers.encode(&mut out);
        }
        if !self.web_seeds.is_empty() {
            put_string(&mut out, "url-list");
            out.push(b'l');
            for seed in &self.web_seeds {
                put_string(&mut out, seed);
            }
            out.push(b'e');
        }
        out.push(b'e');
        out
    }
}

/// The name of the content file of the torrent whose first block is `first`.
#[must_use]
pub fn content_name(first: BlockId) -> String {
    file_name(first.as_bytes())
}

/// The name of the content file of the torrent of a pack that is not one OFF URL's.
#[must_use]
pub fn pack_name(ids: &[BlockId]) -> String {
    file_name(PackId::of(ids).as_bytes())
}

/// The blocks that a torrent says it carries.
fn listed(value: &[u8], info: &Info) -> Result<Vec<BlockId>, MetainfoError> {
    let wrong = |why: String| form(&format!("it lists OFF blocks, but {why}"));
    let ids = bencode::string(value).ok_or_else(|| wrong("not as a string".into()))?;
    let blocks = info.content_blocks().map_err(|why| wrong(format!("carries none: {}", why.0)))?;
    if ids.len() as u64 != blocks * ID_LEN as u64 {
        return Err(wrong(format!("{} bytes of ids are not those of {blocks} blocks", ids.len())));
    }
    Ok(ids.chunks(ID_LEN).filter_map(BlockId::from_slice).collect())
}

fn file_name(digest: &[u8]) -> String {
    let hex = data_encoding::HEXLOWER.encode(digest);
    format!("{}{EXTENSION}", hex.get(..16).unwrap_or_default())
}

/// The values of the outermost dictionary of checked bytes.
struct Fields<'a> {
    entries: Vec<bencode::Entry<'a>>,
    bytes: &'a [u8],
}

impl<'a> Fields<'a> {
    fn range(&self, key: &str) -> Option<&Range<usize>> {
        let found = self.entries.iter().find(|(found, _)| *found == key.as_bytes());
        found.map(|(_, range)| range)
    }

    fn value(&self, key: &str) -> Option<&'a [u8]> {
        self.bytes.get(self.range(key)?.clone())
    }

    fn string(&self, key: &str) -> Result<Option<&'a [u8]>, MetainfoError> {
        let wrong = || form(&format!("\"{key}\" is no string"));
        self.value(key).map(|value| bencode::string(value).ok_or_else(wrong)).transpose()
    }

    fn integer(&self, key: &str) -> Result<Option<i64>, MetainfoError> {
        let wrong = || form(&format!("\"{key}\" is no integer"));
        self.value(key).map(|value| bencode::integer(value).ok_or_else(wrong)).transpose()
    }
}

/// The texts in a value, however they are nested, each once and not more than we use.
fn strings(value: Option<&[u8]>) -> Vec<String> {
    let mut found = Vec::new();
    for token in Tokens::of(value.unwrap_or_default()) {
        let Token::String(bytes) = token else { continue };
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.is_empty() && !found.iter().any(|found| found == text) => {
                found.push(text.to_owned());
            }
            _ => {}
        }
        if found.len() == MAX_HINTS {
            break;
        }
    }
    found
}

fn form(why: &str) -> MetainfoError {
    MetainfoError::Form(why.to_owned())
}
