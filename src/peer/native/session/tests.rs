//! Sessions that speak to each other without a network: bytes are carried over by hand, and the
//! clock is a number.

use std::collections::{BTreeMap, BTreeSet};

use bytes::BytesMut;

use super::*;
use crate::off::{Block, BlockSize};
use crate::peer::message::{self, Message};
use crate::peer::native::message::Numbers;
use rand::SeedableRng;
use rand::rngs::StdRng;

/// The smallest blocks, so that streams are short enough to be cut at every byte.
fn blocks(count: usize, seed: u64) -> Vec<Block> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..count).map(|_| Block::random(BlockSize::LegacyNano, &mut rng)).collect()
}

/// One side: what it has, what it lacks, and its end of the wire.
struct End {
    session: Session,
    here: BTreeMap<BlockId, Bytes>,
    missing: BTreeSet<BlockId>,
    hosts: bool,
    /// Blocks that came, repeated ones too.
    came: usize,
    /// Pushed blocks, and whether they were kept.
    pushed: Vec<(BlockId, bool)>,
    out: BytesMut,
    heard: BytesMut,
}

impl End {
    fn new(here: &[Block], missing: &[Block]) -> Self {
        Self {
            session: Session::new(Instant::now()),
            here: here.iter().map(|block| (block.id(), block.bytes().clone())).collect(),
            missing: missing.iter().map(Block::id).collect(),
            hosts: true,
            came: 0,
            pushed: Vec::new(),
            out: BytesMut::new(),
            heard: BytesMut::new(),
        }
    }

    /// Begins a new connection: asks what the other side has of what is missing.
    fn connect(&mut self, now: Instant) {
        self.session = Session::new(now);
        (self.out, self.heard) =
            (BytesMut::from(&NativeHello::ours(1, self.hosts)[..]), BytesMut::new());
    }

    fn begin(&mut self, now: Instant) {
        if !self.missing.is_empty() {
            self.session.ask(1, self.missing.iter().copied().collect(), true, now);
        }
    }

    fn send(&mut self, message: NativeMessage) {
        let block = message.encode(&Numbers::ours(), &mut self.out).unwrap();
        self.out.extend_from_slice(&block);
    }

    /// Does what is to be done for the peer.
    fn act(&mut self) {
        while let Some(output) = self.session.poll(true) {
            let message = match output {
                Output::Send(message) => message,
                Output::Look { ids, uses } => NativeMessage::Have {
                    bits: bits(ids.iter().map(|id| self.here.contains_key(id))),
                    uses: if uses { vec![7; ids.len()] } else { Vec::new() },
                },
                Output::Host(id, bytes) => {
                    let kept = self.hosts && Block::check(id, bytes.clone()).is_ok();
                    if kept {
                        self.here.insert(id, bytes);
                    }
                    NativeMessage::Have { bits: bits([kept]), uses: Vec::new() }
                }
                Output::Serve(id) => match self.here.get(&id) {
                    Some(bytes) => NativeMessage::Block(id, bytes.clone()),
                    None => NativeMessage::Lack(vec![id]),
                },
            };
            self.send(message);
        }
    }

    /// Reads what has come, as far as it is whole.
    fn read(&mut self, now: Instant) {
        while let Some(message) = message::decode(&mut self.heard).unwrap() {
            let Message::Extended(number, body) = message else { continue };
            if number == 0 {
                self.session.greeted(NativeHello::decode(&body).unwrap());
                self.begin(now);
                continue;
            }
            let message = NativeMessage::decode(number, &body).unwrap().unwrap();
            if let Some(event) = self.session.handle(message, now).unwrap() {
                self.happened(event, now);
            }
        }
    }

    fn happened(&mut self, event: Event, now: Instant) {
        match event {
            Event::Have { ids, have, uses, .. } => {
                assert!(uses.is_empty() || uses.len() == ids.len());
                let there: Vec<_> =
                    ids.iter().zip(have).filter(|one| one.1).map(|one| *one.0).collect();
                self.session.want(&there, now);
            }
            Event::Block(id, bytes) => {
                assert!(Block::check(id, bytes.clone()).is_ok());
                self.came += 1;
                self.missing.remove(&id);
                self.here.insert(id, bytes);
            }
            Event::Pushed { id, kept, .. } => self.pushed.push((id, kept)),
            Event::Lack(_) | Event::Peers(_) => {}
        }
    }
}

