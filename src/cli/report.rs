//! How a seeder is doing: peers and rates, again and again.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::peer::content::Traffic;
use crate::peer::live::PeerStatus;
use crate::peer::native::natives::NativeStatus;
use crate::swarm::session::Swarms;

use super::args::ReportArgs;
use super::exit::CliError;
use super::output::{Output, Progress};

/// How often a seeder reports where nobody watches.
const SELDOM: Duration = Duration::from_secs(60);

/// How often on a terminal.
const OFTEN: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Shown {
    /// Where peers can reach us.
    listen: SocketAddr,
    torrents: usize,
    peers: usize,
    sent: u64,
    received: u64,
    sent_per_second: u64,
    received_per_second: u64,
    /// Bytes sent for each received; nothing was received if there is none.
    ratio: Option<f64>,
    /// Nodes of the DHT that we know, if we take part in it.
    dht_nodes: Option<usize>,
    native_peers: usize,
    native: Vec<ShownNative>,
    swarms: Vec<ShownSwarm>,
}

#[derive(Serialize)]
struct ShownNative {
    address: SocketAddr,
    /// Whether it keeps blocks of others.
    hosts: bool,
    /// Blocks that are wanted of it.
    owed: u64,
}

#[derive(Serialize)]
struct ShownSwarm {
    infohash: String,
    peers: Vec<ShownPeer>,
}

#[derive(Serialize)]
struct ShownPeer {
    address: SocketAddr,
    sent: u64,
    received: u64,
    sent_per_second: u64,
    received_per_second: u64,
    pieces: u32,
    interested: bool,
    served: bool,
}

/// Reports about swarms.
pub(super) struct Report {
    ticks: tokio::time::Interval,
    output: Output,
    line: Progress,
    before: (Instant, u64, u64),
}

impl Report {
    pub(super) fn new(args: &ReportArgs, output: &Output) -> Self {
        let line = output.progress(None, false);
        let usual = if line.is_shown() { OFTEN } else { SELDOM };
        let every = args.report.unwrap_or(usual).max(Duration::from_millis(100));
        let start = tokio::time::Instant::now() + every;
        let ticks = tokio::time::interval_at(start, every);
        Self { ticks, output: output.clone(), line, before: (Instant::now(), 0, 0) }
    }

    /// Is over when it is time to tell.
    pub(super) async fn due(&mut self) {
        self.ticks.tick().await;
    }

    pub(super) fn tell(&mut self, swarms: &Swarms) -> Result<(), CliError> {
        let shown = self.look(swarms);
        let ratio = shown.ratio.map_or(String::new(), |ratio| format!(", ratio {ratio:.2}"));
        let dht = shown.dht_nodes.map_or(String::new(), |nodes| format!(", DHT {nodes} nodes"));
        let text = format!(
            "{} torrents in use, {} peers, {} native, {} up ({}/s), {} down ({}/s){ratio}{dht}",
            shown.torrents,
            shown.peers,
            shown.native_peers,
            bytes(shown.sent),
            bytes(shown.sent_per_second),
            bytes(shown.received),
            bytes(shown.received_per_second),
        );
        self.say(&text, &shown)
    }

    /// A line for people, or an object for programs.
    pub(super) fn say(&mut self, text: &str, json: &impl Serialize) -> Result<(), CliError> {
        if self.line.is_shown() {
            self.line.waiting(text);
            return Ok(());
        }
        self.output.event(text, json)
    }

    fn look(&mut self, swarms: &Swarms) -> Shown {
        let Traffic { received, sent } = swarms.traffic();
        let (then, received_then, sent_then) =
            std::mem::replace(&mut self.before, (Instant::now(), received, sent));
        let millis = u64::try_from(then.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = |now: u64, then: u64| now.saturating_sub(then) * 1_000 / millis;
        let (live, native) = (swarms.peers(), swarms.natives().peers());
        Shown {
            native_peers: native.len(),
            native: native.into_iter().map(ShownNative::from).collect(),
            listen: swarms.listen(),
            torrents: live.len(),
            peers: live.iter().map(|(_, peers)| peers.len()).sum(),
            sent,
            received,
            sent_per_second: rate(sent, sent_then),
            received_per_second: rate(received, received_then),
            ratio: ratio(sent, received),
            dht_nodes: swarms.dht().map(|dht| dht.known_nodes()),
            swarms: live
                .into_iter()
                .map(|(infohash, peers)| ShownSwarm {
                    infohash: infohash.to_string(),
                    peers: peers.into_iter().map(ShownPeer::from).collect(),
                })
                .collect(),
        }
    }
}

impl From<NativeStatus> for ShownNative {
    fn from(NativeStatus { address, hosts, owed, .. }: NativeStatus) -> Self {
        Self { address, hosts, owed }
    }
}

impl From<PeerStatus> for ShownPeer {
    fn from(PeerStatus { address, standing }: PeerStatus) -> Self {
        Self {
            address,
            sent: standing.sent,
            received: standing.received,
            sent_per_second: standing.rate_out,
            received_per_second: standing.rate_in,
            pieces: standing.has,
            interested: standing.is_interested,
            served: standing.is_served,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio is shown with two digits")]
pub(super) fn ratio(sent: u64, received: u64) -> Option<f64> {
    (received > 0).then(|| sent as f64 / received as f64)
}

fn bytes(count: u64) -> String {
    bytesize::ByteSize(count).to_string()
}
