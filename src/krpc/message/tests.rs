//! The messages that the BEPs show, and what strangers make of them.

mod properties;

use super::*;
use crate::krpc::native::OffQuery;

const ASKER: &[u8; 20] = b"abcdefghij0123456789";
const ANSWERER: &[u8; 20] = b"mnopqrstuvwxyz123456";

fn query(method: Method) -> Message {
    let query = Query {
        id: NodeId::from_bytes(*ASKER),
        method,
        want: Want::default(),
        token: None,
        off: None,
        extra: Extra::new(),
    };
    message(Body::Query(Box::new(query)))
}

fn message(body: Body) -> Message {
    let transaction = b"aa".to_vec();
    Message { transaction, body, version: None, ip: None, read_only: false, extra: Extra::new() }
}

fn both_ways(bytes: &[u8], message: &Message) {
    let shown = String::from_utf8_lossy(bytes);
    assert_eq!(Message::decode(bytes).as_ref(), Ok(message), "{shown}");
    assert_eq!(message.encode(), bytes, "{shown}");
}

/// The examples of BEP 5, byte by byte.
#[test]
fn reads_and_writes_what_bep_5_shows() {
    both_ways(b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe", &query(Method::Ping));
    let target = Target::from_bytes(*ANSWERER);
    both_ways(
        b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe",
        &query(Method::FindNode { target }),
    );
    let infohash = InfoHash::from_bytes(*ANSWERER);
    both_ways(
        b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe",
        &query(Method::GetPeers { infohash }),
    );
    let mut response = Response::of(NodeId::from_bytes(*ASKER));
    response.token = Some(b"aoeusnth".to_vec());
    response.values =
        vec!["97.120.106.101:11893".parse().unwrap(), "105.100.104.116:28269".parse().unwrap()];
    both_ways(
        b"d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re",
        &message(Body::Response(Box::new(response))),
    );
    let error = KrpcError::new(201, "A Generic Error Ocurred");
    both_ways(b"d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee", &message(Body::Error(error)));
    let announce = b"d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz1234564:porti6881e5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe";
    let read = Message::decode(announce).unwrap();
    let Body::Query(query) = &read.body else { panic!("{read:?}") };
    let Query { method, token, .. } = &**query;
    let wanted = Method::AnnouncePeer { infohash, port: 6881, implied_port: true, seed: false };
    assert_eq!((method, token.as_deref()), (&wanted, Some(&b"aoeusnth"[..])));
    assert_eq!(Message::decode(&read.encode()), Ok(read));
}

#[test]
fn echoes_transaction_ids_of_any_length_and_keeps_what_it_does_not_know() {
    for length in [0, 1, 4, 8, 300] {
        let mut sent = query(Method::Ping);
        sent.transaction = vec![b'x'; length];
        assert_eq!(Message::decode(&sent.encode()), Ok(sent));
    }
    let odd = b"d1:ad1:bi1e2:id20:abcdefghij0123456789e1:q4:ping2:roi1e1:t2:aa1:v4:OS\0\x011:y1:q1:zl1:xee";
    let read = Message::decode(odd).unwrap();
    assert_eq!(read.encode(), odd);
    assert!(read.read_only && read.version.as_deref() == Some(b"OS\0\x01"));
    assert_eq!(read.extra.get(&b"z"[..]), Some(&b"l1:xe".to_vec()));
}

#[test]
fn reads_both_families_and_the_extension() {
    let mut sent = query(Method::OffFind { target: Target::from_bytes(*ANSWERER) });
    let Body::Query(inner) = &mut sent.body else { panic!() };
    inner.want = Want { v4: true, v6: true };
    inner.off = Some(OffQuery { ids: Vec::new(), port: 6881 });
    assert_eq!(Message::decode(&sent.encode()), Ok(sent.clone()));
    let contact = |address: &str| Contact {
        id: NodeId::from_bytes(*ANSWERER),
        address: address.parse().unwrap(),
    };
    let mut response = Response::of(NodeId::from_bytes(*ASKER));
    response.nodes = Some(vec![contact("203.0.113.5:6881")]);
    response.nodes6 = Some(vec![contact("[2001:db8::5]:6881")]);
    let mut answer = message(Body::Response(Box::new(response)));
    answer.ip = Some("198.51.100.7:1234".parse().unwrap());
    assert_eq!(Message::decode(&answer.encode()), Ok(answer));
}

#[test]
fn says_what_a_query_lacks() {
    for (bytes, lacking) in [
        (&b"d1:ade1:q4:ping1:t2:aa1:y1:qe"[..], "an id"),
        (b"d1:q4:ping1:t2:aa1:y1:qe", "arguments"),
        (b"d1:ad2:id20:abcdefghij0123456789e1:t2:aa1:y1:qe", "a method"),
        (b"d1:ad2:id20:abcdefghij0123456789e1:q9:find_node1:t2:aa1:y1:qe", "a target"),
        (
            b"d1:ad2:id20:abcdefghij01234567896:target3:abce1:q9:get_peers1:t2:aa1:y1:qe",
            "an infohash",
        ),
        (b"d1:ad2:id20:abcdefghij0123456789e1:q3:put1:t2:aa1:y1:qe", "a value"),
    ] {
        match Message::decode(bytes) {
            Err(MessageError::Query { transaction, lacks }) => {
                assert_eq!((&transaction[..], lacks), (&b"aa"[..], lacking));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// ATTACKS 1: nothing recurses, nothing is allocated by a declared length.
#[test]
fn refuses_what_is_no_message() {
    let nested = [b"d1:a".to_vec(), b"l".repeat(5_000), b"e".repeat(5_001)].concat();
    for bad in [
        &nested[..],
        b"",
        b"le",
        b"de",
        b"i1e",
        b"d1:t2:aae",
        b"d1:t2:aa1:y1:re",
        b"d1:rde1:t2:aa1:y1:re",
        b"d1:t2222222222:l",
        b"d1:t2:aa1:t2:aa1:y1:qe",
        b"d1:t2:aa1:y1:qex",
    ] {
        assert!(Message::decode(bad).is_err(), "{}", String::from_utf8_lossy(bad));
    }
}
