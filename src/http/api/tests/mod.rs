//! The API without a server around it: what is asked and answered, held against `openapi.json`.

mod following;
mod forms;
mod monitoring;
mod schema;
mod stage;

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::off::url::escape;
use stage::Stage;

#[tokio::test]
async fn what_is_documented_is_what_is_answered() {
    let stage = Stage::new();
    let documented = stage.documented();
    let mut answered = Vec::new();
    for (path, _) in super::routes() {
        // Nobody has a use for TRACE, so the answer lists what there is.
        let answer = stage.ask("TRACE", &path.replace("{id}", "1"), "").await;
        answer.failure(405, "method");
        let allowed = answer.headers["allow"].to_str().unwrap().split(',').map(str::to_owned);
        let mut allowed: Vec<String> = allowed.filter(|method| method != "HEAD").collect();
        allowed.sort_unstable();
        answered.push((path.to_owned(), allowed));
    }
    answered.sort_unstable();
    let mut documented = documented;
    documented.sort_unstable();
    assert_eq!(answered, documented);
}

#[tokio::test]
async fn what_is_not_there_says_so() {
    let stage = Stage::new();
    for path in ["/api", "/api/", "/api/nothing", "/api/urls/x/y", "/api/status/"] {
        for method in ["GET", "POST", "PUT", "DELETE"] {
            let message = stage.ask(method, path, "").await.failure(404, "not_found");
            assert!(message.contains(path), "{message}");
        }
    }
    let answer = stage.ask("DELETE", "/api/urls", "").await;
    assert!(answer.failure(405, "method").contains("DELETE"));
    assert_eq!(answer.headers["allow"], "GET,HEAD");
}

