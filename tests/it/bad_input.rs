//! Bad input: a clear error that says what, on what, and why; an exit code; nothing lost.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use crate::program::{Place, noise};

/// Flips a bit of the first byte of every slot of the first slab.
fn damage(place: &Place, home: &str, slots: u64) {
    let slab = place.path(home).join("store/000000.slab");
    let slab = OpenOptions::new().read(true).write(true).open(slab).unwrap();
    for slot in 0..slots {
        let mut byte = [0];
        slab.read_exact_at(&mut byte, slot * 131_072).unwrap();
        slab.write_all_at(&[byte[0] ^ 1], slot * 131_072).unwrap();
    }
}

#[test]
fn urls_that_do_not_parse_are_usage_errors() {
    let place = Place::new();
    let url = place.put("home", &place.file("in", 5));
    let file = url.split('/').nth(8).unwrap();
    for (text, says) in [
        ("nonsense", "not an OFF URL"),
        ("https://example.org/offsystem/", "not an OFF URL"),
        (&url.replace("/v4/", "/v2/"), "version v2"),
        (&url.replace("/5/", "/-5/"), "not a length"),
        (&url.replace("/5/", "/99999999999999999999/"), "not a length"),
        (&url.replace(file, "0OIl"), "bad file id"),
        (&url.replace("/in?", "/%zz?"), "bad percent-encoding"),
        (&url.replace("?k=", "?k=x"), "bad parameter k"),
        ("magnet:?xt=urn:btih:xyz", "bad xt in the magnet link"),
        ("magnet:?xt=urn:btih:a9993e364706816aba3e25717850c26c9cd0d89d", "no OFF URL"),
    ] {
        place.run("home", ["get", text, "-o", "out"]).exits(2).says([says]);
    }
    place.run("home", ["get"]).exits(2).says(["Usage"]);
    place.run("home", ["get", &url, "--timeout", "soon"]).exits(2).says(["--timeout"]);
    place.run("home", ["put", "in", "--tuple", "9"]).exits(2).says(["2 to 8"]);
    assert!(!place.path("out").exists());
}

#[test]
fn a_wrong_length_is_found_before_any_output() {
    let place = Place::new();
    let url = place.put("home", &place.file("in", 300_000));
    // Longer than the blocks: the chain would have to name blocks that are not there.
    let long = url.replace("/300000/", "/9000000/");
    place.run("home", ["get", &long, "-o", "-", "--offline"]).exits(4);
    let huge = url.replace("/300000/", "/1125899906842624/");
    place.run("home", ["get", &huge, "-o", "-", "--offline"]).exits(4);
    // Shorter: it decodes, and is not what the file id says.
    let short = url.replace("/300000/", "/299999/");
    place.run("home", ["get", &short, "-o", "out"]).exits(5).says(["the URL names"]);
    assert!(!place.path("out").exists());
    let left = fs::read_dir(place.path("")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "no temporary file is left: {left:?}");
}

#[test]
fn missing_blocks_are_counted_and_the_sources_named() {
    let place = Place::new();
    let url = place.put("home", &place.file("in", 300_000));
    let ran = place.run("other", ["get", &url, "-o", "out"]).exits(4);
    ran.says(["10 of at most 10 blocks not found", "the store", "no swarm", "--peer"]);
    let swarm = format!("{url}&btih=a9993e364706816aba3e25717850c26c9cd0d89d");
    let args = ["get", &swarm, "-o", "out", "--peer", "127.0.0.1:9", "--timeout", "2s"];
    place.run("other", args).exits(4).says(["swarm a9993e36", "1 peer named", "0 connected"]);
    place.run("other", ["get", &url, "-o", "out", "--offline"]).exits(4).says(["offline"]);
}

#[test]
fn a_damaged_block_names_the_url_it_hurts() {
    let place = Place::new();
    let url = place.put("home", &place.file("in", 300_000));
    damage(&place, "home", 1);
    let ran = place.run("home", ["get", &url, "-o", "out"]).exits(5);
    ran.says([url.as_str(), "is hurt", "1 of its 8 blocks are damaged"]);
    // Again, now that the block is known to be damaged.
    place.run("home", ["get", &url, "-o", "-"]).exits(5).says([url.as_str()]);
    place.run("home", ["cat", &url]).exits(5).says([url.as_str(), "is hurt"]);
    assert!(place.run("home", ["stat", &url]).exits(3).stdout().contains("7 of 8 here, 1 damaged"));
    assert!(!place.path("out").exists());
    place.run("home", ["seed", &url, "--listen", "127.0.0.1:0"]).exits(4).says([url.as_str()]);
}

