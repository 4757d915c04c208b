//! Hostile torrents, info dicts and magnet links (ATTACKS 1 to 7 and 25), through the program and
//! through the library.
//!
//! The program runs under a cap of memory, and its peak is measured. Nothing of ours writes what a
//! foreign torrent names, so for names it is enough that they are shown inert and that a folder
//! beside stays as it is.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use offswarm::id::{InfoHash, MerkleRoot};
use offswarm::torrent::magnet::Magnet;
use offswarm::torrent::merkle;
use offswarm::torrent::metainfo::{Info, Metainfo, MetainfoError};
use proptest::prelude::*;

use crate::program::{Place, Ran};

/// What a run may address: the program's own threads and libraries take half of it.
const CAP_KIB: u64 = 1 << 20;

/// What a run may hold, whatever it is shown: eight times the largest torrent it reads.
const PEAK_KIB: u64 = 128 << 10;

/// Many times what the slowest case takes in a debug build on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);

/// A torrent, the exit code for it, and what is said about it.
struct Case {
    bytes: Vec<u8>,
    code: i32,
    says: &'static str,
}

fn case(bytes: impl Into<Vec<u8>>, code: i32, says: &'static str) -> Case {
    Case { bytes: bytes.into(), code, says }
}

fn string(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [text.len().to_string().as_bytes(), b":", text].concat()
}

/// A `.torrent` around an info dict.
fn around(info: impl AsRef<[u8]>) -> Vec<u8> {
    [b"d4:info", info.as_ref(), b"e"].concat()
}

/// One of version 1 with a single empty file of this name.
fn named(name: &str) -> Vec<u8> {
    let name = String::from_utf8(string(name)).unwrap();
    around(format!("d6:lengthi0e4:name{name}12:piece lengthi16384e6:pieces0:e"))
}

/// One of version 1 with these files, each without bytes.
fn files(files: &str) -> Vec<u8> {
    around(format!("d5:filesl{files}e4:name1:x12:piece lengthi16384e6:pieces0:e"))
}

fn sized(length: &str, piece_length: &str, pieces: usize) -> Vec<u8> {
    let pieces = String::from_utf8(string("h".repeat(pieces))).unwrap();
    let piece = format!("12:piece lengthi{piece_length}e");
    around(format!("d6:lengthi{length}e4:name1:x{piece}6:pieces{pieces}e"))
}

/// One of version 2 with this file tree and these piece layers.
fn v2(tree: impl AsRef<[u8]>, layers: impl AsRef<[u8]>) -> Vec<u8> {
    let info =
        [b"d9:file tree", tree.as_ref(), b"12:meta versioni2e4:name1:x12:piece lengthi16384ee"];
    [b"d4:info", &info.concat()[..], b"12:piece layers", layers.as_ref(), b"e"].concat()
}

fn leaf(length: u64, root: &MerkleRoot) -> Vec<u8> {
    let length = format!("d0:d6:lengthi{length}e11:pieces root");
    [length.as_bytes(), &string(root.as_bytes()), b"ee"].concat()
}

/// A sound file of version 2 of `pieces` pieces: its root, and its layer.
fn sound(pieces: u64) -> (MerkleRoot, Vec<u8>) {
    let layer: Vec<_> = (0..pieces).map(|at| MerkleRoot::of_leaf(&at.to_le_bytes())).collect();
    let bytes = layer.iter().flat_map(|hash| *hash.as_bytes()).collect();
    (merkle::root_over(0, layer), bytes)
}

/// Runs `torrent show` under the cap: what came out, and its peak in KiB.
fn show(place: &Place, what: &str, json: bool) -> (Ran, u64) {
    let report = place.path("time.txt");
    let args: &[&str] = if json { &["--json"] } else { &[] };
    let inner = place.command("nowhere", args.iter().chain(&["torrent", "show", what]));
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -v {CAP_KIB}; exec \"$@\""), "sh"]);
    command.args(["/usr/bin/time", "-q", "-f", "%M", "-o"]).arg(&report);
    command.arg(inner.get_program()).args(inner.get_args());
    command.current_dir(place.path("")).stdin(Stdio::null());
    let started = Instant::now();
    let ran = Ran(command.output().expect("GNU time (Debian package `time`) is needed"));
    assert!(started.elapsed() < DEADLINE, "{what} took {:?}", started.elapsed());
    let report = fs::read_to_string(report).unwrap();
    let peak = report.trim().lines().last().unwrap().parse().unwrap();
    (ran, peak)
}

