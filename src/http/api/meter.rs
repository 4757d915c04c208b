//! The meter: how fast bytes go in and out, and how that was in the last quarter of an hour.
//!
//! Swarms count bytes from the moment they are opened. The meter looks once a second, so its totals
//! go on when they are closed and opened again; what was moved in the last second before that is
//! lost to it. It also counts the transfers that have ended, which the session forgets after a while.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::client::session::{Event, Session, Transfer, TransferKind, TransferState};
use crate::peer::content::Traffic;

use super::urls::unix_ms;

/// How often the meter looks.
const LOOK: Duration = Duration::from_secs(1);

/// How often it keeps what it sees.
pub(super) const SAMPLE: Duration = Duration::from_secs(5);

/// Looks that a rate is the average of: a sample's.
const WINDOW: usize = 6;

/// Samples kept: 15 minutes.
const SAMPLES: usize = 180;

/// Bytes a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Rates {
    /// Out.
    pub sent_per_second: u64,
    /// In.
    pub received_per_second: u64,
}

/// How it was at some moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// The average since the sample before.
    #[serde(flatten)]
    pub rates: Rates,
    /// Peers connected.
    pub peers: u64,
    /// Nodes of the DHT that are known.
    pub dht_nodes: u64,
    /// Transfers under way.
    pub transfers: u64,
}

/// What was seen. Cheap to ask.
#[derive(Debug)]
pub struct Meter {
    seen: Mutex<Seen>,
    last: watch::Sender<Option<Sample>>,
}

#[derive(Debug, Default)]
struct Seen {
    all: Track,
    natives: HashMap<SocketAddr, Track>,
    samples: VecDeque<Sample>,
    ended: BTreeMap<(TransferKindName, TransferStateName), u64>,
    /// Those that are counted and may be told of again.
    counted: BTreeSet<u64>,
    looks: usize,
}

/// The word for a kind of transfer.
pub(super) type TransferKindName = &'static str;

/// The word for how a transfer stands.
pub(super) type TransferStateName = &'static str;

/// Bytes that were moved, over counters that may begin anew.
#[derive(Debug, Default)]
struct Track {
    /// Of counters that are gone.
    past: Traffic,
    now: Traffic,
    /// The last looks.
    window: VecDeque<(Instant, Traffic)>,
}

impl Track {
    fn look(&mut self, now: Instant, count: Traffic) {
        let Traffic { sent, received } = self.now;
        if count.sent < sent || count.received < received {
            self.past = self.total();
        }
        self.now = count;
        self.window.push_back((now, self.total()));
        if self.window.len() > WINDOW {
            self.window.pop_front();
        }
    }

    const fn total(&self) -> Traffic {
        Traffic {
            sent: self.past.sent + self.now.sent,
            received: self.past.received + self.now.received,
        }
    }

    fn rates(&self) -> Rates {
        let (Some((began, before)), Some((ended, after))) =
            (self.window.front(), self.window.back())
        else {
            return Rates::default();
        };
        let millis = u64::try_from((*ended - *began).as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = |before: u64, after: u64| (after - before).saturating_mul(1_000) / millis;
        Rates {
            sent_per_second: rate(before.sent, after.sent),
            received_per_second: rate(before.received, after.received),
        }
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self { seen: Mutex::default(), last: watch::Sender::new(None) }
    }
}

impl Meter {
    /// Bytes a second now.
    #[must_use]
    pub fn rates(&self) -> Rates {
        self.seen().all.rates()
    }

    /// Bytes moved since the program began.
    #[must_use]
    pub fn totals(&self) -> Traffic {
        self.seen().all.total()
    }

    /// Bytes a second from and to a native peer.
    #[must_use]
    pub fn rates_of_native(&self, peer: &SocketAddr) -> Rates {
        self.seen().natives.get(peer).map(Track::rates).unwrap_or_default()
    }

    /// How it was in the last 15 minutes, oldest first.
    #[must_use]
    pub fn history(&self) -> Vec<Sample> {
        self.seen().samples.iter().copied().collect()
    }

    /// The last sample, for whoever waits for the next.
    #[must_use]
    pub fn samples(&self) -> watch::Receiver<Option<Sample>> {
        self.last.subscribe()
    }

