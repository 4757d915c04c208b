//! Interrupt and terminate: the first asks for an orderly end, the second ends at once.

use std::future::Future;
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

/// The first signal of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    Interrupt,
    Terminate,
}

impl Signals {
    /// Signals of a command that has no process of its own.
    pub(super) fn new() -> Self {
        Self { stop: CancellationToken::new(), terminated: Arc::default() }
    }

    /// Watches for those of this process from now on.
    pub(super) fn watch() -> Result<Self, CliError> {
        let signals = Self::new();
        let watched = signals.clone();
        let hearing = Self::hear(move |received| match received {
            Received::Interrupt => watched.interrupt(),
            Received::Terminate => watched.terminate(),
        })?;
        tokio::spawn(hearing);
        Ok(signals)
    }

    /// Hands on the first signal that this process gets; the second ends it.
    pub(super) fn hear(
        act: impl FnOnce(Received) + Send,
    ) -> Result<impl Future<Output = ()> + Send, CliError> {
        let failed = |error| CliError::failed("cannot watch for signals", error);
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut next = async move || {
            tokio::select! {
                _ = interrupt.recv() => Received::Interrupt,
                _ = terminate.recv() => Received::Terminate,
            }
        };
        Ok(async move {
            act(next().await);
            next().await;
            std::process::exit(Exit::Interrupted as i32);
        })
    }

    /// The user wants no more.
    pub(super) fn interrupt(&self) {
        self.stop.cancel();
    }

    /// It is time to end.
    pub(super) fn terminate(&self) {
        if !self.stop.is_cancelled() {
            self.terminated.store(true, Ordering::Release);
            self.stop.cancel();
        }
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
