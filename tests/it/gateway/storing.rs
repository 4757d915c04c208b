//! Bytes in: `PUT /v4/NAME`.

use offswarm::client::Settings;
use offswarm::client::session::TransferState;
use offswarm::http::Bounds;
use offswarm::off::OffUrl;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::rig::{Gateway, noise};
use crate::server::DEADLINE;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_is_got_back() {
    let gateway = Gateway::start().await;
    for length in [0, 1, 131_072, 1_000_000] {
        let bytes = noise(length);
        let put = gateway.ask("PUT", "/v4/a%20film.mp4", &[], &bytes).await;
        let (status, _) = put.whole();
        assert_eq!(status, 201, "{}", put.text());
        let url = OffUrl::parse(put.text()).unwrap();
        assert_eq!((url.name(), url.content_type()), ("a film.mp4", "video/mp4"));
        assert_eq!(put.header("location"), Some(&*url.path()));
        assert_eq!(gateway.get(&url.path(), &[]).await.whole(), (200, &*bytes));
    }
    assert_eq!(gateway.client().known_urls().unwrap().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_puts_files_and_streams() {
    let gateway = Gateway::start().await;
    let file = gateway.folder.path().join("file");
    let bytes = noise(3_000_000);
    std::fs::write(&file, &bytes).unwrap();
    let file = file.to_str().unwrap();
    for args in [vec!["--upload-file", file], vec!["-T", file, "-H", "Transfer-Encoding: chunked"]]
    {
        let put = gateway.curl(&args, "/v4/x.bin").await;
        let url = OffUrl::parse(std::str::from_utf8(&put.stdout).unwrap()).unwrap();
        assert_eq!(url.length(), 3_000_000);
        assert!(gateway.curl(&[], &url.path()).await.stdout == bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_say_how() {
    let gateway = Gateway::start().await;
    let query = "/v4/run.sh?type=text/x-sh&plain=1&t=4&exec=1&publish=1";
    let lines = ["Accept: application/json", "Offswarm-Transfer: abcd-1234_X"];
    let put = gateway.ask("PUT", query, &lines, &noise(1000)).await;
    assert_eq!(put.whole().0, 201, "{}", put.text());
    let answer: serde_json::Value = serde_json::from_slice(&put.body).unwrap();
    let url = OffUrl::parse(answer["url"].as_str().unwrap()).unwrap();
    assert_eq!(answer["path"], url.path());
    assert_eq!(answer["infohash"], url.hints.infohash.unwrap().to_string());
    assert!(answer["magnet"].as_str().unwrap().starts_with("magnet:?xt=urn:btih:"));
    assert_eq!((&answer["length"], &answer["files"]), (&1000.into(), &1.into()));
    assert!(url.is_executable() && url.content_type() == "text/x-sh");
    assert!(url.path().contains("?t=4&exec=1&btih="), "{url}");
    let transfer = gateway.session.transfers().remove(0);
    assert_eq!(transfer.tag.as_deref(), Some("abcd-1234_X"));
    assert_eq!(transfer.state, TransferState::Done);
    for (query, lines) in [
        ("/v4/a?colour=red", &[][..]),
        ("/v4/a?t=1", &[]),
        ("/v4/a?type=html", &[]),
        ("/v4/%ff", &[]),
        ("/v4/a", &["Offswarm-Transfer: short"]),
        ("/v4/a", &["Offswarm-Transfer: with a space"]),
    ] {
        let refused = gateway.ask("PUT", query, lines, b"hello").await;
        assert_eq!(refused.whole().0, 400, "{query} {lines:?}");
    }
    assert_eq!(gateway.session.transfers().len(), 1);
}

/// Whoever goes away in the middle leaves nothing behind, whatever way the body was to end.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_leaves_nothing() {
    let gateway = Gateway::start().await;
    let mut events = gateway.session.events();
    for ending in ["Content-Length: 2000000", "Transfer-Encoding: chunked"] {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        let head = format!("PUT /v4/a HTTP/1.1\r\nHost: localhost\r\n{ending}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        if ending.starts_with("Transfer") {
            stream.write_all(b"F4240\r\n").await.unwrap();
        }
        stream.write_all(&noise(1_000_000)).await.unwrap();
        drop(stream);
        let ended = async {
            let listed = || gateway.session.transfers();
            // The transfer is entered when the head has been read.
            while listed().first().is_none_or(|put| put.state == TransferState::Running) {
                events.recv().await.unwrap();
            }
        };
        tokio::time::timeout(DEADLINE, ended).await.expect("the put ends");
        let transfer = gateway.session.transfers().remove(0);
        assert_eq!(transfer.state, TransferState::Failed);
        assert!(transfer.error.unwrap().contains("cannot read the stream"));
        assert_eq!(gateway.client().store().census().unwrap().blocks, 0);
        assert!(gateway.client().known_urls().unwrap().is_empty());
        assert_eq!(gateway.session.clear(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_is_stopped_says_so() {
    let gateway = Gateway::start().await;
    let mut events = gateway.session.events();
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head = b"PUT /v4/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhe";
    stream.write_all(head).await.unwrap();
    events.recv().await.unwrap();
    let id = gateway.session.transfers()[0].id;
    assert!(gateway.session.cancel(id));
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 409");
    assert_eq!(gateway.session.transfers()[0].state, TransferState::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_says_so() {
    let settings = Settings { limit: Some(4 << 20), ..Settings::default() };
    let gateway = Gateway::with(&Bounds::default(), &settings, None).await;
    let refused = gateway.ask("PUT", "/v4/a", &[], &noise(8 << 20)).await;
    assert_eq!(refused.status, 507);
    assert!(refused.text().contains("the store is full"), "{}", refused.text());
    assert!(gateway.client().known_urls().unwrap().is_empty());
    let put = gateway.ask("PUT", "/v4/a", &[], &noise(100_000)).await;
    assert_eq!(put.whole().0, 201, "there is room for what fits");
}
