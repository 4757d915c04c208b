//! The bridge answers as js-offs did, byte for byte where that is determined.

use std::time::{Duration, Instant};

use offswarm::client::{Client, Percent, Settings};
use offswarm::id::BlockId;
use offswarm::legacy::message::Request;
use offswarm::legacy::upkeep::locked;
use offswarm::off::Block;
use offswarm::store::Presence;
use serde_json::Value;

use super::node::{self, bytes_of, fields, number_of};
use super::{Answering, Recorded, blocks, client, hex, peer_of, recorded};

fn with(name: &str, all: &[Recorded]) -> Vec<usize> {
    (0..all.len()).filter(|at| all[*at].name.contains(name)).collect()
}

/// A client in the state that the node of the exchange was in, as far as the exchange shows it.
fn prepared(folder: &std::path::Path, exchange: &Recorded) -> Client {
    let settings =
        Settings { limit: Some(1 << 30), host_share: Percent::new(50).unwrap_or_default() };
    let client = client(folder, &settings);
    let put = |bytes: Vec<u8>| {
        let block = Block::check(BlockId::of(&bytes), bytes.into()).unwrap();
        client.store().put(&block).unwrap();
    };
    let answered = fields(&exchange.response);
    let payload = bytes_of(&answered, 5).map(|payload| fields(&payload)).unwrap_or_default();
    let asked = &exchange.told["request"];
    let class = match asked["payload"]["value_type"].as_u64() {
        Some(1) => "block",
        Some(2) => "mini",
        _ => "nano",
    };
    match asked["type"].as_str().unwrap() {
        "Find_Value" => bytes_of(&payload, 3).into_iter().for_each(put),
        "Random" if exchange.name.starts_with("js-random-success") => {
            bytes_of(&payload, 2).into_iter().for_each(put);
        }
        "Random" => blocks(class).into_iter().for_each(|(_, bytes)| put(bytes)),
        "Ping_Value" if exchange.name.ends_with("hit") => {
            let wanted = BlockId::from_slice(&hex(&asked["payload"]["hash"])).unwrap();
            let found = blocks(class).into_iter().find(|(id, _)| *id == wanted);
            found.into_iter().map(|(_, bytes)| bytes).for_each(put);
        }
        _ => {}
    }
    let contacts = client.legacy_contacts();
    let known = exchange.told["response"]["payload"]["nodes"].as_array().cloned();
    for peer in known.unwrap_or_default().iter().map(peer_of) {
        let mut contacts = locked(&contacts);
        contacts.called(peer, peer.external.ip());
        contacts.answered(peer.id, Instant::now());
    }
    client.store().commit().unwrap();
    client
}

async fn answer(exchange: &Recorded) -> (Vec<u8>, Answering, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let client = prepared(folder.path(), exchange);
    let us = peer_of(&exchange.told["response"]["from"]);
    let bridge = Answering::as_node(client, us.id, Some(us.external)).await;
    // The internal address is the one at which we are seen, and the port is that of the outside.
    (bridge.exchange(&exchange.request).await, bridge, folder)
}

/// What js-offs would have said and we say on purpose otherwise, and what depends on its disk.
const OTHERWISE: [&str; 3] = ["ping_value-miss", "short-value-accepted", "ping_storage"];

