//! Who is asked about what, who is to send what, and who is not counted on.

use proptest::prelude::*;

use super::*;
use crate::limits::{ASK_AGAIN_AFTER, MAX_ASKED, MUTE_AFTER, SNUB_AFTER, SNUB_NEWCOMER_AFTER};

const MOMENT: Duration = Duration::from_millis(100);

/// The id of the block with a number.
fn id(number: u32) -> BlockId {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    BlockId::from_bytes(bytes)
}

fn ids(numbers: impl IntoIterator<Item = u32>) -> Vec<BlockId> {
    numbers.into_iter().map(id).collect()
}

fn number(id: &BlockId) -> u32 {
    u32::from_le_bytes(id.as_bytes()[..4].try_into().unwrap())
}

/// A picker that wants so many blocks.
fn wanting(count: u32) -> (Picker, Instant) {
    let mut picker = Picker::new(1);
    assert_eq!(picker.want(ids(0..count)), count as usize);
    (picker, Instant::now())
}

/// Asks a peer until nothing is left to be asked, and answers.
fn tell(picker: &mut Picker, key: Key, has: impl Fn(u32) -> bool, now: Instant) {
    loop {
        let asked = picker.to_ask(key, now);
        if asked.is_empty() {
            break;
        }
        let have: Vec<bool> = asked.iter().map(|id| has(number(id))).collect();
        picker.answered(key, &asked, &have, now);
    }
    picker.check();
}

fn join(picker: &mut Picker, key: Key, has: impl Fn(u32) -> bool, now: Instant) {
    picker.join(key, now);
    tell(picker, key, has, now);
}

fn come(picker: &mut Picker, key: Key, blocks: &[BlockId], now: Instant) {
    for id in blocks {
        assert!(picker.arrived(key, id, now).wanted);
        picker.check();
    }
}

#[test]
fn one_peer_is_asked_for_everything_once_and_in_order() {
    let (mut picker, now) = wanting(3_000);
    join(&mut picker, 1, |_| true, now);
    assert_eq!(picker.standing(1).unwrap().asked, 3_000);
    let first = picker.next(1, 40, now);
    assert_eq!(first, ids(0..40));
    assert_eq!(picker.next(1, 10, now), ids(40..50));
    assert_eq!((picker.wanted(), picker.in_flight()), (3_000, 50));
    come(&mut picker, 1, &first, now);
    assert_eq!((picker.wanted(), picker.in_flight()), (2_960, 10));
    assert_eq!(picker.want(ids(40..50)), 0, "wanted already");
    assert!(!picker.arrived(1, &id(0), now).wanted, "came already");
}

#[test]
fn a_peer_is_asked_a_bounded_number_at_a_time_and_only_when_it_has_answered() {
    let (mut picker, now) = wanting(1_500);
    picker.join(1, now);
    let first = picker.to_ask(1, now);
    assert_eq!(first, ids(0..1_024));
    assert_eq!(picker.to_ask(1, now), []);
    picker.answered(1, &first, &[], now);
    let rest = picker.to_ask(1, now);
    assert_eq!(rest, ids(1_024..1_500));
    picker.answered(1, &rest, &[true; 476], now);
    assert_eq!((picker.to_ask(1, now), picker.standing(1).unwrap().has), (vec![], 476));
    let later = now + ASK_AGAIN_AFTER;
    assert_eq!(picker.to_ask(1, later), first, "it may have them now");
    picker.check();
}

