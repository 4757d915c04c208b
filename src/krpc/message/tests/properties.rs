//! What holds for every message, and for all bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::super::*;
use crate::id::BlockId;
use crate::limits::dht::{MAX_ASKED_IDS, MAX_GOSSIP, MAX_TOKEN_LEN, MAX_VALUES};

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..=most)
}

/// A value in bencode.
fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<i64>().prop_map(|number| format!("i{number}e").into_bytes()),
        "[a-z]{0,9}".prop_map(|text| format!("{}:{text}", text.len()).into_bytes()),
        Just(b"le".to_vec()),
        Just(b"d1:ali-1e0:ee".to_vec()),
    ]
}

/// Keys that nobody understands: all of ours are in small letters.
fn extra() -> impl Strategy<Value = Extra> {
    prop::collection::btree_map("[A-Z]{0,5}".prop_map(String::into_bytes), value(), 0..4)
}

fn address_v4() -> impl Strategy<Value = SocketAddr> {
    any::<([u8; 4], u16)>().prop_map(|(ip, port)| (Ipv4Addr::from(ip), port).into())
}

fn address_v6() -> impl Strategy<Value = SocketAddr> {
    let bare = |(ip, _): &(Ipv6Addr, u16)| IpAddr::V6(*ip).to_canonical().is_ipv6();
    any::<([u8; 16], u16)>()
        .prop_map(|(ip, port)| (Ipv6Addr::from(ip), port))
        .prop_filter("IPv4 in IPv6 clothes", bare)
        .prop_map(SocketAddr::from)
}

fn address() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![address_v4(), address_v6()]
}

fn contacts(
    address: impl Strategy<Value = SocketAddr>,
    most: usize,
) -> impl Strategy<Value = Vec<Contact>> {
    let contact = (any::<[u8; 20]>(), address)
        .prop_map(|(id, address)| Contact { id: NodeId::from_bytes(id), address });
    vec(contact, 0..=most)
}

fn off_query() -> impl Strategy<Value = OffQuery> {
    let ids = vec(any::<[u8; 32]>().prop_map(BlockId::from_bytes), 0..=MAX_ASKED_IDS);
    (ids, any::<u16>()).prop_map(|(ids, port)| OffQuery { ids, port })
}

fn off_answer() -> impl Strategy<Value = OffAnswer> {
    let on = (contacts(address_v4(), MAX_GOSSIP), contacts(address_v6(), MAX_GOSSIP));
    (any::<bool>(), bytes(MAX_ASKED_IDS.div_ceil(8)), on, any::<u16>())
        .prop_map(|(cut, have, on, port)| OffAnswer { cut, have, on: [on.0, on.1].concat(), port })
}

prop_compose! {
    fn item()(
        value in value(), signed in of(any::<([u8; 32], [[u8; 32]; 2], i64)>()), salt in bytes(70)
    ) -> RawItem {
        let whole = |halves: [[u8; 32]; 2]| halves.concat().try_into().unwrap();
        RawItem {
            value: Some(value),
            key: signed.map(|signed| ItemKey::from_bytes(signed.0)),
            signature: signed.map(|signed| whole(signed.1)),
            salt,
            seq: signed.map(|signed| signed.2),
        }
    }
}

fn method() -> impl Strategy<Value = Method> {
    let target = || any::<[u8; 20]>().prop_map(Target::from_bytes);
    let infohash = || any::<[u8; 20]>().prop_map(InfoHash::from_bytes);
    let announce = (infohash(), any::<(u16, bool, bool)>());
    prop_oneof![
        Just(Method::Ping),
        target().prop_map(|target| Method::FindNode { target }),
        infohash().prop_map(|infohash| Method::GetPeers { infohash }),
        announce.prop_map(|(infohash, (port, implied_port, seed))| {
            Method::AnnouncePeer { infohash, port, implied_port, seed }
        }),
        (target(), any::<Option<i64>>()).prop_map(|(target, seq)| Method::Get { target, seq }),
        (item(), any::<Option<i64>>()).prop_map(|(item, cas)| Method::Put { item, cas }),
        target().prop_map(|target| Method::OffFind { target }),
        ("[A-Z]{0,9}", of(target()))
            .prop_map(|(name, target)| Method::Unknown { name: name.into_bytes(), target }),
    ]
}

prop_compose! {
    fn query()(
        id: [u8; 20], method in method(), want: (bool, bool),
        token in of(bytes(MAX_TOKEN_LEN)), off in of(off_query()), extra in extra()
    ) -> Body {
        let want = Want { v4: want.0, v6: want.1 };
        Body::Query(Box::new(Query { id: NodeId::from_bytes(id), method, want, token, off, extra }))
    }
}

prop_compose! {
    fn response()(
        id: [u8; 20],
        nodes in of(contacts(address_v4(), 10)), nodes6 in of(contacts(address_v6(), 10)),
        values in vec(address(), 0..=MAX_VALUES), token in of(bytes(MAX_TOKEN_LEN)),
        item in of(item()), off in of(off_answer()), extra in extra()
    ) -> Body {
        let mut response = Response { nodes, nodes6, values, token, off, extra, ..Response::of(NodeId::from_bytes(id)) };
        // No answer has a salt (BEP 44): who asks knows it.
        response.item = item.map(|item| RawItem { salt: Vec::new(), ..item });
        Body::Response(Box::new(response))
    }
}

prop_compose! {
    fn message()(
        transaction in bytes(40),
        body in prop_oneof![
            query(),
            response(),
            (any::<i64>(), "[ -~]{0,80}").prop_map(|(code, text)| Body::Error(KrpcError::new(code, text))),
        ],
        version in of(bytes(8)), ip in of(address()), read_only: bool, extra in extra()
    ) -> Message {
        Message { transaction, body, version, ip, read_only, extra }
    }
}

/// A value that was read is written such that it is read the same.
fn settles(datagram: &[u8]) -> Result<(), TestCaseError> {
    match Message::decode(datagram) {
        Ok(read) => prop_assert_eq!(Message::decode(&read.encode()), Ok(read)),
        Err(MessageError::Query { transaction, .. }) => {
            prop_assert!(transaction.len() < datagram.len());
        }
        Err(_) => {}
    }
    Ok(())
}

proptest! {
    #[test]
    fn messages_come_back(message in message()) {
        let datagram = message.encode();
        prop_assert_eq!(Message::decode(&datagram), Ok(message), "{}", String::from_utf8_lossy(&datagram));
    }

    #[test]
    fn any_bytes_are_a_message_or_none(datagram in bytes(300)) {
        settles(&datagram)?;
    }

    #[test]
    fn a_message_with_a_byte_changed_is_one_or_none(message in message(), at: usize, to: u8) {
        let mut datagram = message.encode();
        let at = at % datagram.len();
        datagram[at] = to;
        settles(&datagram)?;
    }

    #[test]
    fn a_message_that_ends_early_is_none(message in message(), at: usize) {
        let datagram = message.encode();
        prop_assert!(Message::decode(&datagram[..at % datagram.len()]).is_err());
    }

    /// ATTACKS 1: a length that is not there, and nesting without end, in each place of a message.
    #[test]
    fn declared_lengths_and_nesting_are_refused_anywhere(message in message(), at: usize, deep: bool) {
        let datagram = message.encode();
        let at = at % datagram.len();
        let bad = if deep { b"l".repeat(5_000) } else { b"99999999999:".to_vec() };
        let datagram = [&datagram[..at], &bad].concat();
        prop_assert!(Message::decode(&datagram).is_err());
    }
}
