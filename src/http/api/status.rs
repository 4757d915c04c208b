//! How the program stands: its services, what moves, what is stored.

use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};

use crate::http::{Context, ServiceStatus};
use crate::peer::content::Traffic;

use super::answers::{Asked, Failure, Nothing, Told};
use super::kept::Kept;
use super::meter::{Rates, SAMPLE, Sample, is_running};
use super::urls::{Changed, unix_ms};

/// How long a count of the blocks is good enough for the status: counting writes to the disk what
/// was put and is not durable yet.
const CENSUS_EVERY: Duration = Duration::from_secs(2);

/// A service as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ServiceShown {
    name: String,
    state: &'static str,
    health: &'static str,
    reason: Option<String>,
    restarts: u64,
    last_error: Option<String>,
    since_ms: u64,
}

impl From<ServiceStatus> for ServiceShown {
    fn from(status: ServiceStatus) -> Self {
        let ServiceStatus { name, state, health, reason, restarts, last_error, since } = status;
        Self { name, state, health, reason, restarts, last_error, since_ms: unix_ms(since) }
    }
}

pub(super) fn services(context: &Context) -> Vec<ServiceShown> {
    context.board.statuses().into_iter().map(Into::into).collect()
}

/// How everything stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Status {
    version: &'static str,
    home: String,
    pub(super) uptime_ms: u64,
    listen: String,
    peers_listen: Option<String>,
    pub(super) services: Vec<ServiceShown>,
    rates: Rates,
    totals: Totals,
    peers: Peers,
    dht_nodes: Option<u64>,
    store: StoreTotals,
    transfers_running: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Totals {
    sent: u64,
    received: u64,
}

/// Peers connected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Peers {
    pub(super) bittorrent: usize,
    pub(super) native: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct StoreTotals {
    blocks: u64,
    bytes: u64,
    limit: Option<u64>,
    damaged: u64,
}

impl Status {
    /// Whether anything has changed since another look, but for the time.
    pub(super) fn is_as(&self, before: &Self) -> bool {
        let uptime_ms = self.uptime_ms;
        *self == Self { uptime_ms, ..before.clone() }
    }
}

pub(super) async fn look(context: &Context, kept: &Kept) -> Result<Status, Failure> {
    let session = &context.session;
    let client = session.client().clone();
    let limit = client.limit();
    let home = client.home().path().display().to_string();
    let census = kept.census.get(CENSUS_EVERY, move || client.store().census()).await?;
    let swarms = session.swarms();
    let Traffic { sent, received } = context.meter.totals();
    let uptime = SystemTime::now().duration_since(context.started).unwrap_or_default();
    Ok(Status {
        version: env!("CARGO_PKG_VERSION"),
        home,
        uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
        listen: context.listen.to_string(),
        peers_listen: swarms.as_ref().map(|swarms| swarms.listen().to_string()),
        services: services(context),
        rates: context.meter.rates(),
        totals: Totals { sent, received },
        peers: peers(context),
        dht_nodes: swarms
            .as_ref()
            .and_then(|swarms| swarms.dht().map(|dht| dht.known_nodes() as u64)),
        store: StoreTotals {
            blocks: census.blocks,
            bytes: census.bytes,
            limit,
            damaged: census.damaged,
        },
        transfers_running: session.transfers().iter().filter(|one| is_running(one)).count(),
    })
}

/// Peers connected now.
pub(super) fn peers(context: &Context) -> Peers {
    let count = |swarms: std::sync::Arc<crate::swarm::session::Swarms>| Peers {
        bittorrent: swarms.peers().iter().map(|(_, peers)| peers.len()).sum(),
        native: swarms.natives().connected(),
    };
    context.session.swarms().map(count).unwrap_or_default()
}

pub(super) async fn status(
    State(context): State<Context>,
    Extension(kept): Extension<Kept>,
    Asked(Nothing {}): Asked<Nothing>,
) -> Result<Json<Status>, Failure> {
    look(&context, &kept).await.map(Json)
}

pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// Whether all that was to be started serves; else which does not, and why.
pub(super) async fn ready(State(context): State<Context>) -> (StatusCode, String) {
    let lacking =
        |service: &ServiceStatus| service.state != "running" || service.health == "failed";
    let lacking: Vec<String> =
        context.board.statuses().iter().filter(|one| lacking(one)).map(say).collect();
    if lacking.is_empty() {
        return (StatusCode::OK, "ready\n".into());
    }
    (StatusCode::SERVICE_UNAVAILABLE, lacking.concat())
}

fn say(service: &ServiceStatus) -> String {
    let ServiceStatus { name, state, health, reason, last_error, .. } = service;
    let state = if *state == "running" { health } else { state };
    match reason.as_ref().or(last_error.as_ref()) {
        Some(why) => format!("{name}: {state}: {why}\n"),
        None => format!("{name}: {state}\n"),
    }
}

#[derive(Serialize)]
pub(super) struct History {
    every_ms: u64,
    samples: Vec<Sample>,
}

pub(super) async fn history(
    State(context): State<Context>,
    Asked(Nothing {}): Asked<Nothing>,
) -> Json<History> {
    let every_ms = u64::try_from(SAMPLE.as_millis()).unwrap_or(u64::MAX);
    Json(History { every_ms, samples: context.meter.history() })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    name: String,
}

pub(super) async fn restart(
    State(context): State<Context>,
    Told(Named { name }): Told<Named>,
) -> Result<Json<Changed>, Failure> {
    check_service(&context, &name)?;
    Ok(Json(Changed { changed: context.board.restart(&name) }))
}

/// Makes a service fail, so that a test can see it come back.
pub(super) async fn panic(
    State(context): State<Context>,
    Told(Named { name }): Told<Named>,
) -> Result<Json<Changed>, Failure> {
    if !context.access.may_inject_faults {
        return Err(Failure::not_found("services cannot be made to fail here")
            .hint("start the program with serve --fault-injection"));
    }
    check_service(&context, &name)?;
    Ok(Json(Changed { changed: context.board.panic(&name) }))
}

fn check_service(context: &Context, name: &str) -> Result<(), Failure> {
    if context.board.statuses().iter().any(|service| service.name == name) {
        return Ok(());
    }
    let message = format!("there is no service {:?}", crate::id::excerpt(name));
    Err(Failure::not_found(message).hint("GET /api/status lists the services"))
}
