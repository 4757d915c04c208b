//! What every request may use: the session, the board of services, the configuration.
//!
//! The parts that the program owns are narrow traits, so that a test can hand in its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use tokio_util::sync::CancellationToken;

use crate::client::session::Session;

use super::api::meter::Meter;
use super::api::metrics::Metrics;
use super::guard::Token;

/// What requests are answered from. Cloning it makes another handle to the same.
#[derive(Clone)]
pub struct Context {
    /// The client and what is under way.
    pub session: Session,
    /// The services of the program.
    pub board: Arc<dyn Services>,
    /// The configuration as `GET /api/config` shows it, without secrets.
    pub config: Arc<dyn Fn() -> serde_json::Value + Send + Sync>,
    /// What is logged.
    pub log: Arc<dyn LogLevel>,
    /// How fast bytes go in and out; see [`run_meter`](super::run_meter).
    pub meter: Arc<Meter>,
    /// What is counted of requests.
    pub metrics: Arc<Metrics>,
    /// Who may ask.
    pub access: Access,
    /// When the program began.
    pub started: SystemTime,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Ends answers that have no end of their own. [`serve`](super::serve) puts its own here.
    pub stop: CancellationToken,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("listen", &self.listen).finish_non_exhaustive()
    }
}

/// Who may ask, and for what.
#[derive(Debug, Clone)]
pub struct Access {
    /// Lets in whoever has it.
    pub token: Option<Token>,
    /// Names of this machine besides the usual ones, as in a `Host` header, without a port.
    pub hosts: Vec<String>,
    /// Whether only this machine can connect; else every request needs the token.
    pub loopback: bool,
    /// Whether services may be made to fail, for tests.
    pub may_inject_faults: bool,
}

/// The services of the program, as they are watched and restarted.
pub trait Services: Send + Sync {
    /// How each of them stands, in the order in which they start.
    fn statuses(&self) -> Vec<ServiceStatus>;

    /// Starts one anew. `false` if there is none of that name.
    fn restart(&self, name: &str) -> bool;

    /// Makes one panic. `false` if there is none of that name, or it does not run.
    fn panic(&self, name: &str) -> bool;
}

/// How a service stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// `running`, `starting`, `backing_off`, `stopped` or `failed`.
    pub state: &'static str,
    /// `ok`, `degraded` or `failed`.
    pub health: &'static str,
    /// Why it is not well, or what it waits for.
    pub reason: Option<String>,
    /// How often it was started again.
    pub restarts: u64,
    /// What it ended with last time.
    pub last_error: Option<String>,
    /// Since when it stands so.
    pub since: SystemTime,
}

/// What is logged, and changing it while the program runs.
pub trait LogLevel: Send + Sync {
    /// The filter in use.
    fn filter(&self) -> String;

    /// Uses another filter, or says what is wrong with it.
    fn set(&self, filter: &str) -> Result<(), String>;
}
