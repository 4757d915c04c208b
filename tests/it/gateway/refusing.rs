//! Bad requests, slow ones, and those that others make a browser send.

use offswarm::client::Settings;
use offswarm::http::Bounds;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::rig::{Answer, Gateway, impatient, noise};
use crate::server::DEADLINE;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_off_url_is_refused_with_a_reason() {
    let gateway = Gateway::start().await;
    let path = gateway.put(b"hello", "text/plain", "a").path();
    let id = path.split('/').nth(6).unwrap();
    for (from, to, why) in [
        (id, "0OIl", "bad file id"),
        ("/5/", "/-5/", "not a length"),
        ("/5/", "/99999999999999999999999/", "not a length"),
        ("/a?", "/%zz?", "percent-encoding"),
        ("/a?", "/%ff?", "percent-encoding"),
        ("?k=", "?k=1", "parameter k"),
        ("text/plain", "text/pl!ain", "not a content type"),
        ("/v4/", "/v9/", "version v9"),
        ("/v4/text/plain/5/", "/v4/", "not a length"),
    ] {
        let bad = path.replacen(from, to, 1);
        assert_ne!(bad, path);
        let answer = gateway.get(&bad, &[]).await;
        assert_eq!(answer.whole().0, 400, "{bad}");
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
        assert!(answer.text().contains(why), "{bad}: {}", answer.text());
    }
    let long = format!("/offsystem/v4/{}", "a".repeat(20_000));
    assert_eq!(gateway.get(&long, &[]).await.status, 400);
    assert_eq!(gateway.get("/nowhere", &[]).await.status, 404);
    for method in ["POST", "DELETE", "PUT", "PATCH"] {
        let answer = gateway.ask(method, &path, &[], b"").await;
        assert_eq!(answer.whole().0, 405, "{method}");
        assert!(answer.header("allow").is_some_and(|allow| allow.contains("GET")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_and_origins_of_others_are_refused_on_every_route() {
    let gateway = Gateway::start().await;
    let path = gateway.put(b"hello", "text/plain", "a").path();
    for host in ["evil.example", "localhost.evil", "127.0.0.1.evil.example:23402", "", "[::2]"] {
        for path in [path.as_str(), "/", "/api/status", "/v4/x", "/nowhere"] {
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            assert_eq!(gateway.say(request.as_bytes()).await.status, 421, "{host} {path}");
        }
    }
    let none = gateway.say(b"GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(none.status, 421);
    for lines in [
        ["Origin: null"],
        ["Origin: http://evil.example"],
        ["Origin: http://127.0.0.1:1"],
        ["Sec-Fetch-Site: cross-site"],
    ] {
        let answer = gateway.ask("PUT", "/v4/x", &lines, b"hello").await;
        assert_eq!(answer.whole().0, 403, "{lines:?}");
    }
    assert_eq!(gateway.client().known_urls().unwrap().len(), 1, "nothing was put");
    let refused = gateway.ask("POST", "/api/urls/delete", &[], b"").await;
    assert_eq!(refused.header("content-type"), Some("application/json"));
    assert!(refused.text().starts_with("{\"error\":{\"code\":\"forbidden\""), "{}", refused.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_others_can_connect_the_token_is_needed() {
    let bounds = Bounds::default();
    let gateway = Gateway::with(&bounds, &Settings::default(), Some("sesame")).await;
    let path = gateway.put(b"hello", "text/plain", "a").path();
    let refused = gateway.get(&path, &[]).await;
    assert_eq!(refused.whole().0, 401);
    let challenge = "Basic realm=\"offswarm\", charset=\"UTF-8\"";
    assert_eq!(refused.header("www-authenticate"), Some(challenge));
    for args in [["--user", "me:sesame"], ["--header", "Authorization: Bearer sesame"]] {
        let got = gateway.curl(&args, &path).await;
        assert_eq!(got.stdout, b"hello", "{args:?}");
    }
    let wrong = gateway.get(&path, &["Authorization: Bearer open"]).await;
    assert_eq!(wrong.status, 401);
}

/// HTML that somebody stored: no origin of ours, no script, a download.
#[tokio::test(flavor = "multi_thread")]
async fn stored_active_content_is_inert() {
    let gateway = Gateway::start().await;
    let script = b"<script>fetch('/api/urls')</script>";
    for content_type in ["text/html", "image/svg+xml", "application/pdf", "text/javascript"] {
        let path = gateway.put(script, content_type, "evil").path();
        for lines in [&[][..], &["Range: bytes=0-3"], &["Range: bytes=0-1,4-5"]] {
            let answer = gateway.get(&path, lines).await;
            let policy = answer.header("content-security-policy").unwrap();
            assert!(policy.starts_with("sandbox; default-src 'none';"), "{policy}");
            assert!(!policy.contains("allow-scripts") && !policy.contains("script-src"));
            assert_eq!(answer.header("content-disposition"), Some("attachment; filename=\"evil\""));
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
            assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"));
            assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        }
    }
    // A file of a stored site is shown, and still sandboxed.
    let path = gateway.put_tree(&[("index.html", "<script>alert(1)</script>")]).path();
    let answer = gateway.get(&path, &[]).await;
    assert!(answer.header("content-security-policy").unwrap().starts_with("sandbox;"));
    assert!(answer.header("content-disposition").unwrap().starts_with("inline"));
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_are_inert() {
    let gateway = Gateway::start().await;
    let name = "a\r\nSet-Cookie: x=1\"; <img src=x onerror=alert(1)>\u{202e}.txt";
    let path = gateway.put(b"hello", "text/plain", name).path();
    let answer = gateway.get(&path, &[]).await;
    assert_eq!(answer.whole(), (200, &b"hello"[..]));
    assert_eq!(answer.header("set-cookie"), None);
    let disposition = answer.header("content-disposition").unwrap();
    assert!(!disposition.contains("%0D") && !disposition.contains('<'), "{disposition}");
    let listing = gateway.get(&gateway.put_tree(&[(name, "text")]).path(), &[]).await;
    assert!(!listing.text().contains("<img") && !listing.text().contains('\u{202e}'));
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_too_large_or_nonsense_are_refused() {
    let gateway = Gateway::start().await;
    let megabyte = format!("X: {}", "x".repeat(1 << 20));
    assert_eq!(gateway.get("/", &[&megabyte]).await.status, 431);
    let lines: Vec<_> = (0..1000).map(|at| format!("X-{at}: x")).collect();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    assert_eq!(gateway.get("/", &lines).await.status, 431);
    let long = format!("/{}", "a".repeat(1 << 20));
    let status = gateway.get(&long, &[]).await.status;
    assert!(status == 414 || status == 431, "{status}");
    assert_eq!(gateway.say(b"nonsense\r\n\r\n").await.status, 400);
    for lengths in
        ["Content-Length: 5\r\nContent-Length: 6", "Content-Length: -1", "Content-Length: x"]
    {
        let request = format!("PUT /v4/a HTTP/1.1\r\nHost: localhost\r\n{lengths}\r\n\r\nhello!");
        assert_eq!(gateway.say(request.as_bytes()).await.status, 400, "{lengths}");
    }
    assert!(gateway.client().known_urls().unwrap().is_empty());
}

/// A length and chunks: the chunks count, and what comes after them is no request.
#[tokio::test(flavor = "multi_thread")]
async fn two_ways_to_end_a_body_end_the_connection() {
    let gateway = Gateway::start().await;
    let request = "PUT /v4/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\
                   Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n\
                   GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let answer = gateway.say(request.as_bytes()).await;
    assert_eq!((answer.whole().0, answer.header("connection")), (201, Some("close")));
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_heads_and_bodies_are_cut() {
    let gateway = Gateway::with(&impatient(), &Settings::default(), None).await;
    let mut slow = TcpStream::connect(gateway.address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: local").await.unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(DEADLINE, slow.read_to_end(&mut rest)).await;
    assert!(ended.is_ok() && !rest.starts_with(b"HTTP/1.1 200"));
    let slow =
        gateway.say(b"PUT /v4/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhe").await;
    assert_eq!(slow.status, 408);
    assert!(slow.text().contains("nothing has come"), "{}", slow.text());
    assert!(gateway.client().known_urls().unwrap().is_empty());
}

/// Whoever asks and does not read holds a connection no longer than the limit.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_takes_nothing_is_cut() {
    let bounds = Bounds { connections: 1, ..impatient() };
    let gateway = Gateway::with(&bounds, &Settings::default(), None).await;
    let bytes = noise(16 << 20);
    let path = gateway.put(&bytes, "video/mp4", "film").path();
    let mut lazy = TcpStream::connect(gateway.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    lazy.write_all(request.as_bytes()).await.unwrap();
    lazy.read_exact(&mut [0; 100]).await.unwrap();
    // There is room for one: this one is answered once the other is cut.
    let path = gateway.put(b"hello", "text/plain", "a").path();
    assert_eq!(gateway.get(&path, &[]).await.whole(), (200, &b"hello"[..]));
    let mut rest = Vec::new();
    let _ = lazy.read_to_end(&mut rest).await;
    assert!(rest.len() < bytes.len());
}

/// A put whose head was read and whose body is waited for.
async fn begun(gateway: &Gateway) -> TcpStream {
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head = "PUT /v4/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\
                Expect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_requests_end() {
    let mut gateway = Gateway::start().await;
    let mut idle = TcpStream::connect(gateway.address).await.unwrap();
    let mut under_way = begun(&gateway).await;
    gateway.stop.cancel();
    assert_eq!(idle.read(&mut [0]).await.unwrap(), 0, "an idle connection ends at once");
    under_way.write_all(b"hello").await.unwrap();
    assert_eq!(Answer::read(&mut under_way).await.status, 201);
    (&mut gateway.task).await.unwrap().unwrap();
    assert!(TcpStream::connect(gateway.address).await.is_err());
    assert_eq!(gateway.client().known_urls().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_cuts_what_does_not_end() {
    let mut gateway = Gateway::with(&impatient(), &Settings::default(), None).await;
    let mut stuck = begun(&gateway).await;
    gateway.stop.cancel();
    (&mut gateway.task).await.unwrap().unwrap();
    let mut rest = Vec::new();
    let _ = stuck.read_to_end(&mut rest).await;
    assert!(!rest.starts_with(b"HTTP/1.1 2"));
    assert!(gateway.client().known_urls().unwrap().is_empty());
}
