//! The info dicts of OFF torrents.

use crate::bencode::{put_integer, put_string};
use crate::id::{BlockId, MerkleRoot, PieceHash};
use crate::limits::BLOCK_LEN;

use super::{Info, MetainfoError, content_name, mapping};

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
    pub fn named(
        name: impl AsRef<str>,
        blocks: u64,
        pieces: &[PieceHash],
    ) -> Result<Self, MetainfoError> {
        Self::decode(encoded(name.as_ref(), blocks, Some(pieces), None).into())
    }

    /// Makes the info dict of its twin of version 2, from the root over all blocks; of the hybrid
    /// twin, if there are hashes of the pieces too.
    pub fn twin_of_blocks(
        first: BlockId,
        blocks: u64,
        root: MerkleRoot,
        pieces: Option<&[PieceHash]>,
    ) -> Result<Self, MetainfoError> {
        Self::decode(encoded(&content_name(first), blocks, pieces, Some(root)).into())
    }
}

fn encoded(
    name: &str,
    blocks: u64,
    pieces: Option<&[PieceHash]>,
    root: Option<MerkleRoot>,
) -> Vec<u8> {
    let length = blocks * BLOCK_LEN as u64;
    // Keys in the order of their bytes, as BEP 3 wants them.
    let mut out = b"d".to_vec();
    if let Some(root) = root {
        put_string(&mut out, "file tree");
        put_file(&mut out, name, length, root);
    }
    if pieces.is_some() {
        put_string(&mut out, "length");
        put_integer(&mut out, length);
    }
    if root.is_some() {
        put_string(&mut out, "meta version");
        put_integer(&mut out, 2);
    }
    put_string(&mut out, "name");
    put_string(&mut out, name);
    put_string(&mut out, "piece length");
    put_integer(&mut out, mapping::piece_len(blocks));
    if let Some(pieces) = pieces {
        let hashes: Vec<u8> = pieces.iter().flat_map(|hash| *hash.as_bytes()).collect();
        put_string(&mut out, "pieces");
        put_string(&mut out, hashes);
    }
    out.push(b'e');
    out
}

/// A file tree with a single file.
fn put_file(out: &mut Vec<u8>, name: &str, length: u64, root: MerkleRoot) {
    out.push(b'd');
    put_string(out, name);
    out.push(b'd');
    put_string(out, "");
    out.push(b'd');
    put_string(out, "length");
    put_integer(out, length);
    put_string(out, "pieces root");
    put_string(out, root.as_bytes());
    out.extend_from_slice(b"eee");
}
