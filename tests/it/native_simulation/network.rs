//! The simulated network: nodes, the links between them, and a clock that is a number.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use offswarm::id::BlockId;
use offswarm::off::{Block, BlockSize};
use offswarm::peer::native::message::NativeMessage;
use rand::rngs::StdRng;
use rand::seq::{IteratorRandom, SliceRandom};
use rand::{RngExt, SeedableRng};

use super::get::{DEADLINE, Get};
use super::links::Link;
use super::node::{LIES, Nature, Node, Store};
use super::row::{Tally, Weather};
use super::tend::Tend;
use super::wire::Wire;

pub(super) type NodeKey = usize;
pub(super) type UrlKey = usize;
pub(super) type LinkKey = u64;
pub(super) type TaskKey = u64;

/// Blocks of a URL, and how many of them at most are recycled from others.
const URL_BLOCKS: usize = 12;
const RECYCLED: usize = 4;

const PUT_EVERY: Duration = Duration::from_secs(20 * 60);
const GET_EVERY: Duration = Duration::from_secs(150);
const TEND_EVERY: Duration = Duration::from_secs(3_600);
const ANNOUNCE_EVERY: Duration = Duration::from_secs(20 * 60);
const TICK: Duration = Duration::from_millis(250);

/// A URL is tried to be got when it has been put so long ago.
const SETTLE: Duration = Duration::from_secs(600);

/// How long an announce is remembered.
const ANNOUNCED: Duration = Duration::from_secs(30 * 60);

/// Of so many announced holders this part is not found by a lookup.
const LOST: f64 = 0.05;

/// A lookup takes up to so long, and is done again every so often.
const LOOKUP: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Url {
    blocks: Vec<BlockId>,
    put: Instant,
    announced: BTreeMap<NodeKey, Instant>,
}

pub(super) enum Task {
    Get(Box<Get>),
    Tend(Tend),
}

pub(super) enum Happening {
    Up(NodeKey),
    Down(NodeKey, Instant),
    Announce(NodeKey, Instant),
    Put,
    Get,
    Tend(NodeKey, UrlKey),
    /// A lookup for a task is over.
    Found(TaskKey),
    Tick(TaskKey),
    Greeted(LinkKey),
    Message(LinkKey, usize, NativeMessage),
    Serve(LinkKey),
}

/// A network and what happens in it.
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) tally: Tally,
    pub(super) weather: Weather,
    chance: StdRng,
    pub(super) nodes: Vec<Node>,
    pub(super) urls: Vec<Url>,
    pub(super) links: BTreeMap<LinkKey, Link>,
    pub(super) tasks: BTreeMap<TaskKey, Task>,
    happenings: BTreeMap<(Instant, u64), Happening>,
    pub(super) number: u64,
    pub(super) wire: Wire,
}

impl World {
    pub(super) fn new(seed: u64, weather: Weather) -> Self {
        let mut world = Self {
            now: Instant::now(),
            tally: Tally::default(),
            weather,
            chance: StdRng::seed_from_u64(seed),
            nodes: Vec::new(),
            urls: Vec::new(),
            links: BTreeMap::new(),
            tasks: BTreeMap::new(),
            happenings: BTreeMap::new(),
            number: 0,
            wire: Wire::new(),
        };
        for key in 0..weather.nodes {
            let node = world.some_node(key);
            world.nodes.push(node);
            let begins_up = world.chance.random_bool(weather.up_part());
            let after = if begins_up { Duration::ZERO } else { world.some_time(weather.down) };
            world.after(after, Happening::Up(key));
        }
        world.after(Duration::ZERO, Happening::Put);
        world.after(GET_EVERY, Happening::Get);
        world
    }

