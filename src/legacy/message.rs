//! Requests and answers, as protobuf messages (proto2).
//!
//! ```text
//! Rpc                1 type  2 from Peer  3 comType  4 id bytes  5 payload bytes?  6 status?
//! Peer               1 id bytes  2 extIp string  3 extPort int64  4 intIp string  5 intPort int64
//! FindNodeRequest    1 id bytes  2 count int64       FindNodeResponse   1 nodes Peer*
//! FindValueRequest   1 type  2 hash bytes  3 count   FindValueResponse  1 type  2 hash  3 data bytes?
//!                                                                       4 nodes Peer*
//! PingValueRequest   1 type  2 hash bytes            StoreRequest       1 type  2 value bytes
//! RandomRequest      1 type  2 filter bytes          RandomResponse     1 type  2 value bytes
//! PingStorageRequest 1 type                          PingStorageResponse 1 capacity float
//!
//! type     Ping 1, Find_Node 2, Find_Value 3, Store 4, Random 5, Ping_Value 6, Ping_Storage 7
//! comType  Response 1, Request 2        status  Success 1, Failure 2
//! class    Block 1, Mini 2, Nano 3 (the field `type` of payloads)
//! ```
//!
//! Fields are written in ascending order, and read in any order beside unknown ones. The id of a call is
//! 2 bytes in js-offs and echoed whatever it is. Decoding is by `prost`, which bounds depth and takes
//! bytes as slices of the message, so that nothing is allocated by a length that somebody declares.

mod wire;

use bytes::Bytes;
use prost::Message as _;

use crate::id::{BlockId, LegacyId};
use crate::limits::legacy::MAX_LEGACY_PEERS_TOLD;
use crate::off::BlockSize;

use super::peer::{LegacyPeer, address};

const REQUEST: i32 = 2;
const RESPONSE: i32 = 1;
const SUCCESS: i32 = 1;
const FAILURE: i32 = 2;

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// They are no protobuf message of that form.
    #[error("not a message: {0}")]
    Form(String),
    /// An id of another length than nodes have.
    #[error("the node id has {0} bytes instead of {len}", len = LegacyId::LEN)]
    NodeId(usize),
    /// An id of another length than blocks have.
    #[error("the block id has {0} bytes instead of {len}", len = BlockId::LEN)]
    BlockId(usize),
    /// A number that stands for nothing.
    #[error("{what} {number} is unknown")]
    Unknown {
        /// What the number is.
        what: &'static str,
        /// The number.
        number: i32,
    },
    /// Something that must be there is not.
    #[error("it has no {0}")]
    Without(&'static str),
    /// An answer to another call.
    #[error("it answers another call")]
    OtherCall,
}

impl From<prost::DecodeError> for MessageError {
    fn from(error: prost::DecodeError) -> Self {
        Self::Form(error.to_string())
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// Whether somebody is there.
    Ping,
    /// Peers close to an id.
    FindNode {
        /// The id.
        target: LegacyId,
        /// How many are wanted.
        count: usize,
    },
    /// A block, or peers that may have it.
    FindValue {
        /// The size of the block.
        size: BlockSize,
        /// Its id.
        id: BlockId,
        /// How many peers are wanted if it is not there.
        count: usize,
    },
    /// Keep a block.
    Store {
        /// The size that it is said to have.
        size: BlockSize,
        /// Its bytes.
        value: Bytes,
    },
    /// Any block that whoever asks does not have.
    Random {
        /// The size of the block.
        size: BlockSize,
        /// What whoever asks has, see [`Filter`](super::cuckoo::Filter).
        filter: Bytes,
    },
    /// Whether a block is there.
    PingValue {
        /// The size of the block.
        size: BlockSize,
        /// Its id.
        id: BlockId,
    },
    /// How full the place for blocks of some size is.
    PingStorage {
        /// The size.
        size: BlockSize,
    },
}

impl Call {
    const fn number(&self) -> i32 {
        match self {
            Self::Ping => 1,
            Self::FindNode { .. } => 2,
            Self::FindValue { .. } => 3,
            Self::Store { .. } => 4,
            Self::Random { .. } => 5,
            Self::PingValue { .. } => 6,
            Self::PingStorage { .. } => 7,
        }
    }

