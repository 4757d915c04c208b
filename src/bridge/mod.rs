//! The bridge: our side of the legacy protocol, so that js-offs nodes can use us as their peer.
//!
//! Participants: js-offs nodes (v0.1.0), clients of our own that speak their protocol, and strangers with
//! garbage. Goals: all seven calls are answered as js-offs would answer them ([`legacy`](crate::legacy) has
//! the protocol), but for what it does wrong; and a block that is not here may be fetched from native
//! nodes and BitTorrent swarms while whoever asks waits, which makes the networks one.
//!
//! | call | answer |
//! |---|---|
//! | Ping, `Find_Node`, `Ping_Storage` | as js-offs |
//! | `Find_Value` | the block; one that is not here is [brought](crate::client::session::relay), if it may be, within a deadline; else the peers closest to it |
//! | Store | Success if the hosting policy keeps the block; what is not as long as its class is refused |
//! | Random | among blocks drawn at random the one closest to whoever asks that its filter does not have |
//! | `Ping_Value` | Success; of a block that is not here, the end of the connection without a word: js-offs deletes blocks whose peers answer at all |
//!
//! Whatever cannot be answered is the end of the connection, too; js-offs would leave it open. Bounds are in
//! [`limits::legacy`](crate::limits::legacy).
//!
//! | file | what it does |
//! |---|---|
//! | [`mod`](self) | who is let in |
//! | `connection` | one request and its answer |
//! | `answers` | what is answered |
//! | `complaints` | what is logged of strangers, and how often |

mod answers;
mod complaints;
mod connection;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::address::household;
use crate::client::legacy::LegacyPlace;
use crate::client::session::Session;
use crate::client::session::relay::Relay;
use crate::legacy::caller::Ourselves;
use crate::legacy::upkeep::{SharedContacts, tend};
use crate::limits::legacy::{
    LEGACY_CONNECTIONS, LEGACY_CONNECTIONS_PER_ADDRESS, LEGACY_IDLE_TIME, LEGACY_LARGE_REQUESTS,
    LEGACY_RANDOM_AT_ONCE, LEGACY_REQUEST_TIME,
};

use complaints::Complaints;

/// The pause after a connection that could not be accepted: most often there is no file descriptor left,
/// and starting anew would give none back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long answers under way may take once it is to stop.
const DRAIN: Duration = Duration::from_secs(2);

/// What a bridge keeps to.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// How long somebody waits for a block that is not here; zero: none is brought.
    pub patience: Duration,
    /// How long nothing may come of a request.
    pub idle: Duration,
    /// How long a request may take in all.
    pub request: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            patience: crate::limits::legacy::LEGACY_BRIDGE_TIME,
            idle: LEGACY_IDLE_TIME,
            request: LEGACY_REQUEST_TIME,
        }
    }
}

/// What all connections share.
struct Shared {
    session: Session,
    contacts: SharedContacts,
    ourselves: Ourselves,
    relay: Relay,
    bounds: Bounds,
    /// Requests that need much memory.
    large: Arc<Semaphore>,
    /// Answers to Random.
    random: Semaphore,
    complaints: Complaints,
}

/// Answers js-offs nodes as `place` says until `stop`, and keeps the table of peers.
pub async fn serve(
    listener: TcpListener,
    session: Session,
    place: &LegacyPlace,
    bounds: Bounds,
    stop: CancellationToken,
) {
    let (contacts, ourselves) = (session.client().legacy_contacts(), place.ourselves());
    let shared = Arc::new(Shared {
        relay: Relay::new(session.clone()),
        session,
        contacts: Arc::clone(&contacts),
        ourselves,
        bounds,
        large: Arc::new(Semaphore::new(LEGACY_LARGE_REQUESTS)),
        random: Semaphore::new(LEGACY_RANDOM_AT_ONCE),
        complaints: Complaints::default(),
    });
    let tasks = TaskTracker::new();
    let cut = CancellationToken::new();
    let _guard = cut.clone().drop_guard();
    let tending = tasks.spawn(tend(contacts, ourselves, stop.child_token()));
    accept(listener, &shared, &tasks, (&stop, &cut)).await;
    tending.abort();
    tasks.close();
    if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
        cut.cancel();
        tasks.wait().await;
    }
}

async fn accept(
    listener: TcpListener,
    shared: &Arc<Shared>,
    tasks: &TaskTracker,
    (stop, cut): (&CancellationToken, &CancellationToken),
) {
    let (places, door) = (Arc::new(Semaphore::new(LEGACY_CONNECTIONS)), Door::default());
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, remote)) => {
                let Some(pass) = door.enter(&places, remote.ip()) else {
                    shared.complaints.hear(remote, &"too many connections");
                    continue;
                };
                let (shared, cut) = (Arc::clone(shared), cut.clone());
                tasks.spawn(async move {
                    cut.run_until_cancelled(shared.answer(stream, remote)).await;
                    drop(pass);
                });
            }
            Err(error) => {
                shared
                    .complaints
                    .fail(&format_args!("a connection could not be accepted: {error}"));
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Who is inside, by address.
#[derive(Debug, Clone, Default)]
struct Door(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A place inside.
#[derive(Debug)]
struct Pass {
    door: Door,
    ip: IpAddr,
    _place: OwnedSemaphorePermit,
}

impl Door {
    /// A place, if there is one for this address.
    fn enter(&self, places: &Arc<Semaphore>, ip: IpAddr) -> Option<Pass> {
        let place = Arc::clone(places).try_acquire_owned().ok()?;
        let ip = household(ip);
        // On this machine many programs share an address.
        let most =
            if ip.is_loopback() { LEGACY_CONNECTIONS } else { LEGACY_CONNECTIONS_PER_ADDRESS };
        let mut inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = inside.entry(ip).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Pass { door: self.clone(), ip, _place: place })
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut inside = self.door.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = inside.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                inside.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_household_does_not_take_all_places() {
        let (places, door) = (Arc::new(Semaphore::new(LEGACY_CONNECTIONS)), Door::default());
        let enter = |ip: &str| door.enter(&places, ip.parse().unwrap());
        let crowd: Vec<_> = (0..40).filter_map(|n| enter(&format!("2001:db8::{n:x}"))).collect();
        assert_eq!(crowd.len(), LEGACY_CONNECTIONS_PER_ADDRESS);
        assert!(enter("2001:db8:0:1::1").is_some());
        drop(crowd);
        assert!(enter("2001:db8::1").is_some());
        let here: Vec<_> = (0..300).filter_map(|_| enter("127.0.0.1")).collect();
        assert_eq!(here.len(), LEGACY_CONNECTIONS);
        assert!(enter("203.0.113.1").is_none());
        drop(here);
        assert!(door.0.lock().unwrap().is_empty());
    }
}
