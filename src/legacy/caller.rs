//! One call over the network: a connection, a request, an answer.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::id::LegacyId;
use crate::limits::legacy::{LEGACY_ANSWER_TIME, LEGACY_CALL_TIME, MAX_LEGACY_ANSWER_LEN};

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
    /// A node that others can call, and that asks for something. js-offs breaks off the calls of nodes
    /// for which its table has no place; so it is as a guest, but for where others are dialled.
    Visitor(Ourselves),
    /// A node that others can call.
    Node(Ourselves),
}

impl Identity {
    /// As whom blocks are asked for: the introduction is the business of [`upkeep`](super::upkeep).
    #[must_use]
    pub const fn visiting(self) -> Self {
        match self {
            Self::Node(ourselves) => Self::Visitor(ourselves),
            other => other,
        }
    }

    /// Ourselves, if others can call us.
    #[must_use]
    pub const fn node(&self) -> Option<&Ourselves> {
        match self {
            Self::Guest => None,
            Self::Visitor(ourselves) | Self::Node(ourselves) => Some(ourselves),
        }
    }
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
    let external = identity.node().and_then(|ourselves| ourselves.external);
    let ours = external.map(|external| external.ip());
    let address = node.address(ours);
    let asked = in_time(LEGACY_CALL_TIME, address, ask(node, address, identity, call));
    let (mut stream, number) = asked.await?;
    let bytes = read_answer(&mut stream, address);
    let bytes = in_time(LEGACY_ANSWER_TIME, address, bytes).await?;
    if bytes.is_empty() {
        return Err(CallError::Closed { address });
    }
    let received = bytes.len() as u64;
    let wrong = |source| CallError::Message { address, source };
    let response = Response::decode(bytes, call).map_err(wrong)?;
    if response.number != number {
        return Err(wrong(MessageError::OtherCall));
    }
    Ok(Answered { answer: response.answer, received })
}

async fn in_time<T>(
    patience: Duration,
    address: SocketAddr,
    step: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    timeout(patience, step).await.unwrap_or(Err(CallError::Silent { address, patience }))
}

/// Connects and sends the request: the connection, and the number of the call.
async fn ask(
    node: &LegacyPeer,
    address: SocketAddr,
    identity: &Identity,
    call: &Call,
) -> Result<(TcpStream, Bytes), CallError> {
    let failed = |attempt| move |source| CallError::Io { attempt, address, source };
    let mut stream = TcpStream::connect(address).await.map_err(failed("connect to"))?;
    // What is written at once goes at once.
    stream.set_nodelay(true).map_err(failed("connect to"))?;
    let from = match identity {
        Identity::Guest | Identity::Visitor(_) => *node,
        Identity::Node(ourselves) => {
            ourselves.seen_at(stream.local_addr().map_err(failed("connect to"))?)
        }
    };
    let number: [u8; 2] = rand::random();
    let request = Request::new(from, Bytes::copy_from_slice(&number), call.clone());
    stream.write_all(&request.encode()).await.map_err(failed("call"))?;
    stream.shutdown().await.map_err(failed("call"))?;
    Ok((stream, request.number))
}

/// Reads to the end. Several answers share a line, so what comes slowly is waited for as long as it
/// comes.
async fn read_answer(
    stream: &mut (impl AsyncRead + Unpin),
    address: SocketAddr,
) -> Result<Bytes, CallError> {
    let mut bytes = BytesMut::new();
    loop {
        bytes.reserve(READ_LEN);
        let read = async {
            let read = stream.read_buf(&mut bytes).await;
            read.map_err(|source| CallError::Io { attempt: "read from", address, source })
        };
        if in_time(LEGACY_CALL_TIME, address, read).await? == 0 {
            return Ok(bytes.freeze());
        }
        if bytes.len() > MAX_LEGACY_ANSWER_LEN {
            return Err(CallError::TooLong { address });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes when somebody sends so many bytes, a thousand each second.
    async fn slowly(seconds: usize, pause: Duration) -> Result<Bytes, CallError> {
        let (mut theirs, mut ours) = tokio::io::duplex(64 << 10);
        tokio::spawn(async move {
            for _ in 0..seconds {
                tokio::time::sleep(pause).await;
                if theirs.write_all(&[7; 1_000]).await.is_err() {
                    return;
                }
            }
        });
        let address = ([203, 0, 113, 5], 8200).into();
        in_time(LEGACY_ANSWER_TIME, address, read_answer(&mut ours, address)).await
    }

    /// Eight large blocks at a time over a line of 64 kB/s take 16 s: the node seemed silent.
    #[tokio::test(start_paused = true)]
    async fn an_answer_that_comes_slowly_is_waited_for_but_not_for_ever() {
        let second = Duration::from_secs(1);
        assert_eq!(slowly(20, second).await.unwrap().len(), 20_000);
        assert!(matches!(slowly(200, second).await, Err(CallError::Silent { .. })));
        let stalled = slowly(2, LEGACY_CALL_TIME + second).await;
        assert!(matches!(stalled, Err(CallError::Silent { patience: LEGACY_CALL_TIME, .. })));
    }
}
