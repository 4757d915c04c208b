//! Fetch: brings the blocks of a URL that are not here.
//!
//! The rungs so far: the local store, then the BitTorrent swarm that carries the URL's blocks.
//! The swarm's infohash comes from the caller (a magnet link, a `.torrent` file), from the URL's
//! hints, or from the catalog. There is a deadline, a limit to how long nothing may happen, and at
//! any moment an account of what is being waited for.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::catalog::Origin;
use crate::id::{BlockId, InfoHash};
use crate::off::OffUrl;
use crate::store::StoreError;
use crate::torrent::hints::{may_ask, may_dial};
use crate::torrent::metainfo::{Metainfo, content_name};
use crate::torrent::session::{Swarm, SwarmStatus, Swarms, Wanted};

use super::arrivals::Arrivals;
use super::survey::Survey;
use super::{Client, GetError, ReadError};

/// How often a download is looked at.
const TICK: Duration = Duration::from_millis(100);

/// Where to look for blocks, and for how long. The URL's own hints are followed besides.
#[derive(Debug, Clone, Default)]
pub struct Ways {
    /// Peers to ask, named by the user.
    pub peers: Vec<SocketAddr>,
    /// Trackers to ask, named by the user.
    pub trackers: Vec<String>,
    /// The URL's torrent, if the user has it.
    pub torrent: Option<Metainfo>,
    /// Where to listen for peers; any free port by default.
    pub listen: Option<SocketAddr>,
    /// Ask nobody.
    pub offline: bool,
    /// Give up after so long.
    pub timeout: Option<Duration>,
    /// Give up when nothing has come for so long.
    pub stall: Option<Duration>,
    /// Who reads the blocks while they come, and which it wants next.
    pub arrivals: Option<Arrivals>,
}

/// What a fetch is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Blocks of the URL that are not here.
    pub missing: u64,
    /// Blocks of the URL, or an upper bound while the descriptor is not here.
    pub blocks: u64,
    /// How the swarm stands; no blocks while its metadata is being looked for.
    pub swarm: SwarmStatus,
}

impl std::fmt::Display for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { missing, blocks, swarm } = self;
        write!(f, "waiting for {missing} of {blocks} blocks; ")?;
        match swarm.blocks {
            0 => write!(f, "looking for a peer that knows the torrent"),
            _ => write!(f, "swarm: {} of {} peers connected", swarm.peers, swarm.known_peers),
        }
    }
}

/// Where the blocks of a URL came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Blocks that were here.
    pub local: u64,
    /// Blocks that came from the swarm.
    pub swarm: u64,
    /// Bytes received from peers.
    pub received: u64,
}

/// How a download ended that did not fail.
enum End {
    Complete,
    GaveUp,
    Stopped,
}

impl Client {
    /// Makes sure that all blocks of a URL are in the store. `watch` is told what is being waited
    /// for, about ten times a second; `stop` ends the wait and keeps what has come.
    pub async fn fetch(
        &self,
        url: &OffUrl,
        ways: &Ways,
        stop: &CancellationToken,
        watch: &mut (dyn FnMut(&Waiting) + Send),
    ) -> Result<Fetched, GetError> {
        // Nothing of the URL is evicted to make room for the rest of it.
        let _lease = self.store.lease();
        // A directory is its files, too, which only a survey knows.
        let whole = if url.is_directory() { None } else { self.blocks_if_whole(url)? };
        if let Some(local) = whole {
            self.remember(url, Origin::Got).map_err(Box::new)?;
            return Ok(Fetched { local, ..Fetched::default() });
        }
        let survey = self.survey(url)?;
        self.touch_all(&survey.order)?;
        let local = survey.blocks - survey.lacking();
        if survey.is_whole() {
            self.remember(url, Origin::Got).map_err(Box::new)?;
            return Ok(Fetched { local, ..Fetched::default() });
        }
        if ways.offline {
            return Err(not_found(url, &survey, vec!["the store only (offline)".into()]));
        }
        let Some(wanted) = self.wanted(url, ways, &survey)? else {
            let why = "no swarm (the URL does not name one)";
            return Err(not_found(url, &survey, vec!["the store".into(), why.into()]));
        };
        let swarms = self.swarms(ways.listen).await?;
        let task = Task { client: self, url, ways, stop, survey: &survey, started: Instant::now() };
        let outcome = self.download(url, &swarms, &wanted, &task, watch).await;
        swarms.stop();
        let received = outcome?;
        // Only now is the descriptor here, and with it the true number of blocks.
        let now = self.survey(url)?;
        let local = local.min(now.blocks);
        Ok(Fetched { local, swarm: now.blocks - local, received })
    }