#[tokio::test]
async fn requests_that_cannot_be_read_are_refused_with_the_reason() {
    let stage = Stage::new();
    let bodies = [
        ("/api/urls/pin", "", "not an object"),
        ("/api/urls/pin", r#"["/offsystem/v4/x"]"#, "not an object"),
        ("/api/urls/pin", " {", "EOF"),
        ("/api/urls/pin", r#"{"url":1}"#, "integer `1`"),
        ("/api/urls/pin", r#"{"url":"x","colour":"red"}"#, "unknown field `colour`"),
        ("/api/urls/pin", r#"{"url":"http://x/"}"#, "OFF URL"),
        ("/api/urls/delete", r#"{"url":"magnet:?xt=urn:btih:1"}"#, "magnet"),
        ("/api/fetch", r#"{"url":"x","peers":["nowhere"]}"#, "socket address"),
        ("/api/fetch", r#"{"url":"magnet:?dn=x"}"#, "x.off"),
        ("/api/transfers/cancel", r#"{"id":-1}"#, "invalid value"),
        ("/api/transfers/cancel", r#"{"id":"1"}"#, "string"),
        ("/api/services/restart", "{}", "missing field `name`"),
    ];
    for (path, body, why) in bodies {
        let message = stage.ask("POST", path, body).await.failure(400, "bad_request");
        assert!(message.contains(why), "{path} {body}: {message}");
    }
    let queries = [
        ("/api/urls?limit=0", "1 to 1000"),
        ("/api/urls?limit=1001", "1 to 1000"),
        ("/api/urls?limit=many", "invalid digit"),
        ("/api/urls?colour=red", "unknown field `colour`"),
        ("/api/urls?limit=1&limit=2", "duplicate field `limit`"),
        ("/api/urls?order=latest&after=x", "after"),
        ("/api/urls?order=size", "unknown variant `size`"),
        ("/api/url", "missing field `url`"),
        ("/api/url?url=x", "OFF URL"),
        ("/api/status?x=1", "unknown field `x`"),
        ("/api/qr.svg?text=", "0 bytes"),
    ];
    for (path, why) in queries {
        let message = stage.get(path).await.failure(400, "bad_request");
        assert!(message.contains(why), "{path}: {message}");
    }
    let long = format!("/api/qr.svg?text={}", "x".repeat(2_901));
    stage.get(&long).await.failure(400, "bad_request");
    let trackers = vec!["http://t.example/announce"; 17];
    let url = stage.put("a", 5).to_string();
    let wish = json!({"url": url, "trackers": trackers});
    assert!(stage.post("/api/fetch", &wish).await.failure(400, "bad_request").contains("limit 16"));
    let wish = json!({"url": url, "trackers": ["ftp://t"]});
    stage.post("/api/publish", &wish).await.failure(400, "bad_request");
}

#[tokio::test]
async fn a_long_request_is_refused() {
    let stage = Stage::new();
    let body = json!({"url": "x".repeat(64 << 10)}).to_string();
    let request = axum::http::Request::post("/api/urls/pin").body(body.into()).unwrap();
    let response = stage.begin(request).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn urls_are_listed_a_page_at_a_time() {
    let stage = Stage::new();
    let mut urls: Vec<String> =
        ["one", "two", "thrée"].iter().map(|name| stage.put(name, 5).to_string()).collect();
    urls.sort_unstable();
    for order in ["url", "latest"] {
        let (mut after, mut seen) = (String::new(), Vec::new());
        loop {
            let answer = stage.get(&format!("/api/urls?limit=2&order={order}{after}")).await.json();
            assert_eq!(answer["total"], 3);
            let page = answer["urls"].as_array().unwrap().clone();
            assert!(page.len() <= 2);
            seen.extend(page.iter().map(|url| url["url"].as_str().unwrap().to_owned()));
            let Some(next) = answer["next"].as_str() else { break };
            after = format!("&after={}", escape(next));
        }
        seen.sort_unstable();
        assert_eq!(seen, urls, "{order}");
    }
    let found = stage.get(&format!("/api/urls?q={}", escape("HRÉE"))).await.json();
    assert_eq!((&found["total"], &found["urls"][0]["name"]), (&json!(1), &json!("thrée")));
    assert_eq!(found["urls"][0]["origin"], "put");
    assert_eq!(found["urls"][0]["infohash"], Value::Null);
    assert!(found["urls"][0]["added_ms"].as_u64() > Some(1_600_000_000_000));
}

#[tokio::test]
async fn a_url_is_looked_at_pinned_published_and_deleted() {
    let stage = Stage::new();
    let url = stage.put("a.txt", 300_000);
    let meant = json!({"url": url.to_string()});
    let look = format!("/api/url?url={}", escape(&url.to_string()));
    let shown = stage.get(&look).await.json();
    assert_eq!(shown["blocks"], shown["blocks_here"]);
    assert_eq!((&shown["complete"], &shown["sealed"]), (&json!(true), &json!(true)));
    let map = shown["map"].as_array().unwrap();
    assert!(map.len() as u64 == shown["blocks"] && map.iter().all(|cell| cell == 255));

    let changed = async |path| stage.post(path, &meant).await.json()["changed"] == true;
    assert!(changed("/api/urls/pin").await);
    assert!(!changed("/api/urls/pin").await);
    assert_eq!(stage.get("/api/store").await.json()["pinned_blocks"], shown["blocks"]);
    assert_eq!(stage.get(&look).await.json()["pinned"], true);
    assert!(changed("/api/urls/unpin").await);

    let wish = json!({"url": url.to_string(), "trackers": ["http://t.example/announce"]});
    let published = stage.post("/api/publish", &wish).await.json();
    assert_eq!(published["blocks"], shown["blocks"]);
    assert!(published["url"].as_str().unwrap().contains("btih="), "{published}");
    let listed = &stage.get("/api/urls").await.json()["urls"][0];
    assert_eq!(listed["infohash"], published["infohash"]);
    assert_eq!(listed["magnet"], published["magnet"]);
    // The magnet link means the same URL.
    let freed = stage.post("/api/urls/delete", &json!({"url": published["magnet"]})).await.json();
    assert_eq!(freed["freed_blocks"], shown["blocks"]);
    stage.post("/api/urls/delete", &meant).await.failure(404, "not_found");
    stage.post("/api/urls/pin", &meant).await.failure(404, "not_found");
    let gone = stage.get(&look).await.json();
    assert_eq!((&gone["blocks_here"], &gone["complete"]), (&json!(0), &json!(false)));
    let incomplete = stage.post("/api/publish", &meant).await.failure(409, "conflict");
    assert!(incomplete.contains("not here"), "{incomplete}");
}

#[tokio::test]
async fn reading_changes_nothing() {
    let stage = Stage::new();
    let url = stage.put("a.txt", 300_000);
    let transfer = stage.context.session.begin_put("b", Some(5));
    let look = || {
        let client = stage.client();
        let (census, sharing) =
            (client.store().census().unwrap(), client.store().sharing().unwrap());
        let torrents = client.catalog().torrents().unwrap();
        (census, sharing, client.catalog().urls().unwrap(), torrents)
    };
    let before = look();
    for (path, methods) in stage.documented() {
        let with = match path.as_str() {
            "/api/url" => format!("?url={}", escape(&url.to_string())),
            "/api/qr.svg" => "?text=x".to_owned(),
            _ => String::new(),
        };
        let path = path.replace("{id}", &transfer.id().to_string()) + &with;
        if !methods.contains(&"GET".to_owned()) || path == "/api/events" {
            continue;
        }
        let answer = stage.get(&path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        let head = stage.ask("HEAD", &path, "").await;
        assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""), "{path}");
    }
    assert_eq!(look(), before);
    let running = stage.get(&format!("/api/transfers/{}", transfer.id())).await.json();
    assert_eq!(running["state"], "running");
}

#[tokio::test]
async fn the_store_is_mapped() {
    let stage = Stage::new();
    stage.put("a", 1 << 20);
    stage.put("b", 5);
    let store = stage.get("/api/store").await.json();
    let blocks = store["blocks"].as_u64().unwrap();
    let (map, urls) = (store["map"].as_array().unwrap(), &store["urls"]);
    assert_eq!((map.len() as u64, urls), (blocks, &json!(2)));
    assert!(map.iter().all(|cell| cell["used"] == 1.0 && cell["free"] == 0.0));
    let shared = map.iter().filter(|cell| cell["shared"] == 1.0).count() as u64;
    assert_eq!(store["shared_blocks"], shared);
    assert!(store["stored_per_byte"].as_f64().unwrap() > 1.0);
}
