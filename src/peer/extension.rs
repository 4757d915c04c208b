//! Extension messages (BEP 10): the handshake, the info dict from peers (`ut_metadata`, BEP 9),
//! peers from peers (`ut_pex`, BEP 11), and taking a piece back (`lt_donthave`, BEP 54).
//!
//! Each side names in its handshake the numbers under which it wants each extension; ours are
//! fixed below. What a stranger wrote is checked by [`bencode`] before it is decoded; an absurd
//! handshake is as if none had come.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::address::{all_from_compact, put_compact};
use crate::bencode;
use crate::limits::{CHUNK_LEN, MAX_METAINFO_LEN, MAX_PEX_PEERS, MAX_QUEUE, MIN_QUEUE};

/// The number of the handshake itself.
pub const HANDSHAKE: u8 = 0;
/// Our number for `ut_metadata`.
pub const UT_METADATA: u8 = 1;
/// Our number for `ut_pex`.
pub const UT_PEX: u8 = 2;
/// Our number for `lt_donthave`.
pub const LT_DONTHAVE: u8 = 3;

/// Bytes of the info dict in one message.
pub const METADATA_PIECE_LEN: usize = CHUNK_LEN as usize;

/// What the other side said of itself. A number of 0 means that it does not know the extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// Its number for `ut_metadata`.
    pub ut_metadata: u8,
    /// Its number for `ut_pex`.
    pub ut_pex: u8,
    /// Its number for `lt_donthave`.
    pub lt_donthave: u8,
    /// The port it listens on.
    pub port: Option<u16>,
    /// Requests it lets wait.
    pub queue: usize,
    /// Bytes of the info dict, if it has it and the number makes sense.
    pub metadata_len: Option<usize>,
}

#[derive(Default, Serialize, Deserialize)]
struct RawHello {
    #[serde(default)]
    m: BTreeMap<String, i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metadata_size: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    p: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reqq: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    v: Option<serde_bytes::ByteBuf>,
}

impl Default for Hello {
    fn default() -> Self {
        Self {
            ut_metadata: 0,
            ut_pex: 0,
            lt_donthave: 0,
            port: None,
            queue: MIN_QUEUE,
            metadata_len: None,
        }
    }
}

impl Hello {
    /// Reads what a peer said. What makes no sense is left out.
    #[must_use]
    pub fn decode(body: &[u8]) -> Self {
        let raw: RawHello = checked(body).unwrap_or_default();
        let number = |name| raw.m.get(name).and_then(|n| u8::try_from(*n).ok()).unwrap_or(0);
        let within = |len: &usize| (1..=MAX_METAINFO_LEN).contains(len);
        let queue = raw.reqq.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
        Self {
            ut_metadata: number("ut_metadata"),
            ut_pex: number("ut_pex"),
            lt_donthave: number("lt_donthave"),
            port: raw.p.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0),
            queue: queue.unwrap_or(MIN_QUEUE).min(MAX_QUEUE),
            metadata_len: raw.metadata_size.and_then(|n| usize::try_from(n).ok()).filter(within),
        }
    }
}

/// Our handshake, for a torrent whose info dict has `metadata_len` bytes.
#[must_use]
pub fn hello(port: u16, metadata_len: Option<usize>) -> Bytes {
    let ours = [("lt_donthave", LT_DONTHAVE), ("ut_metadata", UT_METADATA), ("ut_pex", UT_PEX)];
    encoded(&RawHello {
        m: ours.map(|(name, number)| (name.to_owned(), number.into())).into(),
        metadata_size: metadata_len.and_then(|len| i64::try_from(len).ok()),
        p: Some(port.into()),
        reqq: i64::try_from(MAX_QUEUE).ok(),
        v: Some(concat!("offswarm ", env!("CARGO_PKG_VERSION")).as_bytes().to_vec().into()),
    })
}

/// A message about the info dict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Metadata {
    /// Asks for a piece of it.
    Request(u32),
    /// A piece of it.
    Data(u32, Bytes),
    /// It is not given.
    Reject(u32),
}

#[derive(Serialize, Deserialize)]
struct RawMetadata {
    msg_type: i64,
    piece: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    total_size: Option<i64>,
}

impl Metadata {
    /// Reads a message; `None` if it is none that we know.
    #[must_use]
    pub fn decode(body: &Bytes) -> Option<Self> {
        let len = bencode::prefix_len(body).ok()?;
        let raw: RawMetadata = serde_bencode::from_bytes(body.get(..len)?).ok()?;
        let piece = u32::try_from(raw.piece).ok()?;
        match raw.msg_type {
            0 => Some(Self::Request(piece)),
            1 => Some(Self::Data(piece, body.slice(len..))),
            2 => Some(Self::Reject(piece)),
            _ => None,
        }
    }

    /// Writes a message; `total` is the info dict's length and goes with its pieces.
    #[must_use]
    pub fn encode(&self, total: usize) -> Bytes {
        let (msg_type, piece, bytes) = match self {
            Self::Request(piece) => (0, *piece, None),
            Self::Data(piece, bytes) => (1, *piece, Some(bytes)),
            Self::Reject(piece) => (2, *piece, None),
        };
        let total_size = bytes.and_then(|_| i64::try_from(total).ok());
        let mut out =
            BytesMut::from(encoded(&RawMetadata { msg_type, piece: piece.into(), total_size }));
        out.extend_from_slice(bytes.map_or(&[], |bytes| bytes));
        out.freeze()
    }

