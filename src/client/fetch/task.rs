//! One download and its limits.

use std::collections::HashMap;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::block_in_place;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::id::BlockId;
use crate::krpc::rendezvous::Record;
use crate::off::OffUrl;
use crate::swarm::session::{Swarm, SwarmError, SwarmStatus, Swarms, Wanted};
use crate::torrent::metainfo::Info;

use crate::client::arrivals::Arrivals;
use crate::client::survey::Survey;
use crate::client::{Client, GetError};

use super::plan::{Plan, places};
use super::ways::{Candidate, rumoured};
use super::{Waiting, Ways};

/// How long other torrents are waited for that the DHT may name, once those that were joined have
/// given all they have and it is not enough: a search takes some seconds.
const RUMOURS_AWAITED: Duration = Duration::from_secs(10);

/// How often a download is looked at.
const TICK: Duration = Duration::from_millis(100);

/// How a download ended that did not fail.
pub(super) enum End {
    /// Everything asked for is here.
    Complete,
    /// The swarms have given all they have of it, and it is not enough.
    Exhausted,
    GaveUp,
    Stopped,
}

/// The torrent that brought a URL.
pub(super) struct Joined {
    pub(super) info: Info,
    pub(super) trackers: Vec<String>,
}

/// A swarm to draw from, once it is joined.
struct Slot {
    candidate: Candidate,
    /// Where its blocks are, if it lists them.
    places: Option<HashMap<BlockId, u64>>,
    swarm: Option<Swarm>,
    /// Blocks that were here when the plan was made.
    had: u64,
    /// Why it was given up.
    refused: Option<SwarmError>,
}

pub(super) struct Task<'a> {
    client: &'a Client,
    url: &'a OffUrl,
    ways: &'a Ways,
    stop: &'a CancellationToken,
    survey: Survey,
    started: Instant,
    slots: Vec<Slot>,
    /// Whether what is wanted must be decided anew.
    stale: bool,
    /// Since when the swarms that were joined have given all they have, and it is not enough.
    exhausted: Option<Instant>,
    /// Nodes of the DHT that were known when it was last looked at.
    dht_nodes: Option<u64>,
}

impl Slot {
    fn new(candidate: Candidate) -> Self {
        let places = candidate.ids.as_deref().map(places);
        Self { candidate, places, swarm: None, had: 0, refused: None }
    }

    /// Gives the swarm up.
    fn refuse(&mut self, error: SwarmError) {
        self.refused = Some(error);
        self.swarm = None;
        self.had = 0;
    }

    fn status(&self, swarms: &Swarms) -> SwarmStatus {
        let joining = || swarms.status_of(self.candidate.wanted.infohash);
        self.swarm.as_ref().map_or_else(joining, Swarm::status)
    }
}

type Joining<'s> = Pin<Box<dyn Future<Output = Result<Swarm, SwarmError>> + Send + 's>>;

impl<'a> Task<'a> {
    pub(super) fn new(
        client: &'a Client,
        url: &'a OffUrl,
        ways: &'a Ways,
        stop: &'a CancellationToken,
        survey: &Survey,
        candidates: Vec<Candidate>,
    ) -> Self {
        let slots = candidates.into_iter().map(Slot::new).collect();
        let (survey, started) = (survey.clone(), Instant::now());
        let (stale, exhausted, dht_nodes) = (true, None, None);
        Self { client, url, ways, stop, survey, started, slots, stale, exhausted, dht_nodes }
    }

