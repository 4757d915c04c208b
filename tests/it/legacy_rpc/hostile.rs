//! Strangers at the door of the bridge: it stays up, bounded, and says so in the log.

use std::time::Duration;

use offswarm::bridge::Bounds;
use offswarm::client::fetch::Ways;
use offswarm::client::session::Session;
use offswarm::client::{Percent, Settings};
use offswarm::id::LegacyId;
use offswarm::legacy::cuckoo::Filter;
use offswarm::limits::legacy::MAX_LEGACY_REQUEST_LEN;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::node::{self, fields, number_of};
use super::{Answering, client};

async fn bridge(folder: &std::path::Path, bounds: Bounds) -> Answering {
    let session = Session::new(client(folder, &Settings::default()), Ways::default());
    Answering::of(session, LegacyId::from_bytes([1; 32]), None, bounds).await
}

fn quick() -> Bounds {
    let (idle, request) = (Duration::from_millis(300), Duration::from_secs(1));
    Bounds { idle, request, patience: Duration::ZERO }
}

fn from() -> Vec<u8> {
    node::peer_message(&[9; 32], "127.0.0.1:9001".parse().unwrap())
}

async fn is_alive(bridge: &Answering) -> bool {
    let answer = bridge.exchange(&node::request(1, &from(), None)).await;
    number_of(&fields(&answer), 6) == Some(1)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_not_answered_and_harms_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let bridge = bridge(folder.path(), Bounds::default()).await;
    let whole = node::request(3, &from(), Some(&node::find_value(1, &[7; 32])));
    let short_id = node::peer_message(&[9; 20], "127.0.0.1:9001".parse().unwrap());
    let senseless = [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0xff; 1_000],
        whole[..whole.len() / 2].to_vec(),
        node::request(1, &short_id, None),
        node::request(3, &from(), None),
        node::request(8, &from(), None),
        node::request(3, &from(), Some(&node::find_value(9, &[7; 32]))),
        node::request(3, &from(), Some(&node::find_value(1, &[7; 20]))),
        node::request(2, &from(), Some(b"\x0a\xff\xff\xff\xff\x0f")),
        // Groups within groups.
        [0x0b_u8].repeat(5_000),
    ];
    for request in senseless {
        assert_eq!(bridge.exchange(&request).await, b"", "{request:x?}");
    }
    assert_eq!(bridge.exchange(b"").await, b"");
    let known = bridge.session.client().legacy_peers();
    assert!(known.iter().all(|contact| contact.peer.id.as_bytes() == &[9; 32]), "{known:?}");
    assert!(is_alive(&bridge).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_of_hundreds_of_megabytes_are_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let bridge = bridge(folder.path(), Bounds::default()).await;
    let mut payload = Vec::new();
    node::put_number(&mut payload, 1, 2);
    node::put_bytes(&mut payload, 2, &vec![0xf6; 440_000]);
    // It declares 440 MB, and sends them.
    let head = node::request(5, &from(), Some(&payload));
    let mut stream = TcpStream::connect(bridge.address).await.unwrap();
    stream.write_all(&head).await.unwrap();
    let (part, mut sent) = (vec![0xf6; 1 << 20], head.len());
    while stream.write_all(&part).await.is_ok() {
        sent += part.len();
        assert!(sent < 440 << 20, "all of it was taken");
    }
    // What was on its way in buffers is sent, but not read.
    assert!(sent < 64 << 20, "{sent}");
    assert!(is_alive(&bridge).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_filter_is_read_in_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let bridge = bridge(folder.path(), Bounds::default()).await;
    // As many buckets as fit, all empty: a byte each, and an array that declares more.
    let mut filter = Filter::nothing();
    filter.truncate(filter.len() - 2);
    filter.extend([0x9a, 0x00, 0x7f, 0x00, 0x00]);
    filter.resize(filter.len() + 0x007f_0000, 0xf6);
    let mut payload = Vec::new();
    node::put_number(&mut payload, 1, 2);
    node::put_bytes(&mut payload, 2, &filter);
    let request = node::request(5, &from(), Some(&payload));
    assert!(request.len() <= MAX_LEGACY_REQUEST_LEN);
    let answers = (0..6).map(|_| bridge.exchange(&request));
    let before = memory();
    for answer in futures_util::future::join_all(answers).await {
        // The store is empty.
        assert_eq!(number_of(&fields(&answer), 6), Some(2));
    }
    let grown = memory().saturating_sub(before);
    assert!(grown < 200 << 20, "{grown} bytes more at the peak");
    assert!(is_alive(&bridge).await);
}

/// A block that was stored kept the whole request in memory of which it was a small part.
#[tokio::test(flavor = "multi_thread")]
async fn small_blocks_in_vast_requests_take_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let host_share = Percent::new(50).unwrap();
    let settings = Settings { limit: Some(64 << 20), host_share };
    let session = Session::new(client(folder.path(), &settings), Ways::default());
    let bridge =
        Answering::of(session, LegacyId::from_bytes([1; 32]), None, Bounds::default()).await;
    let before = memory();
    for number in 0..40 {
        let mut payload = Vec::new();
        node::put_number(&mut payload, 1, 3);
        node::put_bytes(&mut payload, 2, &[number; 136]);
        let mut request = node::request(4, &from(), Some(&payload));
        // A field that nobody knows.
        node::put_bytes(&mut request, 100, &vec![0; MAX_LEGACY_REQUEST_LEN - 1_000]);
        assert_eq!(number_of(&fields(&bridge.exchange(&request).await), 6), Some(1));
    }
    assert_eq!(bridge.session.client().store().census().unwrap().blocks, 40);
    let grown = memory().saturating_sub(before);
    assert!(grown < 200 << 20, "{grown} bytes more at the peak");
}

/// The peak resident size of this process in bytes.
fn memory() -> u64 {
    crate::program::memory(std::process::id(), "VmHWM") << 10
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_end_a_request_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let bridge = bridge(folder.path(), quick()).await;
    let ping = node::request(1, &from(), None);
    // js-offs, too, answers only what was half-closed.
    let mut idle = TcpStream::connect(bridge.address).await.unwrap();
    idle.write_all(&ping).await.unwrap();
    let mut nothing = Vec::new();
    let _ = idle.read_to_end(&mut nothing).await;
    assert_eq!(nothing, b"");
    let mut slow = TcpStream::connect(bridge.address).await.unwrap();
    let mut taken = 0;
    for byte in ping.iter().cycle() {
        if slow.write_all(&[*byte]).await.is_err() {
            break;
        }
        taken += 1;
        assert!(taken < 200, "a byte every 50 ms is taken for ever");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(is_alive(&bridge).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_says_nothing_keeps_nobody_out_for_long() {
    let folder = tempfile::tempdir().unwrap();
    let bridge = bridge(folder.path(), quick()).await;
    let mut crowd = Vec::new();
    for _ in 0..300 {
        crowd.push(TcpStream::connect(bridge.address).await.unwrap());
    }
    while !is_alive(&bridge).await {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(crowd);
}
