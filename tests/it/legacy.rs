//! OFF URLs of version 3: what js-offs wrote is read, and what we write it could read.

mod decoder;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use offswarm::client::put::PutOptions;
use offswarm::client::{Client, GetError, Policy, PublishError, PutError, ReadError, Settings};
use offswarm::id::{BlockId, FileId};
use offswarm::off::tuple::TupleError;
use offswarm::off::url::{Named, UrlError};
use offswarm::off::{Block, BlockSize, Carriage, OffUrl, Seal, TupleSize, Version, WrongBlock};
use offswarm::store::{Presence, StoreError};
use offswarm::swarm::session::Options;
use serde_json::Value;

use crate::program::{Place, noise};
use decoder::{Blocks, Parts, hex, key, sha256};

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/jsoffs")
}

pub(crate) fn manifest() -> Value {
    serde_json::from_slice(&fs::read(vectors().join("manifest.json")).unwrap()).unwrap()
}

/// All blocks of js-offs, with the ids that they are filed under.
fn recorded() -> Vec<(BlockId, Vec<u8>)> {
    let mut found = Vec::new();
    for class in ["block", "mini", "nano"] {
        for entry in fs::read_dir(vectors().join("blocks").join(class)).unwrap() {
            let path = entry.unwrap().path();
            let id = BlockId::parse(path.file_name().unwrap().to_str().unwrap()).unwrap();
            found.push((id, fs::read(path).unwrap()));
        }
    }
    found
}

/// A client that has all blocks of js-offs.
pub(crate) fn heir(folder: &Path) -> Client {
    let client = Client::open(folder, &Settings::default()).unwrap();
    for (id, bytes) in recorded() {
        client.store().put(&Block::check(id, bytes.into()).unwrap()).unwrap();
    }
    client.store().commit().unwrap();
    client
}

pub(crate) fn read(client: &Client, url: &OffUrl) -> Result<Vec<u8>, GetError> {
    let mut out = Vec::new();
    client.read(url, &mut out, &mut |_| ()).map(|()| out)
}

pub(crate) fn url_of(vector: &Value) -> OffUrl {
    OffUrl::parse(vector["url"].as_str().unwrap()).unwrap()
}

#[test]
fn every_url_of_js_offs_gives_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let client = heir(folder.path());
    assert_eq!(client.store().census().unwrap().blocks, 585);
    let (manifest, mut count) = (manifest(), 0);
    for vector in manifest["vectors"].as_array().unwrap() {
        println!("{}", vector["name"]);
        let url = url_of(vector);
        assert_eq!(
            (url.version(), url.length()),
            (Version::V3, vector["length"].as_u64().unwrap())
        );
        assert_eq!(OffUrl::parse(&url.to_string()).unwrap(), url, "what we print we read");
        assert_eq!(url.content_type(), vector["content_type"].as_str().unwrap());
        assert_eq!(url.block_size().len() as u64, vector["block_size"].as_u64().unwrap());
        assert_eq!(url.source_blocks(), vector["source_blocks"].as_u64().unwrap());
        let bytes = read(&client, &url).unwrap();
        assert_eq!(hex(&sha256(&bytes)), vector["sha256"].as_str().unwrap());
        let middle = bytes.len() as u64 / 2;
        let end = url.length().min(middle + 300_000);
        for (start, end) in [(0, 1), (middle, middle + 1), (middle, end)] {
            let mut part = Vec::new();
            client.read_range(&url, start..end, &mut part, &mut |_| ()).unwrap();
            assert!(part == bytes[start as usize..end as usize], "{start} to {end}");
        }
        if !url.is_directory() {
            let survey = client.survey(&url).unwrap();
            assert!(survey.is_whole());
            assert_eq!(survey.blocks, vector["unique_blocks_needed"].as_u64().unwrap());
        }
        count += 1;
    }
    assert_eq!(count, 41);
}

#[test]
fn names_are_read_as_js_offs_prints_them() {
    let manifest = manifest();
    for vector in manifest["vectors"].as_array().unwrap() {
        let (url, name) = (url_of(vector), vector["file_name"].as_str().unwrap());
        match vector["name"].as_str().unwrap() {
            // It took each byte of the header for a character.
            "name-utf8-raw" => {
                let as_latin_1 = name.bytes().map(char::from).collect::<String>();
                assert_eq!(url.name(), as_latin_1);
            }
            _ => assert_eq!(url.name(), name, "{}", vector["name"]),
        }
    }
}

