//! One download and its limits.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::block_in_place;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::id::BlockId;
use crate::off::OffUrl;
use crate::source::SourceStatus;
use crate::store::Presence;
use crate::swarm::session::Swarms;

use crate::client::arrivals::{Arrivals, Wants};
use crate::client::survey::Survey;
use crate::client::{Client, GetError};

use super::ladder::{Ladder, Look, Share};
use super::legacy::LegacyRung;
use super::native::NativeRung;
use super::plan::Plan;
use super::slots::{Joined, Slots, Step};
use super::{Waiting, Ways, or_never};

/// How long others are waited for that the DHT may name, once those that were asked have given all
/// they have and it is not enough: a search takes some seconds.
const RUMOURS_AWAITED: Duration = Duration::from_secs(10);

/// How often a download is looked at.
const TICK: Duration = Duration::from_millis(100);

/// Of the time, this part at most goes into looking at what is here: one in so many.
const LOOK_SHARE: u32 = 10;

/// How a download ended that did not fail.
pub(super) enum End {
    /// Everything asked for is here.
    Complete,
    /// Everybody has given all they have of it, and it is not enough.
    Exhausted,
    GaveUp,
    Stopped,
}

pub(super) struct Task<'a> {
    client: &'a Client,
    url: &'a OffUrl,
    ways: &'a Ways,
    stop: &'a CancellationToken,
    swarms: &'a Swarms,
    survey: Survey,
    plan: Plan,
    /// The number of each block of the plan, while native peers and swarms both bring some.
    numbers: HashMap<BlockId, u64>,
    started: Instant,
    ladder: Ladder,
    pub(super) native: Option<NativeRung>,
    legacy: Option<LegacyRung>,
    pub(super) slots: Slots<'a>,
    share: Share,
    /// Whether nothing was to be expected of native peers when what is wanted was decided.
    hopeless: bool,
    /// Likewise of legacy nodes.
    legacy_hopeless: bool,
    /// When what is here may be looked at again.
    next_look: Instant,
    /// Since when those that were asked have given all they have, and it is not enough.
    exhausted: Option<Instant>,
    /// What readers wanted when what is wanted was decided.
    wants: Option<Wants>,
    /// Whose turn it is of those who wait for a block.
    turn: usize,
}

impl<'a> Task<'a> {
    pub(super) fn new(
        client: &'a Client,
        url: &'a OffUrl,
        ways: &'a Ways,
        stop: &'a CancellationToken,
        swarms: &'a Swarms,
        (survey, slots): (Survey, Slots<'a>),
    ) -> Self {
        let (started, ladder) =
            (Instant::now(), Ladder::new(ways.rungs, std::time::Instant::now()));
        let native = ways.rungs.asks_natives().then(|| NativeRung::new(swarms, url, ways));
        let legacy = if ways.rungs.asks_legacy() { LegacyRung::new(client, url) } else { None };
        Self {
            client,
            url,
            ways,
            stop,
            swarms,
            survey,
            plan: Plan::default(),
            numbers: HashMap::new(),
            started,
            ladder,
            native,
            legacy,
            slots,
            share: Share::Nothing,
            hopeless: false,
            legacy_hopeless: true,
            next_look: started,
            exhausted: None,
            wants: None,
            turn: 0,
        }
    }

    /// Downloads until all is here that was asked for, or no longer.
    pub(super) async fn run(
        &mut self,
        watch: &mut (dyn FnMut(&Waiting) + Send),
    ) -> Result<End, GetError> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_change = (Instant::now(), 0, 0);
        loop {
            // What comes while this looks at what has come is not missed.
            let change = self.slots.any_change();
            let native_change = self.native.as_ref().map(NativeRung::changed);
            let legacy_change = self.legacy.as_ref().map(LegacyRung::changed);
            if let Some(end) = self.look()? {
                return Ok(end);
            }
            let moved = self.moved();
            if moved != (last_change.1, last_change.2) {
                last_change = (Instant::now(), moved.0, moved.1);
            }
            watch(&self.waiting());
            if self.is_late(last_change.0) {
                return Ok(End::GaveUp);
            }
            tokio::select! {
                () = self.stop.cancelled() => return Ok(End::Stopped),
                step = self.slots.step() => self.take(step)?,
                () = change => {}
                () = or_never(native_change) => {}
                () = or_never(legacy_change) => {}
                _ = ticks.tick() => {}
            }
        }
    }

