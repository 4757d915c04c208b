//! Swarms: seeding out of a store and downloading into it.
//!
//! One port for all of them (see [`front`](crate::peer::front)). A torrent of the library is
//! served to whoever asks for it; one that is joined has trackers, web seeds and peers to dial
//! besides, and wants what it is told to.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::address::may_dial_told;
use crate::catalog::Catalog;
use crate::id::{BlockId, InfoHash};
use crate::limits::MAX_PEX_PEERS;
use crate::off::Carriage;
use crate::peer::content::{Content, Library, Traffic};
use crate::peer::front::{Front, Limits};
use crate::peer::live::{Live, PeerStatus};
use crate::peer::native::natives::Natives;
use crate::peer::native::shelf::Shelf;
use crate::store::BlockStore;
use crate::torrent::metainfo::{Info, NotOff};

use super::announce::dht::{Announcer, say_all};
use super::announce::live::Progress;
use super::announce::mass::{Offers, Pace, announce_all};
use super::announce::{self, Identity};
use super::content::BlockContent;
use super::guard::{Guard, Origin};
use super::native::{NativeOptions, if_any};
use super::one::{Coming, Download, Held, failed, look, progress};
use super::rendezvous;
use super::tracker::Tracker;
use super::web;
use super::webseed::WebSeed;

pub use super::one::{Swarm, SwarmStatus};

/// How often trackers can learn how a torrent goes.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// How long goodbye may take: trackers are waited for two seconds at most.
const GOODBYE: Duration = Duration::from_secs(3);

/// Why a swarm did not work out.
#[derive(Debug, thiserror::Error)]
pub enum SwarmError {
    /// The port is taken or not ours.
    #[error("cannot listen for BitTorrent peers on {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// No HTTP client could be made.
    #[error("cannot make an HTTP client")]
    Http(#[from] reqwest::Error),
    /// The swarm carries something else.
    #[error("the swarm {infohash} is of no use")]
    NotOff {
        /// The swarm.
        infohash: InfoHash,
        /// What is wrong with it.
        source: NotOff,
    },
    /// A block that came could not be kept.
    #[error("cannot keep a downloaded block of the swarm {infohash}: {why}")]
    Keep {
        /// The swarm.
        infohash: InfoHash,
        /// What went wrong.
        why: String,
    },
    /// A torrent that is to be seeded is not known here.
    #[error("the torrent {0} is not known here")]
    Unknown(InfoHash),
    /// We are wrong: a task broke off.
    #[error("a task of the swarm {0} broke off")]
    Broken(InfoHash),
}

/// All swarms this program takes part in.
pub struct Swarms {
    front: Arc<Front>,
    pub(super) store: Arc<dyn BlockStore>,
    catalog: Arc<Catalog>,
    library: Arc<dyn Library>,
    guard: Guard,
    identity: Identity,
    pub(super) announcer: Option<Arc<Announcer>>,
    pub(super) natives: Arc<Natives>,
    pub(super) options: Options,
    stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl std::fmt::Debug for Swarms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Swarms").field("front", &self.front).finish_non_exhaustive()
    }
}

/// What a session of swarms keeps to.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where to listen for peers; any free port of all addresses by default.
    pub listen: Option<SocketAddr>,
    /// Peers and rates.
    pub limits: Limits,
    /// The DHT, if we take part in it.
    pub dht: Option<DhtOptions>,
    /// Native peers.
    pub native: NativeOptions,
    /// Somebody else answers for native peers and the DHT: see [`Swarms::tend_natives`] and
    /// [`Swarms::tend_dht`].
    pub tended: bool,
}

/// How we take part in the DHT.
#[derive(Debug, Clone, Default)]
pub struct DhtOptions {
    /// Nodes to begin with, `HOST:PORT`.
    pub bootstrap: Vec<String>,
    /// Where the nodes are kept that we know.
    pub state: Option<PathBuf>,
    /// We stay: others may ask us, and learn that we are native. Else we only ask.
    pub stays: bool,
}

/// Where peers and pieces of a torrent may come from besides whoever calls.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Peers to dial.
    pub peers: Vec<SocketAddr>,
    /// Trackers to announce to.
    pub trackers: Vec<Tracker>,
    /// HTTP servers that have the content file, and who named them.
    pub web_seeds: Vec<(String, Origin)>,
    /// The descriptor of the OFF URL that the torrent carries: who holds its blocks is looked for in
    /// the DHT, and if all of it is here, we are announced there.
    pub descriptor: Option<BlockId>,
}

/// What to download.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The swarm.
    pub infohash: InfoHash,
    /// Its info dict, if it is known; else it is asked of the peers.
    pub info: Option<Info>,
    /// Whom to ask.
    pub sources: Sources,
    /// How the torrent carries its blocks.
    pub carriage: Carriage,
    /// The most blocks that make sense.
    pub max_blocks: u64,
    /// What the first block must be.
    pub first: Option<BlockId>,
    /// Blocks whose place is known: number in the torrent, and id.
    pub known: Vec<(u64, BlockId)>,
}