#[test]
fn wrong_blocks_and_wrong_urls_give_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let client = heir(folder.path());
    for (id, mut bytes) in recorded() {
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        let error = Block::check(id, bytes.into()).unwrap_err();
        assert!(matches!(error, WrongBlock::Contents { expected, .. } if expected == id));
    }
    let manifest = manifest();
    let wrong = |url: &OffUrl, from: &str, to: &str| {
        let url = OffUrl::parse(&url.path().replacen(from, to, 1)).unwrap();
        read(&client, &url).unwrap_err()
    };
    let is_other_file = |error| matches!(error, GetError::Read(ReadError::WrongFile { .. }));
    let nothing = FileId::of_nothing().to_string();
    for vector in manifest["vectors"].as_array().unwrap() {
        let (url, length) = (url_of(vector), vector["length"].as_u64().unwrap());
        if length > 1_000_000 {
            continue;
        }
        assert!(is_other_file(wrong(&url, &url.file().to_string(), &nothing)));
        // A shorter length of the same class is a prefix, which js-offs gives out as the file.
        if BlockSize::legacy_of(length - 1) == url.block_size() && length > 1 {
            let shorter = format!("/{}/", length - 1);
            assert!(is_other_file(wrong(&url, &format!("/{length}/"), &shorter)));
        }
        wrong(&url, &format!("/{length}/"), "/99999999/");
    }
}

#[test]
fn directories_of_js_offs_are_read_by_both_forms_of_a_path() {
    let folder = tempfile::tempdir().unwrap();
    let client = heir(folder.path());
    let manifest = manifest();
    for vector in manifest["vectors"].as_array().unwrap() {
        let Some(members) = vector["members"].as_array() else { continue };
        let (url, text) = (url_of(vector), vector["url"].as_str().unwrap());
        let directory = client.directory(&url).unwrap();
        assert_eq!(directory.entries().count(), members.len());
        let survey = client.survey(&url).unwrap();
        assert!(survey.is_whole(), "its files' blocks are part of it");
        for member in members {
            let path = member["path"].as_str().unwrap();
            let found = directory.file(path).unwrap();
            let bytes = read(&client, found).unwrap();
            assert_eq!(hex(&sha256(&bytes)), member["sha256"].as_str().unwrap(), "{path}");
            let escaped = offswarm::off::url::escape(path).replace("%2F", "/");
            let beside = format!("{}/{escaped}", text.rsplit_once('/').unwrap().0);
            for form in [format!("{text}/{escaped}"), beside] {
                let (directory, named) = OffUrl::parse_with_path(&form).unwrap();
                assert_eq!(
                    (directory.stream_key(), named.as_deref()),
                    (url.stream_key(), Some(path))
                );
                assert_eq!(&client.directory_member(&directory, path).unwrap(), found);
            }
        }
    }
    for case in manifest["http_get_cases"].as_array().unwrap() {
        let path = case["path"].as_str().unwrap();
        let (url, member) = OffUrl::parse_with_path(path).unwrap();
        let body = match &member {
            None => continue,
            Some(member) => client.directory_member(&url, member),
        };
        match body {
            Ok(file) if case["status"] == 200 => {
                let bytes = read(&client, &file).unwrap();
                assert_eq!(hex(&sha256(&bytes)), case["body_sha256"].as_str().unwrap());
            }
            // js-offs cuts the name off at the parenthesis.
            Ok(_) => assert!(path.ends_with("brackets%20(1).txt"), "{path}"),
            Err(error) => {
                assert!(matches!(error, ReadError::NoMember(_)), "{error}");
                assert_eq!(case["status"], 404);
            }
        }
    }
}

fn options(name: &str) -> PutOptions {
    PutOptions { version: Version::V3, name: name.into(), ..PutOptions::default() }
}

fn put(client: &Client, bytes: &[u8], options: &PutOptions) -> Result<OffUrl, PutError> {
    client.put(&mut &*bytes, options, &mut |_| ()).map(|put| put.url)
}

/// All blocks of a store by the keys that an independent program computes.
fn blocks_of(client: &Client) -> Blocks {
    let mut blocks = Blocks::new();
    learn_blocks(client, &mut blocks);
    blocks
}

/// Adds those blocks of a store that are new.
fn learn_blocks(client: &Client, blocks: &mut Blocks) {
    for (_, id) in client.store().walk(0, 1 << 20).unwrap() {
        if !blocks.contains_key(&id.to_string()) {
            let block = client.store().get(&id).unwrap().unwrap().contents().to_vec();
            assert!(blocks.insert(key(&sha256(&block)), block).is_none());
        }
    }
}

