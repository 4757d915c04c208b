//! Trials of the DHT in a [`World`]: some publish, others search, and a row of a table says how it
//! went.

#![allow(dead_code, reason = "each user takes the part it needs")]
#![allow(unreachable_pub, reason = "what is shared by including a file is public in it")]

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use offswarm::id::InfoHash;
use offswarm::krpc::item::{Item, ItemSecret, Value};
use offswarm::krpc::machine::{Aim, Event, Outcome, TaskId};

use crate::world::{MADE_UP, Weather, World};

/// Between two nodes that join at the start, in networks of up to a thousand; larger ones take as
/// long as that one.
const JOIN_GAP: Duration = Duration::from_millis(400);
const JOINED: Duration = Duration::from_secs(400);
/// Time for the last one to find its place.
const SETTLE: Duration = Duration::from_secs(60);
const PUBLISH_GAP: Duration = Duration::from_millis(500);
/// Until the last announce and put are over.
const PUBLISHED: Duration = Duration::from_secs(120);
/// Searches go on for some minutes, during which holders and those who keep their word leave.
const SEARCH_GAP: Duration = Duration::from_millis(1_500);
const SEARCHED: Duration = Duration::from_secs(90);

const SALT: &[u8] = b"trial";
const PORT: u16 = 6881;

/// A network and what happens in it.
#[derive(Debug, Clone, Copy)]
pub struct Trial {
    pub nodes: usize,
    pub weather: Weather,
    /// Swarms that somebody announces itself to, and as many items.
    pub publications: usize,
    /// Searches for peers, and as many for items.
    pub searches: usize,
}

/// How a trial went.
#[derive(Debug, Clone)]
pub struct Row {
    pub trial: Trial,
    /// Of all searches for peers, those that heard of the true one.
    pub found: Share,
    /// Of all searches for items, those that got it.
    pub got: Share,
    /// Answers on the way to the true peer.
    pub hops: Vec<u32>,
    /// Milliseconds until it was heard of.
    pub times: Vec<u32>,
    /// Queries and answers of searches for peers.
    pub searching: Vec<u32>,
    /// Queries and answers of announces.
    pub announcing: Vec<u32>,
    /// Nodes that took each announce.
    pub stored: Vec<u32>,
    /// Of all peers told, those that are made up.
    pub false_peers: Share,
}

/// So many of so many.
#[derive(Debug, Clone, Copy, Default)]
pub struct Share {
    pub part: usize,
    pub all: usize,
}

impl Share {
    pub fn count(&mut self, counts: bool) {
        self.part += usize::from(counts);
        self.all += 1;
    }

    pub fn percent(self) -> f64 {
        100.0 * self.part as f64 / self.all.max(1) as f64
    }
}

/// A network that has come together.
pub fn network(seed: u64, nodes: usize, weather: Weather) -> World {
    let mut world = World::new(seed, weather);
    for _ in 0..nodes {
        world.join();
        world.pass(JOIN_GAP.min(JOINED / nodes as u32));
    }
    world.pass(SETTLE);
    world
}

/// Something somebody has published.
#[derive(Clone)]
struct Publication {
    holder: usize,
    infohash: InfoHash,
    item: Item,
}

/// A search under way.
struct Search {
    seeker: usize,
    task: TaskId,
    publication: usize,
    began: Instant,
}

impl Trial {
    pub fn run(self, seed: u64) -> Row {
        let mut world = network(seed, self.nodes, self.weather);
        self.run_in(&mut world)
    }

    /// Publishes and searches in a network.
    pub fn run_in(self, world: &mut World) -> Row {
        let mut row = Row::new(self);
        let published = self.publish(world, &mut row);
        let mut under_way = (Vec::new(), Vec::new());
        for number in 0..self.searches {
            let (peers, items) = &mut under_way;
            let there = |at: &usize| world.is_honest(published[*at].holder);
            let offset = number % published.len();
            let order = (offset..published.len()).chain(0..offset);
            // Whose holder has left there is nothing to find of.
            let Some(publication) = order.into_iter().find(there) else { break };
            let one = &published[publication];
            let aim = Aim::Peers { infohash: one.infohash, ids: Vec::new() };
            peers.push(begin(world, publication, aim));
            let aim = Aim::Item { target: one.item.target(), salt: SALT.to_vec() };
            items.push(begin(world, publication, aim));
            world.pass(SEARCH_GAP);
        }
        world.pass(SEARCHED);
        for search in under_way.0 {
            row.note_peers(world, &search, &published[search.publication]);
        }
        for search in under_way.1 {
            row.note_item(world, &search, &published[search.publication]);
        }
        row
    }