fn check(name: &str, cases: &[Case]) {
    let place = Place::new();
    let canary = place.path("canary");
    fs::create_dir(&canary).unwrap();
    fs::write(canary.join("x"), "canary").unwrap();
    for (at, Case { bytes, code, says }) in cases.iter().enumerate() {
        let file = canary.join("a.torrent");
        fs::write(&file, bytes).unwrap();
        let (ran, peak) = show(&place, "canary/a.torrent", false);
        let (out, error) = (ran.stdout(), ran.stderr());
        let ran = ran.exits(*code);
        assert!(!error.contains("panicked") && !error.contains("memory"), "{error}");
        assert!(peak < PEAK_KIB, "{name} {at} took {peak} KiB");
        if *code == 0 {
            assert!(out.contains(says), "{name} {at}: {says:?} is not in {out}");
        } else {
            ran.says(["cannot use canary/a.torrent as a torrent", says]);
        }
        for text in [&out, &error] {
            let active =
                |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
            assert!(!text.contains(active), "{name} {at}: {text:?}");
        }
        let decoded = Metainfo::decode(bytes);
        let expected = match decoded {
            Ok(_) => 0,
            Err(MetainfoError::Layers(_)) => 5,
            Err(_) => 2,
        };
        assert_eq!(expected, *code, "{name} {at}: the library agrees");
        let (json, _) = show(&place, "canary/a.torrent", true);
        let json = json.exits(*code);
        let text = if *code == 0 { json.0.stdout } else { json.0.stderr };
        serde_json::from_slice::<serde_json::Value>(&text).unwrap();
        fs::remove_file(file).unwrap();
    }
    let left: Vec<_> = fs::read_dir(&canary).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, [canary.join("x")]);
    assert_eq!(fs::read(&left[0]).unwrap(), b"canary");
    fs::remove_dir_all(canary).unwrap();
    fs::remove_file(place.path("time.txt")).unwrap();
    assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 0, "nothing was written beside");
}

#[test]
fn broken_bencode_names_the_byte_where_it_breaks() {
    check(
        "bencode",
        &[
            case("", 2, "at byte 0: ends too early"),
            case("d2222222222:l", 2, "at byte 1: a string longer"),
            case("99999999999999999999:", 2, "at byte 0: not the length"),
            case("i-0e", 2, "at byte 0: not a canonical"),
            case("i1", 2, "at byte 0: a number without an end"),
            case("i99999999999999999999e", 2, "at byte 0"),
            case(vec![b'l'; 10_000_000], 2, "at byte 100: nested too deeply"),
            case("d1:a".repeat(4_000_000), 2, "at byte 400: nested too deeply"),
            case(vec![b'l'; (16 << 20) + 1], 2, "more than 16777216 bytes"),
            case("d4:infod6:lengthi5e", 2, "at byte 19"),
            case("d4:info-1:e", 2, "at byte 7: no value"),
            case("<html>not found</html>", 2, "at byte 0: no value starts"),
            case(vec![0; 1_000], 2, "at byte 0"),
            case("le", 2, "it has no info"),
            case("d4:infolee", 2, "no dictionary"),
            case("d4:infoi1ee", 2, "no dictionary"),
        ],
    );
}

#[test]
fn keys_are_unique_and_the_infohash_is_over_what_came() {
    let unsorted = "d4:name1:x6:lengthi0e6:pieces0:12:piece lengthi16384ee";
    let hash = InfoHash::of(unsorted.as_bytes()).to_string();
    check(
        "keys",
        &[
            case(around(unsorted), 0, Box::leak(hash.into_boxed_str())),
            case(around("d4:name1:x4:name1:ye"), 2, "a key twice"),
            case("d4:infode4:infodee", 2, "a key twice"),
            case([named("x"), b"e".to_vec()].concat(), 2, "bytes after the end"),
            case([named("x"), vec![b'\n']].concat(), 2, "bytes after the end"),
            case(around("di1e1:xe"), 2, "bad bencode at byte 8"),
        ],
    );
}

