//! Relay: single blocks for somebody else, brought from native nodes and swarms.
//!
//! Who asks names a block and nothing else. It may be a descriptor: then native nodes that hold its OFF
//! URL, and a torrent that carries it, are found in the DHT or the catalog, and the torrent's blocks are
//! brought in order, because whoever wanted the descriptor will ask for them next. Any other block comes
//! of such a torrent, or of native nodes that are connected.
//!
//! Strangers decide what is brought. So nothing is brought into a store without a limit, where it would
//! stay for ever; of all that is in a store it is the first to be evicted; few torrents are carried at
//! a time, none larger than a part of the limit, and none longer than it is asked for; and what was
//! looked for in vain is not looked for again for a while.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::id::{BlockId, ID_LEN, InfoHash};
use crate::limits::BLOCK_LEN;
use crate::limits::relay::{
    RELAY_AHEAD, RELAY_GRACE, RELAY_IDLE, RELAY_JOIN, RELAY_SEARCH, RELAY_SEARCHES_PER_ADDRESS,
    RELAY_SHARE, RELAY_TORRENTS, RELAYED_AT_ONCE, SOUGHT_AGAIN, SOUGHT_KEPT,
};
use crate::off::{Block, BlockSize, Carriage, Version};
use crate::source::{BlockSource, SourceStatus};
use crate::store::Presence;
use crate::swarm::native::Looking;
use crate::swarm::session::{Sources, Swarm, Swarms, Wanted};
use crate::torrent::metainfo::Info;

use super::Session;
use crate::client::fetch::trackers;

/// How often what is waited for is looked at.
const TICK: Duration = Duration::from_millis(50);

/// How long the list of torrents in the catalog that may be carried is good.
const LIST_AGE: Duration = Duration::from_secs(60);

/// Brings blocks for others. Cloning it makes another handle to the same; when the last is dropped, all
/// it does ends.
#[derive(Clone)]
pub struct Relay(Arc<Inner>);

struct Inner {
    session: Session,
    /// What is being carried, by descriptor.
    works: Mutex<HashMap<BlockId, Arc<Work>>>,
    /// Descriptors that were looked for, or blocks that are none, and when.
    sought: Mutex<LruCache<BlockId, Instant>>,
    listed: Mutex<Option<(Instant, Arc<List>)>>,
    places: Semaphore,
    stop: CancellationToken,
    _stop: DropGuard,
}

/// Torrents by the descriptors of the URLs that they carry.
type List = HashMap<BlockId, Listed>;

/// A torrent of the catalog that carries a URL of version 3.
#[derive(Debug, Clone)]
struct Listed {
    infohash: InfoHash,
    trackers: Vec<String>,
}

/// A descriptor whose blocks are brought.
struct Work {
    descriptor: BlockId,
    /// Who asked for it first.
    by: IpAddr,
    state: Mutex<WorkState>,
}

struct WorkState {
    /// Blocks that descriptor blocks name which are here.
    ids: HashSet<BlockId>,
    /// Descriptor blocks that are not here yet.
    chain: Vec<BlockId>,
    /// When one of its blocks was last asked for.
    asked: Instant,
    over: bool,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay")
            .field("carried", &locked(&self.0.works).len())
            .finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Relay {
    /// Nothing is brought yet.
    #[must_use]
    pub fn new(session: Session) -> Self {
        let stop = CancellationToken::new();
        let kept = NonZeroUsize::new(SOUGHT_KEPT).unwrap_or(NonZeroUsize::MIN);
        Self(Arc::new(Inner {
            session,
            works: Mutex::default(),
            sought: Mutex::new(LruCache::new(kept)),
            listed: Mutex::default(),
            places: Semaphore::new(RELAYED_AT_ONCE),
            _stop: stop.clone().drop_guard(),
            stop,
        }))
    }

    /// Whether anything is brought: the store has a limit, and we take part in something.
    #[must_use]
    pub fn may_bring(&self) -> bool {
        self.0.session.client().limit().is_some() && self.0.session.swarms().is_some()
    }

    /// Brings a block into the store and reads it; `None` if nobody gives it in time, or nobody is left
    /// to ask. Must be called in a runtime of several threads.
    /// `by` is whoever asks, so that nobody takes all places.
    pub async fn bring(
        &self,
        id: BlockId,
        size: BlockSize,
        by: IpAddr,
        patience: Duration,
    ) -> Option<Block> {
        let swarms = self.0.session.swarms().filter(|_| self.may_bring())?;
        // One that is here in another size than is asked for is no descriptor to look for.
        if self.is_here(id) {
            return self.read(id).await.filter(|block| block.size() == size);
        }
        let _place = self.0.places.try_acquire().ok()?;
        let errand = swarms.natives().errand();
        errand.want(&[id]);
        self.seek(id, size, by, &swarms);
        let waiting = async {
            let mut ticks = interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                let changed = errand.changed();
                if self.is_here(id) {
                    return self.read(id).await;
                }
                let natives = may_give(errand.status(), errand.unclaimed(1).is_empty());
                if !self.may_carry(id) && !natives {
                    return None;
                }
                tokio::select! {
                    () = changed => {}
                    _ = ticks.tick() => {}
                }
            }
        };
        let brought = timeout(patience, waiting).await.ok().flatten();
        brought.filter(|block| block.size() == size)
    }