    fn take(&mut self, step: Step) -> Result<(), GetError> {
        self.slots.take(step, self.url, self.ways, &self.survey)
    }

    /// Looks at what has come, and decides what is wanted of whom, or that it is over.
    fn look(&mut self) -> Result<Option<End>, GetError> {
        self.look_at_sources();
        let legacy_failure = || self.legacy.as_ref().and_then(LegacyRung::failure);
        let failure = self.native.as_ref().and_then(NativeRung::failure).or_else(legacy_failure);
        if let Some(why) = failure {
            return Err(GetError::Keep { why });
        }
        self.slots.refuse_rumours();
        self.exchange_arrivals();
        self.climb();
        if self.is_due()? {
            let began = Instant::now();
            let end = block_in_place(|| self.decide())?;
            self.next_look = Instant::now() + began.elapsed() * LOOK_SHARE;
            match end {
                Some(End::Exhausted) if self.may_wait_long() => self.exhausted = None,
                Some(End::Exhausted) if self.may_turn_up() => {
                    self.exhausted.get_or_insert_with(Instant::now);
                }
                Some(end) => return Ok(Some(end)),
                None => self.exhausted = None,
            }
        }
        if self.exhausted.is_some_and(|since| since.elapsed() >= RUMOURS_AWAITED) {
            return Ok(Some(End::Exhausted));
        }
        self.turn = self.turn.wrapping_add(1);
        let awaited = |arrivals: &Arrivals| arrivals.awaited(self.turn);
        if let Some(awaited) = self.ways.arrivals.as_ref().and_then(awaited) {
            self.slots.prefer(awaited, &self.survey);
            if let Some(native) = &self.native {
                native.hurry(awaited);
            }
            if let Some(legacy) = &self.legacy {
                legacy.hurry(awaited);
            }
        }
        Ok(None)
    }

    /// Whether there is somebody to wait for until patience ends: nobody knows of a torrent yet, or
    /// neighbours may come, who do not answer everybody at once.
    fn may_wait_long(&self) -> bool {
        let no_torrent = self.slots.may_be_named_more() && !self.slots.any_known();
        no_torrent || (self.native.is_some() && self.ways.swarms.native.lan)
    }

    /// Whether somebody who is not known yet may have what is missing.
    fn may_turn_up(&self) -> bool {
        let searched = self.swarms.dht().is_some();
        let unreached = |status: SourceStatus| status.known > status.peers;
        let natives =
            self.native.as_ref().is_some_and(|native| searched || unreached(native.status()));
        (self.slots.may_be_named_more() && self.slots.any_known()) || natives
    }

    /// Begins with the next rung, or changes what it is to bring, when it is time.
    fn climb(&mut self) {
        let share = match &self.native {
            None => Share::All,
            Some(native) => {
                let look = Look {
                    status: native.status(),
                    has_asked: native.has_asked(),
                    unclaimed: native.any_unclaimed(),
                    missing: self.missing().saturating_mul(self.url.block_size().len() as u64),
                };
                self.ladder.share(&look, std::time::Instant::now())
            }
        };
        if share != Share::Nothing && self.ways.rungs.asks_swarms() {
            self.slots.begin();
        }
        if share != self.share {
            self.share = share;
            self.slots.stale |= share != Share::Nothing;
        }
    }

    /// Tells the others what one has brought that several were asked for.
    fn exchange_arrivals(&mut self) {
        let mut arrived = Vec::new();
        if let Some(native) = &self.native {
            arrived = native.take_arrivals();
        }
        if let Some(legacy) = &self.legacy {
            legacy.unwant(&arrived);
            let of_legacy = legacy.take_arrivals();
            if let Some(native) = &self.native {
                native.unwant(&of_legacy);
            }
            arrived.extend(of_legacy);
        }
        if self.slots.has_begun() && !arrived.is_empty() {
            let number = |id: &BlockId| Some((*self.numbers.get(id)?, *id));
            let blocks: Vec<_> = arrived.iter().filter_map(number).collect();
            block_in_place(|| self.slots.look_for_arrivals(&blocks));
        }
    }

