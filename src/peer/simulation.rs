//! Exchanges that speak to each other without a network: messages are carried over by hand, and
//! the clock is a number.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::bits::Bits;
use super::exchange::{Exchange, Output, Violation};
use super::message::Message;
use super::pieces::{Chunk, Pieces};

const PIECE_LEN: u32 = 32_768;

/// The bytes of a chunk as everybody honest has them.
fn contents(chunk: Chunk) -> Bytes {
    let seed = chunk.piece * 31 + chunk.offset / 16_384;
    vec![seed as u8; chunk.len as usize].into()
}

struct Swarm {
    nodes: Vec<Exchange>,
    /// Those whose every chunk is wrong.
    liars: Vec<usize>,
    /// Who found whom to lie.
    caught: Vec<(usize, usize)>,
    /// Chunks that went from one to another.
    moved: BTreeMap<(usize, usize), u64>,
    now: Instant,
}

impl Swarm {
    /// Nodes that have these pieces of `count`, and want the rest.
    fn new(count: u32, have: &[Vec<u32>]) -> Self {
        let now = Instant::now();
        let pieces =
            Pieces { total: u64::from(count) * u64::from(PIECE_LEN), piece_len: PIECE_LEN };
        let node = |have: &Vec<u32>| {
            let mut here = Bits::none(count);
            for piece in have {
                here.add(*piece);
            }
            let mut exchange = Exchange::new(pieces, here, 4, 7);
            exchange.want(0..count, now);
            exchange
        };
        let nodes = have.iter().map(node).collect();
        Self { nodes, liars: Vec::new(), caught: Vec::new(), moved: BTreeMap::new(), now }
    }

    /// Connects all with all; the key of a peer is its number.
    fn meet(&mut self) {
        for one in 0..self.nodes.len() {
            for other in (0..self.nodes.len()).filter(|other| *other != one) {
                self.nodes[one].join(other as u64, one % 2 == other % 2, false, self.now);
            }
        }
    }

    /// Carries messages until nobody has any, or for so many seconds.
    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds {
            while self.carry() {}
            self.now += Duration::from_secs(1);
            let now = self.now;
            self.nodes.iter_mut().for_each(|node| node.tick(now));
        }
    }

    fn carry(&mut self) -> bool {
        let mut waiting = VecDeque::new();
        for from in 0..self.nodes.len() {
            for to in 0..self.nodes.len() {
                while let Some(output) = self.nodes[from].poll(to as u64) {
                    waiting.push_back((from, to, self.message(from, to, output)));
                }
            }
        }
        let any = !waiting.is_empty();
        for (from, to, message) in waiting {
            self.deliver(from, to, message);
        }
        any
    }

    fn message(&mut self, from: usize, to: usize, output: Output) -> Message {
        match output {
            Output::Send(message) => message,
            Output::Upload(chunk) => {
                *self.moved.entry((from, to)).or_default() += 1;
                self.nodes[from].uploaded(to as u64, chunk, true);
                let lie = Bytes::from(vec![0xEE; chunk.len as usize]);
                let bytes = if self.liars.contains(&from) { lie } else { contents(chunk) };
                Message::Piece { piece: chunk.piece, offset: chunk.offset, bytes }
            }
        }
    }

    fn deliver(&mut self, from: usize, to: usize, message: Message) {
        let handled = self.nodes[to].handle(from as u64, message, self.now).unwrap();
        let Some((piece, parts)) = handled else { return };
        let pieces = *self.nodes[to].pieces();
        let right = (0..).zip(&parts).all(|(n, part)| *part == contents(pieces.chunk(piece, n)));
        for liar in self.nodes[to].verdict(piece, right, self.now) {
            self.caught.push((to, liar as usize));
            self.nodes[to].leave(liar, self.now);
            self.nodes[liar as usize].leave(to as u64, self.now);
        }
    }

    fn is_complete(&self, node: usize) -> bool {
        self.nodes[node].here().is_full() && self.nodes[node].wanted() == 0
    }
}

#[test]
fn a_seed_serves_many_and_they_serve_each_other() {
    let mut swarm = Swarm::new(40, &[(0..40).collect(), vec![], vec![], vec![], vec![], vec![]]);
    swarm.meet();
    swarm.run(200);
    assert!((0..6).all(|node| swarm.is_complete(node)));
    let total: u64 = swarm.moved.values().sum();
    assert!(total <= 5 * 80 + 10, "{total} chunks for 400");
    assert!(swarm.moved.keys().any(|(from, _)| *from != 0), "others serve too");
}

#[test]
fn thirds_make_a_whole() {
    let third = |rest| (0..30).filter(|piece| piece % 3 == rest).collect();
    let mut swarm = Swarm::new(30, &[third(0), third(1), third(2)]);
    swarm.meet();
    swarm.run(10);
    assert!((0..3).all(|node| swarm.is_complete(node)));
    assert_eq!(swarm.moved.values().sum::<u64>(), 3 * 20 * 2, "nothing twice");
}

#[test]
fn a_seed_that_goes_away_leaves_the_rest_to_others() {
    let all: Vec<u32> = (0..30).collect();
    let mut swarm = Swarm::new(30, &[all.clone(), all, vec![]]);
    swarm.meet();
    for _ in 0..4 {
        swarm.carry();
    }
    assert!(!swarm.is_complete(2));
    let now = swarm.now;
    for node in [1, 2] {
        swarm.nodes[node].leave(0, now);
    }
    swarm.run(60);
    assert!(swarm.is_complete(2));
}

