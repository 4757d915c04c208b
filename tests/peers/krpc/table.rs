//! What each client answers, as a section of `KRPC.md`, and what it asks itself.

use std::collections::BTreeSet;
use std::net::SocketAddr;

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
runs in a network of its own with its DHT on, and knows one other node: the one that asks, which
answers its queries with `off` beside the ordinary answer.
",
};

/// The torrent of the client.
const ITS_INFOHASH: [u8; 20] = *b"nobody has this file";

/// The port of the peer that we announce.
const PORT: u16 = 7002;

const TARGET: [u8; 20] = *b"no node is near this";

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

/// A node, and who asks it.
struct Interview {
    probe: Probe,
    node: SocketAddr,
}

impl Interview {
    fn ask(&self, method: &str, arguments: Value, variant: &Variant) -> Option<Value> {
        let arguments = with(arguments, "id", bytes(Probe::ID));
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

    fn wait_until_it_knows_a_node(&self) {
        poll("the node to know another", || {
            let answer = self.ask_plainly("find_node", [("target", bytes(TARGET))])?;
            match entry(entry(&answer, "r")?, "nodes")? {
                Value::Bytes(nodes) => (!nodes.is_empty()).then_some(()),
                other => panic!("nodes: {other:?}"),
            }
        });
    }

    fn announce(&self, infohash: [u8; 20], token: Value, variant: &Variant) -> Option<Value> {
        let what = dict([("info_hash", bytes(infohash)), ("port", int(PORT)), ("token", token)]);
        self.ask("announce_peer", what, variant)
    }

    /// The queries of BEP 5 in all variants.
    fn queries(&self) -> String {
        let ping = |variant: &_, _| self.ask("ping", dict([]), variant);
        let find_node =
            |variant: &_, _| self.ask("find_node", dict([("target", bytes(TARGET))]), variant);
        let get_peers =
            |variant: &_, k| self.ask("get_peers", dict([("info_hash", bytes([k; 20]))]), variant);
        let announce_peer = |variant: &_, k| {
            let token = self.token("get_peers", "info_hash", [k; 20]);
            self.announce([k; 20], token, variant)
        };
        let titles = VARIANTS.iter().map(|variant| variant.title).collect::<Vec<_>>();
        [
            format!("| | {} |\n|---|{}\n", titles.join(" | "), "---|".repeat(VARIANTS.len())),
            row("ping", ping),
            row("find_node", find_node),
            row("get_peers", get_peers),
            row("announce_peer", announce_peer),
        ]
        .concat()
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

    /// What it tells of a peer that was announced in the plain way, which is the first.
    fn announced(&self) -> String {
        let Some(answer) = self.ask_plainly("get_peers", [("info_hash", bytes([0; 20]))]) else {
            return NOTHING.to_owned();
        };
        let values = entry(&answer, "r").and_then(|r| entry(r, "values"));
        let mut peer = match self.probe.address.ip() {
            std::net::IpAddr::V4(ip) => ip.octets().to_vec(),
            std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        peer.extend(PORT.to_be_bytes());
        let is_it = values == Some(&Value::List(vec![bytes(peer)]));
        format!("{}{}", described(Some(&answer)), if is_it { ": the peer" } else { "" })
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

    /// What it has asked, a query a line.
    fn heard(&self) -> String {
        let methods = ["ping", "find_node", "get_peers", "announce_peer"];
        let rows = methods.iter().flat_map(|method| {
            let seen = self.probe.heard(method);
            let seen = seen.iter().map(form).collect::<BTreeSet<_>>();
            seen.into_iter().map(move |form| format!("| `{method}` | {form} |\n"))
        });
        format!(
            "| it asks | arguments | `t` | beside |\n|---|---|---|---|\n{}",
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

fn row(method: &str, ask: impl Fn(&Variant, u8) -> Option<Value>) -> String {
    let ask = |(k, variant)| described(ask(variant, k).as_ref());
    let mut answers = (0..).zip(VARIANTS).map(ask).collect::<Vec<_>>();
    let plain = answers[0].clone();
    for answer in &mut answers[1..] {
        if *answer == plain {
            "same".clone_into(answer);
        }
    }
    format!("| `{method}` | {} |\n", answers.join(" | "))
}

/// An answer in a few words.
fn described(answer: Option<&Value>) -> String {
    let Some(answer) = answer else { return NOTHING.to_owned() };
    let what = match (entry(answer, "r"), entry(answer, "e")) {
        (Some(response), None) => quoted(&keys(response)),
        (None, Some(Value::List(error))) => match &error[..] {
            [Value::Int(code), Value::Bytes(text)] => {
                format!("error {code} *{}*", String::from_utf8_lossy(text))
            }
            _ => panic!("{error:?}"),
        },
        _ => panic!("{answer:?}"),
    };
    let beside = keys(answer).into_iter().filter(|key| !["e", "r", "t", "y"].contains(&&**key));
    let beside = beside.collect::<Vec<_>>();
    if beside.is_empty() { what } else { format!("{what}; beside: {}", quoted(&beside)) }
}

/// The form of a query, as cells.
fn form(query: &Value) -> String {
    let Some(Value::Bytes(transaction)) = entry(query, "t") else { panic!("{query:?}") };
    let beside = keys(query).into_iter().filter(|key| !["a", "q", "t", "y"].contains(&&**key));
    let arguments = quoted(&keys(entry(query, "a").unwrap()));
    let beside = quoted(&beside.collect::<Vec<_>>());
    format!("{arguments} | {} bytes | {beside}", transaction.len())
}

fn quoted(keys: &[String]) -> String {
    keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(" ")
}

fn client_answers_what_is_recorded<C: Client>() {
    let lan = Lan::of(2);
    let probe = Probe::start(&lan.machines[0]);
    let task = nobodys(InfoHash::from_bytes(ITS_INFOHASH));
    let node = DhtNode::<C>::start(&lan.machines[1], Some(probe.address), &task);
    let interview = Interview { probe, node: node.address };
    interview.wait_until_it_knows_a_node();
    let (queries, others) = (interview.queries(), interview.others());
    poll("the node to announce its peer", || {
        interview.probe.heard("announce_peer").first().map(drop)
    });
    let heard = interview.heard();
    let text = format!("Version {}.\n\n{queries}\n{others}\n{heard}", C::version());
    KRPC.compare(C::NAME, &text);
}

#[test]
fn aria2_answers_what_is_recorded() {
    client_answers_what_is_recorded::<Aria2>();
}

#[test]
fn deluge_answers_what_is_recorded() {
    client_answers_what_is_recorded::<Deluge>();
}

#[test]
fn libtorrent_answers_what_is_recorded() {
    client_answers_what_is_recorded::<Libtorrent>();
}

#[test]
fn qbittorrent_answers_what_is_recorded() {
    client_answers_what_is_recorded::<QBittorrent>();
}

#[test]
fn rtorrent_answers_what_is_recorded() {
    client_answers_what_is_recorded::<RTorrent>();
}

#[test]
fn transmission_answers_what_is_recorded() {
    client_answers_what_is_recorded::<Transmission>();
}
