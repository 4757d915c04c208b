//! The board: how all services of a tree stand, for whoever looks, and the place to ask for more.
//!
//! It is one value in a `watch` channel, with a row for each service in the order of start; the
//! services of a nested supervisor follow its own row. Three write to a row: the supervisor, the
//! [reporter](super::Reporter) of the present start, and the [`Seat`] in the task of that start, which
//! clears the row when the task ends. So a service is never shown as running after its task ended,
//! however late its supervisor hears of it.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::service::Reporter;
use crate::limits::MAX_REASON_LEN;

/// What a service is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It waits for its turn, or its task runs and is not ready yet.
    Starting,
    /// Its task runs.
    Running,
    /// It failed, and is started again after a while.
    BackingOff,
    /// It ended well and is left alone, or its supervisor does not run.
    Stopped,
    /// It failed and is left alone.
    Failed,
}

impl State {
    /// The word for it in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::BackingOff => "backing_off",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

/// How well a service does what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing is known against it.
    Ok,
    /// It runs, but not as it should; the reason is in words for the user.
    Degraded(String),
    /// It does not run, because it failed.
    Failed,
}

impl Health {
    /// The word for it in JSON.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded(_) => "degraded",
            Self::Failed => "failed",
        }
    }

    /// Why it is degraded.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Degraded(reason) => Some(reason),
            Self::Ok | Self::Failed => None,
        }
    }
}

/// How one service stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its name; in a nested supervisor after the supervisor's and a dot.
    pub name: String,
    /// What it is doing.
    pub state: State,
    /// How well.
    pub health: Health,
    /// How often it was started after the first time, for whatever reason.
    pub restarts: u64,
    /// Why it failed, the last time it did.
    pub last_error: Option<String>,
    /// When `state` became what it is.
    pub since: SystemTime,
}

/// Where requests for a service go: its supervisor, and its place there.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) requests: mpsc::Sender<usize>,
    pub(super) place: usize,
}

/// The present start of a service.
struct Live {
    bomb: CancellationToken,
    wake: Arc<Notify>,
}

/// A row of the board, and what belongs to it that is not shown.
pub(super) struct Row {
    pub(super) status: Status,
    /// When the last start was ready.
    pub(super) ready_at: Option<Instant>,
    /// When the last start gave a sign of life.
    pub(super) beat: Instant,
    starts: u64,
    live: Option<Live>,
    desk: Option<Desk>,
}

impl Row {
    fn new(name: String) -> Self {
        let status = Status {
            name,
            state: State::Stopped,
            health: Health::Ok,
            restarts: 0,
            last_error: None,
            since: SystemTime::now(),
        };
        Self { status, ready_at: None, beat: Instant::now(), starts: 0, live: None, desk: None }
    }

    pub(super) fn enter(&mut self, state: State, health: Health) {
        if self.status.state != state {
            self.status.since = SystemTime::now();
        }
        self.status.state = state;
        self.status.health = health;
    }

    pub(super) fn blame(&mut self, error: &str) {
        self.status.last_error = Some(clip(error));
    }
}

/// A text of bounded length.
pub(super) fn clip(text: &str) -> String {
    text.chars().take(MAX_REASON_LEN).collect()
}

/// How all services of a supervisor and of those below it stand. Clones show the same.
#[derive(Clone)]
pub struct Board {
    rows: Arc<watch::Sender<Vec<Row>>>,
    seen: watch::Receiver<Vec<Row>>,
}

impl std::fmt::Debug for Board {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.snapshot()).finish()
    }
}

impl Board {
    pub(super) fn new(names: Vec<String>) -> Self {
        let (rows, seen) = watch::channel(names.into_iter().map(Row::new).collect());
        Self { rows: Arc::new(rows), seen }
    }

