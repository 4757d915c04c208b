//! Who is asked for what, and who is found out.

use super::*;

const PIECES: Pieces = Pieces { total: 10 * 131_072, piece_len: 131_072 };

fn picker() -> Picker {
    let mut picker = Picker::new(PIECES, &Bits::none(10), 1);
    picker.want(0..10);
    picker
}

fn bytes(chunk: Chunk, fill: u8) -> Bytes {
    vec![fill; chunk.len as usize].into()
}

/// Has a source give chunks; the piece that is whole then.
fn give(picker: &mut Picker, key: Key, chunks: &[Chunk], fill: u8) -> Option<u32> {
    let mut whole = None;
    for chunk in chunks {
        let arrived = picker.arrived(key, *chunk, bytes(*chunk, fill));
        assert!(arrived.useful);
        whole = arrived.whole.map(|parts| {
            assert_eq!(parts.len(), 8);
            chunk.piece
        });
    }
    whole
}

#[test]
fn asks_for_everything_once() {
    let (mut picker, now) = (picker(), Instant::now());
    let all = picker.pick(1, &Bits::all(10), usize::MAX, now);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 80);
    assert!(picker.pick(2, &Bits::all(10), 5, now).is_empty());
    give(&mut picker, 1, &all, 0);
    for piece in 0..10 {
        assert!(picker.verdict(piece, true).is_empty());
    }
    assert_eq!(picker.wanted(), 0);
}

#[test]
fn finishes_what_was_begun_and_then_takes_the_rarest() {
    let (mut picker, now) = (picker(), Instant::now());
    (0..10).filter(|piece| *piece != 7).for_each(|piece| picker.gained(piece));
    let first = picker.pick(1, &Bits::all(10), 3, now);
    assert!(first.iter().all(|chunk| chunk.piece == 7), "the rarest");
    let rest = picker.pick(2, &Bits::all(10), 5, now);
    assert!(rest.iter().all(|chunk| chunk.piece == 7), "the one begun");
}

#[test]
fn what_is_awaited_comes_first_and_in_order() {
    let (mut picker, now) = (picker(), Instant::now());
    picker.hurry(Some(4));
    let order: Vec<u32> =
        picker.pick(1, &Bits::all(10), 24, now).iter().map(|chunk| chunk.piece).collect();
    assert_eq!(order, [[4; 8], [5; 8], [6; 8]].concat());
    assert_eq!(picker.pick_run(9, 2, now), Some(7..9));
}

#[test]
fn only_what_is_wanted_is_asked_for() {
    let mut here = Bits::none(10);
    here.add(3);
    let (mut picker, now) = (Picker::new(PIECES, &here, 1), Instant::now());
    picker.want([3, 5]);
    let asked = picker.pick(1, &Bits::all(10), usize::MAX, now);
    assert!(asked.len() == 8 && asked.iter().all(|chunk| chunk.piece == 5));
}

#[test]
fn a_late_chunk_is_asked_of_another() {
    let (mut picker, now) = (picker(), Instant::now());
    let all = picker.pick(1, &Bits::all(10), usize::MAX, now);
    assert_eq!(picker.pick_again(2, &Bits::all(10), now), None, "not yet");
    let later = now + PATIENCE;
    assert_eq!(picker.pick_again(1, &Bits::all(10), later), None, "not of the same");
    let again = picker.pick_again(2, &Bits::all(10), later).unwrap();
    assert!(all.contains(&again));
    assert_eq!(picker.arrived(2, again, bytes(again, 0)).others, [1]);
    assert!(!picker.arrived(1, again, bytes(again, 0)).useful, "a second time");
}

#[test]
fn a_lone_liar_is_found_at_once() {
    let (mut picker, now) = (picker(), Instant::now());
    let chunks = picker.pick(1, &Bits::all(10), 8, now);
    let piece = give(&mut picker, 1, &chunks, 0).unwrap();
    assert_eq!(picker.verdict(piece, false), [1]);
    assert!(picker.wants(piece));
}

#[test]
fn a_liar_among_others_is_found_when_the_piece_is_right() {
    let (mut picker, now) = (picker(), Instant::now());
    let (few, rest) =
        (picker.pick(1, &Bits::all(10), 3, now), picker.pick(2, &Bits::all(10), 5, now));
    give(&mut picker, 1, &few, 0);
    let piece = give(&mut picker, 2, &rest, 9).unwrap();
    assert!(picker.verdict(piece, false).is_empty(), "one of two");
    let mut only = Bits::none(10);
    only.add(piece);
    let again = picker.pick(3, &only, 2, now);
    assert_eq!(again.len(), 2);
    assert!(picker.pick(1, &only, 8, now).is_empty(), "one peer alone");
    let more = picker.pick(3, &only, 8, now);
    give(&mut picker, 3, &again, 0);
    assert_eq!(give(&mut picker, 3, &more, 0), Some(piece));
    assert_eq!(picker.verdict(piece, true), [2], "it gave other bytes");
}

#[test]
fn what_a_peer_leaves_behind_is_asked_of_others() {
    let (mut picker, now) = (picker(), Instant::now());
    let chunks = picker.pick(1, &Bits::all(10), 8, now);
    give(&mut picker, 1, &chunks[..3], 0);
    chunks[3..].iter().for_each(|chunk| picker.give_back(1, *chunk));
    let rest = picker.pick(2, &Bits::all(10), 5, now);
    assert_eq!(rest, chunks[3..]);
}