    /// Lets so much time pass: what was counted.
    pub(super) fn run(mut self, time: Duration) -> Tally {
        let end = self.now + time;
        while let Some(first) = self.happenings.first_entry().filter(|one| one.key().0 <= end) {
            self.now = first.key().0;
            self.tally.happened += 1;
            let happening = first.remove();
            self.happen(happening);
            self.tally.at_once = self.tally.at_once.max(self.happenings.len() + self.links.len());
        }
        self.tally.urls = self.urls.len();
        self.tally.evicted = self.nodes.iter().map(|node| node.store.evicted).sum();
        self.tally.copies = (0..self.urls.len()).map(|url| self.copies(url)).collect();
        self.tally
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Up(key) => self.goes_up(key),
            Happening::Down(key, since) if self.nodes[key].up_since == Some(since) => {
                self.goes_down(key);
            }
            Happening::Announce(key, since) if self.nodes[key].up_since == Some(since) => {
                self.announce_all(key);
                self.after(ANNOUNCE_EVERY, Happening::Announce(key, since));
            }
            Happening::Down(..) | Happening::Announce(..) => {}
            Happening::Put => {
                self.put();
                self.after(PUT_EVERY, Happening::Put);
            }
            Happening::Get => {
                self.get();
                self.after(GET_EVERY, Happening::Get);
            }
            Happening::Tend(node, url) => {
                self.after(TEND_EVERY, Happening::Tend(node, url));
                if self.nodes[node].is_up() {
                    self.tend(node, url);
                }
            }
            Happening::Found(task) => self.found(task),
            Happening::Tick(task) => self.tick(task),
            Happening::Greeted(link) => self.greeted(link),
            Happening::Message(link, end, message) => self.hear(link, end, message),
            Happening::Serve(link) => self.serve(link),
        }
    }

    pub(super) fn after(&mut self, time: Duration, happening: Happening) {
        self.at(self.now + time, happening);
    }

    pub(super) fn at(&mut self, at: Instant, happening: Happening) {
        self.number += 1;
        self.happenings.insert((at, self.number), happening);
    }

    /// A time with an exponential distribution.
    fn some_time(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(-(1.0 - self.chance.random::<f64>()).ln())
    }

    fn some_node(&mut self, key: NodeKey) -> Node {
        // Evenly mixed in: every so many nodes one lies.
        let liars_before = |key: usize| (key as f64 * self.weather.liars).floor();
        let lies = liars_before(key + 1) > liars_before(key);
        let lie = self.chance.random_range(0..LIES.len());
        let blocks_a_second = 2.0 * 20_f64.powf(self.chance.random());
        Node {
            nature: if lies { LIES[lie] } else { Nature::Honest },
            hosts: self.chance.random_bool(0.6) || lies,
            up_since: None,
            store: Store::new(self.weather.store),
            pace: Duration::from_secs_f64(1.0 / blocks_a_second),
            busy_until: self.now,
            delay: Duration::from_millis(self.chance.random_range(5..75)),
            knows: BTreeSet::new(),
            helps: BTreeSet::new(),
            banned: BTreeSet::new(),
        }
    }
}

/// What nodes do.
impl World {
    fn goes_up(&mut self, key: NodeKey) {
        let (now, stays) = (self.now, self.some_time(self.weather.up));
        let node = &mut self.nodes[key];
        (node.up_since, node.busy_until) = (Some(now), now);
        self.after(stays, Happening::Down(key, now));
        self.at(now, Happening::Announce(key, now));
    }

    /// It leaves without a word. It keeps what it has.
    fn goes_down(&mut self, key: NodeKey) {
        self.nodes[key].up_since = None;
        let own = self.tasks.iter().filter(|(_, task)| task.node() == key).map(|(key, _)| *key);
        for task in own.collect::<Vec<_>>() {
            let task = self.tasks.remove(&task).unwrap();
            self.tally.broken_off += usize::from(matches!(task, Task::Get(_)));
            self.end(&task);
        }
        let away = self.some_time(self.weather.down);
        self.after(away, Happening::Up(key));
    }

    /// Says that it holds blocks of URLs, or of each as a liar.
    fn announce_all(&mut self, key: NodeKey) {
        let node = &self.nodes[key];
        let urls: Vec<UrlKey> = if node.is_honest() {
            let all = node.knows.union(&node.helps).copied();
            all.filter(|url| self.urls[*url].blocks.iter().any(|id| node.store.has(id))).collect()
        } else {
            (0..self.urls.len()).collect()
        };
        for url in urls {
            self.announce(url, key);
        }
    }

    pub(super) fn announce(&mut self, url: UrlKey, key: NodeKey) {
        self.urls[url].announced.insert(key, self.now);
    }