    /// All services in the order of their start.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Status> {
        self.rows.borrow().iter().map(|row| row.status.clone()).collect()
    }

    /// Waits until something changes that this clone was not told of. Changes in quick succession
    /// may be told as one.
    pub async fn changed(&mut self) {
        if self.seen.changed().await.is_err() {
            // The sender lives as long as we do.
            std::future::pending::<()>().await;
        }
    }

    /// Asks for a service to be stopped and started again; its backoff is cut short. False if there
    /// is no such service, its supervisor does not run, or it has a crowd of requests to answer.
    #[must_use]
    pub fn restart(&self, name: &str) -> bool {
        let desk = self.find(name, |row| row.desk.clone()).flatten();
        desk.is_some_and(|desk| desk.requests.try_send(desk.place).is_ok())
    }

    /// Makes the task of a service panic, for fault injection. False if it has none.
    #[must_use]
    pub fn panic(&self, name: &str) -> bool {
        let bomb = self.find(name, |row| row.live.as_ref().map(|live| live.bomb.clone())).flatten();
        bomb.is_some_and(|bomb| {
            let fresh = !bomb.is_cancelled();
            bomb.cancel();
            fresh
        })
    }

    fn find<T>(&self, name: &str, look: impl FnOnce(&Row) -> T) -> Option<T> {
        self.rows.borrow().iter().find(|row| row.status.name == name).map(look)
    }

    pub(super) fn look<T>(&self, row: usize, look: impl FnOnce(&Row) -> T) -> Option<T> {
        self.rows.borrow().get(row).map(look)
    }

    /// Changes a row, and tells those who wait if what is shown changed.
    pub(super) fn update(&self, row: usize, change: impl FnOnce(&mut Row)) {
        self.rows.send_if_modified(|rows| {
            let Some(row) = rows.get_mut(row) else { return false };
            let before = row.status.clone();
            change(row);
            row.status != before
        });
    }

    /// As [`update`](Self::update), if the start with this number is the present one.
    pub(super) fn report(&self, row: usize, start: u64, change: impl FnOnce(&mut Row)) {
        self.update(row, |row| {
            if row.starts == start && row.live.is_some() {
                change(row);
                row.beat = Instant::now();
            }
        });
    }

    pub(super) fn open_desk(&self, row: usize, desk: Desk) {
        self.update(row, |row| {
            row.desk = Some(desk);
            row.enter(State::Starting, Health::Ok);
        });
    }

    /// Shows that the supervisor of the row ended. What still runs is cut off.
    pub(super) fn close_desk(&self, row: usize) {
        self.update(row, |row| {
            row.desk = None;
            if row.live.take().is_some() {
                row.blame("its supervisor ended before it");
            }
            if row.status.state != State::Failed {
                row.enter(State::Stopped, Health::Ok);
            }
        });
    }

    /// Prepares the next start of a service, which is over when the seat is dropped.
    pub(super) fn seat(&self, row: usize, stop: CancellationToken, wake: &Arc<Notify>) -> Seat {
        let bomb = CancellationToken::new();
        let live = Live { bomb: bomb.clone(), wake: Arc::clone(wake) };
        let mut start = 0;
        self.update(row, |row| {
            row.starts += 1;
            row.status.restarts = row.starts - 1;
            row.enter(State::Starting, Health::Ok);
            row.live = Some(live);
            row.ready_at = None;
            row.beat = Instant::now();
            start = row.starts;
        });
        Seat { reporter: Reporter::new(self.clone(), row, start), bomb, stop }
    }

    pub(super) fn ready(&self, row: usize, start: u64) {
        self.report(row, start, |row| {
            if row.ready_at.is_none() {
                row.ready_at = Some(Instant::now());
                let health = row.status.health.clone();
                row.enter(State::Running, health);
            }
            if let Some(live) = &row.live {
                live.wake.notify_one();
            }
        });
    }

    fn leave(&self, row: usize, start: u64) {
        self.report(row, start, |row| {
            row.live = None;
            row.enter(State::Stopped, Health::Ok);
        });
    }
}

/// One start of a service, kept in its task: dropped when the task ends, in whatever way.
pub(super) struct Seat {
    pub(super) reporter: Reporter,
    pub(super) bomb: CancellationToken,
    stop: CancellationToken,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.reporter.board.leave(self.reporter.row, self.reporter.start);
        self.stop.cancel();
    }
}
