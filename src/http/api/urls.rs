//! The OFF URLs that are known here: listed, looked at, pinned, deleted, published.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::{Extension, Json};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use crate::catalog::{Catalog, Origin, UrlRecord};
use crate::client::survey::Survey;
use crate::client::{Client, link};
use crate::http::Context;
use crate::id::BlockId;
use crate::off::{OffUrl, Seal};
use crate::torrent::magnet::Magnet;

use super::answers::{Asked, Failure, Told, blocking};
use super::kept::Kept;

/// OFF URLs on a page if nobody asks for another number, and at most.
const PAGE: usize = 200;
const MAX_PAGE: usize = 1_000;

/// Characters of the longest text that is searched for.
const MAX_SEARCH_LEN: usize = 1_024;

/// Cells of a map.
pub(super) const CELLS: usize = 256;

/// The share of each cell's blocks that is here, 0 to 255.
pub(super) type HaveMap = Vec<u8>;

/// An OFF URL as it is listed.
#[derive(Debug, Serialize)]
pub(super) struct ListedUrl {
    url: String,
    path: String,
    name: String,
    length: u64,
    content_type: String,
    added_ms: Option<u64>,
    origin: Option<Origin>,
    pinned: bool,
    directory: bool,
    infohash: Option<String>,
    magnet: Option<String>,
}

impl ListedUrl {
    fn new(url: &OffUrl, record: Option<&UrlRecord>, catalog: &Catalog) -> Result<Self, Failure> {
        let url = url.canonical();
        let infohash = record.and_then(|record| record.infohash);
        let mut hinted = url.clone();
        if let Some(infohash) = infohash {
            hinted.hints.infohash = Some(infohash);
            hinted.hints.trackers =
                catalog.torrent(infohash)?.map(|torrent| torrent.trackers).unwrap_or_default();
        }
        Ok(Self {
            url: url.to_string(),
            path: url.path(),
            name: url.name().to_owned(),
            length: url.length(),
            content_type: url.content_type().to_owned(),
            added_ms: record.map(|record| record.added.saturating_mul(1_000)),
            origin: record.map(|record| record.origin),
            pinned: record.is_some_and(|record| record.pinned),
            directory: url.is_directory(),
            infohash: infohash.map(|infohash| infohash.to_string()),
            magnet: infohash.map(|_| Magnet::to_url(&hinted).to_string()),
        })
    }
}

/// Which OFF URLs to list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    /// What `next` of the page before was.
    after: Option<String>,
    limit: Option<usize>,
    /// Only those with this in their name, type or id, whatever the case.
    q: Option<String>,
    #[serde(default)]
    order: Order,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Order {
    /// By their texts, which takes the least work.
    #[default]
    Url,
    /// The latest first.
    Latest,
}

#[derive(Serialize)]
pub(super) struct Listing {
    urls: Vec<ListedUrl>,
    next: Option<String>,
    total: u64,
}

pub(super) async fn list(
    State(context): State<Context>,
    Asked(page): Asked<Page>,
) -> Result<Json<Listing>, Failure> {
    let limit = page.limit.unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        let message = format!("limit is {limit}, and must be 1 to {MAX_PAGE}");
        return Err(Failure::bad_request(message));
    }
    if page.q.as_ref().is_some_and(|text| text.len() > MAX_SEARCH_LEN) {
        let message = format!("q is longer than {MAX_SEARCH_LEN} bytes");
        return Err(Failure::bad_request(message));
    }
    let client = context.session.client().clone();
    blocking(move || look_up(client.catalog(), &page, limit)).await.map(Json)
}

fn look_up(catalog: &Catalog, page: &Page, limit: usize) -> Result<Listing, Failure> {
    let sought = page.q.as_deref().map(str::to_lowercase).filter(|text| !text.is_empty());
    let matches = sought.map(|sought| move |text: &str| matches(text, &sought));
    let wanted = matches.as_ref().map(|matches| matches as &dyn Fn(&str) -> bool);
    let found = match (page.order, page.after.as_deref()) {
        (Order::Url, after) => catalog.urls_from(after, limit, wanted)?,
        (Order::Latest, None) => catalog.latest_urls(None, limit, wanted)?,
        (Order::Latest, Some(after)) => {
            let place =
                after.split_once(',').and_then(|(added, text)| Some((added.parse().ok()?, text)));
            let place = place.ok_or_else(|| {
                Failure::bad_request("after is not what a page of this order ended with")
            })?;
            catalog.latest_urls(Some(place), limit, wanted)?
        }
    };
    let last = found.urls.last().filter(|_| found.more).map(|(text, record)| match page.order {
        Order::Url => text.clone(),
        Order::Latest => format!("{},{text}", record.added),
    });
    // What does not parse was written by a later version; it is not ours to show.
    let parsed = found.urls.iter().filter_map(|(text, record)| {
        let url = OffUrl::parse(text).ok()?;
        Some(ListedUrl::new(&url, Some(record), catalog))
    });
    Ok(Listing { urls: parsed.collect::<Result<_, _>>()?, next: last, total: found.total })
}

