//! Tests of lookups.

use super::*;

const TARGET: Target = Target::from_bytes([0; 20]);

/// A node on a private network, where addresses are as good as any, at this distance.
fn node(distance: u16) -> Contact {
    let mut id = [0; 20];
    id[..2].copy_from_slice(&distance.to_be_bytes());
    let [a, b] = distance.to_be_bytes();
    Contact { id: NodeId::from_bytes(id), address: ([10, 0, a, b], 6881).into() }
}

fn nodes(distances: &[u16]) -> Vec<Contact> {
    distances.iter().map(|distance| node(*distance)).collect()
}

fn answer(distances: &[u16]) -> Answer {
    let token = Some(b"token".to_vec());
    Answer { contacts: nodes(distances), token, cut: false }
}

/// Runs a lookup in a network where `knows` says what each node answers; `None` is silence.
fn run(mut lookup: Lookup, knows: impl Fn(Contact) -> Option<Answer>) -> Lookup {
    while let Some(Ask { contact, .. }) = lookup.next_ask() {
        match knows(contact) {
            Some(answer) => {
                lookup.answered(contact.address, contact.id, answer);
            }
            None => lookup.is_slow(contact.address),
        }
    }
    assert!(lookup.is_done());
    lookup
}

fn found(lookup: &Lookup) -> Vec<Contact> {
    lookup.closest().into_iter().map(|found| found.contact).collect()
}

#[test]
fn ends_at_the_closest_eight() {
    // Each node knows those at a half, a third and a quarter of its distance, and its next.
    let knows = |contact: Contact| {
        let [a, b, ..] = *contact.id.as_bytes();
        let distance = u16::from_be_bytes([a, b]);
        let near = [2, 3, 4].map(|part| distance / part).into_iter();
        let next = (1..=4).map(|step| distance.saturating_sub(step).max(1));
        Some(answer(&near.chain(next).map(|one| one.max(1)).collect::<Vec<_>>()))
    };
    let lookup = run(Lookup::new(TARGET, nodes(&[60_000, 50_000, 40_000])), knows);
    assert_eq!(found(&lookup), nodes(&[1, 2, 3, 4, 5, 6, 7, 8]));
    assert!(lookup.counts().0 < 60, "{:?}", lookup.counts());
    assert!(lookup.closest().iter().all(|found| found.token.is_some()));
}

#[test]
fn asks_three_at_a_time_and_one_more_for_each_that_is_slow() {
    let mut lookup = Lookup::new(TARGET, nodes(&(1..30).collect::<Vec<_>>()));
    let mut asked: Vec<_> = std::iter::from_fn(|| lookup.next_ask()).collect();
    assert_eq!(asked.len(), 3);
    let mut in_flight = 3;
    for slow in 1..10 {
        let Ask { contact, .. } = asked.remove(0);
        lookup.is_slow(contact.address);
        let more: Vec<_> = std::iter::from_fn(|| lookup.next_ask()).collect();
        in_flight = in_flight - 1 + more.len();
        assert_eq!(in_flight, LOOKUP_AT_MOST.min(3 + slow));
        asked.extend(more);
    }
}

#[test]
fn an_answer_counts_whenever_it_comes() {
    let mut lookup = Lookup::new(TARGET, nodes(&[1]));
    for _ in 0..LOOKUP_TRIES {
        let Ask { contact, .. } = lookup.next_ask().unwrap();
        lookup.is_slow(contact.address);
    }
    assert!(lookup.next_ask().is_none() && lookup.is_done() && lookup.closest().is_empty());
    assert!(lookup.answered(node(1).address, node(1).id, answer(&[2])));
    assert_eq!(lookup.next_ask().map(|ask| ask.contact), Some(node(2)));
    assert_eq!(found(&lookup), nodes(&[1]));
}

#[test]
fn asks_who_was_silent_once_more_at_the_end() {
    let silent = std::cell::Cell::new(0);
    let knows = |contact: Contact| {
        if contact == node(1) && silent.get() == 0 {
            silent.set(1);
            return None;
        }
        Some(answer(&[]))
    };
    let lookup = run(Lookup::new(TARGET, nodes(&[1, 2, 3, 4])), knows);
    assert_eq!(found(&lookup), nodes(&[1, 2, 3, 4]));
    let lookup = run(Lookup::new(TARGET, nodes(&[1, 2])), |contact| {
        (contact != node(1)).then(|| answer(&[]))
    });
    assert_eq!((found(&lookup), lookup.counts().0), (nodes(&[2]), 1 + u32::from(LOOKUP_TRIES)));
}

