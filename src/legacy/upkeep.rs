//! Pings, and introducing ourselves: how the table of peers stays true.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::limits::legacy::{LEGACY_PINGS, MAX_LEGACY_PEERS_TOLD};

use super::caller::{Identity, Ourselves, call};
use super::contacts::Contacts;
use super::message::{Answer, Call};
use super::peer::LegacyPeer;

/// How soon a peer that has just become known is pinged: some that come together are pinged together.
const SOON: Duration = Duration::from_millis(200);

/// A table of peers that several tasks share.
pub type SharedContacts = Arc<Mutex<Contacts>>;

/// Looks at the table, or changes it.
pub fn locked(contacts: &SharedContacts) -> MutexGuard<'_, Contacts> {
    contacts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Pings peers when they are due and asks those that answer for peers close to us, until it is stopped.
pub async fn tend(contacts: SharedContacts, ourselves: Ourselves, stop: CancellationToken) {
    loop {
        let due = locked(&contacts).due(Instant::now());
        if stop.run_until_cancelled(round(&contacts, ourselves, due)).await.is_none() {
            return;
        }
        let pause = locked(&contacts).next_due(Instant::now()).max(SOON);
        // Who becomes known meanwhile is looked for again and again: it costs nothing.
        let pause = pause.min(Duration::from_secs(1));
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

/// One round of pings.
async fn round(contacts: &SharedContacts, ourselves: Ourselves, due: Vec<LegacyPeer>) {
    let mut pings = JoinSet::new();
    for peer in due {
        if pings.len() >= LEGACY_PINGS {
            pings.join_next().await;
        }
        let contacts = Arc::clone(contacts);
        pings.spawn(async move { meet(&contacts, ourselves, peer).await });
    }
    while pings.join_next().await.is_some() {}
}

/// Pings a peer; one that answers is asked for others, and so learns of us.
async fn meet(contacts: &SharedContacts, ourselves: Ourselves, peer: LegacyPeer) {
    let identity = Identity::Node(ourselves);
    if let Err(error) = call(&peer, &identity, &Call::Ping).await {
        tracing::debug!(node = %peer, "a legacy node is gone: {error}");
        locked(contacts).silent(peer.id);
        return;
    }
    locked(contacts).answered(peer.id, Instant::now());
    let around = Call::FindNode { target: ourselves.id, count: MAX_LEGACY_PEERS_TOLD };
    if let Ok(answered) = call(&peer, &identity, &around).await
        && let Answer::Nodes(nodes) = answered.answer
    {
        let mut contacts = locked(contacts);
        for node in nodes {
            contacts.told(node, peer.external.ip());
        }
    }
}
