//! Swarms: seeding out of a store and downloading into it, through librqbit.
//!
//! librqbit's own DHT, local discovery, UPnP and persistence are off; peers come from whoever
//! calls, from trackers and from peer exchange. Its facts that shaped this file (version 9.1):
//! peers can be handed in only when a torrent is added; a magnet link is resolved before the
//! torrent exists and fails as soon as all its peers have failed, so that is tried again here;
//! idle peers are dropped after 10 s unless told otherwise; nothing is announced from a loopback
//! address unless the port is named.

use std::io::SeekFrom;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use librqbit::storage::StorageFactoryExt;
use librqbit::{
    AddTorrent, AddTorrentOptions, ConnectionOptions, ListenerOptions, ManagedTorrent,
    PeerConnectionOptions, Session, SessionOptions,
};

use tokio::io::AsyncSeek;

use crate::catalog::{Catalog, CatalogError};
use crate::id::{BlockId, InfoHash};
use crate::store::{BlockStore, StoreError};

use super::metainfo::{Info, Metainfo, NotOff};
use super::storage::{Factory, Failure, Shared};

/// How long librqbit lets a peer be silent. Keep-alives come every two minutes.
const PEER_SILENCE: Duration = Duration::from_secs(150);

/// How long a connection may take to come about.
const PEER_CONNECT: Duration = Duration::from_secs(10);

/// The pause between two tries to get the metadata of a magnet link.
const RESOLVE_AGAIN: Duration = Duration::from_millis(500);

/// Free ports tried before giving up.
const PORT_TRIES: u32 = 3;

/// How often trackers are asked while a download has no peer.
const TRACKER_INTERVAL: Duration = Duration::from_secs(30);

/// Why a swarm did not work out.
#[derive(Debug, thiserror::Error)]
pub enum SwarmError {
    /// The port is taken, the address is not ours, or the system lacks something (librqbit wants
    /// CA certificates, though no tracker may use TLS).
    #[error("cannot start BitTorrent on {address}: {why}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        why: String,
    },
    /// The swarm carries something else.
    #[error("the swarm {infohash} is of no use")]
    NotOff {
        /// The swarm.
        infohash: InfoHash,
        /// What is wrong with it.
        source: NotOff,
    },
    /// A block that came could not be kept.
    #[error("cannot keep a downloaded block")]
    Store(#[from] StoreError),
    /// What came could not be remembered.
    #[error("cannot keep the state of a download")]
    Catalog(#[from] CatalogError),
    /// Blocks of a torrent to be seeded are missing or damaged.
    #[error("cannot seed {infohash}: {missing} of {blocks} blocks are missing or damaged")]
    Incomplete {
        /// The torrent.
        infohash: InfoHash,
        /// Blocks that are not whole.
        missing: u64,
        /// All its blocks.
        blocks: u64,
    },
    /// librqbit gave up.
    #[error("the swarm {infohash} failed: {why}")]
    Session {
        /// The swarm.
        infohash: InfoHash,
        /// What librqbit said.
        why: String,
    },
}

/// All swarms this program takes part in.
pub struct Swarms {
    session: Arc<Session>,
    store: Arc<dyn BlockStore>,
    catalog: Arc<Catalog>,
    listen: SocketAddr,
}

impl std::fmt::Debug for Swarms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Swarms").field("listen", &self.listen).finish_non_exhaustive()
    }
}

/// What to download.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The swarm.
    pub infohash: InfoHash,
    /// Its info dict, if it is known; else it is asked of the peers.
    pub info: Option<Info>,
    /// Whom to ask.
    pub peers: Vec<SocketAddr>,
    /// Whom to ask for peers.
    pub trackers: Vec<String>,
    /// The most blocks that make sense.
    pub max_blocks: u64,
    /// What the first block must be.
    pub first: Option<BlockId>,
    /// Blocks whose place is known: number in the torrent, and id.
    pub known: Vec<(u64, BlockId)>,
}