    /// Its name, as js-offs writes it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ping => "Ping",
            Self::FindNode { .. } => "Find_Node",
            Self::FindValue { .. } => "Find_Value",
            Self::Store { .. } => "Store",
            Self::Random { .. } => "Random",
            Self::PingValue { .. } => "Ping_Value",
            Self::PingStorage { .. } => "Ping_Storage",
        }
    }

    fn payload(&self) -> Option<Bytes> {
        let bytes = match self {
            Self::Ping => return None,
            Self::FindNode { target, count } => wire::FindNodeRequest {
                id: target.as_bytes().to_vec().into(),
                count: i64::try_from(*count).unwrap_or(i64::MAX),
            }
            .encode_to_vec(),
            Self::FindValue { size, id, count } => wire::FindValueRequest {
                class: class_of(*size),
                hash: id.as_bytes().to_vec().into(),
                count: i64::try_from(*count).unwrap_or(i64::MAX),
            }
            .encode_to_vec(),
            Self::Store { size, value: bytes } | Self::Random { size, filter: bytes } => {
                wire::ClassAndBytes { class: class_of(*size), bytes: bytes.clone() }.encode_to_vec()
            }
            Self::PingValue { size, id } => {
                wire::ClassAndBytes { class: class_of(*size), bytes: id.as_bytes().to_vec().into() }
                    .encode_to_vec()
            }
            Self::PingStorage { size } => {
                wire::PingStorageRequest { class: class_of(*size) }.encode_to_vec()
            }
        };
        Some(bytes.into())
    }

    fn decode(number: i32, payload: Option<Bytes>) -> Result<Self, MessageError> {
        let payload = || payload.ok_or(MessageError::Without("payload"));
        Ok(match number {
            1 => Self::Ping,
            2 => {
                let wire::FindNodeRequest { id, count } =
                    wire::FindNodeRequest::decode(payload()?)?;
                Self::FindNode { target: node_id(&id)?, count: bounded(count) }
            }
            3 => {
                let wire::FindValueRequest { class, hash, count } =
                    wire::FindValueRequest::decode(payload()?)?;
                let (size, id) = (size_of(class)?, block_id(&hash)?);
                Self::FindValue { size, id, count: bounded(count) }
            }
            4..=6 => {
                let wire::ClassAndBytes { class, bytes } = wire::ClassAndBytes::decode(payload()?)?;
                let size = size_of(class)?;
                match number {
                    4 => Self::Store { size, value: bytes },
                    5 => Self::Random { size, filter: bytes },
                    _ => Self::PingValue { size, id: block_id(&bytes)? },
                }
            }
            7 => {
                let wire::PingStorageRequest { class } =
                    wire::PingStorageRequest::decode(payload()?)?;
                Self::PingStorage { size: size_of(class)? }
            }
            number => return Err(MessageError::Unknown { what: "call", number }),
        })
    }
}

/// A call, by whom.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The id of whoever calls.
    pub caller: LegacyId,
    /// Whoever calls, if the addresses make sense.
    pub from: Option<LegacyPeer>,
    /// Number of the call, of any length.
    pub number: Bytes,
    /// What is asked.
    pub call: Call,
}

impl Request {
    /// A call of ours.
    #[must_use]
    pub fn new(from: LegacyPeer, number: Bytes, call: Call) -> Self {
        Self { caller: from.id, from: Some(from), number, call }
    }

    /// Reads a request.
    pub fn decode(bytes: Bytes) -> Result<Self, MessageError> {
        let wire::Rpc { kind, from, direction, id, payload, .. } = wire::Rpc::decode(bytes)?;
        if direction != REQUEST {
            return Err(MessageError::Unknown { what: "direction", number: direction });
        }
        let from = from.ok_or(MessageError::Without("sender"))?;
        let caller = node_id(&from.id)?;
        let call = Call::decode(kind, payload)?;
        Ok(Self { caller, from: peer_of(&from).ok(), number: id, call })
    }

