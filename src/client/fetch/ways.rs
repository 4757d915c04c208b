//! Where to look for the blocks of a URL.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::address::may_dial;
use crate::id::{BlockId, InfoHash};
use crate::off::{Carriage, OffUrl};
use crate::swarm::guard::Origin;
use crate::swarm::session::{Options, Sources, Swarms, Wanted};
use crate::swarm::tracker::Tracker;
use crate::torrent::metainfo::{Info, Metainfo, content_name};

use crate::client::arrivals::{Arrivals, Wants};
use crate::client::session::Session;
use crate::client::survey::Survey;
use crate::client::{Client, GetError};

use super::Rungs;

/// Where to look for blocks, and for how long. The URL's own hints are followed besides.
#[derive(Debug, Clone, Default)]
pub struct Ways {
    /// Peers to ask, named by the user.
    pub peers: Vec<SocketAddr>,
    /// Trackers to ask, named by the user.
    pub trackers: Vec<String>,
    /// HTTP servers that have the content file of the URL's torrent, named by the user.
    pub web_seeds: Vec<String>,
    /// Torrents that the user has: the URL's, and packs and shards that list their blocks.
    pub torrents: Vec<Metainfo>,
    /// Where to listen for peers, how many, how fast.
    pub swarms: Options,
    /// Swarms that are open already and stay so; without, some are opened as `swarms` says.
    pub open: Option<Arc<Swarms>>,
    /// Whom to ask, of native peers and swarms.
    pub rungs: Rungs,
    /// Ask nobody.
    pub offline: bool,
    /// Where the fetch is listed while it is under way.
    pub listed: Option<Session>,
    /// Bring only what this range of the stream needs.
    pub range: Option<Range<u64>>,
    /// Give up after so long.
    pub timeout: Option<Duration>,
    /// Give up when nothing has come for so long.
    pub stall: Option<Duration>,
    /// Who reads the blocks while they come, and which it wants next.
    pub arrivals: Option<Arrivals>,
}

impl Ways {
    /// What is wanted of a URL: what readers want now, if the fetch follows them, and the ranges.
    pub(super) fn wants(&self, url: &OffUrl) -> (Option<Wants>, Option<Vec<Range<u64>>>) {
        let wants = self.arrivals.as_ref().and_then(Arrivals::wants);
        let ranges = match &wants {
            Some(wants) => wants.ranges.clone(),
            // Where a file of a directory begins is known only when all before it is.
            None if url.is_directory() => None,
            None => self.range.clone().map(|range| vec![range]),
        };
        (wants, ranges)
    }

    /// Peers that the user or the URL names, of whatever kind they are.
    pub(in crate::client) fn named_peers(&self, url: &OffUrl) -> Vec<SocketAddr> {
        let hints = url.hints.peers.iter().filter(|peer| may_dial(**peer));
        self.peers.iter().chain(hints).copied().collect()
    }

    /// Whether a URL that is all here then is entered in the catalog: it is, but for what only passes
    /// through to a reader.
    pub(in crate::client) fn enters(&self) -> bool {
        self.arrivals.as_ref().is_none_or(Arrivals::keeps)
    }

    /// These, as far as they lead to blocks of a URL: no torrent carries short ones of js-offs.
    pub(in crate::client) fn to(&self, url: &OffUrl) -> Cow<'_, Self> {
        if url.carriage().is_some() || self.rungs != Rungs::All {
            return Cow::Borrowed(self);
        }
        Cow::Owned(Self { rungs: Rungs::NoSwarm, ..self.clone() })
    }

    /// Whether there is anybody who may turn out to be a native peer: somebody who is named, or a
    /// neighbour.
    pub(super) fn may_meet_natives(&self, url: &OffUrl) -> bool {
        let named = self.peers.len() + self.swarms.native.peers.len() + url.hints.peers.len();
        self.rungs.asks_natives() && (named > 0 || self.swarms.native.lan)
    }
}

/// A swarm that may have blocks of a URL.
#[derive(Debug, Clone)]
pub(in crate::client) struct Candidate {
    pub(in crate::client) wanted: Wanted,
    /// Its blocks, if it is not the URL's own torrent but one that lists them.
    pub(in crate::client) ids: Option<Vec<BlockId>>,
    /// Somebody in the DHT named it: if it is of no use, others may be.
    pub(super) rumoured: bool,
}

