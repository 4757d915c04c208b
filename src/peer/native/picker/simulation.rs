//! A node that fetches from peers over links with a pace and a delay; the clock is a number.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::{Key, Picker};
use crate::id::BlockId;

const STEP: Duration = Duration::from_millis(10);
const DELAY: Duration = Duration::from_millis(30);
const COUNT: u32 = 3_000;
/// Blocks that a session lets a peer owe.
const WINDOW: usize = 16;

fn id(number: u32) -> BlockId {
    BlockId::of(&number.to_le_bytes())
}

/// How a peer behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nature {
    Honest,
    /// Says it has everything, and lacks it.
    Liar,
    /// Says it has everything, and sends nothing.
    Mute,
}

#[derive(Debug)]
struct Peer {
    nature: Nature,
    has: BTreeSet<BlockId>,
    /// From one block to the next.
    pace: Duration,
    queue: VecDeque<(Instant, BlockId)>,
    busy_until: Instant,
    /// Wanted and neither come, lacked nor cancelled.
    owed: BTreeSet<BlockId>,
}

#[derive(Debug)]
enum Event {
    Answer(Vec<BlockId>),
    Block(BlockId),
    Lack(BlockId),
}

struct World {
    picker: Picker,
    peers: BTreeMap<Key, Peer>,
    events: BTreeMap<(Instant, u64), (Key, Event)>,
    number: u64,
    start: Instant,
    now: Instant,
    /// Wants sent.
    wants: usize,
    here: BTreeSet<BlockId>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut picker = Picker::new(seed);
        picker.want((0..COUNT).map(id));
        let now = Instant::now();
        let (peers, events, here) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { picker, peers, events, number: 0, start: now, now, wants: 0, here }
    }

    fn join(&mut self, key: Key, nature: Nature, has: BTreeSet<BlockId>, pace: Duration) {
        let (queue, owed) = (VecDeque::new(), BTreeSet::new());
        let peer = Peer { nature, has, pace, queue, busy_until: self.now, owed };
        self.peers.insert(key, peer);
        self.picker.join(key, self.now);
    }

    fn leave(&mut self, key: Key) {
        self.peers.remove(&key);
        self.events.retain(|_, (from, _)| *from != key);
        self.picker.leave(key, self.now);
    }

    /// Runs until nothing is wanted, or for so long: how long it took.
    fn run(&mut self, most: Duration) -> Duration {
        let end = self.now + most;
        while !self.picker.is_idle() && self.now < end {
            self.now += STEP;
            while let Some(event) = self.events.first_entry().filter(|one| one.key().0 <= self.now)
            {
                let (key, event) = event.remove();
                self.receive(key, event);
            }
            self.picker.tick(self.now);
            for key in self.peers.keys().copied().collect::<Vec<_>>() {
                self.talk_to(key);
                self.serve(key);
            }
        }
        self.picker.check();
        self.now - self.start
    }

    fn at(&mut self, at: Instant, key: Key, event: Event) {
        self.number += 1;
        self.events.insert((at, self.number), (key, event));
    }

    fn receive(&mut self, key: Key, event: Event) {
        let peer = self.peers.get_mut(&key).unwrap();
        match event {
            Event::Answer(ids) => {
                let all = peer.nature != Nature::Honest;
                let have: Vec<bool> = ids.iter().map(|id| all || peer.has.contains(id)).collect();
                self.picker.answered(key, &ids, &have, self.now);
            }
            Event::Lack(id) => {
                peer.owed.remove(&id);
                self.picker.lacked(key, &[id], self.now);
            }
            Event::Block(id) => {
                peer.owed.remove(&id);
                let arrived = self.picker.arrived(key, &id, self.now);
                assert_eq!(arrived.wanted, self.here.insert(id));
                for other in arrived.cancel {
                    let other = self.peers.get_mut(&other).unwrap();
                    assert!(other.owed.remove(&id));
                    other.queue.retain(|(_, one)| *one != id);
                }
            }
        }
    }

    fn talk_to(&mut self, key: Key) {
        let asked = self.picker.to_ask(key, self.now);
        if !asked.is_empty() {
            self.at(self.now + 2 * DELAY, key, Event::Answer(asked));
        }
        let peer = self.peers.get_mut(&key).unwrap();
        let room = WINDOW.saturating_sub(peer.owed.len());
        for id in self.picker.next(key, room, self.now) {
            self.wants += 1;
            assert!(peer.owed.insert(id), "wanted twice of the same");
            peer.queue.push_back((self.now + DELAY, id));
        }
    }

    fn serve(&mut self, key: Key) {
        let (before, now) = (self.now.checked_sub(STEP).unwrap(), self.now);
        let peer = self.peers.get_mut(&key).unwrap();
        let mut sent = Vec::new();
        while peer.busy_until <= now && peer.queue.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, id)) = peer.queue.pop_front() else { break };
            match peer.nature {
                Nature::Mute => {}
                Nature::Liar => sent.push((now + DELAY, Event::Lack(id))),
                Nature::Honest => {
                    assert!(peer.has.contains(&id));
                    peer.busy_until = peer.busy_until.max(before) + peer.pace;
                    sent.push((peer.busy_until + DELAY, Event::Block(id)));
                }
            }
        }
        for (at, event) in sent {
            self.at(at, key, event);
        }
    }

    fn twice(&self) -> usize {
        self.wants - self.here.len()
    }
}

