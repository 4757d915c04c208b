//! Messages there and back, and bytes that are none.

use proptest::prelude::*;

use super::*;

fn peer(seed: u8) -> LegacyPeer {
    LegacyPeer {
        id: LegacyId::from_bytes([seed; 32]),
        external: ([203, 0, 113, seed], 8200).into(),
        internal: ([10, 0, 0, seed], 1 + u16::from(seed)).into(),
    }
}

fn calls() -> impl Strategy<Value = Call> {
    let size = prop::sample::select(&BlockSize::ALL[1..]);
    let bytes = prop::collection::vec(any::<u8>(), 0..200);
    (0..7, size, any::<[u8; 32]>(), bytes, 0..=MAX_LEGACY_PEERS_TOLD).prop_map(
        |(kind, size, id, bytes, count)| match kind {
            0 => Call::Ping,
            1 => Call::FindNode { target: LegacyId::from_bytes(id), count },
            2 => Call::FindValue { size, id: BlockId::from_bytes(id), count },
            3 => Call::Store { size, value: bytes.into() },
            4 => Call::Random { size, filter: bytes.into() },
            5 => Call::PingValue { size, id: BlockId::from_bytes(id) },
            _ => Call::PingStorage { size },
        },
    )
}

/// An answer that fits the call, a yes or a no.
fn answer(call: &Call, yes: bool, nodes: u8) -> Answer {
    let nodes: Vec<_> = (0..nodes).map(peer).collect();
    match call {
        Call::FindNode { .. } => Answer::Nodes(nodes),
        Call::FindValue { size, id, .. } if yes => {
            Answer::Value { size: *size, id: *id, data: Bytes::from_static(b"noise") }
        }
        Call::FindValue { size, id, .. } => Answer::Elsewhere { size: *size, id: *id, nodes },
        Call::Random { size, .. } if yes => {
            Answer::Random { size: *size, value: Bytes::from_static(b"more") }
        }
        Call::PingStorage { .. } => Answer::Capacity(12.5),
        _ if yes => Answer::Success,
        _ => Answer::Failure,
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        call in calls(), number in prop::collection::vec(any::<u8>(), 0..9), yes: bool, nodes in 0_u8..20,
    ) {
        let request = Request::new(peer(9), number.clone().into(), call.clone());
        prop_assert_eq!(&Request::decode(request.encode()).unwrap(), &request);
        let (from, answer) = (Some(peer(8)), answer(&call, yes, nodes));
        let response = Response { from, number: number.into(), answer };
        prop_assert_eq!(Response::decode(response.encode(&call), &call).unwrap(), response);
    }

    #[test]
    fn any_bytes_give_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300), call in calls()) {
        let _ = Request::decode(bytes.clone().into());
        let _ = Response::decode(bytes.into(), &call);
    }

    #[test]
    fn damaged_messages_give_a_value_or_an_error(call in calls(), at in 0_usize..200, bit in 0_u8..8) {
        let mut bytes = Request::new(peer(9), Bytes::from_static(b"xy"), call.clone()).encode().to_vec();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let _ = Request::decode(bytes.clone().into());
        let _ = Response::decode(bytes.into(), &call);
    }
}

fn raw(id: &[u8], ip: &str, kind: i32, payload: Option<Vec<u8>>) -> Bytes {
    let from = wire::Peer {
        id: id.to_vec().into(),
        ext_ip: ip.into(),
        ext_port: 8200,
        int_ip: "10.0.0.1".into(),
        int_port: 8200,
    };
    let (direction, payload) = (REQUEST, payload.map(Bytes::from));
    let (from, id) = (Some(from), Bytes::from_static(b"id"));
    wire::Rpc { kind, from, direction, id, payload, status: None }.encode_to_vec().into()
}

#[test]
fn refuses_ids_of_other_lengths() {
    let error = |len| Request::decode(raw(&vec![1; len], "203.0.113.5", 1, None)).unwrap_err();
    assert_eq!(error(20), MessageError::NodeId(20));
    assert_eq!(error(0), MessageError::NodeId(0));
    let target = wire::FindNodeRequest { id: vec![1; 20].into(), count: 10 }.encode_to_vec();
    let request = raw(&[1; 32], "203.0.113.5", 2, Some(target));
    assert_eq!(Request::decode(request).unwrap_err(), MessageError::NodeId(20));
    let value = wire::ClassAndBytes { class: 3, bytes: vec![1; 34].into() }.encode_to_vec();
    let request = raw(&[1; 32], "203.0.113.5", 6, Some(value));
    assert_eq!(Request::decode(request).unwrap_err(), MessageError::BlockId(34));
}

#[test]
fn somebody_at_no_address_may_ask_and_is_not_remembered() {
    let request = Request::decode(raw(&[1; 32], "node.example", 1, None)).unwrap();
    assert_eq!((request.caller, request.from), (LegacyId::from_bytes([1; 32]), None));
}

#[test]
fn refuses_numbers_that_stand_for_nothing() {
    let error = |kind, payload| Request::decode(raw(&[1; 32], "203.0.113.5", kind, payload));
    let unknown = |what, number| Err(MessageError::Unknown { what, number });
    assert_eq!(error(8, None), unknown("call", 8));
    assert_eq!(error(-1, None), unknown("call", -1));
    assert_eq!(error(3, None), Err(MessageError::Without("payload")));
    let class = |class| Some(wire::PingStorageRequest { class }.encode_to_vec());
    assert_eq!(error(7, class(4)), unknown("class", 4));
    assert_eq!(error(7, class(0)), unknown("class", 0));
}

#[test]
fn an_answer_to_another_call_is_none() {
    let call = Call::PingStorage { size: BlockSize::LegacyNano };
    let answer = Response { from: None, number: Bytes::new(), answer: Answer::Capacity(1.0) };
    let answer = answer.encode(&call);
    assert_eq!(Response::decode(answer, &Call::Ping).unwrap_err(), MessageError::OtherCall);
    let [one, other] = [1, 2].map(|seed| Call::FindValue {
        size: BlockSize::LegacyNano,
        id: BlockId::from_bytes([seed; 32]),
        count: 10,
    });
    let answer = answer_to_find(&one).encode(&one);
    assert_eq!(Response::decode(answer, &other).unwrap_err(), MessageError::OtherCall);
}

fn answer_to_find(call: &Call) -> Response {
    Response { from: None, number: Bytes::new(), answer: answer(call, true, 0) }
}

#[test]
fn counts_and_crowds_are_bounded() {
    let target = |count| wire::FindNodeRequest { id: vec![1; 32].into(), count }.encode_to_vec();
    for (asked, given) in [(-1, 0), (i64::MAX, MAX_LEGACY_PEERS_TOLD), (10, 10)] {
        let request = Request::decode(raw(&[1; 32], "203.0.113.5", 2, Some(target(asked))));
        let Call::FindNode { count, .. } = request.unwrap().call else { panic!("not Find_Node") };
        assert_eq!(count, given);
    }
    let call = Call::FindNode { target: LegacyId::from_bytes([1; 32]), count: 10 };
    let crowd = Answer::Nodes((0..200).map(peer).collect());
    let response = Response { from: None, number: Bytes::new(), answer: crowd };
    let Answer::Nodes(nodes) = Response::decode(response.encode(&call), &call).unwrap().answer
    else {
        panic!("not nodes");
    };
    assert_eq!(nodes.len(), MAX_LEGACY_PEERS_TOLD);
}
