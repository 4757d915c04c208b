//! The OFF extension: what native nodes tell each other within ordinary KRPC messages.
//!
//! Every query may carry one more argument, which nodes of other kinds pass over:
//!
//! ```text
//! off = d [3:ids <32 bytes each, at most 24>] 1:p i<TCP port>e 1:v i1e e
//! ```
//!
//! A native node answers as it would without it, and adds
//!
//! ```text
//! off = d [1:c i1e] [4:have <one bit for each id, the first is the highest>]
//!         [2:on <compact native nodes, IPv4>] [3:on6 <the same, IPv6>] 1:p i<TCP port>e 1:v i1e e
//! ```
//!
//! `p` is the port where the sender speaks the native peer protocol, 0 if it does not. `c` says that
//! the answer was cut, because it must not be longer than the question before the asker has shown
//! a token: who wants the rest asks again with the token of this answer. A bit of `have` is not a
//! promise: blocks are evicted.
//!
//! `off_find` is a query of our own with `target`, answered like `find_node` with native nodes only.
//! It goes to native nodes only: others ignore it, answer error 204, or take it for `find_node`.

use std::net::SocketAddr;

use super::contact::{Contact, Family};
use super::message::{Fields, compact};
use crate::bencode::Dict;
use crate::id::BlockId;
use crate::limits::dht::{MAX_ASKED_IDS, MAX_GOSSIP};

/// The version of the extension that we speak. Others may add keys to it, not change them.
pub const VERSION: u8 = 1;

/// What a native node adds to a query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OffQuery {
    /// Blocks it asks about, at most 24.
    pub ids: Vec<BlockId>,
    /// Where it speaks the native peer protocol over TCP; 0 is nowhere.
    pub port: u16,
}

/// What a native node adds to an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OffAnswer {
    /// Whether the answer would have been longer.
    pub cut: bool,
    /// Which of the blocks it was asked about it has: one bit each, the first is the highest.
    pub have: Vec<u8>,
    /// Native nodes it knows.
    pub on: Vec<Contact>,
    /// Where it speaks the native peer protocol over TCP; 0 is nowhere.
    pub port: u16,
}

impl OffQuery {
    /// Reads it; `None` if it is none of a version that is understood.
    #[must_use]
    pub fn from_dict(off: &Dict<'_>) -> Option<Self> {
        let ids = off.string("ids").unwrap_or_default().as_chunks().0.iter();
        let ids = ids.take(MAX_ASKED_IDS).map(|id| BlockId::from_bytes(*id));
        Some(Self { port: port(off)?, ids: ids.collect() })
    }

    /// Writes it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut off = head(self.port);
        if !self.ids.is_empty() {
            let ids: Vec<u8> = self.ids.iter().flat_map(|id| *id.as_bytes()).collect();
            off.string("ids", ids);
        }
        off.encode()
    }
}

impl OffAnswer {
    /// Reads it; `None` if it is none of a version that is understood.
    #[must_use]
    pub fn from_dict(off: &Dict<'_>) -> Option<Self> {
        let on = |key, family| Contact::all_from(off.string(key).unwrap_or_default(), family);
        let on =
            on("on", Family::V4).take(MAX_GOSSIP).chain(on("on6", Family::V6).take(MAX_GOSSIP));
        let have = off.string("have").unwrap_or_default();
        Some(Self {
            port: port(off)?,
            cut: off.integer("c") == Some(1),
            have: have.get(..MAX_ASKED_IDS.div_ceil(8)).unwrap_or(have).to_vec(),
            on: on.collect(),
        })
    }

    /// Writes it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut off = head(self.port);
        if self.cut {
            off.integer("c", 1);
        }
        if !self.have.is_empty() {
            off.string("have", &self.have);
        }
        for (key, family) in [("on", Family::V4), ("on6", Family::V6)] {
            let is_of = |contact: &&Contact| Family::of(&contact.address) == family;
            let on: Vec<Contact> = self.on.iter().filter(is_of).copied().collect();
            if !on.is_empty() {
                off.string(key, compact(&on));
            }
        }
        off.encode()
    }

    /// Whether it says that it has the block of this number in the question.
    #[must_use]
    pub fn has(&self, number: usize) -> bool {
        let byte = self.have.get(number / 8).copied().unwrap_or(0);
        byte & (0x80 >> (number % 8)) != 0
    }
}

/// Bits for blocks in the order of the question.
pub fn have_bits(has: impl Iterator<Item = bool>) -> Vec<u8> {
    let mut bits = Vec::new();
    for (number, has) in has.enumerate() {
        if number % 8 == 0 {
            bits.push(0);
        }
        if let (true, Some(byte)) = (has, bits.last_mut()) {
            *byte |= 0x80 >> (number % 8);
        }
    }
    bits
}

/// A native node that was heard of: where it answers KRPC, and where it speaks the peer protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NativeNode {
    /// Over UDP.
    pub contact: Contact,
    /// Over TCP.
    pub peer: Option<SocketAddr>,
}

fn head(port: u16) -> Fields {
    let mut off = Fields::default();
    off.integer("p", port);
    off.integer("v", VERSION);
    off
}

fn port(off: &Dict<'_>) -> Option<u16> {
    let spoken = off.integer("v").is_some_and(|version| version >= i64::from(VERSION));
    let port = off.integer("p").and_then(|port| u16::try_from(port).ok());
    spoken.then_some(port.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(address: &str) -> Contact {
        Contact { id: crate::id::NodeId::from_bytes([9; 20]), address: address.parse().unwrap() }
    }

    #[test]
    fn looks_as_described() {
        let query = OffQuery { ids: vec![BlockId::from_bytes([b'a'; 32])], port: 6881 };
        let ids = "a".repeat(32);
        assert_eq!(query.encode(), format!("d3:ids32:{ids}1:pi6881e1:vi1ee").into_bytes());
        let answer = OffAnswer { cut: true, have: vec![0x80], on: Vec::new(), port: 0 };
        assert_eq!(answer.encode(), b"d1:ci1e4:have1:\x801:pi0e1:vi1ee");
    }

    #[test]
    fn gives_itself_back() {
        let on = vec![contact("203.0.113.5:6881"), contact("[2001:db8::5]:6881")];
        let answer =
            OffAnswer { cut: false, have: have_bits([true, false, true].into_iter()), on, port: 7 };
        let bytes = answer.encode();
        assert_eq!(OffAnswer::from_dict(&Dict::check(&bytes).unwrap()), Some(answer.clone()));
        assert_eq!([0, 1, 2, 3, 99].map(|n| answer.has(n)), [true, false, true, false, false]);
    }

    #[test]
    fn takes_no_more_than_there_may_be_and_nothing_of_older_versions() {
        let query = OffQuery { ids: vec![BlockId::from_bytes([1; 32]); 40], port: 1 };
        let bytes = query.encode();
        let read = OffQuery::from_dict(&Dict::check(&bytes).unwrap()).unwrap();
        assert_eq!(read.ids.len(), MAX_ASKED_IDS);
        for bad in [&b"d1:pi1ee"[..], b"d1:pi1e1:vi0ee", b"de"] {
            assert_eq!(OffQuery::from_dict(&Dict::check(bad).unwrap()), None);
        }
        let odd = b"d4:havele2:oni3e1:pi99999e1:vi2ee";
        assert_eq!(OffAnswer::from_dict(&Dict::check(odd).unwrap()), Some(OffAnswer::default()));
    }
}
