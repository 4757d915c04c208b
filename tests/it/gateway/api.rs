//! The JSON API behind the guard and the server, with `curl` and byte by byte. What it answers is
//! held against its description in the tests beside it.

use std::process::Output;
use std::time::Duration;

use offswarm::client::Settings;
use offswarm::http::Bounds;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::rig::{Answer, Gateway, noise};
use crate::server::DEADLINE;

/// What shows that a page of ours asks.
const OURS: &str = "Offswarm-Request: 1";

fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_something_needs_a_header_that_forms_cannot_send() {
    let gateway = Gateway::start().await;
    let url = gateway.put(&noise(300_000), "text/plain", "a");
    let body = serde_json::json!({"url": url.to_string()}).to_string();
    let pin =
        async |lines: &[&str]| gateway.ask("POST", "/api/urls/pin", lines, body.as_bytes()).await;
    let foreign = ["Origin: http://evil.example", OURS];
    for lines in [&[][..], &["Origin: null", OURS], &foreign, &["Sec-Fetch-Site: cross-site", OURS]]
    {
        let answer = pin(lines).await;
        assert_eq!((answer.status, &json(&answer)["error"]["code"]), (403, &"forbidden".into()));
    }
    assert!(!gateway.client().catalog().url(&url).unwrap().unwrap().pinned);
    let answer = pin(&[OURS]).await;
    assert_eq!((answer.status, json(&answer)), (200, serde_json::json!({"changed": true})));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert!(gateway.client().catalog().url(&url).unwrap().unwrap().pinned);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_others_can_connect_every_answer_needs_the_token() {
    let gateway = Gateway::with(&Bounds::default(), &Settings::default(), Some("sesame")).await;
    for path in ["/api/status", "/api/events", "/metrics", "/healthz"] {
        assert_eq!(gateway.get(path, &[]).await.status, 401, "{path}");
        assert_eq!(gateway.get(path, &["Authorization: Bearer wrong"]).await.status, 401);
    }
    let bearer = ["Authorization: Bearer sesame"];
    assert_eq!(gateway.get("/api/status", &bearer).await.status, 200);
    let cleared = gateway.ask("POST", "/api/transfers/clear", &bearer, b"").await;
    assert_eq!((cleared.status, json(&cleared)), (200, serde_json::json!({"cleared": 0})));
}

#[tokio::test(flavor = "multi_thread")]
async fn long_requests_are_refused() {
    let gateway = Gateway::start().await;
    let long = vec![b' '; 1 << 20];
    let answer = gateway.ask("POST", "/api/urls/pin", &[OURS], &long).await;
    assert_eq!((answer.status, &json(&answer)["error"]["code"]), (413, &"too_large".into()));
    let path = format!("/api/url?url={}", "x".repeat(1 << 20));
    assert!([414, 431].contains(&gateway.get(&path, &[]).await.status));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_put_with_curl_and_served() {
    let gateway = Gateway::start().await;
    let long = noise(3 << 20);
    let (page, film) = (gateway.folder.path().join("page"), gateway.folder.path().join("film"));
    std::fs::write(&page, "<h1>here</h1>").unwrap();
    std::fs::write(&film, &long).unwrap();
    let page = format!("file=@{};filename=index.html", page.display());
    let film = format!("file=@{};filename=films/long.bin", film.display());
    let args = ["--form", &page, "--form", &film, "--header", OURS];
    let put: Value =
        serde_json::from_str(&said(&gateway.curl(&args, "/api/put?name=site").await)).unwrap();
    assert_eq!((&put["files"], &put["name"]), (&2.into(), &"site.ofd".into()));
    let listed = json(&gateway.get("/api/urls?order=latest&limit=1", &[]).await);
    assert_eq!(listed["urls"][0]["url"], put["url"]);
    let path = put["path"].as_str().unwrap();
    let (before, parameters) = path.split_once('?').unwrap();
    let got = gateway.get(&format!("{before}/films/long.bin?{parameters}"), &[]).await;
    assert!(got.whole() == (200, &*long));
    let transfers = json(&gateway.get("/api/transfers", &[]).await);
    assert_eq!(transfers["transfers"][0]["state"], "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_whose_sender_goes_away_leaves_nothing() {
    let gateway = Gateway::start().await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!(
        "POST /api/put?name=x HTTP/1.1\r\nHost: {}\r\n{OURS}\r\nContent-Length: 9000000\r\n\
         Content-Type: multipart/form-data; boundary=edge\r\n\r\n--edge\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n",
        gateway.address
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&noise(2 << 20)).await.unwrap();
    drop(stream);
    let ended = async {
        while gateway.session.transfers().first().is_none_or(|one| one.ended.is_none()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, ended).await.unwrap();
    assert_eq!(gateway.client().store().census().unwrap().blocks, 0);
    assert_eq!(gateway.client().catalog().urls().unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_until_the_program_stops() {
    let gateway = Gateway::start().await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!("GET /api/events HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address);
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    let mut part = [0; 4_096];
    while !String::from_utf8_lossy(&all).contains("event: status") {
        let read = tokio::time::timeout(DEADLINE, stream.read(&mut part)).await.unwrap().unwrap();
        assert!(read > 0);
        all.extend_from_slice(&part[..read]);
    }
    gateway.stop.cancel();
    tokio::time::timeout(DEADLINE, stream.read_to_end(&mut all)).await.unwrap().unwrap();
    // The end of a chunked body: it was not cut off.
    assert!(all.ends_with(b"0\r\n\r\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_by_their_kind() {
    let gateway = Gateway::start().await;
    let path = gateway.put(&noise(5), "text/plain", "a").path();
    for (path, status) in [(&*path, 200), ("/api/nothing", 404), ("/x/y", 404), ("/healthz", 200)] {
        assert_eq!(gateway.get(path, &[]).await.status, status, "{path}");
    }
    let figures = said(&gateway.curl(&[], "/metrics").await);
    for (route, status) in [("gateway", 2), ("api", 4), ("other", 4), ("monitoring", 2)] {
        let line =
            format!("offswarm_http_requests_total{{route=\"{route}\",status=\"{status}xx\"}} 1\n");
        assert!(figures.contains(&line), "{line} in {figures}");
    }
}
