//! Stops, graceful and forced, and requested restarts.

use super::super::Restart;
use super::*;

/// Ends so long after it was told to.
fn slow(log: &Log, name: &'static str, time: Duration) -> Service {
    let log = log.clone();
    Service::new(name, move |context| {
        let log = log.clone();
        async move {
            context.stop.cancelled().await;
            log.add(format!("{name} is told"));
            tokio::time::sleep(time).await;
            log.add(format!("{name} is done"));
            Ok(())
        }
    })
}

const FOR_EVER: Duration = Duration::from_secs(1 << 30);

#[tokio::test(start_paused = true)]
async fn each_is_told_to_stop_when_those_after_it_have() {
    let log = Log::default();
    let services =
        one_for_one().service(slow(&log, "a", SECOND)).service(slow(&log, "b", 9 * SECOND));
    let stage = Stage::new(services).await;
    let started = tokio::time::Instant::now();
    stage.end().await.unwrap();
    assert_eq!(log.take(), ["b is told", "b is done", "a is told", "a is done"]);
    assert!((10 * SECOND..11 * SECOND).contains(&started.elapsed()));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_stop_within_its_grace_is_aborted() {
    let log = Log::default();
    let services = one_for_one()
        .service(log.loyal("a"))
        .service(slow(&log, "stubborn", FOR_EVER).grace(3 * SECOND));
    let stage = Stage::new(services).await;
    let (started, board) = (tokio::time::Instant::now(), stage.board.clone());
    stage.end().await.unwrap();
    assert_eq!(log.take(), ["a starts", "stubborn is told", "a stops"]);
    assert!((3 * SECOND..4 * SECOND).contains(&started.elapsed()));
    let status = &board.snapshot()[1];
    assert_eq!(status.last_error.as_deref(), Some("did not stop within 3s"));
    assert_eq!(status.state, State::Stopped);
}

#[tokio::test(start_paused = true)]
async fn the_whole_shutdown_is_bounded() {
    let log = Log::default();
    let names = ["a", "b", "c", "d"];
    let services = names.iter().fold(one_for_one().shutdown(15 * SECOND), |services, name| {
        services.service(slow(&log, name, FOR_EVER))
    });
    let stage = Stage::new(services).await;
    let (started, board) = (tokio::time::Instant::now(), stage.board.clone());
    stage.end().await.unwrap();
    assert!((15 * SECOND..17 * SECOND).contains(&started.elapsed()));
    assert_eq!(log.take(), ["d is told", "c is told"]);
    assert!(board.snapshot().iter().all(|status| status.state == State::Stopped));
}

#[tokio::test(start_paused = true)]
async fn a_nested_shutdown_ends_within_the_grace_it_has_above() {
    let log = Log::default();
    let inner = one_for_one().shutdown(4 * SECOND).service(slow(&log, "x", FOR_EVER));
    let stage = Stage::new(one_for_one().service(Service::nested("inner", inner))).await;
    let board = stage.board.clone();
    stage.end().await.unwrap();
    let status = board.snapshot().remove(0);
    assert_eq!((status.state, status.last_error), (State::Stopped, None));
    assert_eq!(board.snapshot()[1].last_error.as_deref(), Some("was aborted"));
}

/// A task in a blocking call heeds no abort: its supervisor goes on, and ends without it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_blocks_its_thread_blocks_no_supervisor() {
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = Arc::new(Mutex::new(blocked));
    let blocking = Service::new("blocking", move |context| {
        let blocked = Arc::clone(&blocked);
        async move {
            context.stop.cancelled().await;
            let _ended = blocked.lock().unwrap().recv();
            Ok(())
        }
    });
    let log = Log::default();
    let services = one_for_one()
        .shutdown(Duration::from_millis(50))
        .service(log.loyal("other"))
        .service(blocking.grace(Duration::from_millis(10)));
    let mut stage = Stage::new(services).await;
    while stage.state("blocking") != State::Running {
        stage.board.changed().await;
    }
    assert!(stage.board.restart("blocking"));
    while stage.status("blocking").health.reason().is_none() {
        stage.board.changed().await;
    }
    assert_eq!(stage.status("blocking").restarts, 0, "it is not started beside itself");
    let board = stage.board.clone();
    assert!(stage.end().await.is_ok());
    assert!(board.snapshot().iter().all(|status| status.state == State::Stopped));
    drop(release);
}