/// Speaks until nobody has anything to say or so many bytes went from the first to the second and
/// back: how many did.
fn speak(ends: &mut [End; 2], cut: [usize; 2], at_once: usize) -> [usize; 2] {
    let (mut now, mut moved) = (Instant::now(), [0, 0]);
    for end in ends.iter_mut() {
        end.connect(now);
    }
    loop {
        let before = moved;
        for from in 0..2 {
            ends[from].act();
            let len = ends[from].out.len().min(at_once).min(cut[from] - moved[from]);
            let part = ends[from].out.split_to(len);
            moved[from] += len;
            let other = &mut ends[1 - from];
            other.heard.extend_from_slice(&part);
            other.read(now);
        }
        now += Duration::from_millis(1);
        if moved == before {
            return moved;
        }
    }
}

const NO_CUT: [usize; 2] = [usize::MAX; 2];

fn two_halves() -> [End; 2] {
    let all = blocks(12, 1);
    let (left, right) = all.split_at(6);
    [End::new(left, right), End::new(right, left)]
}

fn are_whole(ends: &[End; 2]) -> bool {
    ends.iter().all(|end| end.missing.is_empty() && end.here.len() == 12)
}

#[test]
fn both_sides_give_and_take() {
    let mut ends = two_halves();
    speak(&mut ends, NO_CUT, usize::MAX);
    assert!(are_whole(&ends));
    assert_eq!(ends.each_ref().map(|end| end.came), [6, 6]);
}

#[test]
fn messages_may_come_in_any_parts() {
    for at_once in [1, 2, 3, 7, 64] {
        let mut ends = two_halves();
        speak(&mut ends, NO_CUT, at_once);
        assert!(are_whole(&ends), "{at_once} bytes at once");
    }
}

#[test]
fn a_stream_that_is_cut_anywhere_loses_nothing_and_fetches_nothing_twice() {
    let whole = speak(&mut two_halves(), NO_CUT, 50);
    for way in 0..2 {
        for cut_at in 0..=whole[way] {
            let (mut ends, mut cut) = (two_halves(), NO_CUT);
            cut[way] = cut_at;
            speak(&mut ends, cut, 50);
            assert_eq!(are_whole(&ends), cut_at == whole[way], "cut at {cut_at} of way {way}");
            speak(&mut ends, NO_CUT, 50);
            assert!(are_whole(&ends), "cut at {cut_at} of way {way}");
            // What was on its way when it was cut had not come; nothing else comes again.
            assert_eq!(ends.each_ref().map(|end| end.came), [6, 6], "cut at {cut_at}");
        }
    }
}

/// Two that know each other.
fn acquainted() -> [End; 2] {
    let mut ends = [End::new(&[], &[]), End::new(&blocks(12, 1), &[])];
    speak(&mut ends, NO_CUT, usize::MAX);
    ends
}

#[test]
fn what_is_taken_back_is_not_sent_or_does_no_harm() {
    let (mut ends, now, all) = (acquainted(), Instant::now(), blocks(3, 1));
    let ids: Vec<_> = all.iter().map(Block::id).collect();
    ends[0].session.want(&ids, now);
    ends[0].act();
    ends[0].session.cancel(&ids[1..]);
    // The first cancel comes in time for one of the two.
    let wants = ends[0].out.split();
    ends[1].heard.extend_from_slice(&wants);
    ends[1].read(now);
    assert_eq!(ends[1].session.poll(true), Some(Output::Serve(ids[0])));
    assert_eq!(ends[1].session.poll(true), Some(Output::Serve(ids[1])));
    assert_eq!(ends[1].session.next_to_serve(), Some(ids[2]));
    ends[0].act();
    let cancels = ends[0].out.split();
    ends[1].heard.extend_from_slice(&cancels);
    ends[1].read(now);
    assert_eq!((ends[1].session.poll(true), ends[1].session.to_serve()), (None, 0));
    for block in &all[..2] {
        let late = NativeMessage::Block(block.id(), block.bytes().clone());
        assert!(ends[0].session.handle(late, now).unwrap().is_some());
    }
    assert_eq!(ends[0].session.owed(), 0);
    let again = NativeMessage::Block(ids[1], Bytes::new());
    assert_eq!(ends[0].session.handle(again, now), Err(Violation::Unasked(ids[1])));
}

