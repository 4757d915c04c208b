//! What clients of js-offs ask for.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use offswarm::id::BlockId;
use offswarm::off::{Block, OffUrl, Version};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::rig::{Gateway, noise};

/// A gateway over all blocks that js-offs wrote, and what is known of them.
async fn heir() -> (Gateway, Value) {
    let gateway = Gateway::start().await;
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/jsoffs");
    for class in ["block", "mini", "nano"] {
        for entry in fs::read_dir(vectors.join("blocks").join(class)).unwrap() {
            let path = entry.unwrap().path();
            let id = BlockId::parse(path.file_name().unwrap().to_str().unwrap()).unwrap();
            let block = Block::check(id, fs::read(path).unwrap().into()).unwrap();
            gateway.client().store().put(&block).unwrap();
        }
    }
    let manifest = fs::read(vectors.join("manifest.json")).unwrap();
    (gateway, serde_json::from_slice(&manifest).unwrap())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// Where js-offs is only wrong: it cuts the name of a file off at a parenthesis, and so finds none.
const CUT: &str = "member with bare parentheses (name cut -> 404)";

/// Where we show a list for people, and the JSON when asked for it.
const LISTED: &str = "directory without index.html -> OFD JSON, no content-type";

#[tokio::test(flavor = "multi_thread")]
async fn directories_are_answered_as_by_js_offs() {
    let (gateway, manifest) = heir().await;
    let cases = manifest["http_get_cases"].as_array().unwrap();
    assert_eq!(cases.len(), 10);
    for case in cases.iter().filter(|case| case["what"] != CUT) {
        let what = &case["what"];
        let raw = if what == LISTED { "?ofd=raw" } else { "" };
        let path = format!("{}{raw}", case["path"].as_str().unwrap());
        let answer = gateway.get(&path, &[]).await;
        assert_eq!(answer.status, case["status"].as_u64().unwrap() as u16, "{what}");
        if answer.status == 200 {
            let (_, body) = answer.whole();
            let sum = case["body_sha256"].as_str().unwrap();
            assert_eq!(hex(&Sha256::digest(body)), sum, "{what}");
            let theirs = case["headers"]["Content-Type"].as_str().unwrap_or_default();
            let theirs = theirs.split(';').next().unwrap();
            assert!(theirs.is_empty() || answer.header("content-type") == Some(theirs), "{what}");
        } else {
            assert_eq!(answer.text().trim_end(), case["body_head"].as_str().unwrap(), "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_as_by_its_clients_is_got_back() {
    let gateway = Gateway::start().await;
    for (path, length) in [("/offsystem", 5), ("/offsystem/", 2_000), ("/offsystem", 300_000)] {
        let bytes = noise(length);
        let announced = format!("stream-length: {length}");
        let lines = ["type: text/plain", "file-name: a b.txt", &announced];
        let put = gateway.ask("PUT", path, &lines, &bytes).await;
        assert_eq!(put.whole().0, 200, "{}", put.text());
        let url = OffUrl::parse(put.text()).unwrap();
        assert_eq!((url.version(), url.name()), (Version::V3, "a b.txt"));
        assert_eq!(put.text(), url.to_string(), "without a line's end");
        assert_eq!(gateway.get(&url.path(), &[]).await.whole(), (200, &*bytes));
        let range = gateway.get(&url.path(), &["Range: bytes=1-3"]).await;
        assert_eq!(range.whole(), (206, &bytes[1..4]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_of_other_blocks_is_refused_and_leaves_nothing() {
    let gateway = Gateway::start().await;
    for (announced, length, status) in [
        (1_999, 2_000, 200),
        (2_000, 1_999, 200),
        (3_000, 2_000, 400),
        (2_000, 2_001, 400),
        (999, 1_000, 400),
        (1_000, 999, 400),
        (2_000, 400_000, 400),
    ] {
        let announced = format!("stream-length: {announced}");
        let lines = ["type: text/plain", "file-name: a", &announced];
        let before = gateway.client().known_urls().unwrap().len();
        let put = gateway.ask("PUT", "/offsystem", &lines, &noise(length)).await;
        assert_eq!(put.status, status, "{announced} {length}: {}", put.text());
        let entered = gateway.client().known_urls().unwrap().len() - before;
        assert_eq!(entered, usize::from(status == 200));
        assert!(status == 200 || put.text().contains("not as many blocks"), "{}", put.text());
    }
    let missing = gateway.ask("PUT", "/offsystem", &["type: text/plain"], b"hello").await;
    assert_eq!((missing.whole().0, missing.text()), (400, "the header file-name is missing\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_are_recycled_and_the_origin_is_as_asked_for() {
    let gateway = Gateway::start().await;
    let lines = ["type: text/plain", "file-name: a", "stream-length: 300000"];
    let first = gateway.ask("PUT", "/offsystem", &lines, &noise(300_000)).await;
    let before = gateway.client().store().census().unwrap().blocks;
    let recycler = format!("recycler: [\"{}\"]", first.text());
    let more = [&lines[..], &[&recycler, "server-address: http://10.0.0.1:23402"]].concat();
    let second = gateway.ask("PUT", "/offsystem", &more, &noise(300_000)).await;
    assert_eq!(second.whole().0, 200, "{}", second.text());
    assert!(second.text().starts_with("http://10.0.0.1:23402/offsystem/v3/text/plain/300000/"));
    let new = gateway.client().store().census().unwrap().blocks - before;
    assert_eq!(new, 4, "three blocks and a descriptor: all randomizers were there");
}
