//! Identifiers, one type each, made by one macro.
//!
//! The field is private, the constructors are checked, there are no conversions between two kinds
//! of identifier and no null value. [`BlockId`] and [`FileId`] are both SHA-256 and still differ:
//! mixing up the id of a noise block with that of a plain file is exactly the mistake the types
//! are there to stop.

use std::fmt;

use sha2::{Digest, Sha256};

/// Bytes of an identifier made by SHA-256.
pub const ID_LEN: usize = 32;

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdError {
    /// A character outside of the alphabet.
    #[error("{kind} is not {encoding}: \"{text}\"")]
    Alphabet {
        /// What was being parsed.
        kind: &'static str,
        /// The encoding that was expected.
        encoding: &'static str,
        /// The text, cut to 80 characters.
        text: String,
    },
    /// Right characters, wrong number of bytes.
    #[error("{kind} has {found} bytes instead of {wanted}: \"{text}\"")]
    Length {
        /// What was being parsed.
        kind: &'static str,
        /// Bytes decoded.
        found: usize,
        /// Bytes an identifier of this kind has.
        wanted: usize,
        /// The text, cut to 80 characters.
        text: String,
    },
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $len:expr, $kind:literal, $encoding:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Bytes of this identifier.
            pub const LEN: usize = $len;

            /// Takes the bytes as they are; any value of the right length is an identifier.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// Takes a slice of exactly [`Self::LEN`] bytes.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// The raw bytes, in network order.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// Reads the text form that `Display` writes.
            pub fn parse(text: &str) -> Result<Self, ParseIdError> {
                let bytes = $encoding::decode(text).ok_or_else(|| ParseIdError::Alphabet {
                    kind: $kind,
                    encoding: $encoding::NAME,
                    text: excerpt(text),
                })?;
                Self::from_slice(&bytes).ok_or_else(|| ParseIdError::Length {
                    kind: $kind,
                    found: bytes.len(),
                    wanted: $len,
                    text: excerpt(text),
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&$encoding::encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

id_type! {
    /// Names a block: SHA-256 of all its bytes. Text form: base58, Bitcoin alphabet.
    BlockId, ID_LEN, "block id", base58
}

id_type! {
    /// Names a plain stream: SHA-256 of its bytes without padding. Text form: base58. It is never
    /// announced and names nothing in a store.
    FileId, ID_LEN, "file id", base58
}

id_type! {
    /// Names some blocks in an order of their own, those of a pack that is not an OFF URL's: SHA-256
    /// over their ids. Text form: 64 hex digits.
    PackId, ID_LEN, "pack id", hexadecimal
}

id_type! {
    /// Names a BitTorrent v1 swarm: SHA-1 of the info dict (BEP 3). Text form: 40 hex digits.
    InfoHash, 20, "infohash", hexadecimal
}

id_type! {
    /// Names a node of the DHT (BEP 5). Text form: 40 hex digits.
    NodeId, 20, "node id", hexadecimal
}

id_type! {
    /// Names a node of the legacy network (js-offs): any 32 bytes, which nobody can check. Text form:
    /// base58.
    LegacyId, 32, "legacy node id", base58
}

id_type! {
    /// A point in the space of node ids that is looked for: a node id, an infohash, the name of an
    /// item (BEP 5, BEP 44). Text form: 40 hex digits.
    Target, 20, "DHT target", hexadecimal
}

id_type! {
    /// Names mutable items of the DHT: an ed25519 public key (BEP 44). Text form: 64 hex digits.
    ItemKey, 32, "public key of an item", hexadecimal
}

id_type! {
    /// SHA-1 of a piece (BEP 3). Text form: 40 hex digits.
    PieceHash, 20, "piece hash", hexadecimal
}

id_type! {
    /// Names a BitTorrent v2 swarm: SHA-256 of the info dict (BEP 52). Text form: 64 hex digits.
    InfoHashV2, ID_LEN, "version 2 infohash", hexadecimal
}

id_type! {
    /// Root of a SHA-256 Merkle tree or of a part of one (BEP 52). Text form: 64 hex digits.
    MerkleRoot, ID_LEN, "Merkle root", hexadecimal
}

impl BlockId {
    /// The id of a block with these contents.
    #[must_use]
    pub fn of(contents: &[u8]) -> Self {
        Self(Sha256::digest(contents).into())
    }
}

impl PackId {
    /// The id of a pack of these blocks in this order.
    #[must_use]
    pub fn of(blocks: &[BlockId]) -> Self {
        let mut hasher = Sha256::new();
        for id in blocks {
            hasher.update(id.0);
        }
        Self(hasher.finalize().into())
    }
}

impl FileId {
    /// The id of the empty stream.
    #[must_use]
    pub fn of_nothing() -> Self {
        FileHasher::default().finish()
    }
}

/// The first eight bytes of SHA-256 over a key and a value, to tell a record that is damaged.
#[must_use]
pub fn checksum(key: &[u8], value: &[u8]) -> [u8; 8] {
    let digest: [u8; ID_LEN] =
        Sha256::new().chain_update(key).chain_update(value).finalize().into();
    let mut first = [0; 8];
    first.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    first
}

/// SHA-256 of a label and a block's id: the seed of a key that whoever knows the id can derive.
#[must_use]
pub fn derived_seed(label: &str, id: &BlockId) -> [u8; ID_LEN] {
    Sha256::new().chain_update(label).chain_update(id.0).finalize().into()
}

/// Computes a [`FileId`] piecewise.
#[derive(Debug, Clone, Default)]
pub struct FileHasher(Sha256);

impl FileHasher {
    /// Adds the next bytes of the stream.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The id of everything added.
    #[must_use]
    pub fn finish(self) -> FileId {
        FileId(self.0.finalize().into())
    }
}

/// How a program makes the id of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileHash {
    /// As we and js-offs do.
    Sha256,
    /// As OFFS does, whose OFF URLs look the same.
    Blake3,
}

/// Tells whether a stream that comes piecewise has an id that a program of either kind has made.
#[derive(Debug, Clone, Default)]
pub struct EitherFileHasher {
    sha256: FileHasher,
    blake3: blake3::Hasher,
}

impl EitherFileHasher {
    /// Adds the next bytes of the stream.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.blake3.update(bytes);
    }

    /// What makes this id of everything added, if anything does.
    #[must_use]
    pub fn check(self, id: FileId) -> Option<FileHash> {
        if self.sha256.finish() == id {
            return Some(FileHash::Sha256);
        }
        let found = FileId(*self.blake3.finalize().as_bytes());
        (found == id).then_some(FileHash::Blake3)
    }
}

impl InfoHash {
    /// The infohash of an info dict, over its bytes as they were received.
    #[must_use]
    pub fn of(info_dict: &[u8]) -> Self {
        Self(sha1::Sha1::digest(info_dict).into())
    }

    /// The swarm of all nodes that speak our protocols, which has no torrent:
    /// SHA-1("offswarm native 1").
    #[must_use]
    pub fn native() -> Self {
        Self::of(b"offswarm native 1")
    }
}

impl NodeId {
    /// This id as a place to look for.
    #[must_use]
    pub const fn target(&self) -> Target {
        Target(self.0)
    }
}

impl InfoHash {
    /// Where in the DHT the peers of this swarm are kept (BEP 5).
    #[must_use]
    pub const fn target(&self) -> Target {
        Target(self.0)
    }
}

impl Target {
    /// Where an item of this public key or these contents is kept: SHA-1 (BEP 44).
    #[must_use]
    pub fn of(named: &[u8]) -> Self {
        Self(sha1::Sha1::digest(named).into())
    }
}

impl InfoHashV2 {
    /// The infohash of an info dict, over its bytes as they were received.
    #[must_use]
    pub fn of(info_dict: &[u8]) -> Self {
        Self(Sha256::digest(info_dict).into())
    }

    /// What stands for it where only 20 bytes fit: in handshakes, on trackers and in the DHT.
    #[must_use]
    pub fn truncated(&self) -> InfoHash {
        let mut first = [0; InfoHash::LEN];
        first.iter_mut().zip(self.0).for_each(|(to, from)| *to = from);
        InfoHash(first)
    }
}

impl MerkleRoot {
    /// The hash of a leaf that lies beyond the end of the file.
    pub const BEYOND: Self = Self([0; ID_LEN]);

    /// The root of a single leaf with these contents, at most 16 KiB.
    #[must_use]
    pub fn of_leaf(contents: &[u8]) -> Self {
        Self(Sha256::digest(contents).into())
    }

    /// The root above two roots of equal height.
    #[must_use]
    pub fn above(left: &Self, right: &Self) -> Self {
        Self(Sha256::new().chain_update(left.0).chain_update(right.0).finalize().into())
    }
}

impl PieceHash {
    /// The hash of a piece with these contents.
    #[must_use]
    pub fn of(contents: &[u8]) -> Self {
        Self(sha1::Sha1::digest(contents).into())
    }
}

/// Computes a [`PieceHash`] block by block.
#[derive(Debug, Clone, Default)]
pub struct PieceHasher(sha1::Sha1);

impl PieceHasher {
    /// Adds the next block of the piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of everything added.
    #[must_use]
    pub fn finish(self) -> PieceHash {
        PieceHash(self.0.finalize().into())
    }
}

mod base58 {
    pub(super) const NAME: &str = "base58";

    /// 32 bytes take at most 44 characters, and decoding takes quadratic time: longer texts are
    /// not looked at.
    const MAX_CHARS: usize = 64;

    pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
        (text.len() <= MAX_CHARS).then_some(text)?;
        bs58::decode(text).into_vec().ok()
    }

    pub(super) fn encode(bytes: &[u8]) -> String {
        bs58::encode(bytes).into_string()
    }
}

mod hexadecimal {
    pub(super) const NAME: &str = "hexadecimal";

    pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
        data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()
    }

    pub(super) fn encode(bytes: &[u8]) -> String {
        data_encoding::HEXLOWER.encode(bytes)
    }
}