#[test]
fn names_are_shown_inert_and_nothing_is_written() {
    let beware = "beware        1 names are unsafe";
    let mut cases: Vec<_> =
        ["../../canary/x", "/etc/x", "a\\..\\b", "C:\\", "con", "a\0b", "", ".."]
            .map(|name| case(named(name), 0, beware))
            .into();
    cases.push(case(named("gpj\u{202e}exe"), 0, "gpj\\u{202e}exe"));
    cases.push(case(named("\u{1b}[2J\u{1b}]0;owned\u{7}"), 0, "\\u{1b}[2J\\u{1b}]0;owned\\u{7}"));
    cases.push(case(named("a\r\nOFF URL       http://x/"), 0, "a\\u{d}\\u{a}OFF URL"));
    cases.push(case(named("\u{9b}31m\u{2066}x"), 0, "\\u{9b}31m\\u{2066}x"));
    cases.push(case(named(&"n".repeat(300)), 0, beware));
    cases.push(case(named(&"n".repeat(10_000_000)), 0, beware));
    let file = |path: &str| format!("d6:lengthi0e4:pathl{path}ee");
    for bad in ["2:..6:canary1:x", "1:/1:x", "3:a/b", "0:", "4:\u{202e}a"] {
        cases.push(case(files(&file(bad)), 0, beware));
    }
    cases.push(case(files(&file("")), 2, "no path"));
    cases.push(case(files("d6:lengthi0ee"), 2, "no path"));
    cases.push(case(files(&file(&"1:a".repeat(65))), 2, "more than 64 components"));
    cases.push(case(files(&file(&"0:".repeat(8_000_000))), 2, "more than 64 components"));
    let tracker = [b"d8:announce", &string("http://t/\u{1b}[31m")[..], &named("x")[1..]].concat();
    cases.push(case(tracker, 0, "tracker       http://t/\\u{1b}[31m"));
    check("names", &cases);
}

#[test]
fn links_and_collisions_are_counted_and_nothing_is_made() {
    let file = |path: &str, more: &str| format!("d{more}6:lengthi0e4:pathl{path}e");
    let one = |path: &str| file(path, "") + "e";
    let link = file("1:a", "4:attr1:l") + "12:symlink pathl2:..2:..3:etcee";
    let tree = b"d1:ad0:d4:attr1:l6:lengthi0e12:symlink pathl2:..eeee";
    check(
        "links",
        &[
            case(files(&link), 0, "beware        1 files are symbolic links"),
            case(v2(tree, "de"), 0, "beware        1 files are symbolic links"),
            case(
                files(&(one("1:a") + &one("1:a"))),
                0,
                "beware        1 files are in each other's",
            ),
            case(
                files(&(one("1:a") + &one("1:A"))),
                0,
                "beware        1 files are in each other's",
            ),
            case(
                files(&(one("1:a") + &one("1:a1:b"))),
                0,
                "beware        1 files are in each other",
            ),
            case(
                files(&(one("1:A1:b") + &one("1:a"))),
                0,
                "beware        1 files are in each other",
            ),
        ],
    );
}

#[test]
fn impossible_sizes_are_refused() {
    let huge = "d6:lengthi9223372036854775807e4:pathl1:aee".repeat(3);
    let empty = "d6:lengthi0e4:pathl1:aee";
    let million = files(&empty.repeat(1_000_000));
    assert!(million.len() > 16 << 20);
    check(
        "sizes",
        &[
            case(sized("1", "0", 20), 2, "impossible piece length"),
            case(sized("1", "-16384", 20), 2, "impossible piece length"),
            case(sized("1", "2147483648", 20), 2, "impossible piece length"),
            case(sized("-1", "16384", 0), 2, "possible length"),
            case(sized("1", "16384", 19), 2, "not a multiple of 20"),
            case(sized("16385", "16384", 20), 2, "as many piece hashes"),
            case(sized("9223372036854775807", "1", 20), 2, "as many piece hashes"),
            case(sized("1", "16384", 20_000), 2, "as many piece hashes"),
            case(files(&huge), 2, "more than 2^63"),
            case(million, 2, "more than 16777216 bytes"),
            case(files(&empty.repeat(600_000)), 2, "more than 100000 files"),
            case(files(&empty.repeat(99_999)), 0, "and 99979 more"),
            case(around("d4:name1:x12:piece lengthi1e6:pieces0:e"), 2, "neither one file nor"),
            case(around("d6:length1:14:name1:x12:piece lengthi1e6:pieces0:e"), 2, "no integer"),
            case(around("d6:lengthi0e4:namei1e12:piece lengthi1e6:pieces0:e"), 2, "no string"),
            case(files("i1e"), 2, "no list of files"),
            case(files("d6:length1:04:pathl1:aee"), 2, "no list of files"),
        ],
    );
}

