//! How a daemon stands.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use crate::client::session::{Transfer, TransferState};
use crate::peer::content::Traffic;
use crate::store::StoreError;
use crate::swarm::session::Swarms;

use super::Daemon;
use super::services::statuses;

/// How a daemon stands, as `offswarm status` and the API tell it. Times are in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// Of the program.
    pub version: String,
    /// The folder of its store.
    pub home: String,
    /// How long it has run.
    pub uptime_ms: u64,
    /// Where it serves HTTP.
    pub listen: Option<String>,
    /// Where it listens for peers.
    pub peers_listen: Option<String>,
    /// What it is made of.
    pub services: Vec<ServiceStatus>,
    /// Bytes that go and come now.
    pub rates: Rates,
    /// Bytes that went and came.
    pub totals: Totals,
    /// Peers connected.
    pub peers: Peers,
    /// Nodes of the DHT that we know, if we take part in it.
    pub dht_nodes: Option<u64>,
    /// The store.
    pub store: StoreStatus,
    /// Puts and fetches that are under way.
    pub transfers_running: u64,
}

/// How a service stands.
#[derive(Debug, Clone, Serialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// `running`, `starting`, `backing_off`, `stopped` or `failed`.
    pub state: String,
    /// `ok`, `degraded` or `failed`.
    pub health: String,
    /// Why it is not well.
    pub reason: Option<String>,
    /// How often it was started again.
    pub restarts: u64,
    /// Why it ended the last time.
    pub last_error: Option<String>,
    /// Since when it is as it is, in Unix time.
    pub since_ms: u64,
}

/// Bytes a second.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Rates {
    /// Out.
    pub sent_per_second: u64,
    /// In.
    pub received_per_second: u64,
}

/// Bytes.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Totals {
    /// Out.
    pub sent: u64,
    /// In.
    pub received: u64,
}

/// Peers.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Peers {
    /// Of BitTorrent swarms.
    pub bittorrent: u64,
    /// Native ones.
    pub native: u64,
}

/// How full the store is.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct StoreStatus {
    /// Blocks here.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The most bytes it may hold.
    pub limit: Option<u64>,
    /// Blocks found damaged.
    pub damaged: u64,
}

impl Daemon {
    /// How it stands. Reads the store.
    pub fn status(&self) -> Result<Status, StoreError> {
        let (shared, session) = (&self.shared, &self.session);
        let census = session.client().store().census()?;
        let swarms = session.swarms();
        let Traffic { sent, received } = shared.meter.totals();
        let rates = shared.meter.rates();
        let running = |transfer: &Transfer| transfer.state == TransferState::Running;
        let connected = |swarms: &Arc<Swarms>| Peers {
            bittorrent: swarms.peers().iter().map(|(_, peers)| peers.len() as u64).sum(),
            native: swarms.natives().connected() as u64,
        };
        let nodes = |swarms: &Arc<Swarms>| Some(swarms.dht()?.known_nodes() as u64);
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            home: shared.home.display().to_string(),
            uptime_ms: millis(shared.started.elapsed().unwrap_or_default()),
            listen: shared.http.map(|address| address.to_string()),
            peers_listen: swarms.as_ref().map(|swarms| swarms.listen().to_string()),
            services: shared.board().iter().flat_map(statuses).map(Into::into).collect(),
            rates: Rates {
                sent_per_second: rates.sent_per_second,
                received_per_second: rates.received_per_second,
            },
            totals: Totals { sent, received },
            peers: swarms.as_ref().map(connected).unwrap_or_default(),
            dht_nodes: swarms.as_ref().and_then(nodes),
            store: StoreStatus {
                blocks: census.blocks,
                bytes: census.bytes,
                limit: shared.config.values.limit,
                damaged: census.damaged,
            },
            transfers_running: session.transfers().iter().filter(|one| running(one)).count() as u64,
        })
    }
}

impl From<crate::http::ServiceStatus> for ServiceStatus {
    fn from(status: crate::http::ServiceStatus) -> Self {
        let since = status.since.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            name: status.name,
            state: status.state.to_owned(),
            health: status.health.to_owned(),
            reason: status.reason,
            restarts: status.restarts,
            last_error: status.last_error,
            since_ms: millis(since),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
