//! Which block is asked of which node: the rules, without a socket and without a clock.
//!
//! Every wanted block is asked of one node at a time, of each node once, until one gives it. A node
//! answers several calls at the same time. Who does not have a block names others, and these are asked,
//! too. Who gives other bytes than were asked for is asked no more; who does not answer is asked again
//! later, and after some times no more.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::id::{BlockId, LegacyId};
use crate::limits::legacy::{
    LEGACY_CALLS, LEGACY_CALLS_PER_NODE, LEGACY_PATIENCE, MAX_LEGACY_NODES,
};
use crate::off::BlockSize;

use super::peer::LegacyPeer;

/// How long a node that has not answered is left alone, the first time; then twice as long each time.
const PAUSE: Duration = Duration::from_secs(1);

/// A call to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// Number of the node.
    pub node: usize,
    /// Whom to call.
    pub peer: LegacyPeer,
    /// The block to ask for.
    pub id: BlockId,
    /// Its size.
    pub size: BlockSize,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The block came and is kept.
    Here,
    /// It is here otherwise: nobody was called.
    Needless,
    /// The node does not have it, and names others. Where it was called.
    Elsewhere(Vec<LegacyPeer>, IpAddr),
    /// It gave something else.
    Wrong,
    /// It gave no answer.
    Silent,
}

#[derive(Debug)]
struct Node {
    peer: LegacyPeer,
    in_flight: usize,
    /// Whether it has answered anything.
    answers: bool,
    /// Calls in a row that had no answer.
    silent: u32,
    /// It is not asked before.
    rests_until: Option<Instant>,
    /// It is asked no more.
    given_up: bool,
    /// It was asked for all blocks before this rank that are ready: they wait for others.
    asked_before: i64,
}

#[derive(Debug)]
struct Wish {
    size: BlockSize,
    rank: i64,
    /// Nodes that were asked and do not have it, a bit each.
    asked: u64,
    in_flight: bool,
}

/// What is wanted of the nodes.
#[derive(Debug, Default)]
pub struct Picker {
    nodes: Vec<Node>,
    known: HashSet<LegacyId>,
    wishes: HashMap<BlockId, Wish>,
    /// Blocks that somebody may be asked for now or later, by rank.
    ready: BTreeMap<i64, BlockId>,
    /// Blocks that all were asked for.
    unclaimed: BTreeMap<i64, BlockId>,
    first_rank: i64,
    next_rank: i64,
    calls: usize,
}

impl Picker {
    /// Nothing is wanted, of nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says which id is ours: who has it is not asked, whoever names it.
    pub fn we_are(&mut self, id: LegacyId) {
        self.known.insert(id);
    }

    /// Adds nodes to ask. Those that are too many are left out.
    pub fn add_nodes(&mut self, peers: impl IntoIterator<Item = LegacyPeer>) {
        let before = self.nodes.len();
        for peer in peers {
            if self.nodes.len() < MAX_LEGACY_NODES && self.known.insert(peer.id) {
                self.nodes.push(Node {
                    peer,
                    in_flight: 0,
                    answers: false,
                    silent: 0,
                    rests_until: None,
                    given_up: false,
                    asked_before: i64::MIN,
                });
            }
        }
        if self.nodes.len() > before {
            self.ready.append(&mut self.unclaimed);
        }
    }

    /// Wants a block. `false` if it was wanted already.
    pub fn want(&mut self, id: BlockId, size: BlockSize) -> bool {
        if self.wishes.contains_key(&id) {
            return false;
        }
        let rank = self.next_rank;
        self.next_rank += 1;
        self.wishes.insert(id, Wish { size, rank, asked: 0, in_flight: false });
        self.queue(id);
        true
    }

    /// Does not want a block any more. `false` if it was not wanted.
    pub fn unwant(&mut self, id: &BlockId) -> bool {
        let Some(wish) = self.wishes.remove(id) else { return false };
        self.ready.remove(&wish.rank);
        self.unclaimed.remove(&wish.rank);
        true
    }

    /// Wants a block before all others.
    pub fn hurry(&mut self, id: &BlockId) {
        let Some(wish) = self.wishes.get_mut(id) else { return };
        if wish.rank == self.first_rank {
            return;
        }
        self.first_rank -= 1;
        let old = std::mem::replace(&mut wish.rank, self.first_rank);
        if self.unclaimed.remove(&old).is_some() {
            self.unclaimed.insert(self.first_rank, *id);
        } else if self.ready.remove(&old).is_some() {
            let asked = wish.asked;
            self.offer(*id, self.first_rank, asked);
        }
    }

    /// The next call to make, if one is to be made now.
    pub fn next(&mut self, now: Instant) -> Option<Job> {
        if self.calls >= LEGACY_CALLS {
            return None;
        }
        let mut free: Vec<usize> =
            (0..self.nodes.len()).filter(|number| self.is_free(*number, now)).collect();
        free.sort_by_key(|number| self.nodes.get(*number).map(|node| node.in_flight));
        let mut free = free.into_iter();
        let found = free.find_map(|number| Some((number, self.first_for(number)?)));
        let (number, id) = found?;
        let (node, wish) = (self.nodes.get_mut(number)?, self.wishes.get_mut(&id)?);
        node.in_flight += 1;
        wish.in_flight = true;
        self.ready.remove(&wish.rank);
        self.calls += 1;
        Some(Job { node: number, peer: node.peer, id, size: wish.size })
    }