    fn is_here(&self, id: BlockId) -> bool {
        let store = self.0.session.client().store();
        matches!(store.presence(&id), Ok(Presence::Held))
    }

    async fn read(&self, id: BlockId) -> Option<Block> {
        let store = Arc::clone(self.0.session.client().store());
        let read = spawn_blocking(move || store.get(&id)).await.ok()?;
        read.inspect_err(|error| tracing::warn!("a block cannot be read: {error}")).ok()?
    }

    /// Whether something that is under way may bring a block. What is, goes on because of that.
    fn may_carry(&self, id: BlockId) -> bool {
        let works: Vec<_> = locked(&self.0.works).values().cloned().collect();
        // Each is told that it is asked for.
        works.iter().filter(|work| work.may_bring(id)).count() > 0
    }

    /// Looks for a descriptor of this id, unless it is no descriptor, or was looked for lately.
    fn seek(&self, id: BlockId, size: BlockSize, by: IpAddr, swarms: &Arc<Swarms>) {
        let mut works = locked(&self.0.works);
        let is_part = works.values().any(|work| work.may_bring(id));
        let searches = works.values().filter(|work| work.by == by && !work.is_found()).count();
        if is_part || works.len() >= RELAY_TORRENTS || searches >= RELAY_SEARCHES_PER_ADDRESS {
            return;
        }
        let mut sought = locked(&self.0.sought);
        if sought.get(&id).is_some_and(|then| then.elapsed() < SOUGHT_AGAIN) {
            return;
        }
        sought.put(id, Instant::now());
        drop(sought);
        let work = Arc::new(Work::new(id, by));
        works.insert(id, Arc::clone(&work));
        drop(works);
        let (relay, swarms) = (Arc::downgrade(&self.0), Arc::clone(swarms));
        let (session, stop) = (self.0.session.clone(), self.0.stop.child_token());
        let listed = self.listed();
        tokio::spawn(async move {
            let carry = Carry { session, swarms, work: &work, size };
            let found = stop.run_until_cancelled(carry.run(listed)).await;
            locked(&work.state).over = true;
            if let Some(relay) = relay.upgrade() {
                locked(&relay.works).remove(&id);
                if found == Some(true) {
                    // Its blocks may be evicted, and then it is looked for again at once.
                    locked(&relay.sought).pop(&id);
                }
            }
        });
    }

    /// The torrents of the catalog that carry URLs of version 3, by descriptor; read in the background.
    fn listed(&self) -> impl Future<Output = Arc<List>> + Send + use<> {
        let inner = Arc::downgrade(&self.0);
        async move {
            let Some(inner) = inner.upgrade() else { return Arc::default() };
            if let Some((then, list)) = &*locked(&inner.listed)
                && then.elapsed() < LIST_AGE
            {
                return Arc::clone(list);
            }
            let session = inner.session.clone();
            let list = spawn_blocking(move || list(&session)).await.unwrap_or_default();
            let list = Arc::new(list);
            *locked(&inner.listed) = Some((Instant::now(), Arc::clone(&list)));
            list
        }
    }
}