/// Whether an OFF URL has a text, in lower case, in its path: what it is called, its type, its ids.
fn matches(url: &str, sought: &str) -> bool {
    let path = url.split_once("/offsystem/").map_or(url, |(_, path)| path);
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    percent_decode_str(path).decode_utf8_lossy().to_lowercase().contains(sought)
}

/// An OFF URL that is meant.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Meant {
    url: String,
}

/// An OFF URL, and how much of it is here.
#[derive(Serialize)]
pub(super) struct SurveyedUrl {
    #[serde(flatten)]
    listed: ListedUrl,
    blocks: u64,
    blocks_here: u64,
    damaged: u64,
    complete: bool,
    sealed: bool,
    tuple: u64,
    map: HaveMap,
}

pub(super) async fn look(
    State(context): State<Context>,
    Extension(kept): Extension<Kept>,
    Asked(meant): Asked<Meant>,
) -> Result<Json<SurveyedUrl>, Failure> {
    let url = link::parse(&meant.url)?;
    let client = context.session.client().clone();
    let _turn = kept.surveys.acquire().await.map_err(|closed| Failure::failed(&closed))?;
    blocking(move || survey(&client, &url)).await.map(Json)
}

fn survey(client: &Client, url: &OffUrl) -> Result<SurveyedUrl, Failure> {
    let survey = client.survey(url)?;
    let record = client.catalog().url(url)?;
    Ok(SurveyedUrl {
        listed: ListedUrl::new(url, record.as_ref(), client.catalog())?,
        blocks: survey.blocks,
        blocks_here: survey.blocks - survey.lacking(),
        damaged: survey.damaged.len() as u64,
        complete: survey.complete,
        sealed: matches!(url.seal(), Seal::Key(_)),
        tuple: url.tuple().ids(),
        map: have_map(url, &survey),
    })
}

/// Which of a URL's blocks are here. Those that its descriptor does not tell yet are not; how many
/// they are is unknown for a directory, and then the map is of those that are known.
pub(super) fn have_map(url: &OffUrl, survey: &Survey) -> HaveMap {
    let missing: HashSet<&BlockId> = survey.missing.iter().collect();
    let known = survey.order.len() as u64;
    let blocks = if url.is_directory() { known } else { survey.blocks.max(known) };
    let cells = blocks.min(CELLS as u64);
    let place = |at: u64| usize::try_from(at * blocks / cells).unwrap_or(usize::MAX);
    let cell = |at: u64| {
        let cell = place(at)..place(at + 1);
        let within = cell.start.min(survey.order.len())..cell.end.min(survey.order.len());
        let known = survey.order.get(within).unwrap_or_default();
        let here = known.iter().filter(|id| !missing.contains(id)).count();
        u8::try_from(here * 255 / cell.len().max(1)).unwrap_or(u8::MAX)
    };
    (0..cells).map(cell).collect()
}

#[derive(Serialize)]
pub(super) struct Changed {
    pub(super) changed: bool,
}

pub(super) async fn pin(
    State(context): State<Context>,
    Told(meant): Told<Meant>,
) -> Result<Json<Changed>, Failure> {
    set_pinned(context, &meant, true).await
}

pub(super) async fn unpin(
    State(context): State<Context>,
    Told(meant): Told<Meant>,
) -> Result<Json<Changed>, Failure> {
    set_pinned(context, &meant, false).await
}

async fn set_pinned(
    context: Context,
    meant: &Meant,
    pinned: bool,
) -> Result<Json<Changed>, Failure> {
    let url = link::parse(&meant.url)?;
    let client = context.session.client().clone();
    let set = move || if pinned { client.pin(&url) } else { client.unpin(&url) };
    let changed = blocking(set).await?;
    if changed {
        context.session.say_urls_changed("pinned");
    }
    Ok(Json(Changed { changed }))
}

#[derive(Serialize)]
pub(super) struct FreedShown {
    freed_blocks: u64,
    freed_bytes: u64,
}

