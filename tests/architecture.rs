//! The architecture, as a test: which module may use which, and which file may name which crate.
//!
//! `src/` is read as text, without dependencies. A module uses itself and lower layers, never a
//! neighbour and never upwards; a module without a place in the table fails.

#![allow(clippy::unwrap_used, reason = "a test that cannot read the source fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Layers from the bottom up.
const LAYERS: &[(&str, &[&str])] = &[
    ("words", &["id", "limits", "address", "web"]),
    ("formats", &["off", "bencode"]),
    ("holders", &["store", "catalog", "source", "supervise"]),
    ("network", &["torrent", "krpc", "peer", "legacy", "gateway"]),
    ("swarm", &["swarm"]),
    ("client", &["client"]),
    ("front ends", &["http", "bridge", "s3", "venti", "replica"]),
    ("program", &["daemon"]),
    ("tool", &["cli"]),
];

/// Crates that only these files may name: the reason is in the module docs of each.
const WARDENS: &[(&str, &[&str])] = &[
    ("redb", &["catalog/", "store/index", "store/mod.rs"]),
    ("clap", &["cli/"]),
    ("indicatif", &["cli/output.rs"]),
    ("serde_bencode", &["bencode/", "peer/extension.rs", "swarm/tracker/http.rs"]),
    // What strangers name is asked through the guard, what the user names by the gateway's own client.
    ("reqwest", &["web.rs", "swarm/guard/", "swarm/session.rs", "gateway/"]),
    ("governor", &["peer/rate.rs"]),
    ("chacha20", &["off/seal.rs"]),
    ("sha2", &["id.rs"]),
    ("sha1", &["id.rs"]),
    ("blake3", &["id.rs"]),
    ("ed25519_dalek", &["krpc/item.rs"]),
    ("crc", &["krpc/secure.rs"]),
    ("socket2", &["krpc/driver/sockets.rs", "swarm/lan/driver/sockets.rs"]),
    ("if_addrs", &["swarm/lan/driver/sockets.rs"]),
    ("axum", &["http/"]),
    // The client's errors are its errors.
    ("hyper", &["http/", "web.rs"]),
    ("hyper_util", &["http/"]),
    ("subtle", &["http/guard/token.rs"]),
    ("sd_notify", &["daemon/notify.rs"]),
    ("qrcode", &["http/api/qr.rs"]),
    ("prometheus_client", &["http/api/metrics.rs"]),
];

/// Macros that only `cli/output.rs` may call.
const PRINTERS: &[&str] = &["println!", "eprintln!", "print!", "eprint!"];

const MAX_LINES: usize = 500;

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every file below `src/`: its path from there, and its text.
fn files() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![source()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(source()).unwrap().to_string_lossy().into_owned();
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

fn module_of(file: &str) -> &str {
    let first = file.split('/').next().unwrap_or(file);
    first.strip_suffix(".rs").unwrap_or(first)
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|(_, modules)| modules.contains(&module))
}

/// The code of a file: no comments, and no unit tests (they may use whatever helps).
fn code(text: &str) -> String {
    let production = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or(text);
    let lines = production.lines().map(|line| line.split("//").next().unwrap_or(""));
    lines.collect::<Vec<_>>().join("\n")
}

/// The words that follow `prefix` in `text`, where `prefix` starts a word.
fn words_after<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(prefix).filter_map(move |(at, _)| {
        let before = text[..at].chars().next_back();
        let starts = !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':');
        let rest = &text[at + prefix.len()..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        starts.then(|| &rest[..end])
    })
}

fn is_root(file: &str) -> bool {
    file == "lib.rs" || file == "main.rs"
}

#[test]
fn every_module_has_a_place() {
    for file in files().keys().filter(|file| !is_root(file)) {
        assert!(layer_of(module_of(file)).is_some(), "{file} has no place in the table of layers");
    }
}

#[test]
fn modules_use_only_themselves_and_lower_layers() {
    for (file, text) in files().iter().filter(|(file, _)| !is_root(file)) {
        let module = module_of(file);
        for used in words_after(&code(text), "crate::").filter(|used| *used != module) {
            let Some(layer) = layer_of(used) else { panic!("{file} uses crate::{used}") };
            assert!(
                Some(layer) < layer_of(module),
                "{file} uses {used}, which is not in a lower layer"
            );
        }
    }
}

#[test]
fn only_their_wardens_name_certain_crates() {
    for (file, text) in &files() {
        let code = code(text);
        for (name, wardens) in WARDENS {
            let named = words_after(&code, &format!("{name}::")).next().is_some();
            let may = wardens.iter().any(|warden| file.starts_with(warden));
            assert!(may || !named, "{file} names {name}, which is for {wardens:?} only");
        }
    }
}

#[test]
fn only_the_output_file_prints() {
    for (file, text) in files().iter().filter(|(file, _)| *file != "cli/output.rs") {
        for printer in PRINTERS {
            let bare = printer.trim_end_matches('!');
            let prints =
                words_after(&code(text), bare).any(str::is_empty) && code(text).contains(printer);
            assert!(!prints, "{file} calls {printer}");
        }
    }
}

#[test]
fn files_stay_short_and_say_what_they_are() {
    for (file, text) in &files() {
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{file} has {lines} lines, the limit is {MAX_LINES}");
        assert!(text.starts_with("//!"), "{file} has no module doc");
    }
}

#[test]
fn the_rules_would_notice_a_breach() {
    assert_eq!(
        words_after("use crate::cli::x; crate::id", "crate::").collect::<Vec<_>>(),
        ["cli", "id"]
    );
    assert!(layer_of("cli") > layer_of("off") && layer_of("nowhere").is_none());
    assert_eq!(code("a // crate::cli\nb").trim_end(), "a \nb");
    assert_eq!(module_of("off/url.rs"), "off");
    assert_eq!(module_of("id.rs"), "id");
}
