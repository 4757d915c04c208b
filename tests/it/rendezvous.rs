//! From a bare OFF URL to its blocks, in a DHT of our own nodes on loopback.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use offswarm::id::{BlockId, InfoHash};
use offswarm::krpc::driver::{Dht, News, Options};
use offswarm::krpc::item::{Item, MutableItem};
use offswarm::krpc::machine::{Aim, Nothing};
use offswarm::krpc::rendezvous::{Record, item_secret, read_salts, record_item, url_swarm};
use offswarm::off::OffUrl;
use offswarm::swarm::announce::dht::{Announcer, Carried, say_all, unix};
use offswarm::swarm::announce::mass::Offer;
use tokio_util::sync::CancellationToken;

use crate::program::{Place, Ran, Seeder, Watched, noise};

const DAY: u64 = 86_400;

fn node(listen: SocketAddr, bootstrap: &[SocketAddr]) -> Dht {
    let options = Options {
        listen: vec![listen],
        read_only: false,
        native_port: 0,
        bootstrap: bootstrap.iter().map(ToString::to_string).collect(),
        state: None,
        known: Vec::new(),
        holdings: Arc::new(Nothing),
    };
    Dht::start(options).unwrap()
}

/// Nodes that know each other.
async fn network(listen: SocketAddr, nodes: usize) -> Vec<Dht> {
    let mut network: Vec<Dht> = Vec::new();
    for _ in 0..nodes {
        let known: Vec<_> = network.iter().take(2).flat_map(Dht::addresses).copied().collect();
        network.push(node(listen, &known));
        let joined = network.last().unwrap();
        joined.search(Aim::Nodes(InfoHash::of(b"x").target()), Vec::new()).await.outcome().await;
    }
    network
}

fn here() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// The program with one node of the DHT.
fn joined(mut command: Command, node: &Dht) -> Command {
    command.env_remove("OFFSWARM_NO_DHT");
    command.args(["--listen", "127.0.0.1:0", "--dht-bootstrap"]);
    command.arg(node.addresses()[0].to_string());
    command
}

fn share(place: &Place, home: &str, file: &str, node: &Dht) -> Seeder {
    let command = place.command(home, ["share", "--bare", place.path(file).to_str().unwrap()]);
    Seeder::start(joined(command, node))
}

fn get(place: &Place, home: &str, url: &str, node: &Dht, more: &[&str]) -> Ran {
    let mut command = joined(place.command(home, ["get", url, "-o", "out", "--force"]), node);
    Ran(command.args(more).output().unwrap())
}

fn descriptor(url: &str) -> BlockId {
    OffUrl::parse(url).unwrap().descriptor().unwrap()
}

async fn put(node: &Dht, item: MutableItem) -> u32 {
    let aim = Aim::Put { item: Item::Mutable(item), cas: None };
    node.search(aim, Vec::new()).await.outcome().await.stored
}

/// Waits until the record of a URL is in the DHT.
async fn record(node: &Dht, url: &str) -> MutableItem {
    record_of(node, descriptor(url)).await
}

