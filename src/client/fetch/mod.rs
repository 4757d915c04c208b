//! Fetch: brings the blocks of a URL that are not here.
//!
//! The rungs: the local store; native peers (named, on the local network, in the DHT, by gossip),
//! which give single blocks; then torrents: packs and shards that list their blocks, and the
//! BitTorrent swarm that carries the URL's blocks, with its trackers, web seeds and the DHT. A rung
//! begins when the one before misses or is slow (`ladder`), all of them race under one deadline, and a
//! block that has come of one is not asked of another any more.
//!
//! The swarm's infohash comes from the caller (a magnet link, a `.torrent` file), from the URL's
//! hints, from the catalog, or from a record in the DHT. Who knows the URL can write false records:
//! the torrent that one names is believed only when its first block is the descriptor, and given up
//! for another one else. Only pieces with missing blocks are asked for, and for a range of the stream
//! only those of the range and the descriptor. There is a limit to how long nothing may happen, and at
//! any moment an account of what is being waited for.
//!
//! | file | what it does |
//! |---|---|
//! | [`mod`](self) | what to fetch and how it ends |
//! | `ways` | where to look |
//! | `plan` | which blocks are wanted of which swarm |
//! | `ladder` | when the swarms begin, and with what |
//! | `native`, `slots`, `legacy` | the rung of native peers, of swarms, of legacy nodes (js-offs) |
//! | `task` | one download and its limits |

mod ladder;
mod legacy;
mod native;
mod plan;
mod slots;
mod task;
mod ways;

use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

use crate::catalog::Origin;
use crate::off::OffUrl;
use crate::source::SourceStatus;
use crate::store::StoreError;
use crate::swarm::session::{SwarmStatus, Swarms};

use super::survey::Survey;
use super::{Client, GetError, ReadError};

pub use ladder::Rungs;
use slots::{Joined, Slots};
use task::{End, Task};
pub(super) use ways::{Candidate, rumoured};
pub use ways::{Ways, trackers};

/// What a fetch is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Blocks of the URL that are not here.
    pub missing: u64,
    /// Blocks of the URL, or an upper bound while the descriptor is not here.
    pub blocks: u64,
    /// How native peers stand, if they are asked.
    pub native: Option<SourceStatus>,
    /// How the swarms stand together, if they are asked; no blocks while metadata is being looked
    /// for.
    pub swarm: Option<SwarmStatus>,
    /// How legacy nodes stand, if they are asked.
    pub legacy: Option<SourceStatus>,
    /// Torrents that may have the blocks.
    pub torrents: u64,
    /// Nodes of the DHT that we know, if it is asked.
    pub dht_nodes: Option<u64>,
}

impl std::fmt::Display for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { missing, blocks, native, swarm, legacy, torrents, dht_nodes } = self;
        write!(f, "waiting for {missing} of {blocks} blocks")?;
        match swarm {
            Some(_) if *torrents == 0 && dht_nodes.is_none() => {
                write!(f, "; no torrent of them is known")?;
            }
            Some(_) if *torrents == 0 => write!(f, "; asking the DHT which torrent has them")?,
            Some(swarm) if swarm.blocks == 0 => {
                write!(f, "; looking for a peer that knows the torrent")?;
            }
            _ => {}
        }
        if let Some(SourceStatus { peers, known, .. }) = native {
            write!(f, "; native: {peers} of {known} peers connected")?;
        }
        if let Some(SwarmStatus { peers, known_peers, .. }) = swarm {
            write!(f, "; swarm: {peers} of {known_peers} peers connected")?;
        }
        if let Some(SourceStatus { peers, known, .. }) = legacy {
            write!(f, "; js-offs: {peers} of {known} nodes answer")?;
        }
        match dht_nodes {
            Some(nodes) => write!(f, "; DHT: {nodes} nodes known"),
            None => Ok(()),
        }
    }
}

