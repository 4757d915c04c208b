//! A torrent that somebody speaks about: what its connections share.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::id::InfoHash;
use crate::limits::MAX_OUTBOX;

use super::bits::Bits;
use super::choker::Standing;
use super::content::{Content, Traffic, Verdict};
use super::exchange::{Exchange, Output};
use super::message::Message;
use super::picker::Key;
use super::pieces::Chunk;
use super::pool::Pool;

/// How long a connection is believed to be alive though nothing comes.
const SILENT: Duration = Duration::from_secs(10);

/// What a torrent and one of its connections, or web seeds, have in common.
#[derive(Debug)]
pub struct Link {
    /// Wakes whoever writes to it.
    pub(super) wake: Notify,
    /// Ends it.
    pub(super) cancel: CancellationToken,
    /// Where it comes from; `None` for a web seed.
    pub(super) remote: Option<SocketAddr>,
    /// Where it listens, as far as is known.
    pub(super) listens: Mutex<Option<SocketAddr>>,
    /// Its number for peer exchange; 0 if it does not want any.
    pub(super) pex: Mutex<u8>,
    /// Messages to it that are not about pieces.
    outbox: Mutex<VecDeque<Message>>,
    /// When something came from it last.
    heard: Mutex<Instant>,
    /// Who it says it is.
    pub(super) peer_id: [u8; 20],
}

impl Link {
    pub(super) fn new(remote: Option<SocketAddr>, peer_id: [u8; 20]) -> Self {
        Self {
            wake: Notify::new(),
            cancel: CancellationToken::new(),
            remote,
            listens: Mutex::default(),
            pex: Mutex::default(),
            outbox: Mutex::default(),
            heard: Mutex::new(Instant::now()),
            peer_id,
        }
    }

    /// A web seed's.
    #[must_use]
    pub fn web_seed() -> Self {
        Self::new(None, [0; 20])
    }

    /// Sends a message that is not about pieces. One that nobody reads is dropped.
    pub(super) fn say(&self, message: Message) {
        let mut outbox = locked(&self.outbox);
        if outbox.len() < MAX_OUTBOX {
            outbox.push_back(message);
        }
        drop(outbox);
        self.wake.notify_one();
    }

    /// Something has come from it.
    pub(super) fn hears(&self) {
        *locked(&self.heard) = Instant::now();
    }

    pub(super) fn said(&self) -> Option<Message> {
        locked(&self.outbox).pop_front()
    }

    /// Ends the connection or web seed.
    pub fn end(&self) {
        self.cancel.cancel();
    }

    /// Is over when the connection is to end.
    pub async fn ended(&self) {
        self.cancel.cancelled().await;
    }
}

/// A look at one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerStatus {
    /// Where it comes from.
    pub address: SocketAddr,
    /// How it stands.
    pub standing: Standing,
}

