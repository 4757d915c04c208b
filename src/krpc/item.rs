//! Items: small values that strangers keep for each other (BEP 44).
//!
//! An immutable item is its value, and its place is the SHA-1 of that. A mutable one belongs to an
//! ed25519 key: its place is the SHA-1 of the public key and the salt, and whoever has the secret
//! key replaces it with one of a higher sequence number. What is signed is the part of a bencoded
//! dictionary between `d` and `e`, with the salt only if there is one:
//!
//! ```text
//! 4:salt6:foobar3:seqi1e1:v12:Hello World!
//! ```
//!
//! A value is carried as the bytes that came: encoded again it might be another one.
//!
//! Signatures are verified by the equation of RFC 8032 without the cofactor and without the ban on
//! keys of small order (dalek's `verify`, not `verify_strict`), because libtorrent, who holds most
//! items there are, does it so: nodes that differ in what they take for signed store and refresh
//! different items. A key of small order lets everybody sign anything, as a secret key does that
//! has been published: that harms nobody but who trusts it, and keys of ours are derived and never
//! such. In one respect we are the stricter one: the second half of a signature must be reduced
//! (RFC 8032, 5.1.7), so that nobody makes a second signature out of a first one.

use std::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};

use crate::bencode::{BencodeError, check, put_string};
use crate::id::{ItemKey, Target};
use crate::limits::dht::{MAX_SALT_LEN, MAX_VALUE_LEN};

/// Bytes of a signature.
pub const SIGNATURE_LEN: usize = 64;

/// Why something is no item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ItemError {
    /// The value is too long.
    #[error("the value of an item has {len} bytes, more than {MAX_VALUE_LEN}")]
    ValueTooLong {
        /// Bytes of it.
        len: usize,
    },
    /// The salt is too long.
    #[error("the salt of an item has {len} bytes, more than {MAX_SALT_LEN}")]
    SaltTooLong {
        /// Bytes of it.
        len: usize,
    },
    /// The signature is not that of the key over salt, sequence number and value, or there is no
    /// such key.
    #[error("the signature of an item is not valid")]
    Signature,
    /// The value is not one well-formed value.
    #[error("the value of an item is not bencode")]
    Bencode(#[source] BencodeError),
}

impl ItemError {
    /// The number of the KRPC error that tells the sender (BEP 44).
    #[must_use]
    pub const fn code(&self) -> i64 {
        match self {
            Self::Bencode(_) => 203,
            Self::ValueTooLong { .. } => 205,
            Self::Signature => 206,
            Self::SaltTooLong { .. } => 207,
        }
    }
}

/// The value of an item: one well-formed bencoded value of at most [`MAX_VALUE_LEN`] bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value(Vec<u8>);

impl Value {
    /// Takes bytes that are one.
    pub fn check(bytes: &[u8]) -> Result<Self, ItemError> {
        if bytes.len() > MAX_VALUE_LEN {
            return Err(ItemError::ValueTooLong { len: bytes.len() });
        }
        check(bytes).map_err(ItemError::Bencode)?;
        Ok(Self(bytes.to_vec()))
    }

    /// The bencoded value.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Something that nodes of the DHT keep for others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A value named by itself.
    Immutable(Value),
    /// A value named by a key.
    Mutable(MutableItem),
}

impl Item {
    /// Where it is kept.
    #[must_use]
    pub fn target(&self) -> Target {
        match self {
            Self::Immutable(value) => Target::of(value.as_bytes()),
            Self::Mutable(item) => item.target(),
        }
    }

    /// What it says.
    #[must_use]
    pub const fn value(&self) -> &Value {
        match self {
            Self::Immutable(value) => value,
            Self::Mutable(item) => &item.value,
        }
    }

    /// Itself, if it is mutable.
    #[must_use]
    pub const fn mutable(&self) -> Option<&MutableItem> {
        match self {
            Self::Immutable(_) => None,
            Self::Mutable(item) => Some(item),
        }
    }
}

/// A value that the owner of a key has signed. There is none whose signature is not valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MutableItem {
    key: ItemKey,
    salt: Vec<u8>,
    seq: i64,
    value: Value,
    signature: [u8; SIGNATURE_LEN],
}

impl MutableItem {
    /// Takes parts that fit together. Without a salt, `salt` is empty.
    pub fn check(
        key: ItemKey,
        salt: &[u8],
        seq: i64,
        value: Value,
        signature: [u8; SIGNATURE_LEN],
    ) -> Result<Self, ItemError> {
        let signed = signed_bytes(salt, seq, &value)?;
        VerifyingKey::from_bytes(key.as_bytes())
            .and_then(|key| key.verify(&signed, &Signature::from_bytes(&signature)))
            .map_err(|_| ItemError::Signature)?;
        Ok(Self { key, salt: salt.to_vec(), seq, value, signature })
    }

