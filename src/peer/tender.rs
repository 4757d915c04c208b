//! What is done for a torrent in use as time passes: a second's tick, dialling, peer exchange, and
//! taking it out of use.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;

use crate::limits::{MAX_DIALS, MAX_PEERS_PER_TORRENT, MAX_PEX_PEERS};

use super::extension;
use super::front::Shared;
use super::live::{Live, locked};
use super::message::Message;
use super::picker::Key;

/// Between two messages of peer exchange to one peer (BEP 11: at least a minute).
const PEX_EVERY: Duration = Duration::from_secs(60);

/// Looks after a torrent until it is out of use.
pub(super) async fn tend(live: Arc<Live>, shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let dials = Arc::new(Semaphore::new(MAX_DIALS));
    let mut told = Told::default();
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = live.peers_changed.notified() => {}
            _ = ticks.tick() => {
                live.with(|exchange| exchange.tick(Instant::now()));
                told.tell(&live);
                if shared.leave(&live) {
                    let _ = tokio::task::spawn_blocking(move || shared.account(&[live])).await;
                    return;
                }
            }
        }
        dial_some(&live, &shared, &dials);
    }
}

fn dial_some(live: &Arc<Live>, shared: &Arc<Shared>, dials: &Arc<Semaphore>) {
    while live.connections() < MAX_PEERS_PER_TORRENT.min(shared.limits.max_peers) {
        let Ok(permit) = Arc::clone(dials).try_acquire_owned() else { return };
        let Some(peer) = locked(&live.pool).next(Instant::now()) else { return };
        let (live, shared) = (Arc::clone(live), Arc::clone(shared));
        let tasks = shared.tasks.clone();
        tasks.spawn(async move {
            let stop = shared.stop.clone();
            let was_of_use = tokio::select! {
                was_of_use = shared.dial(Arc::clone(&live), peer, permit) => was_of_use,
                () = stop.cancelled() => false,
            };
            locked(&live.pool).ended(peer, was_of_use, Instant::now());
        });
    }
}

/// Which peers were named to which.
#[derive(Default)]
struct Told(HashMap<Key, (Instant, HashSet<SocketAddr>)>);

impl Told {
    /// Names to each peer those that are new, and takes back those that are gone.
    fn tell(&mut self, live: &Live) {
        let (links, now) = (live.links(), Instant::now());
        self.0.retain(|key, _| links.iter().any(|(other, _)| other == key));
        let listening = live.listening();
        for (key, link) in links {
            let (number, itself) = (*locked(&link.pex), *locked(&link.listens));
            let last = self.0.get(&key);
            let due = last.is_none_or(|(at, _)| now.saturating_duration_since(*at) >= PEX_EVERY);
            if number == 0 || !due {
                continue;
            }
            let before = last.map(|(_, peers)| peers.clone()).unwrap_or_default();
            let mut current = listening.clone();
            current.retain(|peer| Some(*peer) != itself);
            let most = |peers: Vec<SocketAddr>| peers.into_iter().take(MAX_PEX_PEERS / 2).collect();
            let added: Vec<_> = most(current.difference(&before).copied().collect());
            let dropped: Vec<_> = most(before.difference(&current).copied().collect());
            if added.is_empty() && dropped.is_empty() {
                continue;
            }
            link.say(Message::Extended(number, extension::pex(&added, &dropped)));
            let now_told = before.into_iter().filter(|peer| !dropped.contains(peer));
            self.0.insert(key, (now, now_told.chain(added).collect()));
        }
    }
}