#[test]
fn damage_heals_from_a_swarm() {
    let place = Place::new();
    let file = place.file("in", 300_000);
    let seeder = place.share("healthy", &file, []);
    place.run("hurt", ["get", &seeder.magnet, "-o", "first"]).ok();
    damage(&place, "hurt", 5);
    place.run("hurt", ["get", &seeder.magnet, "-o", "second"]).ok();
    assert_eq!(fs::read(place.path("second")).unwrap(), noise(300_000));
    let stat = place.run("hurt", ["stat"]).ok().stdout();
    assert!(stat.contains("damaged   0"), "{stat}");
}

#[test]
fn a_damaged_block_found_while_sharing_names_the_url() {
    let place = Place::new();
    let url = place.put("home", &place.file("in", 300_000));
    damage(&place, "home", 8);
    let ran = place.run("home", ["seed", &url, "--listen", "127.0.0.1:0"]);
    assert!([Some(4), Some(5)].contains(&ran.0.status.code()));
    ran.says([url.as_str()]);
}

#[test]
fn unreadable_files_are_named() {
    let place = Place::new();
    for verb in ["put", "share"] {
        let ran = place.run("home", [verb, "absent"]).exits(1);
        ran.says(["cannot read absent", "No such file"]);
    }
    assert!(!place.path("home").exists(), "a wrong name leaves no store behind");
    place.run("home", ["put", "/proc/self/mem"]).exits(1).says(["cannot put /proc/self/mem"]);
    let url = place.put("home", &place.file("in", 5));
    place
        .run("home", ["get", &url, "-o", "absent/out"])
        .exits(1)
        .says(["absent/out", "absent is not a folder"]);
    place.run("home", ["get", &url, "--torrent", "absent"]).exits(1).says(["cannot read absent"]);
}

#[test]
fn a_taken_port_is_named() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let file = place.file("in", 5);
    let args = ["share", file.to_str().unwrap(), "--listen", &address];
    place.run("home", args).exits(1).says([address.as_str(), "in use"]);
}

#[test]
fn a_torrent_of_something_else_is_refused() {
    let place = Place::new();
    let (one, other) = (place.file("one", 500), place.file("other", 200_000));
    let torrent = place.path("other.torrent");
    drop(place.share("a", &other, ["--torrent-out", torrent.to_str().unwrap()]));
    let url = place.put("a", &one);
    let args = ["get", &url, "-o", "out", "--torrent", torrent.to_str().unwrap()];
    place.run("b", args).exits(2).says(["does not carry the OFF URL"]);
}

#[test]
fn a_swarm_that_carries_something_else_is_an_integrity_failure() {
    let place = Place::new();
    let (one, other) = (place.file("one", 500_000), place.file("other", 200_000));
    let seeder = place.share("a", &other, []);
    let url = place.put("b", &one);
    let btih = &seeder.url.split("btih=").nth(1).unwrap()[..40];
    let forged = format!("{url}&btih={btih}");
    let args = ["get", &forged, "-o", "out", "--peer", &seeder.address(), "--timeout", "20s"];
    place.run("c", args).exits(5).says(["begins with block"]);
    assert!(!place.path("out").exists());
}

#[test]
fn errors_are_json_where_json_was_asked_for() {
    let place = Place::new();
    let ran = place.run("home", ["--json", "get", "nonsense"]).exits(2);
    let error: serde_json::Value = serde_json::from_slice(&ran.0.stderr).unwrap();
    assert_eq!(error["error"]["code"], 2);
    assert!(error["error"]["message"].as_str().unwrap().contains("nonsense"));
}

/// ATTACKS 21: what is logged when nobody asks for more gives nothing away.
#[test]
fn the_default_log_shows_no_urls_keys_or_infohashes() {
    let place = Place::new();
    let file = place.file("in", 300_000);
    let seeder = place.share("a", &file, []);
    let ran = place.run("b", ["get", &seeder.magnet, "-o", "out", "--log", "info"]).ok();
    let key = seeder.url.split("k=").nth(1).unwrap().split('&').next().unwrap();
    assert!(!ran.stderr().contains(key), "{}", ran.stderr());
}

