//! The verbs of the program, each a file that reads from top to bottom: [`put`], [`get`],
//! [`publish`], [`fetch`], [`survey`], [`upkeep`]; for packs and the whole store [`pack`] and
//! [`shards`]; for directories [`put_directory`], [`put_tree`] and [`get_directory`]; between the
//! versions of OFF URLs [`convert`]; for what js-offs has [`import`], [`gateway`] and [`legacy`]; for what
//! others push to us and say of their blocks [`hosting`] and [`popularity`].
//!
//! A [`Client`] is a store and a catalog in one folder (its *home*), held under a lock, so that
//! there is one client per home. It has no terminal, no environment and no global state; the
//! command line is one user of it.

pub mod arrivals;
pub mod convert;
pub mod copies;
mod digests;
mod engaged;
mod error;
pub mod fetch;
pub mod gateway;
pub mod get;
pub mod get_directory;
mod home;
pub mod hosting;
pub mod import;
pub mod legacy;
mod library;
pub mod link;
pub mod pack;
pub mod pipe;
pub mod popularity;
pub mod publish;
pub mod put;
pub mod put_directory;
pub mod put_tree;
mod randomizers;
pub mod seeding;
pub mod session;
pub mod shards;
mod shelf;
mod spool;
pub mod survey;
pub mod upkeep;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::broadcast;

use crate::catalog::{Catalog, CatalogError};
use crate::id::InfoHash;
use crate::limits::CACHED_BLOCKS;
use crate::store::{BlockStore, CachedStore, Folder, QuotaStore, SlabStore, Upkeep};

use crate::swarm::session::{Options, SwarmError, Swarms};

pub use engaged::Engaged;
pub use error::{GetError, OpenError, PublishError, PutError, ReadError, UpkeepError};
pub use home::Home;
use hosting::Hosting;
pub use hosting::{Hosted, HostedTotal, Percent, Refusal};
use legacy::LegacyNetwork;
pub use popularity::Popularity;
pub use randomizers::Policy;
use shelf::ClientShelf;

/// Torrents that wait for whoever seeds them; it looks at the whole catalog when it misses some.
const PUBLISHED_WAITING: usize = 64;

/// A store, a catalog and the right to change both. Cloning it makes another handle to the same.
#[derive(Clone)]
pub struct Client {
    store: Arc<dyn Upkeep>,
    catalog: Arc<Catalog>,
    /// Where every put takes its randomness from: a CSPRNG seeded by the operating system.
    entropy: Arc<Mutex<StdRng>>,
    /// Held while the catalog and the counts of the store change together, so that
    /// [`gc`](Self::gc) never counts by a catalog that is out of date.
    counting: Arc<Mutex<()>>,
    /// Held while the store is published, so that no block gets into two shards.
    sharding: Arc<Mutex<()>>,
    hosting: Arc<Hosting>,
    legacy: Arc<LegacyNetwork>,
    /// Bytes of blocks that the store may hold.
    limit: Option<u64>,
    /// Torrents that enter the catalog, for whoever seeds it.
    published: broadcast::Sender<InfoHash>,
    home: Arc<Home>,
}

/// What a client keeps to.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Bytes of blocks the store may hold; no limit by default.
    pub limit: Option<u64>,
    /// The share of the limit that blocks pushed by others may take; nothing by default.
    pub host_share: Percent,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("home", &self.home.path()).finish_non_exhaustive()
    }
}

impl Client {
    /// Opens the home in a folder, and creates it if there is none.
    pub fn open(folder: &Path, settings: &Settings) -> Result<Self, OpenError> {
        Self::with(Home::open(folder)?, settings, StdRng::from_rng(&mut rand::rng()))
    }

    /// Opens a home that is there already.
    pub fn open_existing(folder: &Path, settings: &Settings) -> Result<Self, OpenError> {
        Self::with(Home::open_existing(folder)?, settings, StdRng::from_rng(&mut rand::rng()))
    }

    /// Opens a home whose puts are the same on every run. For tests and examples only: whoever
    /// knows the seed knows every key, so no user can ask for it.
    #[doc(hidden)]
    pub fn open_seeded(folder: &Path, seed: u64) -> Result<Self, OpenError> {
        Self::with(Home::open(folder)?, &Settings::default(), StdRng::seed_from_u64(seed))
    }

    fn with(home: Home, settings: &Settings, entropy: StdRng) -> Result<Self, OpenError> {
        let (path, catalog) = (home.store(), home.catalog());
        if path.join("index.redb").exists() && !catalog.exists() {
            return Err(CatalogError::Lost { path: catalog }.into());
        }
        // First of all, so that a store without a catalog is one that has lost it, whenever the
        // making of a home was interrupted.
        let catalog = Arc::new(Catalog::open(&catalog)?);
        let disk = Folder::open(&path).map_err(|source| OpenError::Folder { path, source })?;
        let slabs = SlabStore::open(Arc::new(disk))?;
        let store: Arc<dyn Upkeep> = match settings.limit {
            None => Arc::new(CachedStore::new(slabs, CACHED_BLOCKS)),
            Some(limit) => {
                Arc::new(CachedStore::new(QuotaStore::new(slabs, limit)?, CACHED_BLOCKS))
            }
        };
        let entropy = Arc::new(Mutex::new(entropy));
        let (counting, sharding, home) = (Arc::default(), Arc::default(), Arc::new(home));
        let hosting = Arc::new(Hosting::new(settings));
        let legacy = Arc::new(LegacyNetwork::of(&catalog)?);
        let (limit, (published, _)) = (settings.limit, broadcast::channel(PUBLISHED_WAITING));
        Ok(Self {
            store,
            catalog,
            entropy,
            counting,
            sharding,
            hosting,
            legacy,
            limit,
            published,
            home,
        })
    }

    /// Its blocks.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Upkeep> {
        &self.store
    }

    /// Its blocks, for whoever only stores and reads them.
    pub(crate) fn blocks(&self) -> Arc<dyn BlockStore> {
        self.store.clone()
    }

    /// Bytes of blocks that the store may hold, if there is a limit.
    #[must_use]
    pub const fn limit(&self) -> Option<u64> {
        self.limit
    }

    /// Its names.
    #[must_use]
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// Opens the port for peers of its swarms. They are served whatever the catalog knows.
    pub async fn swarms(&self, options: &Options) -> Result<Swarms, SwarmError> {
        let library = Arc::new(self.clone());
        let mut options = options.clone();
        if let Some(dht) = &mut options.dht {
            dht.state.get_or_insert_with(|| self.home.dht_state());
        }
        let blocks = Arc::new(ClientShelf::new(self.clone()));
        Swarms::start(self.blocks(), Arc::clone(&self.catalog), library, blocks, &options).await
    }

    /// Its folder.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Keeps others from changing the catalog and the counts.
    fn counting(&self) -> MutexGuard<'_, ()> {
        self.counting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A generator of its own for one task.
    fn rng(&self) -> StdRng {
        StdRng::from_rng(&mut *self.entropy.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
