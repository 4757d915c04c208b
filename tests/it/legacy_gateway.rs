//! `legacy gateway get`: whole files from nodes that speak HTTP as js-offs does, and from such as do
//! it badly.

mod node;

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use offswarm::client::import::LegacyCache;
use offswarm::client::{Client, Settings};
use offswarm::id::{BlockId, FileHasher};
use offswarm::off::OffUrl;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::daemon::Daemon;
use crate::legacy_import::{js_offs, urls, vectors};
use crate::program::{Place, Ran, noise};
use node::{Answer, Node};

const LEN: usize = 5_000;

/// Runs `legacy gateway get`.
fn get(place: &Place, home: &str, url: &str, node: &str, more: &[&str]) -> Ran {
    let args = ["legacy", "gateway", "get", url, "--from", node];
    place.run(home, args.iter().chain(more))
}

fn sha256(bytes: &[u8]) -> String {
    let mut hasher = FileHasher::default();
    hasher.update(bytes);
    hasher.finish().to_string()
}

/// An OFF URL as somebody else makes it.
fn url_of(bytes: &[u8], id: &str, name: &str) -> String {
    let (length, descriptor) = (bytes.len(), BlockId::of(b"its descriptor"));
    format!("http://localhost:23402/offsystem/v3/text/plain/{length}/{id}/{descriptor}/{name}")
}

fn wanted() -> String {
    url_of(&noise(LEN), &sha256(&noise(LEN)), "a%20(1).txt")
}

/// What is in a folder beside the homes.
fn left(place: &Place) -> Vec<String> {
    let entries = fs::read_dir(place.path("")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| !name.starts_with("home")).collect();
    names.sort();
    names
}

fn blocks(place: &Place, home: &str) -> u64 {
    if !place.path(home).exists() {
        return 0;
    }
    let told = place.run(home, ["stat", "--json"]).ok().stdout();
    serde_json::from_str::<Value>(&told).unwrap()["blocks"].as_u64().unwrap()
}

/// A node with all that js-offs has in the vectors.
fn js_offs_node(place: &Place) -> Node {
    let cache = js_offs(place, "home-of-js-offs");
    let client = Client::open(&place.path("home-of-node"), &Settings::default()).unwrap();
    let cache = LegacyCache::find(&cache).unwrap();
    client.import(&cache, &CancellationToken::new(), &mut |_| {}).unwrap();
    Node::start(move |path| {
        let raw = path.ends_with("?ofd=raw");
        let (url, member) = OffUrl::parse_with_path(path).unwrap();
        assert!(raw == url.is_directory() && member.is_none(), "{path}");
        let mut body = Vec::new();
        let kind = if raw { "text/json" } else { url.content_type() };
        match client.read(&url, &mut body, &mut |_| {}) {
            Ok(()) => Answer::chunked("200 OK", kind, &body),
            // As js-offs does.
            Err(_) => Answer::chunked("200 OK", kind, &[]),
        }
    })
}

#[test]
fn files_and_folders_of_js_offs_come_over_http() {
    let place = Place::new();
    let node = js_offs_node(&place);
    let mut asked = 0;
    for (url, _) in urls() {
        let parsed = OffUrl::parse(&url).unwrap();
        if parsed.length() > 1_000_000 || parsed.is_directory() {
            continue;
        }
        let ran = get(&place, "home", &url, node.address(), &["-o", "out", "--json"]).ok();
        let told: Value = serde_json::from_str(&ran.stdout()).unwrap();
        assert_eq!(told["verified"], "sha256");
        assert!(told["path"].as_str().unwrap().ends_with("out"), "{told}");
        let bytes = fs::read(place.path("out")).unwrap();
        assert_eq!(sha256(&bytes), parsed.file().to_string());
        let path = url.split_once("/offsystem/").unwrap().1;
        assert_eq!(node.last_path(), format!("/offsystem/{path}"), "as it was written");
        asked += 1;
    }
    assert!(asked > 35, "{asked}");
    assert!(!place.path("home").exists(), "no store is needed");
}

