//! A DHT of many nodes of ours, without a network and under a clock of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use offswarm::krpc::contact::Family;

use crate::trials::{Row, Trial, network, quantile};
use crate::world::{Lie, Weather};

const SEED: u64 = 0x0ff5;

/// Of a thousand nodes with this mean session one leaves every 3.6 seconds and another one joins: in
/// the time from an announce to the last search a sixth of those who keep it are gone. What people
/// run stays for hours; those who start a client for one download are gone within one.
const CHURN: Duration = Duration::from_secs(3_600);

const LOSS: Weather = Weather { loss: 0.2, ..Weather::FAIR };
const LIARS: Weather = Weather { liars: 0.3, ..Weather::FAIR };
const STORM: Weather = Weather { loss: 0.2, liars: 0.3, lie: Lie::Colluding, session: Some(CHURN) };

#[test]
fn a_few_nodes_find_each_other() {
    let mut world = network(1, 30, Weather::FAIR);
    for number in 0..30 {
        let known = world.machine(number).contacts(Family::V4, world.now);
        assert!(
            known.len() >= 8,
            "{number} knows {known:?} {:?}",
            world.machine(number).counters()
        );
    }
    let trial = Trial { nodes: 30, weather: Weather::FAIR, publications: 5, searches: 20 };
    let row = trial.run_in(&mut world);
    assert!(row.stored.iter().all(|stored| *stored >= 6), "{:?}", row.stored);
    assert_eq!((row.found.part, row.got.part), (20, 20));
}

#[test]
fn probe() {
    let nodes: usize = std::env::var("NODES").map_or(1000, |n| n.parse().unwrap());
    let list = std::env::var("ROWS").unwrap_or("fair,liars,storm,storm2,storm3".into());
    for (name, seed, weather) in [
        ("fair", 1, Weather::FAIR),
        ("loss", 1, LOSS),
        ("liars", 1, LIARS),
        ("storm", 1, STORM),
        ("storm2", 2, STORM),
        ("storm3", 3, STORM),
    ] {
        if !list.split(',').any(|n| n == name) {
            continue;
        }
        let began = std::time::Instant::now();
        let mut world = network(seed, nodes, weather);
        let took = began.elapsed();
        let mut shares = Vec::new();
        for n in 0..world.len() {
            if !world.is_honest(n) {
                continue;
            }
            let known = world.machine(n).contacts(Family::V4, world.now);
            let lies = known.iter().filter(|(c, _)| world.lies(c.address)).count();
            shares.push((100 * lies / known.len().max(1)) as u32);
        }
        let trial = Trial { nodes, weather, publications: 50, searches: 250 };
        let row = trial.run_in(&mut world);
        println!(
            "{row} {took:?} {:?} {} {:?}",
            began.elapsed(),
            world.datagrams,
            [0.1, 0.5, 0.8, 0.9, 0.97].map(|q| quantile(&shares, q))
        );
    }
}