/// What holds for every stream of js-offs; gives back the stream.
fn checked(url: &OffUrl, blocks: &Blocks) -> Vec<u8> {
    let parts = Parts::of(&url.to_string());
    let (stream, sources) = parts.decode(blocks);
    for tuple in parts.tuples(blocks).0 {
        assert_eq!(tuple.iter().collect::<HashSet<_>>().len(), 3, "a block twice in a tuple");
    }
    for source in &sources {
        assert!(!blocks.contains_key(&key(&sha256(source))), "a source block is stored");
    }
    stream
}

const LENGTHS: [usize; 25] = [
    1, 31, 32, 100, 135, 136, 137, 272, 273, 500, 999, 1_000, 1_001, 1_999, 2_000, 9_999, 10_000,
    10_001, 20_000, 20_001, 50_000, 127_999, 128_000, 128_001, 256_000,
];

#[test]
fn what_is_put_is_what_js_offs_reads() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::open(folder.path(), &Settings::default()).unwrap();
    let mut blocks = Blocks::new();
    for policy in [Policy::Fresh, Policy::Mixed, Policy::Store] {
        for length in LENGTHS {
            println!("{length}, {policy:?}");
            let bytes = noise(length);
            // Its parts come as the reader likes, and its length is not known before.
            let mut stream = Dribble(&bytes);
            let options = PutOptions { randomizers: policy, ..options("report (1).bin") };
            let url = client.put(&mut stream, &options, &mut |_| ()).unwrap().url;
            learn_blocks(&client, &mut blocks);
            assert!(checked(&url, &blocks) == bytes);
            let parts = Parts::of(&url.to_string());
            assert_eq!(parts.content_type, "application/octet-stream");
            assert_eq!(parts.name, "report%20%281%29.bin");
            assert!(read(&client, &url).unwrap() == bytes);
            let (_, chain) = parts.tuples(&blocks);
            let expected = url.layout().blocks();
            assert_eq!(chain.len() as u64, expected);
        }
    }
    let error = put(&client, b"", &options("empty")).unwrap_err();
    assert!(matches!(error, PutError::Url(UrlError::Empty)), "{error}");
    assert_eq!(client.gc(false).unwrap().recounted, 0);
}

/// Reads a few bytes at a time.
struct Dribble<'a>(&'a [u8]);

impl std::io::Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = buffer.len().min(self.0.len()).min(777);
        let (now, later) = self.0.split_at(count);
        buffer[..count].copy_from_slice(now);
        self.0 = later;
        Ok(count)
    }
}

/// js-offs, given a URL to recycle, at times hands the same block out twice in a tuple, and then
/// the plaintext itself is stored. It was reproduced with a small cache and the same content.
#[test]
fn recycling_never_stores_plaintext() {
    for length in [136, 400, 1_000, 2_500] {
        let folder = tempfile::tempdir().unwrap();
        let client = Client::open(folder.path(), &Settings::default()).unwrap();
        let bytes = vec![7; length];
        let mut urls = vec![put(&client, &bytes, &options("a")).unwrap()];
        for round in 0..20 {
            // Any number of them, and of the wrong class too.
            let other =
                put(&client, &noise(if length < 1_000 { 3_000 } else { 30 }), &options("b"));
            let recycle =
                urls.iter().rev().take(1 + round % 3).cloned().chain(other.ok()).collect();
            let policy = [Policy::Mixed, Policy::Store, Policy::Fresh][round % 3];
            let options = PutOptions { recycle, randomizers: policy, ..options("a") };
            match put(&client, &bytes, &options) {
                Ok(url) => urls.push(url),
                // What the store has does not hide it, and nothing else may be used.
                Err(PutError::Encode(TupleError::Repeated(_))) if policy == Policy::Store => {}
                Err(error) => panic!("{error}"),
            }
        }
        let blocks = blocks_of(&client);
        for url in &urls {
            assert!(checked(url, &blocks) == bytes);
        }
    }
}

#[test]
fn a_file_that_is_a_block_of_the_store_is_hidden_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::open(folder.path(), &Settings::default()).unwrap();
    put(&client, &noise(1), &options("a")).unwrap();
    for block in blocks_of(&client).into_values() {
        for _ in 0..20 {
            let url = put(&client, &block, &options("a block")).unwrap();
            assert!(Parts::of(&url.to_string()).decode(&blocks_of(&client)).0 == block);
        }
    }
}

