//! The front: one TCP port for everything, and whom it lets in.
//!
//! The first 48 bytes of a connection name a torrent, or the [native protocol](super::native). A
//! torrent that is in use gets the connection; one that the [`Library`] knows is taken into use;
//! anything else is closed without an answer.
//! Nothing is held for a torrent without peers: it leaves use when the last one is gone.
//!
//! A stranger must have shaken hands within [`SHAKE`]; one address has at most
//! [`MAX_PER_ADDRESS`](crate::limits::MAX_PER_ADDRESS) connections (on this machine many programs share one), all together at most
//! `max_peers`. When that is reached, whoever has exchanged nothing for longest makes room.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::id::InfoHash;
use crate::limits::MAX_CHECKS;

use super::content::{Content, Library, Traffic, Verdict};
use super::door;
use super::exchange::Whole;
use super::handshake::PeerId;
use super::live::{Live, locked};
use super::native::natives::Natives;
use super::native::tender as native_tender;
use super::pool::Bans;
use super::rate::Rate;
use super::tender;

/// How long both handshakes may take together.
pub const SHAKE: Duration = Duration::from_secs(10);

/// What the front keeps to.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at most.
    pub max_peers: usize,
    /// Peers of one torrent served at a time.
    pub slots: usize,
    /// Bytes a second out; no limit if `None`.
    pub upload: Option<NonZeroU32>,
    /// Bytes a second in; no limit if `None`.
    pub download: Option<NonZeroU32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_peers: 200, slots: 8, upload: None, download: None }
    }
}

/// Our node of the DHT, as far as peers are concerned (BEP 5).
#[derive(Debug)]
pub struct DhtNode {
    /// Its UDP port, which is told to peers; one that answers nobody has none to tell.
    pub port: Option<u16>,
    /// Takes the nodes of peers.
    pub heard: mpsc::Sender<SocketAddr>,
}

/// What all connections share.
pub(super) struct Shared {
    pub(super) peer_id: PeerId,
    pub(super) port: u16,
    pub(super) limits: Limits,
    pub(super) upload: Rate,
    pub(super) download: Rate,
    /// Whether an address may be dialled that somebody at another one named.
    pub(super) may_dial: fn(SocketAddr, IpAddr) -> bool,
    /// Our node of the DHT.
    pub(super) dht: OnceLock<DhtNode>,
    /// The native peers, if their protocol is spoken here.
    pub(super) natives: OnceLock<Arc<Natives>>,
    library: Arc<dyn Library>,
    pub(super) lives: Mutex<HashMap<InfoHash, Arc<Live>>>,
    pub(super) bans: Mutex<Bans>,
    pub(super) per_address: Mutex<HashMap<IpAddr, usize>>,
    pub(super) places: Arc<Semaphore>,
    /// Pieces and blocks that may be checked now.
    pub(super) checks: Semaphore,
    /// Bytes moved by torrents that are not in use any more.
    past: Mutex<Traffic>,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

/// An open port and everything that came through it.
pub struct Front {
    shared: Arc<Shared>,
    listen: SocketAddr,
    /// Is cancelled when nobody is let in any more.
    accepting: CancellationToken,
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Front").field("listen", &self.listen).finish_non_exhaustive()
    }
}

impl Front {
    /// Serves what comes to a port, until it is dropped.
    pub fn serve(
        listener: TcpListener,
        library: Arc<dyn Library>,
        limits: Limits,
        may_dial: fn(SocketAddr, IpAddr) -> bool,
    ) -> std::io::Result<Self> {
        let listen = listener.local_addr()?;
        let shared = Arc::new(Shared {
            peer_id: peer_id(),
            port: listen.port(),
            limits,
            upload: Rate::new(limits.upload),
            download: Rate::new(limits.download),
            may_dial,
            dht: OnceLock::new(),
            natives: OnceLock::new(),
            library,
            lives: Mutex::default(),
            bans: Mutex::default(),
            per_address: Mutex::default(),
            places: Arc::new(Semaphore::new(limits.max_peers)),
            checks: Semaphore::new(MAX_CHECKS),
            past: Mutex::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let accepting = CancellationToken::new();
        let ends = accepting.clone().drop_guard();
        let accept = door::accept(listener, Arc::clone(&shared));
        shared.tasks.spawn(async move {
            let _ends = ends;
            accept.await;
        });
        Ok(Self { shared, listen, accepting })
    }

    /// The port.
    #[must_use]
    pub const fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Is over when nobody is let in any more.
    pub async fn ended(&self) {
        self.accepting.cancelled().await;
    }

    /// Lets nobody in any more, and ends all connections.
    pub fn close(&self) {
        self.shared.stop.cancel();
    }

    /// Who we say we are.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.shared.peer_id
    }

    /// Exchanges nodes of the DHT with peers from now on. Only the first call counts.
    pub fn join_dht(&self, node: DhtNode) {
        let _ = self.shared.dht.set(node);
    }

    /// Speaks the native protocol with whoever calls from now on, and with those that `natives` is
    /// told of. Only the first call counts.
    pub fn join_natives(&self, natives: &Arc<Natives>) {
        if self.shared.natives.set(Arc::clone(natives)).is_ok() {
            let tend = native_tender::tend(Arc::clone(natives), Arc::clone(&self.shared));
            self.shared.tasks.spawn(tend);
        }
    }

    /// Takes a torrent into use, and keeps it so until [`let_go`](Self::let_go).
    #[must_use]
    pub fn hold(&self, infohash: InfoHash) -> Arc<Live> {
        let live = self.shared.enter(infohash);
        live.holders.fetch_add(1, Ordering::AcqRel);
        live
    }

    /// Ends what [`hold`](Self::hold) began. Peers that are there are served on.
    pub fn let_go(&self, live: &Live) {
        live.holders.fetch_sub(1, Ordering::AcqRel);
        live.peers_changed.notify_one();
    }

    /// Begins to exchange the pieces of a torrent. Reads the disk.
    pub fn begin(&self, live: &Live, content: Arc<dyn Content>) {
        live.begin(content, self.shared.limits.slots);
    }

    /// The torrents in use.
    #[must_use]
    pub fn lives(&self) -> Vec<Arc<Live>> {
        self.shared.lives()
    }

    /// Bytes received and sent since the port was opened.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let past = *locked(&self.shared.past);
        let native = self.shared.natives.get().map(|natives| natives.traffic());
        let now = self.lives().into_iter().map(|live| live.traffic()).chain(native);
        now.fold(past, |all, one| Traffic {
            received: all.received + one.received,
            sent: all.sent + one.sent,
        })
    }

