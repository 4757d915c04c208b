//! Web seeds and the guard before them, against servers that lie, stall and redirect.

use std::ops::Range;
use std::time::Duration;

use offswarm::swarm::guard::{Guard, GuardError, Origin, Patience, Purpose, Refusal};
use offswarm::swarm::webseed::{WebSeed, WebSeedError};

use crate::server::{Saying, Server, answer};

const CONTENT: &[u8] = b"0123456789abcdefghij";
const TOTAL: u64 = CONTENT.len() as u64;

/// Waits for what never comes, but not for long.
fn hurried() -> Guard {
    let patience = Patience {
        connect: Duration::from_secs(10),
        headers: Duration::from_millis(200),
        idle: Duration::from_millis(200),
    };
    Guard::with_patience(patience).unwrap()
}

async fn fetch(guard: &Guard, url: &str, range: Range<u64>) -> Result<Vec<u8>, WebSeedError> {
    let seed = WebSeed::new(url, "content.off", Origin::Stranger).unwrap();
    let mut chunks = seed.fetch(guard, range, TOTAL).await?;
    let mut found = Vec::new();
    while let Some(chunk) = chunks.next().await? {
        found.extend_from_slice(&chunk);
    }
    Ok(found)
}

/// What comes of a server that says this, when bytes 5 to 9 are asked for.
async fn outcome(saying: Saying) -> Result<Vec<u8>, WebSeedError> {
    let server = Server::start(move |_| saying.clone()).await;
    fetch(&hurried(), &server.url("/x.off"), 5..10).await
}

fn part(range: &str, body: &[u8]) -> Saying {
    answer("206 Partial Content", &[&format!("Content-Range: {range}")], body)
}

#[tokio::test]
async fn fetches_a_range_of_the_file_in_a_folder() {
    let server = Server::start(|_| part("bytes 5-9/20", &CONTENT[5..10])).await;
    let found = fetch(&Guard::new().unwrap(), &server.url("/d/"), 5..10).await.unwrap();
    assert_eq!(found, &CONTENT[5..10]);
    let head = server.requests().remove(0).to_lowercase();
    assert!(head.starts_with("get /d/content.off http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nrange: bytes=5-9\r\n"), "{head}");
    assert!(head.contains("\r\naccept-encoding: identity\r\n"), "{head}");
}

#[tokio::test]
async fn takes_a_whole_file_from_a_server_without_ranges_only_if_it_wants_all() {
    let server = Server::start(|_| answer("200 OK", &[], CONTENT)).await;
    let guard = Guard::new().unwrap();
    assert_eq!(fetch(&guard, &server.url("/x"), 0..TOTAL).await.unwrap(), CONTENT);
    let error = fetch(&guard, &server.url("/x"), 0..10).await.unwrap_err();
    assert!(matches!(error, WebSeedError::IgnoresRanges { .. }), "{error}");
}

#[tokio::test]
async fn refuses_other_ranges_than_the_one_it_asked_for() {
    for range in ["bytes 0-4/20", "bytes 5-9/21", "bytes 5-10/20", "nonsense"] {
        let error = outcome(part(range, &CONTENT[..5])).await.unwrap_err();
        assert!(matches!(error, WebSeedError::OtherRange { .. }), "{error}");
        assert!(!error.is_temporary());
    }
}

#[tokio::test]
async fn hands_out_no_byte_too_many_of_an_endless_body() {
    let head = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-9/20\r\n\r\n".to_vec();
    let found = outcome(Saying::Endless(head, vec![7; 65_536])).await.unwrap();
    assert_eq!(found, [7; 5]);
}

#[tokio::test]
async fn a_body_that_ends_or_stalls_early_is_a_temporary_failure() {
    let head = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-9/20\r\n\r\n56".to_vec();
    let error = outcome(Saying::All(head.clone())).await.unwrap_err();
    assert!(matches!(error, WebSeedError::CutShort { missing: 3, .. }), "{error}");
    assert!(error.is_temporary());
    let error = outcome(Saying::Stall(head)).await.unwrap_err();
    assert!(matches!(error, WebSeedError::Guard(GuardError::Silent { .. })), "{error}");
    assert!(error.is_temporary());
}