    /// Whether what is wanted must be decided anew.
    fn is_due(&self) -> Result<bool, GetError> {
        if self.slots.stale || self.has_hope_changed() {
            return Ok(true);
        }
        if Instant::now() < self.next_look {
            return Ok(false);
        }
        // A newcomer may want what is to be had, though another wants what is not.
        if self.have_readers_moved() {
            return Ok(true);
        }
        if self.exhausted.is_some() {
            return Ok(false);
        }
        let natives_done = self.native.as_ref().is_some_and(|native| native.wanted() == 0);
        let is_done = |legacy: &LegacyRung| legacy.has_begun() && legacy.wanted() == 0;
        let legacy_done = self.legacy.as_ref().is_some_and(is_done);
        Ok(natives_done || legacy_done || self.slots.has_come()? || self.has_frontier_come())
    }

    /// Whether nobody wants anything else, now that what was wanted is here.
    fn is_served(&self) -> bool {
        match (&self.ways.arrivals, &self.wants) {
            (Some(arrivals), Some(wants)) => arrivals.end_if_served(wants),
            _ => true,
        }
    }

    /// Whether readers want something else than when this was last decided.
    fn have_readers_moved(&self) -> bool {
        match (&self.ways.arrivals, &self.wants) {
            (Some(arrivals), Some(wants)) => arrivals.has_changed(wants),
            _ => false,
        }
    }

    /// Whether native peers are expected to give something, and were not, or the other way round.
    fn has_hope_changed(&self) -> bool {
        let begun = self.legacy.as_ref().filter(|legacy| legacy.has_begun());
        self.native.as_ref().is_some_and(|native| native.is_hopeless() != self.hopeless)
            || begun.is_some_and(|legacy| legacy.is_hopeless() != self.legacy_hopeless)
    }

    /// Whether the block has come behind which nothing is known.
    fn has_frontier_come(&self) -> bool {
        let frontier = self.survey.order.last().filter(|_| !self.survey.complete);
        let frontier = frontier.filter(|id| self.survey.missing.last() == Some(id));
        frontier.is_some_and(|id| matches!(self.client.store.presence(id), Ok(Presence::Held)))
    }

    /// Decides what is wanted of whom, or that it is over.
    fn decide(&mut self) -> Result<Option<End>, GetError> {
        self.slots.stale = false;
        // Asked before the survey: what comes during it has not been seen by it, and more may have
        // to be wanted because of it.
        let mut wanted = self.slots.wanted()?;
        let legacy_hopeless = self.legacy.as_ref().is_none_or(LegacyRung::is_hopeless);
        self.survey = self.client.survey(self.url)?;
        let (wants, ranges) = self.ways.wants(self.url);
        self.plan = self.client.plan(self.url, ranges.as_deref(), &self.survey)?;
        self.wants = wants;
        if self.plan.is_fulfilled() {
            return Ok(self.is_served().then_some(End::Complete));
        }
        self.hopeless = true;
        if let Some(native) = &mut self.native {
            let ids: Vec<_> = self.plan.known.iter().map(|(_, id)| *id).collect();
            let new = native.want(&ids) as u64;
            wanted += new;
            // What is new has to be looked at once more.
            self.hopeless = new == 0 && native.is_hopeless();
        }
        wanted += self.want_of_legacy(legacy_hopeless);
        if self.slots.has_begun() {
            self.numbers = self.plan.known.iter().map(|(number, id)| (*id, *number)).collect();
            let part = self.part();
            wanted += self.slots.want(&self.survey, &part);
        }
        let more = self.slots.is_joining() || !self.hopeless || !self.legacy_hopeless;
        let begun = self.slots.has_begun() || !self.ways.rungs.asks_swarms();
        Ok((wanted == 0 && !more && begun).then_some(End::Exhausted))
    }

