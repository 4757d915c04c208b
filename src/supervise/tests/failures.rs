//! Failures of all kinds, and what follows them.

use std::sync::atomic::{AtomicU32, Ordering};

use super::super::{BoxError, Health, Restart};
use super::*;

#[tokio::test(start_paused = true)]
async fn each_kind_of_restart_has_its_own_idea_of_an_end() {
    for (restart, ok, failed) in [
        (Restart::Permanent, State::BackingOff, State::BackingOff),
        (Restart::Transient, State::Stopped, State::BackingOff),
        (Restart::Temporary, State::Stopped, State::Failed),
    ] {
        let good = Service::new("good", |_| async { Ok(()) }).restart(restart);
        let bad = failing_after("bad", Duration::ZERO).restart(restart);
        let stage = Stage::new(one_for_one().service(good).service(bad)).await;
        pass(SECOND / 100).await;
        assert_eq!(stage.state("good"), ok, "{restart:?}");
        let bad = stage.status("bad");
        assert_eq!((bad.state, bad.health), (failed, Health::Failed), "{restart:?}");
        stage.end().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_caught_and_its_text_kept() {
    let starts = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&starts);
    let service = Service::new("a", move |context| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        assert!(number != 1, "in the factory");
        async move {
            assert!(number != 0, "number {number}");
            context.stop.cancelled().await;
            Ok(())
        }
    });
    let stage = Stage::new(one_for_one().service(service)).await;
    assert_eq!(stage.status("a").last_error.as_deref(), Some("panicked: number 0"));
    pass(SECOND).await;
    assert_eq!(stage.status("a").last_error.as_deref(), Some("panicked: in the factory"));
    pass(2 * SECOND).await;
    assert_eq!((stage.state("a"), starts.load(Ordering::SeqCst)), (State::Running, 3));
    stage.end().await.unwrap();
}