#[test]
fn randomizers_come_of_the_same_size_only() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::open(folder.path(), &Settings::default()).unwrap();
    client.put(&mut &*noise(600_000), &PutOptions::default(), &mut |_| ()).unwrap();
    let store_only = PutOptions { randomizers: Policy::Store, ..options("a") };
    let error = put(&client, &noise(1_000), &store_only).unwrap_err();
    assert!(matches!(error, PutError::TooFewRandomizers { .. }), "{error}");
    put(&client, &noise(5_000), &options("a")).unwrap();
    let before = client.store().census().unwrap().blocks;
    put(&client, &noise(5_001), &store_only).unwrap();
    assert_eq!(client.store().census().unwrap().blocks, before + 6 + 1, "off blocks, descriptor");
}

#[test]
fn a_v3_url_is_pinned_removed_and_checked_and_published_if_its_blocks_are_large() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::open(folder.path(), &Settings::default()).unwrap();
    for length in [500, 50_000, 300_000] {
        let url = put(&client, &noise(length), &options("a")).unwrap();
        assert!(client.pin(&url).unwrap());
        assert_eq!(client.gc(false).unwrap().blocks, 0);
        let (published, packed) =
            (client.publish(&url, &[]), client.pack_of(std::slice::from_ref(&url)));
        if length >= 128_000 {
            assert_eq!(published.unwrap().order, packed.unwrap().order());
        } else {
            for error in [published.unwrap_err(), packed.unwrap_err()] {
                assert!(matches!(error, PublishError::ShortBlocks { .. }), "{error}");
            }
        }
        assert_eq!(client.publish_what_came(&[]).unwrap(), 0);
        assert_eq!(client.publish_store(&[]).unwrap().len(), 0);
        let order = client.survey(&url).unwrap().order;
        assert_eq!(client.rm(&url).unwrap().blocks, order.len() as u64);
        assert!(order.iter().all(|id| client.store().presence(id).unwrap() == Presence::Absent));
    }
    assert_eq!(client.store().census().unwrap().bytes, 0);
}

/// Blocks of another size than the URL's make no stream, whatever they decode to.
#[test]
fn tuples_of_another_size_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::open(folder.path(), &Settings::default()).unwrap();
    let small: Vec<Block> =
        (0..3).map(|_| Block::random(BlockSize::LegacyNano, &mut rand::rng())).collect();
    let mut chain = noise(131_072);
    for (slot, block) in chain.chunks_exact_mut(32).zip(&small) {
        slot.copy_from_slice(block.id().as_bytes());
    }
    let chain = Carriage::Whole.unload(&chain.into()).unwrap();
    for block in small.iter().chain([&chain]) {
        client.store().put(block).unwrap();
    }
    let (file, tuple, seal) = (FileId::of_nothing(), TupleSize::default(), Seal::Plain);
    let named = Named { length: 5_000, file, descriptor: Some(chain.id()), tuple, seal };
    let url = OffUrl::new(named, "text/plain", "a").unwrap();
    let error = client.read_range(&url, 200..5_000, &mut Vec::new(), &mut |_| ()).unwrap_err();
    let wrong_size = |error: &TupleError| matches!(error, TupleError::BlockSize { found: 136, .. });
    assert!(
        matches!(&error, GetError::Read(ReadError::Tuple { source, .. }) if wrong_size(source)),
        "{error}"
    );
}

/// Bits of blocks that are kept in the index turn as well.
#[test]
fn a_damaged_short_block_is_found_and_healed() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Client::open(folder.path(), &Settings::default()).unwrap();
    let url = put(&open(), &noise(5_000), &options("a")).unwrap();
    let block = {
        let client = open();
        let id = *client.survey(&url).unwrap().order.last().unwrap();
        client.store().get(&id).unwrap().unwrap()
    };
    let index = folder.path().join("store/index.redb");
    let mut bytes = fs::read(&index).unwrap();
    let mut hits = 0;
    while let Some(at) = bytes.windows(1_000).position(|part| part == block.contents()) {
        bytes[at + 500] ^= 1;
        hits += 1;
    }
    assert!(hits > 0);
    fs::write(&index, bytes).unwrap();
    let client = open();
    let error = client.store().get(&block.id()).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { bytes, .. } if bytes < 4_096), "{error}");
    assert_eq!(client.store().damaged().unwrap(), [block.id()]);
    assert!(read(&client, &url).is_err());
    assert!(client.store().put(&block).unwrap());
    assert!(read(&client, &url).unwrap() == noise(5_000));
}