/// A random third of the blocks for each of ten peers; what nobody has goes to one after the first.
fn thirds(seed: u64) -> Vec<BTreeSet<BlockId>> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut parts = vec![BTreeSet::new(); 10];
    for number in 0..COUNT {
        let id = id(number);
        for part in &mut parts {
            if rng.random_range(0..3) == 0 {
                part.insert(id);
            }
        }
        if !parts[1..].iter().any(|part| part.contains(&id)) {
            parts[rng.random_range(1..10)].insert(id);
        }
    }
    parts
}

fn pace(blocks_a_second: f64) -> Duration {
    Duration::from_secs_f64(1.0 / blocks_a_second)
}

const LONG: Duration = Duration::from_secs(300);

/// Ten peers with a third each; the first is as slow as said, or not there.
fn ten(seed: u64, slow: Option<f64>) -> World {
    let mut world = World::new(seed);
    for (key, part) in (0..).zip(thirds(seed)) {
        let rate = if key == 0 { slow } else { Some(20.0) };
        if let Some(rate) = rate {
            world.join(key, Nature::Honest, part, pace(rate));
        }
    }
    world
}

#[test]
fn thirds_make_a_whole_and_next_to_nothing_comes_twice() {
    for seed in 1..=4 {
        let mut world = ten(seed, Some(20.0));
        let took = world.run(LONG);
        assert!(world.picker.is_idle(), "seed {seed}");
        assert!(world.twice() <= COUNT as usize / 100, "seed {seed}: {} twice", world.twice());
        assert!(took < Duration::from_secs(18), "seed {seed}: {took:?} where 15 s are best");
    }
}

#[test]
fn a_slow_peer_does_not_hold_the_end() {
    for seed in 1..=4 {
        let without = ten(seed, None).run(LONG);
        let mut world = ten(seed, Some(1.0));
        let with = world.run(LONG);
        assert!(world.picker.is_idle());
        assert!(with <= without * 11 / 10, "seed {seed}: {with:?} instead of {without:?}");
    }
}

#[test]
fn nothing_is_lost_when_all_leave_but_one() {
    let mut world = ten(5, Some(20.0));
    world.run(Duration::from_secs(5));
    (0..9).for_each(|key| world.leave(key));
    world.run(LONG);
    let unclaimed: BTreeSet<BlockId> = world.picker.unclaimed().collect();
    assert_eq!(unclaimed.len() + world.here.len(), COUNT as usize);
    assert!(unclaimed.iter().all(|id| !world.peers[&9].has.contains(id)));
    world.join(1, Nature::Honest, (0..COUNT).map(id).collect(), pace(100.0));
    world.run(LONG);
    assert!(world.picker.is_idle());
}

#[test]
fn who_claims_everything_and_gives_nothing_costs_seconds() {
    for seed in 1..=4 {
        let honest = ten(seed, None).run(LONG);
        for nature in [Nature::Mute, Nature::Liar] {
            let mut world = ten(seed, None);
            world.join(0, nature, BTreeSet::new(), pace(20.0));
            let took = world.run(LONG);
            assert!(world.picker.is_idle());
            let most = honest + Duration::from_secs(4);
            assert!(took <= most, "seed {seed}, {nature:?}: {took:?} instead of {honest:?}");
        }
    }
}

#[test]
fn with_one_honest_peer_among_mute_ones_all_comes() {
    let mut world = World::new(6);
    for key in 1..6 {
        world.join(key, Nature::Mute, BTreeSet::new(), pace(1.0));
    }
    world.join(0, Nature::Honest, (0..COUNT).map(id).collect(), pace(200.0));
    let took = world.run(LONG);
    assert!(world.picker.is_idle() && took < Duration::from_secs(40), "{took:?}");
}
