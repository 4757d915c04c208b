//! Tests of the routing table.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::*;
use crate::krpc::contact::{Host, Neighbourhood};
use crate::krpc::secure::id_for;
use crate::limits::dht::{BUCKET_SPARES, GOOD_FOR};

const OWN: NodeId = NodeId::from_bytes([0; 20]);
const SECOND: Duration = Duration::from_secs(1);

/// An id that shares exactly so many bits with ours.
fn id(common: usize, salt: u16) -> NodeId {
    let mut bytes = [0; 20];
    bytes[common / 8] = 0x80 >> (common % 8);
    let [high, low] = salt.to_be_bytes();
    (bytes[18], bytes[19]) = (high, low);
    NodeId::from_bytes(bytes)
}

/// A contact in a network of its own.
fn contact(common: usize, network: u16) -> Contact {
    let [a, b] = network.to_be_bytes();
    Contact { id: id(common, network), address: ([60 + a, b, 7, 9], 6881).into() }
}

fn secure(network: u16) -> Contact {
    let mut contact = contact(0, network);
    let chance = &mut SmallRng::seed_from_u64(u64::from(network));
    while contact.id.as_bytes()[0] < 128 || contact.id.as_bytes()[18] == 0 {
        contact.id = id_for(contact.address.ip(), chance);
    }
    contact
}

fn table(contacts: impl IntoIterator<Item = Contact>, now: Instant) -> Table {
    let mut table = Table::new(OWN, now);
    contacts.into_iter().for_each(|contact| assert_eq!(table.answered(contact, now), None));
    table
}

fn has(table: &Table, contact: &Contact) -> bool {
    table.nodes().any(|node| node.contact == *contact)
}

#[track_caller]
fn check(table: &Table) {
    let mut seen = (BTreeSet::new(), Vec::new());
    assert!(table.buckets.len() <= MAX_BUCKETS);
    for (at, bucket) in table.buckets.iter().enumerate() {
        assert!(bucket.nodes.len() <= BUCKET_NODES && bucket.spares.len() <= BUCKET_SPARES);
        for row in [&bucket.nodes, &bucket.spares] {
            let networks: BTreeSet<_> =
                row.iter().map(|node| Neighbourhood::of(node.contact.address)).collect();
            assert_eq!(networks.len(), row.len());
            assert!(row.iter().all(|node| table.index(&node.contact.id.target()) == at));
        }
        for node in &bucket.nodes {
            assert!(seen.0.insert(node.contact.id) && node.contact.id != table.own());
            assert!(!seen.1.contains(&Host::of(node.contact.address)));
            seen.1.push(Host::of(node.contact.address));
        }
    }
}

#[test]
fn many_ids_from_one_address_have_one_place() {
    let now = Instant::now();
    let first = contact(0, 0);
    let mut table = table([first], now);
    for port in 1..=1_000 {
        let id = id(usize::from(port % 50), port);
        let liar = Contact { id, address: (first.address.ip(), 1024 + port).into() };
        assert!(!table.wants(&liar, now));
        assert_eq!(table.answered(liar, now), None);
    }
    assert!(has(&table, &first) && table.len() == 1);
}

#[test]
fn a_network_has_one_place_in_a_bucket() {
    let now = Instant::now();
    let mut table = table([], now);
    for last in 1..=254 {
        let address = ([60, 1, 1, last], 6881).into();
        assert_eq!(table.answered(Contact { id: id(0, u16::from(last)), address }, now), None);
    }
    check(&table);
    assert_eq!(table.len(), 1);
}

#[test]
fn ids_made_to_be_near_us_take_one_bucket_and_nothing_else() {
    let now = Instant::now();
    let honest: Vec<_> =
        (0..24).map(|network| contact(usize::from(network % 3), network)).collect();
    let mut table = table(honest.clone(), now);
    for network in 1_000..3_000 {
        let _ = table.answered(contact(60 + usize::from(network % 80), network), now);
    }
    check(&table);
    assert!(honest.iter().all(|contact| has(&table, contact)));
    assert_eq!(table.len(), 24 + BUCKET_NODES);
    let closest = table.closest(&id(1, 0).target(), 8, now);
    assert!(closest.iter().all(|contact| contact.id.as_bytes()[0] == 64));
}

#[test]
fn who_is_questionable_is_pinged_for_a_newcomer_and_stays_if_it_answers() {
    let now = Instant::now();
    let mut table = table((0..9).map(|network| contact(0, network)), now);
    let newcomer = contact(0, 8);
    assert!(table.len() == 8 && !has(&table, &newcomer) && !table.wants(&newcomer, now));
    let later = now + GOOD_FOR;
    (1..8).for_each(|network| assert_eq!(table.answered(contact(0, network), later), None));
    let oldest = contact(0, 0);
    assert_eq!(table.answered(newcomer, later), Some(oldest));
    assert_eq!(table.answered(newcomer, later + SECOND), None);
    assert_eq!(table.answered(oldest, later + SECOND), None);
    assert!(has(&table, &oldest));

    let later = later + GOOD_FOR;
    (1..8).for_each(|network| assert_eq!(table.answered(contact(0, network), later), None));
    table.failed(oldest.address, later);
    table.failed(oldest.address, later + SECOND);
    assert!(has(&table, &oldest), "one lost link is one failure");
    table.failed(oldest.address, later + 4 * SECOND);
    assert!(!has(&table, &oldest) && has(&table, &newcomer));
    check(&table);
}

