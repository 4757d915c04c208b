//! Announces torrents in the DHT, and finds peers there.
//!
//! What is said of a torrent: that we are a peer of its swarm; and if it carries an OFF URL that is
//! all here, that we hold the URL's blocks, and which torrent carries them (see
//! [`rendezvous`](crate::krpc::rendezvous)). [`Live`] says it of one torrent and passes on the peers
//! it hears of; [`say_all`] says it of a catalog, one page at a time, so that a million torrents take
//! no memory. The nodes near each torrent are remembered for some thousands of them: the next time
//! they are asked first, which takes fewer datagrams.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use lru::LruCache;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::mass::{Offer, Offers, Pages};
use crate::id::{BlockId, InfoHash, Target};
use crate::krpc::contact::Contact;
use crate::krpc::driver::{Dht, News};
use crate::krpc::item::Item;
use crate::krpc::machine::{Aim, Outcome};
use crate::krpc::rendezvous::{Record, record_item, url_swarm};
use crate::krpc::republish::{Errand, Republish};
use crate::limits::BLOCK_LEN;
use crate::limits::dht::{
    BUCKET_NODES, DHT_ANNOUNCES_AT_ONCE, LONELY_SEARCH_FIRST, LONELY_SEARCH_LAST, NEAR_REMEMBERED,
};
use crate::peer::live;

/// Our place in the DHT, and what we have learnt there about where our torrents are announced.
#[derive(Debug)]
pub struct Announcer {
    /// The node; another one when it had to be started again.
    dht: RwLock<Arc<Dht>>,
    /// Our TCP port.
    port: u16,
    /// Others may ask our node.
    stays: bool,
    /// The nodes that were nearest the last time.
    near: Mutex<LruCache<Target, Vec<Contact>>>,
}

/// What carries an OFF URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    /// The URL's descriptor.
    pub descriptor: BlockId,
    /// Blocks of the torrent.
    pub blocks: u64,
}

impl Announcer {
    /// Announces peers at this TCP port. A node that `stays` may be told to others.
    #[must_use]
    pub fn new(dht: Dht, port: u16, stays: bool) -> Self {
        let most = NonZeroUsize::new(NEAR_REMEMBERED).unwrap_or(NonZeroUsize::MIN);
        let dht = RwLock::new(Arc::new(dht));
        Self { dht, port, stays, near: Mutex::new(LruCache::new(most)) }
    }

