//! Announces: what HTTP trackers hear of a torrent and when, and trackers that misbehave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use offswarm::id::InfoHash;
use offswarm::swarm::announce::Identity;
use offswarm::swarm::announce::live::{Live, Progress};
use offswarm::swarm::announce::mass::{Offer, OffersError, Pace, announce_all};
use offswarm::swarm::guard::{Guard, GuardError, Origin};
use offswarm::swarm::tracker::{Announce, Announced, Tracker, TrackerError, announce};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::server::{DEADLINE, Saying, Server, answer};

const US: Identity = Identity { peer_id: *b"-OS0100-abcdefghijkl", port: 6881, key: 7 };

fn what(infohash: InfoHash) -> Announce {
    Announce {
        infohash,
        peer_id: US.peer_id,
        port: US.port,
        uploaded: 0,
        downloaded: 0,
        left: 1,
        event: None,
        want: 50,
        key: US.key,
        tracker_id: None,
    }
}

fn tracker(server: &Server) -> Tracker {
    Tracker::parse(&server.url("/announce"), Origin::Stranger).unwrap()
}

async fn ask(saying: Saying) -> Result<Announced, TrackerError> {
    let server = Server::start(move |_| saying.clone()).await;
    announce(&Guard::new().unwrap(), &tracker(&server), &what(InfoHash::of(b"x"))).await
}

fn reply(body: &[u8]) -> Saying {
    answer("200 OK", &[], body)
}

#[tokio::test]
async fn takes_local_peers_from_a_local_tracker_but_not_itself() {
    let body =
        b"d8:intervali1800e5:peers18:\x7f\0\0\x01\x1a\xe1\x7f\0\0\x01\x1b\x58\x7f\0\0\x01\0\x19e";
    let announced = ask(reply(body)).await.unwrap();
    assert_eq!(announced.peers, ["127.0.0.1:7000".parse::<SocketAddr>().unwrap()]);
    assert_eq!(announced.interval, Duration::from_secs(1800));
}

#[tokio::test]
async fn says_why_an_announce_failed() {
    let error = ask(reply(b"d14:failure reason7:go awaye")).await.unwrap_err();
    assert!(error.to_string().ends_with("refuses the announce: go away"), "{error}");
    let refused = answer("403 Forbidden", &[], b"d14:failure reason7:go awaye");
    assert!(matches!(ask(refused).await, Err(TrackerError::Refused { .. })));
    let error = ask(answer("404 Not Found", &[], b"<html>")).await.unwrap_err();
    assert!(matches!(error, TrackerError::Status { status: 404, .. }), "{error}");
    let error = ask(reply(&b"l".repeat(100_000))).await.unwrap_err();
    assert!(matches!(error, TrackerError::Answer { .. }), "{error}");
    let endless = Saying::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'l'; 65_536]);
    let error = ask(endless).await.unwrap_err();
    assert!(matches!(error, TrackerError::Guard(GuardError::TooLong { .. })), "{error}");
}

fn of<'a>(requests: &'a [String], part: &'a str) -> impl Iterator<Item = &'a String> {
    requests.iter().filter(move |head| head.contains(part))
}

/// A torrent that joins, meets a peer, completes and leaves; one of its trackers is dead.
#[tokio::test]
async fn a_torrent_tells_its_trackers_of_its_life() {
    let server = Server::start(|_| {
        reply(b"d8:intervali1800e10:tracker id3:a&b5:peers6:\x7f\0\0\x01\x1b\x58e")
    })
    .await;
    let dead = Tracker::parse("http://127.0.0.1:1/announce", Origin::Stranger).unwrap();
    let (progress, shown) = watch::channel(Progress { left: 100, ..Progress::default() });
    let (found, mut peers) = mpsc::channel(1);
    let stop = CancellationToken::new();
    let live = Live {
        guard: Guard::new().unwrap(),
        trackers: vec![dead, tracker(&server)],
        infohash: InfoHash::of(b"x"),
        identity: US,
        progress: shown,
        found,
        stop: stop.clone(),
    };
    let running = tokio::spawn(live.run());
    let peer = timeout(DEADLINE, peers.recv()).await.unwrap();
    assert_eq!(peer, Some("127.0.0.1:7000".parse().unwrap()));

    progress.send_modify(|progress| progress.peers = 1);
    progress.send_modify(|progress| (progress.left, progress.downloaded) = (0, 100));
    server.wait_for("completed", |heads| of(heads, "event=completed").count() == 1).await;
    stop.cancel();
    timeout(DEADLINE, running).await.unwrap().unwrap();

    let heads = server.requests();
    assert_eq!(heads.len(), 3, "{heads:#?}");
    assert!(heads[0].contains("&left=100&") && heads[0].contains("event=started"));
    assert!(heads[1].contains("&downloaded=100&left=0&"), "{}", heads[1]);
    assert!(heads[1].contains("&trackerid=a%26b"), "{}", heads[1]);
    assert!(heads[2].contains("event=stopped") && heads[2].contains("&numwant=0&"));
}

