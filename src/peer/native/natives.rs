//! The native peers of this program: what their connections share.
//!
//! All fetches want their blocks of the same peers, so that no block is asked for twice. Locks are
//! taken one at a time, but for a picker's by whoever holds none.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::task::spawn_blocking;

use crate::id::BlockId;
use crate::peer::content::Traffic;
use crate::peer::live::locked;
use crate::peer::picker::Key;
use crate::peer::pool::Pool;

use super::errand::Wishes;
use super::link::Link;
use super::message::NativeHello;
use super::picker::Picker;
use super::questions::Answer;
use super::session::Event;
use super::shelf::Shelf;

/// Questions of the picker have this number.
const PICKER: u64 = 0;

/// A look at one native peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NativeStatus {
    /// Where it is: where it listens, if that is known.
    pub address: SocketAddr,
    /// Whether it keeps blocks of others.
    pub hosts: bool,
    /// Blocks that are wanted of it.
    pub owed: u64,
    /// Blocks that it wants and has not got.
    pub wants: u64,
    /// Bytes received from it and sent to it.
    pub traffic: Traffic,
}

/// All native peers.
pub struct Natives {
    pub(super) shelf: Arc<dyn Shelf>,
    pub(super) picker: Mutex<Picker>,
    pub(super) links: Mutex<BTreeMap<Key, Arc<Link>>>,
    pub(in crate::peer) pool: Mutex<Pool>,
    pub(super) wishes: Mutex<Vec<Arc<Mutex<Wishes>>>>,
    /// Blocks that came of peers and are being checked and stored.
    pub(super) arriving: Mutex<HashSet<BlockId>>,
    pub(super) answers: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
    /// Blocks that one peer alone is to give, to show that it has them.
    pub(super) proofs: Mutex<HashMap<(Key, BlockId), oneshot::Sender<bool>>>,
    /// Peers served at a time; who waits is served in turn.
    pub(super) slots: Semaphore,
    pub(super) next: AtomicU64,
    /// Who needs peers to be there.
    needed: AtomicUsize,
    received: AtomicU64,
    sent: AtomicU64,
    /// Something happened that a fetch may wait for.
    changed: Arc<Notify>,
    /// Addresses have come, or connections have ended.
    pub(in crate::peer) peers_changed: Notify,
}

impl std::fmt::Debug for Natives {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Natives").field("peers", &self.connected()).finish_non_exhaustive()
    }
}

impl Natives {
    /// No peers yet. `slots` of them are served at a time.
    #[must_use]
    pub fn new(shelf: Arc<dyn Shelf>, slots: usize) -> Self {
        Self {
            shelf,
            picker: Mutex::new(Picker::new(rand::random())),
            links: Mutex::default(),
            pool: Mutex::default(),
            wishes: Mutex::default(),
            arriving: Mutex::default(),
            answers: Mutex::default(),
            proofs: Mutex::default(),
            slots: Semaphore::new(slots),
            next: AtomicU64::new(PICKER + 1),
            needed: AtomicUsize::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            changed: Arc::default(),
            peers_changed: Notify::new(),
        }
    }

    /// Adds addresses that may be native peers; `named` if it was the user who named them. They are
    /// dialled while somebody needs peers.
    pub fn add_peers(&self, peers: impl IntoIterator<Item = SocketAddr>, named: bool) {
        let (mut pool, now) = (locked(&self.pool), Instant::now());
        peers.into_iter().for_each(|peer| pool.add(peer, named, now));
        drop(pool);
        self.peers_changed.notify_one();
    }

    /// Has peers dialled until the guard is dropped.
    #[must_use]
    pub fn need(self: &Arc<Self>) -> Needed {
        self.needed.fetch_add(1, Ordering::AcqRel);
        self.peers_changed.notify_one();
        Needed(Arc::clone(self))
    }

    /// Whether somebody needs peers.
    pub(in crate::peer) fn is_needed(&self) -> bool {
        self.needed.load(Ordering::Acquire) > 0
    }

    /// Peers that have introduced themselves.
    #[must_use]
    pub fn peers(&self) -> Vec<NativeStatus> {
        let status = |link: &Arc<Link>| {
            let (hosts, owed, wants) = link.with(|session| {
                let hosts = session.theirs().map(|one| one.hosts);
                (hosts, session.owed() as u64, session.to_serve() as u64)
            });
            let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
            let traffic = Traffic { received: read(&link.received), sent: read(&link.sent) };
            Some(NativeStatus { address: link.address(), hosts: hosts?, owed, wants, traffic })
        };
        self.all_links().iter().filter_map(|(_, link)| status(link)).collect()
    }