#[test]
fn a_handful_is_wanted_without_a_question_until_one_lacks_it() {
    let (mut picker, now) = wanting(3);
    (1..=3).for_each(|key| picker.join(key, now));
    assert_eq!(picker.to_ask(1, now), []);
    assert_eq!(picker.next(1, 9, now), ids([0]), "one each");
    assert_eq!(picker.next(2, 9, now), ids([1]));
    assert_eq!(picker.next(3, 9, now), ids([2]));
    assert_eq!(picker.unclaimed().count(), 0);
    picker.lacked(1, &ids([0]), now);
    picker.check();
    assert_eq!((picker.to_ask(1, now), picker.next(1, 9, now)), (vec![], vec![]));
    for key in [2, 3] {
        assert_eq!(picker.next(key, 9, now), [], "it is not guessed again");
        assert_eq!(picker.to_ask(key, now), ids([0]));
        assert!(!picker.claimed(&id(0)) && picker.unclaimed().next().is_none());
        picker.answered(key, &ids([0]), &[key == 3], now);
    }
    assert!(picker.claimed(&id(0)));
    assert_eq!(picker.next(3, 9, now), ids([0]));
    assert_eq!(picker.standing(1).unwrap().lies, 0, "it had not said so");
}

#[test]
fn what_nobody_has_is_unclaimed_once_all_were_asked() {
    let (mut picker, now) = wanting(20);
    assert_eq!(picker.unclaimed().count(), 20);
    (1..=2).for_each(|key| picker.join(key, now));
    tell(&mut picker, 1, |number| number < 5, now);
    assert_eq!(picker.unclaimed().count(), 0);
    tell(&mut picker, 2, |number| number < 9, now);
    assert!(picker.unclaimed().eq(ids(9..20)));
    picker.hurry(Some(id(30)));
    picker.want(ids(20..31));
    assert!(picker.unclaimed().eq(ids(9..20)), "the new ones were not asked about");
    picker.join(3, now);
    picker.to_ask(3, now);
    assert_eq!(picker.unclaimed().count(), 0);
    assert_eq!(picker.tick(now + SNUB_NEWCOMER_AFTER), [3], "it does not answer");
    assert!(picker.unclaimed().eq(ids(9..20)));
}

#[test]
fn a_hurried_block_and_the_next_ones_are_asked_about_and_wanted_first() {
    let (mut picker, now) = wanting(3_000);
    picker.hurry(Some(id(2_500)));
    picker.join(1, now);
    let asked = picker.to_ask(1, now);
    assert_eq!(asked, ids((2_500..2_756).chain(0..768)));
    picker.answered(1, &asked, &[true; MAX_ASKED], now);
    tell(&mut picker, 1, |_| true, now);
    assert_eq!(picker.standing(1).unwrap().asked, 3_000, "once each");
    assert_eq!(picker.next(1, 300, now), ids(2_500..2_800), "and then those a stream reads next");
    assert_eq!(picker.next(1, 201, now), ids((2_800..3_000).chain([0])));
}

#[test]
fn a_hurried_block_that_is_overdue_is_wanted_of_a_faster_peer() {
    let (mut picker, now) = wanting(900);
    (1..=2).for_each(|key| join(&mut picker, key, |_| true, now));
    let owed = picker.next(1, 3, now);
    let quick = picker.next(2, 1, now);
    come(&mut picker, 2, &quick, now + MOMENT);
    picker.hurry(Some(owed[2]));
    assert_eq!(picker.next(2, 1, now + MOMENT), [owed[2]]);
    let arrived = picker.arrived(2, &owed[2], now + 2 * MOMENT);
    assert_eq!(arrived, Arrived { wanted: true, cancel: vec![1] });
}

#[test]
fn of_the_next_blocks_the_rarest_go_first() {
    let (mut picker, now) = wanting(2_000);
    join(&mut picker, 1, |_| true, now);
    join(&mut picker, 2, |number| number != 100 && number < 1_000, now);
    assert_eq!(picker.next(1, 3, now), ids([100, 0, 1]), "those from 1,000 on are far away");
}

#[test]
fn what_was_wanted_of_who_leaves_is_free_at_once() {
    let (mut picker, now) = wanting(100);
    (1..=2).for_each(|key| join(&mut picker, key, |_| true, now));
    assert_eq!(picker.next(1, 10, now), ids(0..10));
    picker.leave(1, now);
    picker.check();
    assert_eq!(picker.next(2, 11, now), ids(0..11));
    assert!(picker.standing(1).is_none());
}

