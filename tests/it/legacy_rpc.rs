//! The protocol of js-offs: what it said is read and written byte for byte, and it is answered as it
//! would answer.
//!
//! Vectors: `tests/vectors/jsoffs/rpc` (50 exchanges), `cuckoo`, `locators.json`.

mod answers;
mod commands;
mod fetching;
mod hostile;
mod node;
mod relay;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use offswarm::bridge::{self, Bounds};
use offswarm::client::session::Session;
use offswarm::client::{Client, Settings};
use offswarm::id::{BlockId, LegacyId};
use offswarm::legacy::caller::Ourselves;
use offswarm::legacy::contacts::distance;
use offswarm::legacy::cuckoo::Filter;
use offswarm::legacy::message::{Request, Response};
use offswarm::legacy::peer::LegacyPeer;
use serde_json::Value;
use tokio_util::sync::{CancellationToken, DropGuard};

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/jsoffs")
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn hex(value: &Value) -> Vec<u8> {
    HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
}

/// One recorded exchange.
struct Recorded {
    name: String,
    request: Vec<u8>,
    response: Vec<u8>,
    told: Value,
}

fn recorded() -> Vec<Recorded> {
    let index = json(&vectors().join("rpc/index.json"));
    let names = index.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap());
    let read = |name: &str| {
        let told = json(&vectors().join(format!("rpc/{name}.json")));
        let (request, response) = (hex(&told["request_hex"]), hex(&told["response_hex"]));
        Recorded { name: name.to_owned(), request, response, told }
    };
    names.map(read).collect()
}

/// The blocks of js-offs of one class: `block`, `mini` or `nano`.
fn blocks(class: &str) -> Vec<(BlockId, Vec<u8>)> {
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        let id = BlockId::parse(path.file_name().unwrap().to_str().unwrap()).unwrap();
        (id, fs::read(path).unwrap())
    };
    fs::read_dir(vectors().join("blocks").join(class)).unwrap().map(read).collect()
}

fn peer_of(told: &Value) -> LegacyPeer {
    let address = |ip: &str, port: &str| {
        format!("{}:{}", told[ip].as_str().unwrap(), told[port]).parse().unwrap()
    };
    LegacyPeer {
        id: LegacyId::from_slice(&hex(&told["id"])).unwrap(),
        external: address("extIp", "extPort"),
        internal: address("intIp", "intPort"),
    }
}

/// A bridge that runs until it is dropped.
struct Answering {
    address: SocketAddr,
    session: Session,
    _stop: DropGuard,
}

impl Answering {
    /// As the node of a recorded exchange, wherever it is now.
    async fn as_node(client: Client, id: LegacyId, external: Option<SocketAddr>) -> Self {
        let session = Session::new(client, offswarm::client::fetch::Ways::default());
        Self::of(session, id, external, Bounds::default()).await
    }

    async fn of(
        session: Session,
        id: LegacyId,
        external: Option<SocketAddr>,
        bounds: Bounds,
    ) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let port = external.map_or(address.port(), |external| external.port());
        let ourselves = Ourselves { id, port, external };
        let place = session.client().take_legacy_place(ourselves);
        let stop = CancellationToken::new();
        let (serving, stopped) = (session.clone(), stop.clone());
        tokio::spawn(async move {
            bridge::serve(listener, serving, &place, bounds, stopped).await;
        });
        Self { address, session, _stop: stop.drop_guard() }
    }

    /// Sends bytes, half-closes, and reads to the end, as js-offs does.
    async fn exchange(&self, request: &[u8]) -> Vec<u8> {
        node::exchange(self.address, request).await
    }
}

fn client(folder: &Path, settings: &Settings) -> Client {
    Client::open(folder, settings).unwrap()
}

#[test]
fn every_recorded_message_is_read_and_written_byte_for_byte() {
    let all = recorded();
    assert_eq!(all.len(), 50);
    for Recorded { name, request: bytes, response, told } in all {
        let request = Request::decode(bytes.clone().into()).unwrap();
        assert_eq!(request.encode(), bytes, "{name}");
        assert_eq!(request.call.name(), told["request"]["type"].as_str().unwrap(), "{name}");
        assert_eq!(request.from, Some(peer_of(&told["request"]["from"])), "{name}");
        let answer = Response::decode(response.clone().into(), &request.call).unwrap();
        assert_eq!(answer.encode(&request.call), response, "{name}");
        assert_eq!(answer.number, request.number, "{name}");
        assert_eq!(answer.from, Some(peer_of(&told["response"]["from"])), "{name}");
    }
}

#[test]
fn every_recorded_filter_is_read_and_written_byte_for_byte() {
    let told = json(&vectors().join("cuckoo/cuckoo.json"));
    let id = |text: String| BlockId::of(text.as_bytes());
    let digits = |found: Vec<bool>| -> String {
        found.into_iter().map(|found| if found { '1' } else { '0' }).collect()
    };
    let sets = told["sets"].as_array().unwrap();
    assert_eq!(sets.len(), 8);
    for set in sets {
        let n = &set["n"];
        let bytes = fs::read(vectors().join(format!("cuckoo/cf-{n}.cbor"))).unwrap();
        let members: Vec<_> =
            (0..n.as_u64().unwrap()).map(|number| id(format!("cf{n}:{number}"))).collect();
        assert_eq!(Filter::encode_of(&members, &mut rand::rng()), bytes, "{n}");
        let filter = Filter::decode(&bytes).unwrap();
        let found = members.iter().map(|member| filter.contains(member)).collect();
        assert_eq!(digits(found), set["contains_members"].as_str().unwrap(), "{n}");
        let probes = (0..64).map(|number| filter.contains(&id(format!("probe:{number}"))));
        assert_eq!(digits(probes.collect()), set["contains_probes"].as_str().unwrap(), "{n}");
    }
    for pair in told["hamming"].as_array().unwrap() {
        let bytes = |at: usize| -> [u8; 32] { hex(&pair[at]).try_into().unwrap() };
        assert_eq!(u64::from(distance(&bytes(0), &bytes(1))), pair[2].as_u64().unwrap());
    }
}

#[test]
fn every_recorded_locator_is_read_and_written_byte_for_byte() {
    let locators = json(&vectors().join("locators.json"));
    for told in locators.as_array().unwrap() {
        let text = told["locator"].as_str().unwrap();
        let peer = LegacyPeer::parse(text).unwrap();
        assert_eq!(peer, peer_of(told));
        assert_eq!(peer.id.to_string(), told["key"].as_str().unwrap());
        assert_eq!(peer.locator(), text);
    }
    assert_eq!(locators.as_array().unwrap().len(), 3);
}