/// New blocks would overwrite the old ones if a lost index were made anew.
#[test]
fn a_lost_index_or_catalog_is_refused_not_replaced() {
    let place = Place::new();
    let file = place.file("in", 300_000);
    for (at, lost) in ["store/index.redb", "catalog.redb"].iter().enumerate() {
        for empty in [false, true] {
            let home = format!("home-{at}-{empty}");
            place.put(&home, &file);
            let path = place.path(&home).join(lost);
            let slab = fs::read(place.path(&home).join("store/000000.slab")).unwrap();
            fs::remove_file(&path).unwrap();
            if empty {
                fs::write(&path, "").unwrap();
            }
            for args in [vec!["put", "in"], vec!["ls"], vec!["stat"]] {
                place.run(&home, args).exits(5).says([lost, "missing or empty"]);
            }
            assert!(fs::read(place.path(&home).join("store/000000.slab")).unwrap() == slab);
        }
    }
}

#[test]
fn a_damaged_database_is_an_integrity_failure_not_a_panic() {
    let place = Place::new();
    let file = place.file("in", 3_000_000);
    place.put("home", &file);
    for name in ["catalog.redb", "store/index.redb"] {
        let path = place.path("home").join(name);
        let whole = fs::read(&path).unwrap();
        for page in 1..whole.len() / 4096 {
            let mut damaged = whole.clone();
            damaged[page * 4096..(page + 1) * 4096].fill(0);
            fs::write(&path, damaged).unwrap();
            let ran = place.run("home", ["stat"]);
            let code = ran.0.status.code();
            assert!([Some(0), Some(1), Some(5)].contains(&code), "{name} {page}: {}", ran.stderr());
            assert!(!ran.stderr().contains("panicked"), "{name} {page}: {}", ran.stderr());
        }
        fs::write(&path, whole).unwrap();
    }
    place.run("home", ["stat"]).ok();
}

#[test]
fn devices_pipes_and_links_are_written_through_not_replaced() {
    use std::os::unix::fs::{FileTypeExt, symlink};
    let place = Place::new();
    let url = place.put("home", &place.file("in", 300_000));
    let fifo = place.path("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let reader = std::thread::spawn({
        let fifo = fifo.clone();
        move || fs::read(fifo).unwrap()
    });
    place.run("home", ["get", &url, "-o", "fifo"]).ok();
    assert_eq!(reader.join().unwrap(), noise(300_000));
    assert!(fs::metadata(&fifo).unwrap().file_type().is_fifo());
    fs::write(place.path("target"), "old").unwrap();
    symlink("target", place.path("link")).unwrap();
    place.run("home", ["get", &url, "-o", "link"]).ok();
    assert!(place.path("link").symlink_metadata().unwrap().is_symlink());
    assert_eq!(fs::read(place.path("target")).unwrap(), noise(300_000));
}

#[test]
fn a_closed_stderr_changes_no_exit_code() {
    use std::process::Stdio;
    let place = Place::new();
    let full = || Stdio::from(OpenOptions::new().write(true).open("/dev/full").unwrap());
    let code = |home, args: &[&str]| {
        place.command(home, args).stderr(full()).output().unwrap().status.code()
    };
    let file = place.file("in", 10);
    assert_eq!(code("home", &["put", file.to_str().unwrap()]), Some(0));
    assert_eq!(code("home", &["get", "nonsense"]), Some(2));
    assert_eq!(code("nowhere", &["ls"]), Some(10));
}

#[test]
fn a_name_too_long_for_a_url_is_refused_before_anything_is_stored() {
    let place = Place::new();
    let file = place.file("in", 10);
    let name = "a".repeat(1_025);
    place
        .run("home", ["put", file.to_str().unwrap(), "--name", &name])
        .exits(2)
        .says(["1025 bytes"]);
    let stat = place.run("home", ["stat"]).ok().stdout();
    assert!(stat.contains("blocks    0\n"), "{stat}");
}

/// A swarm that is complete and still does not give the file: the link is at fault.
#[test]
fn a_link_with_a_wrong_key_is_an_integrity_failure() {
    let place = Place::new();
    let file = place.file("in", 300_000);
    let seeder = place.share("a", &file, []);
    let key = seeder.url.split("k=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let other = place.put("b", &file);
    let wrong = other.split("k=").nth(1).unwrap();
    let forged = seeder.url.replace(&key, wrong);
    let args = ["get", &forged, "-o", "out", "--timeout", "30s"];
    place
        .run("c", args)
        .exits(5)
        .says(["where the OFF URL has", "forged, or the link has a wrong key"]);
}

/// The first to find the damage is the thread that reads for `cat`; it must not call it missing.
#[test]
fn cat_that_finds_damage_first_names_the_url() {
    let place = Place::new();
    let url = place.put("home", &place.file("in", 300_000));
    damage(&place, "home", 1);
    place.run("home", ["cat", &url]).exits(5).says([url.as_str(), "is hurt"]);
}
