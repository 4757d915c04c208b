//! The rules, one by one.

use super::*;

const BY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 5));

fn peer(id: u8) -> LegacyPeer {
    let address = ([203, 0, 113, id], 8200).into();
    LegacyPeer { id: LegacyId::from_bytes([id; 32]), external: address, internal: address }
}

fn block(number: u32) -> BlockId {
    BlockId::of(&number.to_le_bytes())
}

fn picker(nodes: &[u8], blocks: u32) -> Picker {
    let mut picker = Picker::new();
    picker.add_nodes(nodes.iter().map(|id| peer(*id)));
    for number in 0..blocks {
        assert!(picker.want(block(number), BlockSize::LegacyMini));
    }
    picker
}

fn jobs(picker: &mut Picker, now: Instant) -> Vec<Job> {
    std::iter::from_fn(|| picker.next(now)).collect()
}

#[test]
fn a_node_is_asked_for_several_blocks_at_the_same_time_in_order() {
    let (mut picker, now) = (picker(&[1], 20), Instant::now());
    let asked: Vec<_> = jobs(&mut picker, now).iter().map(|job| job.id).collect();
    let first: Vec<_> = (0..8).map(block).collect();
    assert_eq!(asked, first);
    assert_eq!(picker.in_flight().count(), 8);
}

#[test]
fn calls_spread_over_the_nodes_and_no_block_is_asked_for_twice() {
    let (mut picker, now) = (picker(&[1, 2, 3, 4, 5], 100), Instant::now());
    let jobs = jobs(&mut picker, now);
    assert_eq!(jobs.len(), LEGACY_CALLS);
    let ids: HashSet<_> = jobs.iter().map(|job| job.id).collect();
    assert_eq!(ids.len(), jobs.len());
    for node in 0..5 {
        let calls = jobs.iter().filter(|job| job.node == node).count();
        assert!((6..=8).contains(&calls), "{node}: {calls}");
    }
}

#[test]
fn what_one_does_not_have_is_asked_of_those_whom_it_names() {
    let (mut picker, now) = (picker(&[1], 1), Instant::now());
    let job = picker.next(now).unwrap();
    assert!(!picker.done(&job, &Outcome::Elsewhere(vec![peer(1), peer(2)], BY), now));
    let job = picker.next(now).unwrap();
    assert_eq!(job.peer, peer(2));
    picker.done(&job, &Outcome::Elsewhere(vec![peer(1)], BY), now);
    assert_eq!(picker.next(now), None);
    assert_eq!(picker.unclaimed().collect::<Vec<_>>(), [block(0)]);
    picker.add_nodes([peer(3)]);
    assert_eq!(picker.unclaimed().count(), 0);
    let job = picker.next(now).unwrap();
    assert!(picker.done(&job, &Outcome::Here, now));
    assert_eq!(picker.wanted(), 0);
}

#[test]
fn a_stranger_cannot_make_us_dial_our_own_network() {
    let (mut picker, now) = (picker(&[1], 1), Instant::now());
    let job = picker.next(now).unwrap();
    let address = "127.0.0.1:8200".parse().unwrap();
    let inside = LegacyPeer { external: address, internal: address, ..peer(2) };
    picker.done(&job, &Outcome::Elsewhere(vec![inside], BY), now);
    assert_eq!(picker.nodes(), [1, 1, 0]);
}

#[test]
fn a_liar_is_asked_no_more_and_others_are() {
    let (mut picker, now) = (picker(&[1, 2], 1), Instant::now());
    let job = picker.next(now).unwrap();
    picker.done(&job, &Outcome::Wrong, now);
    let next = picker.next(now).unwrap();
    assert_ne!(next.node, job.node);
    picker.want(block(7), BlockSize::LegacyNano);
    let other = picker.next(now).unwrap();
    assert_eq!(other.node, next.node);
}

#[test]
fn the_silent_are_asked_again_later_and_then_no_more() {
    let (mut picker, mut now) = (picker(&[1], 4), Instant::now());
    let first = jobs(&mut picker, now);
    assert_eq!(first.len(), 4);
    picker.done(&first[0], &Outcome::Silent, now);
    assert_eq!(picker.next(now), None);
    assert_eq!(picker.wakes_after(now), Some(now + PAUSE));
    // What fails together is one failure.
    for job in &first[1..] {
        picker.done(job, &Outcome::Silent, now);
    }
    for pause in [PAUSE, PAUSE * 2, PAUSE * 4] {
        assert!(picker.unclaimed().next().is_none());
        now += pause;
        let [again] = jobs(&mut picker, now)[..] else { panic!("not one call") };
        picker.done(&again, &Outcome::Silent, now);
    }
    assert_eq!(picker.unclaimed().count(), 4, "it is given up");
    assert_eq!(picker.nodes(), [1, 0, 0]);
}

/// A node that started anew refused eight connections at once, and was asked no more.
#[test]
fn a_node_that_starts_anew_is_not_given_up() {
    let (mut picker, now) = (picker(&[1], 20), Instant::now());
    for job in jobs(&mut picker, now) {
        picker.done(&job, &Outcome::Silent, now);
    }
    let later = picker.wakes_after(now).unwrap();
    let [again] = jobs(&mut picker, later)[..] else { panic!("not one call") };
    assert!(picker.done(&again, &Outcome::Here, later));
    assert_eq!(jobs(&mut picker, later).len(), 8);
}