    /// Writes it. A caller without addresses gets unspecified ones, which nobody dials.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let from = match &self.from {
            Some(from) => wire_of(from),
            None => wire::Peer { id: self.caller.as_bytes().to_vec().into(), ..<_>::default() },
        };
        let rpc = wire::Rpc {
            kind: self.call.number(),
            from: Some(from),
            direction: REQUEST,
            id: self.number.clone(),
            payload: self.call.payload(),
            status: None,
        };
        rpc.encode_to_vec().into()
    }
}

/// An answer without what it answers to.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Yes, and nothing else.
    Success,
    /// No, and nothing else.
    Failure,
    /// To `Find_Node`.
    Nodes(Vec<LegacyPeer>),
    /// To `Find_Value`: the block.
    Value {
        /// The size of the block.
        size: BlockSize,
        /// Its id.
        id: BlockId,
        /// What is said to be its bytes.
        data: Bytes,
    },
    /// To `Find_Value`: it is not there.
    Elsewhere {
        /// The size of the block.
        size: BlockSize,
        /// Its id.
        id: BlockId,
        /// Who may have it.
        nodes: Vec<LegacyPeer>,
    },
    /// To Random.
    Random {
        /// The size that the block is said to have.
        size: BlockSize,
        /// Its bytes.
        value: Bytes,
    },
    /// To `Ping_Storage`: percent.
    Capacity(f32),
}

/// An answer, to what, and by whom.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// Who answers. js-offs does not look at it, nor do we.
    pub from: Option<LegacyPeer>,
    /// Number of the call.
    pub number: Bytes,
    /// The answer.
    pub answer: Answer,
}

impl Response {
    /// Writes the answer to a call. It must be one to that call.
    #[must_use]
    pub fn encode(&self, call: &Call) -> Bytes {
        let payload = match &self.answer {
            Answer::Success | Answer::Failure => None,
            Answer::Nodes(nodes) => {
                let nodes = nodes.iter().map(wire_of).collect();
                Some(wire::FindNodeResponse { nodes }.encode_to_vec())
            }
            Answer::Value { size, id, data } => {
                Some(value_of(*size, id, Some(data.clone()), &[]).encode_to_vec())
            }
            Answer::Elsewhere { size, id, nodes } => {
                Some(value_of(*size, id, None, nodes).encode_to_vec())
            }
            Answer::Random { size, value } => {
                let class = class_of(*size);
                Some(wire::ClassAndBytes { class, bytes: value.clone() }.encode_to_vec())
            }
            Answer::Capacity(capacity) => {
                Some(wire::PingStorageResponse { capacity: *capacity }.encode_to_vec())
            }
        };
        let failed = matches!(self.answer, Answer::Failure | Answer::Elsewhere { .. });
        let rpc = wire::Rpc {
            kind: call.number(),
            from: self.from.as_ref().map(wire_of),
            direction: RESPONSE,
            id: self.number.clone(),
            payload: payload.map(Bytes::from),
            status: Some(if failed { FAILURE } else { SUCCESS }),
        };
        rpc.encode_to_vec().into()
    }

    /// Reads the answer to a call. Peers that make no sense are left out.
    pub fn decode(bytes: Bytes, call: &Call) -> Result<Self, MessageError> {
        let rpc = wire::Rpc::decode(bytes)?;
        if rpc.direction != RESPONSE {
            return Err(MessageError::Unknown { what: "direction", number: rpc.direction });
        }
        if rpc.kind != call.number() {
            return Err(MessageError::OtherCall);
        }
        let answer = answer_to(call, rpc.status, rpc.payload)?;
        let from = rpc.from.as_ref().and_then(|from| peer_of(from).ok());
        Ok(Self { from, number: rpc.id, answer })
    }
}

