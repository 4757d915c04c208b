//! What a node is told, and what it tells.

use std::net::SocketAddr;

use crate::id::{BlockId, InfoHash, NodeId, Target};
use crate::krpc::contact::{Contact, Family};
use crate::krpc::item::Item;
use crate::krpc::message::KrpcError;
use crate::krpc::native::NativeNode;

/// What a node is to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Families it has a socket for.
    pub families: Vec<Family>,
    /// It asks and answers nobody (BEP 43).
    pub read_only: bool,
    /// Where we speak the native peer protocol over TCP; 0 is nowhere.
    pub native_port: u16,
    /// Nodes to begin with.
    pub bootstrap: Vec<SocketAddr>,
    /// The ids we had, and the nodes we knew.
    pub saved: Vec<Saved>,
}

/// What is remembered of a network from one start to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The network.
    pub family: Family,
    /// Our id in it.
    pub id: NodeId,
    /// The nodes that answered us.
    pub contacts: Vec<Contact>,
}

/// Which blocks are here, for native nodes that ask. It is called for at most 24 ids a query, and
/// must not wait.
pub trait Holdings {
    /// Whether a block is here.
    fn has(&self, id: &BlockId) -> bool;
}

/// No blocks.
#[derive(Debug, Clone, Copy)]
pub struct Nothing;

impl Holdings for Nothing {
    fn has(&self, _: &BlockId) -> bool {
        false
    }
}

/// Names what was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub(super) u64);

/// What can be begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aim {
    /// Find the nodes closest to a point.
    Nodes(Target),
    /// Find peers of a swarm, and ask native nodes on the way which of these blocks they have.
    Peers {
        /// The swarm.
        infohash: InfoHash,
        /// At most 24.
        ids: Vec<BlockId>,
    },
    /// Become known as a peer of a swarm, and find the others.
    Announce {
        /// The swarm.
        infohash: InfoHash,
        /// Our TCP port.
        port: u16,
        /// We have everything.
        seed: bool,
    },
    /// Find an item.
    Item {
        /// Its name.
        target: Target,
        /// The salt that a mutable one is signed with.
        salt: Vec<u8>,
    },
    /// Have an item kept.
    Put {
        /// The item.
        item: Item,
        /// Only where an item of this number is kept.
        cas: Option<i64>,
    },
    /// Find native nodes near a point among native nodes.
    Natives(Target),
}

/// What came of something that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A node told of peers.
    Peers {
        /// What this is about.
        task: TaskId,
        /// Who told of them.
        from: Contact,
        /// The peers, filtered as strangers' word.
        peers: Vec<SocketAddr>,
        /// Answers on the way to this one, itself included.
        hops: u32,
    },
    /// A node gave an item that is what it should be.
    Item {
        /// What this is about.
        task: TaskId,
        /// The item.
        item: Item,
    },
    /// A native node answered.
    Native {
        /// What this is about.
        task: TaskId,
        /// The node.
        node: NativeNode,
        /// Which of the blocks it has that were asked about; empty if it did not say.
        have: Vec<bool>,
    },
    /// A ping was answered, or not.
    Pong {
        /// What this is about.
        task: TaskId,
        /// Who is there.
        answer: Option<Pong>,
    },
    /// It is over.
    Done {
        /// What this is about.
        task: TaskId,
        /// How it went.
        outcome: Outcome,
    },
}

/// Who answered a ping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pong {
    /// The node.
    pub contact: Contact,
    /// Its program, as it says.
    pub version: Option<Vec<u8>>,
    /// How long the answer took.
    pub after: std::time::Duration,
    /// Where it says that we are.
    pub ip: Option<SocketAddr>,
    /// Where it speaks the native peer protocol, if it is native.
    pub native: Option<u16>,
}

/// How a task went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The closest nodes that answered.
    pub closest: Vec<Contact>,
    /// Queries sent.
    pub asked: u32,
    /// Nodes that answered.
    pub answered: u32,
    /// Nodes that took what was to be kept.
    pub stored: u32,
    /// What the first node said that refused.
    pub refused: Option<KrpcError>,
}

/// A datagram that is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// Its bytes.
    pub datagram: Vec<u8>,
}

/// What went over the wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams sent.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Datagrams received.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Datagrams that were dropped unread or unanswered, because of a rate.
    pub dropped: u64,
}