    /// Answers a request out of an info dict.
    #[must_use]
    pub fn answer(info: &Bytes, piece: u32) -> Self {
        let start = (piece as usize).saturating_mul(METADATA_PIECE_LEN);
        if start >= info.len() {
            return Self::Reject(piece);
        }
        Self::Data(piece, info.slice(start..info.len().min(start + METADATA_PIECE_LEN)))
    }
}

#[derive(Default, Serialize, Deserialize)]
struct RawPex {
    #[serde(default, with = "serde_bytes")]
    added: Vec<u8>,
    #[serde(default, with = "serde_bytes", rename = "added.f")]
    added_flags: Vec<u8>,
    #[serde(default, with = "serde_bytes")]
    added6: Vec<u8>,
    #[serde(default, with = "serde_bytes", rename = "added6.f")]
    added6_flags: Vec<u8>,
    #[serde(default, with = "serde_bytes")]
    dropped: Vec<u8>,
    #[serde(default, with = "serde_bytes")]
    dropped6: Vec<u8>,
}

/// Peers that a peer names, at most [`MAX_PEX_PEERS`]; unfiltered.
#[must_use]
pub fn pex_peers(body: &[u8]) -> Vec<SocketAddr> {
    let raw: RawPex = checked(body).unwrap_or_default();
    let v4 = all_from_compact::<6>(&raw.added);
    v4.chain(all_from_compact::<18>(&raw.added6)).take(MAX_PEX_PEERS).collect()
}

/// Names peers to a peer: those that have come and those that have gone.
#[must_use]
pub fn pex(added: &[SocketAddr], dropped: &[SocketAddr]) -> Bytes {
    let (added, added6) = compact(added);
    let (dropped, dropped6) = compact(dropped);
    encoded(&RawPex {
        added_flags: vec![0; added.len() / 6],
        added6_flags: vec![0; added6.len() / 18],
        added,
        added6,
        dropped,
        dropped6,
    })
}

fn compact(peers: &[SocketAddr]) -> (Vec<u8>, Vec<u8>) {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for peer in peers {
        let family = if peer.ip().to_canonical().is_ipv4() { &mut v4 } else { &mut v6 };
        put_compact(family, *peer);
    }
    (v4, v6)
}

fn checked<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    bencode::check(body).ok()?;
    serde_bencode::from_bytes(body).ok()
}

fn encoded(value: &impl Serialize) -> Bytes {
    // These structures always have a form in bencode.
    serde_bencode::to_bytes(value).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn our_handshake_is_understood() {
        let hello = Hello::decode(&hello(6881, Some(500)));
        assert_eq!(hello.ut_metadata, UT_METADATA);
        assert_eq!(
            (hello.port, hello.metadata_len, hello.queue),
            (Some(6881), Some(500), MAX_QUEUE)
        );
    }

    #[test]
    fn absurd_handshakes_are_ignored() {
        for body in [
            &b"d4:reqqi-1ee"[..],
            b"d13:metadata_sizei2000000000ee",
            b"d1:pi70000ee",
            b"d1:md11:ut_metadatai300eee",
            b"d1:m5:whate",
            b"",
            b"le",
            &[b'l'; 5_000],
        ] {
            assert_eq!(Hello::decode(body), Hello::default(), "{}", body.escape_ascii());
        }
    }

    #[test]
    fn metadata_goes_out_and_comes_in() {
        let info = Bytes::from(vec![7; 20_000]);
        for piece in 0..3 {
            let answer = Metadata::answer(&info, piece);
            assert_eq!(Metadata::decode(&answer.encode(info.len())), Some(answer));
        }
        assert_eq!(Metadata::answer(&info, 2), Metadata::Reject(2));
        assert_eq!(Metadata::answer(&info, u32::MAX), Metadata::Reject(u32::MAX));
        assert_eq!(Metadata::decode(&Bytes::from_static(b"d8:msg_typei7e5:piecei0ee")), None);
        assert_eq!(Metadata::decode(&Bytes::from_static(b"d8:msg_typei0e5:piecei-1ee")), None);
    }

    #[test]
    fn peers_go_out_and_come_in() {
        let peers: Vec<SocketAddr> =
            ["203.0.113.5:6881", "[2001:db8::1]:51413"].map(|peer| peer.parse().unwrap()).into();
        assert_eq!(pex_peers(&pex(&peers, &peers)), peers);
        assert!(pex_peers(b"d5:added3:abce").is_empty());
        let many = vec![peers[0]; 5_000];
        assert_eq!(pex_peers(&pex(&many, &[])).len(), MAX_PEX_PEERS);
    }

    proptest! {
        #[test]
        fn takes_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = (Hello::decode(&bytes), pex_peers(&bytes), Metadata::decode(&bytes.into()));
        }
    }
}