fn answer_to(
    call: &Call,
    status: Option<i32>,
    payload: Option<Bytes>,
) -> Result<Answer, MessageError> {
    let answer = match (call, payload) {
        (Call::FindNode { .. }, Some(payload)) => {
            Answer::Nodes(peers(&wire::FindNodeResponse::decode(payload)?.nodes))
        }
        (Call::FindValue { size, id, .. }, Some(payload)) => {
            let value = wire::FindValueResponse::decode(payload)?;
            if value.hash != id.as_bytes()[..] || size_of(value.class)? != *size {
                return Err(MessageError::OtherCall);
            }
            // Like js-offs: if there are bytes, it is a success.
            match value.data {
                Some(data) => Answer::Value { size: *size, id: *id, data },
                None => Answer::Elsewhere { size: *size, id: *id, nodes: peers(&value.nodes) },
            }
        }
        (Call::Random { .. }, Some(payload)) if status != Some(FAILURE) => {
            let wire::ClassAndBytes { class, bytes } = wire::ClassAndBytes::decode(payload)?;
            Answer::Random { size: size_of(class)?, value: bytes }
        }
        (Call::PingStorage { .. }, Some(payload)) => {
            Answer::Capacity(wire::PingStorageResponse::decode(payload)?.capacity)
        }
        _ if status == Some(FAILURE) => Answer::Failure,
        _ => Answer::Success,
    };
    Ok(answer)
}

fn value_of(
    size: BlockSize,
    id: &BlockId,
    data: Option<Bytes>,
    nodes: &[LegacyPeer],
) -> wire::FindValueResponse {
    let nodes = nodes.iter().map(wire_of).collect();
    wire::FindValueResponse {
        class: class_of(size),
        hash: id.as_bytes().to_vec().into(),
        data,
        nodes,
    }
}

/// The number of a class. Native blocks have none; nobody asks for them here.
const fn class_of(size: BlockSize) -> i32 {
    match size {
        BlockSize::Native => 0,
        BlockSize::LegacyBlock => 1,
        BlockSize::LegacyMini => 2,
        BlockSize::LegacyNano => 3,
    }
}

const fn size_of(class: i32) -> Result<BlockSize, MessageError> {
    match class {
        1 => Ok(BlockSize::LegacyBlock),
        2 => Ok(BlockSize::LegacyMini),
        3 => Ok(BlockSize::LegacyNano),
        number => Err(MessageError::Unknown { what: "class", number }),
    }
}

fn node_id(bytes: &[u8]) -> Result<LegacyId, MessageError> {
    LegacyId::from_slice(bytes).ok_or(MessageError::NodeId(bytes.len()))
}

fn block_id(bytes: &[u8]) -> Result<BlockId, MessageError> {
    BlockId::from_slice(bytes).ok_or(MessageError::BlockId(bytes.len()))
}

fn bounded(count: i64) -> usize {
    usize::try_from(count).unwrap_or(0).min(MAX_LEGACY_PEERS_TOLD)
}

fn peers(peers: &[wire::Peer]) -> Vec<LegacyPeer> {
    peers.iter().take(MAX_LEGACY_PEERS_TOLD).filter_map(|peer| peer_of(peer).ok()).collect()
}

fn peer_of(peer: &wire::Peer) -> Result<LegacyPeer, String> {
    let id = node_id(&peer.id).map_err(|error| error.to_string())?;
    let external = address(&peer.ext_ip, peer.ext_port.into())?;
    let internal = address(&peer.int_ip, peer.int_port.into())?;
    Ok(LegacyPeer { id, external, internal })
}

fn wire_of(peer: &LegacyPeer) -> wire::Peer {
    wire::Peer {
        id: peer.id.as_bytes().to_vec().into(),
        ext_ip: peer.external.ip().to_string(),
        ext_port: peer.external.port().into(),
        int_ip: peer.internal.ip().to_string(),
        int_port: peer.internal.port().into(),
    }
}

#[cfg(test)]
mod tests;