#[test]
fn version_2_is_believed_only_where_its_hashes_lead_to_its_roots() {
    let (root, layer) = sound(5);
    let length = 5 * 16_384;
    let tree = [b"d1:a", &leaf(length, &root)[..], b"e"].concat();
    let layers = |root: &MerkleRoot, layer: &[u8]| {
        [b"d", &string(root.as_bytes())[..], &string(layer), b"e"].concat()
    };
    let good = v2(&tree, layers(&root, &layer));
    let other = MerkleRoot::of_leaf(b"other");
    let swapped = [&layer[32..64], &layer[..32], &layer[64..]].concat();
    let two = [&layers(&root, &layer)[..], b""].concat();
    let stranger =
        [&two[..two.len() - 1], &string(other.as_bytes()), &string(&layer), b"e"].concat();
    let in_tree = |leaf: &[u8]| v2([b"d1:a", leaf, b"e"].concat(), "de");
    let mut hybrid = b"d9:file tree".to_vec();
    hybrid.extend_from_slice(&tree);
    hybrid.extend_from_slice(b"6:lengthi81920e12:meta versioni2e4:name1:a12:piece lengthi16384e");
    hybrid.extend(string("pieces"));
    hybrid.extend(string("h".repeat(100)));
    hybrid.push(b'e');
    let around_hybrid = |text: &[u8]| {
        [b"d4:info", text, b"12:piece layers", &layers(&root, &layer)[..], b"e"].concat()
    };
    let disagree = |from: &str, to: &str| {
        let at = hybrid.windows(from.len()).rposition(|part| part == from.as_bytes()).unwrap();
        around_hybrid(&[&hybrid[..at], to.as_bytes(), &hybrid[at + from.len()..]].concat())
    };
    let deep = |depth: usize| {
        let tree = ["d1:a".repeat(depth).as_bytes(), &leaf(1, &other)[..]].concat();
        v2([&tree[..], "e".repeat(depth).as_bytes()].concat(), "de")
    };
    let long: Vec<u8> = (10_000..60_000)
        .flat_map(|name| [string(name.to_string()), leaf(1, &other)].concat())
        .collect();
    let long = [b"d", &string("n".repeat(4_000_000))[..], b"d", &long, b"ee"].concat();
    // Every file asks for the same long layer.
    let (shared, many) = sound(200_000);
    let leaf_of_many = leaf(200_000 * 16_384, &shared);
    let sharing: Vec<u8> = (10_000..90_000)
        .flat_map(|name: u32| [string(name.to_string()), leaf_of_many.clone()].concat())
        .collect();
    let sharing = v2([b"d", &sharing[..], b"e"].concat(), layers(&shared, &many));
    check(
        "version 2",
        &[
            case(good, 0, "version       v2"),
            case(around_hybrid(&hybrid), 0, "version       hybrid"),
            case(sharing, 0, "files         80000"),
            case(v2(&tree, "de"), 5, "is missing"),
            case(around(&v2(&tree, "de")[7..][..tree.len() + 62]), 5, "is missing"),
            case(v2(&tree, "le"), 2, "\"piece layers\" is no dictionary"),
            case(v2(&tree, "d1:a0:e"), 2, "\"piece layers\" is no dictionary"),
            case(v2(&tree, layers(&root, &layer[1..])), 2, "\"piece layers\" is no dictionary"),
            case(v2(&tree, layers(&root, &layer[32..])), 5, "has 4 hashes, not 5"),
            case(v2(&tree, layers(&root, &layer.repeat(3_000))), 5, "has 15000 hashes, not 5"),
            case(v2(&tree, layers(&root, &swapped)), 5, "does not lead to its root"),
            case(v2(&tree, stranger), 5, "belongs to no file"),
            case(in_tree(&leaf(1, &MerkleRoot::BEYOND)), 2, "a root of zeros"),
            case(in_tree(b"d0:d6:lengthi1eee"), 2, "without the root"),
            case(in_tree(b"d0:d6:lengthi-1eee"), 2, "possible length"),
            case(in_tree(&leaf(1 << 62, &other)), 5, "is missing"),
            case(in_tree(b"d0:d6:lengthi0ee1:bdee"), 2, "where a folder is needed"),
            case(v2("i1e", "de"), 2, "no tree of files"),
            case(v2("d0:d6:lengthi0eee", "de"), 2, "where a folder is needed"),
            case(disagree("i81920e", "i81919e"), 2, "list different files"),
            case(disagree("1:a", "1:b"), 2, "list different files"),
            case(disagree("i2e", "i3e"), 2, "version 3 is unknown"),
            case(disagree("i2e", "i1e"), 2, "without its version"),
            case(deep(64), 0, "version       v2"),
            case(deep(65), 2, "more than 64 components"),
            case(deep(2_000), 2, "nested too deeply"),
            case(v2(long, "de"), 2, "paths of more than 16777216 bytes"),
            case(
                around("d12:meta versioni2e4:name1:x12:piece lengthi16384ee"),
                2,
                "without a file tree",
            ),
        ],
    );
}

