//! A decoder of version 3 that shares nothing with the library: as js-offs reads, from the text of a
//! URL and blocks by their keys.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// Blocks by their keys.
pub(super) type Blocks = HashMap<String, Vec<u8>>;

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The base58 of 32 bytes: the number they are, by long division.
pub(super) fn key(bytes: &[u8]) -> String {
    assert_eq!(bytes.len(), 32);
    let mut number = bytes.to_vec();
    let mut digits = Vec::new();
    while number.iter().any(|byte| *byte != 0) {
        let mut rest = 0_u32;
        for byte in &mut number {
            let part = rest * 256 + u32::from(*byte);
            (*byte, rest) = ((part / 58) as u8, part % 58);
        }
        digits.push(ALPHABET[rest as usize]);
    }
    let zeros = bytes.iter().take_while(|byte| **byte == 0).map(|_| ALPHABET[0]);
    digits.extend(zeros);
    digits.reverse();
    String::from_utf8(digits).unwrap()
}

/// A URL in its parts, as the expression of js-offs takes them.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) content_type: String,
    pub(super) length: usize,
    pub(super) file: String,
    pub(super) descriptor: String,
    pub(super) name: String,
}

impl Parts {
    pub(super) fn of(url: &str) -> Self {
        let (origin, path) = url.split_once("/offsystem/v3/").unwrap();
        assert_eq!(origin, "http://localhost:23402");
        let [major, minor, length, file, descriptor, name]: [&str; 6] =
            path.split('/').collect::<Vec<_>>().try_into().unwrap();
        assert!(!name.contains(|c| " !$`&*()+?#".contains(c)), "js-offs would cut {name:?} off");
        Self {
            content_type: format!("{major}/{minor}"),
            length: length.parse().unwrap(),
            file: file.into(),
            descriptor: descriptor.into(),
            name: name.into(),
        }
    }

    /// Bytes of a block.
    pub(super) fn block_len(&self) -> usize {
        match self.length {
            0 => panic!("js-offs has no empty streams"),
            1..=999 => 136,
            1_000..=127_999 => 1_000,
            _ => 128_000,
        }
    }

    /// The keys of the tuples: off block, randomizer, randomizer; and of the descriptor.
    pub(super) fn tuples(&self, blocks: &Blocks) -> (Vec<[String; 3]>, Vec<String>) {
        let (len, mut wanted) = (self.block_len(), self.length.div_ceil(self.block_len()) * 3);
        let (slots, mut keys, mut chain) = (len / 32, Vec::new(), vec![self.descriptor.clone()]);
        loop {
            let block = &blocks[chain.last().unwrap()];
            assert_eq!(block.len(), len);
            let is_last = wanted <= slots;
            let count = if is_last { wanted } else { slots - 1 };
            keys.extend(block.chunks_exact(32).take(count).map(key));
            wanted -= count;
            if is_last {
                break;
            }
            chain.push(key(&block[(slots - 1) * 32..slots * 32]));
        }
        let tuples = keys.chunks_exact(3).map(|tuple| tuple.to_vec().try_into().unwrap());
        (tuples.collect(), chain)
    }

    /// The stream, if its SHA-256 is right; and its source blocks with their padding.
    pub(super) fn decode(&self, blocks: &Blocks) -> (Vec<u8>, Vec<Vec<u8>>) {
        let mut sources = Vec::new();
        for tuple in self.tuples(blocks).0 {
            let [off, one, two] = tuple.each_ref().map(|key| &blocks[key]);
            assert!([off, one, two].iter().all(|block| block.len() == self.block_len()));
            let sum = off.iter().zip(one).zip(two).map(|((a, b), c)| a ^ b ^ c);
            sources.push(sum.collect::<Vec<u8>>());
        }
        let mut stream = sources.concat();
        stream.truncate(self.length);
        assert_eq!(stream.len(), self.length);
        assert_eq!(key(&sha256(&stream)), self.file, "the SHA-256 of the stream");
        (stream, sources)
    }
}