    fn publish(&self, world: &mut World, row: &mut Row) -> Vec<Publication> {
        let mut begun = Vec::new();
        for number in 0..self.publications {
            let (holder, infohash) = (world.somebody(), InfoHash::of(&number.to_be_bytes()));
            let aim = Aim::Announce { infohash, port: PORT, seed: true };
            let announce = world.begin(holder, aim);
            let item = item(number);
            let put = world.begin(holder, Aim::Put { item: item.clone(), cas: None });
            begun.push((Publication { holder, infohash, item }, announce, put));
            world.pass(PUBLISH_GAP);
        }
        world.pass(PUBLISHED);
        let mut published = Vec::new();
        for (publication, announce, put) in begun {
            let (announced, put) =
                (world.told(publication.holder, announce), world.told(publication.holder, put));
            if let (Some((_, outcome)), Some(_)) = (announced, put) {
                row.stored.push(outcome.stored);
                row.announcing.push(datagrams(&outcome));
                published.push(publication);
            }
        }
        published
    }
}

fn begin(world: &mut World, publication: usize, aim: Aim) -> Search {
    let seeker = world.somebody();
    Search { seeker, task: world.begin(seeker, aim), publication, began: world.now }
}

/// An item of one of many owners.
fn item(number: usize) -> Item {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    let value = Value::check(format!("i{number}e").as_bytes()).unwrap();
    Item::Mutable(ItemSecret::from_seed(seed).sign(SALT, 1, value).unwrap())
}

/// Queries of a task, and answers to it.
pub fn datagrams(outcome: &Outcome) -> u32 {
    let gifts = if outcome.stored > 0 { outcome.closest.len() as u32 } else { 0 };
    outcome.asked + outcome.answered + gifts + outcome.stored
}

fn is_made_up(peer: &SocketAddr) -> bool {
    peer.to_string().starts_with(&format!("{}.{}.", MADE_UP[0], MADE_UP[1]))
}

impl Row {
    const fn new(trial: Trial) -> Self {
        let none = Share { part: 0, all: 0 };
        Self {
            trial,
            found: none,
            got: none,
            hops: Vec::new(),
            times: Vec::new(),
            searching: Vec::new(),
            announcing: Vec::new(),
            stored: Vec::new(),
            false_peers: none,
        }
    }

    fn note_peers(&mut self, world: &mut World, search: &Search, publication: &Publication) {
        // Who leaves finds nothing any more.
        let Some((told, outcome)) = world.told(search.seeker, search.task) else { return };
        let (holder, mut first) = (world.address(publication.holder), None);
        for (at, event) in told {
            let Event::Peers { peers, hops, .. } = event else { continue };
            for peer in &peers {
                self.false_peers.count(is_made_up(peer));
            }
            if peers.contains(&holder) {
                first.get_or_insert((at, hops));
            }
        }
        self.found.count(first.is_some());
        self.searching.push(datagrams(&outcome));
        if let Some((at, hops)) = first {
            self.hops.push(hops);
            self.times.push((at - search.began).as_millis() as u32);
        }
    }

    fn note_item(&mut self, world: &mut World, search: &Search, publication: &Publication) {
        let Some((told, _)) = world.told(search.seeker, search.task) else { return };
        let is_it =
            |event: &Event| matches!(event, Event::Item { item, .. } if *item == publication.item);
        self.got.count(told.iter().any(|(_, event)| is_it(event)));
    }

    /// The head of the table.
    pub const HEAD: &str = "\
| nodes | loss % | liars % | mean session, min | peers found % | items found % | hops, median | hops, 90 % | s to the peer, median | s, 90 % | datagrams a search | datagrams an announce | kept at nodes | false peers % |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
";
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Trial { nodes, weather, .. } = self.trial;
        let session = weather
            .session
            .map_or("-".to_owned(), |mean| format!("{:.0}", mean.as_secs_f64() / 60.0));
        let seconds = |part| f64::from(quantile(&self.times, part)) / 1_000.0;
        writeln!(
            f,
            "| {nodes} | {:.0} | {:.0} | {session} | {:.1} | {:.1} | {} | {} | {:.1} | {:.1} | {:.0} | {:.0} | {:.1} | {:.1} |",
            weather.loss * 100.0,
            weather.liars * 100.0,
            self.found.percent(),
            self.got.percent(),
            quantile(&self.hops, 0.5),
            quantile(&self.hops, 0.9),
            seconds(0.5),
            seconds(0.9),
            mean(&self.searching),
            mean(&self.announcing),
            mean(&self.stored),
            self.false_peers.percent(),
        )
    }
}

/// The value that this part of all are no greater than.
pub fn quantile(values: &[u32], part: f64) -> u32 {
    let mut values = values.to_vec();
    values.sort_unstable();
    #[allow(clippy::cast_sign_loss, reason = "a part is positive")]
    let at = ((values.len() as f64 * part).ceil() as usize).max(1) - 1;
    values.get(at).copied().unwrap_or_default()
}

fn mean(values: &[u32]) -> f64 {
    values.iter().copied().map(f64::from).sum::<f64>() / values.len().max(1) as f64
}