#[tokio::test]
async fn does_not_wait_for_slow_headers() {
    let slow = b"HTTP/1.1 206 Partial Content\r\nX: ".to_vec();
    for saying in [Saying::Stall(Vec::new()), Saying::Stall(slow)] {
        let error = outcome(saying).await.unwrap_err();
        assert!(matches!(error, WebSeedError::Guard(GuardError::Silent { .. })), "{error}");
    }
}

#[tokio::test]
async fn does_not_read_endless_headers() {
    let endless = Saying::Endless(b"HTTP/1.1 200 OK\r\n".to_vec(), b"X: yyyyyyyy\r\n".to_vec());
    let error = outcome(endless).await.unwrap_err();
    assert!(matches!(error, WebSeedError::Guard(GuardError::Connect { .. })), "{error}");
}

#[tokio::test]
async fn tells_a_busy_server_from_one_without_the_file() {
    let error = outcome(answer("503 Busy", &["Retry-After: 7"], b"")).await.unwrap_err();
    assert_eq!((error.is_temporary(), error.retry_after()), (true, Some(Duration::from_secs(7))));
    let error = outcome(answer("404 Not Found", &[], b"")).await.unwrap_err();
    assert!(matches!(error, WebSeedError::Status { status: 404, .. }), "{error}");
    assert!(!error.is_temporary());
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/x", nobody.local_addr().unwrap());
    drop(nobody);
    let error = fetch(&hurried(), &url, 5..10).await.unwrap_err();
    assert!(error.is_temporary(), "{error}");
}

#[tokio::test]
async fn follows_local_redirects_within_the_rules_and_not_for_ever() {
    let server = Server::start(|head| {
        let path = head.split(' ').nth(1).unwrap();
        let to = match path {
            "/x" => "/y",
            "/y" => return part("bytes 5-9/20", &CONTENT[5..10]),
            "/rebooting" => "/reboot?now",
            "/cloud" => "http://169.254.169.254/latest/meta-data/",
            "/file" => "file:///etc/passwd",
            _ => "/again",
        };
        answer("302 Found", &[&format!("Location: {to}")], b"")
    })
    .await;
    let guard = Guard::new().unwrap();
    assert_eq!(fetch(&guard, &server.url("/x"), 5..10).await.unwrap(), &CONTENT[5..10]);
    for (path, rule) in [
        ("/rebooting", Refusal::Rules),
        ("/cloud", Refusal::Rules),
        ("/file", Refusal::Scheme),
        ("/again", Refusal::TooMany),
    ] {
        let error = fetch(&guard, &server.url(path), 5..10).await.unwrap_err();
        let WebSeedError::Guard(GuardError::Redirect { why, .. }) = &error else {
            panic!("{path}: {error}")
        };
        assert_eq!(*why, rule, "{path}");
        assert!(!error.is_temporary());
    }
    assert!(server.requests().iter().all(|head| !head.contains("/reboot?now")));
}

#[tokio::test]
async fn reads_no_body_beyond_its_limit() {
    let server =
        Server::start(|_| Saying::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'd'; 65_536]))
            .await;
    let url = server.url("/announce").parse().unwrap();
    let guard = Guard::new().unwrap();
    let answer = guard.get(&url, Origin::Stranger, Purpose::Tracker, None).await.unwrap();
    let error = answer.body(1 << 20).await.unwrap_err();
    assert!(matches!(error, GuardError::TooLong { limit: 1_048_576, .. }), "{error}");
}

/// What a compressed bomb would need: nobody here unpacks anything.
#[tokio::test]
async fn takes_compressed_bytes_for_what_they_are() {
    let coded = answer(
        "206 Partial Content",
        &["Content-Range: bytes 5-9/20", "Content-Encoding: gzip"],
        b"bombs",
    );
    let error = outcome(coded).await.unwrap_err();
    assert!(matches!(error, WebSeedError::OtherRange { .. }), "{error}");
}

/// The server closes each connection after an answer that promises to keep it open.
#[tokio::test]
async fn asks_again_when_a_kept_connection_turns_out_to_be_closed() {
    let server = Server::start(|_| part("bytes 5-9/20", &CONTENT[5..10])).await;
    let guard = Guard::new().unwrap();
    for _ in 0..100 {
        let found = fetch(&guard, &server.url("/x.off"), 5..10).await.unwrap();
        assert_eq!(found, &CONTENT[5..10]);
    }
}
