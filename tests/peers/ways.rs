//! Ways to the blocks that the command line and links name: trackers of both kinds, web seeds.

use std::fs;

use offswarm::torrent::magnet::Magnet;
use offswarm::torrent::metainfo::{Metainfo, content_name};
use serde_json::Value;

use crate::common::{Home, Seeder};
use crate::journey::{BLOCK_AND_BYTE, Journey, MANY_BLOCKS, text};
use crate::lighttpd::Server;
use crate::opentracker::Tracker;

/// The seeder announces at one URL, and who gets the file is told another, and nothing else.
fn by_tracker(announces: impl Fn(&Tracker) -> String, asks: impl Fn(&Tracker) -> String) {
    let journey = Journey::of(BLOCK_AND_BYTE);
    let shared = journey.share();
    let mut url = shared.url.clone();
    let infohash = url.hints.infohash.unwrap();
    shared.stop();
    let tracker = Tracker::serving(infohash);
    let seeder = journey.seed_with(&["--tracker", &announces(&tracker)]);
    assert_eq!(seeder.url.hints.trackers, Vec::<String>::new());
    tracker.wait_for_a_seed(infohash);
    (url.hints.peers, url.hints.trackers) = (Vec::new(), Vec::new());

    let home = Home::new();
    let copy = home.beside("copy.txt");
    let args = ["--tracker", &asks(&tracker), "--timeout", "90s"];
    let got = home.get(&url.to_string(), &copy, &args);
    assert!(got.status.success(), "{}", text(&got.stderr));
    journey.check_copy(&copy);
    seeder.stop();
}

#[test]
fn a_seeder_is_found_by_an_http_tracker() {
    by_tracker(Tracker::url, Tracker::url);
}

#[test]
fn a_seeder_is_found_by_a_udp_tracker() {
    by_tracker(Tracker::udp_url, Tracker::udp_url);
}

#[test]
fn a_seeder_at_an_http_tracker_is_found_over_udp() {
    by_tracker(Tracker::url, Tracker::udp_url);
}

/// A server with the content file of a journey, whose seeder is gone, and a link without peers.
fn on_a_server(journey: &Journey) -> (Server, String) {
    let server = Server::start();
    let seeder = journey.share();
    let mut url = seeder.url.clone();
    seeder.stop();
    fs::write(server.path(&content_name(url.descriptor().unwrap())), journey.blocks(&url)).unwrap();
    url.hints.peers.clear();
    (server, url.to_string())
}

fn get_from_server(journey: &Journey, link: &str, args: &[&str]) {
    let (home, torrent) = (Home::new(), journey.torrent());
    let copy = home.beside("copy.txt");
    let torrent = ["--timeout", "90s", "--torrent", torrent.to_str().unwrap()];
    let got = home.get(link, &copy, &[&torrent[..], args].concat());
    assert!(got.status.success(), "{}", text(&got.stderr));
    journey.check_copy(&copy);
    let told: Value = serde_json::from_slice(&got.stdout).unwrap();
    let bytes = told["blocks_swarm"].as_u64().unwrap() * 131_072;
    let received = told["bytes_received"].as_u64().unwrap();
    assert!(received >= bytes && received <= bytes + bytes / 50, "{told}");
}

#[test]
fn a_web_seed_that_the_user_names_is_enough() {
    let journey = Journey::of(MANY_BLOCKS);
    let (server, link) = on_a_server(&journey);
    get_from_server(&journey, &link, &["--web-seed", &server.url("")]);
}

#[test]
fn a_web_seed_that_the_link_names_is_enough() {
    let journey = Journey::of(MANY_BLOCKS);
    let (server, link) = on_a_server(&journey);
    let escaped = server.url("").replace(':', "%3A").replace('/', "%2F");
    get_from_server(&journey, &format!("{link}&ws={escaped}"), &[]);
}

#[test]
fn what_is_shared_names_its_web_seed() {
    let journey = Journey::of(BLOCK_AND_BYTE);
    let web_seed = "http://127.0.0.1:7000/folder/";
    let seeder = journey.share_with(&["--web-seed", web_seed]);
    let check = |seeder: &Seeder| {
        assert_eq!(seeder.url.hints.web_seeds, [web_seed]);
        let magnet = Magnet::parse(&seeder.magnet).unwrap();
        assert_eq!(magnet.web_seeds, [web_seed]);
    };
    check(&seeder);
    let torrent = Metainfo::decode(&fs::read(journey.torrent()).unwrap()).unwrap();
    assert_eq!(torrent.web_seeds, [web_seed]);
    seeder.stop();
    // It is remembered.
    check(&journey.seed(&[]));
}