async fn record_of(node: &Dht, descriptor: BlockId) -> MutableItem {
    let key = item_secret(&descriptor).key();
    loop {
        let [salt, _] = read_salts(unix());
        let target = MutableItem::target_of(&key, &salt);
        let mut search = node.search(Aim::Item { target, salt }, Vec::new()).await;
        while let Some(news) = search.next().await {
            if let News::Item(Item::Mutable(item)) = news {
                return item;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_bare_url_is_enough_whoever_seeds_it() {
    let (place, nodes) = (Place::new(), network(here(), 4).await);
    place.file("file", 400_000);
    let sharing = share(&place, "a", "file", &nodes[0]);
    assert!(!sharing.url.contains('?') || !sharing.url.contains("btih"), "{}", sharing.url);
    get(&place, "b", &sharing.url, &nodes[1], &["--timeout", "60s"]).ok();
    assert!(fs::read(place.path("out")).unwrap() == noise(400_000));
    let url = sharing.url.clone();
    drop(sharing);
    // Who got it can seed it on, and a third finds that one.
    let seeding = Seeder::start(joined(place.command("b", ["seed", "--bare"]), &nodes[2]));
    assert_eq!(seeding.url, url);
    get(&place, "c", &url, &nodes[3], &["--timeout", "60s"]).ok();
    assert_eq!(seeding.signal("TERM"), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_bare_url_of_version_3_is_enough() {
    let (place, nodes) = (Place::new(), network(here(), 4).await);
    let file = place.file("file", 400_000);
    let put = place.run("a", ["put", "--v3", file.to_str().unwrap()]).ok().stdout();
    let url = put.trim();
    place.run("a", ["publish", url]).ok();
    let seeding = Seeder::start(joined(place.command("a", ["seed", "--bare"]), &nodes[0]));
    assert_eq!(seeding.url, url);
    get(&place, "b", url, &nodes[1], &["--swarm-only", "--timeout", "60s"]).ok();
    assert!(fs::read(place.path("out")).unwrap() == noise(400_000));
}

/// What was known the last time is enough to get into the network: no entry answers any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_table_survives_a_restart() {
    let (place, nodes) = (Place::new(), network(here(), 4).await);
    place.file("file", 1);
    let sharing = share(&place, "a", "file", &nodes[0]);
    get(&place, "b", &sharing.url, &nodes[1], &["--timeout", "60s"]).ok();
    place.run("b", ["rm", &sharing.url]).ok();
    let mut command = place.command("b", ["get", &sharing.url, "-o", "again", "--timeout", "60s"]);
    command.env_remove("OFFSWARM_NO_DHT").args(["--dht-bootstrap", "127.0.0.1:9"]);
    Ran(command.args(["--listen", "127.0.0.1:0"]).output().unwrap()).ok();
}

/// Who knows a URL can write any record for it. Here one leads to another torrent; the true one is
/// found beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn false_records_are_followed_and_given_up() {
    let (place, nodes) = (Place::new(), network(here(), 4).await);
    place.file("file", 400_000);
    place.file("other", 400_001);
    let other = share(&place, "c", "other", &nodes[3]);
    let sharing = share(&place, "a", "file", &nodes[0]);
    let wrong = record(&nodes[1], &other.url).await;
    let wrong = Record::decode(wrong.value().as_bytes()).unwrap();
    // Under the salt of yesterday, which is read as well and which the true publisher leaves alone.
    let yesterday = record_item(&descriptor(&sharing.url), &wrong, unix() - DAY).unwrap();
    assert!(put(&nodes[1], yesterday).await > 0);
    record(&nodes[1], &sharing.url).await;
    get(&place, "b", &sharing.url, &nodes[2], &["--timeout", "60s"]).ok();
    assert!(fs::read(place.path("out")).unwrap() == noise(400_000));
}

/// All blocks of the torrent come, and they are not the URL's: other torrents are waited for that the
/// DHT may name, but not until the end of all patience.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_url_with_a_wrong_key_is_told_from_one_that_nobody_has() {
    let (place, nodes) = (Place::new(), network(here(), 4).await);
    place.file("file", 400_000);
    let sharing = share(&place, "a", "file", &nodes[0]);
    let key = |url: &str| url.split("k=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let other = place.put("c", &place.path("file"));
    let wrong = sharing.url.replace(&key(&sharing.url), &key(&other));
    let started = Instant::now();
    get(&place, "b", &wrong, &nodes[1], &[]).exits(5);
    assert!(started.elapsed().as_secs() < 40, "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_nobody_has_is_not_found_in_time() {
    let (place, nodes) = (Place::new(), network(here(), 4).await);
    let file = place.file("file", 400_000);
    let url = place.put("a", &file);
    let started = Instant::now();
    let ran = get(&place, "b", &url, &nodes[0], &["--timeout", "3s"]).exits(4);
    ran.says(["the store", "the DHT (", "nodes known)"]);
    assert!(started.elapsed().as_secs() < 15, "{:?}", started.elapsed());
    // Without a network it ends as well, and says so.
    let mut command = place.command("c", ["get", &url, "-o", "out", "--timeout", "3s"]);
    command.env_remove("OFFSWARM_NO_DHT").args(["--dht-bootstrap", "127.0.0.1:9"]);
    let ran = Ran(command.args(["--listen", "127.0.0.1:0"]).output().unwrap());
    ran.exits(4).says(["the DHT (0 nodes known)"]);
    place.run("b", ["get", &url, "-o", "out"]).exits(4).says(["the DHT is not asked"]);
}

/// More torrents than are announced one by one are said in rounds, each with its URL.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_catalog_is_in_the_dht_too() {
    let nodes = network(here(), 4).await;
    let block = |number: u8| BlockId::of(&[number]);
    let offers = move |after: Option<InfoHash>, _: usize| {
        let all = (0..5).map(|number| {
            let carried = Some(Carried { descriptor: block(number), blocks: 7 });
            Offer { infohash: InfoHash::of(&[number]), trackers: Vec::new(), carried }
        });
        let mut page: Vec<_> = all.filter(|offer| Some(offer.infohash) > after).collect();
        page.sort_by_key(|offer| offer.infohash);
        page.truncate(2);
        Ok(page)
    };
    let stop = CancellationToken::new();
    let saying = node(here(), nodes[0].addresses());
    let announcer = Arc::new(Announcer::new(saying, 7_777, true));
    let said = tokio::spawn(say_all(announcer, Arc::new(offers), stop.clone()));
    for number in 0..5 {
        let item = record_of(&nodes[1], block(number)).await;
        let wanted = Record { infohash: InfoHash::of(&[number]), blocks: 7 };
        assert_eq!(Record::decode(item.value().as_bytes()), Some(wanted));
        for infohash in [wanted.infohash, url_swarm(&block(number))] {
            while !has_peer(&nodes[2], infohash, (Ipv4Addr::LOCALHOST, 7_777).into()).await {}
        }
    }
    stop.cancel();
    said.await.unwrap();
}

/// Whether a peer of a swarm is found.
async fn has_peer(node: &Dht, infohash: InfoHash, peer: SocketAddr) -> bool {
    let mut search = node.search(Aim::Peers { infohash, ids: Vec::new() }, Vec::new()).await;
    while let Some(news) = search.next().await {
        if matches!(&news, News::Peers { peers, .. } if peers.contains(&peer)) {
            return true;
        }
    }
    false
}

/// Who knows no node of the DHT hears of one from its peers (BEP 5, PORT).
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn peers_tell_each_other_of_their_nodes() {
    let (place, nodes) = (Place::new(), network(here(), 4).await);
    place.file("file", 1);
    let sharing = share(&place, "a", "file", &nodes[0]);
    get(&place, "b", &sharing.url, &nodes[1], &["--timeout", "60s"]).ok();
    fs::remove_file(place.path("b").join("dht.state")).unwrap();
    let address = TcpListener::bind(here()).unwrap().local_addr().unwrap().to_string();
    let mut seed = place.command("b", ["seed", "--dht-bootstrap", "127.0.0.1:9"]);
    seed.env_remove("OFFSWARM_NO_DHT").args(["--listen", &address]);
    let mut seeding = Watched::start(seed);
    let mut other = joined(place.command("c", ["get", &sharing.url, "-o", "c.out"]), &nodes[2]);
    other.args(["--peer", &address, "--timeout", "60s"]);
    drop(sharing);
    Ran(other.output().unwrap()).ok();
    // A node that only asks has no port to tell; one that stays has.
    let staying = place.command("c", ["seed", "--peer", &address]);
    let staying = Seeder::start(joined(staying, &nodes[3]));
    seeding.wait(|told| told["dht_nodes"].as_u64().filter(|nodes| *nodes > 0));
    drop((staying, seeding));
}

/// Somebody has the UDP port of the number of our TCP port: another one does as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn another_udp_port_is_taken_if_ours_is_not_free() {
    let (place, nodes) = (Place::new(), network(here(), 4).await);
    place.file("file", 1);
    let taken = UdpSocket::bind(here()).unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let mut command = place.command("a", ["share", "--bare", "--listen", &listen]);
    command.env_remove("OFFSWARM_NO_DHT").arg("--dht-bootstrap");
    command.arg(nodes[0].addresses()[0].to_string()).arg(place.path("file"));
    let sharing = Seeder::start(command);
    get(&place, "b", &sharing.url, &nodes[1], &["--timeout", "60s"]).ok();
}

/// A search that begins before the name of the only entry has an address waits for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn entries_may_have_names() {
    let nodes = network(here(), 2).await;
    let options = Options {
        listen: vec![here()],
        read_only: true,
        native_port: 0,
        bootstrap: vec![format!("localhost:{}", nodes[0].addresses()[0].port())],
        state: None,
        known: Vec::new(),
        holdings: Arc::new(Nothing),
    };
    let asker = Dht::start(options).unwrap();
    let search = asker.search(Aim::Nodes(InfoHash::of(b"x").target()), Vec::new()).await;
    assert_eq!(search.outcome().await.closest.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ipv6_is_a_network_of_its_own() {
    let nodes = network((Ipv6Addr::LOCALHOST, 0).into(), 4).await;
    let infohash = InfoHash::of(b"over IPv6");
    let announce = Aim::Announce { infohash, port: 6881, seed: true };
    let outcome = nodes[0].search(announce, Vec::new()).await.outcome().await;
    assert!(outcome.stored > 0 && outcome.closest.iter().all(|node| node.address.is_ipv6()));
    assert!(has_peer(&nodes[3], infohash, (Ipv6Addr::LOCALHOST, 6881).into()).await);
}
