//! Transfers and events.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::stage::Stage;
use crate::http::api::kept::MAX_LISTENERS;

#[tokio::test]
async fn transfers_are_listed_found_by_name_stopped_and_forgotten() {
    let stage = Stage::new();
    let session = &stage.context.session;
    let put = session.begin_put("a", Some(10));
    put.tag("tag-of-the-page");
    put.read(3);
    let found = stage.get("/api/transfers/tag-of-the-page").await.json();
    assert_eq!((&found["id"], &found["bytes_done"]), (&json!(put.id()), &json!(3)));
    let listed = stage.get("/api/transfers").await.json();
    assert_eq!(listed["transfers"], json!([found]));
    let number = json!({"id": put.id()});
    assert_eq!(stage.post("/api/transfers/cancel", &number).await.json()["changed"], true);
    assert!(put.stop().is_cancelled());
    drop(put);
    assert_eq!(stage.post("/api/transfers/cancel", &number).await.json()["changed"], false);
    assert_eq!(stage.get("/api/transfers/1").await.json()["state"], "stopped");
    assert_eq!(stage.ask("POST", "/api/transfers/clear", "").await.json()["cleared"], 1);
    for id in ["1", "2", "tag-of-the-page", "%2e%2e"] {
        stage.get(&format!("/api/transfers/{id}")).await.failure(404, "not_found");
    }
    stage.post("/api/transfers/cancel", &number).await.failure(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_is_a_transfer_with_a_map() {
    let stage = Stage::new();
    let url = stage.put("a.txt", 300_000);
    let answer = stage.post("/api/fetch", &json!({"url": url.to_string()})).await;
    assert_eq!(answer.status, 202);
    let id = answer.json()["id"].clone();
    let found = stage.get(&format!("/api/transfers/{id}")).await.json();
    assert_eq!((&found["kind"], &found["name"]), (&json!("get"), &json!("a.txt")));
    assert_eq!(found["url"], url.canonical().to_string());
    // As long as it runs.
    if found["state"] == "running" {
        assert!(found["map"].as_array().unwrap().iter().all(|cell| cell == 255));
    }
}

/// The events of a stream: what, and the data.
struct Events(Body, String);

impl Events {
    async fn open(stage: &Stage) -> Self {
        let response = stage.begin(Request::get("/api/events").body(Body::empty()).unwrap()).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self(response.into_body(), String::new())
    }

    async fn next(&mut self) -> Option<(String, u64, Value)> {
        loop {
            if let Some((event, rest)) = self.1.split_once("\n\n") {
                let field = |name: &str| {
                    let mut lines = event.lines();
                    lines.find_map(|line| line.strip_prefix(name)).map(str::to_owned)
                };
                let told = field("event: ").map(|what| {
                    let data = serde_json::from_str(&field("data: ").unwrap()).unwrap();
                    (what, field("id: ").unwrap().parse().unwrap(), data)
                });
                self.1 = rest.to_owned();
                if told.is_some() {
                    return told;
                }
                continue;
            }
            let frame = self.0.frame().await?.unwrap().into_data().unwrap();
            self.1.push_str(std::str::from_utf8(&frame).unwrap());
        }
    }

    /// The next event of a kind, within ten seconds.
    async fn wait_for(&mut self, kind: &str) -> Value {
        let find = async {
            loop {
                let (what, _, data) = self.next().await.unwrap();
                if what == kind {
                    return data;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), find).await.unwrap()
    }
}

#[tokio::test]
async fn what_happens_is_told() {
    let stage = Stage::new();
    let put = stage.context.session.begin_put("a", None);
    let mut events = Events::open(&stage).await;
    stage.is_a("Status", &events.wait_for("status").await);
    assert_eq!(events.wait_for("transfer").await["state"], "running");
    put.failed("why");
    let transfer = events.wait_for("transfer").await;
    stage.is_a("Transfer", &transfer);
    assert_eq!((&transfer["state"], &transfer["error"]), (&json!("failed"), &json!("why")));
    stage.context.session.say_urls_changed("removed");
    assert_eq!(events.wait_for("urls").await, json!({"reason": "removed"}));
    stage.post("/api/services/restart", &json!({"name": "swarms"})).await;
    let services = events.wait_for("services").await;
    stage.is_a("Service", &services[0]);
    assert_eq!(services[0]["restarts"], 1);
}

#[tokio::test]
async fn a_busy_transfer_is_told_at_most_four_times_a_second() {
    let stage = Stage::new();
    let mut events = Events::open(&stage).await;
    let began = std::time::Instant::now();
    let put = stage.context.session.begin_put("a", None);
    let busy = tokio::spawn(async move {
        for read in 0..2_000 {
            put.read(read);
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
        put
    });
    let (mut told, mut last) = (0, 0);
    while !busy.is_finished() {
        let Ok(event) = tokio::time::timeout(Duration::from_millis(300), events.next()).await
        else {
            continue;
        };
        let (what, id, _) = event.unwrap();
        assert!(id > last, "ids increase");
        last = id;
        told += u128::from(what == "transfer");
    }
    let (put, beats) = (busy.await.unwrap(), began.elapsed().as_millis() / 250);
    assert!(
        told > 0 && told <= beats + 2,
        "{told} of 2,000 changes in {beats} quarters of a second"
    );
    put.read(9_999);
    while events.wait_for("transfer").await["bytes_done"] != 9_999 {}
}

#[tokio::test]
async fn listeners_are_limited_and_end_with_the_program() {
    let stage = Stage::new();
    let mut all = Vec::new();
    for _ in 0..MAX_LISTENERS {
        all.push(Events::open(&stage).await);
    }
    stage.get("/api/events").await.failure(503, "unavailable");
    // Whoever goes makes room, asked for or not.
    all.pop();
    stage.ask("HEAD", "/api/events", "").await;
    all.push(Events::open(&stage).await);
    stage.context.stop.cancel();
    for mut events in all {
        let end = async { while events.next().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(10), end).await.unwrap();
    }
}