/// A look at a swarm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SwarmStatus {
    /// Blocks of the torrent; 0 while its metadata is being looked for.
    pub blocks: u64,
    /// Blocks that are here.
    pub have: u64,
    /// Bytes received, good or bad.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
    /// Peers connected.
    pub peers: u64,
    /// Peers ever heard of.
    pub known_peers: u64,
}

impl Swarms {
    /// Opens the port for peers: `listen`, or any free port on all addresses.
    pub async fn start(
        store: Arc<dyn BlockStore>,
        catalog: Arc<Catalog>,
        listen: Option<SocketAddr>,
    ) -> Result<Self, SwarmError> {
        let mut tries =
            if listen.is_none_or(|address| address.port() == 0) { PORT_TRIES } else { 1 };
        loop {
            // Between the choice of a free port and its use somebody else may take it.
            let port = free_port(listen)?;
            tries -= 1;
            match Self::on(Arc::clone(&store), Arc::clone(&catalog), port).await {
                Err(error) if tries == 0 => return Err(error),
                Err(error) => tracing::debug!("trying another port: {error}"),
                started => return started,
            }
        }
    }

    async fn on(
        store: Arc<dyn BlockStore>,
        catalog: Arc<Catalog>,
        listen: SocketAddr,
    ) -> Result<Self, SwarmError> {
        let peer_opts = PeerConnectionOptions {
            connect_timeout: Some(PEER_CONNECT),
            read_write_timeout: Some(PEER_SILENCE),
            ..PeerConnectionOptions::default()
        };
        let options = SessionOptions {
            dht: None,
            persistence: None,
            disable_local_service_discovery: true,
            listen: Some(ListenerOptions {
                listen_addr: listen,
                announce_port: Some(listen.port()),
                ipv4_only: listen.is_ipv4(),
                ..ListenerOptions::default()
            }),
            connect: Some(ConnectionOptions {
                peer_opts: Some(peer_opts),
                ..ConnectionOptions::default()
            }),
            client_name_and_version: Some(concat!("offswarm ", env!("CARGO_PKG_VERSION")).into()),
            ipv4_only: listen.is_ipv4(),
            ..SessionOptions::default()
        };
        // The folder is never written to: every torrent brings its own storage.
        let session = Session::new_with_opts(std::env::temp_dir(), options)
            .await
            .map_err(|error| SwarmError::Listen { address: listen, why: format!("{error:#}") })?;
        Ok(Self { session, store, catalog, listen })
    }

    /// Where peers can reach us.
    #[must_use]
    pub const fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Seeds a torrent whose blocks are all in the store. When this returns, peers can connect.
    pub async fn seed(
        &self,
        metainfo: &Metainfo,
        order: &[BlockId],
        peers: Vec<SocketAddr>,
    ) -> Result<Swarm, SwarmError> {
        let wanted = Wanted {
            infohash: metainfo.info.infohash,
            info: Some(metainfo.info.clone()),
            peers,
            trackers: metainfo.trackers.clone(),
            max_blocks: order.len() as u64,
            first: order.first().copied(),
            known: (0..).zip(order.iter().copied()).collect(),
        };
        let swarm = self.join(wanted).await?;
        let initialized = swarm.torrent.wait_until_initialized().await;
        initialized.map_err(|error| swarm.failed(&error))?;
        let SwarmStatus { blocks, have, .. } = swarm.status();
        if have == blocks {
            return Ok(swarm);
        }
        let infohash = swarm.infohash();
        self.leave(swarm).await;
        Err(SwarmError::Incomplete { infohash, missing: blocks - have, blocks })
    }

