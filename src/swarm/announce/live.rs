//! Announces one torrent to all its trackers until it ends.
//!
//! Each tracker has its own [`Schedule`] and is asked independently of the others (BEP 12's tiers
//! are read as one flat list: the more trackers, the more peers). What peers they tell of goes out
//! through a bounded channel; peers that nobody takes within seconds are dropped, because the next
//! announce brings them again.
//!
//! At the end those trackers that may have heard of us hear `stopped`, for two seconds at most.

use std::net::SocketAddr;
use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant as Clock, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::Identity;
use super::schedule::Schedule;
use crate::id::InfoHash;
use crate::limits::{FAREWELL_DEADLINE, MAX_TOLD_PEERS, PEERS_HANDOVER_DEADLINE};
use crate::swarm::guard::Guard;
use crate::swarm::tracker::{Announce, Announced, Event, Tracker, announce};

/// How a torrent goes, as far as trackers are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes sent to peers since it was joined.
    pub uploaded: u64,
    /// Bytes received from peers since it was joined.
    pub downloaded: u64,
    /// Bytes that are missing; any number but 0 while nobody knows. When it becomes 0, the
    /// trackers hear `completed`.
    pub left: u64,
    /// Peers that are connected.
    pub peers: usize,
}

impl Progress {
    const fn is_lonely(&self) -> bool {
        self.left > 0 && self.peers == 0
    }
}

/// One torrent that is announced.
#[derive(Debug)]
pub struct Live {
    /// The client that contacts its trackers.
    pub guard: Guard,
    /// Its trackers.
    pub trackers: Vec<Tracker>,
    /// Its swarm.
    pub infohash: InfoHash,
    /// Who we are in it.
    pub identity: Identity,
    /// How it goes. Dropping the sender ends it, as `stop` does.
    pub progress: watch::Receiver<Progress>,
    /// Where peers go. Closing it ends nothing: trackers are told of us all the same.
    pub found: mpsc::Sender<SocketAddr>,
    /// Ends it.
    pub stop: CancellationToken,
}

impl Live {
    /// Announces until it is stopped, and says farewell.
    pub async fn run(self) {
        let mut asked = JoinSet::new();
        for tracker in self.trackers {
            let one = One {
                guard: self.guard.clone(),
                tracker,
                infohash: self.infohash,
                identity: self.identity,
                progress: self.progress.clone(),
                found: self.found.clone(),
                stop: self.stop.clone(),
                schedule: Schedule::new(now()),
                tracker_id: None,
                may_know_us: false,
            };
            asked.spawn(one.run());
        }
        while let Some(ended) = asked.join_next().await {
            if let Err(error) = ended
                && let Ok(panic) = error.try_into_panic()
            {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// One torrent at one of its trackers.
struct One {
    guard: Guard,
    tracker: Tracker,
    infohash: InfoHash,
    identity: Identity,
    progress: watch::Receiver<Progress>,
    found: mpsc::Sender<SocketAddr>,
    stop: CancellationToken,
    schedule: Schedule,
    tracker_id: Option<Vec<u8>>,
    may_know_us: bool,
}

impl One {
    async fn run(mut self) {
        let was_missing = self.progress.borrow().left > 0;
        loop {
            let progress = *self.progress.borrow_and_update();
            if was_missing && progress.left == 0 {
                self.schedule.complete(now());
            }
            let due = self.schedule.due(progress.is_lonely());
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                changed = self.progress.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => break,
                },
                () = sleep_until(Clock::from_std(due)) => {}
            }
            self.announce().await;
        }
        self.farewell().await;
    }

    async fn announce(&mut self) {
        let event = self.schedule.event();
        let what = self.what(event);
        let result = tokio::select! {
            biased;
            () = self.stop.cancelled() => {
                self.may_know_us = true;
                return;
            }
            result = announce(&self.guard, &self.tracker, &what) => result,
        };
        match result {
            Ok(mut answer) => {
                self.may_know_us = true;
                self.schedule.succeeded(now(), event, &answer);
                if let Some(id) = answer.tracker_id.take() {
                    self.tracker_id = Some(id);
                }
                self.hand_over(answer).await;
            }
            Err(error) => {
                debug!(tracker = %self.tracker, %error, "announce failed");
                self.schedule.failed(now(), rand::random());
            }
        }
    }

    /// Passes the peers on to whoever dials them.
    async fn hand_over(&self, answer: Announced) {
        if let Some(warning) = answer.warning {
            info!(tracker = %self.tracker, warning, "a tracker warns");
        }
        let hand_over = async {
            for peer in answer.peers {
                if self.found.send(peer).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            // Who is too late for this round is told of again in the next.
            _ = timeout(PEERS_HANDOVER_DEADLINE, hand_over) => {}
        }
    }

    async fn farewell(&self) {
        if self.may_know_us {
            let what = self.what(Some(Event::Stopped));
            let told = timeout(FAREWELL_DEADLINE, announce(&self.guard, &self.tracker, &what));
            if !matches!(told.await, Ok(Ok(_))) {
                debug!(tracker = %self.tracker, "a tracker has not heard that we leave");
            }
        }
    }

    fn what(&self, event: Option<Event>) -> Announce {
        let Progress { uploaded, downloaded, left, .. } = *self.progress.borrow();
        let Identity { peer_id, port, key } = self.identity;
        // Who leaves wants no peers. Who has everything dials the leechers all the same: they may have
        // asked the tracker before it knew of us, and be patient.
        let want = match event {
            Some(Event::Stopped) => 0,
            _ => u32::try_from(MAX_TOLD_PEERS).unwrap_or(u32::MAX),
        };
        Announce {
            infohash: self.infohash,
            peer_id,
            port,
            uploaded,
            downloaded,
            left,
            event,
            want,
            key,
            tracker_id: self.tracker_id.clone(),
        }
    }
}

fn now() -> Instant {
    Clock::now().into_std()
}
