//! A supervisor as it is described: its services and its rules.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::board::Board;
use super::policy::{Backoff, Intensity, Strategy};
use super::run::Run;
use super::service::{Body, Context, Service};

/// How long all services together may take to stop, unless told otherwise: as long as one has by
/// default, and a half more.
const SHUTDOWN: Duration = Duration::from_secs(15);

/// How long is waited for aborted tasks at the end. Longer ones block their thread.
pub(super) const ABORT_WAIT: Duration = Duration::from_secs(1);

/// A supervisor gave up: its services fail too often.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "gave up on the service {service}, which failed after {restarts} restarts within {}: {last_error}",
    humantime::format_duration(*within)
)]
pub struct GaveUp {
    /// The service that failed last, as the board names it.
    pub service: String,
    /// Restarts that were made, of all services of the supervisor.
    pub restarts: u32,
    /// The time in which they were counted.
    pub within: Duration,
    /// Why the service failed.
    pub last_error: String,
}

/// Services and the rules by which they are started, started again and stopped.
#[derive(Debug)]
pub struct Supervisor {
    pub(super) strategy: Strategy,
    pub(super) intensity: Intensity,
    pub(super) backoff: Backoff,
    pub(super) shutdown: Duration,
    pub(super) services: Vec<Service>,
    board: OnceLock<Board>,
}

impl Supervisor {
    /// A supervisor without services, by the default rules.
    #[must_use]
    pub fn new(strategy: Strategy) -> Self {
        Self {
            strategy,
            intensity: Intensity::default(),
            backoff: Backoff::default(),
            shutdown: SHUTDOWN,
            services: Vec::new(),
            board: OnceLock::new(),
        }
    }

    /// Adds a service after those that are there. Names differ within a supervisor: of two with the
    /// same name, requests reach the first.
    #[must_use]
    pub fn service(mut self, service: Service) -> Self {
        debug_assert!(
            self.services.iter().all(|other| other.name != service.name),
            "two services are named {}",
            service.name
        );
        self.services.push(service);
        self
    }

    /// How many restarts in how long a time are borne.
    #[must_use]
    pub fn intensity(mut self, intensity: Intensity) -> Self {
        self.intensity = intensity;
        self
    }

    /// How long a failing service is left alone.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// How long all services together may take to stop before what is left is aborted; 15 seconds
    /// unless told otherwise.
    #[must_use]
    pub fn shutdown(mut self, shutdown: Duration) -> Self {
        self.shutdown = shutdown;
        self
    }

    /// The board of this supervisor and all below it.
    #[must_use]
    pub fn board(&self) -> Board {
        self.board.get_or_init(|| Board::new(self.names(""))).clone()
    }

    /// Runs the services until it is told to stop, or gives up. Either way they are stopped when it
    /// returns. Its tasks are those of the runtime it is polled in.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), GaveUp> {
        Run::new(self, self.board(), 0).until(stop, None).await
    }

    /// Runs as a service of another supervisor, whose board has the rows after its own for it.
    pub(super) fn start_below(self: &Arc<Self>, context: Context) -> Body {
        let supervisor = Arc::clone(self);
        Box::pin(async move {
            let Context { stop, health } = context;
            let run = Run::new(&supervisor, health.board.clone(), health.row + 1);
            Ok(run.until(stop, Some(health)).await?)
        })
    }

    /// How long [`run`](Self::run) may take to return after its stop.
    pub(super) fn longest_stop(&self) -> Duration {
        self.shutdown + ABORT_WAIT
    }

    /// The names of all services, each before those below it.
    fn names(&self, prefix: &str) -> Vec<String> {
        let mut names = Vec::new();
        for service in &self.services {
            let name = format!("{prefix}{}", service.name);
            let below = service.inner().map(|inner| inner.names(&format!("{name}.")));
            names.push(name);
            names.extend(below.unwrap_or_default());
        }
        names
    }

    /// How many rows of the board are for each service.
    pub(super) fn rows(&self) -> impl Iterator<Item = usize> {
        self.services.iter().map(rows_of)
    }
}

fn rows_of(service: &Service) -> usize {
    1 + service.inner().map_or(0, |inner| inner.services.iter().map(rows_of).sum())
}
