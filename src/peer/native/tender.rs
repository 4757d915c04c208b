//! What is done for native peers as time passes: who stalls, dialling, gossip.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::MissedTickBehavior;

use crate::limits::{MAX_DIALS, MAX_NATIVE_PEERS, MAX_PEX_PEERS};
use crate::peer::extension;
use crate::peer::front::Shared;
use crate::peer::live::locked;

use super::natives::Natives;

/// How often is looked for peers that stall, and for blocks that came otherwise.
const TICK: Duration = Duration::from_millis(250);

/// Between two messages of gossip to one peer (BEP 11: at least a minute).
const GOSSIP_EVERY: Duration = Duration::from_secs(60);

/// How long a peer may give nothing before it makes place for others.
const TRIAL: Duration = Duration::from_secs(10);

/// How long a connection that we brought about is kept without anybody needing it.
const IDLE: Duration = Duration::from_secs(60);

/// Looks after native peers until the front is closed.
pub(in crate::peer) async fn tend(natives: Arc<Natives>, shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let dials = Arc::new(Semaphore::new(MAX_DIALS));
    let mut gossiped = Instant::now();
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = natives.peers_changed.notified() => {}
            _ = ticks.tick() => {
                look_after(&natives).await;
                if gossiped.elapsed() >= GOSSIP_EVERY {
                    gossiped = Instant::now();
                    gossip(&natives);
                    natives.settle().await;
                }
            }
        }
        if natives.is_needed() {
            dial_some(&natives, &shared, &dials);
        }
    }
}

async fn look_after(natives: &Arc<Natives>) {
    let now = Instant::now();
    let (needed, wanted) = (natives.is_needed(), locked(&natives.picker).wanted() > 0);
    for (_, link) in natives.all_links() {
        let stalled = link.with(|session| session.tick(now)).err();
        if let Some(violation) = &stalled {
            let (remote, error) = (link.remote, violation as &dyn std::error::Error);
            tracing::debug!(%remote, error, "a native peer stalls");
        }
        let is_over = link.dialled && !needed && link.is_idle();
        if stalled.is_some() || (is_over && locked(&link.busy).elapsed() >= IDLE) {
            link.cancel.cancel();
        }
    }
    if !wanted {
        return;
    }
    drop_the_useless(natives);
    let snubbed = locked(&natives.picker).tick(now);
    for (_, link) in natives.all_links().iter().filter(|(key, _)| snubbed.contains(key)) {
        link.with(super::session::Session::snub);
    }
    let looking = Arc::clone(natives);
    let _ = spawn_blocking(move || looking.look_for_arrivals()).await;
    natives.wake_all();
}

/// When there is no place for others, peers make it that give nothing though something is wanted.
fn drop_the_useless(natives: &Natives) {
    let links = natives.all_links();
    if links.len() < MAX_NATIVE_PEERS {
        return;
    }
    for (key, link) in links.iter().filter(|(_, link)| link.dialled && link.is_idle()) {
        let standing = locked(&natives.picker).standing(*key);
        let useless = standing.is_some_and(|one| one.silenced || one.has == 0);
        if useless && locked(&link.busy).elapsed() >= TRIAL {
            link.cancel.cancel();
        }
    }
}

fn dial_some(natives: &Arc<Natives>, shared: &Arc<Shared>, dials: &Arc<Semaphore>) {
    while natives.all_links().len() < MAX_NATIVE_PEERS.min(shared.limits.max_peers) {
        let Ok(permit) = Arc::clone(dials).try_acquire_owned() else { return };
        let Some(peer) = locked(&natives.pool).next(Instant::now()) else { return };
        let (natives, shared) = (Arc::clone(natives), Arc::clone(shared));
        let tasks = shared.tasks.clone();
        tasks.spawn(async move {
            let stop = shared.stop.clone();
            let dial = shared.dial_native(Arc::clone(&natives), peer, permit);
            let speaks = tokio::select! {
                speaks = dial => speaks,
                () = stop.cancelled() => false,
            };
            locked(&natives.pool).ended(peer, speaks, Instant::now());
            natives.tell_change();
        });
    }
}

/// Names to each peer those others that it was not told of.
fn gossip(natives: &Natives) {
    let links = natives.all_links();
    let listening: Vec<SocketAddr> = links
        .iter()
        .filter(|(_, link)| link.is_greeted())
        .filter_map(|(_, link)| *locked(&link.listens))
        .collect();
    for (_, link) in &links {
        let (itself, mut told) = (*locked(&link.listens), locked(&link.told));
        let new = listening.iter().filter(|one| Some(**one) != itself && !told.contains(*one));
        let new: Vec<_> = new.copied().take(MAX_PEX_PEERS / 2).collect();
        if !new.is_empty() && link.is_greeted() {
            link.with(|session| session.name_peers(extension::pex(&new, &[])));
            link.wake.notify_one();
            told.extend(new);
        }
    }
}
