//! What each client answers, as a section of `KRPC.md`, and what it asks itself.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use offswarm::id::InfoHash;
use serde_bencode::value::Value;

use crate::clients::{Aria2, Client, Deluge, Libtorrent, QBittorrent, RTorrent, Transmission};
use crate::common::child::poll;
use crate::net::Lan;
use crate::record::Record;

use super::bencode::{bytes, dict, entry, int, keys, with};
use super::node::{DhtNode, nobodys};
use super::probe::Probe;

const KRPC: Record = Record {
    path: concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/KRPC.md"),
    introduction: "\
# What stock nodes answer

Written by the tests in `krpc/table.rs` with `OFFSWARM_BLESS=1`, and compared by them else. A cell
names the keys of the response `r`, or the error; *same* is what the plain query gets. Each client
runs in a network of its own with its DHT on. It is told one node, which answers it with `off` beside
the ordinary answer: who announces a peer there has taken such an answer. Transmission looks nothing
up before it knows nine nodes, so it announces none here.
",
};

/// The torrent of the client.
const ITS_INFOHASH: [u8; 20] = *b"nobody has this file";

/// The infohash `k` that is announced. (Transmission takes one of zeros for none.)
const fn infohash(k: u8) -> [u8; 20] {
    [k + 1; 20]
}

/// The one that is announced in the plain way.
const ANNOUNCED: [u8; 20] = infohash(0);

/// The port of the peer that we announce.
const PORT: u16 = 7002;

const TARGET: [u8; 20] = *b"no node is near this";

const METHODS: [&str; 4] = ["ping", "find_node", "get_peers", "announce_peer"];

const NOTHING: &str = "nothing";

/// What a query can have that a node need not know.
struct Variant {
    title: &'static str,
    of: fn(Value) -> Value,
}

const VARIANTS: &[Variant] = &[
    Variant { title: "plain", of: |query| query },
    Variant { title: "`off`", of: |query| with_argument(query, "off", extension(2)) },
    Variant { title: "`off` of 24 ids", of: |query| with_argument(query, "off", extension(24)) },
    Variant { title: "`t` of 8 bytes", of: |query| with(query, "t", bytes(*b"\0eight\r\n")) },
    Variant { title: "foreign `v`", of: |query| with(query, "v", bytes(*b"OF\0\x01")) },
    Variant { title: "more top-level keys", of: |query| with_strange_keys(query) },
    Variant { title: "`ro`", of: |query| with(query, "ro", int(1)) },
    Variant { title: "`want`", of: |query| with_argument(query, "want", both_kinds()) },
];

fn extension(ids: usize) -> Value {
    dict([("ids", bytes(vec![0xb1; 32 * ids])), ("p", int(PORT)), ("v", int(1))])
}

fn with_argument(query: Value, key: &str, value: Value) -> Value {
    let arguments = with(entry(&query, "a").unwrap().clone(), key, value);
    with(query, "a", arguments)
}

fn with_strange_keys(query: Value) -> Value {
    let query = with(query, "aa", dict([("x", Value::List(vec![int(1)]))]));
    with(query, "zz", bytes("z"))
}

fn both_kinds() -> Value {
    Value::List(vec![bytes("n4"), bytes("n6")])
}

/// A node, and who asks it. That is two in turn: libtorrent bans an address for its 50th datagram
/// in ten seconds.
struct Interview {
    probe: Probe,
    node: SocketAddr,
}

impl Interview {
    fn ask(&self, method: &str, arguments: Value, variant: &Variant) -> Option<Value> {
        let query = (variant.of)(self.probe.query(method, arguments));
        self.probe.ask(self.node, &query)
    }

    fn ask_plainly<const N: usize>(
        &self,
        method: &str,
        arguments: [(&str, Value); N],
    ) -> Option<Value> {
        self.ask(method, dict(arguments), &VARIANTS[0])
    }

    fn token(&self, method: &str, key: &str, of: [u8; 20]) -> Value {
        let answer = self.ask_plainly(method, [(key, bytes(of))]);
        let token = answer.as_ref().and_then(|answer| entry(entry(answer, "r")?, "token"));
        token.cloned().unwrap_or_else(|| bytes("no token"))
    }

    /// Waits until it has asked, and so has got an answer before anything that it is asked now.
    fn wait_until_it_knows_a_node(&self) {
        poll("the node to ask", || {
            METHODS.iter().any(|method| !self.probe.heard(method).is_empty()).then_some(())
        });
    }

    fn announce(&self, infohash: [u8; 20], token: Value, variant: &Variant) -> Option<Value> {
        let what = dict([("info_hash", bytes(infohash)), ("port", int(PORT)), ("token", token)]);
        self.ask("announce_peer", what, variant)
    }

    /// The queries that ask, in all variants.
    fn questions(&self) -> String {
        let ping = |variant: &_, _| self.ask("ping", dict([]), variant);
        let find_node =
            |variant: &_, _| self.ask("find_node", dict([("target", bytes(TARGET))]), variant);
        let get_peers = |variant: &_, infohash| {
            self.ask("get_peers", dict([("info_hash", bytes(infohash))]), variant)
        };
        row("ping", ping) + &row("find_node", find_node) + &row("get_peers", get_peers)
    }

