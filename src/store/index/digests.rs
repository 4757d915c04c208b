//! What the index remembers about blocks that torrents are made of.
//!
//! A flipped bit would be a torrent that nobody can download, so each record is checked; one that is
//! wrong counts as none, and is computed anew from the block.

use redb::ReadableTable;

use crate::id::{BlockId, MerkleRoot, PieceHash, checksum};
use crate::store::{Digests, StoreError};

use super::{DIGESTS, Index};

impl Index {
    /// The digests of a block, if they were remembered.
    pub(in crate::store) fn digests(&self, id: &BlockId) -> Result<Option<Digests>, StoreError> {
        self.read(|transaction| {
            let found = transaction.open_table(DIGESTS)?.get(id.as_bytes())?;
            Ok(found.and_then(|value| decoded(id, value.value())))
        })
    }

    /// Remembers the digests of those blocks that are here.
    pub(in crate::store) fn keep_digests(
        &self,
        digests: &[(BlockId, Digests)],
    ) -> Result<(), StoreError> {
        self.write("extend", |tables| {
            for (id, digests) in digests {
                if tables.blocks.get(id.as_bytes())?.is_some() {
                    tables.digests.insert(id.as_bytes(), &encoded(id, digests))?;
                }
            }
            Ok(())
        })
    }
}

fn encoded(id: &BlockId, digests: &Digests) -> [u8; 60] {
    let mut both = [0; PieceHash::LEN + MerkleRoot::LEN];
    let parts = digests.piece.as_bytes().iter().chain(digests.root.as_bytes());
    both.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
    let mut value = [0; 60];
    let parts = both.iter().copied().chain(checksum(id.as_bytes(), &both));
    value.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    value
}

fn decoded(id: &BlockId, value: &[u8; 60]) -> Option<Digests> {
    let (both, sum) = value.split_last_chunk()?;
    let (piece, root) = both.split_at_checked(PieceHash::LEN)?;
    let digests =
        Digests { piece: PieceHash::from_slice(piece)?, root: MerkleRoot::from_slice(root)? };
    (*sum == checksum(id.as_bytes(), both)).then_some(digests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_is_no_digest() {
        let (id, piece) = (BlockId::of(b"a"), PieceHash::of(b"a"));
        let digests = Digests { piece, root: MerkleRoot::of_leaf(b"a") };
        let value = encoded(&id, &digests);
        assert_eq!(decoded(&id, &value), Some(digests));
        assert_eq!(decoded(&BlockId::of(b"b"), &value), None);
        for at in 0..value.len() {
            let mut flipped = value;
            flipped[at] ^= 1;
            assert_eq!(decoded(&id, &flipped), None, "{at}");
        }
    }
}
