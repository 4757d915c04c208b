//! What is logged of strangers: everything at the level debug, and now and then one line at warn, or
//! they could fill the disk.

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time between two lines at the level warn.
const EVERY: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Complaints {
    strangers: Rare,
    ours: Rare,
}

/// Lines that are rare, however much there is to say.
#[derive(Debug, Default)]
struct Rare(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    said: Option<Instant>,
    unsaid: u64,
}

impl Complaints {
    /// Somebody did something that makes no sense.
    pub(super) fn hear(&self, remote: SocketAddr, what: &dyn Display) {
        match self.strangers.due(Instant::now()) {
            Some(0) => tracing::warn!(%remote, "a legacy request is not answered: {what}"),
            Some(unsaid) => tracing::warn!(
                %remote,
                "a legacy request is not answered: {what} (and {unsaid} before it)"
            ),
            None => tracing::debug!(%remote, "a legacy request is not answered: {what}"),
        }
    }

    /// Something of ours failed, which strangers can have done again and again.
    pub(super) fn fail(&self, what: &dyn Display) {
        match self.ours.due(Instant::now()) {
            Some(0) => tracing::warn!("{what}"),
            Some(unsaid) => tracing::warn!("{what} (and {unsaid} failures before it)"),
            None => tracing::debug!("{what}"),
        }
    }
}

impl Rare {
    /// Whether it is time for a line, and how many were not said since the last.
    fn due(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.said.is_some_and(|then| now.saturating_duration_since(then) < EVERY) {
            state.unsaid += 1;
            return None;
        }
        state.said = Some(now);
        Some(std::mem::take(&mut state.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_line_a_minute() {
        let (complaints, now) = (Rare::default(), Instant::now());
        assert_eq!(complaints.due(now), Some(0));
        for _ in 0..1_000 {
            assert_eq!(complaints.due(now), None);
        }
        assert_eq!(complaints.due(now + EVERY), Some(1_000));
        assert_eq!(complaints.due(now + EVERY * 2), Some(0));
    }
}