/// Is over when who could know of a descriptor was asked and had time to say so.
async fn searched(looking: &Looking) {
    let asked = async {
        while !looking.has_asked() {
            sleep(TICK).await;
        }
        sleep(RELAY_GRACE).await;
    };
    let _ = timeout(RELAY_SEARCH, asked).await;
}

/// Whether native peers may still give a block that is wanted.
const fn may_give(status: SourceStatus, is_claimed: bool) -> bool {
    status.prospects > 0 || status.in_flight > 0 || (status.peers > 0 && is_claimed)
}

fn list(session: &Session) -> List {
    let client = session.client();
    let urls = client.known_urls();
    let urls = urls.inspect_err(|error| tracing::warn!("the catalog cannot be read: {error}"));
    let carried = urls.unwrap_or_default().into_iter().filter_map(|(url, record)| {
        let infohash = record.infohash.filter(|_| url.version() == Version::V3)?;
        let trackers = client.catalog().torrent(infohash).ok()??.trackers;
        Some((url.descriptor()?, Listed { infohash, trackers }))
    });
    carried.collect()
}

impl Work {
    fn new(descriptor: BlockId, by: IpAddr) -> Self {
        let state = WorkState {
            ids: HashSet::new(),
            chain: vec![descriptor],
            asked: Instant::now(),
            over: false,
        };
        Self { descriptor, by, state: Mutex::new(state) }
    }

    /// Whether it may bring a block that is asked for now.
    fn may_bring(&self, id: BlockId) -> bool {
        let mut state = locked(&self.state);
        let may = !state.over && (id == self.descriptor || state.ids.contains(&id));
        if may {
            state.asked = Instant::now();
        }
        may
    }

    /// Reads descriptor blocks that have come: which blocks belong to them. Reads the store.
    fn learn(&self, session: &Session) {
        let store = session.client().store();
        let Some(id) = locked(&self.state).chain.last().copied() else { return };
        if !matches!(store.presence(&id), Ok(Presence::Held)) {
            return;
        }
        let Ok(Some(block)) = store.get(&id) else { return };
        let ids: Vec<BlockId> = block
            .contents()
            .as_chunks::<ID_LEN>()
            .0
            .iter()
            .map(|id| BlockId::from_bytes(*id))
            .collect();
        let mut state = locked(&self.state);
        state.chain.pop();
        // The last one is the next descriptor block, if there is one; else noise, which never comes.
        state.chain.extend(ids.last());
        state.ids.extend(ids);
    }

    /// Whether it has turned out to be a descriptor.
    fn is_found(&self) -> bool {
        !locked(&self.state).ids.is_empty()
    }

    fn is_idle(&self) -> bool {
        locked(&self.state).asked.elapsed() >= RELAY_IDLE
    }
}

/// The task of one descriptor.
struct Carry<'a> {
    session: Session,
    swarms: Arc<Swarms>,
    work: &'a Work,
    size: BlockSize,
}