#[tokio::test]
async fn a_silent_tracker_does_not_hold_up_the_end() {
    let server = Server::start(|_| Saying::Stall(Vec::new())).await;
    let (progress, shown) = watch::channel(Progress { left: 100, ..Progress::default() });
    let stop = CancellationToken::new();
    let live = Live {
        guard: Guard::new().unwrap(),
        trackers: vec![tracker(&server)],
        infohash: InfoHash::of(b"x"),
        identity: US,
        progress: shown,
        found: mpsc::channel(1).0,
        stop: stop.clone(),
    };
    let running = tokio::spawn(live.run());
    server.wait_for("an announce", |heads| !heads.is_empty()).await;
    stop.cancel();
    // Ten times what the farewell may take, and far below what an announce may.
    timeout(Duration::from_secs(20), running).await.unwrap().unwrap();
    assert_eq!(of(&server.requests(), "event=stopped").count(), 1);
    drop(progress);
}

/// A thousand torrents in pages, round after round; another tracker of theirs is dead.
#[tokio::test]
async fn a_catalog_is_announced_again_and_again() {
    const TORRENTS: usize = 1_000;
    let server = Server::start(|_| reply(b"d8:intervali1800e5:peers0:e")).await;
    let dead = Tracker::parse("http://127.0.0.1:1/announce", Origin::Stranger).unwrap();
    let trackers = vec![dead, tracker(&server)];
    let mut all: Vec<_> = (0..TORRENTS).map(|n| InfoHash::of(&n.to_le_bytes())).collect();
    all.sort_unstable();
    let offers = move |after: Option<InfoHash>, at_most: usize| -> Result<_, OffersError> {
        let rest = all.iter().filter(|hash| Some(**hash) > after).take(at_most);
        let offer = |infohash: &InfoHash| Offer {
            infohash: *infohash,
            trackers: trackers.clone(),
            carried: None,
        };
        Ok(rest.map(offer).collect::<Vec<_>>())
    };
    let stop = CancellationToken::new();
    let round = Duration::from_millis(1)..=Duration::from_millis(2);
    let pace = Pace { per_second: 100_000, at_once: 8, round, ..Pace::default() };
    let guard = Guard::new().unwrap();
    let running = tokio::spawn(announce_all(guard, Arc::new(offers), US, pace, stop.clone()));
    let started = |heads: &[String]| of(heads, "event=started").count();
    let rounds = |heads: &[String]| heads.len() >= 2 * TORRENTS && started(heads) == TORRENTS;
    server.wait_for("two rounds", rounds).await;
    stop.cancel();
    timeout(DEADLINE, running).await.unwrap().unwrap();
    let hash = |head: &String| head.split('&').next().unwrap().to_owned();
    let different: std::collections::BTreeSet<_> =
        server.requests().iter().take(TORRENTS).map(hash).collect();
    assert!(different.len() > TORRENTS - 8, "a round brings each torrent once");
}

/// The action and the transaction id of a datagram to a tracker.
fn head(datagram: &[u8]) -> (u32, [u8; 4]) {
    (u32::from_be_bytes(datagram[8..12].try_into().unwrap()), datagram[12..16].try_into().unwrap())
}

/// A tracker over UDP whose answers another program tries to forestall.
#[tokio::test]
async fn a_udp_tracker_is_heard_only_from_its_own_address_and_connected_to_once() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let liar = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let serve = async {
        let (mut actions, mut datagram) = (Vec::new(), [0; 2_048]);
        while actions.len() < 3 {
            let (_, from) = socket.recv_from(&mut datagram).await.unwrap();
            let (action, transaction) = head(&datagram);
            let lie = [&3_u32.to_be_bytes()[..], &transaction, b"go away"].concat();
            liar.send_to(&lie, from).await.unwrap();
            let rest = match action {
                0 => vec![9; 8],
                _ => b"\0\0\x07\x08\0\0\0\0\0\0\0\x01\x7f\0\0\x01\x1b\x58".to_vec(),
            };
            let truth = [&action.to_be_bytes()[..], &transaction, &rest].concat();
            socket.send_to(&truth, from).await.unwrap();
            actions.push(action);
        }
        actions
    };
    let ask = async {
        let guard = Guard::new().unwrap();
        let tracker = Tracker::parse(&format!("udp://{address}"), Origin::Stranger).unwrap();
        for _ in 0..2 {
            let told = announce(&guard, &tracker, &what(InfoHash::of(b"x"))).await.unwrap();
            assert_eq!(told.peers, ["127.0.0.1:7000".parse::<SocketAddr>().unwrap()]);
        }
    };
    let (actions, ()) = timeout(DEADLINE, async { tokio::join!(serve, ask) }).await.unwrap();
    assert_eq!(actions, [0, 1, 1]);
}