    /// Where items of a key and a salt are kept.
    #[must_use]
    pub fn target_of(key: &ItemKey, salt: &[u8]) -> Target {
        Target::of(&[key.as_bytes(), salt].concat())
    }

    /// Where it is kept.
    #[must_use]
    pub fn target(&self) -> Target {
        Self::target_of(&self.key, &self.salt)
    }

    /// The key of its owner.
    #[must_use]
    pub const fn key(&self) -> ItemKey {
        self.key
    }

    /// What tells it from other items of its owner: at most [`MAX_SALT_LEN`] bytes, often none.
    #[must_use]
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// Its sequence number: a later one is higher.
    #[must_use]
    pub const fn seq(&self) -> i64 {
        self.seq
    }

    /// What it says.
    #[must_use]
    pub const fn value(&self) -> &Value {
        &self.value
    }

    /// The signature of its owner.
    #[must_use]
    pub const fn signature(&self) -> &[u8; SIGNATURE_LEN] {
        &self.signature
    }
}

/// What an owner signs, at most some 1,100 bytes.
fn signed_bytes(salt: &[u8], seq: i64, value: &Value) -> Result<Vec<u8>, ItemError> {
    if salt.len() > MAX_SALT_LEN {
        return Err(ItemError::SaltTooLong { len: salt.len() });
    }
    let mut signed = Vec::with_capacity(MAX_SALT_LEN + 64 + value.0.len());
    if !salt.is_empty() {
        put_string(&mut signed, "salt");
        put_string(&mut signed, salt);
    }
    signed.extend_from_slice(format!("3:seqi{seq}e1:v").as_bytes());
    signed.extend_from_slice(&value.0);
    Ok(signed)
}

/// The secret key of an owner of items. It is wiped from memory when it goes.
#[derive(Clone)]
pub struct ItemSecret(SigningKey);

impl ItemSecret {
    /// The key that a seed stands for (RFC 8032, 5.1.5).
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&seed))
    }

    /// The public key.
    #[must_use]
    pub fn key(&self) -> ItemKey {
        ItemKey::from_bytes(self.0.verifying_key().to_bytes())
    }

    /// Makes an item. Fails only if the salt is too long.
    pub fn sign(&self, salt: &[u8], seq: i64, value: Value) -> Result<MutableItem, ItemError> {
        let signature = self.0.sign(&signed_bytes(salt, seq, &value)?).to_bytes();
        Ok(MutableItem { key: self.key(), salt: salt.to_vec(), seq, value, signature })
    }
}

