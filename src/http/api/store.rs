//! The store as a whole: how much there is, how often it is used, and a map of its slots.

use std::time::Duration;

use axum::extract::State;
use axum::{Extension, Json};
use serde::Serialize;

use crate::client::Client;
use crate::http::Context;
use crate::off::OffUrl;
use crate::store::SketchCell;

use super::answers::{Asked, Failure, Nothing};
use super::kept::Kept;
use super::urls::CELLS;

/// How long a look at the store is good enough.
const EVERY: Duration = Duration::from_secs(5);

/// Slots that are looked at for the map: a tenth of a second.
const MAX_LOOKED: usize = 20_000;

/// OFF URLs whose lengths are added up at a time.
const URLS_AT_ONCE: usize = 1_000;

/// The store as it is shown.
#[derive(Debug, Clone, Serialize)]
pub(super) struct StoreShown {
    blocks: u64,
    bytes: u64,
    limit: Option<u64>,
    damaged: u64,
    urls: u64,
    torrents: u64,
    hosted_blocks: u64,
    hosted_bytes: u64,
    sharing: Vec<(u32, u64)>,
    pinned_blocks: u64,
    shared_blocks: u64,
    stored_per_byte: f64,
    map: Vec<Cell>,
}

/// Shares of the slots of a cell.
#[derive(Debug, Clone, Serialize)]
struct Cell {
    used: f64,
    pinned: f64,
    shared: f64,
    free: f64,
}

impl From<SketchCell> for Cell {
    fn from(cell: SketchCell) -> Self {
        let share = |count: u64| ratio(count, cell.looked);
        Self {
            used: share(cell.used),
            pinned: share(cell.pinned),
            shared: share(cell.shared),
            free: share(cell.looked - cell.used),
        }
    }
}

pub(super) async fn store(
    State(context): State<Context>,
    Extension(kept): Extension<Kept>,
    Asked(Nothing {}): Asked<Nothing>,
) -> Result<Json<StoreShown>, Failure> {
    let client = context.session.client().clone();
    kept.store.get(EVERY, move || look(&client)).await.map(Json)
}

fn look(client: &Client) -> Result<StoreShown, Failure> {
    let (store, catalog) = (client.store(), client.catalog());
    let census = store.census()?;
    let (sharing, hosted) = (store.sharing()?, client.hosted()?);
    let sketch = store.sketch(CELLS, MAX_LOOKED)?;
    let shared = sharing.iter().filter(|(uses, _)| *uses > 1);
    Ok(StoreShown {
        blocks: census.blocks,
        bytes: census.bytes,
        limit: client.limit(),
        damaged: census.damaged,
        urls: catalog.url_count()?,
        torrents: catalog.torrent_count()?,
        hosted_blocks: hosted.blocks,
        hosted_bytes: hosted.bytes,
        shared_blocks: shared.map(|(_, blocks)| blocks).sum(),
        sharing,
        pinned_blocks: sketch.pinned,
        stored_per_byte: ratio(census.bytes, bytes_named(client)?),
        map: sketch.cells.into_iter().map(Into::into).collect(),
    })
}

/// Bytes that all OFF URLs stand for.
fn bytes_named(client: &Client) -> Result<u64, Failure> {
    let (mut after, mut bytes) = (None, 0_u64);
    loop {
        let page = client.catalog().urls_from(after.as_deref(), URLS_AT_ONCE, None)?;
        for (text, _) in &page.urls {
            let length = OffUrl::parse(text).map_or(0, |url| url.length());
            bytes = bytes.saturating_add(length);
        }
        after = page.urls.last().map(|(text, _)| text.clone());
        if !page.more {
            return Ok(bytes);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people, three digits of it")]
fn ratio(of: u64, to: u64) -> f64 {
    let ratio = if to == 0 { 0.0 } else { of as f64 / to as f64 };
    (ratio * 1_000.0).round() / 1_000.0
}
