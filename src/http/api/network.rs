//! The network: swarms, peers, the DHT.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::catalog::Catalog;
use crate::http::Context;
use crate::id::InfoHash;
use crate::off::OffUrl;
use crate::peer::live::PeerStatus;
use crate::peer::native::natives::NativeStatus;
use crate::swarm::session::SwarmStatus;
use crate::torrent::metainfo::Info;

use super::answers::{Asked, Failure, Nothing, blocking};
use super::meter::{Meter, Rates};

/// Swarms that are listed at most.
const MAX_LISTED: usize = 1_000;

#[derive(Serialize)]
pub(super) struct Swarms {
    swarms: Vec<SwarmShown>,
}

/// A torrent in use.
#[derive(Serialize)]
struct SwarmShown {
    infohash: String,
    /// What the torrent is called.
    name: Option<String>,
    /// What the OFF URL is called that it carries.
    url_name: Option<String>,
    blocks: u64,
    have: u64,
    peers: u64,
    known_peers: u64,
    sent: u64,
    received: u64,
}

pub(super) async fn swarms(
    State(context): State<Context>,
    Asked(Nothing {}): Asked<Nothing>,
) -> Result<Json<Swarms>, Failure> {
    let mut list = context.session.swarms().map(|swarms| swarms.statuses()).unwrap_or_default();
    list.sort_unstable_by_key(|(infohash, _)| *infohash);
    list.truncate(MAX_LISTED);
    let catalog = context.session.client().catalog().clone();
    blocking(move || {
        let shown = list.into_iter().map(|(infohash, status)| name(&catalog, infohash, status));
        Ok::<_, Failure>(Json(Swarms { swarms: shown.collect::<Result<_, _>>()? }))
    })
    .await
}

fn name(catalog: &Catalog, infohash: InfoHash, status: SwarmStatus) -> Result<SwarmShown, Failure> {
    let info = catalog.info_dict(infohash)?.and_then(|raw| Info::decode(raw.into()).ok());
    let url = catalog.torrent(infohash)?.and_then(|torrent| torrent.url);
    let url = url.and_then(|text| OffUrl::parse(&text).ok());
    let SwarmStatus { blocks, have, received, sent, peers, known_peers, .. } = status;
    Ok(SwarmShown {
        infohash: infohash.to_string(),
        name: info.map(|info| info.name),
        url_name: url.map(|url| url.name().to_owned()),
        blocks,
        have,
        peers,
        known_peers,
        sent,
        received,
    })
}

#[derive(Serialize)]
pub(super) struct Peers {
    peers: Vec<PeerShown>,
}

/// A connection to somebody.
#[derive(Serialize)]
struct PeerShown {
    kind: &'static str,
    address: SocketAddr,
    infohash: Option<String>,
    sent: u64,
    received: u64,
    #[serde(flatten)]
    rates: Rates,
    pieces: u64,
    interested: bool,
    served: bool,
    hosts: bool,
}

pub(super) async fn peers(
    State(context): State<Context>,
    Asked(Nothing {}): Asked<Nothing>,
) -> Json<Peers> {
    let Some(swarms) = context.session.swarms() else { return Json(Peers { peers: Vec::new() }) };
    let ordinary = swarms.peers().into_iter().flat_map(|(infohash, peers)| {
        peers.into_iter().map(move |peer| PeerShown::of_swarm(infohash, &peer))
    });
    let native = swarms.natives().peers().into_iter();
    let native = native.map(|peer| PeerShown::native(&peer, &context.meter));
    Json(Peers { peers: ordinary.chain(native).collect() })
}

impl PeerShown {
    fn of_swarm(infohash: InfoHash, peer: &PeerStatus) -> Self {
        let PeerStatus { address, standing } = peer;
        Self {
            kind: "bittorrent",
            address: *address,
            infohash: Some(infohash.to_string()),
            sent: standing.sent,
            received: standing.received,
            rates: Rates {
                sent_per_second: standing.rate_out,
                received_per_second: standing.rate_in,
            },
            pieces: standing.has.into(),
            interested: standing.is_interested,
            served: standing.is_served,
            hosts: false,
        }
    }

    /// A native peer is served in turn, so it is served as long as it wants something.
    fn native(peer: &NativeStatus, meter: &Meter) -> Self {
        let NativeStatus { address, hosts, wants, traffic, .. } = *peer;
        Self {
            kind: "native",
            address,
            infohash: None,
            sent: traffic.sent,
            received: traffic.received,
            rates: meter.rates_of_native(&address),
            pieces: 0,
            interested: wants > 0,
            served: wants > 0,
            hosts,
        }
    }
}

/// Our place in the DHT.
#[derive(Serialize)]
pub(super) struct DhtShown {
    enabled: bool,
    nodes: usize,
    addresses: Vec<SocketAddr>,
    node_id: Option<String>,
}

pub(super) async fn dht(
    State(context): State<Context>,
    Asked(Nothing {}): Asked<Nothing>,
) -> Json<DhtShown> {
    let swarms = context.session.swarms();
    let Some(dht) = swarms.as_ref().and_then(|swarms| swarms.dht()) else {
        let addresses = Vec::new();
        return Json(DhtShown { enabled: false, nodes: 0, addresses, node_id: None });
    };
    let status = dht.status().await;
    Json(DhtShown {
        enabled: true,
        nodes: dht.known_nodes(),
        addresses: dht.addresses().to_vec(),
        node_id: status.networks.first().map(|network| network.id.to_string()),
    })
}
