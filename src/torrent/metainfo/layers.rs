//! `piece layers`: the hashes of the pieces of version 2, beside the info dict (BEP 52).
//!
//! For every file of more than one piece the file's root stands for the nodes of its Merkle tree
//! that each cover a piece. They are believed only if they lead to the root.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;

use crate::bencode::{Token, Tokens, put_string};
use crate::id::{MerkleRoot, excerpt};

use super::{Info, MetainfoError, form, merkle};

/// Hashes of pieces by the root of the file they belong to, 32 bytes each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PieceLayers(BTreeMap<MerkleRoot, Bytes>);

impl PieceLayers {
    /// The layers of a torrent with a single file; none are needed for a single piece.
    #[must_use]
    pub fn of_file(root: MerkleRoot, pieces: &[MerkleRoot]) -> Self {
        if pieces.len() < 2 {
            return Self::default();
        }
        let hashes: Vec<u8> = pieces.iter().flat_map(|hash| *hash.as_bytes()).collect();
        Self(BTreeMap::from([(root, hashes.into())]))
    }

    /// The hashes of the pieces of the file with this root.
    pub fn of(&self, root: &MerkleRoot) -> impl Iterator<Item = MerkleRoot> {
        let hashes = self.0.get(root).map(AsRef::as_ref).unwrap_or_default();
        hashes.as_chunks().0.iter().map(|hash| MerkleRoot::from_bytes(*hash))
    }

    /// Reads the layers and holds them against the files of the info dict.
    pub(super) fn decode(value: Option<&[u8]>, info: &Info) -> Result<Self, MetainfoError> {
        let layers =
            Self(value.map_or_else(|| Some(BTreeMap::new()), read).ok_or_else(|| {
                form("\"piece layers\" is no dictionary of SHA-256 hashes by roots")
            })?);
        let height = merkle::piece_height(info.piece_length)
            .ok_or_else(|| form("version 2 cannot have this piece length"))?;
        let mut expected = HashSet::new();
        for file in info.files.iter().filter(|file| file.length > info.piece_length) {
            let wrong = |what: &str| {
                let path = excerpt(&file.path);
                MetainfoError::Layers(format!("the piece layer of \"{path}\" {what}"))
            };
            let root = file.root.ok_or_else(|| wrong("has no root"))?;
            let hashes = layers.0.get(&root).ok_or_else(|| wrong("is missing"))?;
            let (found, needed) =
                (hashes.len() / MerkleRoot::LEN, file.length.div_ceil(info.piece_length));
            if found as u64 != needed {
                return Err(wrong(&format!("has {found} hashes, not {needed}")));
            }
            // Files may share a root; their layer is looked at once.
            if expected.insert(root)
                && merkle::root_over(height, layers.of(&root).collect()) != root
            {
                return Err(wrong("does not lead to its root"));
            }
        }
        if layers.0.len() > expected.len() {
            return Err(MetainfoError::Layers("a piece layer belongs to no file".into()));
        }
        Ok(layers)
    }

    /// Writes the dictionary.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(b'd');
        for (root, hashes) in &self.0 {
            put_string(out, root.as_bytes());
            put_string(out, hashes);
        }
        out.push(b'e');
    }
}

fn read(value: &[u8]) -> Option<BTreeMap<MerkleRoot, Bytes>> {
    let mut tokens = Tokens::of(value);
    if tokens.next()? != Token::Dict {
        return None;
    }
    let mut layers = BTreeMap::new();
    loop {
        match (tokens.next()?, tokens.next()) {
            (Token::End, _) => return Some(layers),
            (Token::String(root), Some(Token::String(hashes)))
                if hashes.len().is_multiple_of(MerkleRoot::LEN) =>
            {
                layers.insert(MerkleRoot::from_slice(root)?, Bytes::copy_from_slice(hashes));
            }
            _ => return None,
        }
    }
}