    fn somebody(&mut self) -> Option<NodeKey> {
        let up = self.nodes.iter().enumerate().filter(|(_, node)| node.is_up() && node.is_honest());
        up.map(|(key, _)| key).choose(&mut self.chance)
    }

    fn put(&mut self) {
        let Some(key) = self.somebody() else { return };
        let (now, url) = (self.now, self.urls.len());
        let here = self.nodes[key].store.ids().copied();
        let mut blocks = here.sample(&mut self.chance, RECYCLED);
        for _ in blocks.len()..URL_BLOCKS {
            let block = Block::random(BlockSize::LegacyNano, &mut self.chance);
            self.nodes[key].store.keep(block.id(), block.bytes().clone(), now);
            blocks.push(block.id());
        }
        self.urls.push(Url { blocks, put: now, announced: BTreeMap::new() });
        self.knows(key, url, Duration::ZERO);
    }

    /// Somebody gets a URL that is not whole there.
    fn get(&mut self) {
        let ripe = self.urls.iter().filter(|url| self.now >= url.put + SETTLE).count();
        let (Some(key), true) = (self.somebody(), ripe > 0) else { return };
        let url = self.chance.random_range(0..ripe);
        if self.missing(key, url).is_empty() {
            return;
        }
        self.number += 1;
        let task = self.number;
        let get = Get::begin(self, task, key, url);
        self.start(task, Task::Get(Box::new(get)));
    }

    fn tend(&mut self, key: NodeKey, url: UrlKey) {
        self.number += 1;
        let task = self.number;
        let tend = Tend::begin(self, task, key, url);
        self.start(task, Task::Tend(tend));
    }

    /// A URL is here from now on, and looked after, for the first time after so long.
    fn knows(&mut self, key: NodeKey, url: UrlKey, first: Duration) {
        let node = &mut self.nodes[key];
        if node.knows.insert(url) {
            for id in &self.urls[url].blocks {
                node.store.is_used(id);
            }
            self.after(first, Happening::Tend(key, url));
        }
        self.announce(url, key);
    }
}

impl Task {
    const fn node(&self) -> NodeKey {
        match self {
            Self::Get(get) => get.node,
            Self::Tend(tend) => tend.node,
        }
    }

    pub(super) const fn url(&self) -> UrlKey {
        match self {
            Self::Get(get) => get.url,
            Self::Tend(tend) => tend.url,
        }
    }
}

/// Tasks of nodes.
impl World {
    fn start(&mut self, key: TaskKey, task: Task) {
        self.tasks.insert(key, task);
        let lookup = LOOKUP.mul_f64(self.chance.random());
        self.after(lookup, Happening::Found(key));
        self.after(TICK, Happening::Tick(key));
    }

    /// Has a task go on, unless it is over.
    pub(super) fn with(&mut self, key: TaskKey, go_on: impl FnOnce(&mut Self, &mut Task)) {
        let Some(mut task) = self.tasks.remove(&key) else { return };
        go_on(self, &mut task);
        let (now, node, url) = (self.now, task.node(), task.url());
        let is_over = match &task {
            Task::Get(get) => {
                let is_over = get.is_done() || now >= get.began + DEADLINE;
                if is_over {
                    let lasting = self.lasting(get);
                    self.tally.note_get(get.is_done(), lasting, now - get.began);
                }
                if get.is_done() {
                    self.knows(node, url, TEND_EVERY);
                }
                is_over
            }
            Task::Tend(tend) => tend.is_over(now),
        };
        if is_over {
            self.end(&task);
        } else {
            self.tasks.insert(key, task);
        }
    }

    fn end(&mut self, task: &Task) {
        let links: Vec<LinkKey> = match task {
            Task::Get(get) => get.links().collect(),
            Task::Tend(tend) => tend.links().collect(),
        };
        for link in links {
            self.hang_up(link);
        }
    }

    fn found(&mut self, key: TaskKey) {
        self.with(key, |world, task| {
            let holders = world.look_for(task.url(), task.node());
            match task {
                Task::Get(get) => {
                    get.found(world, holders);
                    world.after(LOOK_EVERY, Happening::Found(key));
                }
                Task::Tend(tend) => tend.found(world, holders),
            }
        });
    }

