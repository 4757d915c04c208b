//! The daemon: configuration to client to supervised services.

mod calls;
pub mod config;
pub mod log;
pub mod socket;
pub mod status;
pub mod token;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::client::session::Session;
use crate::client::{Client, OpenError};

pub use calls::Commands;
use config::{Config, ConfigError};
use log::LogFilter;
use socket::{Door, SocketError};
use status::{Peers, Rates, ServiceStatus, Status, StoreStatus, Totals};

/// What a daemon is made from.
pub struct Setup {
    /// The folder of its store.
    pub home: PathBuf,
    /// What it keeps to.
    pub config: Config,
    /// What is logged.
    pub log: LogFilter,
    /// Runs what comes in at its socket.
    pub commands: Arc<dyn Commands>,
    /// Whether services may be made to panic by the API.
    pub fault_injection: bool,
}

/// Where a daemon is, once others can reach it.
#[derive(Debug, Clone)]
pub struct Ready {
    /// Where it serves HTTP, if it does.
    pub http: Option<SocketAddr>,
    /// Where it listens for peers, if it does yet.
    pub peers: Option<SocketAddr>,
}

/// Why there is no daemon.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The configuration does not make sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is no token, and none could be made.
    #[error("cannot use the token in {}", path.display())]
    Token {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It could not take commands.
    #[error(transparent)]
    Socket(#[from] SocketError),
}

/// A daemon that runs. Cloning it makes another handle to the same.
#[derive(Clone)]
pub struct Daemon(Arc<Shared>);

struct Shared {
    config: Config,
    session: Session,
    log: LogFilter,
    started: Instant,
}

impl Daemon {
    /// What it keeps to.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Its client.
    #[must_use]
    pub fn client(&self) -> &Client {
        self.0.session.client()
    }

    /// What is logged.
    #[must_use]
    pub fn log(&self) -> &LogFilter {
        &self.0.log
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        let census = self.client().store().census().unwrap_or_default();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            home: self.client().home().path().display().to_string(),
            uptime_ms: u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            listen: None,
            peers_listen: None,
            services: vec![ServiceStatus {
                name: "commands".to_owned(),
                state: "running".to_owned(),
                health: "ok".to_owned(),
                reason: None,
                restarts: 0,
                last_error: None,
                since_ms: 0,
            }],
            rates: Rates::default(),
            totals: Totals::default(),
            peers: Peers::default(),
            dht_nodes: None,
            store: StoreStatus {
                blocks: census.blocks,
                bytes: census.bytes,
                limit: self.config().values.limit,
                damaged: census.damaged,
            },
            transfers_running: 0,
        }
    }
}

/// Runs a daemon until `stop`. `ready` is called once others can reach it.
pub async fn run(
    setup: Setup,
    stop: CancellationToken,
    ready: impl FnOnce(&Ready),
) -> Result<(), DaemonError> {
    let Setup { home, config, log, commands, fault_injection: _ } = setup;
    let client = Client::open(&home, &config.values.settings()?)?;
    let path = home.join(token::NAME);
    token::of(&home).map_err(|source| DaemonError::Token { path, source })?;
    let session = Session::new(client, config.values.ways());
    let daemon = Daemon(Arc::new(Shared { config, session, log, started: Instant::now() }));
    let door = Door::open(&home)?;
    ready(&Ready { http: None, peers: None });
    let drain = daemon.config().values.drain;
    Ok(calls::answer(door, &daemon, &commands, &stop, drain).await?)
}
