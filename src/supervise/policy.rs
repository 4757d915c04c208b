//! What a supervisor does about a failure: whom it starts again, when, and how often.

use std::collections::VecDeque;
use std::time::Duration;

use rand::RngExt;
use tokio::time::Instant;

/// Whom else a failing service concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Nobody.
    OneForOne,
    /// Those after it, which depend on it.
    RestForOne,
}

/// Which ends of a service make it start again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// All: it is to run as long as its supervisor.
    Permanent,
    /// Failures: it has something to finish.
    Transient,
    /// None.
    Temporary,
}

/// How many restarts in how long a time are borne, over all services of a supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    /// Restarts that are made.
    pub restarts: u32,
    /// The time in which they are counted.
    pub within: Duration,
}

impl Default for Intensity {
    /// With the default backoff, a service that always fails at once is given up after four minutes.
    fn default() -> Self {
        Self { restarts: 10, within: Duration::from_secs(300) }
    }
}

/// How long a failing service is left alone before it is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Before the first restart.
    pub first: Duration,
    /// Before any restart at most.
    pub most: Duration,
    /// How long it must have been ready for the count to begin anew.
    pub reset_after: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            most: Duration::from_secs(60),
            reset_after: Duration::from_secs(120),
        }
    }
}

impl Backoff {
    /// The delay after so many failures in a row (1 or more): twice that of the failure before, with
    /// a quarter of jitter either way, so that services that failed together do not return together.
    pub(super) fn delay(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let exact = self.first.saturating_mul(1 << doublings).min(self.most);
        let jitter = rand::rng().random_range(0.75..=1.25);
        exact.mul_f64(jitter).clamp(self.first.min(self.most), self.most)
    }
}

/// The restarts of the recent past.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<Instant>);

impl Recent {
    /// Counts one more restart, if it is still borne.
    pub(super) fn admit(&mut self, intensity: Intensity, now: Instant) -> bool {
        self.0.retain(|at| now.duration_since(*at) < intensity.within);
        let borne = self.0.len() < usize::try_from(intensity.restarts).unwrap_or(usize::MAX);
        if borne {
            self.0.push_back(now);
        }
        borne
    }
}