/// An error with a cause.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on port 1")]
struct Outer(#[source] std::io::Error);

#[tokio::test(start_paused = true)]
async fn an_error_is_shown_with_its_causes_and_clipped() {
    let listener = Service::new("listener", |_| async {
        let cause = std::io::Error::other("not ours");
        Err(Box::new(Outer(cause)) as BoxError)
    });
    let windy = Service::new("windy", |_| async { Err("é".repeat(1 << 20).into()) });
    let stage = Stage::new(one_for_one().service(listener).service(windy)).await;
    let error = stage.status("listener").last_error.unwrap();
    assert_eq!(error, "cannot listen on port 1: not ours");
    let error = stage.status("windy").last_error.unwrap();
    assert_eq!(error.chars().count(), crate::limits::MAX_REASON_LEN);
}

#[tokio::test(start_paused = true)]
async fn it_gives_up_when_failures_are_too_frequent_and_names_them() {
    let log = Log::default();
    let services = one_for_one()
        .intensity(Intensity { restarts: 3, within: 60 * SECOND })
        .service(log.loyal("a"))
        .service(failing_after("b", SECOND));
    let stage = Stage::new(services).await;
    let (board, started) = (stage.board.clone(), tokio::time::Instant::now());
    let gave_up = stage.running.await.unwrap().unwrap_err();
    // Four runs of a second; between them 0.5, 1 and 2 s, each with its jitter.
    let (least, most) = (Duration::from_millis(6_750), Duration::from_millis(8_400));
    assert!((least..most).contains(&started.elapsed()), "{:?}", started.elapsed());
    assert_eq!(
        gave_up.to_string(),
        "gave up on the service b, which failed after 3 restarts within 1m: the cable is cut"
    );
    assert_eq!(log.take(), ["a starts", "a stops"]);
    let states: Vec<State> = board.snapshot().iter().map(|status| status.state).collect();
    assert_eq!(states, [State::Stopped, State::Failed]);
    assert!(!board.restart("a") && !board.panic("a"), "nobody is there to heed a request");
}

#[tokio::test(start_paused = true)]
async fn failures_that_are_far_apart_are_borne_for_ever() {
    let services = one_for_one()
        .intensity(Intensity { restarts: 3, within: 60 * SECOND })
        .service(failing_after("a", 30 * SECOND));
    let stage = Stage::new(services).await;
    pass(3600 * SECOND).await;
    assert!(stage.status("a").restarts > 30);
    stage.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_backoff_begins_anew_after_a_long_healthy_run() {
    let starts = Arc::new(Mutex::new(Vec::new()));
    let times = Arc::clone(&starts);
    let service = Service::new("a", move |_| {
        let mut times = times.lock().unwrap();
        times.push(tokio::time::Instant::now());
        let lasts = if times.len() == 6 { 500 * SECOND } else { Duration::ZERO };
        async move {
            tokio::time::sleep(lasts).await;
            Err("tired".into())
        }
    });
    let stage = Stage::new(one_for_one().intensity(unlimited()).service(service)).await;
    pass(600 * SECOND).await;
    let times = starts.lock().unwrap().clone();
    let waits: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
    for (wait, exact) in waits.iter().zip([0.5, 1.0, 2.0, 4.0, 8.0]) {
        assert!((exact * 0.74..exact * 1.26).contains(wait), "{waits:?}");
    }
    assert!((500.4..500.7).contains(&waits[5]), "{waits:?}");
    assert!((0.7..1.3).contains(&waits[6]), "{waits:?}");
    stage.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_service_without_heartbeat_is_started_again() {
    let log = Log::default();
    let seen = log.clone();
    let stuck = Service::new("stuck", move |context| {
        let log = seen.clone();
        async move {
            for _ in 0..3 {
                tokio::time::sleep(20 * SECOND).await;
                context.health.beat();
            }
            context.stop.cancelled().await;
            log.add("was told to stop");
            std::future::pending().await
        }
    });
    let stuck = stuck.watchdog(30 * SECOND).grace(5 * SECOND);
    let stage = Stage::new(one_for_one().service(stuck).service(log.loyal("other"))).await;
    pass(89 * SECOND).await;
    assert_eq!((stage.state("stuck"), stage.status("stuck").restarts), (State::Running, 0));
    pass(2 * SECOND).await;
    assert_eq!(log.take(), ["other starts", "was told to stop"]);
    pass(5 * SECOND).await;
    let status = stage.status("stuck");
    assert_eq!(status.last_error.as_deref(), Some("no heartbeat for 30s"));
    assert_eq!((status.state, status.restarts), (State::Running, 1));
    stage.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_requested_panic_takes_the_way_of_any_panic() {
    let log = Log::default();
    let stage = Stage::new(one_for_one().service(log.loyal("a")).service(log.loyal("b"))).await;
    assert!(stage.board.panic("a"));
    assert!(!stage.board.panic("a"), "one is enough");
    assert!(!stage.board.panic("nobody"));
    settle().await;
    let status = stage.status("a");
    assert_eq!(status.last_error.as_deref(), Some("panicked: asked to, for fault injection"));
    assert_eq!((status.state, stage.state("b")), (State::BackingOff, State::Running));
    assert!(!stage.board.panic("a"), "it has no task");
    pass(SECOND).await;
    assert_eq!((stage.state("a"), stage.status("a").restarts), (State::Running, 1));
    assert_eq!(log.take(), ["a starts", "b starts", "a starts"]);
    stage.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_nested_supervisor_that_gives_up_is_a_failure_above() {
    let inner = one_for_one()
        .intensity(Intensity { restarts: 1, within: 60 * SECOND })
        .service(failing_after("x", SECOND));
    let services = one_for_one()
        .intensity(Intensity { restarts: 1, within: 60 * SECOND })
        .service(Service::nested("inner", inner));
    let stage = Stage::new(services).await;
    pass(2 * SECOND + SECOND * 7 / 10).await;
    assert_eq!((stage.state("inner"), stage.state("inner.x")), (State::BackingOff, State::Failed));
    pass(SECOND).await;
    assert_eq!((stage.state("inner"), stage.state("inner.x")), (State::Running, State::Running));
    assert_eq!(stage.status("inner.x").restarts, 2);
    let gave_up = stage.running.await.unwrap().unwrap_err();
    assert_eq!(
        gave_up.to_string(),
        "gave up on the service inner, which failed after 1 restarts within 1m: gave up on the \
         service inner.x, which failed after 1 restarts within 1m: the cable is cut"
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_nested_supervisor_leaves_no_service_behind() {
    let log = Log::default();
    let alive = Arc::new(());
    let count = Arc::clone(&alive);
    let guarded = Service::new("x", move |context| {
        let held = Arc::clone(&count);
        async move {
            context.stop.cancelled().await;
            drop(held);
            Ok(())
        }
    });
    let services = one_for_one()
        .service(Service::nested("inner", one_for_one().service(guarded)))
        .service(log.loyal("other"));
    let stage = Stage::new(services).await;
    assert_eq!(Arc::strong_count(&alive), 3);
    assert!(stage.board.panic("inner"));
    settle().await;
    assert_eq!(Arc::strong_count(&alive), 2);
    assert_eq!((stage.state("inner"), stage.state("inner.x")), (State::BackingOff, State::Stopped));
    assert!(!stage.board.restart("inner.x"));
    pass(SECOND).await;
    assert_eq!((stage.state("inner"), stage.state("inner.x")), (State::Running, State::Running));
    assert_eq!(Arc::strong_count(&alive), 3);
    stage.end().await.unwrap();
}
