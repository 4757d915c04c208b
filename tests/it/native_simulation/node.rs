//! One node of the simulated network: what it is, and what it has.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use offswarm::id::BlockId;

/// How a node deals with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nature {
    Honest,
    /// Says it has everything, and sends other bytes.
    Wrong,
    /// Says it has everything, and lacks it when it is wanted.
    Lacking,
    /// Says it has everything, and sends nothing.
    Mute,
    /// Answers nothing at all.
    Deaf,
    /// Says it keeps what is pushed, throws it away, and says it has it; what it is asked for it lacks.
    Forgetful,
}

/// The ways to lie, which liars share evenly.
pub(super) const LIES: [Nature; 5] =
    [Nature::Wrong, Nature::Lacking, Nature::Mute, Nature::Deaf, Nature::Forgetful];

#[derive(Debug)]
struct Held {
    bytes: Bytes,
    since: Instant,
    /// How many known URLs use it.
    uses: u32,
    hosted: bool,
    touched: u64,
}

/// The blocks of a node, no more than its limit. The first to be evicted is what the fewest known
/// URLs use, and of those what was last needed longest ago. A hosted block counts as used once.
#[derive(Debug)]
pub(super) struct Store {
    blocks: BTreeMap<BlockId, Held>,
    limit: usize,
    hosted: usize,
    touches: u64,
    pub(super) evicted: usize,
}

impl Store {
    pub(super) const fn new(limit: usize) -> Self {
        Self { blocks: BTreeMap::new(), limit, hosted: 0, touches: 0, evicted: 0 }
    }

    pub(super) fn has(&self, id: &BlockId) -> bool {
        self.blocks.contains_key(id)
    }

    /// Since when a block is here without a break.
    pub(super) fn since(&self, id: &BlockId) -> Option<Instant> {
        self.blocks.get(id).map(|held| held.since)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &BlockId> {
        self.blocks.keys()
    }

    /// A block is needed.
    pub(super) fn read(&mut self, id: &BlockId) -> Option<Bytes> {
        self.touches += 1;
        let held = self.blocks.get_mut(id)?;
        held.touched = self.touches;
        Some(held.bytes.clone())
    }

    /// Keeps a block.
    pub(super) fn keep(&mut self, id: BlockId, bytes: Bytes, now: Instant) {
        self.insert(id, bytes, false, now);
    }

    /// A known URL uses a block, if that is here.
    pub(super) fn is_used(&mut self, id: &BlockId) {
        if let Some(held) = self.blocks.get_mut(id) {
            held.uses += 1;
        }
    }

    /// Keeps a block of others, which take half the limit at most: whether it is here now.
    pub(super) fn host(&mut self, id: BlockId, bytes: Bytes, now: Instant) -> bool {
        if self.has(&id) {
            return true;
        }
        let has_room = self.hosted < self.limit / 2;
        if has_room {
            self.insert(id, bytes, true, now);
        }
        has_room
    }

    fn insert(&mut self, id: BlockId, bytes: Bytes, hosted: bool, now: Instant) {
        if self.has(&id) {
            return;
        }
        while self.blocks.len() >= self.limit {
            self.evict();
        }
        self.touches += 1;
        self.hosted += usize::from(hosted);
        let held = Held { bytes, since: now, uses: 0, hosted, touched: self.touches };
        self.blocks.insert(id, held);
    }

    fn evict(&mut self) {
        let worth = |held: &Held| (held.uses + u32::from(held.hosted), held.touched);
        let least = self.blocks.iter().min_by_key(|(_, held)| worth(held)).map(|(id, _)| *id);
        let held = least.and_then(|id| self.blocks.remove(&id)).unwrap();
        self.hosted -= usize::from(held.hosted);
        self.evicted += 1;
    }
}

/// A node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) nature: Nature,
    /// Whether it keeps blocks of others.
    pub(super) hosts: bool,
    pub(super) up_since: Option<Instant>,
    pub(super) store: Store,
    /// What it takes to send a block.
    pub(super) pace: Duration,
    pub(super) busy_until: Instant,
    /// Its part of the way to any other node.
    pub(super) delay: Duration,
    /// URLs that it has put or got, and looks after.
    pub(super) knows: BTreeSet<usize>,
    /// URLs of which others have pushed blocks to it.
    pub(super) helps: BTreeSet<usize>,
    /// Nodes that sent it wrong bytes.
    pub(super) banned: BTreeSet<usize>,
}

impl Node {
    pub(super) fn is_honest(&self) -> bool {
        self.nature == Nature::Honest
    }

    pub(super) const fn is_up(&self) -> bool {
        self.up_since.is_some()
    }

    /// What it says when it is asked about a block; `None` if it says nothing.
    pub(super) fn claims(&self, id: &BlockId) -> Option<bool> {
        match self.nature {
            Nature::Honest => Some(self.store.has(id)),
            Nature::Deaf => None,
            _ => Some(true),
        }
    }
}