/// A torrent in use.
pub struct Live {
    infohash: InfoHash,
    content: OnceLock<Arc<dyn Content>>,
    exchange: Mutex<Option<Exchange>>,
    /// An info dict that came from a peer and hashes to the infohash.
    info: OnceLock<Bytes>,
    links: Mutex<BTreeMap<Key, Arc<Link>>>,
    /// Givers of chunks that are gone, so that they can still be found out.
    gone: Mutex<VecDeque<(Key, SocketAddr)>>,
    pub(super) pool: Mutex<Pool>,
    next_key: AtomicU64,
    /// Peers asking for the info dict right now.
    pub(super) asking: AtomicUsize,
    /// Who needs this although no peer may be there.
    pub(super) holders: AtomicUsize,
    /// Downloads that want pieces of it.
    pub downloads: AtomicUsize,
    received: AtomicU64,
    sent: AtomicU64,
    /// What of these the library was told.
    accounted: Mutex<Traffic>,
    failed: AtomicBool,
    /// Pieces have come, or something else that its owner may wait for.
    changed: Arc<Notify>,
    /// Addresses have come, or connections have ended.
    pub(super) peers_changed: Notify,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("infohash", &self.infohash).finish_non_exhaustive()
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Live {
    pub(super) fn new(infohash: InfoHash) -> Self {
        Self {
            infohash,
            content: OnceLock::new(),
            exchange: Mutex::default(),
            info: OnceLock::new(),
            links: Mutex::default(),
            gone: Mutex::default(),
            pool: Mutex::default(),
            next_key: AtomicU64::new(1),
            asking: AtomicUsize::new(0),
            holders: AtomicUsize::new(0),
            downloads: AtomicUsize::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            accounted: Mutex::default(),
            failed: AtomicBool::new(false),
            changed: Arc::default(),
            peers_changed: Notify::new(),
        }
    }

    /// Its name.
    #[must_use]
    pub const fn infohash(&self) -> InfoHash {
        self.infohash
    }

    /// Its content, once it is known.
    #[must_use]
    pub fn content(&self) -> Option<&Arc<dyn Content>> {
        self.content.get()
    }

    /// Says what it consists of; connections begin to exchange pieces. `slots` peers are served at
    /// a time. Reads the disk. Does nothing the second time.
    pub fn begin(&self, content: Arc<dyn Content>, slots: usize) {
        let mut exchange = locked(&self.exchange);
        if exchange.is_none() {
            let seed = rand::random();
            let slots = content.slots(slots);
            *exchange = Some(Exchange::new(content.pieces(), content.here(), slots, seed));
            let _ = self.content.set(content);
        }
        drop(exchange);
        locked(&self.links).values().for_each(|link| link.wake.notify_one());
    }

    /// Does something to the exchange of pieces, if it has begun, and wakes whom that concerns.
    pub fn with<T>(&self, act: impl FnOnce(&mut Exchange) -> T) -> Option<T> {
        let mut guard = locked(&self.exchange);
        let exchange = guard.as_mut()?;
        let outcome = act(exchange);
        let woken = exchange.take_woken();
        drop(guard);
        if !woken.is_empty() {
            let links = locked(&self.links);
            woken.iter().filter_map(|key| links.get(key)).for_each(|link| link.wake.notify_one());
        }
        Some(outcome)
    }

    /// What is to go out to a peer, a few at a time, and the chunk it waits for after that.
    pub(super) fn poll(&self, key: Key, most: usize) -> (Vec<Output>, Option<Chunk>) {
        let mut guard = locked(&self.exchange);
        let Some(exchange) = guard.as_mut() else { return (Vec::new(), None) };
        let outputs = std::iter::from_fn(|| exchange.poll(key)).take(most).collect();
        (outputs, exchange.awaited(key))
    }

    /// Enters a connection or web seed.
    pub fn attach(&self, link: Arc<Link>) -> Key {
        let key = self.next_key.fetch_add(1, Ordering::Relaxed);
        locked(&self.links).insert(key, link);
        key
    }

    /// A connection or web seed has ended.
    pub fn detach(&self, key: Key) {
        const MAX_GONE: usize = 4_096;
        self.with(|exchange| exchange.leave(key, Instant::now()));
        let link = locked(&self.links).remove(&key);
        if let Some(remote) = link.and_then(|link| link.remote) {
            let mut gone = locked(&self.gone);
            if gone.len() >= MAX_GONE {
                gone.pop_front();
            }
            gone.push_back((key, remote));
        }
        self.peers_changed.notify_one();
        self.changed.notify_waiters();
    }

    /// Whoever dialled us may be dialled when it is gone.
    pub(super) fn may_dial_again(&self, link: &Link, was_of_use: bool) {
        if let Some(listens) = *locked(&link.listens) {
            locked(&self.pool).ended(listens, was_of_use, Instant::now());
        }
    }

    /// Whether a peer is connected. A connection that has been silent is ended instead: the peer
    /// may have lost it without our knowing.
    pub(super) fn knows_peer(&self, peer_id: &[u8; 20]) -> bool {
        let links = locked(&self.links);
        let Some(link) = links.values().find(|link| link.peer_id == *peer_id) else { return false };
        let is_silent = locked(&link.heard).elapsed() > SILENT;
        if is_silent {
            link.end();
        }
        !is_silent
    }

    /// Connections, web seeds included.
    pub(super) fn links(&self) -> Vec<(Key, Arc<Link>)> {
        locked(&self.links).iter().map(|(key, link)| (*key, Arc::clone(link))).collect()
    }

    /// Connections, web seeds included.
    #[must_use]
    pub fn connections(&self) -> usize {
        locked(&self.links).len()
    }

    /// The peers that are connected.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerStatus> {
        let links = self.links();
        let standing = |key| self.with(|exchange| exchange.standing(key)).flatten();
        let status = |(key, link): (Key, Arc<Link>)| {
            Some(PeerStatus { address: link.remote?, standing: standing(key).unwrap_or_default() })
        };
        links.into_iter().filter_map(status).collect()
    }