#[test]
fn what_came_otherwise_is_cancelled_and_forgotten() {
    let (mut picker, now) = wanting(100);
    join(&mut picker, 1, |_| true, now);
    picker.next(1, 2, now);
    assert_eq!(picker.unwant(&id(1)), [1]);
    assert!(picker.unwant(&id(50)).is_empty() && picker.unwant(&id(50)).is_empty());
    picker.check();
    assert!(!picker.wants(&id(1)) && picker.standing(1).unwrap().owes == 1);
    for left in 2..100 {
        picker.unwant(&id(left));
    }
    assert!(picker.arrived(1, &id(0), now).wanted && picker.is_idle());
}

#[test]
fn who_gives_nothing_is_snubbed_and_gets_one_block_at_a_time() {
    let (mut picker, now) = wanting(100);
    (1..=2).for_each(|key| join(&mut picker, key, |_| true, now));
    let owed = picker.next(1, 10, now);
    come(&mut picker, 1, &owed[..1], now + MOMENT);
    assert!(picker.tick(now + SNUB_AFTER).is_empty());
    let late = now + MOMENT + SNUB_AFTER;
    assert_eq!(picker.tick(late), [1]);
    picker.check();
    assert!(picker.standing(1).unwrap().snubbed && picker.tick(late).is_empty());
    assert_eq!((picker.in_flight(), picker.next(1, 5, late)), (0, vec![]), "nine may still come");
    assert_eq!(picker.next(2, 8, late), owed[1..9]);
    for one in &owed[1..9] {
        assert_eq!(picker.arrived(2, one, late).cancel, [1]);
    }
    assert!(picker.next(1, 5, late).is_empty(), "one may still come");
    assert!(picker.unwant(&owed[9]).contains(&1));
    assert_eq!(picker.next(1, 5, late), ids([10]));
    assert_eq!(picker.next(1, 5, late), []);
    come(&mut picker, 1, &ids([10]), late + MOMENT);
    picker.leave(2, late);
    assert_eq!(picker.next(1, 5, late).len(), 5);
    assert!(!picker.standing(1).unwrap().snubbed);
}

#[test]
fn a_late_block_still_counts_and_the_rest_is_counted_on_again() {
    let (mut picker, now) = wanting(100);
    join(&mut picker, 1, |_| true, now);
    let owed = picker.next(1, 3, now);
    assert!(picker.tick(now + SNUB_AFTER).is_empty(), "the first block may take longer");
    let late = now + SNUB_NEWCOMER_AFTER;
    assert_eq!((picker.tick(late), picker.in_flight()), (vec![1], 0));
    come(&mut picker, 1, &owed[..1], late);
    assert_eq!((picker.in_flight(), picker.standing(1).unwrap().owes), (2, 2));
}

#[test]
fn who_stays_mute_has_nothing_until_something_comes() {
    let (mut picker, now) = wanting(100);
    join(&mut picker, 1, |_| true, now);
    let owed = picker.next(1, 3, now);
    let late = now + SNUB_NEWCOMER_AFTER;
    picker.tick(late);
    assert!(picker.claimed(&id(50)));
    picker.tick(late + MUTE_AFTER);
    picker.check();
    assert!(picker.standing(1).unwrap().silenced && picker.unclaimed().count() == 100);
    come(&mut picker, 1, &owed[..1], late + 2 * MUTE_AFTER);
    assert!(!picker.standing(1).unwrap().silenced);
    tell(&mut picker, 1, |_| true, late + 2 * MUTE_AFTER);
    assert_eq!(picker.standing(1).unwrap().has, 99);
}