    /// Addresses known.
    #[must_use]
    pub fn known(&self) -> usize {
        locked(&self.pool).len()
    }

    /// Peers that have introduced themselves.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.all_links().iter().filter(|(_, link)| link.is_greeted()).count()
    }

    /// Addresses that may turn out to be peers, and peers that may turn out to have blocks: not
    /// reached yet, or not heard yet.
    #[must_use]
    pub fn prospects(&self) -> usize {
        // The addresses before the links: who is on the way from one to the other counts, too.
        let mut open = locked(&self.pool).open();
        for (_, link) in self.all_links() {
            if link.is_heard() {
                open.remove(&link.address());
            } else {
                open.insert(link.address());
            }
        }
        open.len()
    }

    /// Whether somebody is not reached whom the user named.
    #[must_use]
    pub fn awaits_named(&self) -> bool {
        let mut named = locked(&self.pool).named();
        for (_, link) in self.all_links().iter().filter(|(_, link)| link.is_greeted()) {
            named.remove(&link.address());
        }
        !named.is_empty()
    }

    /// Bytes received and sent.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Traffic { received: read(&self.received), sent: read(&self.sent) }
    }

    /// Is over when something happens after this was called.
    pub fn changed(&self) -> impl Future<Output = ()> + Send + use<> {
        Arc::clone(&self.changed).notified_owned()
    }

    /// Has the shelf write down what was heard.
    pub async fn settle(&self) {
        let blocks = Arc::clone(&self.shelf);
        let _ = spawn_blocking(move || blocks.settle()).await;
    }

    pub(super) fn count_received(&self, link: &Link, bytes: usize) {
        link.received.fetch_add(bytes as u64, Ordering::Relaxed);
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn count_sent(&self, link: &Link, bytes: usize) {
        link.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn all_links(&self) -> Vec<(Key, Arc<Link>)> {
        locked(&self.links).iter().map(|(key, link)| (*key, Arc::clone(link))).collect()
    }

    pub(super) fn wake_all(&self) {
        locked(&self.links).values().for_each(|link| link.wake.notify_one());
    }

    pub(super) fn tell_change(&self) {
        self.changed.notify_waiters();
    }
}

/// Connections.
impl Natives {
    /// Whether a peer may have a connection: it has none, or one the other way round, which ends, as
    /// the new one is `better`: dialled by us or not.
    pub(in crate::peer) fn has_place_for(&self, peer_id: &[u8; 20], better: Option<bool>) -> bool {
        let links = locked(&self.links);
        let known = links.values().find(|link| link.peer_id == *peer_id);
        let Some(known) = known else { return true };
        let replaces = better.is_some_and(|dialled| dialled != known.dialled);
        if replaces {
            known.cancel.cancel();
        }
        replaces
    }

    /// Ends the connection that nothing has gone through for longest, if there is one.
    pub(in crate::peer) fn make_place(&self) {
        let idle = self.all_links().into_iter().map(|(_, link)| link).filter(|one| one.is_idle());
        let oldest = idle.min_by_key(|link| *locked(&link.busy));
        if let Some(link) = oldest {
            link.cancel.cancel();
        }
    }

    pub(super) fn attach(&self, link: Arc<Link>) -> Key {
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        locked(&self.links).insert(key, link);
        key
    }

    /// The other side has introduced itself: now it can be asked.
    pub(super) fn greeted(&self, key: Key, link: &Link, hello: NativeHello) {
        // Before it counts as connected: or it would seem to have been asked for everything.
        locked(&self.picker).join(key, Instant::now());
        link.with(|session| session.greeted(hello));
        if let Some(listens) = *locked(&link.listens) {
            let mut pool = locked(&self.pool);
            pool.add(listens, false, Instant::now());
            pool.is_connected(listens);
        }
        link.wake.notify_one();
        self.tell_change();
    }

    pub(super) fn detach(&self, key: Key) {
        locked(&self.picker).leave(key, Instant::now());
        let link = locked(&self.links).remove(&key);
        if let Some(listens) =
            link.filter(|link| !link.dialled).and_then(|one| *locked(&one.listens))
        {
            locked(&self.pool).ended(listens, true, Instant::now());
        }
        // What it was asked for can be asked of others.
        self.wake_all();
        self.peers_changed.notify_one();
        self.tell_change();
    }

    /// Asks a peer for what it may have and has room for. What came otherwise meanwhile is not asked
    /// for.
    pub(super) async fn fill(self: &Arc<Self>, key: Key, link: &Link) {
        loop {
            let now = Instant::now();
            let (room, knows_us) = link.with(|one| (one.room(), one.theirs().is_some()));
            if !knows_us {
                return;
            }
            let (ask, next) = {
                let mut picker = locked(&self.picker);
                (picker.to_ask(key, now), picker.next(key, room, now))
            };
            if !ask.is_empty() {
                link.with(|session| session.ask(PICKER, ask, true, now));
            }
            if next.is_empty() {
                return;
            }
            let (natives, ids) = (Arc::clone(self), next.clone());
            let here = spawn_blocking(move || natives.shelf.holds(&ids)).await;
            let here = here.unwrap_or_default();
            let came = chosen(&next, here.iter().copied());
            let next = chosen(&next, here.iter().map(|here| !here));
            link.with(|session| session.want(&next, now));
            if came.is_empty() {
                return;
            }
            self.came_otherwise(&came);
        }
    }

    /// An answer has come.
    pub(super) fn answered(&self, key: Key, link: &Link, event: Event) {
        let now = Instant::now();
        match event {
            Event::Have { errand: PICKER, ids, have, .. } => {
                locked(&self.picker).answered(key, &ids, &have, now);
                link.wake.notify_one();
            }
            Event::Have { errand, have, uses, .. } => self.tell(errand, Answer { have, uses }),
            Event::Pushed { errand, kept, .. } => {
                self.tell(errand, Answer { have: vec![kept], uses: Vec::new() });
            }
            Event::Lack(ids) => {
                locked(&self.picker).lacked(key, &ids, now);
                for id in &ids {
                    self.proved(key, id, false);
                }
                self.wake_all();
            }
            Event::Block(..) | Event::Peers(_) => {}
        }
        self.tell_change();
    }

    /// A block has come and is about to be checked and stored.
    pub(super) fn arrives(&self, id: BlockId) {
        locked(&self.arriving).insert(id);
    }

    /// Waits until the blocks are counted that have come.
    pub async fn counted(&self) {
        let arriving = locked(&self.arriving).clone();
        loop {
            let change = self.changed();
            if locked(&self.arriving).is_disjoint(&arriving) {
                return;
            }
            change.await;
        }
    }

    /// A block has come and is in the store.
    pub(super) fn came(&self, key: Key, id: &BlockId) {
        let arrived = locked(&self.picker).arrived(key, id, Instant::now());
        self.take_back(id, &arrived.cancel);
        for wishes in locked(&self.wishes).iter() {
            let mut wishes = locked(wishes);
            if wishes.wanted.remove(id) {
                wishes.came += 1;
                wishes.arrived.push(*id);
            }
        }
        locked(&self.arriving).remove(id);
        self.proved(key, id, true);
        self.tell_change();
    }

    /// What came is not the block, or could not be kept.
    pub(super) fn spoilt(&self, key: Key, id: &BlockId, failure: Option<String>) {
        locked(&self.picker).wrong(key, id, Instant::now());
        if let Some(why) = failure {
            // Whoever wants it will not have it.
            for wishes in locked(&self.wishes).iter() {
                let mut wishes = locked(wishes);
                if wishes.wanted.contains(id) {
                    wishes.failure.get_or_insert_with(|| why.clone());
                }
            }
        }
        locked(&self.arriving).remove(id);
        self.proved(key, id, false);
        self.wake_all();
        self.tell_change();
    }

    pub(super) fn take_back(&self, id: &BlockId, keys: &[Key]) {
        for (key, link) in self.all_links() {
            if keys.contains(&key) {
                link.with(|session| session.cancel(&[*id]));
                link.wake.notify_one();
            }
        }
    }
}

pub(super) fn chosen(ids: &[BlockId], which: impl Iterator<Item = bool>) -> Vec<BlockId> {
    ids.iter().copied().zip(which).filter(|(_, chosen)| *chosen).map(|(id, _)| id).collect()
}

/// Peers are dialled as long as this lives.
#[derive(Debug)]
pub struct Needed(Arc<Natives>);

impl Drop for Needed {
    fn drop(&mut self) {
        self.0.needed.fetch_sub(1, Ordering::AcqRel);
    }
}
