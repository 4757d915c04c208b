//! A DHT of many nodes of ours, without a network and under a clock of its own.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use offswarm::id::{BlockId, InfoHash, Target};
use offswarm::krpc::contact::{Contact, Family};
use offswarm::krpc::item::Item;
use offswarm::krpc::machine::{Aim, TaskId};
use offswarm::krpc::rendezvous::{Record, record_item, url_swarm};
use offswarm::krpc::republish::{Errand, Republish};
use offswarm::limits::dht::DHT_ANNOUNCES_AT_ONCE;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::trials::{Row, Trial, network, quantile};
use crate::world::{Lie, Weather, World};

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

/// All of them, by sizes and weathers. The work of a row is done by one thread.
fn rows() -> Vec<Row> {
    let trials: Vec<Trial> = [100, 300, 1_000]
        .into_iter()
        .flat_map(|nodes| {
            [Weather::FAIR, LOSS, LIARS, STORM].map(|weather| Trial {
                nodes,
                weather,
                publications: 50,
                searches: 220,
            })
        })
        .collect();
    thread::scope(|scope| {
        let run = |trial: Trial| scope.spawn(move || trial.run(SEED));
        let started: Vec<_> = trials.into_iter().map(run).collect();
        started.into_iter().map(|row| row.join().unwrap()).collect()
    })
}

/// Compares with what is written, or writes it.
fn check_golden(heading: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/krpc_simulation.md");
    let golden = fs::read_to_string(&path).unwrap_or_default();
    let sections = golden.split("## ").skip(1).filter_map(|section| section.split_once("\n\n"));
    let mut sections: BTreeMap<String, String> =
        sections.map(|(head, body)| (head.to_owned(), body.trim_end().to_owned())).collect();
    let before = sections.insert(heading.to_owned(), made.trim_end().to_owned());
    if env::var_os("OFFSWARM_BLESS").is_some() {
        let title = "# What the simulated DHT does\n\nWritten by `krpc_simulation.rs`.\n";
        let sections = sections.iter().map(|(head, body)| format!("\n## {head}\n\n{body}\n"));
        fs::write(&path, format!("{title}{}", sections.collect::<String>())).unwrap();
    } else {
        assert_eq!(before.as_deref(), Some(made.trim_end()), "OFFSWARM_BLESS=1 writes it anew");
    }
}

/// ATTACKS 15, and the promise of the whole: what somebody publishes is found.
#[test]
fn what_is_published_is_found_in_every_weather() {
    let rows = rows();
    let table: String = rows.iter().map(ToString::to_string).collect();
    println!("{}{table}", Row::HEAD);
    for row in &rows {
        assert!(row.found.all >= 200 && row.got.all >= 200 && row.stored.len() >= 49, "{row}");
        assert!(row.found.percent() >= 99.0 && row.got.percent() >= 99.0, "{row}");
        let hops = row.trial.nodes.ilog2();
        assert!(quantile(&row.hops, 0.5) <= hops && quantile(&row.hops, 0.9) <= hops, "{row}");
    }
    check_golden("Searches", &format!("{}{table}", Row::HEAD));
}

#[test]
fn the_same_seed_gives_the_same_row() {
    let trial = Trial { nodes: 100, weather: STORM, publications: 20, searches: 50 };
    let [one, same, other] = [1, 1, 2].map(|seed| trial.run(seed).to_string());
    assert_eq!(one, same);
    assert_ne!(one, other);
}

/// Liars who name each other by ids right at the target, or honest nodes by false names.
#[test]
fn liars_who_forge_names_do_not_hide_what_is_published() {
    for lie in [Lie::Forged, Lie::Slander] {
        let weather = Weather { lie, ..LIARS };
        let row = Trial { nodes: 300, weather, publications: 50, searches: 220 }.run(SEED);
        println!("{lie:?} {row}");
        assert!(row.found.percent() >= 99.0 && row.got.percent() >= 99.0, "{lie:?}: {row}");
        // DESIGN 5: what a search sends is bounded whatever it is told.
        assert!(row.searching.iter().all(|datagrams| *datagrams < 500), "{:?}", row.searching);
    }
}

/// Datagrams and bytes that a node sends in an hour.
struct Hourly {
    datagrams: f64,
    bytes: f64,
}

impl Hourly {
    fn row(&self, what: &str) -> String {
        format!("| {what} | {:.0} | {:.0} |\n", self.datagrams, self.bytes / 1_000.0)
    }
}

fn sent_within(world: &mut World, nodes: &[usize], pass: impl FnOnce(&mut World)) -> Vec<Hourly> {
    let before: Vec<_> = nodes.iter().map(|node| world.sent(*node)).collect();
    let began = world.now;
    pass(world);
    let hours = (world.now - began).as_secs_f64() / 3_600.0;
    let sent = nodes.iter().zip(before).map(|(node, before)| {
        let after = world.sent(*node);
        let per_hour = |after: u64, before: u64| (after - before) as f64 / hours;
        Hourly { datagrams: per_hour(after.0, before.0), bytes: per_hour(after.1, before.1) }
    });
    sent.collect()
}

