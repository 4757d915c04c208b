//! The daemon: configuration to client to supervised services.
//!
//! [`run`] opens what must be there for a daemon to make sense (the store, the socket, the port for
//! HTTP), so that what is wrong with them is told at once and by an exit code. Then a tree of
//! services (`services`) runs until it is told to stop, and what fails in it is started again.

mod calls;
pub mod config;
pub mod log;
mod notify;
mod services;
pub mod socket;
pub mod status;
pub mod token;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::client::session::Session;
use crate::client::{Client, OpenError};
use crate::http::{Meter, Metrics};
use crate::supervise::{Board, GaveUp};

pub use calls::Commands;
use config::{Config, ConfigError};
use log::LogFilter;
use services::{BridgePort, Web};
use socket::{Door, SocketError};

/// How long the port for peers is waited for before others are told where everything is.
const PEERS_AWAITED: Duration = Duration::from_secs(2);

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
    /// Where it answers js-offs nodes, if it does.
    pub legacy: Option<SocketAddr>,
}

/// Why there is no daemon, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The configuration does not make sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It could not take commands.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// There is no token, and none could be made.
    #[error("cannot use the token in {}", path.display())]
    Token {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The port for peers is taken or not ours.
    #[error("cannot listen for peers on {address}")]
    Peers {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The port for HTTP is taken or not ours.
    #[error("cannot serve HTTP on {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The port for js-offs nodes is taken or not ours.
    #[error("cannot answer js-offs nodes on {address}")]
    Legacy {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A service failed again and again.
    #[error("the daemon gave up")]
    GaveUp(#[from] GaveUp),
}

/// What all services share. Cloning it makes another handle to the same.
#[derive(Clone)]
struct Shared {
    home: PathBuf,
    config: Config,
    log: LogFilter,
    commands: Arc<dyn Commands>,
    fault_injection: bool,
    started: SystemTime,
    /// Where HTTP is served.
    http: Option<SocketAddr>,
    /// Where js-offs nodes are answered.
    legacy: Option<SocketAddr>,
    meter: Arc<Meter>,
    metrics: Arc<Metrics>,
    /// The session, while the store is open.
    session: watch::Sender<Option<Session>>,
    /// How services stand; known once they have been put together.
    board: watch::Sender<Option<Board>>,
}

/// The store is not open.
#[derive(Debug, thiserror::Error)]
#[error("the store is not open")]
struct Closed;

impl Shared {
    fn session(&self) -> Result<Session, Closed> {
        self.session.borrow().clone().ok_or(Closed)
    }

    fn board(&self) -> Option<Board> {
        self.board.borrow().clone()
    }
}

/// What must be there before services begin.
struct Opened {
    client: Client,
    door: Door,
    web: Option<Web>,
    bridge: Option<BridgePort>,
}

/// A daemon that runs, as its commands see it. Cloning it makes another handle to the same.
#[derive(Clone)]
pub struct Daemon {
    shared: Shared,
    session: Session,
}

impl Daemon {
    /// What it keeps to.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// Its client and what is under way.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Its client.
    #[must_use]
    pub fn client(&self) -> &Client {
        self.session.client()
    }

    /// Where it answers js-offs nodes, if it does.
    #[must_use]
    pub const fn legacy(&self) -> Option<SocketAddr> {
        self.shared.legacy
    }

    /// What is logged.
    #[must_use]
    pub fn log(&self) -> &LogFilter {
        &self.shared.log
    }
}

/// Runs a daemon until `stop`. `ready` is called once others can reach it.
pub async fn run(
    setup: Setup,
    stop: CancellationToken,
    ready: impl FnOnce(&Ready),
) -> Result<(), DaemonError> {
    let Setup { home, config, log, commands, fault_injection } = setup;
    let client = Client::open(&home, &config.values.settings()?)?;
    let door = Door::open(&home)?;
    let path = home.join(token::NAME);
    let token = token::of(&home).map_err(|source| DaemonError::Token { path, source })?;
    if let Some(address) = config.values.peers_listen {
        // A service opens it again; what is wrong with it from the start is told at once.
        let free = std::net::TcpListener::bind(address);
        drop(free.map_err(|source| DaemonError::Peers { address, source })?);
    }
    let web = if config.values.http {
        Some(services::bind(config.values.http_listen, token).await?)
    } else {
        None
    };
    let bridge = if config.values.legacy.enabled {
        let address = config.values.legacy.listen;
        let bound = services::bind_bridge(address).await;
        Some(bound.map_err(|source| DaemonError::Legacy { address, source })?)
    } else {
        None
    };
    let shared = Shared {
        home,
        config,
        log,
        commands,
        fault_injection,
        started: SystemTime::now(),
        http: web.as_ref().map(|web| web.address),
        legacy: bridge.as_ref().map(|bridge| bridge.address),
        meter: Arc::default(),
        metrics: Arc::default(),
        session: watch::Sender::new(None),
        board: watch::Sender::new(None),
    };
    let supervisor = services::tree(&shared, Opened { client, door, web, bridge });
    shared.board.send_replace(Some(supervisor.board()));
    let notified = stop.child_token();
    let running = supervisor.run(stop.clone());
    let telling = async {
        let peers = tokio::time::timeout(PEERS_AWAITED, peers(&shared)).await.ok().flatten();
        ready(&Ready { http: shared.http, peers, legacy: shared.legacy });
        notify::ready(&format!("serving {}", shared.home.display()));
        notify::keep_alive(supervisor.board(), notified.clone()).await;
        stop.cancelled().await;
        notify::stopping();
    };
    let ended = tokio::join!(
        async {
            let ended = running.await;
            notified.cancel();
            stop.cancel();
            ended
        },
        telling
    );
    Ok(ended.0?)
}

/// Where we listen for peers, as soon as we do.
async fn peers(shared: &Shared) -> Option<SocketAddr> {
    let mut session = shared.session.subscribe();
    let open = session.wait_for(Option::is_some).await.ok()?.clone()?;
    let mut swarms = open.watch_swarms();
    let listen = swarms.wait_for(Option::is_some).await.ok()?.as_ref()?.listen();
    Some(listen)
}
