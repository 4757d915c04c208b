//! A node gets a URL: it looks for holders again and again, and wants the blocks of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use offswarm::id::BlockId;
use offswarm::limits::MAX_NATIVE_PEERS;
use offswarm::off::Block;
use offswarm::peer::native::picker::Picker;
use offswarm::peer::native::session::Event;

use super::links::Purpose;
use super::network::{LinkKey, NodeKey, TaskKey, UrlKey, World};

/// How long a get may take.
pub(super) const DEADLINE: Duration = Duration::from_secs(300);

/// Before a node is dialled again.
const REDIAL: Duration = Duration::from_secs(60);

const PICKER: u64 = 0;

/// A get under way.
#[derive(Debug)]
pub(super) struct Get {
    pub(super) task: TaskKey,
    pub(super) node: NodeKey,
    pub(super) url: UrlKey,
    pub(super) began: Instant,
    picker: Picker,
    links: BTreeMap<LinkKey, NodeKey>,
    /// Found and not dialled yet.
    waiting: VecDeque<NodeKey>,
    dialled: BTreeMap<NodeKey, Instant>,
    /// Each block that was missing at the beginning, and the honest nodes that had it then.
    pub(super) could: Vec<(BlockId, BTreeSet<NodeKey>)>,
}

impl Get {
    pub(super) fn begin(world: &mut World, task: TaskKey, node: NodeKey, url: UrlKey) -> Self {
        let missing = world.missing(node, url);
        let could = missing.iter().map(|id| (*id, world.honest_holders(url, node, id))).collect();
        let mut picker = Picker::new(task);
        picker.want(missing);
        Self {
            task,
            node,
            url,
            began: world.now,
            picker,
            links: BTreeMap::new(),
            waiting: VecDeque::new(),
            dialled: BTreeMap::new(),
            could,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.picker.is_idle()
    }

    pub(super) fn links(&self) -> impl Iterator<Item = LinkKey> {
        self.links.keys().copied()
    }

    /// Holders were found, some of them not for the first time.
    pub(super) fn found(&mut self, world: &mut World, holders: Vec<NodeKey>) {
        let fresh = |node: &NodeKey| {
            self.dialled.get(node).is_none_or(|at| world.now >= *at + REDIAL)
                && !self.waiting.contains(node)
                && !self.links.values().any(|other| other == node)
        };
        let fresh: Vec<NodeKey> = holders.into_iter().filter(fresh).collect();
        self.waiting.extend(fresh);
        self.dial(world);
    }

    pub(super) fn greeted(&mut self, world: &mut World, link: LinkKey) {
        self.picker.join(link, world.now);
        self.fill(world, link);
    }

    pub(super) fn happened(&mut self, world: &mut World, link: LinkKey, event: Event) {
        match event {
            Event::Have { ids, have, .. } => {
                self.picker.answered(link, &ids, &have, world.now);
                self.fill(world, link);
            }
            Event::Lack(ids) => {
                self.picker.lacked(link, &ids, world.now);
                self.fill_all(world);
            }
            Event::Block(id, bytes) => self.came(world, link, id, bytes),
            Event::Pushed { .. } | Event::Peers(_) => panic!("nobody said so"),
        }
    }

    /// Every quarter of a second: who stalls, and what is overdue.
    pub(super) fn tick(&mut self, world: &mut World) {
        for link in self.picker.tick(world.now) {
            world.session(link).snub();
        }
        let now = world.now;
        let stalled: Vec<LinkKey> =
            self.links().filter(|link| world.session(*link).tick(now).is_err()).collect();
        for link in stalled {
            self.hang_up(world, link);
        }
        self.dial(world);
        self.fill_all(world);
    }

    fn came(&mut self, world: &mut World, link: LinkKey, id: BlockId, bytes: Bytes) {
        if Block::check(id, bytes.clone()).is_err() {
            self.picker.wrong(link, &id, world.now);
            world.ban(self.node, self.links[&link]);
            self.hang_up(world, link);
            self.dial(world);
            self.fill_all(world);
            return;
        }
        let arrived = self.picker.arrived(link, &id, world.now);
        if arrived.wanted {
            world.keep(self.node, id, bytes);
            world.tally.got += 1;
        }
        for other in arrived.cancel {
            world.session(other).cancel(&[id]);
            world.pump(other, 0);
        }
        self.fill(world, link);
    }

    fn dial(&mut self, world: &mut World) {
        while self.links.len() < MAX_NATIVE_PEERS
            && let Some(peer) = self.waiting.pop_front()
        {
            if world.node(self.node).banned.contains(&peer) {
                continue;
            }
            self.dialled.insert(peer, world.now);
            if let Some(link) = world.dial(self.task, Purpose::Get, [self.node, peer]) {
                self.links.insert(link, peer);
            }
        }
    }

    fn hang_up(&mut self, world: &mut World, link: LinkKey) {
        self.links.remove(&link);
        self.picker.leave(link, world.now);
        world.hang_up(link);
    }

    fn fill_all(&mut self, world: &mut World) {
        for link in self.links().collect::<Vec<_>>() {
            self.fill(world, link);
        }
    }

    /// Asks a peer for what it may have and has room for.
    fn fill(&mut self, world: &mut World, link: LinkKey) {
        let now = world.now;
        if world.session(link).theirs().is_none() {
            return;
        }
        let ask = self.picker.to_ask(link, now);
        let room = world.session(link).room();
        let flying = self.picker.all_in_flight();
        let next = self.picker.next(link, room, now);
        if !ask.is_empty() {
            world.session(link).ask(PICKER, ask, true, now);
        }
        if !next.is_empty() {
            world.tally.asked += next.len();
            world.tally.asked_of_two += next.iter().filter(|id| flying.contains(id)).count();
            world.session(link).want(&next, now);
        }
        world.pump(link, 0);
    }
}
