//! A progress bar on the terminal of another process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::line::Line;

/// How often a bar is told of, at most: a terminal shows no more.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// How a bar looks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cli) struct BarState {
    pub(super) id: u64,
    /// Whether it was made for a number of units, which may change.
    pub(in crate::cli) has_total: bool,
    pub(in crate::cli) total: Option<u64>,
    /// Whether the units are bytes.
    pub(in crate::cli) bytes: bool,
    pub(in crate::cli) position: u64,
    pub(in crate::cli) message: String,
    pub(in crate::cli) done: bool,
}

/// The end of a bar that moves it.
#[derive(Debug)]
pub(in crate::cli) struct RemoteBar {
    line: Arc<Line>,
    state: BarState,
    /// When it was told of last, once it is to be seen.
    told: Option<Instant>,
}

impl RemoteBar {
    pub(in crate::cli) fn new(line: Arc<Line>, total: Option<u64>, bytes: bool) -> Self {
        let (id, has_total) = (line.next_bar(), total.is_some());
        let state = BarState { id, has_total, total, bytes, ..BarState::default() };
        Self { line, state, told: None }
    }

    pub(in crate::cli) fn appear(&mut self) {
        self.tell();
    }

    pub(in crate::cli) fn change(&mut self, change: impl FnOnce(&mut BarState)) {
        change(&mut self.state);
        let due = |told: Instant| self.state.done || told.elapsed() > TELL_EVERY;
        if self.told.is_some_and(due) {
            self.tell();
        }
    }

    fn tell(&mut self) {
        self.told = Some(Instant::now());
        self.line.bar(self.state.clone());
    }
}