/// Where the blocks of a URL came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Blocks that were here.
    pub local: u64,
    /// Blocks that came from native peers.
    pub native: u64,
    /// Blocks that came from swarms.
    pub swarm: u64,
    /// Blocks that came from legacy nodes.
    pub legacy: u64,
    /// Bytes received from native peers, of everything.
    pub native_received: u64,
    /// Bytes received from the peers and web seeds of swarms, of everything.
    pub swarm_received: u64,
    /// Bytes received from legacy nodes, of everything.
    pub legacy_received: u64,
}

impl Fetched {
    /// Blocks that came from elsewhere.
    #[must_use]
    pub const fn came(&self) -> u64 {
        self.native + self.swarm + self.legacy
    }

    /// What a later fetch of the same came to, after this one: all bytes count.
    #[must_use]
    pub const fn then(self, later: Self) -> Self {
        Self {
            native_received: self.native_received + later.native_received,
            swarm_received: self.swarm_received + later.swarm_received,
            legacy_received: self.legacy_received + later.legacy_received,
            ..later
        }
    }
}

/// A look at what is missing, and the swarms that may have it.
type Missing = (Survey, Vec<Candidate>);

/// What a look at the store came to.
enum Here {
    /// Everything that is wanted is here.
    Enough(Fetched),
    Missing(Box<Missing>),
}

impl Client {
    /// Makes sure that all blocks of a URL are in the store, or those of a range of its stream.
    /// `watch` is told what is being waited for, about ten times a second; `stop` ends the wait
    /// and keeps what has come.
    pub async fn fetch(
        &self,
        url: &OffUrl,
        ways: &Ways,
        stop: &CancellationToken,
        watch: &mut (dyn FnMut(&Waiting) + Send),
    ) -> Result<Fetched, GetError> {
        let ways = &*ways.to(url);
        // Nothing of the URL is evicted to make room for the rest of it.
        let _lease = self.store.lease();
        let missing = match block_in_place(|| self.look_here(url, ways))? {
            Here::Enough(fetched) => return Ok(fetched),
            Here::Missing(missing) => missing,
        };
        let stop = stop.child_token();
        let whole = ways.range.is_none();
        let mut listed = ways.listed.as_ref().map(|session| session.list(url, whole, &stop));
        let mut tell = |waiting: &Waiting| {
            if let Some(listed) = &mut listed {
                listed.tell(waiting);
            }
            watch(waiting);
        };
        let swarms = self.engage(ways).await?;
        let fetched = self.fetch_missing(&swarms, url, ways, *missing, (&stop, &mut tell)).await;
        swarms.end().await;
        if let Some(listed) = listed {
            listed.ended(fetched.as_ref().copied());
        }
        fetched
    }

    /// Looks what is here, and where the rest may be.
    fn look_here(&self, url: &OffUrl, ways: &Ways) -> Result<Here, GetError> {
        // A directory is its files, too, which only a survey knows.
        let whole = if url.is_directory() { None } else { self.blocks_if_whole(url)? };
        if let Some(local) = whole {
            self.enter(url, ways)?;
            return Ok(Here::Enough(Fetched { local, ..Fetched::default() }));
        }
        let survey = self.survey(url)?;
        self.touch_all(&survey.order)?;
        let local = survey.blocks - survey.lacking();
        let here = Here::Enough(Fetched { local, ..Fetched::default() });
        if survey.is_whole() {
            self.enter(url, ways)?;
            return Ok(here);
        }
        let (_, ranges) = ways.wants(url);
        if self.plan(url, ranges.as_deref(), &survey)?.is_fulfilled() {
            return Ok(here);
        }
        if ways.offline {
            return Err(not_found(url, &survey, vec!["the store only (offline)".into()]));
        }
        if url.carriage().is_none() && ways.rungs == Rungs::SwarmOnly {
            let why = format!("no swarm (none has blocks of {} bytes)", url.block_size().len());
            return Err(not_found(url, &survey, vec!["the store".into(), why]));
        }
        let candidates = self.candidates(url, ways, &survey)?;
        let asks_legacy =
            ways.rungs.asks_legacy() && legacy::may_have(url) && self.knows_legacy_nodes();
        let nobody = candidates.is_empty() && ways.swarms.dht.is_none() && !asks_legacy;
        if nobody && !ways.may_meet_natives(url) {
            let why = "nobody (the URL names no swarm and no peer, and the DHT is not asked)";
            return Err(not_found(url, &survey, vec!["the store".into(), why.into()]));
        }
        Ok(Here::Missing(Box::new((survey, candidates))))
    }

