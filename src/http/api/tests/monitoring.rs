//! Services, settings and figures.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use serde_json::json;

use super::stage::Stage;
use crate::http::{Context, ServiceStatus};

#[tokio::test]
async fn readiness_names_what_is_lacking() {
    let stage = Stage::new();
    assert_eq!(stage.get("/healthz").await.text, "ok\n");
    assert_eq!(stage.get("/readyz").await.status, 200);
    stage.board.0.lock().unwrap().push(ServiceStatus {
        name: "dht".into(),
        state: "backing_off",
        health: "failed",
        reason: None,
        restarts: 3,
        last_error: Some("no network".into()),
        since: SystemTime::now(),
    });
    let answer = stage.get("/readyz").await;
    assert_eq!((answer.status.as_u16(), &*answer.text), (503, "dht: backing_off: no network\n"));
    let status = stage.get("/api/status").await.json();
    assert_eq!(status["services"][1]["last_error"], "no network");
    assert_eq!(stage.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn services_are_restarted_and_fail_only_for_tests() {
    let stage = Stage::new();
    let (named, other) = (json!({"name": "swarms"}), json!({"name": "x"}));
    assert_eq!(stage.post("/api/services/restart", &named).await.json()["changed"], true);
    stage.post("/api/services/restart", &other).await.failure(404, "not_found");
    stage.post("/api/services/panic", &named).await.failure(404, "not_found");
    assert_eq!(stage.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn the_log_is_changed_while_the_program_runs() {
    let stage = Stage::new();
    let told = stage.ask("PUT", "/api/log", r#"{"filter":"offswarm=debug"}"#).await.json();
    assert_eq!(told, json!({"filter": "offswarm=debug"}));
    assert_eq!(stage.get("/api/log").await.json(), told);
    let message = stage.ask("PUT", "/api/log", r#"{"filter":"no such"}"#).await;
    assert!(message.failure(400, "bad_request").contains("a space"));
    assert_eq!(stage.get("/api/log").await.json(), told);
}

/// A line of the text format: name, labels, value (ours are whole numbers).
type Line = (String, BTreeMap<String, String>, u64);

fn parse_line(line: &str) -> Line {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = match series.split_once('{') {
        None => (series, ""),
        Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
    };
    let pairs = labels.split(',').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap();
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap();
        (name.to_owned(), value.to_owned())
    });
    (name.to_owned(), pairs.collect(), value.parse().unwrap())
}

/// Reads figures as Prometheus does: HELP and TYPE once before the lines they are about.
fn parse(text: &str) -> (BTreeMap<String, String>, Vec<Line>) {
    let (mut types, mut helped) = (BTreeMap::new(), BTreeSet::new());
    let (mut lines, mut seen) = (Vec::new(), BTreeSet::new());
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, about) = help.split_once(' ').unwrap();
            assert!(!about.is_empty() && helped.insert(name.to_owned()), "{line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(["counter", "gauge"].contains(&kind), "{line}");
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{line}");
        } else {
            let (name, labels, value) = parse_line(line);
            assert!(types.contains_key(&name) && helped.contains(&name), "{line}");
            assert!(seen.insert((name.clone(), labels.clone())), "{line} is there twice");
            lines.push((name, labels, value));
        }
    }
    (types, lines)
}

#[tokio::test]
async fn figures_are_as_prometheus_reads_them_and_name_nothing_secret() {
    let stage = Stage::new();
    let url = stage.put("secret name.txt", 300_000);
    stage.client().publish(&url, &[]).unwrap();
    let ticket = stage.context.session.begin_put("other", None);
    stage.context.metrics.count("api", 204);
    stage.context.metrics.count("api", 200);
    stage.context.metrics.count("gateway", 404);
    let text = stage.get("/metrics").await.text;
    let (types, lines) = parse(&text);
    let value = |name: &str, label: &str| {
        let is_it = |(found, labels, _): &&Line| {
            found == name && (label.is_empty() || labels.values().any(|value| value == label))
        };
        lines.iter().find(is_it).unwrap_or_else(|| panic!("{name} {label} in {text}")).2
    };
    assert!(types.keys().all(|name| name.starts_with("offswarm_")));
    for (name, kind) in &types {
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name} {kind}");
    }
    let census = stage.client().store().census().unwrap();
    assert_eq!(value("offswarm_store_blocks", ""), census.blocks);
    assert_eq!(value("offswarm_store_bytes", ""), census.bytes);
    assert_eq!((value("offswarm_urls", ""), value("offswarm_torrents", "")), (1, 1));
    assert_eq!(value("offswarm_transfers_running", "put"), 1);
    assert_eq!(value("offswarm_transfers_running", "get"), 0);
    assert_eq!(value("offswarm_peers", "native"), 0);
    assert_eq!(value("offswarm_sent_bytes_total", ""), 0);
    assert_eq!(value("offswarm_service_up", "swarms"), 1);
    assert_eq!(value("offswarm_service_restarts_total", "swarms"), 0);
    assert_eq!(value("offswarm_http_requests_total", "2xx"), 2);
    assert_eq!(value("offswarm_http_requests_total", "4xx"), 1);
    assert!(value("offswarm_process_start_time_seconds", "") > 1_600_000_000);
    assert!(value("offswarm_process_resident_memory_bytes", "") > 1_000_000);
    assert_eq!(value("offswarm_build_info", env!("CARGO_PKG_VERSION")), 1);
    for secret in ["secret", "offsystem", "magnet", &url.file().to_string()] {
        assert!(!text.contains(secret), "{secret}");
    }
    drop(ticket);
}

#[tokio::test]
async fn where_faults_may_be_injected_a_service_is_made_to_fail() {
    let stage = Stage::new();
    let mut context: Context = stage.context.clone();
    context.access.may_inject_faults = true;
    let stage = stage.with(context);
    let named = json!({"name": "swarms"});
    assert_eq!(stage.post("/api/services/panic", &named).await.json()["changed"], true);
    assert_eq!(stage.get("/readyz").await.status, 503);
}