/// Liars named honest nodes by false ids, and at false ports: those nodes were left out then.
#[test]
fn a_false_name_keeps_nobody_out() {
    let false_id = Contact { id: node(9).id, ..node(1) };
    let false_port = Contact { address: ([10, 0, 0, 2], 1).into(), ..node(2) };
    let honest = nodes(&[1, 2, 3]);
    let mut named = vec![false_id, false_port];
    named.extend(&honest);
    let mut lookup = Lookup::new(TARGET, named);
    let mut asked = 0;
    while let Some(Ask { contact, .. }) = lookup.next_ask() {
        asked += 1;
        match honest.iter().find(|node| node.address == contact.address) {
            Some(node) => assert!(lookup.answered(node.address, node.id, answer(&[]))),
            None => lookup.is_slow(contact.address),
        }
    }
    assert!(lookup.is_done() && asked <= 3 + u32::from(LOOKUP_TRIES), "{asked}");
    assert_eq!(found(&lookup), honest);
}

/// ATTACKS 14: nobody has us send much to a third party by naming all of its ports.
#[test]
fn few_addresses_of_one_host_are_asked_on_the_word_of_one_path() {
    let victim = |port| Contact { address: ([203, 0, 113, 5], port).into(), ..node(port) };
    let mut lookup = Lookup::new(TARGET, nodes(&[60_000]));
    let first = lookup.next_ask().unwrap();
    let contacts = (1..200).map(victim).collect();
    lookup.answered(first.contact.address, first.contact.id, Answer { contacts, ..answer(&[]) });
    let lookup = run(lookup, |_| None);
    assert!(lookup.counts().0 <= 1 + 2 * u32::from(LOOKUP_TRIES), "{:?}", lookup.counts());
}

#[test]
fn asks_again_with_the_token_of_an_answer_that_was_cut() {
    let mut lookup = Lookup::new(TARGET, nodes(&[1]));
    let first = lookup.next_ask().unwrap();
    let cut = Answer { cut: true, ..answer(&[]) };
    assert!(lookup.answered(first.contact.address, first.contact.id, cut.clone()));
    let again = lookup.next_ask().unwrap();
    assert_eq!((again.contact, again.token.as_deref()), (first.contact, Some(&b"token"[..])));
    assert!(lookup.answered(again.contact.address, again.contact.id, cut));
    assert!(lookup.next_ask().is_none() && lookup.is_done());
    assert_eq!(found(&lookup), nodes(&[1]));
}

/// ATTACKS 15: ids near the target cost nothing, addresses do.
#[test]
fn a_crowd_of_near_ids_takes_half_of_the_places_at_most() {
    let mut crowd = nodes(&[1, 2, 3, 4, 5, 6, 7, 8]);
    for (number, contact) in (0..).zip(&mut crowd) {
        contact.address = ([203, 0, number, 9], 6881).into();
    }
    let honest = nodes(&[100, 101, 102, 103, 104, 105, 106, 107]);
    let lookup = Lookup::new(TARGET, honest.iter().chain(&crowd).copied());
    let lookup = run(lookup, |_| Some(answer(&[])));
    let of_the_crowd = found(&lookup).iter().filter(|one| crowd.contains(one)).count();
    assert_eq!((found(&lookup).len(), of_the_crowd), (8, 4));
}

#[test]
fn one_network_takes_one_place() {
    let mut crowd = nodes(&[1, 2, 3]);
    for (number, contact) in (0..).zip(&mut crowd) {
        contact.address = ([203, 0, 113, number], 6881).into();
    }
    let lookup = run(Lookup::new(TARGET, crowd.clone()), |_| Some(answer(&[])));
    assert_eq!(found(&lookup), crowd[..1]);
}

#[test]
fn gives_up_after_so_many_queries() {
    let mut lookup = Lookup::new(TARGET, nodes(&[60_000]));
    let mut next = 60_000;
    let mut asked = 0;
    while let Some(ask) = lookup.next_ask() {
        asked += 1;
        next -= 1;
        lookup.answered(ask.contact.address, ask.contact.id, answer(&[next]));
    }
    assert_eq!(asked, LOOKUP_QUERIES);
    assert!(lookup.is_done());
}

/// A node that was named by two ids kept a lookup for ever: what the second one was asked was never
/// given up.
#[test]
fn gives_up_on_every_name_of_an_address() {
    let other_name = Contact { id: node(2).id, ..node(1) };
    let mut lookup = Lookup::new(TARGET, [node(1), other_name]);
    while let Some(Ask { contact, .. }) = lookup.next_ask() {
        lookup.is_slow(contact.address);
    }
    assert!(lookup.is_done() && lookup.counts().0 == 2 * u32::from(LOOKUP_TRIES));
}
