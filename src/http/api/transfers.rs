//! Puts and fetches: begun, listed, stopped.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};

use crate::client::fetch::Ways;
use crate::client::link;
use crate::client::session::{Transfer, TransferKind};
use crate::http::Context;
use crate::limits::MAX_HINTS;

use super::answers::{Asked, Failure, Nothing, Told};
use super::kept::Kept;
use super::meter::{is_running, kind_name, state_name};
use super::urls::{Changed, HaveMap, check_trackers, have_map, unix_ms};

/// How often a map is made anew at most.
const MAP_EVERY: Duration = Duration::from_secs(1);

/// Blocks of the largest URL whose map is drawn while it is fetched: 8 GiB of file, and a tenth of a
/// second of looking.
const MAX_MAPPED: u64 = 200_000;

/// A transfer as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct TransferShown {
    id: u64,
    /// The name that whoever began it gave it.
    tag: Option<String>,
    kind: &'static str,
    name: String,
    url: Option<String>,
    path: Option<String>,
    state: &'static str,
    bytes_total: Option<u64>,
    bytes_done: u64,
    blocks: u64,
    missing: u64,
    reason: String,
    error: Option<String>,
    blocks_local: u64,
    blocks_native: u64,
    blocks_swarm: u64,
    blocks_legacy: u64,
    received_per_second: u64,
    native_peers: u64,
    swarm_peers: u64,
    started_ms: u64,
    ended_ms: Option<u64>,
    map: Option<HaveMap>,
}

impl TransferShown {
    fn new(transfer: Transfer, map: Option<HaveMap>) -> Self {
        let url = transfer.url.as_ref().map(crate::off::OffUrl::canonical);
        Self {
            id: transfer.id,
            tag: transfer.tag,
            kind: kind_name(transfer.kind),
            name: transfer.name,
            url: url.as_ref().map(ToString::to_string),
            path: url.as_ref().map(crate::off::OffUrl::path),
            state: state_name(transfer.state),
            bytes_total: transfer.bytes_total,
            bytes_done: transfer.bytes_done,
            blocks: transfer.blocks,
            missing: transfer.missing,
            reason: transfer.reason,
            error: transfer.error,
            blocks_local: transfer.blocks_local,
            blocks_native: transfer.blocks_native,
            blocks_swarm: transfer.blocks_swarm,
            blocks_legacy: transfer.blocks_legacy,
            received_per_second: transfer.received_per_second,
            native_peers: transfer.native_peers,
            swarm_peers: transfer.swarm_peers,
            started_ms: unix_ms(transfer.started),
            ended_ms: transfer.ended.map(unix_ms),
            map,
        }
    }
}

/// A transfer with the map of what it fetches.
pub(super) async fn show(context: &Context, kept: &Kept, transfer: Transfer) -> TransferShown {
    let map = map_of(context, kept, &transfer).await;
    TransferShown::new(transfer, map)
}

async fn map_of(context: &Context, kept: &Kept, transfer: &Transfer) -> Option<HaveMap> {
    let url = transfer.url.clone().filter(|_| transfer.kind == TransferKind::Get)?;
    if !is_running(transfer) || transfer.blocks > MAX_MAPPED || url.max_blocks() > MAX_MAPPED {
        return None;
    }
    let map = {
        let mut maps = kept.maps.lock().unwrap_or_else(PoisonError::into_inner);
        let still_runs = |id: &u64| context.session.transfer(*id).is_some_and(|it| is_running(&it));
        if !maps.contains_key(&transfer.id) {
            maps.retain(|id, _| still_runs(id));
        }
        Arc::clone(maps.entry(transfer.id).or_default())
    };
    let client = context.session.client().clone();
    let look = move || client.survey(&url).map(|survey| have_map(&url, &survey));
    map.get(MAP_EVERY, look).await.ok()
}

#[derive(Serialize)]
pub(super) struct Listing {
    transfers: Vec<TransferShown>,
}

pub(super) async fn list(
    State(context): State<Context>,
    Extension(kept): Extension<Kept>,
    Asked(Nothing {}): Asked<Nothing>,
) -> Json<Listing> {
    let mut transfers = Vec::new();
    for transfer in context.session.transfers() {
        transfers.push(show(&context, &kept, transfer).await);
    }
    Json(Listing { transfers })
}

/// One transfer, by its number or by the name that whoever began it gave it.
pub(super) async fn look(
    State(context): State<Context>,
    Extension(kept): Extension<Kept>,
    Path(id): Path<String>,
) -> Result<Json<TransferShown>, Failure> {
    let by_number = id.parse().ok().and_then(|id| context.session.transfer(id));
    let named = |transfer: &Transfer| transfer.tag.as_deref() == Some(id.as_str());
    let found = by_number.or_else(|| context.session.transfers().into_iter().find(named));
    let found = found.ok_or_else(|| {
        let id = crate::id::excerpt(&id);
        Failure::not_found(format!("there is no transfer {id:?}, or it is forgotten"))
    })?;
    Ok(Json(show(&context, &kept, found).await))
}

/// What to fetch, and whom to ask besides.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ToFetch {
    url: String,
    #[serde(default)]
    peers: Vec<SocketAddr>,
    #[serde(default)]
    trackers: Vec<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Number {
    id: u64,
}

pub(super) async fn fetch(
    State(context): State<Context>,
    Told(wish): Told<ToFetch>,
) -> Result<(StatusCode, Json<Number>), Failure> {
    let url = link::parse(&wish.url)?;
    check_trackers(&wish.trackers)?;
    if wish.peers.len() > MAX_HINTS {
        let message = format!("{} peers are refused (limit {MAX_HINTS})", wish.peers.len());
        return Err(Failure::bad_request(message));
    }
    let more = Ways { peers: wish.peers, trackers: wish.trackers, ..Ways::default() };
    let id = context.session.fetch(&url, &more);
    Ok((StatusCode::ACCEPTED, Json(Number { id })))
}

pub(super) async fn cancel(
    State(context): State<Context>,
    Told(Number { id }): Told<Number>,
) -> Result<Json<Changed>, Failure> {
    if context.session.transfer(id).is_none() {
        let message = format!("there is no transfer {id}, or it is forgotten");
        return Err(Failure::not_found(message));
    }
    Ok(Json(Changed { changed: context.session.cancel(id) }))
}

#[derive(Serialize)]
pub(super) struct Cleared {
    cleared: usize,
}

pub(super) async fn clear(State(context): State<Context>) -> Json<Cleared> {
    Json(Cleared { cleared: context.session.clear() })
}
