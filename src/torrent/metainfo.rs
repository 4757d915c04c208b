//! Info dicts and `.torrent` files (BEP 3; trackers BEP 12, web seeds BEP 19).
//!
//! The info dict of an OFF torrent has four keys and nothing else, so that it depends on the
//! blocks alone:
//!
//! | key | value |
//! |---|---|
//! | `length` | blocks * 131072 |
//! | `name` | first 16 hex digits of the first block's id (the descriptor's), then `.off`; for a pack that is not one OFF URL's, of SHA-256 over the ids of its blocks ([`PackId`]) |
//! | `piece length` | 131072, or a power of two of them, see [`mapping`] |
//! | `pieces` | SHA-1 of each piece, 20 bytes each |
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
//! Torrents of other programs are read for `torrent show`; only those of the form above carry
//! blocks. The infohash is always over the info dict's bytes as they came.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::bencode::{self, BencodeError};
use crate::id::{BlockId, ID_LEN, InfoHash, PackId, PieceHash};
use crate::limits::{BLOCK_LEN, MAX_HINTS, MAX_LISTED_IDS, MAX_METAINFO_LEN, MAX_PIECE_LEN};

use super::mapping;

/// Why bytes are not a torrent we can read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetainfoError {
    /// Larger than any sensible torrent.
    #[error("a torrent of {0} bytes is refused (limit {MAX_METAINFO_LEN})")]
    TooLong(usize),
    /// Not bencode.
    #[error("not a torrent")]
    Bencode(#[from] BencodeError),
    /// Bencode without what a torrent needs.
    #[error("not a torrent: {0}")]
    Form(String),
}

/// Why a torrent, though sound, carries no OFF blocks we can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a torrent of OFF blocks: {0}")]
pub struct NotOff(pub String);

/// An info dict, of an OFF torrent or any other of version 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// SHA-1 of [`raw`](Self::raw).
    pub infohash: InfoHash,
    /// The suggested name, unchecked.
    pub name: String,
    /// Bytes of a piece but the last.
    pub piece_length: u64,
    /// Pieces.
    pub pieces: u64,
    /// The files: path and bytes.
    pub files: Vec<(String, u64)>,
    /// The info dict as it came.
    pub raw: Bytes,
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
    /// The blocks in order, as the maker of the file says: as many as [`Info::blocks`], and
    /// unchecked.
    pub ids: Option<Vec<BlockId>>,
}

#[derive(Serialize, Deserialize)]
struct RawInfo {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    files: Option<Vec<RawFile>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    length: Option<i64>,
    #[serde(with = "serde_bytes")]
    name: Vec<u8>,
    #[serde(rename = "piece length")]
    piece_length: i64,
    #[serde(with = "serde_bytes")]
    pieces: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct RawFile {
    length: i64,
    path: Vec<serde_bytes::ByteBuf>,
}

impl Info {
    /// Makes the info dict of the torrent that carries `blocks` blocks, the first of them `first`,
    /// from the hashes of its pieces.
    pub fn of_blocks(
        first: BlockId,
        blocks: u64,
        pieces: &[PieceHash],
    ) -> Result<Self, MetainfoError> {
        Self::named(content_name(first), blocks, pieces)
    }

    /// Makes the info dict of a torrent of `blocks` blocks with a name of its own, from the hashes
    /// of its pieces.
    pub fn named(name: String, blocks: u64, pieces: &[PieceHash]) -> Result<Self, MetainfoError> {
        let form = |_| MetainfoError::Form("the sizes do not fit".into());
        let raw = RawInfo {
            files: None,
            length: Some(i64::try_from(blocks * BLOCK_LEN as u64).map_err(form)?),
            name: name.into_bytes(),
            piece_length: i64::try_from(mapping::piece_len(blocks)).map_err(form)?,
            pieces: pieces.iter().flat_map(|hash| *hash.as_bytes()).collect(),
        };
        let bytes = serde_bencode::to_bytes(&raw);
        Self::decode(bytes.map_err(|error| MetainfoError::Form(error.to_string()))?.into())
    }