    /// The query that tells, in all variants.
    fn announcements(&self) -> String {
        row("announce_peer", |variant, infohash| {
            let token = self.token("get_peers", "info_hash", infohash);
            self.announce(infohash, token, variant)
        })
    }

    /// What else can be asked.
    fn others(&self) -> String {
        let target = || ("target", bytes(TARGET));
        let cells = [
            ("`get_peers` of what was announced", self.announced()),
            ("`announce_peer` with a false token", {
                described(self.announce(TARGET, bytes("false token"), &VARIANTS[0]).as_ref())
            }),
            ("`off_find`", described(self.ask_plainly("off_find", [target()]).as_ref())),
            ("`off_find` with `off`", {
                let arguments = [target(), ("off", extension(2))];
                described(self.ask_plainly("off_find", arguments).as_ref())
            }),
            ("`off_find` without `target`", {
                described(self.ask_plainly("off_find", [("off", extension(2))]).as_ref())
            }),
            ("`put`, then `get`, immutable", self.item(&Item::immutable())),
            ("`put`, then `get`, mutable", self.item(&Item::mutable())),
            ("`put`, then `get`, mutable with salt", self.item(&Item::salted())),
        ];
        let rows = cells.iter().map(|(query, answer)| format!("| {query} | {answer} |\n"));
        format!("| query | answer |\n|---|---|\n{}", rows.collect::<String>())
    }

    /// What it tells of a peer that was announced.
    fn announced(&self) -> String {
        let answer = self.ask_plainly("get_peers", [("info_hash", bytes(ANNOUNCED))]);
        let IpAddr::V4(ip) = self.probe.address.ip() else { panic!("an address of a Lan") };
        let told = |port: [u8; 2]| Value::List(vec![bytes([&ip.octets()[..], &port].concat())]);
        let values = answer.as_ref().and_then(|answer| entry(entry(answer, "r")?, "values"));
        let what = match values {
            None => "",
            Some(values) if *values == told(PORT.to_be_bytes()) => ": the peer",
            Some(values) if *values == told(PORT.to_le_bytes()) => {
                ": the peer with its port swapped"
            }
            Some(values) => panic!("{values:?}"),
        };
        described(answer.as_ref()) + what
    }

    /// Whether it stores an item (BEP 44): what it answers when that is put, and then got.
    fn item(&self, item: &Item) -> String {
        let token = self.token("get", "target", item.target);
        let put = with(item.arguments.clone(), "token", token);
        let put = self.ask("put", put, &VARIANTS[0]);
        let got = self.ask_plainly("get", [("target", bytes(item.target))]);
        let value = got.as_ref().and_then(|got| entry(entry(got, "r")?, "v"));
        let stored = if value == Some(&bytes(VALUE)) { ": the value" } else { "" };
        format!("{}; {}{stored}", described(put.as_ref()), described(got.as_ref()))
    }

    /// What it has asked until it asked the last of these, a kind of query a line.
    fn heard(&self, queries: &[&str]) -> String {
        let last = queries.last().unwrap();
        poll(&format!("the query {last}"), || self.probe.heard(last).first().map(drop));
        let rows = queries.iter().flat_map(|method| {
            let seen = self.probe.heard(method);
            let seen = seen.iter().map(form).collect::<BTreeSet<_>>();
            seen.into_iter().map(move |form| format!("| `{method}` | {form} |\n"))
        });
        format!(
            "| it asks | arguments | bytes of `t` | beside |\n|---|---|---|---|\n{}",
            rows.collect::<String>()
        )
    }
}

/// An item of BEP 44, from its test vectors.
struct Item {
    target: [u8; 20],
    arguments: Value,
}

const VALUE: &str = "Hello World!";

const PUBLIC_KEY: &str = "77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548";

const SIGNATURE: &str = "\
305ac8aeb6c9c151fa120f120ea2cfb923564e11552d06a5d856091e5e853cff\
1260d3f39e4999684aa92eb73ffd136e6f4f3ecbfda0ce53a1608ecd7ae21f01";

const SALTED_SIGNATURE: &str = "\
6834284b6b24c3204eb2fea824d82f88883a3d95e8b4a21b8c0ded553d17d17d\
df9a8a7104b1258f30bed3787e6cb896fca78c58f8e03b5f18f14951a87d9a08";

impl Item {
    fn immutable() -> Self {
        let target = hex("e5f96f6f38320f0f33959cb4d3d656452117aadb");
        Self { target: target.try_into().unwrap(), arguments: dict([("v", bytes(VALUE))]) }
    }

    fn mutable() -> Self {
        let target = hex("4a533d47ec9c7d95b1ad75f576cffc641853b750");
        let arguments = dict([
            ("k", bytes(hex(PUBLIC_KEY))),
            ("seq", int(1)),
            ("sig", bytes(hex(SIGNATURE))),
            ("v", bytes(VALUE)),
        ]);
        Self { target: target.try_into().unwrap(), arguments }
    }

