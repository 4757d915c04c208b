//! Supervisors under a virtual clock.

mod failures;
mod random;
mod stops;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Backoff, Board, Context, GaveUp, Intensity, Service, State, Status};
use super::{Strategy, Supervisor};

const SECOND: Duration = Duration::from_secs(1);

/// What services did, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    /// What was done since the last look.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    /// A service that does nothing but stop when it is told.
    fn loyal(&self, name: &'static str) -> Service {
        let log = self.clone();
        Service::new(name, move |context| {
            let log = log.clone();
            async move {
                log.add(format!("{name} starts"));
                context.stop.cancelled().await;
                log.add(format!("{name} stops"));
                Ok(())
            }
        })
    }
}

/// A supervisor at work.
struct Stage {
    board: Board,
    stop: CancellationToken,
    running: JoinHandle<Result<(), GaveUp>>,
}

impl Stage {
    async fn new(supervisor: Supervisor) -> Self {
        let board = supervisor.board();
        let stop = CancellationToken::new();
        let running = tokio::spawn({
            let stop = stop.clone();
            async move { supervisor.run(stop).await }
        });
        let stage = Self { board, stop, running };
        settle().await;
        stage
    }

    fn status(&self, name: &str) -> Status {
        self.board.snapshot().into_iter().find(|status| status.name == name).unwrap()
    }

    fn state(&self, name: &str) -> State {
        self.status(name).state
    }

    async fn end(self) -> Result<(), GaveUp> {
        self.stop.cancel();
        self.running.await.unwrap()
    }
}

/// Lets every task do what it can without the clock moving.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Moves the clock, and lets every task do what it then can.
async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
    settle().await;
}

/// Fails at each start after a while.
fn failing_after(name: &'static str, time: Duration) -> Service {
    Service::new(name, move |_| async move {
        tokio::time::sleep(time).await;
        Err("the cable is cut".into())
    })
}

/// Fails once, when the token is cancelled.
fn failing_on(log: &Log, name: &'static str, signal: &CancellationToken) -> Service {
    let (log, signal) = (log.clone(), signal.clone());
    Service::new(name, move |Context { stop, .. }| {
        let (log, signal) = (log.clone(), signal.clone());
        async move {
            log.add(format!("{name} starts"));
            if signal.is_cancelled() {
                stop.cancelled().await;
                log.add(format!("{name} stops"));
                return Ok(());
            }
            tokio::select! {
                () = stop.cancelled() => Ok(()),
                () = signal.cancelled() => {
                    log.add(format!("{name} fails"));
                    Err("the cable is cut".into())
                }
            }
        }
    })
}

fn one_for_one() -> Supervisor {
    Supervisor::new(Strategy::OneForOne)
}

fn rest_for_one() -> Supervisor {
    Supervisor::new(Strategy::RestForOne)
}

fn unlimited() -> Intensity {
    Intensity { restarts: u32::MAX, within: SECOND }
}

#[tokio::test(start_paused = true)]
async fn one_for_one_starts_only_the_failed_one_again() {
    let (log, signal) = (Log::default(), CancellationToken::new());
    let services = one_for_one()
        .service(log.loyal("a"))
        .service(failing_on(&log, "b", &signal))
        .service(log.loyal("c"));
    let stage = Stage::new(services).await;
    assert_eq!(log.take(), ["a starts", "b starts", "c starts"]);
    signal.cancel();
    settle().await;
    assert_eq!(stage.state("b"), State::BackingOff);
    assert_eq!((stage.state("a"), stage.state("c")), (State::Running, State::Running));
    pass(SECOND).await;
    assert_eq!(log.take(), ["b fails", "b starts"]);
    let status = stage.status("b");
    assert_eq!((status.state, status.restarts), (State::Running, 1));
    assert_eq!(status.last_error.as_deref(), Some("the cable is cut"));
    assert!(stage.end().await.is_ok());
    assert_eq!(log.take(), ["c stops", "b stops", "a stops"]);
}