    /// Makes sure that the blocks of one file of a directory are in the store, and gives its URL.
    /// Peers hand out whole torrents, so if any of them is not here, all of the directory is
    /// fetched.
    pub async fn fetch_member(
        &self,
        directory: &OffUrl,
        path: &str,
        ways: &Ways,
        stop: &CancellationToken,
        watch: &mut (dyn FnMut(&Waiting) + Send),
    ) -> Result<(OffUrl, Fetched), GetError> {
        if let Some(listing) = self.directory_if_here(directory)? {
            let no_member = || ReadError::NoMember(path.to_owned());
            let member = listing.file(path).ok_or_else(no_member)?;
            let survey = self.survey(member)?;
            if survey.is_whole() {
                let fetched = Fetched { local: survey.blocks, ..Fetched::default() };
                return Ok((member.clone(), fetched));
            }
        }
        let fetched = self.fetch(directory, ways, stop, watch).await?;
        Ok((self.directory_member(directory, path)?, fetched))
    }

    async fn download(
        &self,
        url: &OffUrl,
        swarms: &Swarms,
        wanted: &Wanted,
        task: &Task<'_>,
        watch: &mut (dyn FnMut(&Waiting) + Send),
    ) -> Result<u64, GetError> {
        let asked = |status: SwarmStatus| asked(wanted, status);
        let Some(swarm) = task.join(swarms, wanted, watch).await? else {
            return Err(task.gave_up(url, asked(SwarmStatus::default())));
        };
        let end = task.wait(&swarm, watch).await;
        let status = swarm.status();
        let info = swarm.info().cloned();
        swarms.leave(swarm).await;
        self.store.commit().map_err(ReadError::from)?;
        let survey = self.survey(url)?;
        match end? {
            End::Complete if survey.is_whole() => {}
            // A wrong key or length, or blocks that are not the URL's though the torrent began
            // like it.
            End::Complete => {
                self.catalog.end_download(wanted.infohash)?;
                let (missing, blocks) = (survey.lacking(), survey.blocks);
                return Err(GetError::Forged { infohash: wanted.infohash, missing, blocks });
            }
            End::GaveUp => return Err(not_found(url, &survey, asked(status))),
            End::Stopped => return Err(GetError::Stopped),
        }
        self.catalog.end_download(wanted.infohash)?;
        self.remember(url, Origin::Got).map_err(Box::new)?;
        if let Some(info) = info {
            self.catalog.publish(url, info.infohash, &info.raw, &wanted.trackers)?;
        }
        Ok(status.received)
    }

    /// The swarm to join for a URL, unless none is known.
    fn wanted(
        &self,
        url: &OffUrl,
        ways: &Ways,
        survey: &Survey,
    ) -> Result<Option<Wanted>, GetError> {
        let info = ways.torrent.as_ref().map(|torrent| torrent.info.clone());
        if let (Some(info), Some(descriptor)) = (&info, url.descriptor()) {
            check_torrent(&info.name, &content_name(descriptor))?;
        }
        let infohash = match info.as_ref().map(|info| info.infohash).or(url.hints.infohash) {
            Some(infohash) => Some(infohash),
            None => self.catalog.url(url)?.and_then(|record| record.infohash),
        };
        let Some(infohash) = infohash else {
            return Ok(None);
        };
        let info = match info {
            Some(info) => Some(info),
            None => self.remembered(infohash)?,
        };
        let named = ways.torrent.iter().flat_map(|torrent| &torrent.trackers);
        Ok(Some(Wanted {
            infohash,
            info,
            peers: joined(&ways.peers, url.hints.peers.iter().filter(|peer| may_dial(**peer))),
            trackers: joined(
                &ways.trackers,
                named.chain(&url.hints.trackers).filter(|tracker| may_ask(tracker)),
            ),
            max_blocks: url.max_blocks(),
            first: url.descriptor(),
            known: (0..).zip(survey.order.iter().copied()).collect(),
        }))
    }

    fn remembered(
        &self,
        infohash: InfoHash,
    ) -> Result<Option<crate::torrent::metainfo::Info>, GetError> {
        let raw = self.catalog.info_dict(infohash)?;
        Ok(raw.and_then(|raw| crate::torrent::metainfo::Info::decode(raw.into()).ok()))
    }

