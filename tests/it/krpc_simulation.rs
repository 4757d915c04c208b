//! A DHT of many nodes of ours, without a network and under a clock of its own.

use std::time::Duration;

use offswarm::id::InfoHash;
use offswarm::krpc::machine::{Aim, Event};

use crate::world::{MADE_UP, Weather, World};

const FAIR: Weather = Weather { loss: 0.0, liars: 0.0 };

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A network that has come together.
fn network(seed: u64, nodes: usize, weather: Weather) -> World {
    let mut world = World::new(seed, weather);
    for _ in 0..nodes {
        world.join();
        world.pass(Duration::from_millis(500));
    }
    world.pass(seconds(60));
    world
}

/// How a search went: the hops to the true peer, and whether liars were heard.
fn search(world: &mut World, infohash: InfoHash, holder: usize) -> (Option<u32>, bool) {
    let seeker = world.somebody();
    let task = world.begin(seeker, Aim::Peers { infohash, ids: Vec::new() });
    world.wait_for(seeker, task, seconds(120));
    let holder = world.address(holder);
    let (mut found, mut lied) = (None, false);
    for (_, event) in world.events.remove(&(seeker, task)).unwrap() {
        if let Event::Peers { peers, hops, .. } = event {
            lied |= peers.iter().any(|peer| {
                peer.to_string().starts_with(&format!("{}.{}.", MADE_UP[0], MADE_UP[1]))
            });
            if peers.contains(&holder) {
                found = Some(found.map_or(hops, |before: u32| before.min(hops)));
            }
        }
    }
    (found, lied)
}

fn announce(world: &mut World, infohash: InfoHash) -> (usize, u32) {
    let holder = world.somebody();
    let task = world.begin(holder, Aim::Announce { infohash, port: 6881, seed: true });
    world.wait_for(holder, task, seconds(120));
    let told = world.events.remove(&(holder, task)).unwrap();
    match told.last() {
        Some((_, Event::Done { outcome, .. })) => (holder, outcome.stored),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_few_nodes_find_each_other() {
    let mut world = network(1, 30, FAIR);
    for number in 0..30 {
        let known = world.machine(number).contacts(offswarm::krpc::contact::Family::V4, world.now);
        assert!(known.len() >= 8, "{number} knows {}", known.len());
    }
    let infohash = InfoHash::of(b"a few");
    let (holder, stored) = announce(&mut world, infohash);
    assert!(stored >= 6, "{stored}");
    for _ in 0..10 {
        assert!(search(&mut world, infohash, holder).0.is_some());
    }
}