#[test]
fn secure_ids_drive_out_others_and_not_the_other_way_round() {
    let now = Instant::now();
    let mut table = table((0..8).map(|network| contact(0, network)), now);
    for network in 100..108 {
        assert!(table.wants(&secure(network), now));
        assert_eq!(table.answered(secure(network), now), None);
    }
    assert!((100..108).all(|network| has(&table, &secure(network))));
    assert!(!table.wants(&contact(0, 200), now) && !table.wants(&secure(108), now));
    check(&table);
}

#[test]
fn an_id_that_moves_has_to_wait_until_the_old_one_is_silent() {
    let now = Instant::now();
    let old = contact(3, 1);
    let mut table = table([old], now);
    let thief = Contact { address: contact(0, 2).address, ..old };
    assert_eq!(table.answered(thief, now), None);
    let later = now + GOOD_FOR;
    assert_eq!(table.answered(thief, later), Some(old));
    assert!(has(&table, &old) && !has(&table, &thief));
    table.failed(old.address, later + 4 * SECOND);
    assert_eq!(table.answered(thief, later + 5 * SECOND), None);
    assert!(!has(&table, &old) && has(&table, &thief) && table.len() == 1);
}

#[test]
fn an_endpoint_that_changes_its_id_has_to_wait_while_the_old_one_is_good() {
    let now = Instant::now();
    let old = contact(3, 1);
    let mut table = table([old], now);
    let new = Contact { id: id(0, 7), ..old };
    assert_eq!(table.answered(new, now + 899 * SECOND), None);
    assert!(has(&table, &old));
    assert_eq!(table.answered(new, now + GOOD_FOR), None);
    assert!(has(&table, &new) && table.len() == 1);
}

#[test]
fn queries_enter_nobody_and_revive_nobody_who_failed() {
    let now = Instant::now();
    let (known, unknown) = (contact(0, 1), contact(0, 2));
    let mut table = table([known], now);
    table.queried_us(&unknown, now);
    assert_eq!(table.len(), 1);
    table.queried_us(&known, now + 600 * SECOND);
    assert_eq!(table.counts(now + GOOD_FOR), Counts { good: 1, ..Counts::default() });
    table.failed(known.address, now + GOOD_FOR);
    table.queried_us(&known, now + GOOD_FOR);
    assert_eq!(table.counts(now + GOOD_FOR), Counts { questionable: 1, ..Counts::default() });
    table.failed(known.address, now + GOOD_FOR + 4 * SECOND);
    assert_eq!(table.counts(now + GOOD_FOR), Counts { bad: 1, ..Counts::default() });
    assert!(table.closest(&OWN.target(), 8, now).is_empty());
    assert_eq!(table.answered(known, now), None);
    assert_eq!(table.counts(now), Counts { good: 1, ..Counts::default() });
}

#[test]
fn good_nodes_come_before_nearer_questionable_ones() {
    let now = Instant::now();
    let mut table = table([contact(5, 1), contact(2, 2)], now);
    // One lost datagram says little of a node that was there a moment ago.
    table.failed(contact(5, 1).address, now);
    assert_eq!(table.closest(&OWN.target(), 1, now), [contact(5, 1)]);
    let now = now + GOOD_FOR;
    assert_eq!(table.answered(contact(2, 2), now), None);
    assert_eq!(table.closest(&OWN.target(), 1, now), [contact(2, 2)]);
    assert_eq!(table.closest(&OWN.target(), 8, now), [contact(2, 2), contact(5, 1)]);
    table.remove(contact(2, 2).address, now);
    assert_eq!(table.closest(&OWN.target(), 8, now), [contact(5, 1)]);
}

/// Hours of an idle table whose nodes all answer, then of one whose nodes are gone.
#[test]
fn an_idle_table_keeps_within_its_traffic() {
    let (start, chance) = (Instant::now(), &mut SmallRng::seed_from_u64(1));
    let mut table = table((0..40).map(|network| contact(usize::from(network / 8), network)), start);
    for (hour, alive) in [true, true, false, false, false, false].into_iter().enumerate() {
        let (mut pings, mut refreshes) = (0, 0);
        while let Some(now) = table.next_due() {
            assert!(now >= start);
            if now >= start + (hour as u32 + 1) * 3_600 * SECOND {
                break;
            }
            let (ping, target) = (table.questionable_due(now), table.refresh_due(chance, now));
            assert!(ping.is_some() || target.is_some());
            refreshes += usize::from(target.is_some());
            if let Some(node) = ping {
                pings += 1;
                if alive {
                    assert_eq!(table.answered(node, now), None);
                } else {
                    table.failed(node.address, now + 4 * SECOND);
                }
            }
        }
        let room_or_dead = if alive { 1 } else { table.buckets.len() };
        assert!(pings <= 5 * 40 && refreshes <= 4 * room_or_dead, "{pings}, {refreshes}");
        assert_eq!(alive, hour < 2);
    }
    assert!(table.is_empty(), "{:?}", table.counts(start));
}