#[test]
fn a_folder_of_js_offs_comes_with_all_its_files() {
    let place = Place::new();
    let node = js_offs_node(&place);
    let manifest = fs::read(vectors().join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let mut folders = 0;
    for vector in manifest["vectors"].as_array().unwrap() {
        let Some(members) = vector["members"].as_array() else { continue };
        let (url, out) = (vector["url"].as_str().unwrap(), format!("tree{folders}"));
        get(&place, "home", url, node.address(), &["-o", &out]).ok();
        let put = get(&place, "home", url, node.address(), &["--put"]).ok().stdout();
        assert!(put.contains("/offsystem/v4/offsystem/directory/"), "{put}");
        let again = format!("{out}-again");
        place.run("home", ["get", put.trim(), "--offline", "-o", &again]).ok();
        for member in members {
            let path = member["path"].as_str().unwrap();
            let bytes = fs::read(place.path(&out).join(path)).unwrap();
            assert_eq!(bytes.len() as u64, member["length"].as_u64().unwrap(), "{path}");
            assert!(fs::read(place.path(&again).join(path)).unwrap() == bytes, "{path}");
            let one = format!("{url}/{}", offswarm::off::url::escape(path).replace("%2F", "/"));
            get(&place, "home", &one, node.address(), &["-o", "one"]).ok();
            assert!(fs::read(place.path("one")).unwrap() == bytes, "{path}");
        }
        get(&place, "home", &format!("{url}/none"), node.address(), &["-o", "x"])
            .exits(4)
            .says(["the directory has no file at \"none\""]);
        // The second time it goes into the folder, where it is then.
        let inside = get(&place, "home", url, node.address(), &["-o", &out]).ok().stdout();
        assert!(inside.starts_with(&format!("{out}/")), "{inside}");
        get(&place, "home", url, node.address(), &["-o", &out]).exits(1).says(["it exists"]);
        folders += 1;
    }
    assert_eq!(folders, 2);
}

/// What a node does, what comes of it, and what is said.
fn failures() -> Vec<(&'static str, Answer, i32, &'static str)> {
    let right = noise(LEN);
    let mut wrong = right.clone();
    wrong[LEN - 1] ^= 1;
    let head = |more: &str| format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{more}\r\n");
    let with = |more: &str, body: &[u8]| [head(more).as_bytes(), body].concat();
    let page = b"<html>Error".to_vec();
    vec![
        ("short", Answer::chunked("200 OK", "text/plain", &right[..999]), 4, "sent 999 of 5000"),
        ("empty", Answer::chunked("200 OK", "text/plain", &[]), 4, "sent 0 of 5000 bytes"),
        ("until the end", Answer::Whole(with("", &right[..10])), 4, "sent 10 of 5000 bytes"),
        ("endless", Answer::Endless, 5, "more than the 5000 bytes"),
        ("one too many", Answer::chunked("200 OK", "a/b", &noise(LEN + 1)), 5, "more than the 5000"),
        ("declares more", Answer::Whole(with("Content-Length: 5001\r\n", &right)), 5, "more than"),
        ("declares less", Answer::Whole(with("Content-Length: 4999\r\n", &right)), 4, "sent 4999 of"),
        ("wrong bytes", Answer::chunked("200 OK", "a/b", &wrong), 5, "neither SHA-256 nor BLAKE3"),
        ("unknown", Answer::chunked("404 Not Found", "text/html", &page), 4, "status 404"),
        ("fails", Answer::chunked("500 Oh", "text/html", &page), 1, "status 500"),
        ("a part", Answer::chunked("206 Partial Content", "a/b", &right), 1, "status 206"),
        ("elsewhere", Answer::Whole(
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/x\r\nContent-Length: 0\r\n\r\n".into(),
        ), 1, "redirects to another address"),
        ("packed", Answer::Whole(with("Content-Encoding: gzip\r\n", &right)), 1, "as \"gzip\""),
        ("breaks off", Answer::Reset(with("Content-Length: 5000\r\n", &right[..2_000])), 4, "broke off"),
        ("hangs up", Answer::Reset(Vec::new()), 4, "cannot ask http://127.0.0.1"),
        ("no HTTP", Answer::Whole(b"220 smtp.example\r\n".into()), 4, "cannot ask"),
        ("a flood of headers", Answer::Whole(with(&"A: b\r\n".repeat(100_000), &right)), 4, "cannot ask"),
        ("a long header", Answer::Whole(with(&format!("A: {}\r\n", "b".repeat(2 << 20)), &right)), 4,
            "cannot ask"),
        ("stalls", Answer::Stall(with("", &right[..2_000])), 4, "was silent"),
        ("stalls at once", Answer::Stall(Vec::new()), 4, "was silent"),
        ("slow headers", Answer::Stall(b"HTTP/1.1 200 OK\r\nA: ".into()), 4, "was silent"),
    ]
}

#[test]
fn whatever_a_node_does_nothing_wrong_is_kept() {
    let place = Place::new();
    let url = wanted();
    for (what, answer, exit, says) in failures() {
        println!("{what}");
        let node = Node::start(move |_| answer.clone());
        for more in [&["-o", "out"] as &[_], &["--put"], &["--put", "-o", "out"]] {
            let more = [more, &["--stall", "500ms"]].concat();
            let ran = get(&place, "home", &url, node.address(), &more).exits(exit).says([says]);
            assert_eq!(ran.stdout(), "", "{what}");
        }
        assert_eq!(left(&place), [""; 0], "{what}");
        assert_eq!(blocks(&place, "home"), 0, "{what}");
    }
}

#[test]
fn standard_output_gets_the_last_part_only_if_all_is_right() {
    let place = Place::new();
    let right = noise(300_000);
    let url = url_of(&right, &sha256(&right), "a");
    let node = |body: Vec<u8>| {
        let answer = Answer::chunked("200 OK", "text/plain", &body);
        Node::start(move |_| answer.clone())
    };
    let good = get(&place, "home", &url, node(right.clone()).address(), &["-o", "-"]).ok();
    assert!(good.0.stdout == right);
    let mut wrong = right.clone();
    wrong[0] ^= 1;
    let bad = get(&place, "home", &url, node(wrong).address(), &["-o", "-"]).exits(5);
    assert!(bad.0.stdout.len() < right.len());
    let device = get(&place, "home", &url, node(right).address(), &["-o", "/dev/null"]).ok();
    assert_eq!(device.stdout(), "/dev/null\n");
}

#[test]
fn patience_and_addresses_are_the_users() {
    let place = Place::new();
    let (silent, url) = (Node::start(|_| Answer::Stall(Vec::new())), wanted());
    for more in [&["-o", "x"] as &[_], &["--put"]] {
        let more = [more, &["--timeout", "300ms"]].concat();
        get(&place, "home", &url, silent.address(), &more)
            .exits(4)
            .says(["cannot get it from http://127.0.0.1", "within 0.3 s"]);
    }
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    get(&place, "home", &url, &format!("http://{gone}"), &[])
        .exits(4)
        .says(["cannot ask", "refused"]);
    for bad in ["127.0.0.1:1", "ftp://127.0.0.1", "http://u:p@127.0.0.1"] {
        get(&place, "home", &url, bad, &[]).exits(2).says(["is no address of a node"]);
    }
    get(&place, "home", "nonsense", silent.address(), &[]).exits(2);
    let put = ["--put", "-o", "-"];
    get(&place, "home", &url, silent.address(), &put).exits(2).says(["--put"]);
    get(&place, "home", &url, silent.address(), &["--plain"]).exits(2);
    let native = place.put("home", &place.file("in", 10));
    get(&place, "home", &native, silent.address(), &[]).exits(2).says(["is not of version 3"]);
}

#[test]
fn only_the_named_node_is_asked() {
    let place = Place::new();
    let (other, right) = (Node::start(|_| Answer::Endless), noise(LEN));
    let node = Node::start(move |_| Answer::chunked("200 OK", "text/plain", &noise(LEN)));
    let url =
        url_of(&right, &sha256(&right), "a.txt").replace("http://localhost:23402", other.address());
    let proxy = [
        ("http_proxy", other.address()),
        ("HTTP_PROXY", other.address()),
        ("ALL_PROXY", other.address()),
    ];
    let args = ["legacy", "gateway", "get", &url, "--from", node.address()];
    let ran = Ran(place.command("home", args).envs(proxy).output().unwrap()).ok();
    assert_eq!(ran.stdout(), "a.txt\n");
    assert!(fs::read(place.path("a.txt")).unwrap() == right);
    assert!(other.paths().is_empty(), "{:?}", other.paths());
    let request = node.requests().remove(0).to_lowercase();
    assert!(request.contains("accept-encoding: identity\r\n"), "{request}");
    get(&place, "home", &url, node.address(), &[]).exits(1).says(["it exists", "--force"]);
    get(&place, "home", &url, node.address(), &["--force"]).ok();
    fs::create_dir(place.path("folder")).unwrap();
    get(&place, "home", &url, node.address(), &["-o", "folder"]).ok();
    assert!(fs::read(place.path("folder/a.txt")).unwrap() == right);
}

#[test]
fn offs_names_files_by_blake3() {
    let place = Place::new();
    let right = noise(LEN);
    let id = bs58::encode(blake3::hash(&right).as_bytes()).into_string();
    let url = url_of(&right, &id, "a.txt");
    let node = Node::start(|_| Answer::chunked("200 OK", "text/plain", &noise(LEN)));
    let ran = get(&place, "home", &url, node.address(), &["--json"]).ok();
    assert_eq!(serde_json::from_str::<Value>(&ran.stdout()).unwrap()["verified"], "blake3");
    let ran = get(&place, "home", &url, node.address(), &["--force"]).ok();
    ran.says(["5000 bytes, verified by BLAKE3 (OFFS)"]);
    assert!(fs::read(place.path("a.txt")).unwrap() == right);
    let wrong = Node::start(|_| Answer::chunked("200 OK", "text/plain", &vec![7; LEN]));
    get(&place, "home", &url, wrong.address(), &["-o", "x"]).exits(5);
    assert!(!place.path("x").exists());
}

#[test]
fn what_is_put_as_it_comes_is_got_again() {
    let place = Place::new();
    let right = noise(400_000);
    let url = url_of(&right, &sha256(&right), "a.txt");
    let answer = Answer::chunked("200 OK", "text/plain", &right);
    let node = Node::start(move |_| answer.clone());
    for (more, key) in [(&["--put"] as &[_], "k="), (&["--put", "--plain"], "")] {
        let put = get(&place, "home", &url, node.address(), more).ok().stdout();
        let put = put.trim();
        assert!(put.contains("/offsystem/v4/text/plain/400000/") && put.contains(key), "{put}");
        assert_eq!(put.contains("k="), !key.is_empty());
        place.run("home", ["get", put, "--offline", "-o", "out"]).ok();
        assert!(fs::read(place.path("out")).unwrap() == right);
    }
    assert_eq!(left(&place), ["out"], "without --output no file is written");
    get(&place, "home", &url, node.address(), &["--put", "-o", "both"]).ok();
    assert!(fs::read(place.path("both")).unwrap() == right);
    let full =
        get(&place, "home-full", &url, node.address(), &["--limit", "256KiB", "--put", "-o", "x"]);
    full.exits(1).says(["full"]);
    assert_eq!(left(&place), ["both", "out"]);
    assert_eq!(blocks(&place, "home-full"), 0);
}

/// A node with a directory, whose list it answers with and whose files are noise by their length.
fn directory_node(list: &Value, wrong: bool) -> (Node, String) {
    let list = serde_json::to_vec(list).unwrap();
    let url = url_of(&list, &sha256(&list), "d.ofd").replace("text/plain", "offsystem/directory");
    let node = Node::start(move |path| {
        if path.ends_with(".ofd?ofd=raw") {
            return Answer::chunked("200 OK", "text/json", &list);
        }
        let mut body = noise(OffUrl::parse(path).unwrap().length() as usize);
        if wrong && path.ends_with("/b") {
            body[0] ^= 1;
        }
        Answer::chunked("200 OK", "text/plain", &body)
    });
    (node, url)
}

fn file(len: usize, name: &str) -> String {
    url_of(&noise(len), &sha256(&noise(len)), name)
}

#[test]
fn a_folder_that_cannot_be_trusted_leaves_nothing() {
    let place = Place::new();
    let hostile = |path: &str| json!({"a": file(10, "a"), path: file(20, "x")});
    for path in ["../x", "/etc/x", "a/../../x", "x\\..\\y", "a//x", "A", "a/x", "nul\u{0}", "."] {
        let (node, url) = directory_node(&hostile(path), false);
        for more in [&["-o", "d"] as &[_], &["--put"]] {
            get(&place, "home", &url, node.address(), more)
                .exits(5)
                .says(["the directory cannot be used"]);
        }
        assert_eq!(node.paths().len(), 2, "no file of it is asked for");
        assert_eq!(left(&place), [""; 0], "{path:?}");
    }
    let list = json!({"a": file(10, "a"), "sub/b": file(300_000, "b"), "c": file(30, "c")});
    let (node, url) = directory_node(&list, true);
    for more in [&["-o", "d"] as &[_], &["--put"], &["--put", "-o", "d"]] {
        let ran = get(&place, "home", &url, node.address(), more).exits(5);
        ran.says(["cannot get \"sub/b\" of the directory", "neither SHA-256 nor BLAKE3"]);
        assert_eq!(left(&place), [""; 0]);
    }
    assert_eq!(blocks(&place, "home"), 0);
    let (node, url) = directory_node(&list, false);
    let put = get(&place, "home", &url, node.address(), &["--put", "-o", "d"]).ok().stdout();
    let native = json!({"a": put.trim().replace("offsystem/directory", "text/plain")});
    assert!(fs::read(place.path("d/sub/b")).unwrap() == noise(300_000));
    let (node, url) = directory_node(&native, false);
    get(&place, "home", &url, node.address(), &["-o", "e"]).exits(2).says(["\"a\"", "version 3"]);
}

#[test]
fn our_own_gateway_is_such_a_node_and_a_daemon_asks_one() {
    let place = Place::new();
    let daemon = Daemon::start(&place, "home-a");
    let from = daemon.ready["http"].as_str().unwrap().to_owned();
    fs::create_dir_all(place.path("tree/sub")).unwrap();
    fs::write(place.path("tree/a b (1).txt"), noise(2_000)).unwrap();
    fs::write(place.path("tree/sub/b"), noise(200_000)).unwrap();
    let put =
        |what: &str| place.run("home-a", ["put", "--v3", what]).ok().stdout().trim().to_owned();
    let (url, tree) = (put("tree/a b (1).txt"), put("tree"));
    let _other = Daemon::start(&place, "home-b");
    for home in ["home-b", "home-c"] {
        let ran = get(&place, home, &url, &from, &["-o", "out"]).ok();
        ran.says(["2000 bytes, verified by SHA-256 (js-offs)"]);
        assert!(fs::read(place.path("out")).unwrap() == noise(2_000));
        fs::remove_file(place.path("out")).unwrap();
        let put = get(&place, home, &tree, &from, &["--put", "-o", "copy"]).ok().stdout();
        place.run(home, ["get", put.trim(), "--offline", "-o", "again"]).ok();
        for copy in ["copy", "again"] {
            check_tree(&place.path(copy));
            fs::remove_dir_all(place.path(copy)).unwrap();
        }
    }
    let absent = wanted();
    get(&place, "home-b", &absent, &from, &["-o", "x", "--timeout", "20s"]).exits(4);
    assert!(!place.path("x").exists());
}

fn check_tree(folder: &Path) {
    assert!(fs::read(folder.join("a b (1).txt")).unwrap() == noise(2_000));
    assert!(fs::read(folder.join("sub/b")).unwrap() == noise(200_000));
}
