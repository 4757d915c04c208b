//! What libtorrent makes of our torrents of version 2 and of both versions; `lt_check.py` asks it.

use std::fs;
use std::path::Path;
use std::process::Command;

use offswarm::off::OffUrl;
use offswarm::torrent::magnet::Magnet;
use serde_json::Value;

use crate::common::Home;
use crate::programs::program;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/lt_check.py");

fn libtorrent<'a>(args: impl IntoIterator<Item = &'a str>) -> Value {
    let python = program("/usr/bin/python3", "python3-libtorrent");
    let ran = Command::new(python).arg(SCRIPT).args(args).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    serde_json::from_slice(&ran.stdout).unwrap()
}

fn offswarm(home: &Home, args: &[&str]) -> Value {
    let ran = home.offswarm(["--json"]).args(args).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    serde_json::from_slice(&ran.stdout).unwrap()
}

/// Publishes a file of `length` bytes in every version and has libtorrent check each against the
/// content file, which is one and the same.
fn check_all(length: usize) {
    let home = Home::new();
    let (original, folder) = (home.beside("original.txt"), home.beside("content"));
    fs::write(&original, vec![b'x'; length]).unwrap();
    fs::create_dir(&folder).unwrap();
    let put = offswarm(&home, &["put", original.to_str().unwrap()]);
    let url = OffUrl::parse(put["url"].as_str().unwrap()).unwrap();
    let contents = home.blocks(&url);
    let blocks = contents.len() / 131_072;
    for flags in [&[][..], &["--v2"], &["--hybrid"]] {
        let torrent = home.beside("blocks.torrent");
        let mut args = vec!["publish", put["url"].as_str().unwrap()];
        args.extend(["--torrent-out", torrent.to_str().unwrap()]);
        args.extend(flags);
        let published = offswarm(&home, &args);
        let magnet = published["magnet"].as_str().unwrap();
        let name = Magnet::parse(magnet).unwrap().name.unwrap();
        fs::write(folder.join(&name), &contents).unwrap();
        let found = check(&torrent, &folder);
        let has_v2 = !flags.is_empty();
        assert_eq!(found["v1"], published["infohash"], "{flags:?}");
        assert_eq!(found["v2"], published["infohash_v2"], "{flags:?}");
        assert_eq!((found["v1"].is_null(), found["v2"].is_null()), (flags == ["--v2"], !has_v2));
        assert_eq!(found["name"], *name);
        assert_eq!(found["size"], contents.len());
        assert_eq!((&found["files"], &found["pieces"]), (&1.into(), &blocks.into()));
        assert_eq!((&found["piece_length"], &found["layers"]), (&131_072.into(), &has_v2.into()));
        assert_eq!(found["complete"], true, "{flags:?}");
        // A link names one swarm by one hash, and libtorrent reads it as we do.
        let named = libtorrent(["--magnet", magnet]);
        let by_v2 = flags == ["--v2"];
        assert_eq!(named["v2"], if by_v2 { published["infohash_v2"].clone() } else { Value::Null });
        assert_eq!(named["v1"], published["infohash"]);
        assert_eq!((magnet.contains("btmh"), magnet.contains("btih")), (by_v2, !by_v2));
        // One flipped bit, and it is not complete any more.
        let mut damaged = contents.clone();
        damaged[contents.len() - 1] ^= 1;
        fs::write(folder.join(&name), damaged).unwrap();
        assert_eq!(check(&torrent, &folder)["complete"], false, "{flags:?}");
    }
}

fn check(torrent: &Path, folder: &Path) -> Value {
    libtorrent(["--torrent", torrent.to_str().unwrap(), "--folder", folder.to_str().unwrap()])
}

#[test]
fn libtorrent_finds_every_version_right_and_its_content_complete() {
    check_all(1);
    check_all(131_073);
}

#[test]
fn libtorrent_finds_every_version_of_many_blocks_right() {
    check_all(8 << 20);
}
