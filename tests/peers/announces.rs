//! Announces to opentracker, over HTTP and UDP.

use std::net::SocketAddr;

use offswarm::id::InfoHash;
use offswarm::swarm::guard::{Guard, Origin};
use offswarm::swarm::tracker::{self, Announce, Announced, Event, TrackerError};

use crate::opentracker::Tracker;

/// An announce of one of several peers: each has its own id and port.
fn peer(infohash: InfoHash, number: u8, left: u64) -> Announce {
    let mut peer_id = *b"-OS0100-abcdefghijkl";
    peer_id[19] = number;
    Announce {
        infohash,
        peer_id,
        port: 40_000 + u16::from(number),
        uploaded: 0,
        downloaded: 0,
        left,
        event: Some(Event::Started),
        want: 50,
        key: 7,
        tracker_id: None,
    }
}

async fn announce(guard: &Guard, url: &str, what: &Announce) -> Result<Announced, TrackerError> {
    let tracker = tracker::Tracker::parse(url, Origin::Stranger).unwrap();
    tracker::announce(guard, &tracker, what).await
}

/// Two peers find each other, one completes, one leaves.
async fn meet(first_url: &str, second_url: &str, infohash: InfoHash) {
    let guard = Guard::new().unwrap();
    let at = |peer: &Announce| SocketAddr::from(([127, 0, 0, 1], peer.port));
    let seeder = peer(infohash, 1, 0);
    let alone = announce(&guard, first_url, &seeder).await.unwrap();
    assert_eq!(alone.peers, [], "nobody but ourselves is there");
    assert!(alone.interval.as_secs() >= 60);

    let mut leecher = peer(infohash, 2, 100);
    let found = announce(&guard, second_url, &leecher).await.unwrap();
    assert_eq!(found.peers, [at(&seeder)]);
    assert_eq!((found.seeders, found.leechers), (Some(1), Some(1)));

    (leecher.left, leecher.event) = (0, Some(Event::Completed));
    let complete = announce(&guard, second_url, &leecher).await.unwrap();
    assert_eq!((complete.seeders, complete.leechers), (Some(2), Some(0)));

    leecher.event = Some(Event::Stopped);
    announce(&guard, second_url, &leecher).await.unwrap();
    let again = Announce { event: None, ..seeder };
    let left = announce(&guard, first_url, &again).await.unwrap();
    assert_eq!((left.seeders, left.peers), (Some(1), vec![]));
}

#[tokio::test]
async fn peers_meet_at_opentracker_over_http() {
    let infohash = InfoHash::of(b"http");
    let tracker = Tracker::serving(infohash);
    meet(&tracker.url(), &tracker.url(), infohash).await;
}

#[tokio::test]
async fn peers_meet_at_opentracker_over_udp() {
    let infohash = InfoHash::of(b"udp");
    let tracker = Tracker::serving(infohash);
    meet(&tracker.udp_url(), &tracker.udp_url(), infohash).await;
}

#[tokio::test]
async fn peers_meet_at_opentracker_over_either_protocol() {
    let infohash = InfoHash::of(b"both");
    let tracker = Tracker::serving(infohash);
    meet(&tracker.url(), &tracker.udp_url(), infohash).await;
}

#[tokio::test]
async fn opentracker_refuses_a_swarm_over_either_protocol() {
    let tracker = Tracker::start();
    let guard = Guard::new().unwrap();
    for (url, words) in [(tracker.url(), "not authorized"), (tracker.udp_url(), "no reason")] {
        let refused = announce(&guard, &url, &peer(InfoHash::of(b"unknown"), 1, 0)).await;
        let Err(TrackerError::Refused { reason, .. }) = refused else { panic!("{refused:?}") };
        assert!(reason.contains(words), "{reason}");
    }
}
