//! Files of js-offs nodes: a rung of the fetch ladder.

use std::path::Path;
use std::time::Duration;

use offswarm::client::fetch::{Rungs, Ways};
use offswarm::client::{Client, GetError, Settings};
use offswarm::legacy::caller::Ourselves;
use offswarm::off::OffUrl;
use offswarm::store::Presence;
use offswarm::swarm::session::Options;
use tokio_util::sync::CancellationToken;

use super::node::{Habit, Node};
use super::{blocks, client, json, vectors};

const CLASSES: [(u64, &str); 3] = [(1, "block"), (2, "mini"), (3, "nano")];

/// A node with all blocks that js-offs wrote.
fn full(seed: u8, habit: Habit) -> Node {
    let node = Node::start(seed, habit, Duration::ZERO);
    for (class, name) in CLASSES {
        node.has(
            class,
            blocks(name).into_iter().map(|(id, bytes)| (id.as_bytes().to_vec(), bytes)),
        );
    }
    node
}

fn url(name: &str) -> OffUrl {
    let manifest = json(&vectors().join("manifest.json"));
    let all = manifest["vectors"].as_array().unwrap();
    let found = all.iter().find(|vector| vector["name"] == name).unwrap();
    OffUrl::parse(found["url"].as_str().unwrap()).unwrap()
}

fn urls() -> Vec<OffUrl> {
    let manifest = json(&vectors().join("manifest.json"));
    let all = manifest["vectors"].as_array().unwrap();
    all.iter().map(|vector| OffUrl::parse(vector["url"].as_str().unwrap()).unwrap()).collect()
}

fn ways() -> Ways {
    let listen = Some("127.0.0.1:0".parse().unwrap());
    Ways {
        swarms: Options { listen, ..Options::default() },
        stall: Some(Duration::from_secs(20)),
        ..Ways::default()
    }
}

async fn fetch(client: &Client, url: &OffUrl, ways: &Ways) -> Result<u64, GetError> {
    let stop = CancellationToken::new();
    let fetched = client.fetch(url, ways, &stop, &mut |_| ()).await?;
    let mut bytes = Vec::new();
    client.read(url, &mut bytes, &mut |_| ())?;
    assert_eq!(bytes.len() as u64, url.length());
    Ok(fetched.legacy)
}

fn taker(folder: &Path, nodes: &[&Node]) -> Client {
    let client = client(folder, &Settings::default());
    for node in nodes {
        client.add_legacy_peer(node.peer).unwrap();
    }
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn every_url_of_js_offs_is_got_of_one_node() {
    let folder = tempfile::tempdir().unwrap();
    let node = full(1, Habit::Honest);
    let client = taker(folder.path(), &[&node]);
    let mut came = 0;
    for url in urls() {
        came += fetch(&client, &url, &ways()).await.unwrap();
    }
    assert_eq!(came, 585, "every block of every class, once");
    // Who only asks takes no place in the node's table: it names the node itself.
    assert!(node.calls().iter().all(|(_, caller)| caller == node.peer.id.as_bytes()));
    assert!(node.most_at_once() <= 8, "{}", node.most_at_once());
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_are_asked_for_in_parallel() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(1, Habit::Honest, Duration::from_millis(20));
    node.has(2, blocks("mini").into_iter().map(|(id, bytes)| (id.as_bytes().to_vec(), bytes)));
    fetch(&taker(folder.path(), &[&node]), &url("len-50000"), &ways()).await.unwrap();
    assert_eq!(node.most_at_once(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn liars_and_babblers_are_passed_over() {
    for habit in [Habit::Lies, Habit::Babbles, Habit::Floods] {
        let folder = tempfile::tempdir().unwrap();
        let (bad, good) = (full(1, habit), full(2, Habit::Honest));
        let client = taker(folder.path(), &[&bad, &good]);
        fetch(&client, &url("len-20001"), &ways()).await.unwrap();
        let alone = tempfile::tempdir().unwrap();
        let error = fetch(&taker(alone.path(), &[&bad]), &url("len-20001"), &ways()).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains("1 js-offs node"), "{habit:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_others_name_are_asked_too() {
    let folder = tempfile::tempdir().unwrap();
    let (named, has) = (Node::start(1, Habit::Honest, Duration::ZERO), full(2, Habit::Honest));
    named.names(&[3; 20], has.peer.external);
    named.names(has.peer.id.as_bytes(), has.peer.external);
    fetch(&taker(folder.path(), &[&named]), &url("len-1999"), &ways()).await.unwrap();
    assert_eq!(has.calls().len(), 7, "a descriptor and two tuples, each once");
    assert!((1..=7).contains(&named.calls().len()));
}

/// js-offs breaks off the calls of a fifth peer: a daemon that said who it is got nothing of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_fetches_takes_no_place_either() {
    let folder = tempfile::tempdir().unwrap();
    let node = full(1, Habit::Honest);
    let client = taker(folder.path(), &[&node]);
    let ours = Ourselves { id: client.legacy_id().unwrap(), port: 8200, external: None };
    let _place = client.take_legacy_place(ours);
    // Nor does it ask itself if others name it.
    node.names(ours.id.as_bytes(), node.peer.external);
    fetch(&client, &url("len-1999"), &ways()).await.unwrap();
    assert!(node.calls().iter().all(|(_, caller)| caller == node.peer.id.as_bytes()));
}

/// Each refusal counted as something that has come, and so a fetch never stalled.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_do_not_keep_a_fetch_alive() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(1, Habit::Honest, Duration::from_secs(1));
    let url = url("len-10000");
    let descriptor = url.descriptor().unwrap();
    let mini = blocks("mini").into_iter().filter(|(id, _)| *id == descriptor);
    node.has(2, mini.map(|(id, bytes)| (id.as_bytes().to_vec(), bytes)));
    let client = taker(folder.path(), &[&node]);
    // The descriptor names more blocks than it refuses in this time.
    let ways = Ways { stall: Some(Duration::from_secs(2)), ..ways() };
    assert!(matches!(fetch(&client, &url, &ways).await, Err(GetError::NotFound { .. })));
    assert_eq!(client.store().presence(&descriptor).unwrap(), Presence::Held);
    let refused = node.calls().len() - 1;
    assert!(refused < 30, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_want_them_does_not_ask_them() {
    let folder = tempfile::tempdir().unwrap();
    let node = full(1, Habit::Honest);
    let client = taker(folder.path(), &[&node]);
    for ways in [
        Ways { rungs: Rungs::NativeOnly, timeout: Some(Duration::from_secs(2)), ..ways() },
        Ways { rungs: Rungs::SwarmOnly, timeout: Some(Duration::from_secs(2)), ..ways() },
        Ways { offline: true, ..ways() },
    ] {
        assert!(matches!(
            fetch(&client, &url("len-100"), &ways).await,
            Err(GetError::NotFound { .. })
        ));
    }
    assert_eq!(node.calls().len(), 0);
}