    /// Reads an info dict of version 1.
    pub fn decode(raw: Bytes) -> Result<Self, MetainfoError> {
        if raw.len() > MAX_METAINFO_LEN {
            return Err(MetainfoError::TooLong(raw.len()));
        }
        bencode::check(&raw)?;
        let form = |why: &str| MetainfoError::Form(why.into());
        let info: RawInfo = serde_bencode::from_bytes(&raw)
            .map_err(|error| MetainfoError::Form(error.to_string()))?;
        let piece_length = u64::try_from(info.piece_length)
            .ok()
            .filter(|length| (1..=MAX_PIECE_LEN).contains(length))
            .ok_or_else(|| form("impossible piece length"))?;
        if !info.pieces.len().is_multiple_of(PieceHash::LEN) {
            return Err(form("the piece hashes are not a multiple of 20 bytes"));
        }
        let name = String::from_utf8_lossy(&info.name).into_owned();
        let files = match (info.length, info.files) {
            (Some(length), None) => vec![(name.clone(), length)],
            (None, Some(files)) => {
                files.iter().map(|file| (joined(&file.path), file.length)).collect()
            }
            _ => return Err(form("neither one file nor several")),
        };
        let files: Vec<(String, u64)> = files
            .into_iter()
            .map(|(path, length)| Some((path, u64::try_from(length).ok()?)))
            .collect::<Option<_>>()
            .ok_or_else(|| form("a negative file length"))?;
        let total = files.iter().try_fold(0_u64, |sum, file| sum.checked_add(file.1));
        let pieces = (info.pieces.len() / PieceHash::LEN) as u64;
        if total.map(|total| total.div_ceil(piece_length)) != Some(pieces) {
            return Err(form("as many piece hashes as its length needs are not there"));
        }
        Ok(Self { infohash: InfoHash::of(&raw), name, piece_length, pieces, files, raw })
    }

    /// Bytes of all files.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.files.iter().map(|file| file.1).sum()
    }

    /// The hashes of its pieces.
    pub fn piece_hashes(&self) -> Result<Vec<PieceHash>, MetainfoError> {
        let info: RawInfo = serde_bencode::from_bytes(&self.raw)
            .map_err(|error| MetainfoError::Form(error.to_string()))?;
        Ok(info.pieces.chunks(PieceHash::LEN).filter_map(PieceHash::from_slice).collect())
    }