    /// Joins a swarm to download what the store lacks. Without an info dict this waits until some
    /// peer has given it; dropping the future gives up.
    pub async fn join(&self, wanted: Wanted) -> Result<Swarm, SwarmError> {
        let infohash = wanted.infohash;
        loop {
            let shared = Arc::new(self.shared(&wanted)?);
            let factory = Factory(Arc::clone(&shared)).boxed();
            let options = AddTorrentOptions {
                overwrite: true,
                initial_peers: Some(wanted.peers.clone()),
                storage_factory: Some(factory),
                trackers: Some(wanted.trackers.clone()),
                force_tracker_interval: Some(TRACKER_INTERVAL),
                ..AddTorrentOptions::default()
            };
            let added = self.session.add_torrent(source(&wanted), Some(options)).await;
            let torrent = added.map(librqbit::AddTorrentResponse::into_handle);
            match torrent {
                Ok(Some(torrent)) => {
                    return Ok(Swarm {
                        torrent,
                        shared,
                        received_before: AtomicU64::new(0),
                        preference: tokio::sync::Mutex::new(None),
                    });
                }
                Ok(None) => return Err(failed(&shared, "no torrent came of it")),
                Err(error) if shared.failure.get().is_some() || wanted.info.is_some() => {
                    return Err(failed(&shared, &format!("{error:#}")));
                }
                Err(error) => {
                    tracing::debug!(%infohash, "no metadata yet: {error:#}");
                    tokio::time::sleep(RESOLVE_AGAIN).await;
                }
            }
        }
    }

    fn shared(&self, wanted: &Wanted) -> Result<Shared, SwarmError> {
        let mut known = self.catalog.download(wanted.infohash)?;
        known.extend(&wanted.known);
        Ok(Shared {
            store: Arc::clone(&self.store),
            catalog: Arc::clone(&self.catalog),
            infohash: wanted.infohash,
            max_blocks: wanted.max_blocks,
            first: wanted.first,
            known,
            info: OnceLock::new(),
            failure: OnceLock::new(),
            storage: OnceLock::new(),
        })
    }

    /// Leaves a swarm. What was downloaded stays in the store.
    pub async fn leave(&self, swarm: Swarm) {
        // What cannot be saved is fetched again some day; the blocks are not lost.
        if let Err(error) = swarm.shared.save() {
            tracing::warn!("saving the state of a download: {error:#}");
        }
        let id = swarm.torrent.id();
        if let Err(error) = self.session.delete(id.into(), false).await {
            tracing::warn!("leaving a swarm: {error:#}");
        }
    }

    /// Closes the port and ends all connections, in the background. (librqbit's own `stop` sleeps
    /// for a second in the hope that its tasks are done by then; nothing here depends on that.)
    pub fn stop(self) {
        self.session.cancellation_token().cancel();
    }
}

/// One swarm we are in.
pub struct Swarm {
    torrent: Arc<ManagedTorrent>,
    shared: Arc<Shared>,
    received_before: AtomicU64,
    /// A reader that reads nothing: where it stands, librqbit asks first.
    preference: tokio::sync::Mutex<Option<Preference>>,
}

/// What librqbit hands out as a stream of a file; its type has no name outside.
type Preference = Box<dyn SeekTo>;

/// Something that can be told to stand elsewhere.
trait SeekTo: Send {
    fn seek_to(&mut self, offset: u64) -> std::io::Result<()>;
}

impl<T: AsyncSeek + Send + Unpin> SeekTo for T {
    fn seek_to(&mut self, offset: u64) -> std::io::Result<()> {
        // librqbit only notes the position, so there is nothing to wait for.
        Pin::new(self).start_seek(SeekFrom::Start(offset))
    }
}

impl std::fmt::Debug for Swarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Swarm").field("infohash", &self.infohash()).finish_non_exhaustive()
    }
}

impl Swarm {
    /// Its name.
    #[must_use]
    pub fn infohash(&self) -> InfoHash {
        self.shared.infohash
    }