#[test]
fn refreshes_look_for_ids_of_the_stalest_range() {
    let (now, chance) = (Instant::now(), &mut SmallRng::seed_from_u64(1));
    let own = id_for("203.0.113.5".parse().unwrap(), chance);
    let mut table = Table::new(OWN, now);
    (0..80).for_each(|network| _ = table.answered(contact(usize::from(network / 8), network), now));
    table.rebase(own, now);
    assert_eq!(table.refresh_due(chance, now + 899 * SECOND), None);
    let ranges: BTreeSet<_> = (0..table.buckets.len() as u32)
        .map(|turn| {
            let later = now + GOOD_FOR + turn * 60 * SECOND;
            let target = table.refresh_due(chance, later).unwrap();
            table.index(&target)
        })
        .collect();
    assert_eq!(ranges.len(), table.buckets.len());
}

#[test]
fn nodes_stay_when_our_id_changes() {
    let now = Instant::now();
    let contacts: Vec<_> =
        (0..40).map(|network| contact(usize::from(network / 8), network)).collect();
    let mut table = table(contacts.clone(), now);
    table.rebase(id(1, 77), now);
    check(&table);
    // Those of the third to fifth bucket share one now, and those without a place wait in it.
    assert_eq!((table.len(), table.own()), (24, id(1, 77)));
    table.remove(contacts[16].address, now);
    assert_eq!((table.len(), has(&table, &contacts[16])), (24, false));
    table.rebase(contacts[0].id, now);
    check(&table);
    assert!(!has(&table, &contacts[0]));
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Answered(Contact),
    Queried(Contact),
    Failed(Contact),
    Removed(Contact),
    Rebased(NodeId),
    Pinged,
}

fn any_act() -> impl Strategy<Value = Act> {
    let ids = (0usize..6, 0u16..40).prop_map(|(common, salt)| id(common, salt));
    let addresses = (0u8..3, 0u8..12, 0u8..3, 1u16..3);
    let contact = (ids.clone(), addresses)
        .prop_map(|(id, (b, c, d, port))| Contact { id, address: ([60, b, c, d], port).into() });
    prop_oneof![
        12 => contact.clone().prop_map(Act::Answered),
        2 => contact.clone().prop_map(Act::Queried),
        6 => contact.clone().prop_map(Act::Failed),
        1 => contact.prop_map(Act::Removed),
        1 => ids.prop_map(Act::Rebased),
        3 => Just(Act::Pinged),
    ]
}

proptest! {
    #[test]
    fn invariants_hold_whatever_comes(
        acts in prop::collection::vec((any_act(), 0u64..200), 1..300), target: [u8; 20],
    ) {
        let (mut now, chance) = (Instant::now(), &mut SmallRng::seed_from_u64(1));
        let (mut table, target) = (Table::new(OWN, now), Target::from_bytes(target));
        for (act, pause) in acts {
            now += Duration::from_secs(pause);
            match act {
                Act::Answered(contact) => {
                    let wanted = table.wants(&contact, now);
                    let ping = table.answered(contact, now);
                    prop_assert!(ping.is_none_or(|ping| has(&table, &ping)));
                    prop_assert!(!wanted || has(&table, &contact));
                }
                Act::Queried(contact) => table.queried_us(&contact, now),
                Act::Failed(contact) => table.failed(contact.address, now),
                Act::Removed(contact) => table.remove(contact.address, now),
                Act::Rebased(own) => table.rebase(own, now),
                Act::Pinged => {
                    let due = table.next_due().is_some_and(|due| due <= now);
                    let ping = table.questionable_due(now);
                    prop_assert_eq!(due, ping.is_some() || table.refresh_due(chance, now).is_some());
                }
            }
            check(&table);
        }
        let mut all: Vec<_> = table.contacts(now).collect();
        all.retain(|(_, standing)| *standing != Standing::Bad);
        let heard: BTreeSet<_> = table.nodes().filter(|node| node.is_heard(now)).map(|node| node.contact).collect();
        all.sort_by_key(|(contact, _)| (!heard.contains(contact), contact.distance(&target)));
        let all: Vec<_> = all.into_iter().map(|(contact, _)| contact).collect();
        for count in [1, 8, 400] {
            prop_assert_eq!(&table.closest(&target, count, now), &all[..count.min(all.len())]);
        }
        prop_assert!(table.refresh_due(chance, now + Duration::from_secs(10_000)).is_some());
    }
}