impl fmt::Debug for ItemSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ItemSecret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap()
    }

    fn hello() -> Value {
        Value::check(b"12:Hello World!").unwrap()
    }

    /// The key, and the signatures and targets without a salt and with "foobar", of BEP 44.
    const KEY: &str = "77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548";
    const UNSALTED: [&str; 2] = [
        "305ac8aeb6c9c151fa120f120ea2cfb923564e11552d06a5d856091e5e853cff\
         1260d3f39e4999684aa92eb73ffd136e6f4f3ecbfda0ce53a1608ecd7ae21f01",
        "4a533d47ec9c7d95b1ad75f576cffc641853b750",
    ];
    const SALTED: [&str; 2] = [
        "6834284b6b24c3204eb2fea824d82f88883a3d95e8b4a21b8c0ded553d17d17d\
         df9a8a7104b1258f30bed3787e6cb896fca78c58f8e03b5f18f14951a87d9a08",
        "411eba73b6f087ca51a3795d9c8c938d365e32c1",
    ];

    #[test]
    fn signs_the_bytes_that_bep_44_shows() {
        let signed = |salt: &[u8]| signed_bytes(salt, 1, &hello()).unwrap();
        assert_eq!(signed(b""), b"3:seqi1e1:v12:Hello World!");
        assert_eq!(signed(b"foobar"), b"4:salt6:foobar3:seqi1e1:v12:Hello World!");
    }

    #[test]
    fn takes_the_vectors_of_bep_44() {
        let key = ItemKey::from_bytes(hex(KEY));
        for (salt, [signature, target]) in [(&b""[..], UNSALTED), (b"foobar", SALTED)] {
            let item = MutableItem::check(key, salt, 1, hello(), hex(signature)).unwrap();
            assert_eq!(item.target().to_string(), target);
            assert_eq!(Item::Mutable(item).target().to_string(), target);
        }
        let target = Item::Immutable(hello()).target().to_string();
        assert_eq!(target, "e5f96f6f38320f0f33959cb4d3d656452117aadb");
    }

    /// Computed with Python's `cryptography`: `Ed25519PrivateKey.from_private_bytes(bytes([7]*32))`
    /// over `3:seqi4e1:v12:Hello World!`, and the same behind `4:salt6:foobar`.
    #[test]
    fn signs_as_others_do() {
        let secret = ItemSecret::from_seed([7; 32]);
        let key = "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c";
        assert_eq!(secret.key().to_string(), key);
        for (salt, signature, target) in [
            (
                &b""[..],
                "e49e8569931ccaf0fe03352b34e5be985b58dc64e76c70d4974a589f8ba6934f\
                 76160562c8b1c469ffceead53270d776fde1a25bb406e51e948a885ee257f403",
                "4c5ece4023a0341ee2acffcc4d17154a854f02e5",
            ),
            (
                b"foobar",
                "36e5dac82587e3e262c056c3480727a26e5a9b057069aaf0248204c07f7ab29e\
                 225fd0c2450357424f778ac32f06268c02d86aa44f3f3bea3aea353a3a266d02",
                "85d5c126a9684a286e72e08e50bf21f458aa4897",
            ),
        ] {
            let item = secret.sign(salt, 4, hello()).unwrap();
            assert_eq!(HEXLOWER.encode(item.signature()), signature);
            assert_eq!(item.target().to_string(), target);
        }
    }

    /// RFC 8032, 7.1, TEST 1.
    #[test]
    fn derives_the_key_of_rfc_8032() {
        let seed = hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
        assert_eq!(
            ItemSecret::from_seed(seed).key().to_string(),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
    }

    #[test]
    fn refuses_what_is_too_long_or_no_value() {
        let string = |len: usize| [format!("{len}:").into_bytes(), vec![0; len]].concat();
        assert!(Value::check(&string(996)).is_ok());
        let error = Value::check(&string(997)).unwrap_err();
        assert_eq!((error, error.code()), (ItemError::ValueTooLong { len: 1001 }, 205));
        for bad in [&b""[..], b"i1ei2e", b"3:ab", b"hello", &[b'l'; 500]] {
            assert_eq!(Value::check(bad).unwrap_err().code(), 203, "{bad:?}");
        }
        let secret = ItemSecret::from_seed([1; 32]);
        assert!(secret.sign(&[0; 64], 1, hello()).is_ok());
        let error = secret.sign(&[0; 65], 1, hello()).unwrap_err();
        assert_eq!((error, error.code()), (ItemError::SaltTooLong { len: 65 }, 207));
        assert_eq!(MutableItem::check(secret.key(), &[0; 65], 1, hello(), [0; 64]), Err(error));
    }

    /// A key of small order, the neutral element: every signature `(S B, S)` is valid under it.
    /// libtorrent takes it, and so do we.
    #[test]
    fn takes_keys_of_small_order_as_others_do() {
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut zero = [0; 64];
        zero[..32].copy_from_slice(&neutral);
        let key = ItemKey::from_bytes(neutral);
        assert!(MutableItem::check(key, b"", 1, hello(), zero).is_ok());
        assert!(MutableItem::check(key, b"", 1, hello(), [0; 64]).is_err());
    }

    /// S + L stands for the same number as S.
    #[test]
    fn refuses_a_second_form_of_a_signature() {
        let order: [u8; 32] =
            hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
        let item = ItemSecret::from_seed([1; 32]).sign(b"", 1, hello()).unwrap();
        let mut other = *item.signature();
        let mut carry = 0;
        for (digit, add) in other[32..].iter_mut().zip(order) {
            let sum = u16::from(*digit) + u16::from(add) + carry;
            (*digit, carry) = (u8::try_from(sum & 255).unwrap(), sum >> 8);
        }
        let error = MutableItem::check(item.key(), b"", 1, hello(), other).unwrap_err();
        assert_eq!((error, error.code()), (ItemError::Signature, 206));
    }

    #[test]
    fn secrets_do_not_show() {
        assert_eq!(format!("{:?}", ItemSecret::from_seed([7; 32])), "ItemSecret");
    }

    proptest! {
        #[test]
        fn takes_what_was_signed_and_nothing_that_differs(
            seed: [u8; 32], salt in prop::collection::vec(any::<u8>(), 0..=64), seq: i64,
            text in prop::collection::vec(any::<u8>(), 0..900), part in 0..4_u8, at: usize, bit in 0..8
        ) {
            let mut bencoded = Vec::new();
            put_string(&mut bencoded, &text);
            let value = Value::check(&bencoded).unwrap();
            let item = ItemSecret::from_seed(seed).sign(&salt, seq, value.clone()).unwrap();
            let (mut key, mut bent, mut other) = (*item.key().as_bytes(), salt, *item.signature());
            let again = MutableItem::check(item.key(), &bent, seq, value.clone(), other);
            prop_assert_eq!(again.as_ref(), Ok(&item));
            match part {
                0 => key[at % 32] ^= 1_u8 << bit,
                1 => other[at % 64] ^= 1_u8 << bit,
                2 if !bent.is_empty() => { let len = bent.len(); bent[at % len] ^= 1_u8 << bit }
                _ => { bent.pop().map_or_else(|| bent.push(0), drop) }
            }
            let key = ItemKey::from_bytes(key);
            let found = MutableItem::check(key, &bent, seq, value, other);
            prop_assert_eq!(found, Err(ItemError::Signature));
        }
    }
}