impl Carry<'_> {
    /// Finds a torrent and brings its blocks as long as they are asked for: whether there was one.
    async fn run(&self, listed: impl Future<Output = Arc<List>>) -> bool {
        let descriptor = self.work.descriptor;
        // Who holds its blocks may be a native node, and gives them one by one.
        let looking = self.swarms.look_for_natives(Some(descriptor));
        if Carriage::of(self.size).is_some() {
            if let Some(Listed { infohash, trackers }) = listed.await.get(&descriptor)
                && self.carry(*infohash, trackers).await
            {
                return true;
            }
            if self.carry_rumoured(&looking).await {
                return true;
            }
        }
        self.linger(&looking).await
    }

    /// Follows what the DHT says until one of the torrents is right, or nobody names another one.
    async fn carry_rumoured(&self, looking: &Looking) -> bool {
        if self.swarms.dht().is_none() {
            return false;
        }
        let mut records = self.swarms.records(self.work.descriptor);
        loop {
            tokio::select! {
                // Those who were named already are tried before it is over.
                biased;
                record = records.recv() => match record {
                    Some(record) if self.carry(record.infohash, &[]).await => return true,
                    Some(_) => {}
                    None => return false,
                },
                () = searched(looking) => return false,
            }
        }
    }

    /// As long as the descriptor is here or comes of native nodes, they may be asked for its blocks:
    /// whether it is.
    async fn linger(&self, looking: &Looking) -> bool {
        let is_here = || {
            tokio::task::block_in_place(|| self.work.learn(&self.session));
            self.work.is_found()
        };
        // Without a DHT nobody else turns up.
        let may_turn_up = self.swarms.dht().is_some();
        let mut searched = pin!(searched(looking));
        while !is_here() && may_turn_up {
            tokio::select! {
                () = searched.as_mut() => break,
                () = sleep(TICK) => {}
            }
        }
        while is_here() && !self.work.is_idle() {
            sleep(Duration::from_secs(1)).await;
        }
        is_here()
    }

    /// Brings the blocks of a torrent as long as they are asked for: whether it is the right one.
    async fn carry(&self, infohash: InfoHash, trackers_told: &[String]) -> bool {
        let Some(limit) = self.session.client().limit() else { return false };
        let Some(carriage) = Carriage::of(self.size) else { return false };
        let max_blocks = limit / BLOCK_LEN as u64 / RELAY_SHARE;
        let remembered = self.session.client().catalog().info_dict(infohash).ok().flatten();
        let wanted = Wanted {
            infohash,
            info: remembered.and_then(|raw| Info::decode(raw.into()).ok()),
            sources: Sources {
                trackers: trackers(&[], trackers_told.iter()),
                descriptor: Some(self.work.descriptor),
                ..Sources::default()
            },
            carriage,
            max_blocks,
            first: Some(self.work.descriptor),
            known: vec![(0, self.work.descriptor)],
        };
        let swarm = match timeout(RELAY_JOIN, self.swarms.join(&wanted)).await {
            Ok(Ok(swarm)) => swarm,
            Ok(Err(error)) => {
                tracing::debug!(%infohash, "a torrent is not carried: {error}");
                return false;
            }
            Err(_) => return false,
        };
        let right = self.draw(&swarm).await;
        self.swarms.leave(swarm).await;
        right
    }

    async fn draw(&self, swarm: &Swarm) -> bool {
        let blocks = swarm.blocks();
        let (mut next, mut ticks) = (0, interval(TICK));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let changed = swarm.changed();
            tokio::task::block_in_place(|| self.work.learn(&self.session));
            match swarm.wanted() {
                Ok(0) if next == blocks => break,
                Ok(wanted) if u64::from(wanted) < RELAY_AHEAD / 2 && next < blocks => {
                    let end = (next + RELAY_AHEAD / 2).min(blocks);
                    swarm.want(next..end);
                    next = end;
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!("a torrent is not carried any more: {error}");
                    return false;
                }
            }
            if self.work.is_idle() {
                break;
            }
            tokio::select! {
                () = changed => {}
                _ = ticks.tick() => {}
            }
        }
        self.work.is_found()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fetch::Ways;
    use crate::client::{Client, Settings};

    #[tokio::test(flavor = "multi_thread")]
    async fn who_looks_for_much_leaves_places_for_others() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { limit: Some(1 << 30), ..Settings::default() };
        let client = Client::open(folder.path(), &settings).unwrap();
        let listen = Some("127.0.0.1:0".parse().unwrap());
        let options = crate::swarm::session::Options { listen, ..Default::default() };
        let swarms = Arc::new(client.swarms(&options).await.unwrap());
        let relay = Relay::new(Session::new(client, Ways::default()));
        let greedy = |n: u8| ("203.0.113.1".parse().unwrap(), BlockId::of(&[n]));
        for (by, id) in (0..).map(greedy).take(RELAY_SEARCHES_PER_ADDRESS) {
            locked(&relay.0.works).insert(id, Arc::new(Work::new(id, by)));
        }
        let (by, id) = greedy(99);
        relay.seek(id, BlockSize::LegacyNano, by, &swarms);
        assert!(locked(&relay.0.sought).get(&id).is_none(), "it must wait");
        relay.seek(id, BlockSize::LegacyNano, "203.0.113.2".parse().unwrap(), &swarms);
        assert!(locked(&relay.0.sought).get(&id).is_some(), "another one finds a place");
    }
}