    fn tick(&mut self, key: TaskKey) {
        self.with(key, |world, task| match task {
            Task::Get(get) => get.tick(world),
            Task::Tend(tend) => tend.go_on(world),
        });
        if self.tasks.contains_key(&key) {
            self.after(TICK, Happening::Tick(key));
        }
    }

    /// What a lookup of a node finds, in any order.
    fn look_for(&mut self, url: UrlKey, seeker: NodeKey) -> Vec<NodeKey> {
        let fresh = self.now.checked_sub(ANNOUNCED);
        let announced = self.urls[url].announced.iter();
        let announced = announced.filter(|(key, at)| Some(**at) >= fresh && **key != seeker);
        let mut found: Vec<NodeKey> = announced.map(|(key, _)| *key).collect();
        found.retain(|_| !self.chance.random_bool(LOST));
        found.shuffle(&mut self.chance);
        found
    }

    /// Holders of each block that were there from the beginning of a get to now: the least of them.
    fn lasting(&self, get: &Get) -> usize {
        let lasts = |key: &NodeKey, id: &BlockId| {
            let node = &self.nodes[*key];
            let was = |since: Option<Instant>| since.is_some_and(|since| since <= get.began);
            was(node.up_since) && was(node.store.since(id))
        };
        let counts = get.could.iter().map(|(id, keys)| keys.iter().filter(|key| lasts(key, id)));
        counts.map(Iterator::count).min().unwrap_or_default()
    }

    /// Copies of the rarest block at nodes that are up or down. Liars have none.
    fn copies(&self, url: UrlKey) -> usize {
        let has = |id: &BlockId| self.nodes.iter().filter(|node| node.store.has(id)).count();
        self.urls[url].blocks.iter().map(has).min().unwrap_or_default()
    }
}

/// What tasks see and do.
impl World {
    pub(super) fn node(&self, key: NodeKey) -> &Node {
        &self.nodes[key]
    }

    pub(super) fn blocks_of(&self, url: UrlKey) -> &[BlockId] {
        &self.urls[url].blocks
    }

    pub(super) fn missing(&self, node: NodeKey, url: UrlKey) -> Vec<BlockId> {
        let blocks = self.urls[url].blocks.iter();
        blocks.filter(|id| !self.nodes[node].store.has(id)).copied().collect()
    }

    /// Honest nodes that are up, announced and have a block.
    pub(super) fn honest_holders(
        &self,
        url: UrlKey,
        but: NodeKey,
        id: &BlockId,
    ) -> BTreeSet<NodeKey> {
        let is_one = |key: &NodeKey| {
            let node = &self.nodes[*key];
            *key != but && node.is_up() && node.is_honest() && node.store.has(id)
        };
        let announced = self.urls[url].announced.iter();
        let fresh = announced.filter(|(_, at)| self.now + DEADLINE < **at + ANNOUNCED);
        fresh.map(|(key, _)| *key).filter(is_one).collect()
    }

    /// Others that are up, in any order.
    pub(super) fn others(&mut self, but: NodeKey) -> Vec<NodeKey> {
        let mut others: Vec<NodeKey> =
            (0..self.nodes.len()).filter(|key| *key != but && self.nodes[*key].is_up()).collect();
        others.shuffle(&mut self.chance);
        others
    }

    pub(super) fn one_of(&mut self, ids: &BTreeSet<BlockId>) -> Option<BlockId> {
        ids.iter().copied().choose(&mut self.chance)
    }

    pub(super) fn keep(&mut self, node: NodeKey, id: BlockId, bytes: Bytes) {
        self.nodes[node].store.keep(id, bytes, self.now);
    }

    pub(super) fn read(&mut self, node: NodeKey, id: &BlockId) -> Option<Bytes> {
        self.nodes[node].store.read(id)
    }

    pub(super) fn ban(&mut self, by: NodeKey, liar: NodeKey) {
        assert_eq!(self.nodes[liar].nature, Nature::Wrong, "only who sends wrong bytes is banned");
        self.nodes[by].banned.insert(liar);
        self.tally.banned += 1;
    }
}