#[tokio::test(start_paused = true)]
async fn rest_for_one_stops_those_after_in_reverse_and_starts_all_in_order() {
    let (log, signal) = (Log::default(), CancellationToken::new());
    let services = rest_for_one()
        .service(log.loyal("a"))
        .service(failing_on(&log, "b", &signal))
        .service(log.loyal("c"))
        .service(log.loyal("d"));
    let stage = Stage::new(services).await;
    assert_eq!(log.take(), ["a starts", "b starts", "c starts", "d starts"]);
    signal.cancel();
    settle().await;
    assert_eq!(log.take(), ["b fails", "d stops", "c stops"]);
    assert_eq!((stage.state("b"), stage.state("c")), (State::BackingOff, State::Starting));
    pass(SECOND).await;
    assert_eq!(log.take(), ["b starts", "c starts", "d starts"]);
    let restarts: Vec<u64> = stage.board.snapshot().iter().map(|status| status.restarts).collect();
    assert_eq!(restarts, [0, 1, 1, 1]);
    stage.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn rest_for_one_waits_until_each_is_ready() {
    let log = Log::default();
    let slow = Service::new("store", |context| async move {
        tokio::time::sleep(5 * SECOND).await;
        context.health.degraded("checks its blocks");
        context.health.ready();
        context.stop.cancelled().await;
        Ok(())
    });
    let stage =
        Stage::new(rest_for_one().service(slow.says_ready()).service(log.loyal("http"))).await;
    assert_eq!((stage.state("store"), stage.state("http")), (State::Starting, State::Starting));
    pass(4 * SECOND).await;
    assert!(log.take().is_empty());
    pass(2 * SECOND).await;
    assert_eq!(log.take(), ["http starts"]);
    assert_eq!((stage.state("store"), stage.state("http")), (State::Running, State::Running));
    assert_eq!(stage.status("store").health.reason(), Some("checks its blocks"));
    stage.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_for_one_waits_for_nobody() {
    let log = Log::default();
    let never = log.loyal("never ready").says_ready();
    let stage = Stage::new(one_for_one().service(never).service(log.loyal("b"))).await;
    assert_eq!(stage.state("never ready"), State::Starting);
    assert_eq!(stage.state("b"), State::Running);
    stage.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_board_shows_nested_services_after_their_supervisor() {
    let log = Log::default();
    let net = one_for_one().service(log.loyal("dht")).service(log.loyal("swarms"));
    let services = one_for_one()
        .service(log.loyal("store"))
        .service(Service::nested("net", net))
        .service(log.loyal("http"));
    let board = services.board();
    let shown = |board: &Board| -> Vec<String> {
        let word = |status: Status| format!("{} {}", status.name, status.state.as_str());
        board.snapshot().into_iter().map(word).collect()
    };
    let names = ["store", "net", "net.dht", "net.swarms", "http"];
    assert_eq!(shown(&board), names.map(|name| format!("{name} stopped")));
    let stage = Stage::new(services).await;
    assert_eq!(shown(&board), names.map(|name| format!("{name} running")));
    stage.end().await.unwrap();
    assert_eq!(shown(&board), names.map(|name| format!("{name} stopped")));
    let done = log.take();
    assert_eq!(done[4..], ["http stops", "swarms stops", "dht stops", "store stops"]);
}

#[tokio::test(start_paused = true)]
async fn a_nested_supervisor_is_ready_when_all_its_services_are() {
    let log = Log::default();
    let slow = Service::new("slow", |context| async move {
        tokio::time::sleep(SECOND).await;
        context.health.ready();
        context.stop.cancelled().await;
        Ok(())
    });
    let inner = one_for_one().service(slow.says_ready()).service(log.loyal("quick"));
    let services =
        rest_for_one().service(Service::nested("inner", inner)).service(log.loyal("after"));
    let stage = Stage::new(services).await;
    assert_eq!(stage.state("inner"), State::Starting);
    assert_eq!(log.take(), ["quick starts"]);
    pass(2 * SECOND).await;
    assert_eq!(stage.state("inner"), State::Running);
    assert_eq!(log.take(), ["after starts"]);
    stage.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_board_tells_of_changes_and_of_nothing_else() {
    let service = Service::new("a", |context| async move {
        loop {
            tokio::time::sleep(10 * SECOND).await;
            context.health.beat();
            context.health.ok();
            tokio::time::sleep(10 * SECOND).await;
            context.health.degraded("no peers");
        }
    });
    let stage = Stage::new(one_for_one().service(service)).await;
    let mut board = stage.board.clone();
    tokio::time::timeout(SECOND, board.changed()).await.unwrap();
    let started = tokio::time::Instant::now();
    board.changed().await;
    assert_eq!(board.snapshot()[0].health.reason(), Some("no peers"));
    assert!((19 * SECOND..=20 * SECOND).contains(&started.elapsed()), "{:?}", started.elapsed());
    let since = board.snapshot()[0].since;
    board.changed().await;
    assert_eq!(board.snapshot()[0].health.as_str(), "ok");
    assert_eq!(board.snapshot()[0].since, since, "the state is the same");
}

#[tokio::test(start_paused = true)]
async fn a_reporter_of_an_earlier_start_is_not_heard() {
    let log = Log::default();
    let old = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&old);
    let service = Service::new("a", move |context| {
        kept.lock().unwrap().get_or_insert(context.health.clone());
        async move {
            context.stop.cancelled().await;
            Ok(())
        }
    });
    let stage = Stage::new(one_for_one().service(service).service(log.loyal("b"))).await;
    assert!(stage.board.restart("a"));
    settle().await;
    old.lock().unwrap().as_ref().unwrap().degraded("I am a ghost");
    assert_eq!(stage.status("a").health.as_str(), "ok");
    assert_eq!(stage.status("a").restarts, 1);
    stage.end().await.unwrap();
}

#[test]
fn delays_double_up_to_the_most_with_jitter() {
    let backoff = Backoff::default();
    for (failures, exact) in [(1, 0.5), (2, 1.0), (3, 2.0), (7, 32.0), (8, 60.0), (u32::MAX, 60.0)]
    {
        for _ in 0..100 {
            let delay = backoff.delay(failures).as_secs_f64();
            assert!(delay >= exact * 0.749 && delay <= exact * 1.251, "{failures}: {delay}");
            assert!((0.5..=60.0).contains(&delay), "{failures}: {delay}");
        }
    }
    let odd = Backoff { first: SECOND, most: Duration::ZERO, ..backoff };
    assert_eq!(odd.delay(3), Duration::ZERO);
}
