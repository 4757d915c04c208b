//! One fetch that many share: it brings what its readers want, and all if somebody wants that.
//!
//! It outlives the swarms: when they are closed and opened again it goes on with what is missing.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::catalog::{AwaitedRecord, CatalogError};
use crate::client::GetError;
use crate::client::arrivals::{Arrivals, Reader};
use crate::client::fetch::{Fetched, Waiting, Ways};
use crate::off::OffUrl;
use crate::swarm::session::Swarms;

use super::Session;
use super::transfers::{Transfer, TransferKind, TransferState};

/// How long a fetch waits for swarms that are just being opened.
const SWARMS_AWAITED: Duration = Duration::from_secs(10);

/// How often those who watch are told.
const TELL_EVERY: Duration = Duration::from_millis(250);

/// How long a rate is measured.
const RATE_OVER: Duration = Duration::from_secs(1);

/// A part in a fetch.
pub(super) struct Joined {
    pub(super) id: u64,
    pub(super) reader: Reader,
}

impl Session {
    /// Takes part in the fetch of a URL, which is begun if there is none: as somebody who wants a
    /// range of it, or all without one, and who wants it kept or only read.
    pub(super) fn join(
        &self,
        url: &OffUrl,
        range: Option<Range<u64>>,
        keeps: bool,
        more: &Ways,
    ) -> Joined {
        let (id, flow, reader, is_new) = self.0.transfers.join(url, range);
        if keeps {
            flow.keep();
        }
        if is_new {
            let ways = self.ways_of(more, flow);
            tokio::spawn(run(self.clone(), id, url.clone(), ways));
        }
        Joined { id, reader }
    }

    /// Goes on with the fetches that had not ended when the program did: how many.
    pub fn resume(&self) -> Result<usize, CatalogError> {
        let awaited = self.client().catalog().awaited()?;
        for AwaitedRecord { url, peers, trackers, web_seeds } in &awaited {
            // What does not parse was written by a later version.
            let Ok(url) = OffUrl::parse(url) else { continue };
            let (peers, trackers) = (peers.clone(), trackers.clone());
            let web_seeds = web_seeds.clone();
            let _ = self.fetch(&url, &Ways { peers, trackers, web_seeds, ..Ways::default() });
        }
        Ok(awaited.len())
    }

    /// Has a fetch go on after the end of the program.
    pub(super) fn remember_fetch(&self, url: &OffUrl, more: &Ways) {
        let record = AwaitedRecord {
            url: url.to_string(),
            peers: more.peers.clone(),
            trackers: more.trackers.clone(),
            web_seeds: more.web_seeds.clone(),
        };
        if let Err(error) = self.client().catalog().await_url(url, &record) {
            tracing::warn!("a fetch will not go on after the end of the program: {error}");
        }
    }

    fn forget_fetch(&self, url: &OffUrl) {
        if let Err(error) = self.client().catalog().await_no_more(url) {
            tracing::warn!("a fetch that has ended begins anew with the program: {error}");
        }
    }

    fn ways_of(&self, more: &Ways, flow: Arrivals) -> Ways {
        let mut ways = self.0.ways.clone();
        ways.peers.extend(&more.peers);
        ways.trackers.extend(more.trackers.iter().cloned());
        ways.web_seeds.extend(more.web_seeds.iter().cloned());
        ways.torrents.extend(more.torrents.iter().cloned());
        ways.arrivals = Some(flow);
        ways
    }
}

/// Fetches until it is over, and says how it ended.
async fn run(session: Session, id: u64, url: OffUrl, ways: Ways) {
    let stop = session.0.transfers.stop_of(id);
    let ended = fetch(&session, id, &url, &ways, &stop).await;
    let flow = ways.arrivals.unwrap_or_default();
    session.0.transfers.ended(id, ended, flow.keeps());
    // Only now, so that a reader who finds that nothing comes any more finds the reason, too.
    flow.end();
    if flow.keeps() && !session.0.closed.load(Ordering::Acquire) {
        tokio::task::block_in_place(|| session.forget_fetch(&url));
        session.say_urls_changed("added");
    }
}

async fn fetch(
    session: &Session,
    id: u64,
    url: &OffUrl,
    ways: &Ways,
    stop: &CancellationToken,
) -> Result<Fetched, GetError> {
    let mut swarms = session.0.swarms.subscribe();
    loop {
        let Some(open) = opened(&mut swarms, ways, stop).await else {
            if stop.is_cancelled() {
                return Err(GetError::Stopped);
            }
            let ways = Ways { offline: true, ..ways.clone() };
            return session.client().fetch(url, &ways, stop, &mut |_| ()).await;
        };
        let round = stop.child_token();
        let mut teller = Teller::new(session, id, url, ways.arrivals.clone(), round.clone());
        let mut watch = |waiting: &Waiting| teller.tell(waiting);
        let ways = Ways { open: Some(open), ..ways.clone() };
        let fetched = session.client().fetch(url, &ways, &round, &mut watch);
        tokio::pin!(fetched);
        let ended = tokio::select! {
            ended = &mut fetched => ended,
            _ = swarms.changed() => {
                round.cancel();
                fetched.await
            }
        };
        match ended {
            // The swarms were closed under it.
            Err(GetError::Stopped) if !stop.is_cancelled() && is_wanted(&ways) => {}
            ended => return ended,
        }
    }
}

