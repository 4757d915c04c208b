//! The rung of the swarms: which torrents are joined for a URL, and what is wanted of each.

use std::collections::HashMap;
use std::pin::Pin;

use tokio::sync::mpsc;

use crate::id::BlockId;
use crate::krpc::rendezvous::Record;
use crate::off::OffUrl;
use crate::swarm::session::{Swarm, SwarmError, SwarmStatus, Swarms, Wanted};
use crate::torrent::metainfo::Info;

use crate::client::GetError;
use crate::client::survey::Survey;

use super::Ways;
use super::or_never;
use super::plan::{Plan, places};
use super::ways::{Candidate, rumoured};

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
    /// Blocks that had come when the plan was made.
    had: u64,
    /// Why it was given up.
    refused: Option<SwarmError>,
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

    /// Which blocks of the torrent these are.
    fn numbers<'s>(&'s self, blocks: &'s [(u64, BlockId)]) -> impl Iterator<Item = u64> + 's {
        blocks.iter().filter_map(|(number, id)| match &self.places {
            Some(places) => places.get(id).copied(),
            None => Some(*number),
        })
    }
}

type Joining<'s> = Pin<Box<dyn Future<Output = Result<Swarm, SwarmError>> + Send + 's>>;

/// All swarms of one fetch. None is touched before the rung begins.
pub(super) struct Slots<'s> {
    swarms: &'s Swarms,
    all: Vec<Slot>,
    joining: Vec<(usize, Joining<'s>)>,
    /// What the DHT says which torrents carry the URL, if that is not known for sure.
    records: Option<mpsc::Receiver<Record>>,
    begun: bool,
    /// Whether what is wanted must be decided anew.
    pub(super) stale: bool,
}

/// Something that happened to the rung.
pub(super) enum Step {
    Joined(usize, Box<Result<Swarm, SwarmError>>),
    Named(Record),
}

impl<'s> Slots<'s> {
    /// The swarms that are known; the DHT is asked for others, if `asks` and it is not sure which.
    pub(super) fn new(
        swarms: &'s Swarms,
        url: &OffUrl,
        candidates: Vec<Candidate>,
        asks: bool,
    ) -> Self {
        let slots: Vec<Slot> = candidates.into_iter().map(Slot::new).collect();
        let own = slots.iter().find(|slot| slot.places.is_none());
        let is_sure = own.is_some_and(|slot| slot.candidate.wanted.info.is_some());
        let descriptor = url.descriptor().filter(|_| asks && !is_sure && swarms.dht().is_some());
        let records = descriptor.map(|descriptor| swarms.records(descriptor));
        Self { swarms, all: slots, joining: Vec::new(), records, begun: false, stale: true }
    }

    /// Joins the swarms that are known, if that was not done.
    pub(super) fn begin(&mut self) {
        if !self.begun {
            self.begun = true;
            for (at, slot) in self.all.iter().enumerate() {
                self.joining.push((at, join(self.swarms, slot.candidate.wanted.clone())));
            }
        }
    }

    pub(super) const fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether other swarms are being joined.
    pub(super) fn is_joining(&self) -> bool {
        !self.joining.is_empty()
    }

    /// Whether the DHT may name other torrents.
    pub(super) const fn may_be_named_more(&self) -> bool {
        self.records.is_some()
    }

    /// Whether any swarm has turned out to be what it is.
    pub(super) fn any_known(&self) -> bool {
        self.all.iter().any(|slot| slot.swarm.is_some() || slot.refused.is_some())
    }

    /// Torrents that may have the blocks.
    pub(super) fn torrents(&self) -> u64 {
        self.all.iter().filter(|slot| slot.refused.is_none()).count() as u64
    }

    /// The next thing that happens; never, if nothing can. Cancelling it loses nothing.
    pub(super) async fn step(&mut self) -> Step {
        let Self { joining, records, .. } = self;
        tokio::select! {
            (at, joined) = first(joining) => Step::Joined(at, Box::new(joined)),
            record = next_record(records) => Step::Named(record),
        }
    }

    /// Takes a step into account.
    pub(super) fn take(
        &mut self,
        step: Step,
        url: &OffUrl,
        ways: &Ways,
        survey: &Survey,
    ) -> Result<(), GetError> {
        match step {
            Step::Joined(at, joined) => self.joined(at, *joined),
            Step::Named(record) => {
                let known = |slot: &Slot| slot.candidate.wanted.infohash == record.infohash;
                if !self.all.iter().any(known)
                    && record.blocks <= url.max_blocks()
                    && let Some(candidate) = rumoured(url, ways, record.infohash, survey)
                {
                    if self.begun {
                        let joining = join(self.swarms, candidate.wanted.clone());
                        self.joining.push((self.all.len(), joining));
                    }
                    self.all.push(Slot::new(candidate));
                }
                Ok(())
            }
        }
    }

    fn joined(&mut self, at: usize, joined: Result<Swarm, SwarmError>) -> Result<(), GetError> {
        let Some(slot) = self.all.get_mut(at) else { return Ok(()) };
        match joined {
            Ok(swarm) => slot.swarm = Some(swarm),
            Err(error) if slot.candidate.rumoured => slot.refuse(error),
            Err(error) => return Err(error.into()),
        }
        self.stale = true;
        Ok(())
    }

    /// Gives up torrents of rumour that turn out to be something else.
    pub(super) fn refuse_rumours(&mut self) {
        for slot in self.all.iter_mut().filter(|slot| slot.candidate.rumoured) {
            if let Some(Err(error)) = slot.swarm.as_ref().map(Swarm::wanted) {
                slot.refuse(error);
                self.stale = true;
            }
        }
    }

