//! Merkle trees over files (BEP 52): pure functions over hashes.
//!
//! A file is cut into leaves of 16 KiB, each is hashed with SHA-256, and pairs are hashed upwards
//! to one root. Where the leaves are no power of two, leaves of zeros (the hash, not the data) fill
//! the tree up. A block of 131,072 bytes is eight leaves, so the root over a block is a node of
//! every tree that covers the block: from these alone follow the piece layer and everything above
//! it, and no data is read again.
//!
//! Heights count from the leaves: a leaf has height 0, the root over a block 3. BEP 52 numbers its
//! layers the same way.

use crate::id::MerkleRoot;
use crate::limits::{BLOCK_LEN, LEAF_LEN, MAX_HASHES_ASKED};

/// Height of the root over a block.
pub const BLOCK_HEIGHT: u32 = (BLOCK_LEN / LEAF_LEN).ilog2();

/// Height of the roots that stand for pieces of `piece_length` bytes; `None` where a version 2
/// torrent cannot have such pieces.
#[must_use]
pub const fn piece_height(piece_length: u64) -> Option<u32> {
    let leaves = piece_length / LEAF_LEN as u64;
    if leaves.is_power_of_two() && leaves * LEAF_LEN as u64 == piece_length {
        Some(leaves.ilog2())
    } else {
        None
    }
}

/// The root over these bytes: of a whole file, or of a block.
#[must_use]
pub fn root_of_bytes(bytes: &[u8]) -> MerkleRoot {
    root_over(0, bytes.chunks(LEAF_LEN).map(MerkleRoot::of_leaf).collect())
}

/// The root over neighbouring nodes of one height, the first of a tree.
#[must_use]
pub fn root_over(mut height: u32, mut layer: Vec<MerkleRoot>) -> MerkleRoot {
    while layer.len() > 1 {
        layer = layer_above(height, &layer);
        height += 1;
    }
    layer.first().copied().unwrap_or(MerkleRoot::BEYOND)
}

/// The node of this height over nothing but what lies beyond the end of the file.
#[must_use]
pub fn beyond(height: u32) -> MerkleRoot {
    (0..height).fold(MerkleRoot::BEYOND, |below, _| MerkleRoot::above(&below, &below))
}

fn layer_above(height: u32, layer: &[MerkleRoot]) -> Vec<MerkleRoot> {
    let padding = beyond(height);
    let above = |pair: &[MerkleRoot]| match pair {
        [left, right] => MerkleRoot::above(left, right),
        [left, ..] => MerkleRoot::above(left, &padding),
        [] => beyond(height + 1),
    };
    layer.chunks(2).map(above).collect()
}

/// The upper layers of the tree over a file, from some height to the root. Takes twice the memory of
/// the lowest layer: 64 bytes for each block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layers {
    lowest: u32,
    layers: Vec<Vec<MerkleRoot>>,
}

impl Layers {
    /// The layers above the roots over blocks, in the order of the blocks.
    #[must_use]
    pub fn of_blocks(roots: Vec<MerkleRoot>) -> Self {
        let mut layers = vec![roots];
        for height in BLOCK_HEIGHT.. {
            match layers.last() {
                Some(layer) if layer.len() > 1 => layers.push(layer_above(height, layer)),
                _ => break,
            }
        }
        Self { lowest: BLOCK_HEIGHT, layers }
    }

    /// The root over the file.
    #[must_use]
    pub fn root(&self) -> MerkleRoot {
        self.layers.last().and_then(|layer| layer.first()).copied().unwrap_or(MerkleRoot::BEYOND)
    }

    /// The nodes of a height without those that lie beyond the end of the file; `None` below the
    /// blocks and above the root.
    #[must_use]
    pub fn layer(&self, height: u32) -> Option<&[MerkleRoot]> {
        let above = usize::try_from(height.checked_sub(self.lowest)?).ok()?;
        self.layers.get(above).map(Vec::as_slice)
    }

    /// The hashes that answer a `hash request` of BEP 52: `length` nodes of the layer `base_layer`
    /// from `index` on, then what else it takes to compute their ancestors in the next
    /// `proof_layers` layers, lowest first. `None` is a `hash reject`: a request that makes no sense,
    /// or one for hashes within a block.
    ///
    /// `index` must be a multiple of `length`. As libtorrent does we take a length that is no power
    /// of two for the next one, and only send what was asked for.
    #[must_use]
    pub fn answer(
        &self,
        base_layer: u32,
        index: u32,
        length: u32,
        proof_layers: u32,
    ) -> Option<Vec<MerkleRoot>> {
        let root_layer = self.lowest + u32::try_from(self.layers.len()).ok()?.checked_sub(1)?;
        let above = root_layer.checked_sub(base_layer).filter(|above| *above > proof_layers)?;
        if !(1..=MAX_HASHES_ASKED).contains(&length) || base_layer < self.lowest {
            return None;
        }
        let covered = length.next_power_of_two();
        let end = u64::from(index) + u64::from(covered);
        if !index.is_multiple_of(covered) || end > 1_u64.checked_shl(above)? {
            return None;
        }
        let nodes = (index..index + length).map(|index| self.node(base_layer, index));
        // The ancestors up to the one above all of them follow from the nodes themselves.
        let uncles = (covered.ilog2().max(1)..=proof_layers)
            .map(|step| self.node(base_layer + step, (index >> step) ^ 1));
        nodes.chain(uncles).collect()
    }