/// It was offered the first 256 blocks only: if those waited for a node that rested, it idled.
#[test]
fn what_waits_for_another_node_keeps_nobody_from_what_is_behind() {
    let (mut picker, now) = (picker(&[1], 1_000), Instant::now());
    for round in 0..300 {
        let job = picker.next(now).unwrap();
        // The other one is named first, and rests.
        let told = if round == 0 { vec![peer(2)] } else { Vec::new() };
        if job.node == 0 {
            picker.done(&job, &Outcome::Elsewhere(told, BY), now);
        } else {
            picker.done(&job, &Outcome::Silent, now);
        }
    }
    let job = picker.next(now).unwrap();
    assert_eq!(job.node, 0);
    // And what becomes ready before is not forgotten.
    picker.hurry(&block(900));
    assert_eq!(picker.next(now).unwrap().id, block(900));
    picker.unwant(&block(901));
    picker.want(block(901), BlockSize::LegacyMini);
    picker.hurry(&block(901));
    assert_eq!(picker.next(now).unwrap().id, block(901));
}

/// It counted as an answer, so that a silent node seemed to answer and was asked for ever.
#[test]
fn what_came_of_others_is_no_answer_of_a_node() {
    let (mut picker, mut now) = (picker(&[1], 0), Instant::now());
    for number in 0..LEGACY_PATIENCE {
        picker.want(block(number), BlockSize::LegacyMini);
        let job = picker.next(now).unwrap();
        picker.done(&job, &Outcome::Silent, now);
        now += PAUSE * 100;
        let Some(job) = picker.next(now) else { break };
        assert!(picker.done(&job, &Outcome::Needless, now));
        assert_eq!(picker.nodes(), [1, 0, 1]);
    }
    assert_eq!(picker.nodes(), [1, 0, 0]);
}

#[test]
fn we_are_asked_by_nobody_of_ours() {
    let (mut picker, now) = (picker(&[1], 1), Instant::now());
    picker.we_are(peer(2).id);
    let job = picker.next(now).unwrap();
    picker.done(&job, &Outcome::Elsewhere(vec![peer(2)], BY), now);
    assert_eq!(picker.nodes(), [1, 1, 0]);
}

#[test]
fn a_node_that_answers_again_is_forgiven() {
    let (mut picker, mut now) = (picker(&[1], 9), Instant::now());
    let [first, ..] = jobs(&mut picker, now)[..] else { panic!("no job") };
    for _ in 0..3 {
        picker.done(&first, &Outcome::Silent, now);
        now += PAUSE * 8;
    }
    assert!(picker.done(&first, &Outcome::Here, now));
    let [next, ..] = jobs(&mut picker, now)[..] else { panic!("no job") };
    for _ in 0..3 {
        picker.done(&next, &Outcome::Silent, now);
    }
    assert_eq!(picker.nodes(), [1, 1, 0], "three times in a row are not enough");
}

#[test]
fn what_is_hurried_goes_first() {
    let (mut picker, now) = (picker(&[1], 20), Instant::now());
    picker.hurry(&block(15));
    picker.hurry(&block(12));
    let asked: Vec<_> = jobs(&mut picker, now).iter().map(|job| job.id).collect();
    assert_eq!(asked[..3], [block(12), block(15), block(0)]);
}

#[test]
fn what_is_unwanted_while_it_is_asked_for_is_forgotten() {
    let (mut picker, now) = (picker(&[1], 1), Instant::now());
    let job = picker.next(now).unwrap();
    assert!(picker.unwant(&job.id));
    assert!(!picker.done(&job, &Outcome::Elsewhere(Vec::new(), BY), now));
    assert_eq!((picker.wanted(), picker.unclaimed().count(), picker.calls()), (0, 0, 0));
}

proptest::proptest! {
    /// Whatever nodes do, every block is given, wanted or unclaimed in the end, and no node is asked
    /// for one twice unless it was silent.
    #[test]
    fn every_block_ends_somewhere(seed: u64, nodes in 1_u8..9, blocks in 1_u32..60) {
        use rand::{Rng, SeedableRng};
        let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
        let all: Vec<u8> = (1..=nodes).collect();
        let (mut picker, mut now) = (picker(&all, blocks), Instant::now());
        let (mut under_way, mut here, mut answered) = (Vec::new(), 0, HashSet::new());
        for _ in 0..100_000 {
            under_way.extend(jobs(&mut picker, now));
            if under_way.is_empty() {
                match picker.wakes_after(now) {
                    Some(at) if picker.unclaimed().count() < picker.wanted() => now = at,
                    _ => break,
                }
                continue;
            }
            let job: Job = under_way.swap_remove(rng.next_u32() as usize % under_way.len());
            let outcome = match rng.next_u32() % 12 {
                0..4 => Outcome::Here,
                4..10 => Outcome::Elsewhere(vec![peer(20 + (rng.next_u32() % 9) as u8)], BY),
                10 => Outcome::Wrong,
                _ => Outcome::Silent,
            };
            if outcome != Outcome::Silent {
                proptest::prop_assert!(answered.insert((job.node, job.id)));
            }
            here += u32::from(picker.done(&job, &outcome, now));
        }
        proptest::prop_assert_eq!(picker.calls(), 0);
        proptest::prop_assert_eq!(here as usize + picker.wanted(), blocks as usize);
        proptest::prop_assert_eq!(picker.unclaimed().count(), picker.wanted());
    }
}
