//! Sealing: what makes a full cache or swarm useless without the URL.
//!
//! XOR with public blocks is an ownership argument, not secrecy. Whoever holds N blocks can try
//! all pairs and triples in O(N^2), and a descriptor beside its blocks gives the stream away at
//! once. So each put draws a 32-byte key that only the OFF URL carries. `ChaCha20` (the original
//! form: 64-bit nonce, 64-bit block counter, D. J. Bernstein 2008) encrypts
//!
//! * the stream, before it is split, under the nonce `"offstrm1"`: keystream position = offset in
//!   the stream, so any range can be read alone;
//! * the chain, under the nonce `"offdesc1"`: block i of the chain at position `i * B`.
//!
//! One key seals one stream: it is drawn anew for every put, so no keystream is used twice. The
//! seal hides contents, not integrity; that is the ids' business.
//!
//! [`Seal::Plain`] is the bare procedure of the OFF System; legacy formats know no other.

use chacha20::ChaCha20Legacy;
use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use rand::CryptoRng;

use crate::id::{ParseIdError, excerpt};

const STREAM_NONCE: [u8; 8] = *b"offstrm1";
const CHAIN_NONCE: [u8; 8] = *b"offdesc1";

/// The secret of a sealed stream. `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SealKey([u8; 32]);

impl SealKey {
    /// Draws a fresh key.
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// Reads the base58 of 32 bytes.
    pub fn parse(text: &str) -> Result<Self, ParseIdError> {
        // The characters of a wrong key may be most of a right one: they stay out of the error.
        let hide = |_| ParseIdError::Alphabet {
            kind: "seal key",
            encoding: "base58 of 32 bytes",
            text: excerpt("…"),
        };
        crate::id::BlockId::parse(text).map(|id| Self(*id.as_bytes())).map_err(hide)
    }

    /// The text form that an OFF URL carries. There is no `Display`, so that no key is printed by
    /// accident.
    #[must_use]
    pub fn reveal(&self) -> String {
        bs58::encode(self.0).into_string()
    }
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey(hidden)")
    }
}

/// Whether and with what a stream and its chain are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Seal {
    /// Not at all.
    Plain,
    /// With this key.
    Key(SealKey),
}

impl Seal {
    /// Seals or unseals, which is the same, the bytes of the stream from `offset` on.
    pub fn apply_to_stream(&self, offset: u64, bytes: &mut [u8]) {
        self.apply(STREAM_NONCE, offset, bytes);
    }

    /// Seals or unseals a whole block of the chain, counted from 0.
    pub fn apply_to_chain(&self, index: u64, block: &mut [u8]) {
        self.apply(CHAIN_NONCE, index * block.len() as u64, block);
    }

    fn apply(&self, nonce: [u8; 8], position: u64, bytes: &mut [u8]) {
        let Self::Key(key) = self else { return };
        let mut cipher = ChaCha20Legacy::new(&key.0.into(), &nonce.into());
        cipher.seek(position);
        cipher.apply_keystream(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First keystream bytes of the all-zero key and nonce (D. J. Bernstein's `ChaCha20`, the
    /// test vector 1 of draft-agl-tls-chacha20poly1305-04).
    #[test]
    fn keystream_is_chacha20_of_the_original_form() {
        let mut bytes = [0; 8];
        Seal::Key(SealKey([0; 32])).apply([0; 8], 0, &mut bytes);
        assert_eq!(bytes, [0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90]);
    }

    #[test]
    fn any_range_unseals_alone() {
        let seal = Seal::Key(SealKey::random(&mut rand::rng()));
        let mut all = vec![5; 1_000];
        seal.apply_to_stream(0, &mut all);
        for (from, to) in [(0, 1), (63, 65), (64, 128), (7, 1_000)] {
            let mut part = all[from..to].to_vec();
            seal.apply_to_stream(from as u64, &mut part);
            assert_eq!(part, vec![5; to - from]);
        }
    }

    #[test]
    fn keys_stay_out_of_debug_output_and_errors() {
        let key = SealKey::random(&mut rand::rng());
        assert!(!format!("{key:?}").contains(&key.reveal()));
        let almost = &key.reveal()[1..];
        assert!(!SealKey::parse(&format!("{almost}0")).unwrap_err().to_string().contains(almost));
        assert_eq!(SealKey::parse(&key.reveal()), Ok(key));
    }
}