#[tokio::test(flavor = "multi_thread")]
async fn recorded_requests_are_answered_byte_for_byte() {
    let mut count = 0;
    for exchange in recorded() {
        if OTHERWISE.iter().any(|name| exchange.name.contains(name)) {
            continue;
        }
        let (answer, ..) = answer(&exchange).await;
        assert!(answer == exchange.response, "{}", exchange.name);
        count += 1;
    }
    assert_eq!(count, 43);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_never_confirmed_nor_denied() {
    let all = recorded();
    let misses = with("ping_value-miss", &all);
    assert_eq!(misses.len(), 2);
    for at in misses {
        let (answer, bridge, _folder) = answer(&all[at]).await;
        assert_eq!(answer, b"", "js-offs would delete the block at any answer");
        assert!(!bridge.exchange(&ping()).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_block_is_not_kept() {
    let all = recorded();
    let at = with("short-value-accepted", &all)[0];
    let (answer, bridge, _folder) = answer(&all[at]).await;
    let answered = fields(&answer);
    assert_eq!((number_of(&answered, 1), number_of(&answered, 6)), (Some(4), Some(2)));
    assert_eq!(bridge.session.client().store().census().unwrap().blocks, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn says_how_full_the_store_is() {
    let all = recorded();
    for at in with("ping_storage", &all) {
        let (answer, bridge, _folder) = answer(&all[at]).await;
        let answered = fields(&answer);
        let payload = fields(&bytes_of(&answered, 5).unwrap());
        let node::Field::Fixed32(percent) = payload[0].1 else { panic!("no float") };
        assert!(f32::from_le_bytes(percent).abs() < f32::EPSILON, "it is empty");
        let block = blocks("block").swap_remove(0).1;
        let block = Block::check(BlockId::of(&block), block.into()).unwrap();
        bridge.session.client().store().put(&block).unwrap();
        let answered = fields(&bridge.exchange(&all[at].request).await);
        let payload = fields(&bytes_of(&answered, 5).unwrap());
        let node::Field::Fixed32(percent) = payload[0].1 else { panic!("no float") };
        let expected = 131_072.0 * 100.0 / (1_u32 << 30) as f32;
        assert!((f32::from_le_bytes(percent) - expected).abs() < 1e-6);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_is_kept_only_within_the_hosting_policy() {
    let all = recorded();
    let store = &all[with("js-store", &all)[0]];
    let value = bytes_of(&fields(&bytes_of(&fields(&store.request), 5).unwrap()), 2).unwrap();
    let hosting = Percent::new(50).unwrap_or_default();
    for (limit, host_share, status) in
        [(None, Percent::ZERO, 2), (Some(1 << 30), Percent::ZERO, 2), (Some(1 << 30), hosting, 1)]
    {
        let folder = tempfile::tempdir().unwrap();
        let client = client(folder.path(), &Settings { limit, host_share });
        let us = peer_of(&store.told["response"]["from"]);
        let bridge = Answering::as_node(client.clone(), us.id, None).await;
        let answered = fields(&bridge.exchange(&store.request).await);
        assert_eq!(number_of(&answered, 6), Some(status), "{limit:?} {host_share}");
        let presence = client.store().presence(&BlockId::of(&value)).unwrap();
        assert_eq!(presence == Presence::Held, status == 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_is_found_in_its_own_class_only() {
    let folder = tempfile::tempdir().unwrap();
    let client = client(folder.path(), &Settings::default());
    let (id, bytes) = blocks("mini").swap_remove(0);
    client.store().put(&Block::check(id, bytes.into()).unwrap()).unwrap();
    let bridge =
        Answering::as_node(client, offswarm::id::LegacyId::from_bytes([1; 32]), None).await;
    for (class, found) in [(1, 2), (2, 1), (3, 2)] {
        let payload = node::find_value(class, id.as_bytes());
        let answered = bridge.exchange(&node::request(3, &from(), Some(&payload))).await;
        assert_eq!(number_of(&fields(&answered), 6), Some(found), "{class}");
    }
}

fn from() -> Vec<u8> {
    node::peer_message(&[9; 32], "127.0.0.1:9001".parse().unwrap())
}

fn ping() -> Vec<u8> {
    node::request(1, &from(), None)
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_call_are_met_and_named_to_others() {
    let folder = tempfile::tempdir().unwrap();
    let client = client(folder.path(), &Settings::default());
    let id = client.legacy_id().unwrap();
    let bridge = Answering::as_node(client.clone(), id, None).await;
    let [js, silent] = [
        node::Node::start(5, node::Habit::Honest, Duration::ZERO),
        node::Node::start(6, node::Habit::Mute, Duration::ZERO),
    ];
    for node in [&js, &silent] {
        let from = node::peer_message(node.peer.id.as_bytes(), node.peer.external);
        assert!(!bridge.exchange(&node::request(1, &from, None)).await.is_empty());
    }
    // It is pinged under our own id, and only then told of.
    while !js.calls().iter().any(|(kind, _)| *kind == 2) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(js.calls().iter().all(|(_, caller)| caller == id.as_bytes()));
    let mut target = Vec::new();
    node::put_bytes(&mut target, 1, &[6; 32]);
    node::put_number(&mut target, 2, 10);
    let request = node::request(2, &from(), Some(&target));
    let request = Request::decode(request.into()).unwrap().encode();
    let told = fields(&bridge.exchange(&request).await);
    let nodes = fields(&bytes_of(&told, 5).unwrap());
    let ids: Vec<_> = nodes
        .iter()
        .map(|(_, node)| match node {
            node::Field::Bytes(peer) => bytes_of(&fields(peer), 1).unwrap(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(ids.contains(&vec![5; 32]), "{ids:?}");
    assert!(!ids.contains(&vec![6; 32]), "{ids:?}");
}

#[test]
fn the_vectors_are_of_all_seven_calls() {
    let all = recorded();
    let kinds: std::collections::BTreeSet<_> = all
        .iter()
        .map(|exchange| exchange.told["request"]["type"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds.len(), 7);
    assert!(all.iter().all(|exchange| exchange.told["response"]["status"] != Value::Null));
}