#[test]
fn liars_are_caught_and_nothing_of_theirs_is_kept() {
    let all: Vec<u32> = (0..20).collect();
    let mut swarm = Swarm::new(20, &[all.clone(), all.clone(), all, vec![]]);
    swarm.liars = vec![1];
    swarm.meet();
    swarm.run(200);
    assert!(swarm.is_complete(3));
    assert_eq!(swarm.caught, [(3, 1)]);
}

#[test]
fn a_peer_that_gives_nothing_is_not_waited_for() {
    let all: Vec<u32> = (0..20).collect();
    let mut swarm = Swarm::new(20, &[all.clone(), all, vec![]]);
    swarm.meet();
    let mute = |swarm: &mut Swarm| while swarm.nodes[0].poll(2).is_some() {};
    for _ in 0..60 {
        mute(&mut swarm);
        swarm.nodes[2].handle(0, Message::HaveAll, swarm.now).unwrap();
        swarm.nodes[2].handle(0, Message::Unchoke, swarm.now).unwrap();
        mute(&mut swarm);
        swarm.run(1);
    }
    assert!(swarm.is_complete(2));
}

#[test]
fn breaches_of_the_protocol_are_told() {
    let mut swarm = Swarm::new(3, &[vec![0], vec![]]);
    swarm.meet();
    let now = swarm.now;
    let mut say = |message| swarm.nodes[0].handle(1, message, now);
    let asked = |piece, offset, len| Message::Request(Chunk { piece, offset, len });
    assert_eq!(say(Message::Have(3)), Err(Violation::NoPiece(3)));
    assert_eq!(say(Message::Bitfield(vec![0xFF].into())), Err(Violation::Bitfield));
    assert_eq!(say(Message::Bitfield(vec![0; 2].into())), Err(Violation::Bitfield));
    for (piece, offset, len) in [(9, 0, 1), (0, 32_768, 1), (0, 0, 0), (0, 0, 1 << 20)] {
        let told = say(asked(piece, offset, len));
        assert_eq!(told, Err(Violation::Request { piece, offset, len }));
    }
    let flood = Message::Piece { piece: 1, offset: 0, bytes: vec![0; 131_072].into() };
    let floods = (0..100).map(|_| say(flood.clone())).find(Result::is_err);
    assert!(matches!(floods, Some(Err(Violation::Unasked(_)))));
}

#[test]
fn requests_beyond_reason_are_refused_not_kept() {
    let mut swarm = Swarm::new(3, &[vec![0, 1, 2], vec![], vec![]]);
    swarm.meet();
    let now = swarm.now;
    swarm.nodes[0].handle(2, Message::Interested, now).unwrap();
    for _ in 0..100_000 {
        let chunk = Chunk { piece: 0, offset: 0, len: 16_384 };
        swarm.nodes[0].handle(2, Message::Request(chunk), now).unwrap();
    }
    let waiting = std::iter::from_fn(|| swarm.nodes[0].poll(2)).count();
    assert!(waiting < 3_000, "{waiting} outputs");
}

/// Each change of mind is answered, and the answers wait for whoever does not read them.
#[test]
fn who_talks_and_does_not_listen_is_found_out() {
    let mut seed = Swarm::new(4, &[vec![0, 1, 2, 3]]).nodes.remove(0);
    seed.join(7, true, false, Instant::now());
    let mut talk = (0..1_000_000).map(|turn| {
        let message = if turn % 2 == 0 { Message::Interested } else { Message::NotInterested };
        seed.handle(7, message, Instant::now())
    });
    assert!(talk.any(|heard| matches!(heard, Err(Violation::Unread(_)))));
}

/// Transmission rejects what it was asked for, and only then says that it chokes.
#[test]
fn what_is_rejected_before_a_choke_is_asked_for_again() {
    let mut swarm = Swarm::new(2, &[vec![0, 1], vec![]]);
    swarm.meet();
    let now = swarm.now;
    let whole = |node: &mut Exchange| std::iter::from_fn(|| node.poll(0)).collect::<Vec<_>>();
    swarm.nodes[1].handle(0, Message::HaveAll, now).unwrap();
    swarm.nodes[1].handle(0, Message::Unchoke, now).unwrap();
    let asked = whole(&mut swarm.nodes[1]);
    for output in asked {
        if let Output::Send(Message::Request(chunk)) = output {
            swarm.nodes[1].handle(0, Message::Reject(chunk), now).unwrap();
        }
    }
    swarm.nodes[1].handle(0, Message::Choke, now).unwrap();
    swarm.run(60);
    assert!(swarm.is_complete(1));
}

#[test]
fn what_came_otherwise_is_not_asked_for_any_more() {
    let mut swarm = Swarm::new(20, &[(0..20).collect(), vec![]]);
    swarm.meet();
    for _ in 0..3 {
        swarm.carry();
    }
    (5..20).for_each(|piece| swarm.nodes[1].obtained(piece));
    swarm.run(30);
    assert!(swarm.is_complete(1));
    let moved = swarm.moved[&(0, 1)];
    assert!((10..40).contains(&moved), "{moved} chunks moved");
}
