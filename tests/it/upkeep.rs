//! Limits, pins, rm, gc, check and repair, through the program.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};

use offswarm::client::{Client, Settings};

use crate::program::{Place, Ran, Seeder, noise};

const MIB: usize = 1 << 20;
const BLOCK: u64 = 131_072;

fn json(ran: &Ran) -> serde_json::Value {
    serde_json::from_slice(ran.0.stdout.split(|b| *b == b'\n').next().unwrap()).unwrap()
}

fn blocks(place: &Place, home: &str) -> u64 {
    json(&place.run(home, ["--json", "stat"]).ok())["blocks"].as_u64().unwrap()
}

/// Bytes of all slabs that take up disk.
fn disk(place: &Place, home: &str) -> u64 {
    let files = fs::read_dir(place.path(home).join("store")).unwrap().map(Result::unwrap);
    let slabs = files.filter(|file| file.path().extension().is_some_and(|e| e == "slab"));
    slabs.map(|file| file.metadata().unwrap().blocks() * 512).sum()
}

fn flip(place: &Place, home: &str, offset: u64) {
    let slab = place.path(home).join("store/000000.slab");
    let slab = OpenOptions::new().read(true).write(true).open(slab).unwrap();
    let mut byte = [0];
    slab.read_exact_at(&mut byte, offset).unwrap();
    slab.write_all_at(&[byte[0] ^ 1], offset).unwrap();
}

#[test]
fn rm_frees_what_no_other_url_needs_and_says_how_much() {
    let place = Place::new();
    let one = place.put("home", &place.file("one", MIB));
    let (blocks_one, disk_one) = (blocks(&place, "home"), disk(&place, "home"));
    let two = place.put("home", &place.file("two", MIB - 1));
    let shared = blocks(&place, "home");
    assert_eq!(shared - blocks_one, 9, "the second one hides behind blocks of the first");
    let ran = place.run("home", ["rm", &two]).ok();
    assert_eq!(ran.stdout().trim(), format!("freed {} bytes (9 blocks)", 9 * BLOCK));
    assert_eq!(blocks(&place, "home"), blocks_one);
    assert!(disk(&place, "home") <= disk_one + 8 * 4096, "holes are punched");
    place.run("home", ["get", &one, "-o", "out", "--offline"]).ok();
    assert_eq!(fs::read(place.path("out")).unwrap(), noise(MIB));
    place.run("home", ["rm", &two]).exits(4).says(["does not know", &two]);
    place.run("home", ["rm", &one]).ok();
    assert_eq!((blocks(&place, "home"), disk(&place, "home")), (0, 0));
}

#[test]
fn gc_frees_what_a_failed_put_left() {
    let place = Place::new();
    let url = place.put("home", &place.file("file", MIB));
    let before = blocks(&place, "home");
    // A pack's blocks belong to no URL until one is got.
    place.run("home", ["pack", "export", "pack.off", "--urls", &url]).ok();
    place.run("home", ["put", "/proc/self/mem"]).exits(1);
    place.run("other", ["pack", "adopt", "pack.off"]).ok();
    assert_eq!(blocks(&place, "other"), before);
    let dry = json(&place.run("other", ["--json", "gc", "--dry-run"]).ok());
    assert_eq!(
        (dry["freed_blocks"].as_u64(), dry["dry_run"].as_bool()),
        (Some(before), Some(true))
    );
    assert_eq!(blocks(&place, "other"), before);
    place.run("other", ["get", &url, "-o", "out"]).ok();
    assert!(place.run("other", ["gc"]).ok().stdout().starts_with("freed 0 bytes"));
    place.run("other", ["rm", &url]).ok();
    assert_eq!(blocks(&place, "other"), 0);
}

#[test]
fn the_limit_is_kept_and_pins_hold() {
    let place = Place::new();
    let limit = ["--limit", "8MiB"];
    let put = |name: &str, len| {
        let file = place.file(name, len);
        let args = limit.into_iter().chain(["put", file.to_str().unwrap()]);
        place.run("home", args).ok().stdout().trim().to_owned()
    };
    let pinned = put("pinned", MIB);
    place.run("home", ["pin", &pinned]).ok();
    assert!(place.run("home", ["pin", &pinned]).ok().stdout().contains("already"));
    let mut last = String::new();
    for at in 0..8 {
        last = put(&format!("file-{at}"), MIB + at);
        assert!(blocks(&place, "home") * BLOCK <= 8 << 20);
    }
    assert!(disk(&place, "home") <= (8 << 20) + (1 << 17));
    for url in [&pinned, &last] {
        place.run("home", ["get", url, "-o", "out", "--offline"]).ok();
    }
    let hurt = place.run("home", ["check"]).exits(3).stdout();
    assert!(hurt.contains("lacks") && !hurt.contains(&pinned), "{hurt}");
    let big = place.file("big", 9 * MIB);
    let args = limit.into_iter().chain(["put", big.to_str().unwrap()]);
    place.run("home", args).exits(1).says(["its limit is 8388608 bytes", "--limit"]);
    place.run("home", ["get", &pinned, "-o", "out", "--offline"]).ok();
    place.run("home", ["unpin", &pinned]).ok();
}