#[test]
fn the_program_puts_and_gets_version_3() {
    let place = Place::new();
    let file = place.file("report (1).pdf", 3_000);
    let file = file.to_str().unwrap();
    let url = place.run("home", ["put", "--v3", file]).ok().stdout().trim().to_owned();
    assert!(url.contains("/offsystem/v3/application/pdf/3000/"), "{url}");
    assert!(url.ends_with("/report%20%281%29.pdf"), "{url}");
    // As js-offs writes it.
    let bare = url.replace("%281%29", "(1)").replace("http://localhost:23402", "");
    place.run("home", ["get", &bare, "-o", "out"]).ok();
    assert!(fs::read(place.path("out")).unwrap() == noise(3_000));
    let part = place.run("home", ["cat", &url, "--range", "995-1004"]).ok();
    assert!(part.0.stdout == noise(3_000)[995..1_005]);
    assert!(place.run("home", ["ls"]).ok().stdout().contains(&url));
    place.run("home", ["stat", &url]).ok();
    place.run("home", ["pin", &url]).ok();
    place.run("home", ["check", "--read-data"]).ok();
    place.run("home", ["repair", &url]).ok();
    place.run("home", ["publish", &url]).exits(1).says(["js-offs's mini class"]);
    place.run("home", ["get", &url, "-o", "x", "--swarm-only"]).ok();
    place.run("other", ["get", &url, "-o", "y", "--swarm-only"]).exits(4).says(["no swarm"]);
    place.run("home", ["put", "--v3", "--tuple", "4", file]).exits(2);
    fs::write(place.path("empty"), "").unwrap();
    place.run("home", ["put", "--v3", "empty"]).exits(2).says(["cannot put empty", "empty file"]);
    place.run("home", ["rm", &url]).ok();
    place.run("home", ["gc"]).ok();
}

#[test]
fn a_folder_becomes_a_directory_that_js_offs_reads() {
    let place = Place::new();
    for (name, len) in [("a b.txt", 100), ("sub/(c).bin", 5_000), ("sub/d/e", 200_000)] {
        let path = place.path("tree").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, noise(len)).unwrap();
    }
    fs::write(place.path("tree/nothing"), "").unwrap();
    fs::create_dir(place.path("tree/hollow")).unwrap();
    let ran = place.run("home", ["put", "--v3", "tree"]).exits(3);
    let ran = ran.says(["tree/nothing\": ", "cannot name an empty file", "tree/hollow/\": "]);
    let url = ran.stdout().trim().to_owned();
    place.run("home", ["get", &url, "-o", "copy"]).ok();
    for (name, len) in [("a b.txt", 100), ("sub/(c).bin", 5_000), ("sub/d/e", 200_000)] {
        assert!(fs::read(place.path("copy").join(name)).unwrap() == noise(len));
    }
    let beside = format!("{}/sub/(c).bin", url.rsplit_once('/').unwrap().0);
    for member in [beside, format!("{url}/sub/%28c%29.bin")] {
        place.run("home", ["get", &member, "-o", "member"]).ok();
        assert!(fs::read(place.path("member")).unwrap() == noise(5_000));
        fs::remove_file(place.path("member")).unwrap();
    }
    let client = Client::open(&place.path("home"), &Settings::default()).unwrap();
    let blocks = blocks_of(&client);
    let listing = checked(&OffUrl::parse(&url).unwrap(), &blocks);
    let listing: Value = serde_json::from_slice(&listing).unwrap();
    assert_eq!(listing.as_object().unwrap().len(), 3);
    for (path, len) in [("a b.txt", 100), ("sub/(c).bin", 5_000), ("sub/d/e", 200_000)] {
        let parts = Parts::of(listing[path].as_str().unwrap());
        assert!(parts.decode(&blocks).0 == noise(len));
    }
}

/// A native peer gives blocks of any size.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn v3_urls_are_fetched_from_native_peers() {
    let place = Place::new();
    let client = Client::open(&place.path("a"), &Settings::default()).unwrap();
    let lengths = [200, 20_000, 400_000];
    let urls = lengths.map(|len| put(&client, &noise(len), &options("a")).unwrap().to_string());
    let listen = Some("127.0.0.1:0".parse().unwrap());
    let swarms = client.swarms(&Options { listen, ..Options::default() }).await.unwrap();
    let address = swarms.listen().to_string();
    for (url, len) in urls.iter().zip(lengths) {
        let mut get = place.command("b", ["get", url, "-o", "out", "--force", "--timeout", "60s"]);
        get.args(["--native-peer", &address]);
        let ran = tokio::task::block_in_place(|| get.output().unwrap());
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        assert!(fs::read(place.path("out")).unwrap() == noise(len));
        fs::remove_file(place.path("out")).unwrap();
    }
}