pub(super) async fn delete(
    State(context): State<Context>,
    Told(meant): Told<Meant>,
) -> Result<Json<FreedShown>, Failure> {
    let url = link::parse(&meant.url)?;
    let client = context.session.client().clone();
    let freed = blocking(move || client.rm(&url)).await?;
    context.session.say_urls_changed("removed");
    Ok(Json(FreedShown { freed_blocks: freed.blocks, freed_bytes: freed.bytes }))
}

/// What to publish.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ToPublish {
    url: String,
    #[serde(default)]
    trackers: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct PublishedShown {
    pub(super) url: String,
    pub(super) magnet: String,
    pub(super) infohash: String,
    blocks: usize,
}

pub(super) async fn publish(
    State(context): State<Context>,
    Told(wish): Told<ToPublish>,
) -> Result<Json<PublishedShown>, Failure> {
    let url = link::parse(&wish.url)?;
    check_trackers(&wish.trackers)?;
    let client = context.session.client().clone();
    let published = blocking(move || make_torrent(&client, &url, &wish.trackers)).await?;
    context.session.say_urls_changed("added");
    Ok(Json(published))
}

/// Makes the torrent of a URL, and remembers it.
pub(super) fn make_torrent(
    client: &Client,
    url: &OffUrl,
    trackers: &[String],
) -> Result<PublishedShown, Failure> {
    let published = client.publish(url, trackers)?;
    let infohash = published.metainfo.info.infohash;
    let mut url = url.canonical();
    url.hints.infohash = Some(infohash);
    let known = client.catalog().torrent(infohash)?;
    url.hints.trackers = known.map(|torrent| torrent.trackers).unwrap_or_default();
    Ok(PublishedShown {
        url: url.to_string(),
        magnet: Magnet::to_url(&url).to_string(),
        infohash: infohash.to_string(),
        blocks: published.order.len(),
    })
}

/// Refuses trackers that are none, or too many for a link.
pub(super) fn check_trackers(trackers: &[String]) -> Result<(), Failure> {
    use crate::limits::MAX_HINTS;
    use crate::swarm::guard::Origin;
    use crate::swarm::tracker::Tracker;
    if trackers.len() > MAX_HINTS {
        let message = format!("{} trackers are refused (limit {MAX_HINTS})", trackers.len());
        return Err(Failure::bad_request(message));
    }
    for tracker in trackers {
        Tracker::parse(tracker, Origin::User).map_err(|error| {
            Failure::bad_request(format!("cannot use the tracker {tracker:?}: {error}"))
        })?;
    }
    Ok(())
}

/// Milliseconds since 1970.
pub(super) fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(content_type: &str) -> OffUrl {
        let named = crate::off::url::Named {
            length: 5,
            file: crate::id::FileId::of_nothing(),
            descriptor: Some(BlockId::of(b"chain")),
            tuple: crate::off::TupleSize::default(),
            seal: Seal::Plain,
        };
        OffUrl::new(named, content_type, "n").unwrap()
    }

    #[test]
    fn a_map_has_a_cell_for_a_few_blocks() {
        let file = url("text/plain");
        assert_eq!(have_map(&file, &Survey::default()), Vec::<u8>::new());
        let order: Vec<BlockId> = (0..1_024_u32).map(|n| BlockId::of(&n.to_be_bytes())).collect();
        let few = Survey {
            order: order[..4].to_vec(),
            missing: vec![order[2]],
            blocks: 4,
            ..Survey::default()
        };
        assert_eq!(have_map(&file, &few), [255, 255, 0, 255]);
        let missing = order.iter().step_by(2).copied().collect();
        let many = Survey { order, missing, blocks: 1_024, ..Survey::default() };
        assert_eq!(have_map(&file, &many), [127; CELLS]);
    }

    #[test]
    fn blocks_that_are_not_known_yet_are_not_here() {
        let order = vec![BlockId::of(b"chain")];
        let survey = Survey { order, blocks: 4, ..Survey::default() };
        assert_eq!(have_map(&url("text/plain"), &survey), [255, 0, 0, 0]);
        let directory = url(crate::off::directory::CONTENT_TYPE);
        assert_eq!(have_map(&directory, &survey), [255]);
    }

    #[test]
    fn searches_names_types_and_ids() {
        let url =
            "http://localhost:23402/offsystem/v4/text/plain/5/9abc/7def/Caf%C3%A9%20Menu?t=3&k=q";
        for sought in ["café", "menu", "text/plain", "9abc"] {
            assert!(matches(url, sought), "{sought}");
        }
        for sought in ["localhost", "offsystem", "k=q", "xyz"] {
            assert!(!matches(url, sought), "{sought}");
        }
    }
}
