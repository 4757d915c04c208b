//! KRPC messages: datagrams to values and back.
//!
//! A message is one bencoded dictionary (BEP 5). What is understood:
//!
//! | key | where | what | source |
//! |---|---|---|---|
//! | `t` | top | transaction id of any length, echoed as it came | BEP 5 |
//! | `y`, `q`, `a`, `r`, `e` | top | kind, method, arguments, answer, error | BEP 5 |
//! | `v` | top | client and version | BEP 5 |
//! | `ip` | top | the asker's address as the answerer sees it | BEP 42 |
//! | `ro` | top | the asker answers nobody | BEP 43 |
//! | `id` | `a`, `r` | the sender's node id | BEP 5 |
//! | `target`, `info_hash` | `a` | what is looked for | BEP 5 |
//! | `want` | `a` | families of nodes that are wanted, `n4` and `n6` | BEP 32 |
//! | `port`, `implied_port`, `seed` | `a` | the peer that is announced | BEP 5, 33 |
//! | `token` | `a`, `r` | proves that the address is the asker's | BEP 5 |
//! | `nodes`, `nodes6`, `values` | `r` | compact nodes of each family, compact peers | BEP 5, 32 |
//! | `v`, `k`, `sig`, `seq`, `salt`, `cas` | `a`, `r` | an item | BEP 44 |
//! | `off` | `a`, `r` | the OFF extension, see [`native`](super::native) | |
//!
//! We send the token in other queries than BEP 5 has it in, too, to nodes of our kind: it shows
//! that our address is ours, and then the answer may be longer than the question.
//!
//! Every datagram is checked in one bounded pass first (see [`bencode`](crate::bencode)). A value
//! of a wrong type is as good as none; keys that are not understood are kept as they came. A query
//! that lacks what its method needs is told so (error 203), if its transaction id can be read.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub(super) use encode::{Fields, compact};

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::contact::{Contact, Family};
use super::native::{OffAnswer, OffQuery};
use crate::bencode::BencodeError;
use crate::id::{InfoHash, ItemKey, NodeId, Target};

/// Keys that are not understood, with their values in bencode.
pub type Extra = BTreeMap<Vec<u8>, Vec<u8>>;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Chosen by the asker, repeated in the answer.
    pub transaction: Vec<u8>,
    /// Query, answer or error.
    pub body: Body,
    /// The sender's program: usually two letters and two bytes.
    pub version: Option<Vec<u8>>,
    /// In answers: where the asker is, as the answerer sees it.
    pub ip: Option<SocketAddr>,
    /// In queries: the asker answers nobody, so it must not get into routing tables.
    pub read_only: bool,
    /// Whatever else stands at the top.
    pub extra: Extra,
}

/// What a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// It asks.
    Query(Box<Query>),
    /// It answers.
    Response(Box<Response>),
    /// It refuses.
    Error(KrpcError),
}

/// A query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The asker.
    pub id: NodeId,
    /// What it asks.
    pub method: Method,
    /// Which nodes it wants; empty is those of the family it asks over.
    pub want: Want,
    /// What the node that is asked gave it before.
    pub token: Option<Vec<u8>>,
    /// The OFF extension.
    pub off: Option<OffQuery>,
    /// Other arguments.
    pub extra: Extra,
}

impl Query {
    /// Whether seeds are of no use to the asker (`noseed`, BEP 33).
    #[must_use]
    pub fn wants_no_seeds(&self) -> bool {
        self.extra.get(&b"noseed"[..]).is_some_and(|value| value == b"i1e")
    }
}

/// What a query asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// Are you there?
    Ping,
    /// Which nodes do you know near this point?
    FindNode {
        /// The point.
        target: Target,
    },
    /// Which peers of this swarm do you know?
    GetPeers {
        /// The swarm.
        infohash: InfoHash,
    },
    /// I am a peer of this swarm.
    AnnouncePeer {
        /// The swarm.
        infohash: InfoHash,
        /// The TCP port.
        port: u16,
        /// The port is the one that this datagram came from.
        implied_port: bool,
        /// The peer has everything (BEP 33).
        seed: bool,
    },
    /// Which item is kept here? (BEP 44)
    Get {
        /// Its name.
        target: Target,
        /// Not if it is no newer than this.
        seq: Option<i64>,
    },
    /// Keep this item. (BEP 44)
    Put {
        /// The item, unchecked.
        item: RawItem,
        /// Only if what is kept has this number.
        cas: Option<i64>,
    },
    /// Which native nodes do you know near this point?
    OffFind {
        /// The point.
        target: Target,
    },
    /// Something else.
    Unknown {
        /// Its name.
        name: Vec<u8>,
        /// Its `target` or `info_hash`: whoever has one is answered as if it asked for nodes.
        target: Option<Target>,
    },
}

