//! A session: a client that stays, the swarms it takes part in, and what is under way.
//!
//! One-off commands open swarms for one fetch and close them. A daemon keeps them open, and many
//! tasks share them: readers of the HTTP gateway, fetches of the API, puts. Here they meet:
//!
//! * a URL is fetched once, however many read it (`transfers`);
//! * a reader gets bytes as soon as they are here, and what it waits for is asked for first (`reading`);
//! * everything under way can be listed, watched and stopped.

mod flow;
mod listings;
mod proven;
mod reading;
pub mod relay;
mod transfers;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{broadcast, watch};

use crate::off::OffUrl;
use crate::swarm::session::Swarms;

use super::Client;
use super::fetch::Ways;

use flow::Joined;
use listings::Listings;
use proven::Proven;
pub use reading::{Reading, Source};
use transfers::Transfers;
pub use transfers::{PutTicket, Transfer, TransferKind, TransferState, told};

/// Events that wait for a listener that is slow; it misses what is older.
const EVENTS_WAITING: usize = 1_024;

/// Something that listeners want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A transfer has changed: its number.
    Transfer(u64),
    /// The list of URLs has changed, and how: `added`, `removed` or `pinned`.
    Urls(&'static str),
}

/// A client that stays. Cloning it makes another handle to the same.
#[derive(Clone)]
pub struct Session(Arc<Shared>);

struct Shared {
    client: Client,
    /// How blocks are looked for, but for what a single fetch adds.
    ways: Ways,
    swarms: watch::Sender<Option<Arc<Swarms>>>,
    transfers: Transfers,
    events: broadcast::Sender<Event>,
    closed: AtomicBool,
    proven: Proven,
    listings: Listings,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("client", &self.0.client).finish_non_exhaustive()
    }
}

impl Session {
    /// A session without swarms yet. `ways` says how long blocks are waited for, and of whom.
    #[must_use]
    pub fn new(client: Client, ways: Ways) -> Self {
        let (events, _) = broadcast::channel(EVENTS_WAITING);
        let transfers = Transfers::new(events.clone());
        let (swarms, _) = watch::channel(None);
        let closed = AtomicBool::new(false);
        let (proven, listings) = (Proven::default(), Listings::default());
        Self(Arc::new(Shared { client, ways, swarms, transfers, events, closed, proven, listings }))
    }

    /// Its client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    /// The swarms, while they are open.
    #[must_use]
    pub fn swarms(&self) -> Option<Arc<Swarms>> {
        self.0.swarms.borrow().clone()
    }

    /// The swarms, and when they are closed and opened again.
    #[must_use]
    pub fn watch_swarms(&self) -> watch::Receiver<Option<Arc<Swarms>>> {
        self.0.swarms.subscribe()
    }

    /// Opens or closes the swarms for everybody.
    pub fn set_swarms(&self, swarms: Option<Arc<Swarms>>) {
        self.0.swarms.send_replace(swarms);
    }

    /// Everything that happens from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.0.events.subscribe()
    }

    /// Says that the list of URLs has changed: `added`, `removed` or `pinned`.
    pub fn say_urls_changed(&self, how: &'static str) {
        // Nobody may be listening.
        let _ = self.0.events.send(Event::Urls(how));
    }

    /// What is under way and what has ended, latest first.
    #[must_use]
    pub fn transfers(&self) -> Vec<Transfer> {
        self.0.transfers.list()
    }

    /// One of them.
    #[must_use]
    pub fn transfer(&self, id: u64) -> Option<Transfer> {
        self.0.transfers.find(id)
    }

    /// Stops one that is under way. `false` if there is no such transfer, or it has ended.
    #[must_use]
    pub fn cancel(&self, id: u64) -> bool {
        self.0.transfers.cancel(id)
    }

    /// Ends everything that is under way, because the program ends or begins anew. Fetches are
    /// remembered.
    pub fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.transfers.cancel_all();
    }

    /// Forgets those that have ended: how many.
    #[must_use]
    pub fn clear(&self) -> usize {
        self.0.transfers.clear()
    }

    /// Brings all blocks of a URL into the store, in the background: the number of the transfer. It
    /// is remembered until it has ended: see [`resume`](Self::resume).
    /// Peers, trackers, web seeds and torrents of `more` are asked besides, unless it is under way
    /// already. Must be called in a runtime.
    #[must_use]
    pub fn fetch(&self, url: &OffUrl, more: &Ways) -> u64 {
        self.remember_fetch(url, more);
        let Joined { id, reader } = self.join(url, None, true, more);
        let (session, ended) = (self.clone(), self.0.transfers.ended_of(id));
        tokio::spawn(async move {
            // It is wanted until it has ended.
            ended.cancelled().await;
            drop((session, reader));
        });
        id
    }

    /// Enters a put of `length` bytes, if that is known. The ticket says how it goes; dropping it
    /// says that it failed.
    #[must_use]
    pub fn begin_put(&self, name: &str, length: Option<u64>) -> PutTicket {
        PutTicket::new(self.0.transfers.clone(), name, length)
    }
}
