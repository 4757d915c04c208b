//! How a daemon stands.

use serde::Serialize;

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