    fn is_free(&self, number: usize, now: Instant) -> bool {
        self.nodes.get(number).is_some_and(|node| {
            // Who has not answered yet is tried with one call.
            let most = if node.silent > 0 { 1 } else { LEGACY_CALLS_PER_NODE };
            let rests = node.rests_until.is_some_and(|until| now < until);
            !node.given_up && !rests && node.in_flight < most
        })
    }

    /// The first block that a node was not asked for.
    fn first_for(&mut self, number: usize) -> Option<BlockId> {
        let node = self.nodes.get_mut(number)?;
        let was_asked =
            |id: &BlockId| self.wishes.get(id).is_none_or(|wish| wish.asked & bit(number) != 0);
        let found = self.ready.range(node.asked_before..).find(|(_, id)| !was_asked(id));
        node.asked_before = found.map_or(self.next_rank, |(rank, _)| *rank);
        found.map(|(_, id)| *id)
    }

    /// Puts a block among those that are ready.
    fn offer(&mut self, id: BlockId, rank: i64, asked: u64) {
        self.ready.insert(rank, id);
        for (number, node) in self.nodes.iter_mut().enumerate() {
            if asked & bit(number) == 0 {
                node.asked_before = node.asked_before.min(rank);
            }
        }
    }

    /// Says what came of a call. `true` if the block is wanted no more because it is here.
    pub fn done(&mut self, job: &Job, outcome: &Outcome, now: Instant) -> bool {
        self.calls = self.calls.saturating_sub(1);
        let Some(node) = self.nodes.get_mut(job.node) else { return false };
        node.in_flight = node.in_flight.saturating_sub(1);
        match outcome {
            Outcome::Silent => {
                // Calls that fail together are one failure, or a restart would be the end.
                if node.rests_until.is_none_or(|until| until <= now) {
                    node.silent += 1;
                    node.rests_until = Some(now + PAUSE * 2_u32.pow((node.silent - 1).min(6)));
                    node.given_up |= node.silent >= LEGACY_PATIENCE;
                }
            }
            Outcome::Wrong => node.given_up = true,
            Outcome::Needless => {}
            Outcome::Here | Outcome::Elsewhere(..) => {
                (node.answers, node.silent, node.rests_until) = (true, 0, None);
            }
        }
        let given_up = node.given_up;
        if let Outcome::Elsewhere(told, by) = outcome {
            let by = *by;
            self.add_nodes(told.iter().filter(|peer| peer.may_be_told(by)).copied());
        }
        if matches!(outcome, Outcome::Here | Outcome::Needless) {
            return self.unwant(&job.id);
        }
        if let Some(wish) = self.wishes.get_mut(&job.id) {
            wish.in_flight = false;
            if *outcome != Outcome::Silent {
                wish.asked |= bit(job.node);
            }
        }
        if given_up {
            self.requeue_all();
        } else {
            self.queue(job.id);
        }
        false
    }

    /// Puts a block where it belongs that is not being asked for.
    fn queue(&mut self, id: BlockId) {
        let live = self.live();
        let Some(wish) = self.wishes.get(&id).filter(|wish| !wish.in_flight) else { return };
        let Wish { rank, asked, .. } = *wish;
        if live & !asked == 0 {
            self.unclaimed.insert(rank, id);
        } else {
            self.offer(id, rank, asked);
        }
    }

    fn requeue_all(&mut self) {
        self.ready.clear();
        self.unclaimed.clear();
        let ids: Vec<BlockId> = self.wishes.keys().copied().collect();
        for id in ids {
            self.queue(id);
        }
    }

    /// Nodes that are asked, a bit each.
    fn live(&self) -> u64 {
        let live = (0..).zip(&self.nodes).filter(|(_, node)| !node.given_up);
        live.map(|(number, _)| bit(number)).fold(0, |all, one| all | one)
    }

    /// When the next node may be asked again that rests now.
    #[must_use]
    pub fn wakes_after(&self, now: Instant) -> Option<Instant> {
        let resting = self.nodes.iter().filter(|node| !node.given_up);
        resting.filter_map(|node| node.rests_until).filter(|until| *until > now).min()
    }

    /// Blocks that are wanted.
    #[must_use]
    pub fn wanted(&self) -> usize {
        self.wishes.len()
    }

    /// Whether a block is wanted.
    #[must_use]
    pub fn wants(&self, id: &BlockId) -> bool {
        self.wishes.contains_key(id)
    }

    /// Blocks that nobody has of those who were asked, in order.
    pub fn unclaimed(&self) -> impl Iterator<Item = BlockId> + '_ {
        self.unclaimed.values().copied()
    }

    /// Blocks that are being asked for.
    pub fn in_flight(&self) -> impl Iterator<Item = BlockId> + '_ {
        self.wishes.iter().filter(|(_, wish)| wish.in_flight).map(|(id, _)| *id)
    }

    /// Calls under way.
    #[must_use]
    pub const fn calls(&self) -> usize {
        self.calls
    }

    /// Nodes: all that were heard of, those that answer, and those that have not said anything yet.
    #[must_use]
    pub fn nodes(&self) -> [usize; 3] {
        let live = || self.nodes.iter().filter(|node| !node.given_up);
        let answering = live().filter(|node| node.answers).count();
        [self.nodes.len(), answering, live().count() - answering]
    }
}

/// The bit of a node. There are at most 64: [`MAX_LEGACY_NODES`].
const fn bit(number: usize) -> u64 {
    1 << (number % 64)
}

#[cfg(test)]
mod tests;