/// Says what `swarm::announce` says of some URLs, when `Republish` has it due.
struct Publisher {
    node: usize,
    urls: Vec<Republish>,
    near: BTreeMap<Target, Vec<Contact>>,
    under_way: Vec<(TaskId, Target)>,
    waiting: VecDeque<Aim>,
    said: usize,
    chance: StdRng,
}

impl Publisher {
    fn new(node: usize, urls: usize, now: Instant) -> Self {
        let plan = Republish::of_url(now, 1_000_000);
        Self {
            node,
            urls: vec![plan; urls],
            near: BTreeMap::new(),
            under_way: Vec::new(),
            waiting: VecDeque::new(),
            said: 0,
            chance: StdRng::seed_from_u64(SEED),
        }
    }

    fn go_on(&mut self, world: &mut World, time: Duration) {
        let until = world.now + time;
        while world.now < until {
            self.poll(world);
            world.pass(Duration::from_millis(500));
        }
    }

    fn poll(&mut self, world: &mut World) {
        let node = self.node;
        for (task, target) in std::mem::take(&mut self.under_way) {
            if world.is_over(node, task) {
                let (_, outcome) = world.told(node, task).unwrap();
                assert!(outcome.stored > 0);
                self.near.insert(target, outcome.closest);
            } else {
                self.under_way.push((task, target));
            }
        }
        let unix = 1_000_000 + (world.now - world.started).as_secs();
        for (number, plan) in self.urls.iter_mut().enumerate() {
            while let Some(errand) = plan.poll(world.now, unix, self.chance.random()) {
                self.waiting.extend(aims(number, errand, unix));
            }
        }
        while self.under_way.len() < DHT_ANNOUNCES_AT_ONCE
            && let Some(aim) = self.waiting.pop_front()
        {
            let target = match &aim {
                Aim::Announce { infohash, .. } => infohash.target(),
                Aim::Put { item, .. } => item.target(),
                _ => unreachable!(),
            };
            let near = self.near.get(&target).cloned().unwrap_or_default();
            self.under_way.push((world.begin_near(node, aim, &near), target));
            self.said += 1;
        }
    }
}

/// What is said of a URL: its torrent, its swarm, its item.
fn aims(number: usize, errand: Errand, unix: u64) -> Vec<Aim> {
    let infohash = InfoHash::of(&number.to_be_bytes());
    let descriptor = BlockId::of(&number.to_be_bytes());
    let announce = |infohash| Aim::Announce { infohash, port: 6881, seed: true };
    match errand {
        Errand::Peers => vec![announce(infohash), announce(url_swarm(&descriptor))],
        Errand::Item => {
            let record = Record { infohash, blocks: 100 };
            let item = Item::Mutable(record_item(&descriptor, &record, unix).unwrap());
            vec![Aim::Put { item, cas: None }]
        }
    }
}

/// An idle node of a settled network pings those it knows every 15 minutes and looks at each of its
/// few buckets with room as often, and answers as much. So it is below 2,000 datagrams an hour.
///
/// A URL is three things that are said seven times an hour: twice 60/20 announces and one put. Each
/// asks sixteen nodes and leaves something at eight, as those near it are remembered: 24 queries,
/// and a third more for what has changed and for upkeep. So a thousand URLs are below 7,000 times 32
/// datagrams an hour of less than 200 bytes: 45 MB, or 13 KB a second.
#[test]
fn traffic_is_bounded() {
    let mut world = network(SEED, 300, Weather::FAIR);
    world.pass(Duration::from_secs(1_800));
    let nodes: Vec<usize> = (0..300).collect();
    let idle = sent_within(&mut world, &nodes, |world| world.pass(Duration::from_secs(3_600)));
    let mean = |of: fn(&Hourly) -> f64| idle.iter().map(of).sum::<f64>() / 300.0;
    let average = Hourly { datagrams: mean(|one| one.datagrams), bytes: mean(|one| one.bytes) };
    let most = idle.into_iter().max_by(|a, b| a.datagrams.total_cmp(&b.datagrams)).unwrap();
    let node = world.somebody();
    let mut publisher = Publisher::new(node, 1_000, world.now);
    publisher.go_on(&mut world, Duration::from_secs(1_500));
    let said = publisher.said;
    let sent = sent_within(&mut world, &[node], |world| {
        publisher.go_on(world, Duration::from_secs(3_600));
    });
    let things = Hourly { datagrams: (publisher.said - said) as f64, bytes: 0.0 };
    let table = "\
| a node of 300 in fair weather | datagrams sent an hour | KB sent an hour |
|---|---|---|
"
    .to_owned()
        + &average.row("idle, on average")
        + &most.row("idle, the busiest")
        + &sent[0].row(&format!("with 1,000 URLs, {:.0} announces and puts", things.datagrams));
    println!("{table}");
    assert!(average.datagrams < 2_000.0 && most.datagrams < 4_000.0);
    assert!((6_000.0..8_000.0).contains(&things.datagrams));
    assert!(sent[0].datagrams < 7_000.0 * 32.0 && sent[0].bytes < 45e6);
    check_golden("Traffic", &table);
}