    /// Tells the library what has been moved since it was last told. It may write the disk.
    pub fn account(&self) {
        self.shared.account(&self.lives());
    }

    /// Checks a piece that came otherwise than through a connection.
    pub async fn check(&self, live: &Arc<Live>, whole: Whole) {
        self.shared.check(live, whole).await;
    }

    /// Waits until bytes of a download may pass.
    pub async fn pass(&self, bytes: usize) {
        self.shared.download.pass(bytes).await;
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

impl Shared {
    pub(super) fn lives(&self) -> Vec<Arc<Live>> {
        locked(&self.lives).values().cloned().collect()
    }

    /// The torrent in use by this name, which is new to it otherwise.
    fn enter(self: &Arc<Self>, infohash: InfoHash) -> Arc<Live> {
        let mut lives = locked(&self.lives);
        let live = lives.entry(infohash).or_insert_with(|| {
            let live = Arc::new(Live::new(infohash));
            self.tasks.spawn(tender::tend(Arc::clone(&live), Arc::clone(self)));
            live
        });
        Arc::clone(live)
    }

    /// Takes a torrent out of use if nobody needs it: whether it is out.
    pub(super) fn leave(&self, live: &Arc<Live>) -> bool {
        let mut lives = locked(&self.lives);
        let needed = live.holders.load(Ordering::Acquire) > 0 || live.connections() > 0;
        // The table, this task, and nobody who is just about to use it.
        let out = !needed && Arc::strong_count(live) <= 2;
        if out {
            lives.remove(&live.infohash());
            let (now, mut past) = (live.traffic(), locked(&self.past));
            past.received += now.received;
            past.sent += now.sent;
        }
        out
    }

    /// Tells the library what torrents have moved since it was last told. It may write the disk.
    pub(super) fn account(&self, lives: &[Arc<Live>]) {
        let moved = lives.iter().map(|live| (live.infohash(), live.unaccounted()));
        let moved: Vec<_> = moved.filter(|(_, one)| *one != Traffic::default()).collect();
        if !moved.is_empty() {
            self.library.account(&moved);
        }
    }

    /// A torrent in use, or one of the library.
    pub(super) async fn find(self: &Arc<Self>, infohash: InfoHash) -> Option<Arc<Live>> {
        if let Some(live) = locked(&self.lives).get(&infohash) {
            return Some(Arc::clone(live));
        }
        let shared = Arc::clone(self);
        let found = tokio::task::spawn_blocking(move || {
            let content = shared.library.find(infohash)?;
            let live = shared.enter(infohash);
            live.begin(content, shared.limits.slots);
            Some(live)
        });
        found.await.ok().flatten()
    }

    /// Checks a piece that has come; whoever lied about it is banned.
    pub(super) async fn check(self: &Arc<Self>, live: &Arc<Live>, (piece, parts): Whole) {
        let Some(content) = live.content().map(Arc::clone) else { return };
        // So many pieces wait for their check at most; then no more are read from the sockets.
        let Ok(permit) = self.checks.acquire().await else { return };
        permit.forget();
        let (shared, live) = (Arc::clone(self), Arc::clone(live));
        self.tasks.spawn(async move {
            let taken = tokio::task::spawn_blocking(move || content.take(piece, &parts)).await;
            shared.checks.add_permits(1);
            for liar in live.verdict(piece, taken.unwrap_or(Verdict::Failed)) {
                tracing::info!(%liar, "a peer gave wrong bytes; it is banned");
                shared.ban(liar);
            }
        });
    }

    /// Does not speak to a liar any more.
    pub(super) fn ban(&self, liar: SocketAddr) {
        locked(&self.bans).add(liar, Instant::now());
    }
}

/// `-OS0010-` and twelve random characters (BEP 20).
fn peer_id() -> PeerId {
    let mut id = *b"-OS0010-............";
    for place in id.iter_mut().skip(8) {
        *place = b'a' + rand::random_range(0..26);
    }
    id
}