/// Small elements that take much memory if every one becomes a value.
#[test]
fn memory_stays_bounded_whatever_is_repeated() {
    let tail = &named("x")[1..];
    let repeated = |key: &str, element: &str, end: &str| {
        let count = 15_000_000 / element.len();
        let list = format!("d{}:{key}l{}e", key.len(), element.repeat(count));
        case([list.as_bytes(), end.as_bytes(), tail].concat(), 0, "name          x")
    };
    let keys: Vec<u8> = (0..1_800_000_u32)
        .flat_map(|at| [string(format!("{at:07}")), b"0:".to_vec()].concat())
        .take(1_300_000 * 11)
        .collect();
    let whole = keys.len() / 11 * 11;
    let keys = [b"d", &keys[..whole], &named("x")[1..]].concat();
    check(
        "memory",
        &[
            repeated("announce-list", "le", ""),
            repeated("announce-list", "l1:ae", ""),
            repeated("url-list", "0:", ""),
            repeated("nodes", "de", ""),
            case(keys, 0, "name          x"),
        ],
    );
}

#[test]
fn magnet_links_that_are_none_are_usage_errors() {
    let place = Place::new();
    let v2 = "0123456789abcdef".repeat(4);
    for (link, says) in [
        ("magnet:", "not a magnet link"),
        ("magnet:?", "names neither a torrent"),
        ("magnet:?dn=x", "names neither a torrent"),
        ("magnet:?xt=urn:btih:", "bad xt"),
        ("magnet:?xt=urn:btih:zz", "bad xt"),
        ("magnet:?xt=urn:btmh:", "the form of SHA-256"),
        ("magnet:?xt=urn:btmh:1220abcd", "the form of SHA-256"),
        (&format!("magnet:?xt=urn:btmh:1114{v2}"), "the form of SHA-256"),
        (&format!("magnet:?xt=urn:btmh:1220{v2}00"), "the form of SHA-256"),
        ("magnet:?dn=%zz", "bad dn"),
        ("magnet:?x.pe=127.0.0.1:99999", "bad x.pe"),
        ("magnet:?x.off=http%3A%2F%2Fx%2F", "bad x.off"),
        (&format!("magnet:?dn={}", "a".repeat(20_000)), "characters is refused"),
        ("magnet:?dn=%1b[2J&x.pe=%1b", "bad x.pe"),
    ] {
        place.run("nowhere", ["torrent", "show", link]).exits(2).says([says]);
        assert!(!says.starts_with("bad") || Magnet::parse(link).is_err());
    }
    let foreign = format!("magnet:?xt=urn:btmh:1220{v2}&dn=%1b[31mx%e2%80%ae&tr=udp://t:1");
    let shown = place.run("nowhere", ["torrent", "show", &foreign]).ok().stdout();
    for says in [&v2, "\\u{1b}[31mx\\u{202e}", "udp://t:1", "not an OFF torrent: ", "x.off"] {
        assert!(shown.contains(says), "{says} is not in {shown}");
    }
    place.run("nowhere", ["get", &foreign]).exits(2).says(["carries no OFF URL"]);
    assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 0);
}