#[test]
fn the_last_blocks_are_wanted_of_others_too_of_three_at_most() {
    let (mut picker, now) = wanting(20);
    (1..=4).for_each(|key| join(&mut picker, key, |_| true, now));
    let mut owed = vec![];
    while picker.in_flight() < 20 {
        (1..=4)
            .for_each(|key| owed.extend(picker.next(key, 9, now).into_iter().map(|id| (key, id))));
    }
    picker.check();
    let here: Vec<_> = owed.extract_if(.., |(key, _)| *key != 1).collect();
    for (key, id) in here {
        come(&mut picker, key, &[id], now + MOMENT);
    }
    let left: Vec<_> = owed.into_iter().map(|(_, id)| id).collect();
    assert_eq!(left.len(), 5, "a fair share");
    assert_eq!(picker.next(2, 2, now + MOMENT), left[..2]);
    assert_eq!(picker.next(3, 9, now + MOMENT), left[2..], "these are owed for longer");
    assert_eq!(picker.next(3, 9, now + 2 * MOMENT), left[..2]);
    assert_eq!(picker.next(4, 9, now + 9 * MOMENT), left[2..], "two are owed by three");
    assert_eq!(picker.next(1, 9, now + 9 * MOMENT), []);
    picker.check();
    let arrived = picker.arrived(3, &left[0], now + 9 * MOMENT);
    assert_eq!(arrived, Arrived { wanted: true, cancel: vec![1, 2] });
}

#[test]
fn who_breaks_its_promises_has_nothing() {
    let (mut picker, now) = wanting(100);
    join(&mut picker, 1, |_| true, now);
    for lie in 0..8 {
        assert!(!picker.standing(1).unwrap().silenced);
        assert_eq!(picker.next(1, 1, now), ids([lie]));
        picker.lacked(1, &ids([lie]), now);
        picker.check();
    }
    let standing = picker.standing(1).unwrap();
    assert!(standing.silenced && standing.lies == 8 && standing.has == 0);
    assert_eq!((picker.next(1, 9, now), picker.to_ask(1, now)), (vec![], vec![]));
    assert_eq!(picker.unclaimed().count(), 100);
}

#[test]
fn who_evicts_some_and_gives_more_is_believed() {
    let (mut picker, now) = wanting(100);
    join(&mut picker, 1, |_| true, now);
    let wanted = picker.next(1, 30, now);
    come(&mut picker, 1, &wanted[..20], now);
    picker.lacked(1, &wanted[20..], now);
    let standing = picker.standing(1).unwrap();
    assert_eq!((standing.lies, standing.silenced, standing.has), (10, false, 70));
}

#[test]
fn a_lacked_block_is_not_asked_for_again_for_a_while() {
    let (mut picker, now) = wanting(10);
    join(&mut picker, 1, |_| true, now);
    let wanted = picker.next(1, 1, now);
    let lacked = now + MOMENT;
    picker.lacked(1, &wanted, lacked);
    assert!(picker.unclaimed().eq(wanted.iter().copied()));
    assert_eq!(picker.next(1, 10, lacked), ids(1..10));
    assert!(picker.to_ask(1, now + ASK_AGAIN_AFTER / 2).is_empty());
    assert_eq!(picker.to_ask(1, lacked + ASK_AGAIN_AFTER), wanted);
    picker.answered(1, &wanted, &[true], lacked + ASK_AGAIN_AFTER);
    assert_eq!(picker.next(1, 10, lacked + ASK_AGAIN_AFTER), wanted);
}

#[test]
fn a_block_that_was_wrong_is_free_and_its_giver_has_nothing() {
    let (mut picker, now) = wanting(10);
    (1..=2).for_each(|key| join(&mut picker, key, |_| true, now));
    let wanted = picker.next(1, 2, now);
    picker.wrong(1, &wanted[0], now);
    picker.check();
    assert_eq!(picker.standing(1).map(|one| (one.lies, one.silenced)), Some((1, true)));
    assert_eq!(picker.next(2, 2, now), wanted);
    come(&mut picker, 1, &wanted[1..], now);
    assert!(picker.standing(1).unwrap().silenced, "for good");
}

