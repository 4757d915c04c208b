//! Random failures and requests: what the board shows is so.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::Restart;
use super::*;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// The services whose futures exist, and those of which two did at once.
#[derive(Clone, Default)]
struct Alive(Arc<Mutex<BTreeSet<&'static str>>>, Arc<Mutex<BTreeSet<&'static str>>>);

/// One of them.
struct Presence(Alive, &'static str);

impl Alive {
    fn enter(&self, name: &'static str) -> Presence {
        if !self.0.lock().unwrap().insert(name) {
            self.1.lock().unwrap().insert(name);
        }
        Presence(self.clone(), name)
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.0.lock().unwrap().remove(self.1);
    }
}

/// Does something for a while, and then something else, at random.
async fn live(context: Context, mut rng: StdRng) -> Result<(), super::super::BoxError> {
    loop {
        let while_ = Duration::from_millis(rng.random_range(0..20_000));
        tokio::select! {
            () = tokio::time::sleep(while_) => (),
            () = context.stop.cancelled() => break,
        }
        match rng.random_range(0..8) {
            0 => return Err("an error".into()),
            1 => panic!("a panic"),
            2 => return Ok(()),
            3 => std::future::pending().await,
            4 => context.health.degraded("so so"),
            _ => context.health.ready(),
        }
    }
    match rng.random_range(0..4) {
        0 => Err("a late error".into()),
        1 => std::future::pending().await,
        2 => panic!("a late panic"),
        _ => Ok(()),
    }
}

fn service(name: &'static str, alive: &Alive, rng: &mut StdRng) -> Service {
    let alive = alive.clone();
    let seeds = Mutex::new(StdRng::seed_from_u64(rng.random()));
    let kinds = [Restart::Permanent, Restart::Transient, Restart::Temporary];
    let service = Service::new(name, move |context| {
        let presence = alive.enter(name);
        let rng = StdRng::seed_from_u64(seeds.lock().unwrap().random());
        async move {
            let _presence = presence;
            live(context, rng).await
        }
    });
    let service = service.restart(kinds[rng.random_range(0..3)]).watchdog(15 * SECOND);
    let service = service.grace(Duration::from_millis(rng.random_range(0..10_000)));
    if rng.random() { service.says_ready() } else { service }
}

fn check(board: &Board, alive: &Alive, seed: u64) {
    assert_eq!(*alive.1.lock().unwrap(), BTreeSet::new(), "seed {seed}: beside themselves");
    let alive = alive.0.lock().unwrap();
    for status in board.snapshot() {
        let name = status.name.rsplit('.').next().unwrap().to_owned();
        let is_there = alive.contains(name.as_str());
        match status.state {
            State::Running if NAMES.contains(&name.as_str()) => {
                assert!(is_there, "seed {seed}: {status:?} is not there");
            }
            State::BackingOff | State::Stopped | State::Failed => {
                assert!(!is_there, "seed {seed}: {status:?} is there");
            }
            _ => (),
        }
    }
}

async fn trial(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let alive = Alive::default();
    let strategy = |rng: &mut StdRng| {
        if rng.random() { Strategy::OneForOne } else { Strategy::RestForOne }
    };
    let mut inner = Supervisor::new(strategy(&mut rng)).shutdown(5 * SECOND);
    for name in &NAMES[2..] {
        inner = inner.service(service(name, &alive, &mut rng));
    }
    let services = Supervisor::new(strategy(&mut rng))
        .intensity(unlimited())
        .service(service(NAMES[0], &alive, &mut rng))
        .service(Service::nested("inner", inner))
        .service(service(NAMES[1], &alive, &mut rng));
    let mut stage = Stage::new(services).await;
    let names: Vec<String> = stage.board.snapshot().into_iter().map(|status| status.name).collect();
    let end = tokio::time::Instant::now() + 600 * SECOND;
    while tokio::time::Instant::now() < end {
        let wait = Duration::from_millis(rng.random_range(0..10_000));
        let _changed_or_not = tokio::time::timeout(wait, stage.board.changed()).await;
        check(&stage.board, &alive, seed);
        let name = &names[rng.random_range(0..names.len())];
        match rng.random_range(0..20) {
            0 => drop(stage.board.restart(name)),
            1 => drop(stage.board.panic(name)),
            _ => (),
        }
    }
    let (board, stopping) = (stage.board.clone(), tokio::time::Instant::now());
    let _stopped_or_gave_up = stage.end().await;
    assert!(stopping.elapsed() <= 17 * SECOND, "seed {seed}: {:?}", stopping.elapsed());
    settle().await;
    assert!(alive.0.lock().unwrap().is_empty(), "seed {seed}");
    let over = |status: &Status| matches!(status.state, State::Stopped | State::Failed);
    assert!(board.snapshot().iter().all(over), "seed {seed}: {board:?}");
}

#[tokio::test(start_paused = true)]
async fn the_board_is_right_whatever_fails() {
    // The panics are meant, and their reports would hide a real one.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.to_string();
        if !text.contains("a panic") && !text.contains("a late panic") {
            report(panic);
        }
    }));
    for seed in 0..60 {
        trial(seed).await;
    }
}
