//! Digests: the hashes of blocks that torrents are made of.
//!
//! The store remembers them, so a block is read once for all torrents it will ever be in, of
//! whatever version: they are those of its slot, padding included. Only where a piece is several blocks its SHA-1 takes their bytes each time.

use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::thread;

use bytes::Bytes;

use crate::id::{BlockId, MerkleRoot, PieceHash, PieceHasher};
use crate::limits::{DIGEST_THREADS, DIGESTS_AT_ONCE};
use crate::off::Block;
use crate::store::Digests;
use crate::torrent::metainfo::Version;
use crate::torrent::{mapping, merkle};

use super::{Client, ReadError};

/// What a torrent's info dict is made of.
#[derive(Debug, Default)]
pub(super) struct TorrentHashes {
    /// Of each piece; nothing if nobody asked.
    pub(super) pieces: Vec<PieceHash>,
    /// Over each block; nothing if nobody asked.
    pub(super) roots: Vec<MerkleRoot>,
    /// What the store does not know yet.
    new: Vec<(BlockId, Digests)>,
}

impl TorrentHashes {
    fn append(&mut self, mut later: Self) {
        self.pieces.append(&mut later.pieces);
        self.roots.append(&mut later.roots);
        self.new.append(&mut later.new);
    }
}

impl Client {
    /// The hashes that a torrent of these blocks is made of. The order is that of the blocks.
    pub(super) fn torrent_hashes(
        &self,
        order: &[BlockId],
        version: Version,
    ) -> Result<TorrentHashes, ReadError> {
        let per_piece = usize::try_from(mapping::blocks_per_piece(order.len() as u64));
        let per_piece = per_piece.ok().and_then(NonZeroUsize::new).unwrap_or(NonZeroUsize::MIN);
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let share = DIGESTS_AT_ONCE.div_ceil(threads.min(DIGEST_THREADS));
        let share = share.next_multiple_of(per_piece.get());
        let mut all = TorrentHashes::default();
        for batch in order.chunks(DIGESTS_AT_ONCE.next_multiple_of(share)) {
            let done: Vec<Result<TorrentHashes, ReadError>> = thread::scope(|scope| {
                let shares: Vec<_> = batch
                    .chunks(share)
                    .map(|ids| scope.spawn(move || self.hashes_of(ids, per_piece, version)))
                    .collect();
                let joined = shares.into_iter().map(thread::ScopedJoinHandle::join);
                joined.map(|done| done.unwrap_or_else(|panic| resume_unwind(panic))).collect()
            });
            for done in done {
                all.append(done?);
            }
            if !all.new.is_empty() {
                self.store.keep_digests(&all.new)?;
                all.new.clear();
            }
        }
        Ok(all)
    }

    /// The same for some whole pieces of the torrent.
    fn hashes_of(
        &self,
        ids: &[BlockId],
        per_piece: NonZeroUsize,
        version: Version,
    ) -> Result<TorrentHashes, ReadError> {
        let mut hashes = TorrentHashes::default();
        for piece in ids.chunks(per_piece.get()) {
            if per_piece.get() == 1 || !version.has_v1() {
                for id in piece {
                    let digests = self.digests(id, None, &mut hashes.new)?;
                    hashes.pieces.extend(version.has_v1().then_some(digests.piece));
                    hashes.roots.extend(version.has_v2().then_some(digests.root));
                }
                continue;
            }
            let mut sha_1 = PieceHasher::default();
            for id in piece {
                let block = self.store.get(id)?.ok_or(ReadError::Missing(*id))?;
                sha_1.update(&slot_of(&block)?);
                if version.has_v2() {
                    let digests = self.digests(id, Some(block), &mut hashes.new)?;
                    hashes.roots.push(digests.root);
                }
            }
            hashes.pieces.push(sha_1.finish());
        }
        Ok(hashes)
    }

    /// The digests of a block, which is read if they are not known and it is not at hand.
    pub(super) fn digests(
        &self,
        id: &BlockId,
        at_hand: Option<Block>,
        new: &mut Vec<(BlockId, Digests)>,
    ) -> Result<Digests, ReadError> {
        if let Some(digests) = self.store.digests(id)? {
            return Ok(digests);
        }
        let block = match at_hand {
            Some(block) => block,
            None => self.store.get(id)?.ok_or(ReadError::Missing(*id))?,
        };
        let slot = slot_of(&block)?;
        let digests = Digests { piece: PieceHash::of(&slot), root: merkle::root_of_bytes(&slot) };
        new.push((*id, digests));
        Ok(digests)
    }
}

/// What a torrent has of a block. A short one is as good as not here: who makes a torrent of short
/// blocks has been refused before.
pub(super) fn slot_of(block: &Block) -> Result<Bytes, ReadError> {
    block.slot().ok_or(ReadError::Missing(block.id()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::off::BlockSize;

    /// Where a piece is several blocks, as above 65,536 of them; the last piece is short.
    #[test]
    fn pieces_of_several_blocks_are_hashed_as_their_slots_stand() {
        for size in [BlockSize::Native, BlockSize::LegacyBlock] {
            pieces_of_several(size);
        }
    }

    fn pieces_of_several(size: BlockSize) {
        let folder = tempfile::tempdir().unwrap();
        let client = Client::open_seeded(folder.path(), 1).unwrap();
        let blocks: Vec<_> = (0..5).map(|_| Block::random(size, &mut rand::rng())).collect();
        for block in &blocks {
            client.store.put(block).unwrap();
        }
        let order: Vec<BlockId> = blocks.iter().map(Block::id).collect();
        let bytes: Vec<u8> = blocks.iter().flat_map(|block| block.slot().unwrap()).collect();
        let pieces: Vec<_> = bytes.chunks(2 * 131_072).map(PieceHash::of).collect();
        let roots: Vec<_> = bytes.chunks(131_072).map(merkle::root_of_bytes).collect();
        let two = NonZeroUsize::new(2).unwrap();
        for known in [false, true] {
            let hybrid = client.hashes_of(&order, two, Version::Hybrid).unwrap();
            assert_eq!((&hybrid.pieces, &hybrid.roots), (&pieces, &roots));
            assert_eq!(hybrid.new.len(), if known { 0 } else { 5 });
            let v1 = client.hashes_of(&order, two, Version::V1).unwrap();
            assert_eq!((v1.pieces, v1.roots.len(), v1.new.len()), (pieces.clone(), 0, 0));
            let v2 = client.hashes_of(&order, two, Version::V2).unwrap();
            assert_eq!((v2.pieces.len(), v2.roots), (0, roots.clone()));
            client.store.keep_digests(&hybrid.new).unwrap();
        }
    }
}