/// 1,000,000 blocks and 20 peers: nothing may take time with the number of blocks.
#[test]
fn a_million_blocks_are_no_burden() {
    const COUNT: u32 = 1_000_000;
    let (mut picker, mut now) = wanting(COUNT);
    for key in 0..20 {
        picker.join(key, now);
        for _ in 0..50 {
            let asked = picker.to_ask(key, now);
            let have: Vec<bool> = asked.iter().map(|id| number(id) % 20 >= key as u32).collect();
            picker.answered(key, &asked, &have, now);
        }
    }
    let mut came = 0;
    for round in 0..1_000 {
        now += Duration::from_millis(1);
        picker.hurry(Some(id(round * 50)));
        for key in 0..20 {
            for id in picker.next(key, 2, now) {
                came += u64::from(picker.arrived(key, &id, now).wanted);
            }
        }
        picker.tick(now);
        assert!(picker.unclaimed().take(10).count() <= 10);
    }
    assert!(came >= 39_000, "{came}");
    for gone in 0..600_000 {
        picker.unwant(&id(gone));
    }
    assert!(picker.wanted() <= 400_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever happens in whatever order, no wanted block is lost.
    #[test]
    fn holds_what_it_promises(
        steps in prop::collection::vec((0..13_u8, 0..5_u64, any::<u16>()), 1..150),
        count in 1..60_u32,
    ) {
        let (mut picker, mut now) = wanting(count);
        let mut left: std::collections::BTreeSet<u32> = (0..count).collect();
        let mut asked = BTreeMap::<Key, Vec<BlockId>>::new();
        for (step, key, draw) in steps {
            let some = id(u32::from(draw) % (count + 2));
            match step {
                0 => picker.join(key, now),
                1 => picker.leave(key, now),
                2 => { asked.insert(key, picker.to_ask(key, now)); }
                3 | 4 => {
                    let about = asked.remove(&key).unwrap_or_default();
                    let have: Vec<bool> = (0..about.len()).map(|n| draw >> (n % 16) & 1 == 1).collect();
                    picker.answered(key, &about, &have, now);
                }
                5..=7 => {
                    for id in picker.next(key, usize::from(draw) % 20, now) {
                        prop_assert!(left.contains(&number(&id)));
                    }
                }
                8 => {
                    let cancel = picker.arrived(key, &some, now).cancel;
                    prop_assert!(!cancel.contains(&key));
                    left.remove(&number(&some));
                }
                9 => picker.lacked(key, &[some, id(3), id(4), id(5)], now),
                10 if draw % 8 == 0 => picker.wrong(key, &some, now),
                10 => picker.hurry(Some(some)),
                11 => now += Duration::from_millis(u64::from(draw)),
                _ => { picker.tick(now); }
            }
            picker.check();
            prop_assert_eq!(picker.wanted(), left.len());
        }
        // A peer with everything brings whatever is left.
        (0..5).for_each(|key| picker.leave(key, now));
        picker.join(9, now);
        for _ in 0..2 * count {
            tell(&mut picker, 9, |_| true, now);
            for id in picker.next(9, 4, now) {
                prop_assert!(picker.arrived(9, &id, now).wanted);
            }
        }
        prop_assert!(picker.is_idle());
    }

    /// Closing the gaps moves every block to another place.
    #[test]
    fn blocks_that_go_and_come_leave_the_rest_in_order(keep in 1..50_u32, seed in any::<u64>()) {
        let (mut picker, now) = (Picker::new(seed), Instant::now());
        picker.want(ids(0..4_000));
        join(&mut picker, 1, |number| number % 3 != 0, now);
        let flying = picker.next(1, 30, now);
        picker.want(ids(4_000..4_100));
        for gone in (0..4_000).filter(|number| number % keep != 0) {
            picker.unwant(&id(gone));
        }
        picker.check();
        let rest: Vec<u32> = (0..4_000).filter(|number| number % keep == 0).collect();
        prop_assert_eq!(picker.wanted(), rest.len() + 100);
        if !picker.is_few() {
            prop_assert_eq!(picker.to_ask(1, now), ids(4_000..4_100));
        }
        let expected = rest.iter().filter(|number| *number % 3 != 0).map(|number| id(*number));
        let expected: Vec<_> = expected.filter(|id| !flying.contains(id)).take(20).collect();
        prop_assert_eq!(picker.next(1, 20, now), expected);
    }
}
