//! Legacy nodes as a source of blocks, for one fetch.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::{JoinSet, spawn_blocking};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::id::BlockId;
use crate::off::{Block, BlockSize};
use crate::source::{BlockSource, SourceStatus};
use crate::store::{BlockStore, Presence};

use super::caller::{Answered, Identity, call};
use super::message::{Answer, Call};
use super::peer::LegacyPeer;
use super::picker::{Job, Outcome, Picker};

/// Peers that we ask a node to name if it does not have a block, as many as js-offs asks for.
const PEERS_ASKED: usize = 10;

/// What one fetch wants of legacy nodes. They are asked as long as this lives.
#[derive(Debug)]
pub struct LegacyErrand {
    shared: Arc<Shared>,
    _stop: DropGuard,
}

struct Shared {
    store: Arc<dyn BlockStore>,
    identity: Identity,
    state: Mutex<State>,
    /// There is something to do.
    wake: Notify,
    /// Something happened that a fetch may wait for.
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    picker: Picker,
    sizes: std::collections::HashMap<BlockId, BlockSize>,
    came: u64,
    /// Blocks that are being stored, and then counted.
    arriving: usize,
    received: u64,
    arrived: Vec<BlockId>,
    failure: Option<String>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("state", &self.state).finish_non_exhaustive()
    }
}

impl LegacyErrand {
    /// Begins to ask `nodes`, and those that they name. What comes goes into the store. Must be called
    /// in a runtime.
    #[must_use]
    pub fn begin(
        store: Arc<dyn BlockStore>,
        nodes: impl IntoIterator<Item = LegacyPeer>,
        identity: Identity,
    ) -> Self {
        let identity = identity.visiting();
        let mut state = State::default();
        if let Some(ourselves) = identity.node() {
            state.picker.we_are(ourselves.id);
        }
        state.picker.add_nodes(nodes);
        let shared = Arc::new(Shared {
            store,
            identity,
            state: Mutex::new(state),
            wake: Notify::new(),
            changed: Arc::default(),
        });
        let stop = CancellationToken::new();
        let (pumping, stopped) = (Arc::clone(&shared), stop.clone());
        tokio::spawn(async move {
            stopped.run_until_cancelled(pump(pumping)).await;
        });
        Self { shared, _stop: stop.drop_guard() }
    }

    /// Tells how long blocks are that will be wanted. A block whose size nobody told, or that is native,
    /// cannot be asked for here.
    pub fn learn(&self, sizes: impl IntoIterator<Item = (BlockId, BlockSize)>) {
        let legacy = sizes.into_iter().filter(|(_, size)| *size != BlockSize::Native);
        self.shared.state().sizes.extend(legacy);
    }

    /// Waits until those blocks are counted that are in the store because of this.
    pub async fn counted(&self) {
        loop {
            let changed = Arc::clone(&self.shared.changed).notified_owned();
            if self.shared.state().arriving == 0 {
                return;
            }
            changed.await;
        }
    }

    /// Whether nothing is to be expected of those who are known.
    #[must_use]
    pub fn is_hopeless(&self) -> bool {
        let picker = &self.shared.state().picker;
        picker.calls() == 0 && picker.unclaimed().count() == picker.wanted()
    }
}

impl BlockSource for LegacyErrand {
    fn want(&self, ids: &[BlockId]) -> usize {
        let mut state = self.shared.state();
        let State { picker, sizes, .. } = &mut *state;
        let known = ids.iter().filter_map(|id| Some((*id, *sizes.get(id)?)));
        let new = known.filter(|(id, size)| picker.want(*id, *size)).count();
        drop(state);
        self.shared.wake.notify_one();
        new
    }

    fn unwant(&self, ids: &[BlockId]) {
        let mut state = self.shared.state();
        for id in ids {
            state.picker.unwant(id);
        }
    }

    fn hurry(&self, id: BlockId) {
        self.shared.state().picker.hurry(&id);
    }

    fn wanted(&self) -> usize {
        self.shared.state().picker.wanted()
    }

    fn unclaimed(&self, most: usize) -> Vec<BlockId> {
        self.shared.state().picker.unclaimed().take(most).collect()
    }

    fn in_flight(&self) -> Vec<BlockId> {
        self.shared.state().picker.in_flight().collect()
    }

    fn take_arrivals(&self) -> Vec<BlockId> {
        std::mem::take(&mut self.shared.state().arrived)
    }