impl Client {
    /// The swarms to join for a URL.
    pub(in crate::client) fn candidates(
        &self,
        url: &OffUrl,
        ways: &Ways,
        survey: &Survey,
    ) -> Result<Vec<Candidate>, GetError> {
        let Some(carriage) = url.carriage() else { return Ok(Vec::new()) };
        let own_name = url.descriptor().map(content_name);
        let is_own = |torrent: &&Metainfo| Some(&torrent.info.name) == own_name.as_ref();
        if let Some(torrent) =
            ways.torrents.iter().find(|torrent| !is_own(torrent) && torrent.ids.is_none())
        {
            return Err(GetError::WrongTorrent {
                found: crate::id::excerpt(&torrent.info.name),
                expected: own_name.unwrap_or_default(),
            });
        }
        let own = ways.torrents.iter().find(is_own);
        let lists = ways.torrents.iter().filter(|torrent| !is_own(torrent));
        let mut candidates: Vec<Candidate> =
            lists.filter_map(|torrent| listing(torrent, carriage, ways)).collect();
        let infohash = match own.map(|torrent| torrent.info.infohash).or(url.hints.infohash) {
            Some(infohash) => Some(infohash),
            None => self.catalog.url(url)?.and_then(|record| record.infohash),
        };
        if let Some(infohash) = infohash {
            let info = match own {
                Some(torrent) => Some(torrent.info.clone()),
                None => self.remembered(infohash)?,
            };
            let sources = own_sources(url, ways, own);
            let known = known(survey);
            let wanted = Wanted { info, sources, known, ..wanted(url, carriage, infohash) };
            candidates.push(Candidate { wanted, ids: None, rumoured: false });
        }
        Ok(candidates)
    }

    fn remembered(&self, infohash: InfoHash) -> Result<Option<Info>, GetError> {
        let raw = self.catalog.info_dict(infohash)?;
        Ok(raw.and_then(|raw| Info::decode(raw.into()).ok()))
    }
}

/// A torrent that somebody in the DHT says carries a URL; `None` if none can.
pub(in crate::client) fn rumoured(
    url: &OffUrl,
    ways: &Ways,
    infohash: InfoHash,
    survey: &Survey,
) -> Option<Candidate> {
    let (sources, known) = (own_sources(url, ways, None), known(survey));
    let wanted = Wanted { sources, known, ..wanted(url, url.carriage()?, infohash) };
    Some(Candidate { wanted, ids: None, rumoured: true })
}

/// The torrent of a URL, with nothing known about it.
fn wanted(url: &OffUrl, carriage: Carriage, infohash: InfoHash) -> Wanted {
    Wanted {
        infohash,
        info: None,
        sources: Sources::default(),
        carriage,
        max_blocks: url.max_blocks(),
        first: url.descriptor(),
        known: Vec::new(),
    }
}

/// The places of the blocks that are known.
fn known(survey: &Survey) -> Vec<(u64, BlockId)> {
    (0..).zip(survey.order.iter().copied()).collect()
}

fn own_sources(url: &OffUrl, ways: &Ways, torrent: Option<&Metainfo>) -> Sources {
    let hints = &url.hints;
    let told = torrent.iter().flat_map(|torrent| &torrent.trackers).chain(&hints.trackers);
    let seeds = torrent.iter().flat_map(|torrent| &torrent.web_seeds).chain(&hints.web_seeds);
    Sources {
        peers: once(ways.named_peers(url)),
        trackers: trackers(&ways.trackers, told),
        web_seeds: named(&ways.web_seeds, seeds),
        descriptor: url.descriptor(),
    }
}

/// A pack or shard that lists its blocks.
fn listing(torrent: &Metainfo, carriage: Carriage, ways: &Ways) -> Option<Candidate> {
    let ids = torrent.ids.clone()?;
    let sources = Sources {
        peers: ways.peers.clone(),
        trackers: trackers(&ways.trackers, torrent.trackers.iter()),
        web_seeds: named(&[], torrent.web_seeds.iter()),
        descriptor: None,
    };
    let wanted = Wanted {
        infohash: torrent.info.infohash,
        info: Some(torrent.info.clone()),
        sources,
        carriage,
        max_blocks: ids.len() as u64,
        first: None,
        known: (0..).zip(ids.iter().copied()).collect(),
    };
    Some(Candidate { wanted, ids: Some(ids), rumoured: false })
}

fn named<'a>(
    users: &[String],
    strangers: impl Iterator<Item = &'a String>,
) -> Vec<(String, Origin)> {
    let users = users.iter().map(|url| (url.clone(), Origin::User));
    let mut all: Vec<(String, Origin)> = Vec::new();
    for (url, origin) in users.chain(strangers.map(|url| (url.clone(), Origin::Stranger))) {
        if all.iter().all(|(other, _)| *other != url) {
            all.push((url, origin));
        }
    }
    all
}

/// Trackers that make sense and may be asked: those of the user, and those of strangers.
pub fn trackers<'a>(users: &[String], strangers: impl Iterator<Item = &'a String>) -> Vec<Tracker> {
    let parsed =
        named(users, strangers).into_iter().map(|(url, origin)| Tracker::parse(&url, origin));
    let told = parsed.filter_map(|tracker| {
        tracker.inspect_err(|error| tracing::warn!("a tracker is not asked: {error}")).ok()
    });
    told.collect()
}

fn once<T: PartialEq>(list: Vec<T>) -> Vec<T> {
    let mut once = Vec::new();
    for item in list {
        if !once.contains(&item) {
            once.push(item);
        }
    }
    once
}
