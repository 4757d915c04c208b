//! Services: what their supervisor is told of them, and what they are told when they start.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::board::{Board, Health, Seat, clip};
use super::policy::Restart;
use super::supervisor::Supervisor;

/// What a service may fail with.
pub type BoxError = Box<dyn Error + Send + Sync>;

pub(super) type Body = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

type Factory = Arc<dyn Fn(Context) -> Body + Send + Sync>;

/// How long a service may take to stop, unless it says otherwise.
const GRACE: Duration = Duration::from_secs(10);

/// How much longer than its shutdown a nested supervisor may take, so that it is not aborted while
/// it cuts off what is left.
const NESTED_GRACE: Duration = Duration::from_secs(2);

/// What a service is handed at each start.
#[derive(Clone, Debug)]
pub struct Context {
    /// Cancelled when the service is to end: soon, and with `Ok`.
    pub stop: CancellationToken,
    /// Where it says how it is.
    pub health: Reporter,
}

/// Where one start of a service says how it is. After the end of that start nobody listens.
#[derive(Clone, Debug)]
pub struct Reporter {
    pub(super) board: Board,
    pub(super) row: usize,
    pub(super) start: u64,
}

impl Reporter {
    pub(super) fn new(board: Board, row: usize, start: u64) -> Self {
        Self { board, row, start }
    }

    /// It does what it is for, and those that depend on it can start. Said once; saying it again is
    /// a heartbeat. See [`Service::says_ready`].
    pub fn ready(&self) {
        self.board.ready(self.row, self.start);
    }

    /// All is well. Also a heartbeat.
    pub fn ok(&self) {
        self.report(Health::Ok);
    }

    /// It runs, but not as it should. Also a heartbeat.
    pub fn degraded(&self, reason: impl fmt::Display) {
        self.report(Health::Degraded(clip(&reason.to_string())));
    }

    /// It is not stuck. See [`Service::watchdog`].
    pub fn beat(&self) {
        self.board.report(self.row, self.start, |_| ());
    }

    fn report(&self, health: Health) {
        self.board.report(self.row, self.start, |row| row.status.health = health);
    }
}

/// A service as its supervisor knows it: permanent, with a grace of 10 seconds, without a watchdog
/// and ready as soon as it is started, unless told otherwise.
pub struct Service {
    pub(super) name: &'static str,
    pub(super) restart: Restart,
    pub(super) grace: Duration,
    pub(super) watchdog: Option<Duration>,
    says_ready: bool,
    factory: Factory,
    inner: Option<Arc<Supervisor>>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Service {
    /// A service that runs what `factory` returns, called anew for each start.
    #[must_use]
    pub fn new<F, Fut>(name: &'static str, factory: F) -> Self
    where
        F: Fn(Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        Self::with(name, Arc::new(move |context| Box::pin(factory(context))))
    }

    /// A supervisor as a service of another. It is ready when all its services are. It fails when it
    /// gives up. Its grace is its own [shutdown](Supervisor::shutdown) and a bit.
    #[must_use]
    pub fn nested(name: &'static str, supervisor: Supervisor) -> Self {
        let grace = supervisor.longest_stop() + NESTED_GRACE;
        let inner = Arc::new(supervisor);
        let supervisor = Arc::clone(&inner);
        let factory = move |context| supervisor.start_below(context);
        let service = Self::with(name, Arc::new(factory)).says_ready().grace(grace);
        Self { inner: Some(inner), ..service }
    }

    fn with(name: &'static str, factory: Factory) -> Self {
        Self {
            name,
            restart: Restart::Permanent,
            grace: GRACE,
            watchdog: None,
            says_ready: false,
            factory,
            inner: None,
        }
    }

    /// Which ends make it start again.
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// How long it may take to stop before it is aborted.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// It promises a heartbeat at least so often, from its start on: any word to its
    /// [`Reporter`] is one. Without one it is stopped, by force after its grace, and has failed.
    #[must_use]
    pub fn watchdog(mut self, period: Duration) -> Self {
        self.watchdog = Some(period);
        self
    }

    /// It says itself when it is [ready](Reporter::ready), and is starting until then.
    #[must_use]
    pub fn says_ready(mut self) -> Self {
        self.says_ready = true;
        self
    }

    /// The supervisor that it is, if it is one.
    pub(super) fn inner(&self) -> Option<&Supervisor> {
        self.inner.as_deref()
    }

    /// The task of one start. The factory is called in it, so that its panics are the service's.
    pub(super) fn task(&self, seat: Seat, stop: CancellationToken) -> Body {
        let says_ready = self.says_ready;
        let factory = Arc::clone(&self.factory);
        Box::pin(async move {
            let seat = seat;
            let health = seat.reporter.clone();
            if !says_ready {
                health.ready();
            }
            tokio::select! {
                biased;
                () = seat.bomb.cancelled() => panic!("asked to, for fault injection"),
                ended = async { factory(Context { stop, health }).await } => ended,
            }
        })
    }
}