impl Swarms {
    /// Opens the port for peers, who are served whatever `library` knows, and native ones what is on
    /// the `shelf`.
    pub async fn start(
        store: Arc<dyn BlockStore>,
        catalog: Arc<Catalog>,
        library: Arc<dyn Library>,
        shelf: Arc<dyn Shelf>,
        options: &Options,
    ) -> Result<Self, SwarmError> {
        let listener = listener(options.listen).await?;
        let front = Front::serve(listener, Arc::clone(&library), options.limits, may_dial_told);
        let address = options.listen.unwrap_or(ANY);
        let front = front.map_err(|source| SwarmError::Listen { address, source })?;
        let (peer_id, port) = (front.peer_id(), front.listen().port());
        let natives = Arc::new(Natives::new(shelf, options.limits.slots));
        natives.add_peers(options.native.peers.iter().copied(), true);
        front.join_natives(&natives);
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let dht = options.dht.as_ref();
        let announcer = dht.and_then(|dht| rendezvous::join(dht, front.listen(), &store));
        if let Some(announcer) = &announcer {
            tasks.spawn(rendezvous::share_nodes(announcer, &front, stop.child_token()));
        }
        let swarms = Self {
            front: Arc::new(front),
            options: options.clone(),
            store,
            catalog,
            library,
            guard: Guard::new()?,
            identity: Identity { peer_id, port, key: rand::random() },
            announcer,
            natives,
            stop,
            tasks,
        };
        if !options.tended {
            swarms.tasks.spawn(swarms.tend_natives(swarms.stop.child_token()));
        }
        Ok(swarms)
    }

    /// Is over when the port is not answered any more.
    pub async fn ended(&self) {
        self.front.ended().await;
    }

