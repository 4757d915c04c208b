//! Attacks on a DHT node (ATTACKS 1 and 14 to 17), by datagrams on a [`Machine`] without a network.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use offswarm::id::{InfoHash, NodeId, Target};
use offswarm::krpc::contact::{Contact, Family};
use offswarm::krpc::item::{Item, ItemSecret, Value};
use offswarm::krpc::machine::{Aim, Config, Machine, Nothing, Transmit};
use offswarm::krpc::message::{Body, Extra, Message, Method, Query, RawItem, Response, Want};
use offswarm::krpc::secure::is_secure;
use offswarm::limits::dht::{
    ALL_BURST, ALL_DATAGRAMS, BUCKET_NODES, MAX_HOST_ANNOUNCES, MAX_ITEMS_PER_HOST,
    MAX_STORED_PEERS, MAX_SWARM_PEERS, PEER_LIFE,
};

const SECOND: Duration = Duration::from_secs(1);

/// A node, and its clock.
struct Victim {
    machine: Machine,
    now: Instant,
}

fn at(number: u32) -> SocketAddr {
    // A /24 for each, all of them public.
    (Ipv4Addr::from(0x1400_0007 + (number << 8)), 6881).into()
}

fn id(number: u32) -> NodeId {
    let mut id = *Target::of(&number.to_be_bytes()).as_bytes();
    id[19] = 1;
    NodeId::from_bytes(id)
}

fn message(transaction: &[u8], body: Body) -> Vec<u8> {
    let transaction = transaction.to_vec();
    let extra = Extra::new();
    Message { transaction, body, version: None, ip: None, read_only: false, extra }.encode()
}

fn query(number: u32, method: Method, token: Option<Vec<u8>>) -> Vec<u8> {
    let (want, extra) = (Want::default(), Extra::new());
    let query = Query { id: id(number), method, want, token, off: None, extra };
    message(b"aa", Body::Query(Box::new(query)))
}

/// One of each kind.
fn methods() -> Vec<Method> {
    let (target, infohash) = (Target::of(b"x"), InfoHash::of(b"x"));
    let item = RawItem { value: Some(b"i1e".to_vec()), ..RawItem::default() };
    vec![
        Method::Ping,
        Method::FindNode { target },
        Method::GetPeers { infohash },
        announce(infohash, 6881),
        Method::Get { target, seq: None },
        Method::Put { item, cas: None },
        Method::OffFind { target },
        Method::Unknown { name: b"vote".to_vec(), target: Some(target) },
        Method::Unknown { name: b"vote".to_vec(), target: None },
    ]
}

fn announce(infohash: InfoHash, port: u16) -> Method {
    Method::AnnouncePeer { infohash, port, implied_port: false, seed: false }
}

impl Victim {
    fn new(read_only: bool) -> Self {
        let now = Instant::now();
        let config = Config { families: vec![Family::V4], read_only, ..Config::default() };
        Self { machine: Machine::new(config, [7 + u8::from(read_only); 32], now), now }
    }

    /// One that knows so many nodes, which have answered it.
    fn with_neighbours(count: u32) -> Self {
        let mut victim = Self::new(false);
        for number in 0..count {
            victim.meet(number, id(number));
        }
        victim
    }

    /// A node answers a ping.
    fn meet(&mut self, number: u32, id: NodeId) {
        self.machine.ping(at(number), self.now);
        for Transmit { to, datagram } in self.sent() {
            if to == at(number) {
                self.answer(number, id, &datagram, |_| ());
            }
        }
        while self.machine.event().is_some() {}
    }

    fn answer(
        &mut self,
        number: u32,
        id: NodeId,
        asked: &[u8],
        mut fill: impl FnMut(&mut Response),
    ) {
        let Ok(Message { transaction, body: Body::Query(_), .. }) = Message::decode(asked) else {
            return;
        };
        let mut response = Response::of(id);
        fill(&mut response);
        self.hears(at(number), &message(&transaction, Body::Response(Box::new(response))));
    }

    fn hears(&mut self, from: SocketAddr, datagram: &[u8]) {
        self.machine.handle(from, datagram, &Nothing, self.now);
    }

    fn sent(&mut self) -> Vec<Transmit> {
        std::iter::from_fn(|| self.machine.transmit()).collect()
    }