    /// Transfers that have ended: kind, how, and how many.
    #[must_use]
    pub fn ended(&self) -> Vec<(&'static str, &'static str, u64)> {
        self.seen().ended.iter().map(|((kind, state), count)| (*kind, *state, *count)).collect()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self, session: &Session, now: Instant) {
        let transfers = session.transfers();
        let (mut traffic, mut natives) = (Traffic::default(), Vec::new());
        let mut sample = Sample {
            at_ms: unix_ms(SystemTime::now()),
            transfers: transfers.iter().filter(|one| is_running(one)).count() as u64,
            ..Sample::default()
        };
        if let Some(swarms) = session.swarms() {
            traffic = swarms.traffic();
            natives = swarms.natives().peers();
            let peers: usize = swarms.peers().iter().map(|(_, peers)| peers.len()).sum();
            sample.peers = (peers + natives.len()) as u64;
            sample.dht_nodes = swarms.dht().map_or(0, |dht| dht.known_nodes() as u64);
        }
        let mut seen = self.seen();
        seen.all.look(now, traffic);
        seen.natives.retain(|peer, _| natives.iter().any(|native| native.address == *peer));
        for native in natives {
            seen.natives.entry(native.address).or_default().look(now, native.traffic);
        }
        seen.counted.retain(|id| transfers.iter().any(|transfer| transfer.id == *id));
        for transfer in &transfers {
            seen.count(transfer);
        }
        seen.looks += 1;
        if seen.looks.is_multiple_of(WINDOW - 1) {
            sample.rates = seen.all.rates();
            if seen.samples.len() >= SAMPLES {
                seen.samples.pop_front();
            }
            seen.samples.push_back(sample);
            drop(seen);
            self.last.send_replace(Some(sample));
        }
    }
}

impl Seen {
    /// Counts a transfer once if it has ended.
    fn count(&mut self, transfer: &Transfer) {
        if !is_running(transfer) && self.counted.insert(transfer.id) {
            let name = (kind_name(transfer.kind), state_name(transfer.state));
            *self.ended.entry(name).or_default() += 1;
        }
    }
}

/// Looks again and again, until it is stopped.
pub async fn run(session: Session, meter: Arc<Meter>, stop: CancellationToken) {
    let mut events = session.events();
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => meter.look(&session, Instant::now()),
            event = events.recv() => match event {
                Ok(Event::Transfer(id)) => {
                    if let Some(transfer) = session.transfer(id) {
                        meter.seen().count(&transfer);
                    }
                }
                // What was missed is found at the next look.
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            },
        }
    }
}

pub(super) fn is_running(transfer: &Transfer) -> bool {
    transfer.state == TransferState::Running
}

pub(super) const fn kind_name(kind: TransferKind) -> TransferKindName {
    match kind {
        TransferKind::Put => "put",
        TransferKind::Get => "get",
    }
}

pub(super) const fn state_name(state: TransferState) -> TransferStateName {
    match state {
        TransferState::Running => "running",
        TransferState::Done => "done",
        TransferState::Failed => "failed",
        TransferState::Stopped => "stopped",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn moved(sent: u64, received: u64) -> Traffic {
        Traffic { received, sent }
    }

    #[test]
    fn rates_are_averages_and_totals_go_on_over_a_reopening() {
        let (mut track, began) = (Track::default(), Instant::now());
        let at = |second: u64| began + Duration::from_secs(second);
        track.look(at(0), moved(0, 0));
        assert_eq!(track.rates(), Rates::default());
        track.look(at(1), moved(100, 10));
        track.look(at(2), moved(300, 10));
        assert_eq!(track.rates(), Rates { sent_per_second: 150, received_per_second: 5 });
        track.look(at(3), moved(60, 0));
        assert_eq!(track.total(), moved(360, 10));
        for second in 4..20 {
            track.look(at(second), moved(60, 0));
        }
        assert_eq!((track.rates(), track.window.len()), (Rates::default(), WINDOW));
    }

    #[tokio::test(start_paused = true)]
    async fn keeps_a_quarter_of_an_hour_and_counts_transfers_once() {
        let home = tempfile::tempdir().unwrap();
        let client =
            crate::client::Client::open(home.path(), &crate::client::Settings::default()).unwrap();
        let session = Session::new(client, crate::client::fetch::Ways::default());
        let (meter, stop) = (Arc::new(Meter::default()), CancellationToken::new());
        let running = tokio::spawn(run(session.clone(), Arc::clone(&meter), stop.clone()));
        let ticket = session.begin_put("n", None);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(meter.history().last().map(|sample| sample.transfers), Some(1));
        ticket.failed("why");
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        assert_eq!((session.clear(), meter.ended()), (1, vec![("put", "failed", 1)]));
        let history = meter.history();
        assert_eq!((history.len(), history[0].transfers), (SAMPLES, 0));
        assert_eq!(meter.samples().borrow().as_ref(), history.last());
        stop.cancel();
        running.await.unwrap();
    }
}