    fn salted() -> Self {
        let target = hex("411eba73b6f087ca51a3795d9c8c938d365e32c1");
        let arguments = with(Self::mutable().arguments, "salt", bytes("foobar"));
        let arguments = with(arguments, "sig", bytes(hex(SALTED_SIGNATURE)));
        Self { target: target.try_into().unwrap(), arguments }
    }
}

fn hex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

/// A row of answers to a query about an infohash that is another one in each cell.
fn row(method: &str, ask: impl Fn(&Variant, [u8; 20]) -> Option<Value>) -> String {
    let ask = |(k, variant)| described(ask(variant, infohash(k)).as_ref());
    let mut answers = (0..).zip(VARIANTS).map(ask).collect::<Vec<_>>();
    let plain = answers[0].clone();
    for answer in &mut answers[1..] {
        if *answer == plain {
            "same".clone_into(answer);
        }
    }
    format!("| `{method}` | {} |\n", answers.join(" | "))
}

fn head() -> String {
    let titles = VARIANTS.iter().map(|variant| variant.title).collect::<Vec<_>>();
    format!("| | {} |\n|---|{}\n", titles.join(" | "), "---|".repeat(titles.len()))
}

/// An answer in a few words.
fn described(answer: Option<&Value>) -> String {
    let Some(answer) = answer else { return NOTHING.to_owned() };
    let response = entry(answer, "r").map(|response| quoted(&keys(response)));
    let error = entry(answer, "e").map(in_words);
    let what = match (error, response) {
        (None, Some(what)) | (Some(what), None) => what,
        (Some(error), Some(response)) => format!("{error} and {response}"),
        (None, None) => panic!("{answer:?}"),
    };
    let beside = keys(answer).into_iter().filter(|key| !["e", "r", "t", "y"].contains(&&**key));
    let beside = beside.collect::<Vec<_>>();
    if beside.is_empty() { what } else { format!("{what}; beside: {}", quoted(&beside)) }
}

fn in_words(error: &Value) -> String {
    let Value::List(error) = error else { panic!("{error:?}") };
    match &error[..] {
        [Value::Int(code), Value::Bytes(text)] => {
            format!("error {code} *{}*", String::from_utf8_lossy(text))
        }
        _ => panic!("{error:?}"),
    }
}

/// The form of a query, as cells.
fn form(query: &Value) -> String {
    let Some(Value::Bytes(transaction)) = entry(query, "t") else { panic!("{query:?}") };
    let beside = keys(query).into_iter().filter(|key| !["a", "q", "t", "y"].contains(&&**key));
    let arguments = entry(query, "a").unwrap();
    let with_number = |key: String| match entry(arguments, &key) {
        Some(Value::Int(number)) => format!("`{key}` {number}"),
        _ => format!("`{key}`"),
    };
    let arguments = keys(arguments).into_iter().map(with_number).collect::<Vec<_>>().join(" ");
    let beside = quoted(&beside.collect::<Vec<_>>());
    format!("{arguments} | {} | {beside}", transaction.len())
}

fn quoted(keys: &[String]) -> String {
    keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(" ")
}

/// Asks a client, and waits until it has asked itself what is the last of `its_queries`.
fn client_answers_what_is_recorded<C: Client>(its_queries: &[&str]) {
    let lan = Lan::of(3);
    let [machine, entry, other] = &lan.machines[..] else { unreachable!() };
    let (entry, other) = (Probe::start(entry), Probe::start(other));
    let task = nobodys(InfoHash::from_bytes(ITS_INFOHASH));
    let node = DhtNode::<C>::start(machine, &[entry.address], &task);
    let [first, second] = [entry, other].map(|probe| Interview { probe, node: node.address });
    first.wait_until_it_knows_a_node();
    let tables = [
        format!("Version {}.\n", C::version()),
        head() + &first.questions() + &second.announcements(),
        second.others(),
        first.heard(its_queries),
    ];
    KRPC.compare(C::NAME, &tables.join("\n"));
}

#[test]
fn aria2_answers_what_is_recorded() {
    client_answers_what_is_recorded::<Aria2>(&METHODS);
}

#[test]
fn deluge_answers_what_is_recorded() {
    client_answers_what_is_recorded::<Deluge>(&METHODS);
}

#[test]
fn libtorrent_answers_what_is_recorded() {
    client_answers_what_is_recorded::<Libtorrent>(&METHODS);
}

#[test]
fn qbittorrent_answers_what_is_recorded() {
    client_answers_what_is_recorded::<QBittorrent>(&METHODS);
}

#[test]
fn rtorrent_answers_what_is_recorded() {
    client_answers_what_is_recorded::<RTorrent>(&METHODS);
}

/// It looks nothing up, and so announces nothing, before it knows nine nodes, four of them alive.
#[test]
fn transmission_answers_what_is_recorded() {
    client_answers_what_is_recorded::<Transmission>(&METHODS[..2]);
}