#[test]
fn a_torrent_that_is_not_ours_says_why() {
    let place = Place::new();
    let url = place.put("home", &place.file("in", 300_000));
    let other = files("d6:lengthi0e4:pathl1:aeed6:lengthi0e4:pathl1:bee");
    let reason = |torrent: &[u8]| {
        fs::write(place.path("x.torrent"), torrent).unwrap();
        place.run("home", ["torrent", "show", "x.torrent"]).ok().stdout()
    };
    assert!(reason(&other).contains("not an OFF torrent: it has 2 files"));
    assert!(reason(&named("x.off")).contains("not an OFF torrent: its 0 bytes"));
    assert!(reason(&sized("131072", "131072", 20)).contains("does not end in .off"));
    for (flag, torrent) in [("--v2", "2.torrent"), ("--hybrid", "h.torrent")] {
        place.run("home", ["publish", &url, flag, "--torrent-out", torrent]).ok();
        let shown = place.run("home", ["torrent", "show", torrent]).ok().stdout();
        assert!(shown.contains(&url) && shown.contains("here          8 blocks"), "{shown}");
        let shown = place.run("nowhere", ["torrent", "show", torrent]).ok().stdout();
        assert!(shown.contains("8 OFF blocks") && shown.contains("not known here"), "{shown}");
    }
    // Known, though never published there: its name is the descriptor's.
    place.run("home", ["pack", "export", "blocks.off", "--urls", &url]).ok();
    place.run("other", ["pack", "adopt", "blocks.off"]).ok();
    place.run("other", ["get", &url, "-o", "out"]).ok();
    let shown = place.run("other", ["torrent", "show", "2.torrent"]).ok().stdout();
    assert!(shown.contains(&url) && shown.contains("here          8 blocks"), "{shown}");
    place.run("home", ["rm", &url]).ok();
    let shown = place.run("home", ["torrent", "show", "2.torrent"]).ok().stdout();
    assert!(shown.contains("not known here") && shown.contains("here          0"), "{shown}");
}

/// What a metadata exchange may bring: every beginning of a sound info dict, and every byte of it
/// wrong (ATTACKS 7; the exchange itself holds what came against the infohash first).
#[test]
fn info_dicts_cut_short_or_flipped_are_errors_or_other_dicts() {
    let (root, _) = sound(3);
    let hashes = [offswarm::id::PieceHash::of(b"x"); 3];
    let first = offswarm::id::BlockId::of(b"first");
    let sound = [
        Info::of_blocks(first, 3, &hashes).unwrap(),
        Info::twin_of_blocks(first, 3, root, None).unwrap(),
        Info::twin_of_blocks(first, 3, root, Some(&hashes)).unwrap(),
    ];
    for info in &sound {
        for end in 0..info.raw.len() {
            assert!(Info::decode(info.raw.slice(..end)).is_err());
        }
        for at in 0..info.raw.len() {
            for flip in [1, 0x20, 0x80] {
                let mut bytes = info.raw.to_vec();
                bytes[at] ^= flip;
                if let Ok(other) = Info::decode(Bytes::from(bytes)) {
                    assert_ne!(other.infohash, info.infohash);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn no_bytes_bring_the_reader_down(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..4_u8), 1..6)
    ) {
        let (root, layer) = sound(4);
        let tree = [b"d1:a", &leaf(4 * 16_384, &root)[..], b"e"].concat();
        let layers = [b"d", &string(root.as_bytes())[..], &string(layer), b"e"].concat();
        let mut bytes = v2(tree, layers);
        for (from, to, what) in cuts {
            let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
            let part = bytes[from.min(to)..from.max(to)].to_vec();
            match what {
                0 => { bytes.drain(from.min(to)..from.max(to)); }
                1 => bytes.splice(from..from, part).for_each(drop),
                2 => bytes[from] = bytes[to],
                _ => bytes[from] = b"dlei0:9"[to % 7],
            }
            if bytes.is_empty() {
                bytes.push(b'd');
            }
        }
        if let Ok(metainfo) = Metainfo::decode(&bytes) {
            prop_assert_eq!(Metainfo::decode(&metainfo.encode()).unwrap().info, metainfo.info);
        }
    }
}
