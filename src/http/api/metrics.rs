//! Figures for Prometheus, in its text format.
//!
//! What there is already is looked at when somebody asks; only requests are counted here. No label
//! names an OFF URL, a key or a torrent, so that figures can be shown to others.

use std::time::{Duration, SystemTime};

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Metric, Registry};

use crate::http::Context;

use super::answers::{Failure, blocking};
use super::kept::Kept;
use super::meter::{is_running, kind_name};
use super::status;

/// How long a count of the blocks is good enough.
const CENSUS_EVERY: Duration = Duration::from_secs(2);

/// Bytes of a page of memory, on every platform we run on.
const PAGE_LEN: u64 = 4_096;

type Labels = Vec<(&'static str, String)>;

/// What is counted of requests.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: Family<Labels, Counter>,
}

impl Metrics {
    /// Counts a request: the kind of route that answered it, and the status.
    pub fn count(&self, route: &'static str, status: u16) {
        let class = format!("{}xx", status / 100);
        self.requests.get_or_create(&vec![("route", route.to_owned()), ("status", class)]).inc();
    }
}

/// Counts what is answered.
pub(in crate::http) async fn count(
    State(context): State<Context>,
    request: Request,
    next: Next,
) -> Response {
    let route = route_of(request.uri().path());
    let response = next.run(request).await;
    context.metrics.count(route, response.status().as_u16());
    response
}

/// The kind of a route: as many as there are words here, whatever is asked for.
fn route_of(path: &str) -> &'static str {
    let first = path.split('/').nth(1).unwrap_or_default();
    match first {
        "" | "page" | "favicon.ico" => "page",
        "offsystem" | "v4" => "gateway",
        "api" => "api",
        "metrics" | "healthz" | "readyz" => "monitoring",
        _ => "other",
    }
}

pub(super) async fn metrics(
    State(context): State<Context>,
    Extension(kept): Extension<Kept>,
) -> Result<impl IntoResponse, Failure> {
    let mut text = String::new();
    let registry = Scrape::of(&context, &kept).await?;
    prometheus_text::encode(&mut text, &registry).map_err(|error| Failure::failed(&error))?;
    Ok(([(CONTENT_TYPE, prometheus_text::CONTENT_TYPE)], text))
}

/// The figures of a moment.
struct Scrape(Registry);

impl Scrape {
    async fn of(context: &Context, kept: &Kept) -> Result<Registry, Failure> {
        let mut scrape = Self(Registry::with_prefix("offswarm"));
        let catalog = context.session.client().catalog().clone();
        let store = context.session.client().store().clone();
        let census = kept.census.get(CENSUS_EVERY, move || store.census()).await?;
        let names =
            blocking(move || Ok::<_, Failure>((catalog.url_count()?, catalog.torrent_count()?)));
        let (urls, torrents) = names.await?;
        scrape.gauge("store_blocks", "Blocks held", census.blocks);
        scrape.gauge("store_bytes", "Bytes of blocks held", census.bytes);
        scrape.gauge("store_damaged_blocks", "Blocks found damaged", census.damaged);
        if let Some(limit) = context.session.client().limit() {
            scrape.gauge("store_limit_bytes", "Bytes of blocks that may be held", limit);
        }
        scrape.gauge("urls", "OFF URLs in the catalog", urls);
        scrape.gauge("torrents", "Torrents in the catalog", torrents);
        scrape.network(context);
        scrape.transfers(context);
        scrape.services(context);
        scrape.program(context);
        let requests = context.metrics.requests.clone();
        scrape.add("http_requests", "HTTP requests by route and class of status", requests);
        Ok(scrape.0)
    }

    fn network(&mut self, context: &Context) {
        let (totals, peers) = (context.meter.totals(), status::peers(context));
        self.counter("sent_bytes", "Bytes sent to peers", totals.sent);
        self.counter("received_bytes", "Bytes received from peers", totals.received);
        let nodes = context.session.swarms();
        let nodes = nodes.and_then(|swarms| swarms.dht().map(|dht| dht.known_nodes()));
        self.gauge("dht_nodes", "Nodes of the DHT that are known", nodes.unwrap_or(0) as u64);
        let connected = [("bittorrent", peers.bittorrent), ("native", peers.native)];
        let connected = connected.map(|(kind, count)| (labels([("kind", kind)]), count as u64));
        self.gauges("peers", "Peers connected", connected);
    }

    fn transfers(&mut self, context: &Context) {
        let transfers = context.session.transfers();
        let running = ["put", "get"].map(|kind| {
            let of_kind = |one: &&_| is_running(one) && kind_name(one.kind) == kind;
            (labels([("kind", kind)]), transfers.iter().filter(of_kind).count() as u64)
        });
        self.gauges("transfers_running", "Transfers under way", running);
        let ended = Family::<Labels, Counter>::default();
        for (kind, state, count) in context.meter.ended() {
            ended.get_or_create(&labels([("kind", kind), ("state", state)])).inc_by(count);
        }
        self.add("transfers_ended", "Transfers that have ended", ended);
    }

    fn services(&mut self, context: &Context) {
        let services = context.board.statuses();
        let named = |name: &str| labels([("service", name)]);
        let up = services.iter().map(|one| (named(&one.name), u64::from(one.state == "running")));
        self.gauges("service_up", "Whether a service runs", up);
        let restarts = Family::<Labels, Counter>::default();
        for service in &services {
            restarts.get_or_create(&named(&service.name)).inc_by(service.restarts);
        }
        self.add("service_restarts", "Times a service was started again", restarts);
    }

    fn program(&mut self, context: &Context) {
        let began = context.started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let help = "When the program began, in seconds since 1970";
        self.gauge("process_start_time_seconds", help, began.as_secs());
        if let Some(bytes) = resident_bytes() {
            self.gauge("process_resident_memory_bytes", "Bytes of memory in use", bytes);
        }
        let version = labels([("version", env!("CARGO_PKG_VERSION"))]);
        self.gauges("build_info", "What was built", [(version, 1)]);
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.add(name, help, ConstGauge::new(whole(value)));
    }

    fn gauges(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (Labels, u64)>) {
        let family = Family::<Labels, Gauge>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).set(whole(value));
        }
        self.add(name, help, family);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.add(name, help, ConstCounter::new(value));
    }

    fn add(&mut self, name: &str, help: &str, metric: impl Metric) {
        self.0.register(name, help, metric);
    }
}

fn labels<const N: usize>(pairs: [(&'static str, &str); N]) -> Labels {
    pairs.map(|(name, value)| (name, value.to_owned())).to_vec()
}

fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Bytes of memory that are in use, where the system tells.
fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * PAGE_LEN)
}