    /// The node.
    #[must_use]
    pub fn dht(&self) -> Arc<Dht> {
        Arc::clone(&self.dht.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Goes on with another node.
    pub(in crate::swarm) fn replace_dht(&self, dht: Dht) {
        *self.dht.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(dht);
    }

    /// The UDP port of our node, if others may ask it.
    #[must_use]
    pub fn port_to_tell(&self) -> Option<u16> {
        self.dht().addresses().first().filter(|_| self.stays).map(SocketAddr::port)
    }

    /// Announces us as a peer of a swarm, and tells of the peers that are there.
    async fn announce(
        &self,
        infohash: InfoHash,
        seed: bool,
        found: impl FnMut(Vec<SocketAddr>),
    ) -> Outcome {
        let aim = Aim::Announce { infohash, port: self.port, seed };
        self.ask(aim, infohash.target(), found).await
    }

    /// Tells of the peers of a swarm, without our becoming known there.
    pub(in crate::swarm) async fn look(
        &self,
        infohash: InfoHash,
        found: impl FnMut(Vec<SocketAddr>),
    ) {
        self.ask(Aim::Peers { infohash, ids: Vec::new() }, infohash.target(), found).await;
    }

    /// Begins with the nodes that were nearest the last time, and remembers those of this time.
    async fn ask(
        &self,
        aim: Aim,
        target: Target,
        mut found: impl FnMut(Vec<SocketAddr>),
    ) -> Outcome {
        let mut search = self.dht().search(aim, self.near(&target)).await;
        while let Some(news) = search.next().await {
            if let News::Peers { peers, .. } = news {
                found(peers);
            }
        }
        let outcome = search.outcome().await;
        self.remember(target, &outcome);
        outcome
    }

    /// Says which torrent carries an OFF URL.
    async fn put_record(&self, infohash: InfoHash, carried: &Carried) -> Outcome {
        let record = Record { infohash, blocks: carried.blocks };
        match record_item(&carried.descriptor, &record, unix()) {
            Ok(item) => {
                let item = Item::Mutable(item);
                let target = item.target();
                self.ask(Aim::Put { item, cas: None }, target, |_| ()).await
            }
            Err(error) => {
                warn!(%error, "a torrent is not named in the DHT");
                Outcome::default()
            }
        }
    }

    /// Says everything of a torrent that is due: true if somebody heard it.
    async fn say(
        &self,
        errand: Errand,
        infohash: InfoHash,
        carried: Option<&Carried>,
        seed: bool,
        mut found: impl FnMut(Vec<SocketAddr>),
    ) -> bool {
        match (errand, carried) {
            (Errand::Peers, carried) => {
                let heard = self.announce(infohash, seed, &mut found).await.stored > 0;
                if let Some(carried) = carried {
                    self.announce(url_swarm(&carried.descriptor), seed, found).await;
                }
                heard
            }
            (Errand::Item, Some(carried)) => self.put_record(infohash, carried).await.stored > 0,
            (Errand::Item, None) => true,
        }
    }

    fn near(&self, target: &Target) -> Vec<Contact> {
        let mut near = self.near.lock().unwrap_or_else(PoisonError::into_inner);
        near.get(target).cloned().unwrap_or_default()
    }

    fn remember(&self, target: Target, outcome: &Outcome) {
        let mut closest = outcome.closest.clone();
        closest.truncate(2 * BUCKET_NODES);
        if !closest.is_empty() {
            self.near.lock().unwrap_or_else(PoisonError::into_inner).put(target, closest);
        }
    }
}

/// One torrent that is announced.
#[derive(Debug)]
pub struct Live {
    /// Where it is announced.
    pub announcer: Arc<Announcer>,
    /// The torrent, which takes the peers that are found.
    pub live: Arc<live::Live>,
    /// The descriptor of the URL that it carries.
    pub descriptor: Option<BlockId>,
    /// All of it is here, and others may know.
    pub holds: bool,
    /// Ends it.
    pub stop: CancellationToken,
}

impl Live {
    /// Announces until it is stopped. Nodes forget us by themselves.
    pub async fn run(self) {
        let stop = self.stop.clone();
        let _ = stop.run_until_cancelled(self.go_on()).await;
    }

    async fn go_on(self) {
        let infohash = self.live.infohash();
        let mut plan = match (self.holds, self.descriptor) {
            (true, Some(_)) => Republish::of_url(Instant::now(), unix()),
            _ => Republish::of_swarm(Instant::now(), unix()),
        };
        let mut pause = LONELY_SEARCH_FIRST;
        loop {
            tokio::join!(self.say_what_is_due(&mut plan), self.look_for_holders());
            let due = plan.next();
            let soon = Instant::now() + pause;
            sleep_until(due.min(soon).into()).await;
            if due > soon && self.is_lonely() {
                pause = (pause * 2).min(LONELY_SEARCH_LAST);
                self.announcer.look(infohash, |peers| self.live.add_peers(peers, false)).await;
            }
        }
    }

    async fn say_what_is_due(&self, plan: &mut Republish) {
        let infohash = self.live.infohash();
        while let Some(errand) = plan.poll(Instant::now(), unix(), rand::random()) {
            let found = |peers| self.live.add_peers(peers, false);
            let carried = self.carried();
            let said = self.announcer.say(errand, infohash, carried.as_ref(), self.holds, found);
            if !said.await {
                debug!(%infohash, ?errand, "nobody in the DHT heard it");
                plan.failed(errand, Instant::now(), unix());
            }
        }
    }

    /// The URL whose blocks we hold, as the torrent has them.
    fn carried(&self) -> Option<Carried> {
        let descriptor = self.descriptor.filter(|_| self.holds)?;
        let total = self.live.with(|exchange| exchange.pieces().total)?;
        Some(Carried { descriptor, blocks: total / BLOCK_LEN as u64 })
    }

    /// Whether something is wanted and nobody is there to ask.
    fn is_lonely(&self) -> bool {
        let wants = self.live.with(|exchange| exchange.wanted() > 0).unwrap_or(true);
        wants && self.live.connections() == 0
    }

    /// Looks for those who hold the blocks of the URL, if nobody else is there: they serve its
    /// torrent as well.
    async fn look_for_holders(&self) {
        let needed = !self.holds && self.is_lonely();
        if let Some(descriptor) = self.descriptor.filter(|_| needed) {
            let found = |peers| self.live.add_peers(peers, false);
            self.announcer.look(url_swarm(&descriptor), found).await;
        }
    }
}

/// Announces us as a native node, until it is stopped.
/// Tells of the others that are announced.
pub async fn say_that_we_are_native(
    announcer: Arc<Announcer>,
    found: impl Fn(Vec<SocketAddr>),
    stop: CancellationToken,
) {
    let go_on = async {
        let mut plan = Republish::of_swarm(Instant::now(), unix());
        loop {
            while let Some(errand) = plan.poll(Instant::now(), unix(), rand::random()) {
                if !announcer.say(errand, InfoHash::native(), None, false, &found).await {
                    plan.failed(errand, Instant::now(), unix());
                }
                // Those found are asked for those they know, somewhere else each time.
                let anywhere = Target::from_bytes(rand::random());
                announcer.dht().search(Aim::Natives(anywhere), Vec::new()).await.outcome().await;
            }
            sleep_until(plan.next().into()).await;
        }
    };
    let _ = stop.run_until_cancelled(go_on).await;
}

/// Says everything of all torrents of a catalog, again and again, until it is stopped. A round
/// takes as long as it takes, and at least as long as peers are remembered; every third one puts
/// the items, too.
pub async fn say_all(announcer: Arc<Announcer>, offers: Arc<impl Offers>, stop: CancellationToken) {
    let rounds = async {
        let room = Arc::new(Semaphore::new(DHT_ANNOUNCES_AT_ONCE));
        let mut round = 0_u32;
        loop {
            let began = tokio::time::Instant::now();
            say_round(&announcer, &offers, &room, round.is_multiple_of(3)).await;
            round = round.wrapping_add(1);
            let (shortest, longest) = crate::limits::dht::PEERS_INTERVAL;
            tokio::time::sleep_until(began + rand::random_range(shortest..=longest)).await;
        }
    };
    let _ = stop.run_until_cancelled(rounds).await;
}

async fn say_round(
    announcer: &Arc<Announcer>,
    offers: &Arc<impl Offers>,
    room: &Arc<Semaphore>,
    items: bool,
) {
    let (mut pages, mut under_way) = (Pages::of(offers), JoinSet::new());
    loop {
        let page = match pages.next().await {
            Ok(Some(page)) => page,
            Ok(None) => break,
            Err(error) => {
                warn!(error, "cannot read which torrents to announce in the DHT");
                return;
            }
        };
        for Offer { infohash, carried, .. } in page {
            let Ok(permit) = Arc::clone(room).acquire_owned().await else { return };
            while under_way.try_join_next().is_some() {}
            let announcer = Arc::clone(announcer);
            under_way.spawn(async move {
                announcer.say(Errand::Peers, infohash, carried.as_ref(), true, |_| ()).await;
                if items {
                    announcer.say(Errand::Item, infohash, carried.as_ref(), true, |_| ()).await;
                }
                drop(permit);
            });
        }
    }
    while under_way.join_next().await.is_some() {}
}

/// The time in Unix seconds.
#[must_use]
pub fn unix() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.as_ref().map_or(0, Duration::as_secs)
}
