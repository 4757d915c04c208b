//! A supervisor at work: one loop that owns the tasks of its services and waits for none of them.
//!
//! Each turn of the loop does what is due ([`Run::settle`]) and then waits for the next event: the end
//! of a task, a request, a service that became ready, a deadline, or the stop. Stopping is a state
//! of a service, not a wait; services that are to be stopped one after the other are the range from
//! `draining` on, whose last living member is told to stop in each turn.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::board::{Board, Desk, Health, State};
use super::policy::{Recent, Restart, Strategy};
use super::service::{BoxError, Reporter, Service};
use super::supervisor::{ABORT_WAIT, GaveUp, Supervisor};
use crate::limits::MAX_REQUESTS_WAITING;

/// How a task ended.
type Ended = Result<(Id, Result<(), BoxError>), JoinError>;

/// A service, and where it is in its life.
struct Child<'a> {
    service: &'a Service,
    row: usize,
    phase: Phase,
    /// Failures without a long healthy time between them.
    failures: u32,
    /// Somebody asked for it to be started again.
    asked: bool,
}

enum Phase {
    /// It is started when this time and its turn have come.
    Waiting(Instant),
    /// It has a task.
    Live(Life),
    /// It is left alone.
    Over,
}

struct Life {
    task: AbortHandle,
    stop: CancellationToken,
    stopping: Option<Stopping>,
}

/// A service was told to stop.
struct Stopping {
    /// Why that makes it a failed one.
    fault: Option<String>,
    /// When it is aborted.
    until: Instant,
    aborted: bool,
}

/// The supervisor is to end.
struct Closing {
    until: Instant,
    aborted: bool,
    verdict: Result<(), GaveUp>,
}

/// A supervisor at work. Dropping it aborts its tasks.
pub(super) struct Run<'a> {
    rules: &'a Supervisor,
    board: Board,
    children: Vec<Child<'a>>,
    tasks: JoinSet<Result<(), BoxError>>,
    recent: Recent,
    /// The services from here on are to be stopped, the last one first, before any is started.
    draining: Option<usize>,
    closing: Option<Closing>,
    wake: Arc<Notify>,
    requests: mpsc::Receiver<usize>,
}

impl<'a> Run<'a> {
    /// Takes over the rows of the board from `first` on.
    pub(super) fn new(rules: &'a Supervisor, board: Board, first: usize) -> Self {
        let (sender, requests) = mpsc::channel(MAX_REQUESTS_WAITING);
        let mut row = first;
        let mut children = Vec::new();
        for (place, (service, rows)) in rules.services.iter().zip(rules.rows()).enumerate() {
            board.open_desk(row, Desk { requests: sender.clone(), place });
            let phase = Phase::Waiting(Instant::now());
            children.push(Child { service, row, phase, failures: 0, asked: false });
            row += rows;
        }
        Self {
            rules,
            board,
            children,
            tasks: JoinSet::new(),
            recent: Recent::default(),
            draining: None,
            closing: None,
            wake: Arc::new(Notify::new()),
            requests,
        }
    }