    /// Its info dict.
    #[must_use]
    pub fn info(&self) -> Option<&Info> {
        self.shared.info.get()
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> SwarmStatus {
        let stats = self.torrent.stats();
        let live = stats.live.as_ref().map(|live| &live.snapshot);
        let peers = live.map(|live| &live.peer_stats);
        let received = live.map_or(0, |live| live.fetched_bytes);
        // A torrent that is not live any more has no counters: the last ones stand.
        let received = self.received_before.fetch_max(received, Ordering::Relaxed).max(received);
        let block = crate::limits::BLOCK_LEN as u64;
        SwarmStatus {
            blocks: stats.total_bytes / block,
            have: stats.progress_bytes / block,
            received,
            sent: stats.uploaded_bytes,
            peers: peers.map_or(0, |peers| u64::from(peers.live)),
            known_peers: peers.map_or(0, |peers| u64::from(peers.seen)),
        }
    }

    /// Asks peers first for the block of this number and the 32 MiB behind it.
    pub async fn prefer(&self, block: u64) -> Result<(), SwarmError> {
        let mut preference = self.preference.lock().await;
        if preference.is_none() {
            let stream = Arc::clone(&self.torrent).stream(0).await;
            *preference = Some(Box::new(stream.map_err(|error| self.failed(&error))?));
        }
        let moved = preference
            .as_mut()
            .map(|reader| reader.seek_to(block * crate::limits::BLOCK_LEN as u64));
        moved.transpose().map(|_| ()).map_err(|error| self.failed(&error.into()))
    }

    /// Whether every block has come and been stored; an error if that cannot be any more.
    pub fn is_complete(&self) -> Result<bool, SwarmError> {
        if self.shared.failure.get().is_some() {
            return Err(failed(&self.shared, ""));
        }
        let stats = self.torrent.stats();
        match stats.error {
            Some(error) => Err(failed(&self.shared, &error)),
            None => Ok(stats.finished),
        }
    }

    fn failed(&self, error: &anyhow::Error) -> SwarmError {
        failed(&self.shared, &format!("{error:#}"))
    }
}

/// The cause as the storage saw it, else as librqbit put it.
fn failed(shared: &Shared, why: &str) -> SwarmError {
    let infohash = shared.infohash;
    match shared.failure.get() {
        Some(Failure::NotOff(source)) => SwarmError::NotOff { infohash, source: source.clone() },
        Some(failure) => {
            let cause = std::error::Error::source(failure).map(ToString::to_string);
            let why = format!("{failure}: {}", cause.unwrap_or_default());
            SwarmError::Session { infohash, why }
        }
        None => SwarmError::Session { infohash, why: why.to_owned() },
    }
}

fn source(wanted: &Wanted) -> AddTorrent<'static> {
    match &wanted.info {
        Some(info) => {
            let (trackers, web_seeds) = (wanted.trackers.clone(), Vec::new());
            let piece_layers = super::metainfo::PieceLayers::default();
            let metainfo =
                Metainfo { info: info.clone(), trackers, web_seeds, piece_layers, ids: None };
            AddTorrent::from_bytes(metainfo.encode())
        }
        None => {
            let magnet = super::magnet::Magnet {
                infohash: Some(wanted.infohash),
                trackers: wanted.trackers.clone(),
                ..super::magnet::Magnet::default()
            };
            AddTorrent::from_url(magnet.to_string())
        }
    }
}

/// Names a port, because librqbit does not say which one it got when asked for any.
fn free_port(listen: Option<SocketAddr>) -> Result<SocketAddr, SwarmError> {
    let any = |ip: IpAddr| SocketAddr::new(ip, 0);
    let tries = match listen {
        Some(address) => vec![address],
        None => vec![any(Ipv6Addr::UNSPECIFIED.into()), any(Ipv4Addr::UNSPECIFIED.into())],
    };
    let mut last = None;
    for address in tries {
        match TcpListener::bind(address).and_then(|socket| socket.local_addr()) {
            Ok(bound) => return Ok(bound),
            Err(error) => {
                last = Some(SwarmError::Listen { address, why: error.to_string() });
            }
        }
    }
    Err(last.unwrap_or_else(|| SwarmError::Listen {
        address: any(Ipv4Addr::UNSPECIFIED.into()),
        why: "no address".into(),
    }))
}
