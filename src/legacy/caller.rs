//! One call over the network: a connection, a request, an answer.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::id::LegacyId;
use crate::limits::legacy::{LEGACY_CALL_TIME, MAX_LEGACY_ANSWER_LEN};

use super::message::{Answer, Call, MessageError, Request, Response};
use super::peer::LegacyPeer;

/// Bytes read at once.
const READ_LEN: usize = 64 << 10;

/// Who we say that we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Identity {
    /// Somebody who only asks. Nobody can call us, so we take no place in anybody's table: as sender we
    /// name the node that we ask, which js-offs answers like anybody, and does not remember.
    #[default]
    Guest,
    /// A node that others can call.
    Node(Ourselves),
}

/// Our place in the legacy network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ourselves {
    /// Our id.
    pub id: LegacyId,
    /// The port that we listen on.
    pub port: u16,
    /// Where the world reaches us, if the user said so.
    pub external: Option<SocketAddr>,
}

impl Ourselves {
    /// Ourselves as somebody should know us who sees us at `local`.
    #[must_use]
    pub fn seen_at(&self, local: SocketAddr) -> LegacyPeer {
        let internal = SocketAddr::new(local.ip().to_canonical(), self.port);
        LegacyPeer { id: self.id, external: self.external.unwrap_or(internal), internal }
    }
}

/// Why a call had no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There was no connection, or it broke.
    #[error("cannot {attempt} the js-offs node at {address}")]
    Io {
        /// What was attempted, a verb.
        attempt: &'static str,
        /// Where it is.
        address: SocketAddr,
        /// Why it failed.
        source: io::Error,
    },
    /// Nothing came in time.
    #[error("the js-offs node at {address} did not answer within {} s", patience.as_secs())]
    Silent {
        /// Where it is.
        address: SocketAddr,
        /// How long it was waited for.
        patience: Duration,
    },
    /// The connection was closed instead.
    #[error("the js-offs node at {address} closed the connection without an answer")]
    Closed {
        /// Where it is.
        address: SocketAddr,
    },
    /// More bytes than any answer has.
    #[error("the js-offs node at {address} sent more than {MAX_LEGACY_ANSWER_LEN} bytes")]
    TooLong {
        /// Where it is.
        address: SocketAddr,
    },
    /// What came is no answer to the call.
    #[error("the js-offs node at {address} gave a wrong answer")]
    Message {
        /// Where it is.
        address: SocketAddr,
        /// What is wrong with it.
        source: MessageError,
    },
}

impl CallError {
    /// Whether something came that no node of this protocol says.
    #[must_use]
    pub const fn is_violation(&self) -> bool {
        matches!(self, Self::TooLong { .. } | Self::Message { .. })
    }
}

/// An answer, and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// The answer.
    pub answer: Answer,
    /// Bytes that came.
    pub received: u64,
}

/// Calls a node. Dropping the future gives up.
pub async fn call(
    node: &LegacyPeer,
    identity: &Identity,
    call: &Call,
) -> Result<Answered, CallError> {
    let ours = match identity {
        Identity::Guest => None,
        Identity::Node(ourselves) => ourselves.external.map(|external| external.ip()),
    };
    let address = node.address(ours);
    let patience = LEGACY_CALL_TIME;
    match timeout(patience, exchange(node, address, identity, call)).await {
        Ok(answered) => answered,
        Err(_) => Err(CallError::Silent { address, patience }),
    }
}

async fn exchange(
    node: &LegacyPeer,
    address: SocketAddr,
    identity: &Identity,
    call: &Call,
) -> Result<Answered, CallError> {
    let failed = |attempt| move |source| CallError::Io { attempt, address, source };
    let mut stream = TcpStream::connect(address).await.map_err(failed("connect to"))?;
    // What is written at once goes at once.
    stream.set_nodelay(true).map_err(failed("connect to"))?;
    let from = match identity {
        Identity::Guest => *node,
        Identity::Node(ourselves) => {
            ourselves.seen_at(stream.local_addr().map_err(failed("connect to"))?)
        }
    };
    let number: [u8; 2] = rand::random();
    let request = Request::new(from, Bytes::copy_from_slice(&number), call.clone());
    stream.write_all(&request.encode()).await.map_err(failed("call"))?;
    stream.shutdown().await.map_err(failed("call"))?;
    let bytes = read_answer(&mut stream, address).await?;
    if bytes.is_empty() {
        return Err(CallError::Closed { address });
    }
    let received = bytes.len() as u64;
    let wrong = |source| CallError::Message { address, source };
    let response = Response::decode(bytes, call).map_err(wrong)?;
    if response.number != request.number {
        return Err(wrong(MessageError::OtherCall));
    }
    Ok(Answered { answer: response.answer, received })
}

async fn read_answer(stream: &mut TcpStream, address: SocketAddr) -> Result<Bytes, CallError> {
    let mut bytes = BytesMut::new();
    loop {
        bytes.reserve(READ_LEN);
        let read = stream.read_buf(&mut bytes).await;
        let read =
            read.map_err(|source| CallError::Io { attempt: "read from", address, source })?;
        if read == 0 {
            return Ok(bytes.freeze());
        }
        if bytes.len() > MAX_LEGACY_ANSWER_LEN {
            return Err(CallError::TooLong { address });
        }
    }
}