    fn failure(&self) -> Option<String> {
        self.shared.state().failure.clone()
    }

    fn status(&self) -> SourceStatus {
        let state = self.shared.state();
        let [known, peers, prospects] = state.picker.nodes().map(|count| count as u64);
        SourceStatus {
            peers,
            known,
            prospects,
            in_flight: state.picker.calls() as u64,
            came: state.came,
            received: state.received,
        }
    }

    fn changed(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(Arc::clone(&self.shared.changed).notified_owned())
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a call came to.
struct Done {
    job: Job,
    outcome: Outcome,
    received: u64,
    /// It was being stored.
    arrived: bool,
    /// It came of the node, and not otherwise.
    came: bool,
    failure: Option<String>,
}

/// Makes calls as long as there are some to make.
async fn pump(shared: Arc<Shared>) {
    let mut calls: JoinSet<Done> = JoinSet::new();
    loop {
        // One time for both: whose rest ends between two looks at the clock would not be waited for.
        let now = Instant::now();
        while let Some(job) = next(&shared, now) {
            calls.spawn(perform(Arc::clone(&shared), job));
        }
        let wakes_at = shared.state().picker.wakes_after(now);
        tokio::select! {
            Some(done) = calls.join_next() => match done {
                Ok(done) => settle(&shared, done),
                Err(_) => shared.state().failure = Some("a call broke off".to_owned()),
            },
            () = shared.wake.notified() => {}
            () = tokio::time::sleep_until(wakes_at.unwrap_or_else(Instant::now).into()),
                if wakes_at.is_some() => {}
        }
    }
}

fn next(shared: &Shared, now: Instant) -> Option<Job> {
    let mut state = shared.state();
    if state.failure.is_some() { None } else { state.picker.next(now) }
}

fn settle(shared: &Shared, done: Done) {
    let mut state = shared.state();
    let Done { job, outcome, received, arrived, came, failure } = done;
    state.arriving -= usize::from(arrived);
    state.received += received;
    state.failure = state.failure.take().or(failure);
    if state.picker.done(&job, &outcome, Instant::now()) && came {
        state.came += 1;
        state.arrived.push(job.id);
    }
    drop(state);
    shared.changed.notify_waiters();
}

async fn perform(shared: Arc<Shared>, job: Job) -> Done {
    let here = Done {
        job,
        outcome: Outcome::Needless,
        received: 0,
        arrived: false,
        came: false,
        failure: None,
    };
    // It may have come of somebody else since it was wanted.
    if matches!(shared.store.presence(&job.id), Ok(Presence::Held)) {
        return here;
    }
    let asked = Call::FindValue { size: job.size, id: job.id, count: PEERS_ASKED };
    let (answer, received) = match call(&job.peer, &shared.identity, &asked).await {
        Ok(Answered { answer, received }) => (answer, received),
        Err(error) => {
            tracing::debug!(node = %job.peer, "no answer of a legacy node: {error}");
            let outcome = if error.is_violation() { Outcome::Wrong } else { Outcome::Silent };
            return Done { outcome, ..here };
        }
    };
    let done = Done { received, ..here };
    match answer {
        // It outlives the answer, which may be much longer.
        Answer::Value { data, .. } => match Block::check(job.id, Bytes::copy_from_slice(&data)) {
            Ok(block) => kept(shared, block, done).await,
            Err(error) => {
                tracing::warn!(node = %job.peer, "a legacy node lies: {error}");
                Done { outcome: Outcome::Wrong, ..done }
            }
        },
        Answer::Elsewhere { nodes, .. } => {
            let by = job.peer.external.ip();
            Done { outcome: Outcome::Elsewhere(nodes, by), ..done }
        }
        _ => Done { outcome: Outcome::Elsewhere(Vec::new(), job.peer.external.ip()), ..done },
    }
}

async fn kept(shared: Arc<Shared>, block: Block, done: Done) -> Done {
    shared.state().arriving += 1;
    let done = Done { arrived: true, ..done };
    let kept = spawn_blocking(move || shared.store.put(&block)).await;
    let failure = match kept {
        Ok(Ok(_)) => return Done { outcome: Outcome::Here, came: true, ..done },
        Ok(Err(error)) => error.to_string(),
        Err(_) => "storing a block broke off".to_owned(),
    };
    Done { outcome: Outcome::Silent, failure: Some(failure), ..done }
}
