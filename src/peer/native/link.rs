//! What a native connection shares with the rest.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, OnceLock};
use std::time::Instant;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::id::BlockId;
use crate::peer::handshake::PeerId;
use crate::peer::live::locked;

use super::session::Session;

/// One connection.
#[derive(Debug)]
pub(in crate::peer) struct Link {
    pub(super) session: Mutex<Session>,
    /// Wakes whoever writes to it.
    pub(super) wake: Notify,
    /// Ends it.
    pub(in crate::peer) cancel: CancellationToken,
    pub(super) remote: SocketAddr,
    /// Whether we dialled it.
    pub(super) dialled: bool,
    /// Where it listens, as far as is known.
    pub(super) listens: Mutex<Option<SocketAddr>>,
    pub(super) peer_id: PeerId,
    /// Peers that it was told of.
    pub(super) told: Mutex<HashSet<SocketAddr>>,
    /// When blocks last went either way, or it came about.
    pub(super) busy: Mutex<Instant>,
    /// Bytes received from it.
    pub(super) received: AtomicU64,
    /// Bytes sent to it.
    pub(super) sent: AtomicU64,
    /// A block that it gave other bytes for.
    lie: OnceLock<BlockId>,
}

impl Link {
    pub(super) fn new(remote: SocketAddr, dialled: bool, peer_id: PeerId, now: Instant) -> Self {
        Self {
            session: Mutex::new(Session::new(now)),
            wake: Notify::new(),
            cancel: CancellationToken::new(),
            remote,
            dialled,
            listens: Mutex::new(dialled.then_some(remote)),
            peer_id,
            told: Mutex::default(),
            busy: Mutex::new(now),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            lie: OnceLock::new(),
        }
    }

    /// Does something to the session.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Session) -> T) -> T {
        act(&mut locked(&self.session))
    }

    /// Whether the other side has introduced itself.
    pub(super) fn is_greeted(&self) -> bool {
        self.with(|session| session.theirs().is_some())
    }

    /// Whether it has introduced itself and owes no answer.
    pub(super) fn is_heard(&self) -> bool {
        self.with(|session| session.theirs().is_some() && session.unanswered() == 0)
    }

    /// Whether neither side wants anything of the other.
    pub(super) fn is_idle(&self) -> bool {
        self.with(|session| session.owed() + session.unanswered() + session.to_serve() == 0)
    }

    /// Blocks go one way or the other.
    pub(super) fn is_used(&self) {
        *locked(&self.busy) = Instant::now();
    }

    /// It gave other bytes than this block: whether that is the first time.
    pub(super) fn lied(&self, id: BlockId) -> bool {
        let first = self.lie.set(id).is_ok();
        self.wake.notify_one();
        first
    }

    /// The block that it gave other bytes for, if it did.
    pub(super) fn liar(&self) -> Option<BlockId> {
        self.lie.get().copied()
    }

    /// Where the peer is known to be: where it listens, else where it called from.
    pub(super) fn address(&self) -> SocketAddr {
        locked(&self.listens).unwrap_or(self.remote)
    }
}