    /// Downloads until all is here that was asked for, or no longer.
    pub(super) async fn run(
        &mut self,
        swarms: &Swarms,
        watch: &mut (dyn FnMut(&Waiting) + Send),
    ) -> Result<End, GetError> {
        let mut joining: Vec<(usize, Joining<'_>)> = Vec::new();
        for (at, slot) in self.slots.iter().enumerate() {
            joining.push((at, join(swarms, slot.candidate.wanted.clone())));
        }
        let mut records = self.records(swarms);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_change = (Instant::now(), SwarmStatus::default());
        loop {
            // What comes while this looks at what has come is not missed.
            let change = self.any_change();
            self.dht_nodes = swarms.dht().map(|dht| dht.known_nodes() as u64);
            self.refuse_rumours();
            if (self.stale || self.exhausted.is_none() && self.has_come(&joining)?)
                && let Some(end) = block_in_place(|| self.decide(!joining.is_empty()))?
            {
                match end {
                    End::Exhausted if records.is_some() => {
                        let has_ended =
                            |slot: &Slot| slot.swarm.is_some() || slot.refused.is_some();
                        self.exhausted = self.slots.iter().any(has_ended).then(Instant::now);
                    }
                    end => return Ok(end),
                }
            }
            if self.exhausted.is_some_and(|since| since.elapsed() >= RUMOURS_AWAITED) {
                return Ok(End::Exhausted);
            }
            self.prefer_awaited();
            let status = self.status(swarms);
            if (status.have, status.received) != (last_change.1.have, last_change.1.received) {
                last_change = (Instant::now(), status);
            }
            watch(&self.waiting(status));
            if self.is_late(last_change.0) {
                return Ok(End::GaveUp);
            }
            tokio::select! {
                () = self.stop.cancelled() => return Ok(End::Stopped),
                (at, joined) = first(&mut joining) => self.joined(at, joined)?,
                record = next_record(&mut records) => {
                    if let Some(at) = self.rumour(&record) {
                        let wanted = self.slots.get(at).map(|slot| slot.candidate.wanted.clone());
                        joining.extend(wanted.map(|wanted| (at, join(swarms, wanted))));
                    }
                }
                () = change => {}
                _ = ticks.tick() => {}
            }
        }
    }

    fn joined(&mut self, at: usize, joined: Result<Swarm, SwarmError>) -> Result<(), GetError> {
        let Some(slot) = self.slots.get_mut(at) else { return Ok(()) };
        match joined {
            Ok(swarm) => {
                slot.had = swarm.status().have;
                slot.swarm = Some(swarm);
            }
            Err(error) if slot.candidate.rumoured => slot.refuse(error),
            Err(error) => return Err(error.into()),
        }
        self.stale = true;
        Ok(())
    }

    /// What the DHT says which torrents carry the URL, if that is not known for sure.
    fn records(&self, swarms: &Swarms) -> Option<mpsc::Receiver<Record>> {
        let own = self.slots.iter().find(|slot| slot.places.is_none());
        let is_sure = own.is_some_and(|slot| slot.candidate.wanted.info.is_some());
        let descriptor = self.url.descriptor().filter(|_| !is_sure)?;
        swarms.dht().map(|_| swarms.records(descriptor))
    }

    /// Follows a record to a torrent that was not heard of: its place.
    fn rumour(&mut self, record: &Record) -> Option<usize> {
        let infohash = record.infohash;
        let is_known = |slot: &Slot| slot.candidate.wanted.infohash == infohash;
        if self.slots.iter().any(is_known) || record.blocks > self.url.max_blocks() {
            return None;
        }
        self.slots.push(Slot::new(rumoured(self.url, self.ways, infohash, &self.survey)));
        Some(self.slots.len() - 1)
    }

    /// Gives up torrents of rumour that turn out to be something else.
    fn refuse_rumours(&mut self) {
        for slot in self.slots.iter_mut().filter(|slot| slot.candidate.rumoured) {
            if let Some(Err(error)) = slot.swarm.as_ref().map(Swarm::wanted) {
                slot.refuse(error);
                self.stale = true;
            }
        }
    }

    /// Whether everything that is wanted has come; an error if it cannot any more.
    fn has_come(&self, joining: &[(usize, Joining<'_>)]) -> Result<bool, GetError> {
        let given_up = self.slots.iter().filter(|slot| slot.refused.is_some()).count();
        Ok(self.slots.len() > joining.len() + given_up && self.wanted()? == 0)
    }

    /// Pieces that are wanted and have not come; an error if they cannot any more.
    fn wanted(&self) -> Result<u64, GetError> {
        let mut wanted = 0;
        for slot in &self.slots {
            match slot.swarm.as_ref().map(Swarm::wanted) {
                Some(Ok(count)) => wanted += u64::from(count),
                // What is given up the next time.
                Some(Err(_)) if slot.candidate.rumoured => {}
                Some(Err(error)) => return Err(error.into()),
                None => {}
            }
        }
        Ok(wanted)
    }

    /// Decides what is wanted of whom, or that it is over. `more` if other swarms may come.
    fn decide(&mut self, more: bool) -> Result<Option<End>, GetError> {
        (self.stale, self.exhausted) = (false, None);
        // Asked before the survey: what comes during it has not been seen by it, and more may have
        // to be wanted because of it.
        let mut wanted = self.wanted()?;
        self.survey = self.client.survey(self.url)?;
        let plan = self.client.plan(self.url, self.ways, &self.survey)?;
        if self.survey.complete && plan.is_empty() {
            return Ok(Some(End::Complete));
        }
        let mut left = plan;
        for slot in &mut self.slots {
            let Some(swarm) = &slot.swarm else { continue };
            slot.had = swarm.status().have;
            match &slot.places {
                Some(places) => {
                    let (here, others): (Vec<_>, Vec<_>) =
                        left.known.iter().partition(|(_, id)| places.contains_key(id));
                    let here = here.iter().filter_map(|(_, id)| places.get(id).copied());
                    wanted += u64::from(swarm.want(here));
                    left.known = others;
                }
                None => wanted += u64::from(want_own(swarm, &self.survey, &left)),
            }
        }
        Ok((wanted == 0 && !more).then_some(End::Exhausted))
    }

    /// Asks first for the block that a stream waits for.
    fn prefer_awaited(&self) {
        let Some(awaited) = self.ways.arrivals.as_ref().and_then(Arrivals::awaited) else {
            return;
        };
        for slot in &self.slots {
            let place = match &slot.places {
                Some(places) => places.get(&awaited).copied(),
                // Until the descriptor is here nothing is wanted more than its blocks.
                None => {
                    let place = self.survey.order.iter().position(|id| *id == awaited);
                    Some(place.map_or(0, |place| place as u64))
                }
            };
            if let (Some(swarm), Some(place)) = (&slot.swarm, place) {
                swarm.prefer(place);
            }
        }
    }

    pub(super) fn status(&self, swarms: &Swarms) -> SwarmStatus {
        let all = self.slots.iter().map(|slot| slot.status(swarms));
        all.fold(SwarmStatus::default(), |sum, one| SwarmStatus {
            blocks: sum.blocks + one.blocks,
            have: sum.have + one.have,
            came: sum.came + one.came,
            received: sum.received + one.received,
            sent: sum.sent + one.sent,
            peers: sum.peers + one.peers,
            known_peers: sum.known_peers + one.known_peers,
        })
    }

    fn waiting(&self, swarm: SwarmStatus) -> Waiting {
        let had: u64 = self.slots.iter().map(|slot| slot.had).sum();
        let missing = self.survey.lacking().saturating_sub(swarm.have.saturating_sub(had));
        let torrents = self.slots.iter().filter(|slot| slot.refused.is_none()).count() as u64;
        let (blocks, dht_nodes) = (self.survey.blocks, self.dht_nodes);
        Waiting { missing, blocks, swarm, torrents, dht_nodes }
    }

    /// Is over when a swarm changes after this was called.
    fn any_change(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut joined = self.slots.iter().filter_map(|slot| slot.swarm.as_ref());
        let change = match (joined.next(), joined.next()) {
            (Some(swarm), None) => Some(swarm.changed()),
            // With several, the ticks must do.
            _ => None,
        };
        async move {
            match change {
                Some(change) => change.await,
                None => std::future::pending().await,
            }
        }
    }

    fn is_late(&self, last_change: Instant) -> bool {
        let over = |limit: Option<Duration>, since: Instant| {
            limit.is_some_and(|limit| since.elapsed() >= limit)
        };
        over(self.ways.timeout, self.started) || over(self.ways.stall, last_change)
    }

    /// Whom was asked, in words.
    pub(super) fn asked(&self, swarms: &Swarms) -> Vec<String> {
        let counted = |count: usize, what: &str| {
            format!("{count} {what}{}", if count == 1 { "" } else { "s" })
        };
        let dht = self.dht_nodes.map(|nodes| format!("the DHT ({nodes} nodes known)"));
        let swarm = |slot: &Slot| {
            if let Some(error) = &slot.refused {
                let infohash = slot.candidate.wanted.infohash;
                let why = std::error::Error::source(error).unwrap_or(error);
                return format!("swarm {infohash}, which somebody in the DHT named ({why})");
            }
            let status = slot.status(swarms);
            let sources = &slot.candidate.wanted.sources;
            let web = match sources.web_seeds.len() {
                0 => String::new(),
                count => format!("{}, ", counted(count, "web seed")),
            };
            format!(
                "swarm {} ({} named, {}, {web}{} heard of, {} connected)",
                slot.candidate.wanted.infohash,
                counted(sources.peers.len(), "peer"),
                counted(sources.trackers.len(), "tracker"),
                status.known_peers,
                status.peers,
            )
        };
        let asked = std::iter::once("the store".into()).chain(self.slots.iter().map(swarm));
        asked.chain(dht).collect()
    }

    /// Why the first torrent of rumour was given up.
    pub(super) fn refusal(&mut self) -> Option<SwarmError> {
        self.slots.iter_mut().find_map(|slot| slot.refused.take())
    }

    /// The URL's own torrent, if it was joined.
    pub(super) fn info(&self) -> Option<Joined> {
        let slot = self.slots.iter().find(|slot| slot.places.is_none())?;
        let info = slot.swarm.as_ref()?.info()?.clone();
        let trackers = slot.candidate.wanted.sources.trackers.iter();
        Some(Joined { info, trackers: trackers.map(|one| one.url().to_string()).collect() })
    }

    pub(super) async fn leave(self, swarms: &Swarms) {
        for swarm in self.slots.into_iter().filter_map(|slot| slot.swarm) {
            swarms.leave(swarm).await;
        }
    }
}

/// Wants blocks of the URL's own torrent: how many pieces were not wanted yet.
fn want_own(swarm: &Swarm, survey: &Survey, plan: &Plan) -> u32 {
    swarm.learn((0..).zip(survey.order.iter().copied()));
    let known = swarm.want(plan.known.iter().map(|(number, _)| *number));
    let unknown = plan.unknown.as_ref();
    let unknown = unknown.map(|range| swarm.want(range.start..range.end.min(swarm.blocks())));
    known + unknown.unwrap_or(0)
}

fn join(swarms: &Swarms, wanted: Wanted) -> Joining<'_> {
    Box::pin(async move { swarms.join(&wanted).await })
}

/// The next record; never, if there are none any more.
async fn next_record(records: &mut Option<mpsc::Receiver<Record>>) -> Record {
    if let Some(receiver) = records {
        if let Some(record) = receiver.recv().await {
            return record;
        }
        *records = None;
    }
    std::future::pending().await
}

/// The swarm that is joined first.
async fn first(joining: &mut Vec<(usize, Joining<'_>)>) -> (usize, Result<Swarm, SwarmError>) {
    let (place, joined) = std::future::poll_fn(|context| {
        for (place, (_, joining)) in joining.iter_mut().enumerate() {
            if let std::task::Poll::Ready(joined) = joining.as_mut().poll(context) {
                return std::task::Poll::Ready((place, joined));
            }
        }
        std::task::Poll::Pending
    })
    .await;
    (joining.swap_remove(place).0, joined)
}

/// What to say when a swarm has given all it has: it carries something else, if it was complete.
pub(super) fn forged(
    client: &Client,
    joined: Option<&Joined>,
    survey: &Survey,
) -> Result<Option<GetError>, GetError> {
    let Some(Joined { info, .. }) = joined else { return Ok(None) };
    // A wrong key or length, or blocks that are not the URL's though the torrent began like it.
    client.catalog.end_download(info.infohash)?;
    let (missing, blocks) = (survey.lacking(), survey.blocks);
    Ok(Some(GetError::Forged { infohash: info.infohash, missing, blocks }))
}