    /// Where peers can reach us.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.front.listen()
    }

    /// Bytes received and sent, of everything.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.front.traffic()
    }

    /// Has the library take note of what was moved since it last did.
    pub async fn account(&self) {
        let front = Arc::clone(&self.front);
        let _ = tokio::task::spawn_blocking(move || front.account()).await;
    }

    /// The torrents in use, and their peers.
    #[must_use]
    pub fn peers(&self) -> Vec<(InfoHash, Vec<PeerStatus>)> {
        self.front.lives().into_iter().map(|live| (live.infohash(), live.peers())).collect()
    }

    /// The torrents in use, and how each stands.
    #[must_use]
    pub fn statuses(&self) -> Vec<(InfoHash, SwarmStatus)> {
        self.front.lives().into_iter().map(|live| (live.infohash(), look(&live))).collect()
    }

    /// How a swarm stands that is being joined.
    #[must_use]
    pub fn status_of(&self, infohash: InfoHash) -> SwarmStatus {
        let found = self.front.lives().into_iter().find(|live| live.infohash() == infohash);
        found.map(|live| look(&live)).unwrap_or_default()
    }

    /// Announces a torrent of the library and dials peers for it.
    pub async fn seed(&self, infohash: InfoHash, sources: &Sources) -> Result<Swarm, SwarmError> {
        let held = self.hold(infohash);
        let library = Arc::clone(&self.library);
        let found = tokio::task::spawn_blocking(move || library.find(infohash)).await;
        let content = found.map_err(|_| SwarmError::Broken(infohash))?;
        self.begin(&held, content.ok_or(SwarmError::Unknown(infohash))?).await?;
        Ok(self.swarm(held, sources, None))
    }

    /// Announces many torrents of the library, without holding anything for those nobody wants.
    pub fn offer(&self, offers: Arc<impl Offers>) {
        self.tasks.spawn(self.offering(offers, self.stop.child_token()));
    }

    /// Like [`offer`](Self::offer), until it is stopped.
    pub fn offering<O: Offers>(
        &self,
        offers: Arc<O>,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send + use<O> {
        let announcer = self.announcer.clone();
        let say = announcer.map(|announcer| say_all(announcer, Arc::clone(&offers), stop.clone()));
        let (guard, identity) = (self.guard.clone(), self.identity);
        let announce = announce_all(guard, offers, identity, Pace::default(), stop);
        async move {
            tokio::join!(if_any(say), announce);
        }
    }

    /// Joins a swarm to download from it. Without an info dict this waits until some peer has
    /// given it; dropping the future gives up.
    pub async fn join(&self, wanted: &Wanted) -> Result<Swarm, SwarmError> {
        let infohash = wanted.infohash;
        let held = self.hold(infohash);
        let mut swarm = self.swarm(held, &wanted.sources, None);
        let info = match &wanted.info {
            Some(info) => info.clone(),
            None => {
                let not_off = |error| NotOff(format!("{error}"));
                let raw = swarm.held.live.info().await;
                Info::decode(raw)
                    .map_err(not_off)
                    .map_err(|source| SwarmError::NotOff { infohash, source })?
            }
        };
        let blocks = info.blocks().map_err(|source| SwarmError::NotOff { infohash, source })?;
        if blocks > wanted.max_blocks {
            let source = NotOff(format!("{blocks} blocks where {} would do", wanted.max_blocks));
            return Err(SwarmError::NotOff { infohash, source });
        }
        let (store, catalog) = (Arc::clone(&self.store), Arc::clone(&self.catalog));
        let known = wanted.known.iter().copied();
        let form = (wanted.carriage, wanted.first);
        let content = BlockContent::coming(store, catalog, info.clone(), form, known);
        let content = Arc::new(content.map_err(|failure| failed(infohash, &failure))?);
        self.begin(&swarm.held, Arc::clone(&content) as Arc<dyn Content>).await?;
        let (live, name) = (Arc::clone(&swarm.held.live), info.name.clone());
        let begun = tokio::task::spawn_blocking(move || Download::begin(&live, info, &content));
        swarm.coming = Some(begun.await.map_err(|_| SwarmError::Broken(infohash))?);
        self.ask_web_seeds(&swarm, &wanted.sources.web_seeds, &name);
        Ok(swarm)
    }

    /// Leaves a swarm. What came stays in the store; peers that are there are served on.
    pub async fn leave(&self, swarm: Swarm) {
        if let Some(Download { content, .. }) = swarm.coming.clone() {
            // What cannot be saved is fetched again some day; the blocks are not lost.
            let saved = tokio::task::spawn_blocking(move || content.save()).await;
            if let Ok(Err(error)) = saved {
                tracing::warn!("saving the state of a download: {error}");
            }
        }
        swarm.stop.cancel();
        swarm.tasks.close();
        // Trackers that do not hear of it forget us by themselves.
        let _ = tokio::time::timeout(GOODBYE, swarm.tasks.wait()).await;
    }

    /// Closes the port and ends all connections, without waiting for that.
    pub fn abandon(&self) {
        self.stop.cancel();
        self.front.close();
    }

    /// Closes the port and ends all connections.
    pub async fn stop(&self) {
        self.abandon();
        self.account().await;
        self.natives.settle().await;
        if let Some(announcer) = &self.announcer {
            announcer.dht().stop().await;
        }
    }

    fn hold(&self, infohash: InfoHash) -> Held {
        Held { live: self.front.hold(infohash), front: Arc::clone(&self.front) }
    }

    async fn begin(&self, held: &Held, content: Arc<dyn Content>) -> Result<(), SwarmError> {
        let (front, live) = (Arc::clone(&self.front), Arc::clone(&held.live));
        let begun = tokio::task::spawn_blocking(move || front.begin(&live, content)).await;
        begun.map_err(|_| SwarmError::Broken(held.live.infohash()))
    }

    /// Begins to look for peers.
    fn swarm(&self, held: Held, sources: &Sources, coming: Coming) -> Swarm {
        let (stop, tasks) = (self.stop.child_token(), TaskTracker::new());
        held.live.add_peers(sources.peers.iter().copied(), true);
        if !sources.trackers.is_empty() {
            let live = Arc::clone(&held.live);
            let (progress, watched) = watch::channel(progress(&live));
            let (found, peers) = mpsc::channel(MAX_PEX_PEERS);
            let announcer = announce::live::Live {
                guard: self.guard.clone(),
                trackers: sources.trackers.clone(),
                infohash: live.infohash(),
                identity: self.identity,
                progress: watched,
                found,
                stop: stop.clone(),
            };
            tasks.spawn(announcer.run());
            tasks.spawn(report(live, progress, peers, stop.clone()));
        }
        if let Some(announcer) = &self.announcer {
            let said = announce::dht::Live {
                announcer: Arc::clone(announcer),
                live: Arc::clone(&held.live),
                descriptor: sources.descriptor,
                holds: coming.is_none(),
                stop: stop.clone(),
            };
            tasks.spawn(said.run());
        }
        Swarm { held, stop, tasks, coming }
    }

    fn ask_web_seeds(&self, swarm: &Swarm, web_seeds: &[(String, Origin)], name: &str) {
        for (url, origin) in web_seeds {
            match WebSeed::new(url, name, *origin) {
                Ok(seed) => {
                    let (guard, live) = (self.guard.clone(), Arc::clone(&swarm.held.live));
                    let (front, stop) = (Arc::clone(&self.front), swarm.stop.clone());
                    swarm.tasks.spawn(web::draw(seed, guard, live, front, stop));
                }
                Err(error) => tracing::warn!("a web seed is not asked: {error}"),
            }
        }
    }
}

impl Drop for Swarms {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Tells the announcer how the torrent goes, and the torrent of the peers it finds.
async fn report(
    live: Arc<Live>,
    told: watch::Sender<Progress>,
    mut peers: mpsc::Receiver<SocketAddr>,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(PROGRESS_EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(peer) = peers.recv() => live.add_peers([peer], false),
            _ = ticks.tick() => {
                let now = progress(&live);
                told.send_if_modified(|before| std::mem::replace(before, now) != now);
            }
        }
    }
}

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);

/// The port: the one asked for, or any free one, of IPv6 and IPv4 if the system has both.
async fn listener(asked: Option<SocketAddr>) -> Result<TcpListener, SwarmError> {
    let address = asked.unwrap_or(ANY);
    let bound = match (TcpListener::bind(address).await, asked) {
        (Err(_), None) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await,
        (bound, _) => bound,
    };
    bound.map_err(|source| SwarmError::Listen { address, source })
}