    /// Reads every block of a URL that is here, so that all damaged ones are known.
    pub fn find_damage(&self, url: &OffUrl) -> Result<Survey, ReadError> {
        for id in self.survey(url)?.order {
            match self.store.get(&id) {
                Ok(_) | Err(StoreError::Damaged { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.survey(url)
    }
}

/// One download and its limits.
struct Task<'a> {
    client: &'a Client,
    url: &'a OffUrl,
    ways: &'a Ways,
    stop: &'a CancellationToken,
    survey: &'a Survey,
    started: Instant,
}

impl Task<'_> {
    /// Joins the swarm; `None` if that took too long or was stopped.
    async fn join(
        &self,
        swarms: &Swarms,
        wanted: &Wanted,
        watch: &mut (dyn FnMut(&Waiting) + Send),
    ) -> Result<Option<Swarm>, GetError> {
        let join = swarms.join(wanted.clone());
        tokio::pin!(join);
        let mut ticks = ticks();
        loop {
            tokio::select! {
                joined = &mut join => return Ok(Some(joined?)),
                () = self.stop.cancelled() => return Ok(None),
                _ = ticks.tick() => {
                    watch(&self.waiting(SwarmStatus::default()));
                    if self.is_late(self.started) {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Waits until all blocks are here, or no longer.
    async fn wait(
        &self,
        swarm: &Swarm,
        watch: &mut (dyn FnMut(&Waiting) + Send),
    ) -> Result<End, GetError> {
        let mut ticks = ticks();
        let mut last_change = (Instant::now(), swarm.status());
        let mut order = None;
        loop {
            self.prefer_awaited(swarm, &mut order).await?;
            let status = swarm.status();
            if (status.have, status.received) != (last_change.1.have, last_change.1.received) {
                last_change = (Instant::now(), status);
            }
            watch(&self.waiting(status));
            if swarm.is_complete()? {
                return Ok(End::Complete);
            }
            if self.is_late(last_change.0) {
                return Ok(End::GaveUp);
            }
            tokio::select! {
                () = self.stop.cancelled() => return Ok(End::Stopped),
                _ = ticks.tick() => {}
            }
        }
    }

    /// Asks the swarm first for the block that a stream waits for. `order` is where the blocks are
    /// in the torrent, once the descriptor is here.
    async fn prefer_awaited(
        &self,
        swarm: &Swarm,
        order: &mut Option<HashMap<BlockId, u64>>,
    ) -> Result<(), GetError> {
        let Some(awaited) = self.ways.arrivals.as_ref().and_then(Arrivals::awaited) else {
            return Ok(());
        };
        if order.is_none() {
            let survey = self.client.survey(self.url)?;
            if survey.complete {
                *order = Some(survey.order.into_iter().zip(0..).collect());
            }
        }
        // Until the descriptor is here nothing is wanted more than its blocks, the first ones.
        let known = order.as_ref().and_then(|order| order.get(&awaited).copied());
        Ok(swarm.prefer(known.unwrap_or(0)).await?)
    }

    fn waiting(&self, swarm: SwarmStatus) -> Waiting {
        match swarm.blocks {
            0 => Waiting { missing: self.survey.lacking(), blocks: self.survey.blocks, swarm },
            blocks => Waiting { missing: blocks - swarm.have, blocks, swarm },
        }
    }

    fn is_late(&self, last_change: Instant) -> bool {
        let over = |limit: Option<Duration>, since: Instant| {
            limit.is_some_and(|limit| since.elapsed() >= limit)
        };
        over(self.ways.timeout, self.started) || over(self.ways.stall, last_change)
    }

    fn gave_up(&self, url: &OffUrl, asked: Vec<String>) -> GetError {
        if self.stop.is_cancelled() {
            GetError::Stopped
        } else {
            not_found(url, self.survey, asked)
        }
    }
}

fn ticks() -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn check_torrent(found: &str, expected: &str) -> Result<(), GetError> {
    if found == expected {
        return Ok(());
    }
    let found = crate::id::excerpt(found);
    Err(GetError::WrongTorrent { found, expected: expected.to_owned() })
}

fn not_found(url: &OffUrl, survey: &Survey, asked: Vec<String>) -> GetError {
    let Survey { blocks, damaged, complete, .. } = survey;
    match damaged.first() {
        Some(first) => GetError::Damaged {
            url: url.canonical().to_string(),
            damaged: damaged.len() as u64,
            blocks: *blocks,
            first: *first,
            asked,
        },
        None => GetError::NotFound {
            missing: survey.lacking(),
            blocks: *blocks,
            exact: *complete,
            asked,
        },
    }
}

fn asked(wanted: &Wanted, status: SwarmStatus) -> Vec<String> {
    let Wanted { infohash, peers, trackers, .. } = wanted;
    let counted =
        |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let swarm = format!(
        "swarm {infohash} ({} named, {}, {} heard of, {} connected)",
        counted(peers.len(), "peer"),
        counted(trackers.len(), "tracker"),
        status.known_peers,
        status.peers,
    );
    vec!["the store".into(), swarm]
}

fn joined<'a, T: Clone + PartialEq + 'a>(own: &[T], others: impl Iterator<Item = &'a T>) -> Vec<T> {
    let mut all = own.to_vec();
    for other in others {
        if !all.contains(other) {
            all.push(other.clone());
        }
    }
    all
}
