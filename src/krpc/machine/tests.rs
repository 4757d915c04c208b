//! Tests of the node as a whole.

use std::time::Duration;

use super::*;
use crate::id::Target;

const NODE: ([u8; 4], u16) = ([203, 0, 113, 5], 6881);

/// What a node says to a query about an item.
enum ToGet {
    Silence,
    Error,
}

/// How a node stands, the only one there is, after three lookups of items within two minutes. It
/// answers pings and the like for so many seconds.
fn standing_after_lookups(to_get: &ToGet, answers_for: u64) -> Standing {
    let (started, node) = (Instant::now(), NODE.into());
    let config = Config { families: vec![Family::V4], bootstrap: vec![node], ..Config::default() };
    let mut machine = Machine::new(config, [7; 32], started);
    for second in 0..150 {
        let now = started + Duration::from_secs(second);
        if second % 40 == 35 {
            let target = Target::of(&[7]);
            machine.begin(Aim::Item { target, salt: Vec::new() }, Family::V4, &[], now);
        }
        machine.tick(now);
        while let Some(transmit) = machine.transmit() {
            let Ok(query) = Message::decode(&transmit.datagram) else { continue };
            let Body::Query(asked) = &query.body else { continue };
            let body = match (&asked.method, to_get) {
                (Method::Get { .. }, ToGet::Silence) => continue,
                (Method::Get { .. }, ToGet::Error) => Body::Error(KrpcError::new(204, "?")),
                _ if second > answers_for => continue,
                _ => Body::Response(Box::new(Response::of(NodeId::from_bytes([9; 20])))),
            };
            let answer = Message { body, extra: Extra::new(), ..query };
            machine.handle(node, &answer.encode(), &Nothing, now);
        }
    }
    let now = started + Duration::from_secs(150);
    machine.contacts(Family::V4, now).first().expect("the node").1
}

/// aria2 and Transmission know no items and say nothing when they are asked for one; two lookups
/// of items made bad nodes of them, whose places others took.
#[test]
fn nodes_that_know_no_items_are_as_good_as_others() {
    for to_get in [ToGet::Silence, ToGet::Error] {
        assert_eq!(standing_after_lookups(&to_get, u64::MAX), Standing::Good);
    }
}

#[test]
fn nodes_that_have_gone_are_noticed_by_lookups_of_items() {
    assert_eq!(standing_after_lookups(&ToGet::Silence, 20), Standing::Bad);
}
