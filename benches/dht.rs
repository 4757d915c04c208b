//! The DHT at sizes that are too slow for a test: found rates, hops, datagrams, and memory per node.
//!
//! `cargo bench --bench dht [nodes]`; without a number it is 10,000.

#![allow(missing_docs, reason = "a bench")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench that cannot go on fails, and prints what it found"
)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "benches use small numbers"
)]

use std::env;
use std::time::{Duration, Instant};

use trials::{Row, Trial, network};
use world::{Lie, Weather};

#[path = "../tests/common/trials.rs"]
mod trials;
#[path = "../tests/common/world.rs"]
mod world;

fn main() {
    let asked = env::args().skip(1).find_map(|argument| argument.parse().ok());
    let nodes: usize = asked.unwrap_or(10_000);
    let session = Some(Duration::from_secs(3_600));
    let storm = Weather { loss: 0.2, liars: 0.3, lie: Lie::Colluding, session };
    print!("{}", Row::HEAD);
    for weather in [Weather::FAIR, storm] {
        let (began, before) = (Instant::now(), resident());
        let mut world = network(1, nodes, weather);
        let memory = resident().saturating_sub(before) / nodes as u64;
        let trial = Trial { nodes, weather, publications: 100, searches: 400 };
        print!("{}", trial.run_in(&mut world));
        println!(
            "{:.0} s, {} datagrams, {memory} KiB a node\n",
            began.elapsed().as_secs_f64(),
            world.datagrams,
        );
    }
}

/// KiB of memory that this process has.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}