#[tokio::test(start_paused = true)]
async fn dropping_a_supervisor_ends_its_services() {
    let alive = Arc::new(());
    let count = Arc::clone(&alive);
    let service = Service::new("a", move |_| {
        let held = Arc::clone(&count);
        async move {
            std::future::pending::<()>().await;
            drop(held);
            Ok(())
        }
    });
    let stage = Stage::new(one_for_one().service(service)).await;
    assert_eq!(Arc::strong_count(&alive), 3);
    stage.running.abort();
    settle().await;
    assert_eq!(Arc::strong_count(&alive), 1);
    assert_eq!(stage.state("a"), State::Stopped);
}

#[tokio::test(start_paused = true)]
async fn tasks_of_a_service_learn_of_its_end_by_its_token() {
    let log = Log::default();
    let seen = log.clone();
    let service = Service::new("a", move |context| {
        let log = seen.clone();
        async move {
            tokio::spawn(async move {
                context.stop.cancelled().await;
                log.add("the task it spawned stops");
            });
            Err("gone".into())
        }
    });
    let stage = Stage::new(one_for_one().service(service)).await;
    assert_eq!(log.take(), ["the task it spawned stops"]);
    stage.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_requested_restart_is_graceful_and_not_counted() {
    let log = Log::default();
    let services = one_for_one()
        .intensity(Intensity { restarts: 0, within: SECOND })
        .service(log.loyal("a"))
        .service(log.loyal("b"));
    let stage = Stage::new(services).await;
    log.take();
    for restarts in 1..=5 {
        assert!(stage.board.restart("a"));
        settle().await;
        assert_eq!(log.take(), ["a stops", "a starts"]);
        let status = stage.status("a");
        assert_eq!((status.state, status.restarts), (State::Running, restarts));
        assert_eq!(status.last_error, None);
    }
    assert!(!stage.board.restart("c"));
    let asked = (0..100).filter(|_| stage.board.restart("b")).count();
    assert_eq!(asked, crate::limits::MAX_REQUESTS_WAITING);
    stage.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_requested_restart_cuts_a_backoff_short_and_revives_the_failed() {
    let (log, signal) = (Log::default(), CancellationToken::new());
    let patient = Backoff { first: 60 * SECOND, ..Backoff::default() };
    let services = one_for_one()
        .backoff(patient)
        .service(failing_on(&log, "waits", &signal))
        .service(failing_on(&log, "failed", &signal).restart(Restart::Temporary));
    let stage = Stage::new(services).await;
    signal.cancel();
    settle().await;
    assert_eq!((stage.state("waits"), stage.state("failed")), (State::BackingOff, State::Failed));
    assert!(stage.board.restart("waits") && stage.board.restart("failed"));
    settle().await;
    assert_eq!((stage.state("waits"), stage.state("failed")), (State::Running, State::Running));
    assert!(stage.board.restart("failed"), "a temporary one, too, if it is asked for");
    settle().await;
    assert_eq!((stage.state("failed"), stage.status("failed").restarts), (State::Running, 2));
    stage.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_requested_restart_takes_those_along_that_depend_on_it() {
    let log = Log::default();
    let once = Service::new("once", {
        let log = log.clone();
        move |_| {
            log.add("once runs");
            async { Ok(()) }
        }
    });
    let services = rest_for_one()
        .service(log.loyal("a"))
        .service(log.loyal("b"))
        .service(once.restart(Restart::Transient))
        .service(log.loyal("brief").restart(Restart::Temporary))
        .service(log.loyal("c"));
    let stage = Stage::new(services).await;
    assert_eq!(log.take(), ["a starts", "b starts", "once runs", "brief starts", "c starts"]);
    assert!(stage.board.restart("b"));
    settle().await;
    let rest = ["c stops", "brief stops", "b stops", "b starts", "once runs", "c starts"];
    assert_eq!(log.take(), rest);
    assert_eq!(stage.state("brief"), State::Stopped);
    stage.end().await.unwrap();
}