    /// Works until it is stopped or gives up. Tells `above` when all services are ready.
    pub(super) async fn until(
        mut self,
        stop: CancellationToken,
        mut above: Option<Reporter>,
    ) -> Result<(), GaveUp> {
        let wake = Arc::clone(&self.wake);
        loop {
            self.settle();
            if let Some(above) = above.take_if(|_| self.may_pass(self.children.len())) {
                above.ready();
            }
            if let Some(verdict) = self.verdict() {
                return verdict;
            }
            let next = self.next_deadline();
            tokio::select! {
                () = stop.cancelled(), if self.closing.is_none() => self.close(Ok(())),
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended),
                Some(place) = self.requests.recv() => self.restart(place),
                () = wake.notified() => (),
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => (),
            }
        }
    }

    /// Does what is due.
    fn settle(&mut self) {
        let now = Instant::now();
        for place in 0..self.children.len() {
            self.enforce(place, now);
        }
        self.enforce_closing(now);
        self.drain();
        if self.draining.is_none() && self.closing.is_none() {
            self.start_due(now);
        }
    }

    fn start_due(&mut self, now: Instant) {
        for place in 0..self.children.len() {
            let due = |child: &Child| matches!(child.phase, Phase::Waiting(at) if at <= now);
            let due = self.children.get(place).is_some_and(due);
            if due && (self.rules.strategy == Strategy::OneForOne || self.may_pass(place)) {
                self.start(place);
            }
        }
    }

    /// Whether all services before this place are ready or left alone.
    fn may_pass(&self, place: usize) -> bool {
        self.children.iter().take(place).all(|child| match &child.phase {
            Phase::Waiting(_) => false,
            Phase::Live(life) => life.stopping.is_none() && self.ready_at(child).is_some(),
            Phase::Over => true,
        })
    }

    fn ready_at(&self, child: &Child) -> Option<Instant> {
        self.board.look(child.row, |row| row.ready_at).flatten()
    }

    fn start(&mut self, place: usize) {
        let Some(child) = self.children.get_mut(place) else { return };
        let stop = CancellationToken::new();
        let seat = self.board.seat(child.row, stop.clone(), &self.wake);
        let task = self.tasks.spawn(child.service.task(seat, stop.clone()));
        child.phase = Phase::Live(Life { task, stop, stopping: None });
    }

    /// Tells a service to stop, unless it was told; with a fault it has failed.
    fn stop(&mut self, place: usize, fault: Option<String>) {
        let Some(child) = self.children.get_mut(place) else { return };
        let Phase::Live(life) = &mut child.phase else { return };
        if life.stopping.is_none() {
            let until = Instant::now() + child.service.grace;
            life.stopping = Some(Stopping { fault, until, aborted: false });
            life.stop.cancel();
        }
    }

    /// Holds a service to its watchdog and its grace.
    fn enforce(&mut self, place: usize, now: Instant) {
        let Some(child) = self.children.get_mut(place) else { return };
        let silent = child.service.watchdog.filter(|_| child.silent_at(&self.board) <= Some(now));
        let Phase::Live(life) = &mut child.phase else { return };
        match &mut life.stopping {
            None => {
                if let Some(period) = silent {
                    self.stop(place, Some(format!("no heartbeat for {}", words(period))));
                }
            }
            Some(stopping) if !stopping.aborted && stopping.until <= now => {
                stopping.aborted = true;
                life.task.abort();
                let error = format!("did not stop within {}", words(child.service.grace));
                self.board.update(child.row, |row| {
                    row.blame(&error);
                    row.status.health = Health::Degraded(error);
                });
            }
            Some(_) => (),
        }
    }

    fn enforce_closing(&mut self, now: Instant) {
        let Some(closing) = &mut self.closing else { return };
        if !closing.aborted && closing.until <= now {
            closing.aborted = true;
            closing.until = now + ABORT_WAIT;
            self.tasks.abort_all();
        }
    }

    /// Stops the last living service of those that are to be stopped.
    fn drain(&mut self) {
        let Some(floor) = self.draining else { return };
        let living = |child: &Child| matches!(child.phase, Phase::Live(_));
        match self.children.iter().rposition(living).filter(|last| *last >= floor) {
            Some(last) => self.stop(last, None),
            None => self.draining = None,
        }
    }

    /// Has the services from `floor` on stopped; they are started again when all have ended.
    fn drain_from(&mut self, floor: usize) {
        self.draining = Some(self.draining.map_or(floor, |old| old.min(floor)));
        for child in self.children.iter_mut().skip(floor) {
            if matches!(child.phase, Phase::Over) && child.service.restart != Restart::Temporary {
                child.await_turn(&self.board);
            }
        }
    }

    fn close(&mut self, verdict: Result<(), GaveUp>) {
        let until = Instant::now() + self.rules.shutdown;
        self.closing = Some(Closing { until, aborted: false, verdict });
        self.draining = Some(0);
        for child in &mut self.children {
            if matches!(child.phase, Phase::Waiting(_)) {
                child.phase = Phase::Over;
                self.board.update(child.row, |row| row.enter(State::Stopped, Health::Ok));
            }
        }
    }

    /// The verdict, when there is one and nothing is left to wait for.
    fn verdict(&mut self) -> Option<Result<(), GaveUp>> {
        let waited = |closing: &mut Closing| closing.aborted && closing.until <= Instant::now();
        let nothing_lives = self.tasks.is_empty();
        self.closing.take_if(|closing| nothing_lives || waited(closing)).map(|it| it.verdict)
    }

    /// The next time at which something is due that no event announces.
    fn next_deadline(&self) -> Option<Instant> {
        let now = Instant::now();
        let of_children = self.children.iter().filter_map(|child| match &child.phase {
            // Those that are due already wait for their turn.
            Phase::Waiting(at) => Some(*at).filter(|at| *at > now),
            Phase::Live(Life { stopping: None, .. }) => child.silent_at(&self.board),
            Phase::Live(Life { stopping: Some(stopping), .. }) => {
                Some(stopping.until).filter(|_| !stopping.aborted)
            }
            Phase::Over => None,
        });
        of_children.chain(self.closing.as_ref().map(|closing| closing.until)).min()
    }

    fn restart(&mut self, place: usize) {
        let Some(child) = self.children.get_mut(place).filter(|_| self.closing.is_none()) else {
            return;
        };
        child.failures = 0;
        child.asked = matches!(child.phase, Phase::Live(_));
        if !child.asked {
            child.await_turn(&self.board);
        }
        match self.rules.strategy {
            Strategy::RestForOne => self.drain_from(place),
            Strategy::OneForOne => self.stop(place, None),
        }
    }

    /// Decides what follows the end of a task.
    fn ended(&mut self, ended: Ended) {
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let has_task =
            |child: &Child| matches!(&child.phase, Phase::Live(life) if life.task.id() == id);
        let Some(place) = self.children.iter().position(has_task) else { return };
        let ordered = self.draining.is_some_and(|floor| floor <= place);
        let Some(child) = self.children.get_mut(place) else { return };
        let Phase::Live(life) = std::mem::replace(&mut child.phase, Phase::Over) else { return };
        let (told, fault) = match life.stopping {
            None => (ordered, fault(ended)),
            Some(Stopping { fault: Some(silence), .. }) => (ordered, Some(silence)),
            // It is aborted, and blamed for it, or does as it was told.
            Some(Stopping { aborted: true, .. }) => (true, None),
            Some(_) => (true, fault(ended)),
        };
        if let Some(fault) = &fault {
            self.board.update(child.row, |row| row.blame(fault));
        }
        let asked = std::mem::take(&mut child.asked);
        if self.closing.is_some() {
            return;
        }
        let temporary = child.service.restart == Restart::Temporary;
        match (told, fault) {
            (true, _) if asked || !temporary => child.await_turn(&self.board),
            (false, Some(fault)) => self.failed(place, &fault),
            (false, None) if child.service.restart == Restart::Permanent => {
                self.failed(place, "ended by itself");
            }
            (true, _) | (false, None) => (),
        }
    }

    /// Has a service started again that failed, or gives up.
    fn failed(&mut self, place: usize, error: &str) {
        let healthy_since = self.children.get(place).and_then(|child| self.ready_at(child));
        let Some(child) = self.children.get_mut(place) else { return };
        let now = Instant::now();
        let left_alone = child.service.restart == Restart::Temporary;
        let borne = left_alone || self.recent.admit(self.rules.intensity, now);
        let name = self.board.look(child.row, |row| row.status.name.clone()).unwrap_or_default();
        let state = if left_alone || !borne { State::Failed } else { State::BackingOff };
        self.board.update(child.row, |row| {
            row.blame(error);
            row.enter(state, Health::Failed);
        });
        if left_alone {
            tracing::warn!(service = name, error, "a service failed and is left alone");
        } else if borne {
            let healthy =
                healthy_since.is_some_and(|at| now - at >= self.rules.backoff.reset_after);
            child.failures = if healthy { 1 } else { child.failures.saturating_add(1) };
            let delay = self.rules.backoff.delay(child.failures);
            child.phase = Phase::Waiting(now + delay);
            tracing::warn!(service = name, error, ?delay, "a service failed and is started again");
            if self.rules.strategy == Strategy::RestForOne {
                self.drain_from(place + 1);
            }
        } else {
            let super::Intensity { restarts, within } = self.rules.intensity;
            let last_error = super::board::clip(error);
            tracing::error!(service = name, error, restarts, "a service fails too often");
            self.close(Err(GaveUp { service: name, restarts, within, last_error }));
        }
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        for child in &self.children {
            self.board.close_desk(child.row);
        }
    }
}

impl Child<'_> {
    /// Has it started as soon as its turn comes.
    fn await_turn(&mut self, board: &Board) {
        self.phase = Phase::Waiting(Instant::now());
        board.update(self.row, |row| row.enter(State::Starting, Health::Ok));
    }

    /// When it has given no heartbeat for too long.
    fn silent_at(&self, board: &Board) -> Option<Instant> {
        let beat = board.look(self.row, |row| row.beat)?;
        self.service.watchdog.map(|period| beat + period)
    }
}

fn words(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(duration)
}

/// Why a task failed, if it did.
fn fault(ended: Ended) -> Option<String> {
    match ended {
        Ok((_, Ok(()))) => None,
        Ok((_, Err(error))) => Some(with_sources(&*error)),
        Err(error) => match error.try_into_panic() {
            Ok(payload) => Some(format!("panicked: {}", panic_text(&*payload))),
            Err(_) => Some("was aborted".to_owned()),
        },
    }
}

fn panic_text(payload: &(dyn std::any::Any + Send)) -> &str {
    let owned = payload.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("without a text")
}

/// An error and what caused it, as one line.
fn with_sources(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