    fn node(&self, height: u32, index: u32) -> Option<MerkleRoot> {
        let layer = self.layer(height)?;
        let known = usize::try_from(index).ok().and_then(|index| layer.get(index));
        Some(known.copied().unwrap_or_else(|| beyond(height)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All layers of the tree over a file, padding and all, straight from the definition.
    fn full_tree(file: &[u8]) -> Vec<Vec<MerkleRoot>> {
        let mut layer: Vec<_> = file.chunks(LEAF_LEN).map(MerkleRoot::of_leaf).collect();
        layer.resize(layer.len().next_power_of_two(), MerkleRoot::from_bytes([0; 32]));
        let mut tree = vec![layer];
        while tree.last().unwrap().len() > 1 {
            let pairs = tree.last().unwrap().chunks(2);
            let above = pairs.map(|pair| MerkleRoot::above(&pair[0], &pair[1])).collect();
            tree.push(above);
        }
        tree
    }

    fn file(blocks: usize) -> Vec<u8> {
        (0..blocks * BLOCK_LEN).map(|at| (at / 1_000 + at % 251) as u8).collect()
    }

    fn layers(file: &[u8]) -> Layers {
        Layers::of_blocks(file.chunks(BLOCK_LEN).map(root_of_bytes).collect())
    }

    #[test]
    fn the_roots_over_blocks_give_every_layer_above() {
        for blocks in [1, 2, 3, 4, 5, 7, 8, 9, 13] {
            let file = file(blocks);
            let (tree, layers) = (full_tree(&file), layers(&file));
            assert_eq!(Some(&layers.root()), tree.last().unwrap().first(), "{blocks}");
            assert_eq!(layers.root(), root_of_bytes(&file));
            for (height, full) in tree.iter().enumerate().skip(BLOCK_HEIGHT as usize) {
                let layer = layers.layer(height as u32).unwrap();
                assert_eq!(layer, &full[..layer.len()], "{blocks} blocks, height {height}");
                assert_eq!(layer.len(), blocks.div_ceil(1 << (height - 3)));
                assert!(full[layer.len()..].iter().all(|node| *node == beyond(height as u32)));
                assert_eq!(root_over(height as u32, layer.to_vec()), layers.root());
            }
        }
    }

    #[test]
    fn short_files_have_short_leaves_and_small_trees() {
        assert_eq!(root_of_bytes(b"abc"), MerkleRoot::of_leaf(b"abc"));
        assert_eq!(root_of_bytes(b""), MerkleRoot::BEYOND);
        let file = &file(1)[..LEAF_LEN * 2 + 5];
        assert_eq!(Some(&root_of_bytes(file)), full_tree(file).last().unwrap().first());
    }

    /// Computes upwards from an answer as the peer that asked does.
    fn climb(answer: &[MerkleRoot], base: u32, index: u32, length: u32) -> MerkleRoot {
        let (nodes, uncles) = answer.split_at(length as usize);
        let mut nodes = nodes.to_vec();
        nodes.resize(length.next_power_of_two() as usize, beyond(base));
        let mut at = index / length.next_power_of_two();
        let mut node = root_over(base, nodes);
        for uncle in uncles {
            node = if at.is_multiple_of(2) {
                MerkleRoot::above(&node, uncle)
            } else {
                MerkleRoot::above(uncle, &node)
            };
            at /= 2;
        }
        node
    }

    #[test]
    fn answers_lead_to_the_root() {
        for blocks in [2, 3, 8, 9, 13] {
            let file = file(blocks);
            let (tree, layers) = (full_tree(&file), layers(&file));
            let top = tree.len() as u32 - 1;
            for base in BLOCK_HEIGHT..top {
                for length in [2, 4, 8, 16] {
                    for index in (0..1_u32 << (top - base)).step_by(length as usize) {
                        let answer = layers.answer(base, index, length, top - base - 1);
                        let Some(answer) = answer else {
                            assert!(index + length > 1 << (top - base));
                            continue;
                        };
                        let full = &tree[base as usize];
                        let asked = &full[index as usize..(index + length) as usize];
                        assert_eq!(&answer[..length as usize], asked);
                        assert_eq!(climb(&answer, base, index, length), layers.root());
                    }
                }
            }
        }
    }

    #[test]
    fn answers_as_many_proofs_as_asked_for() {
        let layers = layers(&file(13));
        let count = |length, proofs| layers.answer(3, 0, length, proofs).map(|hashes| hashes.len());
        assert_eq!((count(2, 0), count(2, 1), count(2, 3)), (Some(2), Some(3), Some(5)));
        assert_eq!((count(4, 1), count(4, 2), count(4, 3)), (Some(4), Some(5), Some(6)));
        assert_eq!((count(16, 0), count(16, 3), count(16, 4)), (Some(16), Some(16), None));
        assert_eq!(count(13, 3), Some(13), "a length that is no power of two");
    }

    #[test]
    fn rejects_requests_that_make_no_sense() {
        let layers = layers(&file(13));
        for (base, index, length, proofs) in [
            (0, 0, 8, 0),
            (2, 0, 2, 0),
            (3, 1, 2, 0),
            (3, 16, 2, 0),
            (3, 0, 0, 0),
            (3, 0, 32, 0),
            (3, 0, 513, 0),
            (3, 0, u32::MAX, 0),
            (3, u32::MAX - 1, 2, 0),
            (3, 0, 2, 4),
            (3, 0, 2, u32::MAX),
            (7, 0, 1, 0),
            (u32::MAX, 0, 2, 0),
        ] {
            assert_eq!(layers.answer(base, index, length, proofs), None, "{base} {index} {length}");
        }
        assert_eq!(Layers::of_blocks(Vec::new()).answer(3, 0, 2, 0), None);
    }

    #[test]
    fn tells_which_piece_lengths_version_2_knows() {
        for (length, height) in
            [(16_384, Some(0)), (131_072, Some(3)), (0, None), (8_192, None), (49_152, None)]
        {
            assert_eq!(piece_height(length), height, "{length}");
        }
    }
}