#[test]
fn the_configuration_file_sets_the_limit() {
    let place = Place::new();
    place.put("home", &place.file("a", MIB));
    fs::write(place.path("home/config.toml"), "[store]\nlimit_bytes = 1048576\n").unwrap();
    assert_eq!(blocks(&place, "home"), 8, "a smaller limit evicts at once");
    fs::write(place.path("home/config.toml"), "[store]\nlimit = 5\n").unwrap();
    place.run("home", ["ls"]).exits(2).says(["config.toml", "unknown key `store.limit`"]);
}

#[test]
fn check_names_the_damage_and_repair_heals_it() {
    let place = Place::new();
    let first = place.share("home", &place.file("file", 3 * MIB), []);
    place.run("healthy", ["get", &first.magnet, "-o", "out"]).ok();
    assert_eq!(first.signal("TERM"), Some(0));
    let seeder = Seeder::start(place.command("healthy", ["seed", "--listen", "127.0.0.1:0"]));
    let whole = place.run("home", ["check", "--read-data"]).ok().stdout();
    assert!(whole.contains("0 damaged; 0 of 1 URLs hurt"), "{whole}");
    for offset in [0, 5 * BLOCK + 77, 10 * BLOCK - 1] {
        flip(&place, "home", offset);
    }
    let ran = place.run("home", ["check", "--read-data", "--json"]).exits(5);
    let hurt = json(&ran);
    assert_eq!(hurt["damaged"].as_array().unwrap().len(), 3);
    assert!(seeder.url.starts_with(hurt["url"].as_str().unwrap()));
    place.run("home", ["check"]).exits(5).says(["is damaged"]);
    let peer = seeder.address();
    let ran = place.run("home", ["repair", "--peer", &peer, "--timeout", "30s"]).ok();
    assert!(ran.stdout().contains("is whole"), "{}", ran.stdout());
    place.run("home", ["check", "--read-data"]).ok();
    place.run("home", ["get", &seeder.url, "-o", "out", "--force"]).ok();
}

#[test]
fn repair_with_nobody_to_ask_says_so() {
    let place = Place::new();
    let url = place.put("home", &place.file("file", MIB));
    flip(&place, "home", 3);
    place.run("home", ["repair", &url]).exits(5).says([&*url, "is hurt", "no swarm"]);
    place.run("home", ["repair"]).exits(5).says([&*url]);
}

#[test]
fn stat_shows_how_blocks_are_shared() {
    let place = Place::new();
    place.put("home", &place.file("one", MIB));
    place.put("home", &place.file("two", MIB - 1));
    let stat = json(&place.run("home", ["--json", "stat"]).ok());
    // Of 18 blocks of the first (8 off, 9 random, 1 chain), the second uses 9 again.
    assert_eq!(stat["sharing"], serde_json::json!([[1, 18], [2, 9]]), "{stat}");
    assert!((stat["stored_per_byte"].as_f64().unwrap() - 27.0 / 16.0).abs() < 0.01);
}

#[test]
fn recycling_uses_the_blocks_of_a_url_first() {
    let place = Place::new();
    let one = place.put("home", &place.file("one", MIB));
    place.put("home", &place.file("noise", 4 * MIB));
    let two = place.file("two", MIB - 1);
    let two = place.run("home", ["put", two.to_str().unwrap(), "--recycle", &one]).ok().stdout();
    // Apart from its own off blocks and chain, everything the second needs is the first's.
    place.run("home", ["pack", "export", "two.off", "--urls", two.trim()]).ok();
    place.run("home", ["pack", "export", "one.off", "--urls", &one]).ok();
    let read = |name: &str| -> Vec<Vec<u8>> {
        fs::read(place.path(name)).unwrap().chunks(BLOCK as usize).map(<[u8]>::to_vec).collect()
    };
    let (one, two) = (read("one.off"), read("two.off"));
    assert_eq!(two.iter().filter(|block| !one.contains(block)).count(), 9);
}

#[test]
fn an_interrupted_check_goes_on_where_it_stopped() {
    let place = Place::new();
    place.put("home", &place.file("file", 2 * MIB));
    let all = blocks(&place, "home");
    {
        // What a check that was interrupted after five slots leaves behind.
        let client = Client::open(&place.path("home"), &Settings::default()).unwrap();
        client.catalog().set_check_place(Some(5)).unwrap();
    }
    let read = |args: &[&str]| {
        let args = ["--json", "check", "--read-data"].iter().chain(args);
        json(&place.run("home", args).ok())["blocks_read"].as_u64().unwrap()
    };
    assert_eq!(read(&[]), all - 5);
    assert_eq!(read(&[]), all, "it was finished, so the next one begins anew");
    assert_eq!(read(&["--restart"]), all);
}

/// A flipped bit in the catalog is damage, not another URL.
#[test]
fn a_flipped_bit_in_the_catalog_is_found() {
    let place = Place::new();
    let url = place.put("home", &place.file("file", MIB));
    let path = place.path("home/catalog.redb");
    let mut bytes = fs::read(&path).unwrap();
    let key = url.split("k=").nth(1).unwrap().as_bytes();
    let mut found = 0;
    for at in 0..bytes.len() - key.len() {
        if &bytes[at..at + key.len()] == key {
            bytes[at + 3] = if bytes[at + 3] == b'2' { b'3' } else { b'2' };
            found += 1;
        }
    }
    assert!(found > 0, "the catalog has the key");
    fs::write(&path, bytes).unwrap();
    place.run("home", ["ls"]).exits(5).says(["catalog.redb has a damaged record"]);
}
