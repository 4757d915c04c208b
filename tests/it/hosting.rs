//! What is kept for others, as the program shows it and gives it back.

use std::fs;

use offswarm::client::{Client, Hosted, Percent, Settings};
use offswarm::off::{Block, BlockSize};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;

use crate::program::{Place, Ran};

const LIMIT: u64 = 40 * 131_072;

/// Lets others push five blocks to a home.
fn host_five(place: &Place) {
    let settings = Settings { limit: Some(LIMIT), host_share: Percent::new(50).unwrap() };
    let client = Client::open(&place.path("home"), &settings).unwrap();
    let mut rng = StdRng::seed_from_u64(1);
    for _ in 0..5 {
        let block = Block::random(BlockSize::Native, &mut rng);
        assert_eq!(client.host(&block).unwrap(), Hosted::Kept);
    }
}

fn json(ran: &Ran) -> Value {
    serde_json::from_slice(&ran.0.stdout).unwrap()
}

/// Blocks and bytes kept for others, by the program.
fn hosted(place: &Place) -> (u64, u64) {
    let stat = json(&place.run("home", ["--json", "stat"]).ok());
    (stat["hosted_blocks"].as_u64().unwrap(), stat["hosted_bytes"].as_u64().unwrap())
}

fn configure(place: &Place, text: &str) {
    fs::write(place.path("home/config.toml"), text).unwrap();
}

#[test]
fn stat_shows_what_is_kept_for_others_and_gc_keeps_it_within_the_share() {
    let place = Place::new();
    let url = place.put("home", &place.file("file", 300_000));
    assert_eq!(hosted(&place), (0, 0));
    assert!(!place.run("home", ["stat"]).ok().stdout().contains("hosted"));
    host_five(&place);
    assert_eq!(hosted(&place), (5, 5 * 131_072));
    let text = place.run("home", ["stat"]).ok().stdout();
    assert!(text.contains("hosted    5 blocks (655360 bytes) are kept for others"), "{text}");
    let store = format!("[store]\nlimit_bytes = {LIMIT}\n");
    configure(&place, &format!("{store}[native]\nhost_share_percent = 50\n"));
    assert!(place.run("home", ["gc"]).ok().stdout().starts_with("freed 0 bytes"));
    assert_eq!(hosted(&place).0, 5);
    // Two of forty are five percent. A flag goes before the file.
    let dry = json(&place.run("home", ["--json", "--host-share", "5", "gc", "--dry-run"]).ok());
    assert_eq!((dry["freed_blocks"].as_u64(), hosted(&place).0), (Some(3), 5));
    let freed = json(&place.run("home", ["--json", "--host-share", "5", "gc"]).ok());
    assert_eq!((freed["freed_blocks"].as_u64(), hosted(&place).0), (Some(3), 2));
    configure(&place, &store);
    place.run("home", ["gc"]).ok();
    assert_eq!(hosted(&place), (0, 0), "nothing is the default");
    place.run("home", ["get", &url, "-o", "out", "--offline"]).ok();
}

#[test]
fn a_share_needs_a_limit_and_is_a_percentage() {
    let place = Place::new();
    place.put("home", &place.file("file", 1_000));
    let needs = ["25 percent", "without a limit", "--limit", "limit_bytes"];
    place.run("home", ["--host-share", "25", "ls"]).exits(2).says(needs);
    let mut twin = place.command("home", ["ls"]);
    twin.env("OFFSWARM_HOST_SHARE", "25");
    Ran(twin.output().unwrap()).exits(2).says(needs);
    configure(&place, "[native]\nhost_share_percent = 25\n");
    place.run("home", ["ls"]).exits(2).says(needs);
    place.run("home", ["--limit", "1GiB", "ls"]).ok();
    place.run("home", ["--host-share", "0", "ls"]).ok();
    place.run("home", ["--host-share", "101", "ls"]).exits(2).says(["0 to 100"]);
    configure(&place, "[native]\nhost_share_percent = 101\n");
    place.run("home", ["--limit", "1GiB", "ls"]).exits(2).says(["config.toml", "101"]);
    configure(&place, "[native]\nhost_share = 5\n");
    place.run("home", ["ls"]).exits(2).says(["config.toml", "unknown key `native.host_share`"]);
}