    async fn fetch_missing(
        &self,
        swarms: &Swarms,
        url: &OffUrl,
        ways: &Ways,
        (survey, candidates): Missing,
        (stop, watch): (&CancellationToken, &mut (dyn FnMut(&Waiting) + Send)),
    ) -> Result<Fetched, GetError> {
        let slots = Slots::new(swarms, url, candidates, ways.rungs.asks_swarms());
        let mut task = Task::new(self, url, ways, stop, swarms, (survey, slots));
        let end = task.run(watch).await;
        tokio::join!(swarms.natives().counted(), task.counted());
        task.look_at_sources();
        let (native, legacy) = (task.native_status(), task.legacy_status());
        let (asked, info, came) = (task.asked(), task.slots.info(), task.slots.status().came);
        let swarm_received = task.slots.status().received;
        let refusal = task.slots.refusal();
        task.slots.leave().await;
        drop(task);
        let now = block_in_place(|| {
            self.store.commit().map_err(ReadError::from)?;
            self.survey(url)
        })?;
        match end? {
            End::Complete => {}
            End::Exhausted => {
                if let Some(forged) = task::forged(self, info.as_ref(), &now)? {
                    return Err(forged);
                }
                // A torrent that has the descriptor and other blocks than that tells: then it is the
                // URL that is wrong, or the torrent was made to deceive.
                let has_descriptor = url.descriptor().is_some_and(|id| !now.missing.contains(&id));
                return Err(match refusal.filter(|_| has_descriptor) {
                    Some(refusal) => refusal.into(),
                    None => not_found(url, &now, asked),
                });
            }
            End::GaveUp => return Err(not_found(url, &now, asked)),
            End::Stopped => return Err(GetError::Stopped),
        }
        if now.is_whole() && ways.enters() {
            block_in_place(|| self.entered(url, info))?;
        }
        // Only now is the descriptor here, and with it known which blocks were.
        let here = now.blocks - now.lacking();
        let swarm = came.min(here);
        let from_natives = native.came.min(here - swarm);
        let from_legacy = legacy.came.min(here - swarm - from_natives);
        Ok(Fetched {
            local: here - swarm - from_natives - from_legacy,
            native: from_natives,
            swarm,
            legacy: from_legacy,
            native_received: native.received,
            swarm_received,
            legacy_received: legacy.received,
        })
    }

    /// Makes sure that the blocks of one file of a directory are in the store, and gives its URL.
    /// Which pieces hold a file is known only when the descriptors of those before it are, so if
    /// any of its blocks is not here, all of the directory is fetched.
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

    /// Enters a URL that is all here in the catalog, if whoever wants it wants it kept.
    fn enter(&self, url: &OffUrl, ways: &Ways) -> Result<(), GetError> {
        if ways.enters() {
            self.remember(url, Origin::Got).map_err(Box::new)?;
        }
        Ok(())
    }

    /// Enters a URL that has come in the catalog, with the torrent that brought it.
    fn entered(&self, url: &OffUrl, torrent: Option<Joined>) -> Result<(), GetError> {
        self.remember(url, Origin::Got).map_err(Box::new)?;
        if let Some(Joined { info, trackers }) = torrent {
            self.catalog.publish(url, info.infohash, &info.raw, &trackers)?;
            let _ = self.published.send(info.infohash);
            // Only then, so that what was moved stays counted.
            self.catalog.end_download(info.infohash)?;
        }
        Ok(())
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

/// Waits for a future; for ever without one.
async fn or_never(future: Option<impl Future<Output = ()>>) {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
