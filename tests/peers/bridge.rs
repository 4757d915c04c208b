//! The bridge to js-offs: a file is nowhere but in a torrent that libtorrent seeds, and a js-offs node
//! asks us for its blocks.
//!
//! What js-offs said is replayed: a request that was recorded of the real program
//! (`tests/vectors/jsoffs/rpc/js-find_value-hit-class1.json`), byte for byte, and before and after it the
//! same request for the other blocks of the file, as it would ask for them.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use data_encoding::HEXLOWER;
use offswarm::client::{Client, Settings};
use offswarm::id::BlockId;
use offswarm::off::{Block, OffUrl};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::common::child::{Running, poll};
use crate::common::{Home, LISTEN_HERE};
use crate::journey::text;
use crate::krpc::private::PrivateDht;

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/jsoffs")
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// A file of js-offs whose blocks have 128,000 bytes each.
struct Vector {
    url: OffUrl,
    sha256: String,
    length: usize,
    /// Ids of the blocks as js-offs asks for them: the descriptor, then tuple by tuple.
    asked: Vec<BlockId>,
}

fn vector(name: &str) -> Vector {
    let manifest = read_json(&vectors().join("manifest.json"));
    let all = manifest["vectors"].as_array().unwrap();
    let found = all.iter().find(|vector| vector["name"] == name).unwrap();
    let id = |text: &Value| BlockId::parse(text.as_str().unwrap()).unwrap();
    let tuples =
        found["tuples"].as_array().unwrap().iter().flat_map(|tuple| tuple.as_array().unwrap());
    let descriptor = found["descriptor_keys"].as_array().unwrap().iter();
    Vector {
        url: OffUrl::parse(found["url"].as_str().unwrap()).unwrap(),
        sha256: found["sha256"].as_str().unwrap().to_owned(),
        length: found["length"].as_u64().unwrap().try_into().unwrap(),
        asked: descriptor.chain(tuples).map(id).collect(),
    }
}

/// Gives a home what js-offs had in its cache of large blocks.
fn fill(home: &Home) {
    let client = Client::open(&home.path(), &Settings::default()).unwrap();
    for entry in fs::read_dir(vectors().join("blocks/block")).unwrap() {
        let path = entry.unwrap().path();
        let id = BlockId::parse(path.file_name().unwrap().to_str().unwrap()).unwrap();
        let block = Block::check(id, fs::read(path).unwrap().into()).unwrap();
        client.store().put(&block).unwrap();
    }
    client.store().commit().unwrap();
}

/// The request that was recorded, and the block that it asks for.
struct Recorded {
    request: Vec<u8>,
    payload: Vec<u8>,
    hash: Vec<u8>,
}

impl Recorded {
    fn read() -> Self {
        let told = read_json(&vectors().join("rpc/js-find_value-hit-class1.json"));
        let hex = |value: &Value| HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap();
        let response = hex(&told["response_hex"]);
        let hash = hex(&told["request"]["payload"]["hash"]);
        // The payload of the answer: class, hash, data; its status is behind it.
        let at =
            response.windows(34).position(|part| part[..2] == [0x12, 0x20] && part[2..] == hash);
        let payload = response[at.unwrap() - 2..response.len() - 2].to_vec();
        Self { request: hex(&told["request_hex"]), payload, hash }
    }

    fn for_block(&self, id: &BlockId) -> Vec<u8> {
        let at = self.request.windows(32).position(|part| part == self.hash).unwrap();
        let mut request = self.request.clone();
        request[at..at + 32].copy_from_slice(id.as_bytes());
        request
    }
}

/// As js-offs does: writes, half-closes, reads to the end.
fn call(address: &str, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

/// The block in an answer: what hashes to its id.
fn block_in(answer: &[u8], id: &BlockId) -> Option<Vec<u8>> {
    // Behind the data is only the status.
    let end = answer.len().checked_sub(2)?;
    let data = answer.get(end.checked_sub(128_000)?..end)?;
    (BlockId::of(data) == *id).then(|| data.to_vec())
}

#[test]
fn a_js_offs_node_gets_a_file_that_only_libtorrent_has() {
    let dht = PrivateDht::of(5);
    let joined = |mut command: Command, entry: usize| {
        command.env_remove("OFFSWARM_NO_DHT").args(LISTEN_HERE);
        command.arg("--dht-bootstrap").arg(dht.addresses[entry].to_string());
        command
    };
    let file = vector("len-1000000");
    let home = Home::new();
    fill(&home);
    let url = file.url.to_string();
    let published = home.offswarm(["publish", &url]).output().unwrap();
    assert!(published.status.success(), "{}", text(&published.stderr));
    let mut seed = joined(home.offswarm(["--quiet", "seed", "--bare", &url]), 0);
    let seeding = Running::start(&mut seed);
    let _url = seeding.line();
    let magnet = seeding.line();
    assert!(magnet.starts_with("magnet:"), "{magnet}");
    // By the time somebody has got it by the bare URL its record is in the DHT.
    let other = Home::new();
    let mut get = joined(other.offswarm(["get", "--swarm-only", "--timeout", "90s"]), 1);
    let got = get.arg("--output").arg(other.beside("out")).arg(&url).output().unwrap();
    assert!(got.status.success(), "{}", text(&got.stderr));
    let folder = tempfile::tempdir().unwrap();
    dht.tell(2, "add_torrent", json!({ "what": magnet, "folder": folder.path() }));
    dht.event("complete");
    assert!(seeding.terminate().success());

    let bridge = Home::new();
    let serve = ["serve", "--json", "--no-http", "--legacy", "--legacy-listen", "127.0.0.1:0"];
    let mut serve = joined(bridge.offswarm(serve), 3);
    let serving = Running::start(serve.args(["--limit", "100MB"]));
    let ready: Value = serde_json::from_str(&serving.line()).unwrap();
    let address = ready["legacy"].as_str().unwrap();

    let recorded = Recorded::read();
    let wanted = BlockId::from_slice(&recorded.hash).unwrap();
    let mut blocks = Vec::new();
    for id in &file.asked {
        // js-offs asks its next peer, and the user asks again.
        let block = poll("the bridge to bring a block", || {
            block_in(&call(address, &recorded.for_block(id)), id)
        });
        if *id == wanted {
            let answer = call(address, &recorded.request);
            let payload =
                answer.windows(recorded.payload.len()).any(|part| part == recorded.payload);
            assert!(payload, "what js-offs answered itself");
        }
        blocks.push(block);
    }
    assert!(file.asked.contains(&wanted));
    // Decoded as js-offs does it: the XOR of each tuple, cut to the length.
    let mut bytes = Vec::new();
    for tuple in blocks[1..].chunks(3) {
        bytes.extend((0..128_000).map(|at| tuple[0][at] ^ tuple[1][at] ^ tuple[2][at]));
    }
    bytes.truncate(file.length);
    assert_eq!(HEXLOWER.encode(&Sha256::digest(&bytes)), file.sha256);
    // A block that is nowhere is denied, before js-offs loses its patience.
    let nobodys = BlockId::of(b"nobody has this");
    let answer = call(address, &recorded.for_block(&nobodys));
    assert_eq!(answer[answer.len() - 2..], [0x30, 2]);
    assert!(serving.terminate().success());
}