    /// Wants of legacy nodes what is their part, once it is their turn: how many blocks are new.
    fn want_of_legacy(&mut self, hopeless_before: bool) -> u64 {
        let part = if self.share == Share::Nothing { Plan::default() } else { self.part() };
        let Some(legacy) = &mut self.legacy else {
            self.legacy_hopeless = true;
            return 0;
        };
        if self.share == Share::Nothing && !legacy.has_begun() {
            // Its turn comes, unless the others bring all.
            self.legacy_hopeless = false;
            return 0;
        }
        let new = legacy.want(&self.survey, &part.known);
        // What came during the survey has not been seen by it.
        self.legacy_hopeless = new == 0 && hopeless_before && legacy.is_hopeless();
        new
    }

    /// The part of the plan that the swarms and legacy nodes are to bring.
    fn part(&self) -> Plan {
        let plan = self.plan.clone();
        let Some(native) = &self.native else { return plan };
        match self.share {
            Share::Nothing => Plan::default(),
            Share::Unclaimed => plan.only(&native.unclaimed()),
            Share::Rest => plan.without(&native.in_flight()),
            Share::All => plan,
        }
    }

    pub(super) fn look_at_sources(&mut self) {
        if let Some(native) = &mut self.native {
            native.look();
        }
        if let Some(legacy) = &mut self.legacy {
            legacy.look();
        }
    }

    /// Waits until all blocks are counted that came of legacy nodes.
    pub(super) async fn counted(&mut self) {
        if let Some(legacy) = &self.legacy {
            legacy.counted().await;
        }
    }

    /// Blocks that have come, and bytes. Bytes of legacy nodes are blocks, which count, or refusals.
    fn moved(&self) -> (u64, u64) {
        let (swarm, native) = (self.slots.status(), self.native_status());
        let blocks = swarm.have + native.came + self.legacy_status().came;
        (blocks, swarm.received + native.received)
    }

    /// How native peers stood when they were last looked at.
    pub(super) fn native_status(&self) -> SourceStatus {
        self.native.as_ref().map(NativeRung::status).unwrap_or_default()
    }

    /// How legacy nodes stood when they were last looked at.
    pub(super) fn legacy_status(&self) -> SourceStatus {
        self.legacy.as_ref().map(LegacyRung::status).unwrap_or_default()
    }

    /// Blocks that are missing, as far as is known between two surveys.
    fn missing(&self) -> u64 {
        let native = self.native.as_ref().map_or(0, NativeRung::came_since);
        let legacy = self.legacy.as_ref().map_or(0, LegacyRung::came_since);
        self.survey.lacking().saturating_sub(self.slots.came_since() + native + legacy)
    }

    fn waiting(&self) -> Waiting {
        let begun = self.legacy.as_ref().filter(|legacy| legacy.has_begun());
        Waiting {
            missing: self.missing(),
            blocks: self.survey.blocks,
            native: self.native.as_ref().map(NativeRung::status),
            swarm: self.slots.has_begun().then(|| self.slots.status()),
            legacy: begun.map(LegacyRung::status),
            torrents: self.slots.torrents(),
            dht_nodes: self.swarms.dht().map(|dht| dht.known_nodes() as u64),
        }
    }

    fn is_late(&self, last_change: Instant) -> bool {
        let over = |limit: Option<Duration>, since: Instant| {
            limit.is_some_and(|limit| since.elapsed() >= limit)
        };
        over(self.ways.timeout, self.started) || over(self.ways.stall, last_change)
    }

    /// Whom was asked, in words.
    pub(super) fn asked(&self) -> Vec<String> {
        let natives = self.native.as_ref().map(NativeRung::asked);
        let dht =
            self.swarms.dht().map(|dht| format!("the DHT ({} nodes known)", dht.known_nodes()));
        let store = std::iter::once("the store".into()).chain(natives);
        let legacy = self.legacy.as_ref().filter(|legacy| legacy.has_begun());
        let legacy = legacy.map(LegacyRung::asked);
        store.chain(self.slots.asked()).chain(dht).chain(legacy).collect()
    }
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
