//! The bridge: blocks that a js-offs node asks us for are brought from native nodes. From swarms:
//! `tests/peers/bridge.rs`.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use offswarm::bridge::Bounds;
use offswarm::client::fetch::Ways;
use offswarm::client::session::Session;
use offswarm::client::session::relay::Relay;
use offswarm::client::{Client, Settings};
use offswarm::id::{BlockId, LegacyId};
use offswarm::off::{Block, BlockSize};
use offswarm::store::Presence;
use offswarm::swarm::native::NativeOptions;
use offswarm::swarm::session::{Options, Swarms};

use super::node::{self, bytes_of, fields, number_of};
use super::{Answering, blocks, client};

const PATIENCE: Duration = Duration::from_secs(20);

fn here() -> Options {
    Options { listen: Some("127.0.0.1:0".parse().unwrap()), ..Options::default() }
}

/// A native node that has all blocks that js-offs wrote.
async fn giver(folder: &Path) -> (Client, Swarms) {
    let client = client(folder, &Settings::default());
    for class in ["block", "mini", "nano"] {
        for (id, bytes) in blocks(class) {
            client.store().put(&Block::check(id, bytes.into()).unwrap()).unwrap();
        }
    }
    client.store().commit().unwrap();
    let swarms = client.swarms(&here()).await.unwrap();
    (client, swarms)
}

/// A bridge that knows one native node, and has nothing.
async fn bridge(
    folder: &Path,
    settings: &Settings,
    native: &Swarms,
    patience: Duration,
) -> Answering {
    let client = client(folder, settings);
    let native = NativeOptions { peers: vec![native.listen()], ..NativeOptions::default() };
    let swarms = client.swarms(&Options { native, ..here() }).await.unwrap();
    let session = Session::new(client, Ways::default());
    session.set_swarms(Some(Arc::new(swarms)));
    let bounds = Bounds { patience, ..Bounds::default() };
    Answering::of(session, LegacyId::from_bytes([1; 32]), None, bounds).await
}

fn limited() -> Settings {
    Settings { limit: Some(64 << 20), ..Settings::default() }
}

/// Asks as js-offs does: the bytes of the block, if it came.
async fn find(bridge: &Answering, class: u64, id: &[u8; 32]) -> Option<Vec<u8>> {
    let from = node::peer_message(&[9; 32], "127.0.0.1:9001".parse().unwrap());
    let request = node::request(3, &from, Some(&node::find_value(class, id)));
    let answer = fields(&bridge.exchange(&request).await);
    let payload = fields(&bytes_of(&answer, 5).expect("an answer"));
    let data = bytes_of(&payload, 3);
    assert_eq!(number_of(&answer, 6), Some(if data.is_some() { 1 } else { 2 }));
    data
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_of_every_class_are_brought_from_native_nodes() {
    let [theirs, ours] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (_client, swarms) = giver(theirs.path()).await;
    let bridge = bridge(ours.path(), &limited(), &swarms, PATIENCE).await;
    for (class, name) in [(1, "block"), (2, "mini"), (3, "nano")] {
        for (id, bytes) in blocks(name).into_iter().take(5) {
            assert!(find(&bridge, class, id.as_bytes()).await == Some(bytes), "{name} {id}");
            let store = bridge.session.client().store();
            assert_eq!(store.presence(&id).unwrap(), Presence::Held, "it is kept for the next");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_brought_into_a_store_without_a_limit_or_against_the_owners_wish() {
    let [theirs, first, second] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let (_client, swarms) = giver(theirs.path()).await;
    let endless = bridge(first.path(), &Settings::default(), &swarms, PATIENCE).await;
    let unwilling = bridge(second.path(), &limited(), &swarms, Duration::ZERO).await;
    let (id, _) = blocks("nano").swap_remove(0);
    for bridge in [&endless, &unwilling] {
        assert_eq!(find(bridge, 3, id.as_bytes()).await, None);
        assert_eq!(bridge.session.client().store().census().unwrap().blocks, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_is_not_waited_for_to_the_end() {
    let [theirs, ours] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (_client, swarms) = giver(theirs.path()).await;
    let bridge = bridge(ours.path(), &limited(), &swarms, Duration::from_secs(90)).await;
    let (id, bytes) = blocks("nano").swap_remove(0);
    // The native node is met by then.
    assert_eq!(find(&bridge, 3, id.as_bytes()).await, Some(bytes));
    let began = Instant::now();
    for number in 0..3_u8 {
        let nobodys = BlockId::of(&[number]);
        assert_eq!(find(&bridge, 1, nobodys.as_bytes()).await, None);
    }
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

/// Blocks that are here, asked for in another size, took all the places for descriptors, again and again.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_here_is_not_looked_for() {
    let [theirs, ours] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (_client, swarms) = giver(theirs.path()).await;
    let bridge = bridge(ours.path(), &limited(), &swarms, PATIENCE).await;
    let (relay, by) = (Relay::new(bridge.session.clone()), bridge.address.ip());
    let (id, bytes) = blocks("mini").swap_remove(0);
    let block = Block::check(id, bytes.into()).unwrap();
    bridge.session.client().store().put(&block).unwrap();
    let found = relay.bring(id, BlockSize::LegacyNano, by, PATIENCE).await;
    assert!(found.is_none());
    assert_eq!(format!("{relay:?}"), "Relay { carried: 0, .. }");
    let found = relay.bring(id, BlockSize::LegacyMini, by, PATIENCE).await;
    assert_eq!(found.map(|block| block.id()), Some(id));
}
