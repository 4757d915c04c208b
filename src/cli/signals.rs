//! Interrupt and terminate: the first asks for an orderly end, the second ends at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::exit::{CliError, Exit};

/// What the user has signalled.
#[derive(Debug, Clone)]
pub(super) struct Signals {
    stop: CancellationToken,
    terminated: Arc<AtomicBool>,
}

impl Signals {
    /// Watches for signals from now on.
    pub(super) fn watch() -> Result<Self, CliError> {
        let failed = |error| CliError::failed("cannot watch for signals", error);
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let signals = Self { stop: CancellationToken::new(), terminated: Arc::default() };
        let watched = signals.clone();
        tokio::spawn(async move {
            loop {
                let terminated = tokio::select! {
                    _ = interrupt.recv() => false,
                    _ = terminate.recv() => true,
                };
                if watched.stop.is_cancelled() {
                    std::process::exit(Exit::Interrupted as i32);
                }
                watched.terminated.store(terminated, Ordering::Release);
                watched.stop.cancel();
            }
        });
        Ok(signals)
    }

    /// Is cancelled by the first signal.
    pub(super) const fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// How a task that runs until it is told to stop ends: being terminated is its proper end.
    pub(super) fn end(&self) -> Exit {
        if self.terminated.load(Ordering::Acquire) { Exit::Done } else { Exit::Interrupted }
    }
}
