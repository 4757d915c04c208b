//! Seeding: lets everybody know of the torrents of the catalog, as long as it goes on.
//!
//! A few torrents are announced each by itself: their trackers hear at once when one comes and goes,
//! and the leechers they name are dialled. So are, where there are many, the latest that were
//! published; all of many are announced in rounds, in which a torrent that nobody asks for costs
//! nothing but its record.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};

use crate::catalog::{Catalog, CatalogError, TorrentRecord};
use crate::id::{BlockId, InfoHash};
use crate::off::OffUrl;
use crate::swarm::announce::dht::Carried;
use crate::swarm::announce::mass::{Offer, Offers};
use crate::swarm::session::{Sources, Swarm, Swarms};
use crate::torrent::metainfo::Info;

use super::Client;
use super::fetch::trackers;

/// Torrents up to which each is announced by itself.
pub const SEEDED_SINGLY: u64 = 64;

/// Torrents listed at a time.
const TORRENTS_AT_ONCE: usize = 256;

/// How often the catalog is looked at for torrents that have gone.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// How often what was moved is written down.
const ACCOUNT_EVERY: Duration = Duration::from_secs(60);

impl Client {
    /// The torrents of the catalog page by page, to be announced in rounds to their trackers and
    /// these.
    #[must_use]
    pub fn offers(&self, extra: Vec<String>) -> Arc<impl Offers + use<>> {
        let catalog = Arc::clone(self.catalog());
        Arc::new(move |after, most| {
            let records = catalog.torrents_from(after, most)?;
            let offer = |(infohash, record): (InfoHash, TorrentRecord)| Offer {
                infohash,
                trackers: trackers(&extra, record.trackers.iter()),
                carried: carried(&catalog, infohash, &record),
            };
            Ok(records.into_iter().map(offer).collect())
        })
    }

    /// Announces each torrent of the catalog by itself and dials the peers that the user named; with
    /// `extra` to its trackers and those.
    pub async fn seed_singly(
        &self,
        swarms: &Swarms,
        peers: &[SocketAddr],
        extra: Option<&Vec<String>>,
    ) -> Result<Vec<Swarm>, CatalogError> {
        let (mut seeding, mut last) = (Vec::new(), None);
        loop {
            let page = self.catalog().torrents_from(last, TORRENTS_AT_ONCE)?;
            let Some((next, _)) = page.last() else { return Ok(seeding) };
            last = Some(*next);
            for (infohash, record) in page {
                let sources = sources(&record, peers, extra);
                seeding.extend(seed(swarms, infohash, &sources).await);
            }
        }
    }

    /// Keeps seeding what the catalog has, also what enters it meanwhile, until it is stopped.
    pub async fn keep_seeding(
        &self,
        swarms: &Swarms,
        extra: &Vec<String>,
        stop: &CancellationToken,
    ) -> Result<(), CatalogError> {
        let mut seeding = Seeding::default();
        let mut published = self.published.subscribe();
        let mut looks = tokio::time::interval(LOOK_EVERY);
        let mut accounts = tokio::time::interval(ACCOUNT_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = accounts.tick() => swarms.account().await,
                _ = looks.tick() => seeding.look(self, swarms, extra).await?,
                one = published.recv() => match one {
                    Ok(infohash) => seeding.add(self, swarms, extra, infohash).await?,
                    // Too many at once to be heard of one by one.
                    Err(_) => looks.reset_immediately(),
                },
            }
        }
        seeding.leave(swarms).await;
        Ok(())
    }
}

/// What is announced.
#[derive(Default)]
struct Seeding {
    /// By itself.
    singly: HashMap<InfoHash, Swarm>,
    /// The same, in the order in which they came.
    order: VecDeque<InfoHash>,
    /// Ends the rounds, once there are any.
    rounds: Option<DropGuard>,
}

impl Seeding {
    async fn look(
        &mut self,
        client: &Client,
        swarms: &Swarms,
        extra: &Vec<String>,
    ) -> Result<(), CatalogError> {
        if client.catalog().torrent_count()? > SEEDED_SINGLY {
            if self.rounds.is_none() {
                let stop = CancellationToken::new();
                self.rounds = Some(stop.clone().drop_guard());
                tokio::spawn(swarms.offering(client.offers(extra.clone()), stop));
            }
            return Ok(());
        }
        let most = usize::try_from(SEEDED_SINGLY).unwrap_or(usize::MAX);
        let known = client.catalog().torrents_from(None, most)?;
        let is_known = |infohash: &InfoHash| known.iter().any(|(other, _)| other == infohash);
        let gone: Vec<_> =
            self.singly.keys().filter(|infohash| !is_known(infohash)).copied().collect();
        for infohash in gone {
            self.drop(swarms, infohash).await;
        }
        for (infohash, _) in &known {
            self.add(client, swarms, extra, *infohash).await?;
        }
        Ok(())
    }

    /// Announces one by itself, and for it the oldest no longer if there are many.
    async fn add(
        &mut self,
        client: &Client,
        swarms: &Swarms,
        extra: &Vec<String>,
        infohash: InfoHash,
    ) -> Result<(), CatalogError> {
        if self.singly.contains_key(&infohash) {
            return Ok(());
        }
        let Some(record) = client.catalog().torrent(infohash)? else { return Ok(()) };
        if let Some(swarm) = seed(swarms, infohash, &sources(&record, &[], Some(extra))).await {
            self.singly.insert(infohash, swarm);
            self.order.push_back(infohash);
        }
        if self.order.len() as u64 > SEEDED_SINGLY
            && let Some(oldest) = self.order.front().copied()
        {
            self.drop(swarms, oldest).await;
        }
        Ok(())
    }

    async fn drop(&mut self, swarms: &Swarms, infohash: InfoHash) {
        self.order.retain(|other| *other != infohash);
        if let Some(swarm) = self.singly.remove(&infohash) {
            swarms.leave(swarm).await;
        }
    }

    /// Says goodbye everywhere at once.
    async fn leave(self, swarms: &Swarms) {
        let mut leaving: Vec<_> =
            self.singly.into_values().map(|swarm| Box::pin(swarms.leave(swarm))).collect();
        futures_util::future::join_all(leaving.drain(..)).await;
        swarms.account().await;
    }
}

async fn seed(swarms: &Swarms, infohash: InfoHash, sources: &Sources) -> Option<Swarm> {
    let swarm = swarms.seed(infohash, sources).await;
    let told = |error: &_| tracing::warn!(%infohash, "a torrent is not announced: {error}");
    swarm.inspect_err(told).ok()
}

fn sources(record: &TorrentRecord, peers: &[SocketAddr], extra: Option<&Vec<String>>) -> Sources {
    let trackers = extra.map(|extra| trackers(extra, record.trackers.iter())).unwrap_or_default();
    let descriptor = descriptor(record);
    Sources { peers: peers.to_vec(), trackers, descriptor, ..Sources::default() }
}

/// The descriptor of the OFF URL that a torrent carries.
fn descriptor(record: &TorrentRecord) -> Option<BlockId> {
    OffUrl::parse(record.url.as_deref()?).ok()?.descriptor()
}

/// The OFF URL that a torrent carries, and in how many blocks.
fn carried(catalog: &Catalog, infohash: InfoHash, record: &TorrentRecord) -> Option<Carried> {
    let raw = catalog.info_dict(infohash).ok()??;
    let blocks = Info::decode(raw.into()).ok()?.blocks().ok()?;
    Some(Carried { descriptor: descriptor(record)?, blocks })
}