    /// Whether everything that is wanted has come; an error if it cannot any more.
    pub(super) fn has_come(&self) -> Result<bool, GetError> {
        let given_up = self.all.iter().filter(|slot| slot.refused.is_some()).count();
        let any = self.all.len() > self.joining.len() + given_up;
        Ok(self.begun && any && self.wanted()? == 0)
    }

    /// Pieces that are wanted and have not come; an error if they cannot any more.
    pub(super) fn wanted(&self) -> Result<u64, GetError> {
        let mut wanted = 0;
        for slot in &self.all {
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

    /// Wants what is missing of whoever has it: how many pieces were not wanted yet.
    pub(super) fn want(&mut self, survey: &Survey, plan: &Plan) -> u64 {
        let (mut left, mut new) = (plan.known.clone(), 0);
        for slot in &mut self.all {
            let Some(swarm) = &slot.swarm else { continue };
            slot.had = swarm.status().came;
            match &slot.places {
                Some(places) => {
                    let (here, others): (Vec<_>, Vec<_>) =
                        left.iter().partition(|(_, id)| places.contains_key(id));
                    let here = here.iter().filter_map(|(_, id)| places.get(id).copied());
                    new += u64::from(swarm.want(here));
                    left = others;
                }
                None => new += u64::from(want_own(swarm, survey, &left, plan)),
            }
        }
        new
    }

    /// Looks whether blocks have come otherwise.
    pub(super) fn look_for_arrivals(&self, blocks: &[(u64, BlockId)]) {
        for slot in &self.all {
            if let Some(swarm) = &slot.swarm {
                swarm.look_for_arrivals(slot.numbers(blocks));
            }
        }
    }

    /// Asks first for the block that a stream waits for.
    pub(super) fn prefer(&self, awaited: BlockId, survey: &Survey) {
        for slot in &self.all {
            let place = match &slot.places {
                Some(places) => places.get(&awaited).copied(),
                // Until the descriptor is here nothing is wanted more than its blocks.
                None => {
                    let place = survey.order.iter().position(|id| *id == awaited);
                    Some(place.map_or(0, |place| place as u64))
                }
            };
            if let (Some(swarm), Some(place)) = (&slot.swarm, place) {
                swarm.prefer(place);
            }
        }
    }

    /// How they stand together.
    pub(super) fn status(&self) -> SwarmStatus {
        let all = self.all.iter().map(|slot| slot.status(self.swarms));
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

    /// Blocks that have come since the plan was made.
    pub(super) fn came_since(&self) -> u64 {
        let came = |slot: &Slot| Some(slot.swarm.as_ref()?.status().came.saturating_sub(slot.had));
        self.all.iter().filter_map(came).sum()
    }

    /// Is over when a swarm changes after this was called.
    pub(super) fn any_change(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut joined = self.all.iter().filter_map(|slot| slot.swarm.as_ref());
        let change = match (joined.next(), joined.next()) {
            (Some(swarm), None) => Some(swarm.changed()),
            // With several, the ticks must do.
            _ => None,
        };
        or_never(change)
    }

    /// Which swarms were asked, in words.
    pub(super) fn asked(&self) -> Vec<String> {
        let swarm = |slot: &Slot| {
            let infohash = slot.candidate.wanted.infohash;
            if let Some(error) = &slot.refused {
                let why = std::error::Error::source(error).unwrap_or(error);
                return format!("swarm {infohash}, which somebody in the DHT named ({why})");
            }
            let status = slot.status(self.swarms);
            let sources = &slot.candidate.wanted.sources;
            let web = match sources.web_seeds.len() {
                0 => String::new(),
                count => format!("{}, ", counted(count, "web seed")),
            };
            format!(
                "swarm {infohash} ({} named, {}, {web}{} heard of, {} connected)",
                counted(sources.peers.len(), "peer"),
                counted(sources.trackers.len(), "tracker"),
                status.known_peers,
                status.peers,
            )
        };
        let slots = self.all.iter().filter(|_| self.begun);
        slots.map(swarm).collect()
    }

    /// Why the first torrent of rumour was given up.
    pub(super) fn refusal(&mut self) -> Option<SwarmError> {
        self.all.iter_mut().find_map(|slot| slot.refused.take())
    }

    /// The URL's own torrent, if it was joined.
    pub(super) fn info(&self) -> Option<Joined> {
        let slot = self.all.iter().find(|slot| slot.places.is_none())?;
        let info = slot.swarm.as_ref()?.info()?.clone();
        let trackers = slot.candidate.wanted.sources.trackers.iter();
        Some(Joined { info, trackers: trackers.map(|one| one.url().to_string()).collect() })
    }

    /// Leaves all swarms.
    pub(super) async fn leave(&mut self) {
        for swarm in self.all.drain(..).filter_map(|slot| slot.swarm) {
            self.swarms.leave(swarm).await;
        }
    }
}

/// A number of things, in words.
pub(super) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Wants blocks of the URL's own torrent: how many pieces were not wanted yet.
fn want_own(swarm: &Swarm, survey: &Survey, known: &[(u64, BlockId)], plan: &Plan) -> u32 {
    swarm.learn((0..).zip(survey.order.iter().copied()));
    let new = swarm.want(known.iter().map(|(number, _)| *number));
    let unknown = plan.unknown.as_ref();
    let unknown = unknown.map(|range| swarm.want(range.start..range.end.min(swarm.blocks())));
    new + unknown.unwrap_or(0)
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