    /// How many OFF blocks the torrent carries, if its form is ours.
    pub fn blocks(&self) -> Result<u64, NotOff> {
        let block = BLOCK_LEN as u64;
        let [(_, length)] = *self.files.as_slice() else {
            return Err(NotOff(format!("it has {} files", self.files.len())));
        };
        if length == 0 || length % block != 0 {
            return Err(NotOff(format!("its {length} bytes are no whole number of blocks")));
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

impl Metainfo {
    /// Reads a `.torrent` file.
    pub fn decode(bytes: &[u8]) -> Result<Self, MetainfoError> {
        if bytes.len() > MAX_METAINFO_LEN {
            return Err(MetainfoError::TooLong(bytes.len()));
        }
        let entries = bencode::check(bytes)?;
        let value = |key: &[u8]| {
            let entry = entries.iter().find(|(found, _)| *found == key);
            entry.and_then(|(_, range)| bytes.get(range.clone()))
        };
        let info = value(b"info").ok_or_else(|| MetainfoError::Form("it has no info".into()))?;
        let info = Info::decode(Bytes::copy_from_slice(info))?;
        let ids = value(b"off ids").map(|ids| listed(ids, &info)).transpose()?;
        Ok(Self {
            info,
            ids,
            trackers: tracker_list(value(b"announce"), value(b"announce-list")),
            web_seeds: value(b"url-list").map(one_or_more).unwrap_or_default(),
        })
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
            out.extend_from_slice(format!("{}:", ids.len() * ID_LEN).as_bytes());
            out.extend(ids.iter().flat_map(BlockId::as_bytes));
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

fn file_name(digest: &[u8]) -> String {
    let hex = data_encoding::HEXLOWER.encode(digest);
    format!("{}.off", hex.get(..16).unwrap_or_default())
}

/// The blocks that a torrent says it carries.
fn listed(value: &[u8], info: &Info) -> Result<Vec<BlockId>, MetainfoError> {
    let form = |why: String| MetainfoError::Form(format!("it lists OFF blocks, but {why}"));
    // It is well-formed; only strings start with a digit.
    let is_string = value.first().is_some_and(u8::is_ascii_digit);
    let colon = value.iter().position(|byte| *byte == b':').filter(|_| is_string);
    let ids = colon.and_then(|colon| value.get(colon + 1..));
    let ids = ids.ok_or_else(|| form("not as a string".into()))?;
    let blocks = info.blocks().map_err(|why| form(format!("carries none: {}", why.0)))?;
    if ids.len() as u64 != blocks * ID_LEN as u64 {
        return Err(form(format!("{} bytes of ids are not those of {blocks} blocks", ids.len())));
    }
    Ok(ids.chunks(ID_LEN).filter_map(BlockId::from_slice).collect())
}

fn joined(path: &[serde_bytes::ByteBuf]) -> String {
    let parts: Vec<_> = path.iter().map(|part| String::from_utf8_lossy(part)).collect();
    parts.join("/")
}

fn tracker_list(announce: Option<&[u8]>, tiers: Option<&[u8]>) -> Vec<String> {
    let tiers: Vec<Vec<String>> =
        tiers.and_then(|bytes| serde_bencode::from_bytes(bytes).ok()).unwrap_or_default();
    let mut found = Vec::new();
    for tracker in
        announce.map(one_or_more).into_iter().flatten().chain(tiers.into_iter().flatten())
    {
        if found.len() < MAX_HINTS && !tracker.is_empty() && !found.contains(&tracker) {
            found.push(tracker);
        }
    }
    found
}

/// A string, or a list of strings; anything else is nothing.
fn one_or_more(value: &[u8]) -> Vec<String> {
    let one = serde_bencode::from_bytes::<String>(value).map(|text| vec![text]);
    let mut found = one.or_else(|_| serde_bencode::from_bytes(value)).unwrap_or_default();
    found.truncate(MAX_HINTS);
    found
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(blocks: u64) -> Info {
        let pieces = blocks.div_ceil(mapping::blocks_per_piece(blocks));
        let hashes: Vec<_> = (0..pieces).map(|i| PieceHash::of(&i.to_le_bytes())).collect();
        Info::of_blocks(BlockId::of(b"chain"), blocks, &hashes).unwrap()
    }

    fn dict(body: &str) -> Result<Info, MetainfoError> {
        Info::decode(Bytes::copy_from_slice(body.as_bytes()))
    }

    #[test]
    fn has_four_keys_and_the_name_of_its_first_block() {
        let info = info(2);
        let text = String::from_utf8_lossy(&info.raw).into_owned();
        assert!(text.starts_with("d6:lengthi262144e4:name20:"), "{text}");
        assert!(text.contains(".off12:piece lengthi131072e6:pieces40:"), "{text}");
        assert_eq!(info.name, content_name(BlockId::of(b"chain")));
        assert_eq!(info.blocks(), Ok(2));
        assert_eq!(info.infohash, InfoHash::of(&info.raw));
    }

    #[test]
    fn large_torrents_have_longer_pieces() {
        let info = info(65_537);
        assert_eq!((info.piece_length, info.pieces), (262_144, 32_769));
        assert_eq!(info.blocks(), Ok(65_537));
    }

    #[test]
    fn torrent_files_round_trip() {
        for trackers in
            [vec![], vec!["http://a/".to_owned()], vec!["http://a/".into(), "udp://b:1".into()]]
        {
            let web_seeds = trackers.clone();
            let ids = Some((0..3_u8).map(|n| BlockId::of(&[n])).collect());
            let metainfo = Metainfo { info: info(3), trackers, web_seeds, ids };
            assert_eq!(Metainfo::decode(&metainfo.encode()).unwrap(), metainfo);
        }
    }

    #[test]
    fn a_list_of_blocks_must_name_each_of_them() {
        let metainfo =
            |ids| Metainfo { info: info(3), trackers: vec![], web_seeds: vec![], ids: Some(ids) };
        let (plain, id) = (Metainfo { ids: None, ..metainfo(vec![]) }, BlockId::of(b"x"));
        let listing = metainfo(vec![id; 3]);
        assert_eq!(plain.info.infohash, listing.info.infohash);
        assert_eq!(plain.encode().len() + "7:off ids96:".len() + 96, listing.encode().len());
        for ids in [vec![], vec![id; 2], vec![id; 4]] {
            let error = Metainfo::decode(&metainfo(ids).encode()).unwrap_err();
            assert!(error.to_string().contains("not those of 3 blocks"), "{error}");
        }
        let list = [b"d4:info", &*plain.info.raw, b"7:off idsli1eee"].concat();
        let error = Metainfo::decode(&list).unwrap_err();
        assert!(error.to_string().contains("not as a string"), "{error}");
        let foreign = b"d4:infod6:lengthi0e4:name1:x12:piece lengthi1e6:pieces0:e7:off ids0:e";
        let error = Metainfo::decode(foreign).unwrap_err();
        assert!(error.to_string().contains("carries none"), "{error}");
    }

    #[test]
    fn packs_are_named_by_all_their_blocks_in_order() {
        let ids = [BlockId::of(b"x"), BlockId::of(b"y")];
        let all = [*ids[0].as_bytes(), *ids[1].as_bytes()].concat();
        assert_eq!(pack_name(&ids), content_name(BlockId::of(&all)));
        assert_ne!(pack_name(&ids), pack_name(&[ids[1], ids[0]]));
    }

    #[test]
    fn the_infohash_is_over_the_bytes_as_they_came() {
        let unsorted = "d4:name1:x6:lengthi0e6:pieces0:12:piece lengthi1ee";
        assert_eq!(dict(unsorted).unwrap().infohash, InfoHash::of(unsorted.as_bytes()));
    }

    #[test]
    fn refuses_impossible_sizes() {
        for (length, piece_length) in [
            ("i1e", "i0e"),
            ("i1e", "i-5e"),
            ("i1e", "i2147483648e"),
            ("i-1e", "i16384e"),
            ("i16385e", "i16384e"),
        ] {
            let text = format!(
                "d6:length{length}4:name1:x12:piece length{piece_length}6:pieces20:{}e",
                "h".repeat(20)
            );
            assert!(matches!(dict(&text), Err(MetainfoError::Form(_))), "{text}");
        }
        assert!(dict("d6:lengthi1e4:name1:x12:piece lengthi1e6:pieces3:abce").is_err());
        let huge = "d6:lengthi9223372036854775807e4:patheld6:lengthi9223372036854775807e4:pathlee";
        assert!(dict(huge).is_err());
        let files = "d6:lengthi9223372036854775807e4:pathl1:aee".repeat(3);
        let text = format!("d5:filesl{files}e4:name1:x12:piece lengthi1e6:pieces0:e");
        assert!(matches!(dict(&text), Err(MetainfoError::Form(_))));
    }

    #[test]
    fn tells_foreign_torrents_from_ours() {
        let one = format!("6:pieces20:{}", "h".repeat(20));
        let several =
            format!("d5:filesld6:lengthi5e4:pathl1:a1:beee4:name1:x12:piece lengthi16384e{one}e");
        let several = dict(&several).unwrap();
        assert_eq!(several.files, [("a/b".to_owned(), 5)]);
        assert!(
            several.blocks().unwrap_err().to_string().contains("1 files")
                || several.blocks().is_err()
        );
        let odd =
            dict(&format!("d6:lengthi131071e4:name1:x12:piece lengthi131072e{one}e")).unwrap();
        assert!(odd.blocks().unwrap_err().to_string().contains("no whole number of blocks"));
    }
}
