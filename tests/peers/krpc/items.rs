//! Items (BEP 44) that our node and libtorrent keep for each other.

use std::net::SocketAddr;

use offswarm::id::{BlockId, InfoHash, ItemKey, Target};
use offswarm::krpc::driver::News;
use offswarm::krpc::item::{Item, ItemSecret, MutableItem, Value};
use offswarm::krpc::machine::{Aim, Outcome};
use offswarm::krpc::rendezvous::{Record, check_record, item_secret, record_item, salt};
use serde_json::json;

use crate::net::Machine;

use super::ours::OurNode;
use super::private::PrivateDht;

const SEED: [u8; 32] = [0x11; 32];

const SALTS: [&str; 2] = ["", "off1"];

/// A node of ours that is told one of libtorrent.
fn ours(number: u8, dht: &PrivateDht) -> OurNode {
    let listen = SocketAddr::from(([127, 100, number, 10], 0));
    OurNode::start(&Machine::this(), listen, &dht.addresses[usize::from(number)..][..1])
}

fn text(value: &str) -> Value {
    Value::check(format!("{}:{value}", value.len()).as_bytes()).unwrap()
}

fn signed(salt: &str, seq: i64, value: &str) -> Item {
    let item = ItemSecret::from_seed(SEED).sign(salt.as_bytes(), seq, text(value));
    Item::Mutable(item.unwrap())
}

impl OurNode {
    fn put(&self, item: &Item, cas: Option<i64>) -> Outcome {
        self.search(Aim::Put { item: item.clone(), cas }).outcome
    }

    /// Has an item kept, by all that it asks.
    fn have_kept(&self, item: &Item) {
        let outcome = self.put(item, None);
        assert!(outcome.stored > 0 && outcome.refused.is_none(), "{outcome:?}");
    }

    /// Why nobody keeps an item.
    fn refusal(&self, item: &Item, cas: Option<i64>) -> i64 {
        let outcome = self.put(item, cas);
        assert_eq!(outcome.stored, 0);
        outcome.refused.expect("somebody who says why").code
    }

    fn get(&self, target: Target, salt: &str) -> Vec<Item> {
        let news = self.search(Aim::Item { target, salt: salt.into() }).news;
        let items = news.into_iter().filter_map(|news| match news {
            News::Item(item) => Some(item),
            _ => None,
        });
        items.collect()
    }

    /// The number of the latest version of an item of a key, and what it says.
    fn latest(&self, key: ItemKey, salt: &str) -> Option<(i64, Value)> {
        let items = self.get(MutableItem::target_of(&key, salt.as_bytes()), salt);
        let said = items.iter().filter_map(Item::mutable);
        said.map(|item| (item.seq(), item.value().clone())).max_by_key(|(seq, _)| *seq)
    }
}

/// The number of an item that we signed, and what it says, as a node of libtorrent finds it.
fn latest_to_libtorrent(dht: &PrivateDht, node: usize, salt: &str) -> (i64, String) {
    let key = ItemSecret::from_seed(SEED).key().to_string();
    dht.tell(node, "get_mutable", json!({ "key": key, "salt": salt }));
    let got = dht.event("mutable");
    assert_eq!(got["salt"], salt);
    (got["seq"].as_i64().unwrap(), got["value"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn what_ours_puts_libtorrent_gets() {
    let dht = PrivateDht::of(4);
    let ours = ours(0, &dht);
    let item = Item::Immutable(text("Hello World!"));
    ours.have_kept(&item);
    dht.tell(3, "get_immutable", json!({ "target": item.target().to_string() }));
    assert_eq!(dht.event("immutable")["value"], "Hello World!");

    for salt in SALTS {
        for (seq, value) in [(1, "here"), (7, "there")] {
            ours.have_kept(&signed(salt, seq, value));
            assert_eq!(latest_to_libtorrent(&dht, 2, salt), (seq, value.to_owned()));
        }
    }
}

#[test]
fn what_libtorrent_puts_ours_gets() {
    let dht = PrivateDht::of(4);
    let ours = ours(0, &dht);
    dht.tell(3, "put_immutable", json!({ "value": "Hello World!" }));
    let put = dht.event("put");
    let target = Target::parse(put["target"].as_str().unwrap()).unwrap();
    let got = ours.get(target, "");
    assert_eq!(got.first(), Some(&Item::Immutable(text("Hello World!"))));

    for salt in SALTS {
        let mut last = 0;
        for value in ["here", "there"] {
            let seed = data_encoding::HEXLOWER.encode(&SEED);
            dht.tell(2, "put_mutable", json!({ "seed": seed, "salt": salt, "value": value }));
            let key = ItemKey::parse(dht.event("put")["key"].as_str().unwrap()).unwrap();
            assert_eq!(key, ItemSecret::from_seed(SEED).key());
            let (seq, said) = ours.latest(key, salt).expect("an item of libtorrent");
            assert_eq!(said, text(value));
            assert!(seq > last, "libtorrent counts on");
            last = seq;
        }
    }
}

#[test]
fn libtorrent_refuses_what_does_not_follow_what_it_keeps() {
    let dht = PrivateDht::of(4);
    let ours = ours(0, &dht);
    ours.have_kept(&signed("", 5, "five"));
    assert_eq!(ours.refusal(&signed("", 4, "four"), None), 302);
    assert_eq!(ours.refusal(&signed("", 6, "six"), Some(4)), 301);
    assert_eq!(latest_to_libtorrent(&dht, 1, ""), (5, "five".to_owned()));
    let followed = ours.put(&signed("", 6, "six"), Some(5));
    assert!(followed.stored > 0 && followed.refused.is_none(), "{followed:?}");
    assert_eq!(latest_to_libtorrent(&dht, 1, ""), (6, "six".to_owned()));
}

/// Who has a URL finds its torrent where nobody knows of OFF, and after the publisher has gone.
#[test]
fn libtorrent_keeps_the_record_of_a_url() {
    let dht = PrivateDht::of(4);
    let (descriptor, unix) = (BlockId::of(b"a descriptor"), 1_700_000_000);
    let record = Record { infohash: InfoHash::of(b"a torrent"), blocks: 300 };
    let item = Item::Mutable(record_item(&descriptor, &record, unix).unwrap());
    ours(0, &dht).have_kept(&item);

    let reader = ours(1, &dht);
    let salt = String::from_utf8(salt(offswarm::krpc::rendezvous::day(unix))).unwrap();
    let target = MutableItem::target_of(&item_secret(&descriptor).key(), salt.as_bytes());
    let got = reader.get(target, &salt);
    let records = got.iter().filter_map(|item| check_record(&descriptor, item.mutable()?));
    assert_eq!(records.collect::<Vec<_>>().first(), Some(&record));
}