#[test]
fn pushed_blocks_are_kept_or_refused_and_either_is_told() {
    for hosts in [true, false] {
        let mut ends = acquainted();
        ends[1].hosts = hosts;
        let new = &blocks(1, 9)[0];
        ends[0].session.push(5, new.id(), new.bytes().clone(), Instant::now());
        ends[0].session.push(6, new.id(), Bytes::from_static(b"other bytes"), Instant::now());
        for _ in 0..2 {
            for from in 0..2 {
                ends[from].act();
                let said = ends[from].out.split();
                ends[1 - from].heard.extend_from_slice(&said);
                ends[1 - from].read(Instant::now());
            }
        }
        assert_eq!(ends[0].pushed, [(new.id(), hosts), (new.id(), false)]);
        assert_eq!(ends[1].here.contains_key(&new.id()), hosts);
    }
}

#[test]
fn nothing_is_served_before_its_turn() {
    let (mut ends, now) = (acquainted(), Instant::now());
    let id = blocks(1, 1)[0].id();
    ends[1].session.handle(NativeMessage::Want(vec![id]), now).unwrap();
    assert_eq!((ends[1].session.poll(false), ends[1].session.to_serve()), (None, 1));
    assert_eq!(ends[1].session.poll(true), Some(Output::Serve(id)));
}

#[test]
fn breaches_of_the_protocol_are_told() {
    let (now, ids) = (Instant::now(), blocks(9, 1).iter().map(Block::id).collect::<Vec<_>>());
    let say = |message| {
        let [mut end, _] = acquainted();
        end.session.want(&ids[..1], now);
        end.session.ask(0, ids.clone(), true, now);
        end.session.handle(message, now)
    };
    let mut stranger = Session::new(now);
    assert_eq!(stranger.handle(NativeMessage::Want(ids.clone()), now), Err(Violation::Early));
    assert!(say(NativeMessage::Lack(vec![ids[0]])).is_ok());
    assert_eq!(say(NativeMessage::Lack(ids[1..3].to_vec())), Err(Violation::Unasked(ids[1])));
    let block = NativeMessage::Block(ids[1], Bytes::new());
    assert_eq!(say(block), Err(Violation::Unasked(ids[1])));
    let have = |bits: usize, uses| NativeMessage::Have { bits: vec![0; bits], uses: vec![0; uses] };
    assert!(say(have(2, 0)).is_ok() && say(have(2, 9)).is_ok());
    for wrong in [have(1, 0), have(3, 9), have(2, 8)] {
        assert_eq!(say(wrong), Err(Violation::Bits { asked: 9 }));
    }
    let [mut end, _] = acquainted();
    assert_eq!(end.session.handle(have(0, 0), now), Err(Violation::NoQuestion));
}

#[test]
fn floods_end_the_connection_and_are_not_kept() {
    let (now, id) = (Instant::now(), blocks(1, 1)[0].id());
    let flood = |message: NativeMessage| {
        let [mut end, _] = acquainted();
        (1..1_000).find(|_| end.session.handle(message.clone(), now).is_err()).unwrap()
    };
    assert_eq!(flood(NativeMessage::Want(vec![id; MAX_ASKED])), 2);
    assert_eq!(flood(NativeMessage::Ask { ids: vec![id], uses: true }), MAX_QUESTIONS + 1);
    assert_eq!(flood(NativeMessage::Push(id, Bytes::new())), MAX_PUSHES + 1);
}

#[test]
fn who_owes_and_gives_nothing_is_not_waited_for() {
    let (mut ends, mut now) = (acquainted(), Instant::now());
    let [end, _] = &mut ends;
    let ids: Vec<_> = blocks(4, 1).iter().map(Block::id).collect();
    now += PATIENCE * 2;
    assert_eq!(end.session.tick(now), Ok(()), "it owes nothing");
    end.session.want(&ids, now);
    for id in &ids[..2] {
        now += PATIENCE / 2;
        assert_eq!(end.session.tick(now), Ok(()));
        end.session.handle(NativeMessage::Lack(vec![*id]), now).unwrap();
    }
    now += PATIENCE;
    assert_eq!(end.session.tick(now), Err(Violation::Stalled(2)));
}

#[test]
fn the_window_follows_what_the_peer_lets_wait() {
    let mut session = Session::new(Instant::now());
    assert_eq!(session.room(), 0);
    let hello = NativeHello { numbers: Numbers::ours(), port: None, queue: 2, hosts: false };
    session.greeted(hello);
    assert_eq!(session.room(), 2);
    session.want(&blocks(2, 1).iter().map(Block::id).collect::<Vec<_>>(), Instant::now());
    assert_eq!(session.room(), 0);
}