    /// The peers that are connected, where they listen as far as that is known, and the pieces they
    /// have.
    #[must_use]
    pub fn holders(&self) -> Vec<(SocketAddr, Bits)> {
        let holder = |(key, link): (Key, Arc<Link>)| {
            let bits = self.with(|exchange| exchange.has_pieces(key).cloned()).flatten()?;
            Some((locked(&link.listens).or(link.remote)?, bits))
        };
        self.links().into_iter().filter_map(holder).collect()
    }

    /// Adds addresses to dial; `named` if it was the user who named them.
    pub fn add_peers(&self, peers: impl IntoIterator<Item = SocketAddr>, named: bool) {
        let (mut pool, now) = (locked(&self.pool), Instant::now());
        peers.into_iter().for_each(|peer| pool.add(peer, named, now));
        drop(pool);
        self.peers_changed.notify_one();
    }

    /// Addresses known.
    #[must_use]
    pub fn known_peers(&self) -> usize {
        locked(&self.pool).len()
    }

    /// Where the peers that are connected listen, as far as is known.
    pub(super) fn listening(&self) -> HashSet<SocketAddr> {
        locked(&self.links).values().filter_map(|link| *locked(&link.listens)).collect()
    }

    /// Waits for an info dict that hashes to the infohash.
    pub async fn info(&self) -> Bytes {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(info) = self.info.get() {
                return info.clone();
            }
            changed.await;
        }
    }

    /// Whether the info dict is still to be asked for.
    pub(super) fn wants_info(&self) -> bool {
        self.info.get().is_none() && self.content.get().is_none()
    }

    /// An info dict has come: whether it is the one.
    pub(super) fn supply_info(&self, info: Bytes) -> bool {
        let right = InfoHash::of(&info) == self.infohash;
        if right {
            let _ = self.info.set(info);
            self.changed.notify_waiters();
        }
        right
    }

    /// A piece has been checked. Gives the addresses of those who lied.
    pub(super) fn verdict(&self, piece: u32, verdict: Verdict) -> Vec<SocketAddr> {
        if verdict == Verdict::Failed {
            self.failed.store(true, Ordering::Release);
        }
        let right = verdict == Verdict::Right;
        let liars = self.with(|exchange| exchange.verdict(piece, right, Instant::now()));
        self.changed.notify_waiters();
        liars.unwrap_or_default().into_iter().filter_map(|key| self.unmask(key)).collect()
    }

    /// Ends a liar's connection: its address.
    fn unmask(&self, key: Key) -> Option<SocketAddr> {
        if let Some(link) = locked(&self.links).get(&key) {
            link.end();
            if let Some(listens) = *locked(&link.listens) {
                locked(&self.pool).ban(listens);
            }
            return link.remote;
        }
        locked(&self.gone).iter().find(|(other, _)| *other == key).map(|(_, remote)| *remote)
    }

    /// Whether it has failed; its content knows why.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// A download begins anew: what made another one fail may have been put right.
    pub fn retry(&self) {
        self.failed.store(false, Ordering::Release);
    }

    /// Is over when a piece comes, a connection ends, or the like, after this was called.
    pub fn changed(&self) -> impl Future<Output = ()> + Send + use<> {
        Arc::clone(&self.changed).notified_owned()
    }

    /// Counts bytes that were received.
    pub fn count_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn count_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes received and sent, of everything.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Traffic { received: read(&self.received), sent: read(&self.sent) }
    }

    /// Bytes moved since this was last asked.
    pub(super) fn unaccounted(&self) -> Traffic {
        let (now, mut before) = (self.traffic(), locked(&self.accounted));
        let Traffic { received, sent } = std::mem::replace(&mut *before, now);
        Traffic { received: now.received - received, sent: now.sent - sent }
    }
}