    fn pass(&mut self, time: Duration) -> Vec<Transmit> {
        let (until, mut sent) = (self.now + time, Vec::new());
        while self.machine.next_tick() <= until {
            self.now = self.now.max(self.machine.next_tick());
            self.machine.tick(self.now);
            sent.extend(self.sent());
        }
        self.now = until;
        sent
    }

    /// What it answers to a query.
    fn asked(&mut self, number: u32, method: Method, token: Option<Vec<u8>>) -> Option<Body> {
        self.hears(at(number), &query(number, method, token));
        let to_asker = |sent: Transmit| {
            let message = Message::decode(&sent.datagram).ok()?;
            let is_answer = sent.to == at(number) && message.transaction == b"aa";
            is_answer.then_some(message.body)
        };
        self.sent().into_iter().find_map(to_asker)
    }

    fn token(&mut self, number: u32) -> Vec<u8> {
        let method = Method::GetPeers { infohash: InfoHash::of(b"any") };
        match self.asked(number, method, None) {
            Some(Body::Response(response)) => response.token.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// The number of the error that it answers; 0 is none.
    fn refusal(&mut self, number: u32, method: Method, token: Option<Vec<u8>>) -> i64 {
        match self.asked(number, method, token) {
            Some(Body::Error(error)) => error.code,
            Some(Body::Response(_)) => 0,
            other => panic!("{other:?}"),
        }
    }
}

/// ATTACKS 1.
#[test]
fn monsters_of_bencode_are_dropped_and_what_lacks_something_is_told() {
    let mut victim = Victim::new(false);
    let deep = [b"d1:a".as_slice(), &b"l".repeat(4_000)].concat();
    let closed = [b"l".repeat(2_000), b"e".repeat(2_000)].concat();
    let in_arguments = [b"d1:ad1:x", &closed[..], b"e1:q4:ping1:t2:aa1:y1:qe"].concat();
    let monsters: [&[u8]; 7] = [
        &deep,
        &closed,
        &in_arguments,
        b"d2222222222:l",
        b"99999999999999999999:",
        b"d1:t99999999999:aae",
        b"i-0e",
    ];
    for monster in monsters {
        victim.hears(at(1), monster);
        assert!(victim.sent().is_empty());
    }
    victim.hears(at(1), b"d1:ad2:id20:abcdefghij0123456789e1:q9:find_node1:t2:aa1:y1:qe");
    let sent = victim.sent();
    assert!(sent[0].datagram.starts_with(b"d1:eli203e"), "{sent:?}");
    assert_eq!(victim.refusal(2, Method::Ping, None), 0);
}

/// ATTACKS 14: a victim whose address is forged gets no more bytes than the forger sent, pings that
/// follow from its queries included.
#[test]
fn who_never_answers_gets_no_more_than_it_sent() {
    let mut victim = Victim::with_neighbours(60);
    victim.pass(SECOND);
    let mut balance = BTreeMap::<SocketAddr, (usize, usize)>::new();
    let mut note = |victim: &mut Victim, sent: Vec<Transmit>, number, len: usize| {
        balance.entry(at(number)).or_default().0 += len;
        for Transmit { to, datagram } in sent.into_iter().chain(victim.sent()) {
            let (got, given) = balance.entry(to).or_default();
            *given += datagram.len();
            let known = (0..60).any(|number| at(number) == to);
            assert!(known || given <= got, "{to} sent {got} and got {given}");
        }
    };
    for round in 0..20 {
        for method in methods() {
            for number in 1_000..1_050 {
                let datagram = query(number, method.clone(), None);
                victim.hears(at(number), &datagram);
                note(&mut victim, Vec::new(), number, datagram.len());
            }
            let sent = victim.pass(SECOND * round);
            note(&mut victim, sent, 999, 0);
        }
    }
    assert!(balance.values().any(|(got, given)| *got > 0 && *given > 0));
}

/// ATTACKS 14: what a liar names is asked little and slowly, all ports of one host and all hosts.
#[test]
fn a_liar_cannot_have_us_flood_somebody() {
    let mut victim = Victim::new(false);
    victim.meet(0, id(0));
    let infohash = InfoHash::of(b"wanted");
    victim.machine.begin(Aim::Peers { infohash, ids: Vec::new() }, Family::V4, &[], victim.now);
    let target = Ipv4Addr::new(60, 1, 2, 3);
    let (mut times, mut port) = (Vec::new(), 1_024);
    for _ in 0..600 {
        let mut sent = victim.sent();
        sent.extend(victim.pass(Duration::from_millis(100)));
        for Transmit { to, datagram } in sent {
            if to.ip() == target {
                times.push(victim.now);
            } else if to == at(0) {
                victim.answer(0, id(0), &datagram, |response| {
                    let mut nodes = Vec::new();
                    for _ in 0..16 {
                        port += 1;
                        let id = id(u32::from(port));
                        nodes.push(Contact { id, address: (target, port).into() });
                    }
                    response.off = Some(offswarm::krpc::native::OffAnswer {
                        on: nodes.clone(),
                        port: 1,
                        ..Default::default()
                    });
                    response.nodes = Some(nodes);
                });
            }
        }
        // The liar goes on as long as it is asked, and sees to it that it is.
        victim.meet(0, id(0));
    }
    assert!(!times.is_empty() && times.len() < 60, "{} in a minute", times.len());
    for (first, last) in times.iter().zip(times.iter().skip(40)) {
        assert!(*last - *first >= SECOND * 10);
    }
}

/// A million datagrams from one host and from as many: a neighbour is still answered, and what is
/// remembered is bounded.
#[test]
fn floods_do_not_drown_a_neighbour() {
    let mut victim = Victim::with_neighbours(8);
    let neighbour = (Method::FindNode { target: Target::of(b"y") }, 1);
    for many in [false, true] {
        let began = victim.now;
        let mut answers = 0;
        for number in 0..500_000_u32 {
            let from = if many { 1_000 + number % 100_000 } else { 1_000 };
            let datagram = query(from, Method::Ping, None);
            victim.hears(at(from), &datagram);
            answers += victim.sent().iter().filter(|sent| sent.to == at(from)).count();
            if number % 50_000 == 0 {
                let answer = victim.asked(neighbour.1, neighbour.0.clone(), None);
                assert!(matches!(answer, Some(Body::Response(_))), "{number} {answer:?}");
            }
            if number % 100 == 0 {
                victim.pass(Duration::from_millis(10));
            }
        }
        let seconds = (victim.now - began).as_secs() as u32;
        let most = if many { ALL_BURST + ALL_DATAGRAMS * seconds } else { 100 + 20 * seconds };
        assert!(answers <= 2 * most as usize, "{answers} answers in {seconds} s");
    }
    assert!(victim.machine.contacts(Family::V4, victim.now).len() < 100);
}

/// ATTACKS 15: who has one address, or one network, has one place, whatever its ids.
#[test]
fn a_crowd_of_ids_does_not_capture_the_table() {
    let mut victim = Victim::with_neighbours(200);
    let own = *victim.machine.id(Family::V4).unwrap().as_bytes();
    let before: BTreeSet<SocketAddr> = known(&victim);
    for number in 0..2_000_u32 {
        // Ids that share more and more bits with ours, from one host, its network, and far ports.
        let mut near = own;
        near[(number % 20) as usize] ^= 1 << (number % 8);
        let [.., a, b] = number.to_be_bytes();
        let from = SocketAddr::from(([66, 1, 2, b], 1_024 + u16::from(a)));
        victim.machine.ping(from, victim.now);
        for Transmit { to, datagram } in victim.sent() {
            let Ok(asked) = Message::decode(&datagram) else { continue };
            let response = Response::of(NodeId::from_bytes(near));
            let body = Body::Response(Box::new(response));
            victim.hears(to, &message(&asked.transaction, body));
        }
        while victim.machine.event().is_some() {}
        victim.now += SECOND;
    }
    let after = known(&victim);
    let crowd = after.iter().filter(|address| address.ip().to_string().starts_with("66.1.2."));
    // One of a network in each bucket; there are as many as ids share bits with ours.
    let hosts: BTreeSet<_> = crowd.clone().map(SocketAddr::ip).collect();
    assert_eq!(hosts.len(), crowd.count());
    assert!(hosts.len() <= 40, "{}", hosts.len());
    assert!(before.intersection(&after).count() >= before.len() * 9 / 10);
}

fn known(victim: &Victim) -> BTreeSet<SocketAddr> {
    let contacts = victim.machine.contacts(Family::V4, victim.now);
    contacts.into_iter().map(|(contact, _)| contact.address).collect()
}

/// ATTACKS 16.
#[test]
fn announces_need_a_token_of_their_own_that_is_fresh() {
    let mut victim = Victim::new(false);
    let infohash = InfoHash::of(b"swarm");
    let (own, foreign) = (victim.token(1), victim.token(2));
    let says = |port| announce(infohash, port);
    assert_eq!(victim.refusal(1, says(6881), None), 203);
    assert_eq!(victim.refusal(1, says(6881), Some(b"x".to_vec())), 203);
    assert_eq!(victim.refusal(1, says(6881), Some(foreign)), 203);
    assert_eq!(victim.refusal(1, says(0), Some(own.clone())), 203);
    assert_eq!(victim.machine.kept(), (0, 0));
    assert_eq!(victim.refusal(1, says(6881), Some(own.clone())), 0);
    assert_eq!(victim.machine.kept(), (1, 0));
    victim.pass(SECOND * 900);
    assert_eq!(victim.refusal(1, says(6882), Some(own)), 203);
    victim.pass(PEER_LIFE);
    assert_eq!(victim.machine.kept(), (0, 0));
}

#[test]
fn announces_are_capped_for_a_swarm_a_host_and_in_all() {
    let mut victim = Victim::new(false);
    let token = victim.token(1);
    for number in 0..2 * MAX_HOST_ANNOUNCES {
        let infohash = InfoHash::of(&number.to_be_bytes());
        victim.refusal(1, announce(infohash, 6881), Some(token.clone()));
        victim.pass(SECOND / 10);
    }
    assert_eq!(victim.machine.kept().0, MAX_HOST_ANNOUNCES);
    let before = victim.machine.kept().0;
    for number in 100..700 {
        let token = victim.token(number);
        victim.refusal(number, announce(InfoHash::of(b"one"), 6881), Some(token));
        victim.pass(SECOND / 10);
    }
    assert_eq!(victim.machine.kept().0, before + MAX_SWARM_PEERS);
    for number in 1_000..1_400 {
        let token = victim.token(number);
        for swarm in 0..60_u32 {
            let infohash = InfoHash::of(&(number * 100 + swarm).to_be_bytes());
            victim.refusal(number, announce(infohash, 6881), Some(token.clone()));
        }
        victim.pass(SECOND / 10);
    }
    assert_eq!(victim.machine.kept().0, MAX_STORED_PEERS);
}

fn raw(item: &Item) -> RawItem {
    let mutable = item.mutable();
    RawItem {
        value: Some(item.value().as_bytes().to_vec()),
        key: mutable.map(offswarm::krpc::item::MutableItem::key),
        signature: mutable.map(|item| *item.signature()),
        salt: mutable.map(|item| item.salt().to_vec()).unwrap_or_default(),
        seq: mutable.map(offswarm::krpc::item::MutableItem::seq),
    }
}

/// ATTACKS 17.
#[test]
fn items_that_are_not_right_are_refused_by_number() {
    let mut victim = Victim::new(false);
    let secret = ItemSecret::from_seed([3; 32]);
    let signed = |seq, text: &str| {
        let value = Value::check(format!("{}:{text}", text.len()).as_bytes()).unwrap();
        raw(&Item::Mutable(secret.sign(b"salt", seq, value).unwrap()))
    };
    let token = victim.token(1);
    let mut put = |item: RawItem, cas| {
        victim.now += SECOND / 10;
        victim.refusal(1, Method::Put { item, cas }, Some(token.clone()))
    };
    assert_eq!(put(signed(5, "five"), None), 0);
    assert_eq!(put(signed(4, "four"), None), 302);
    assert_eq!(put(signed(5, "other"), None), 302);
    assert_eq!(put(signed(6, "six"), Some(4)), 301);
    assert_eq!(put(signed(6, "six"), Some(5)), 0);
    assert_eq!(put(signed(5, "five"), None), 302);
    let forged = RawItem { signature: Some([7; 64]), ..signed(7, "seven") };
    assert_eq!(put(forged, None), 206);
    assert_eq!(put(RawItem { seq: Some(8), ..signed(7, "seven") }, None), 206);
    let long = format!("1001:{}", "x".repeat(1_001)).into_bytes();
    assert_eq!(put(RawItem { value: Some(long), ..RawItem::default() }, None), 205);
    assert_eq!(put(RawItem { salt: vec![0; 65], ..signed(7, "seven") }, None), 207);
    let immutable = RawItem { value: Some(b"i1e".to_vec()), ..RawItem::default() };
    assert_eq!(victim.refusal(1, Method::Put { item: immutable, cas: None }, None), 203);
    assert_eq!(victim.machine.kept(), (0, 1));
    for number in 0..2 * MAX_ITEMS_PER_HOST {
        let value = Some(format!("i{number}e").into_bytes());
        let item = RawItem { value, ..RawItem::default() };
        victim.now += SECOND / 10;
        assert_eq!(victim.refusal(1, Method::Put { item, cas: None }, Some(token.clone())), 0);
    }
    assert_eq!(victim.machine.kept().1, MAX_ITEMS_PER_HOST);
}

/// BEP 43.
#[test]
fn a_read_only_node_answers_nobody_and_enters_no_table() {
    let mut reader = Victim::new(true);
    for method in methods() {
        assert!(reader.asked(1, method, None).is_none());
    }
    reader.hears(at(1), b"d1:ad2:id20:abcdefghij0123456789e1:q9:find_node1:t2:aa1:y1:qe");
    assert!(reader.sent().is_empty());
    reader.machine.ping(at(1), reader.now);
    let ping = reader.sent().remove(0).datagram;
    assert!(Message::decode(&ping).unwrap().read_only);
    let mut other = Victim::new(false);
    for _ in 0..10 {
        other.hears(at(1), &ping);
    }
    let sent = other.sent();
    let is_query = |sent: &Transmit| {
        matches!(Message::decode(&sent.datagram), Ok(Message { body: Body::Query(_), .. }))
    };
    assert!(!sent.is_empty() && !sent.iter().any(is_query));
    assert!(other.machine.contacts(Family::V4, other.now).is_empty());
}

#[test]
fn answers_count_only_with_their_transaction_and_from_where_the_query_went() {
    let mut victim = Victim::new(false);
    victim.machine.ping(at(1), victim.now);
    let asked = Message::decode(&victim.sent().remove(0).datagram).unwrap();
    let answer =
        |transaction: &[u8]| message(transaction, Body::Response(Box::new(Response::of(id(1)))));
    let other = [&asked.transaction[..], b"x"].concat();
    victim.hears(at(1), &answer(&other));
    victim.hears(at(1), &answer(b""));
    victim.hears(at(2), &answer(&asked.transaction));
    let elsewhere = SocketAddr::new(at(1).ip(), 1);
    victim.hears(elsewhere, &answer(&asked.transaction));
    assert!(victim.machine.event().is_none() && known(&victim).is_empty());
    victim.hears(at(1), &answer(&asked.transaction));
    assert!(victim.machine.event().is_some() && known(&victim).contains(&at(1)));
    victim.hears(at(1), &answer(&asked.transaction));
    assert!(victim.machine.event().is_none());
}

#[test]
fn transaction_ids_of_any_length_are_echoed() {
    let mut victim = Victim::new(false);
    for length in [0, 1, 2, 3, 4, 8, 20] {
        let transaction = vec![b'x'; length];
        let query = Query {
            id: id(1),
            method: Method::Ping,
            want: Want::default(),
            token: None,
            off: None,
            extra: Extra::new(),
        };
        victim.hears(at(1), &message(&transaction, Body::Query(Box::new(query))));
        let answer = Message::decode(&victim.sent().remove(0).datagram).unwrap();
        assert_eq!(answer.transaction, transaction);
    }
}

/// BEP 42.
#[test]
fn who_hears_its_address_takes_an_id_that_follows_from_it() {
    let mut victim = Victim::new(false);
    let ours: SocketAddr = ([203, 1, 113, 5], 6881).into();
    assert!(!is_secure(&victim.machine.id(Family::V4).unwrap(), ours.ip()));
    for number in 0..8_u32 {
        let number = number << 8;
        victim.machine.ping(at(number), victim.now);
        for Transmit { to, datagram } in victim.sent() {
            let asked = Message::decode(&datagram).unwrap();
            let body = Body::Response(Box::new(Response::of(id(number))));
            let (transaction, extra) = (asked.transaction, Extra::new());
            let ip = Some(ours);
            let told = Message { transaction, body, version: None, ip, read_only: false, extra };
            victim.hears(to, &told.encode());
        }
    }
    assert!(is_secure(&victim.machine.id(Family::V4).unwrap(), ours.ip()));
    assert!(known(&victim).len() >= BUCKET_NODES.min(8) - 1);
}