impl Method {
    /// Whether the answer has a place for nodes.
    #[must_use]
    pub const fn finds_nodes(&self) -> bool {
        matches!(
            self,
            Self::FindNode { .. } | Self::GetPeers { .. } | Self::Get { .. } | Self::OffFind { .. }
        )
    }

    /// Whether those whom we ask it answer it as long as they are there. Nodes that keep no items
    /// (aria2, Transmission, rTorrent) say nothing to a query about one, or that they do not know it.
    #[must_use]
    pub const fn is_common(&self) -> bool {
        !matches!(self, Self::Get { .. } | Self::Put { .. })
    }
}

/// Families of nodes that are wanted (BEP 32).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Want {
    /// `n4`.
    pub v4: bool,
    /// `n6`.
    pub v6: bool,
}

impl Want {
    /// Whether nodes of a family are wanted by who asks over another.
    #[must_use]
    pub fn includes(self, family: Family, asked_over: Family) -> bool {
        match family {
            _ if self == Self::default() => family == asked_over,
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The answerer.
    pub id: NodeId,
    /// IPv4 nodes, if the answer has a place for them.
    pub nodes: Option<Vec<Contact>>,
    /// IPv6 nodes, if the answer has a place for them.
    pub nodes6: Option<Vec<Contact>>,
    /// Peers.
    pub values: Vec<SocketAddr>,
    /// What an announce or put at this node has to show.
    pub token: Option<Vec<u8>>,
    /// An item, unchecked and without its salt; or its number only.
    pub item: Option<RawItem>,
    /// The OFF extension.
    pub off: Option<OffAnswer>,
    /// Whatever else it says.
    pub extra: Extra,
}

impl Response {
    /// The answer to a ping.
    #[must_use]
    pub const fn of(id: NodeId) -> Self {
        Self {
            id,
            nodes: None,
            nodes6: None,
            values: Vec::new(),
            token: None,
            item: None,
            off: None,
            extra: Extra::new(),
        }
    }

    /// All nodes it names.
    pub fn contacts(&self) -> impl Iterator<Item = Contact> + '_ {
        self.nodes.iter().chain(&self.nodes6).flatten().copied()
    }

    /// The nodes of a family.
    pub const fn nodes_of(&mut self, family: Family) -> &mut Option<Vec<Contact>> {
        match family {
            Family::V4 => &mut self.nodes,
            Family::V6 => &mut self.nodes6,
        }
    }
}

/// An item as it stands in a message; nothing about it has been checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawItem {
    /// The value, in bencode.
    pub value: Option<Vec<u8>>,
    /// The public key of a mutable item.
    pub key: Option<ItemKey>,
    /// Its signature.
    pub signature: Option<[u8; 64]>,
    /// Its salt, in a put only.
    pub salt: Vec<u8>,
    /// Its number.
    pub seq: Option<i64>,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("error {code}: {message}")]
pub struct KrpcError {
    /// 201 to 207 and 301, 302 (BEP 5, BEP 44).
    pub code: i64,
    /// What it says, cut and harmless to a terminal.
    pub message: String,
}

impl KrpcError {
    /// The query lacks something, or its token is not good.
    pub const PROTOCOL: i64 = 203;
    /// Nobody here knows this method.
    pub const UNKNOWN_METHOD: i64 = 204;

    /// A refusal with these words.
    #[must_use]
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Why a datagram is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not bencode.
    #[error("not a KRPC message")]
    Bencode(#[from] BencodeError),
    /// Bencode of another form.
    #[error("not a KRPC message: {0}")]
    Form(&'static str),
    /// A query that lacks what it needs; its sender is told so.
    #[error("a query without {lacks}")]
    Query {
        /// What the answer must repeat.
        transaction: Vec<u8>,
        /// What is missing.
        lacks: &'static str,
    },
}