fn is_wanted(ways: &Ways) -> bool {
    ways.arrivals.as_ref().is_none_or(|flow| !flow.is_abandoned())
}

/// The swarms, as soon as they are open; `None` if they are not to be had.
async fn opened(
    swarms: &mut watch::Receiver<Option<Arc<Swarms>>>,
    ways: &Ways,
    stop: &CancellationToken,
) -> Option<Arc<Swarms>> {
    if ways.offline {
        return None;
    }
    let open = swarms.wait_for(Option::is_some);
    let patience = async {
        tokio::time::sleep(SWARMS_AWAITED).await;
        // What is to be kept can wait; who reads is told.
        if ways.enters() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => None,
        () = patience => None,
        open = open => open.ok()?.clone(),
    }
}

/// A fetch of somebody else, listed while it is under way.
pub(in crate::client) struct Listed {
    teller: Teller,
    whole: bool,
}

impl Session {
    /// Lists a fetch. `stop` is cancelled when somebody wants it stopped; `whole` says whether it is
    /// to bring all of the URL.
    pub(in crate::client) fn list(
        &self,
        url: &OffUrl,
        whole: bool,
        stop: &CancellationToken,
    ) -> Listed {
        let id = self.0.transfers.begin(TransferKind::Get, url.name());
        self.0.transfers.change(id, |transfer| {
            transfer.url = Some(url.clone());
            transfer.bytes_total = Some(url.length());
        });
        let (asked, stop) = (self.0.transfers.stop_of(id), stop.clone());
        let ended = self.0.transfers.ended_of(id);
        tokio::spawn(async move {
            tokio::select! {
                () = asked.cancelled() => stop.cancel(),
                () = ended.cancelled() => {}
            }
        });
        Listed { teller: Teller::new(self, id, url, None, CancellationToken::new()), whole }
    }
}

impl Listed {
    pub(in crate::client) fn tell(&mut self, waiting: &Waiting) {
        self.teller.tell(waiting);
    }

    pub(in crate::client) fn ended(self, ended: Result<Fetched, &GetError>) {
        self.teller.session.0.transfers.settle(self.teller.id, ended, self.whole);
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let is_over = |transfer: Transfer| transfer.state != TransferState::Running;
        let (session, id) = (&self.teller.session, self.teller.id);
        // Whoever fetched has gone.
        if !session.transfer(id).is_some_and(is_over) {
            session.0.transfers.settle(id, Err(&GetError::Stopped), false);
        }
    }
}

/// Tells of a fetch, a few times a second.
struct Teller {
    session: Session,
    id: u64,
    bytes: u64,
    flow: Option<Arrivals>,
    round: CancellationToken,
    told: Option<Instant>,
    /// When a rate was measured last, bytes received by then, and the rate.
    rate: (Instant, u64, u64),
}

impl Teller {
    fn new(
        session: &Session,
        id: u64,
        url: &OffUrl,
        flow: Option<Arrivals>,
        round: CancellationToken,
    ) -> Self {
        let rate = (Instant::now(), 0, 0);
        Self { session: session.clone(), id, bytes: url.length(), flow, round, told: None, rate }
    }

    fn tell(&mut self, waiting: &Waiting) {
        if self.flow.as_ref().is_some_and(Arrivals::is_abandoned) {
            self.round.cancel();
        }
        if self.told.is_some_and(|told| told.elapsed() < TELL_EVERY) {
            return;
        }
        self.told = Some(Instant::now());
        let native = waiting.native.unwrap_or_default();
        let swarm = waiting.swarm.unwrap_or_default();
        let legacy = waiting.legacy.unwrap_or_default();
        let rate = self.rate(native.received + swarm.received + legacy.received);
        let bytes = self.bytes;
        self.session.0.transfers.change(self.id, |transfer| {
            transfer.blocks = waiting.blocks;
            transfer.missing = waiting.missing;
            transfer.bytes_done = done(bytes, waiting);
            transfer.reason = waiting.to_string();
            transfer.blocks_native = native.came;
            transfer.blocks_swarm = swarm.came;
            transfer.blocks_legacy = legacy.came;
            transfer.native_peers = native.peers;
            transfer.swarm_peers = swarm.peers;
            transfer.received_per_second = rate;
        });
    }

    fn rate(&mut self, received: u64) -> u64 {
        let (since, before, rate) = self.rate;
        let millis = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        if since.elapsed() < RATE_OVER {
            return rate;
        }
        let rate = received.saturating_sub(before) * 1_000 / millis.max(1);
        self.rate = (Instant::now(), received, rate);
        rate
    }
}

/// How many bytes of a file the blocks stand for that are here.
fn done(bytes: u64, waiting: &Waiting) -> u64 {
    let here = u128::from(waiting.blocks.saturating_sub(waiting.missing));
    let share = here * u128::from(bytes) / u128::from(waiting.blocks.max(1));
    u64::try_from(share).unwrap_or(bytes)
}