/// Characters that are not seen and reorder, join or hide the text around them (Unicode TR36):
/// with them `gpj.exe` is shown as `exe.jpg`.
const INVISIBLE: [char; 19] = [
    '\u{061c}', '\u{200b}', '\u{200c}', '\u{200d}', '\u{200e}', '\u{200f}', '\u{2028}', '\u{2029}',
    '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2060}', '\u{2066}', '\u{2067}',
    '\u{2068}', '\u{2069}', '\u{feff}',
];

/// Whether a terminal does something else with a character than to show it.
#[must_use]
pub fn is_active(c: char) -> bool {
    c.is_control() || INVISIBLE.contains(&c)
}

/// A text of unknown origin, short and free of characters that act on a terminal, for a message.
#[must_use]
pub fn excerpt(text: &str) -> String {
    const SHOWN: usize = 80;
    let mut shown: String =
        text.chars().take(SHOWN).map(|c| if is_active(c) { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_empty_stream_as_sha_256_does() {
        assert_eq!(
            data_encoding::HEXLOWER.encode(FileId::of_nothing().as_bytes()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn tells_by_which_hash_a_stream_has_its_id() {
        // Of "abc", by FIPS 180-4 and by the test vectors of BLAKE3's authors.
        for (hash, id) in [
            (
                Some(FileHash::Sha256),
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (
                Some(FileHash::Blake3),
                "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
            ),
            (None, "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d86"),
        ] {
            let mut hasher = EitherFileHasher::default();
            hasher.update(b"a");
            hasher.update(b"bc");
            let id = data_encoding::HEXLOWER.decode(id.as_bytes()).unwrap();
            assert_eq!(hasher.check(FileId::from_slice(&id).unwrap()), hash);
        }
    }

    #[test]
    fn excerpts_are_short_and_do_nothing_to_a_terminal() {
        assert_eq!(excerpt("a\u{1b}[2J\u{202e}b\u{9b}"), "a\u{fffd}[2J\u{fffd}b\u{fffd}");
        assert_eq!(excerpt(&"x".repeat(81)).chars().count(), 81);
    }

    #[test]
    fn text_and_bytes_round_trip() {
        let id = BlockId::of(b"abc");
        assert_eq!(BlockId::parse(&id.to_string()), Ok(id));
        let hash = InfoHash::of(b"abc");
        assert_eq!(InfoHash::parse(&hash.to_string()), Ok(hash));
        assert_eq!(hash.to_string(), "a9993e364706816aba3e25717850c26c9cd0d89d");
    }

    #[test]
    fn refuses_texts_of_other_lengths_and_alphabets() {
        assert!(matches!(BlockId::parse("0OIl"), Err(ParseIdError::Alphabet { .. })));
        assert!(matches!(BlockId::parse("abc"), Err(ParseIdError::Length { found: 3, .. })));
        assert!(matches!(BlockId::parse(&"1".repeat(100_000)), Err(ParseIdError::Alphabet { .. })));
        assert!(matches!(InfoHash::parse("a9"), Err(ParseIdError::Length { .. })));
    }
}
