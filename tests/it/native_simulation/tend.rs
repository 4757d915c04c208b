//! A node looks after a URL that it knows: it asks how many copies there are, and pushes blocks with
//! too few to others.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use offswarm::id::BlockId;
use offswarm::off::Block;
use offswarm::peer::native::session::Event;

use super::links::Purpose;
use super::network::{LinkKey, NodeKey, TaskKey, UrlKey, World};

/// Copies there are to be of each block, our own among them.
pub(super) const COPIES: usize = 4;

/// How long answers are waited for, and then how long is pushed.
const ASKING: Duration = Duration::from_secs(10);
const PUSHING: Duration = Duration::from_secs(60);

/// Holders asked, and nodes that are met to push blocks to.
const ASKED: usize = 20;
const MET: usize = 16;

/// Pushes to one node without an answer.
const PUSHED_AT_ONCE: usize = 4;

const CENSUS: u64 = 1;
const PUSH: u64 = 2;

#[derive(Debug)]
struct Peer {
    node: NodeKey,
    /// What it says it has, and what was pushed to it, kept or not.
    no_more: BTreeSet<BlockId>,
    is_heard: bool,
    /// It has refused a block, or lied.
    is_full: bool,
}

/// A look after a URL under way.
#[derive(Debug)]
pub(super) struct Tend {
    pub(super) task: TaskKey,
    pub(super) node: NodeKey,
    pub(super) url: UrlKey,
    peers: BTreeMap<LinkKey, Peer>,
    /// Blocks here, and how many more copies are wanted of each, or on their way to be.
    short: BTreeMap<BlockId, usize>,
    /// Pushes without an answer.
    flying: usize,
    /// Until when answers are waited for, or is pushed; `None` before the lookup.
    until: Option<Instant>,
    pushes: bool,
}

impl Tend {
    pub(super) fn begin(world: &World, task: TaskKey, node: NodeKey, url: UrlKey) -> Self {
        let here = world.blocks_of(url).iter().filter(|id| world.node(node).store.has(id));
        let short = here.map(|id| (*id, COPIES - 1)).collect();
        let peers = BTreeMap::new();
        Self { task, node, url, peers, short, flying: 0, until: None, pushes: false }
    }

    pub(super) fn links(&self) -> impl Iterator<Item = LinkKey> {
        self.peers.keys().copied()
    }

    /// Whether nothing is left to be done.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let is_enough = self.flying == 0 && self.short.values().all(|short| *short == 0);
        self.pushes && (is_enough || self.until <= Some(now))
    }

    pub(super) fn found(&mut self, world: &mut World, holders: Vec<NodeKey>) {
        self.dial(world, holders, ASKED);
        self.until = Some(world.now + ASKING);
        self.go_on(world);
    }

    pub(super) fn greeted(&mut self, world: &mut World, link: LinkKey) {
        let ids: Vec<BlockId> = self.short.keys().copied().collect();
        if ids.is_empty() {
            return;
        }
        let now = world.now;
        world.session(link).ask(CENSUS, ids, true, now);
        world.pump(link, 0);
    }

    pub(super) fn happened(&mut self, world: &mut World, link: LinkKey, event: Event) {
        match event {
            Event::Have { errand: CENSUS, ids, have, .. } => {
                let claimed = ids.into_iter().zip(have).filter(|(_, has)| *has).map(|(id, _)| id);
                self.claims(world, link, claimed.collect());
            }
            Event::Block(id, bytes) if Block::check(id, bytes.clone()).is_ok() => {
                self.count(link);
            }
            Event::Block(..) => {
                world.ban(self.node, self.peers[&link].node);
                self.distrust(link);
            }
            Event::Lack(_) => self.distrust(link),
            Event::Pushed { errand: PUSH, id, kept } => {
                self.flying -= 1;
                self.peers.get_mut(&link).unwrap().is_full |= !kept;
                *self.short.get_mut(&id).unwrap() += usize::from(!kept);
            }
            event => panic!("nobody said so: {event:?}"),
        }
        self.go_on(world);
    }

    /// A peer says what it has. It may have to give one of the blocks to be believed.
    fn claims(&mut self, world: &mut World, link: LinkKey, claimed: BTreeSet<BlockId>) {
        let proof = world.one_of(&claimed).filter(|_| world.weather.proof);
        self.peers.get_mut(&link).unwrap().no_more = claimed;
        let Some(id) = proof else { return self.count(link) };
        let now = world.now;
        world.session(link).want(&[id], now);
        world.pump(link, 0);
    }

    /// What a peer says it has counts.
    fn count(&mut self, link: LinkKey) {
        let peer = self.peers.get_mut(&link).unwrap();
        peer.is_heard = true;
        for id in &peer.no_more {
            if let Some(short) = self.short.get_mut(id) {
                *short = short.saturating_sub(1);
            }
        }
    }

    /// What a peer says does not count, and nothing is pushed to it.
    fn distrust(&mut self, link: LinkKey) {
        let peer = self.peers.get_mut(&link).unwrap();
        (peer.is_heard, peer.is_full) = (true, true);
    }

    fn dial(&mut self, world: &mut World, nodes: Vec<NodeKey>, most: usize) {
        for node in nodes.into_iter().take(most) {
            if self.peers.values().any(|peer| peer.node == node) {
                continue;
            }
            if let Some(link) = world.dial(self.task, Purpose::Copies, [self.node, node]) {
                let peer = Peer { node, no_more: BTreeSet::new(), is_heard: false, is_full: false };
                self.peers.insert(link, peer);
            }
        }
    }

    /// Something has happened, or time has passed.
    pub(super) fn go_on(&mut self, world: &mut World) {
        let Some(until) = self.until else { return };
        if self.pushes {
            self.push(world);
        } else if world.now >= until || self.peers.values().all(|peer| peer.is_heard) {
            self.pushes = true;
            self.until = Some(world.now + PUSHING);
            if self.short.values().any(|short| *short > 0) {
                let others = world.others(self.node);
                self.dial(world, others, MET);
            }
            self.push(world);
        }
    }

    /// Pushes to those who keep blocks of others and have said what they have.
    fn push(&mut self, world: &mut World) {
        let now = world.now;
        for (link, peer) in &mut self.peers {
            let hosts = world.session(*link).theirs().is_some_and(|hello| hello.hosts);
            if !(hosts && peer.is_heard) || peer.is_full {
                continue;
            }
            while world.session(*link).unanswered() < PUSHED_AT_ONCE {
                let wanting =
                    |one: &(&BlockId, &mut usize)| *one.1 > 0 && !peer.no_more.contains(one.0);
                let Some((id, short)) = self.short.iter_mut().find(wanting) else { break };
                let Some(bytes) = world.read(self.node, id) else {
                    // Evicted meanwhile.
                    *short = 0;
                    continue;
                };
                *short -= 1;
                self.flying += 1;
                peer.no_more.insert(*id);
                world.session(*link).push(PUSH, *id, bytes, now);
            }
            world.pump(*link, 0);
        }
    }
}
