//! The announce over UDP (BEP 15, with the URL's path and query as in BEP 41).
//!
//! Integers are big-endian. A `connect` proves our address and gets a connection id, which is good
//! for a minute; an `announce` carries it.
//!
//! | datagram | fields |
//! |---|---|
//! | connect | 0x41727101980: u64, 0: u32, transaction: u32 |
//! | its answer | 0: u32, transaction: u32, connection: u64 |
//! | announce | connection: u64, 1: u32, transaction: u32, infohash: 20, peer id: 20, downloaded: u64, left: u64, uploaded: u64, event: u32, 0: u32, key: u32, want: u32, port: u16, options |
//! | its answer | 1: u32, transaction: u32, interval: u32, leechers: u32, seeders: u32, peers |
//! | an error | 3: u32, transaction: u32, text |
//!
//! A peer takes 6 bytes, or 18 if the tracker was asked over IPv6. What is not answered is sent
//! again after 15, 30, ... seconds, until a minute is over in all. An answer counts only from the
//! address that was asked (the socket is connected to it) and with the transaction id.
//!
//! [`Exchange`] has no socket and no clock; this module drives one. A tracker with addresses of
//! both families is asked over both, because each may tell only of peers of its own; once one has
//! answered, the other gets two more seconds.

pub mod machine;
pub mod message;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant as Clock, timeout, timeout_at};

use super::{Announce, Announced, Tracker, TrackerError};
use crate::limits::{ANNOUNCE_DEADLINE, MAX_TOLD_PEERS};
use crate::swarm::guard::Guard;
use machine::{Exchange, Heard, Step};
use message::{Request, url_data};

/// Bytes of the largest datagram that is looked at: 200 peers over IPv6 take 3,620.
const DATAGRAM_LEN: usize = 8_192;

/// How long the tracker's address of one family has after that of the other has answered.
const OTHER_FAMILY_DEADLINE: Duration = Duration::from_secs(2);

/// Announces to a UDP tracker.
pub(super) async fn announce(
    guard: &Guard,
    tracker: &Tracker,
    what: &Announce,
) -> Result<Announced, TrackerError> {
    let found = guard.resolve(tracker.url(), tracker.origin()).await?;
    let v4 = found.iter().find(|address| address.is_ipv4()).copied();
    let v6 = found.iter().find(|address| address.is_ipv6()).copied();
    let ask = |address| exchange(guard, tracker, address, what);
    match (v4, v6) {
        (Some(v4), Some(v6)) => either(ask(v4), ask(v6)).await,
        (Some(only), None) | (None, Some(only)) => ask(only).await,
        (None, None) => {
            let source = std::io::ErrorKind::AddrNotAvailable.into();
            Err(TrackerError::Datagrams { tracker: tracker.to_string(), source })
        }
    }
}

type Answer = Result<Announced, TrackerError>;

/// What either of two exchanges brings, or both of them if they take about as long.
async fn either(v4: impl Future<Output = Answer>, v6: impl Future<Output = Answer>) -> Answer {
    tokio::pin!(v4, v6);
    let (first, second) = tokio::select! {
        first = &mut v4 => match first {
            Ok(first) => (first, timeout(OTHER_FAMILY_DEADLINE, v6).await),
            Err(error) => return v6.await.map_err(|_| error),
        },
        first = &mut v6 => match first {
            Ok(first) => (first, timeout(OTHER_FAMILY_DEADLINE, v4).await),
            Err(_) => return v4.await,
        },
    };
    Ok(match second {
        Ok(Ok(second)) => both(first, second),
        Ok(Err(_)) | Err(_) => first,
    })
}

fn both(mut first: Announced, second: Announced) -> Announced {
    for peer in second.peers {
        if first.peers.len() < MAX_TOLD_PEERS && !first.peers.contains(&peer) {
            first.peers.push(peer);
        }
    }
    first
}

/// Drives one exchange with one address.
async fn exchange(
    guard: &Guard,
    tracker: &Tracker,
    address: SocketAddr,
    what: &Announce,
) -> Result<Announced, TrackerError> {
    let failed = |source| TrackerError::Datagrams { tracker: tracker.to_string(), source };
    let any = match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await.map_err(failed)?;
    socket.connect(address).await.map_err(failed)?;
    let ours = socket.local_addr().map_err(failed)?.ip();
    let now = || Clock::now().into_std();
    let known = guard.connections().get(address, now());
    let request = Request { what, url_data: url_data(tracker.url()), ipv6: address.is_ipv6() };
    let mut exchange = Exchange::new(request, rand::random(), known, now());
    let mut datagram = vec![0; DATAGRAM_LEN];
    loop {
        let until = match exchange.poll(now()) {
            Step::Send(bytes) => {
                socket.send(&bytes).await.map_err(failed)?;
                continue;
            }
            Step::Wait(until) => until,
            Step::GaveUp => {
                let (tracker, waited) = (tracker.to_string(), ANNOUNCE_DEADLINE);
                return Err(TrackerError::Silent { tracker, waited });
            }
        };
        let Ok(received) = timeout_at(Clock::from_std(until), socket.recv(&mut datagram)).await
        else {
            continue;
        };
        let length = received.map_err(failed)?;
        let heard = exchange.handle(datagram.get(..length).unwrap_or_default(), now());
        let tracker = || tracker.to_string();
        match heard {
            Heard::Nothing => {}
            Heard::Connected(id) => guard.connections().put(address, id, now()),
            Heard::Forget => guard.connections().forget(address),
            Heard::Answer(reply) => return Ok(reply.believed(what, address.ip(), &[ours])),
            Heard::Refused(reason) => {
                return Err(TrackerError::Refused { tracker: tracker(), reason });
            }
            Heard::Nonsense(source) => {
                return Err(TrackerError::Answer { tracker: tracker(), source });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Reply;
    use super::super::tests::an_announce;
    use super::*;
    use std::future::{pending, ready};

    fn told(peer: &str) -> Announced {
        let reply = Reply { peers: vec![peer.parse().unwrap()], ..Reply::default() };
        reply.believed(&an_announce(), "198.51.100.1".parse().unwrap(), &[])
    }

    fn silent() -> Answer {
        Err(TrackerError::Silent { tracker: "t".into(), waited: ANNOUNCE_DEADLINE })
    }

    #[tokio::test]
    async fn takes_the_peers_of_both_families() {
        let (v4, v6) = (told("203.0.113.5:7000"), told("[2001:db8::5]:7000"));
        let mut found = either(ready(Ok(v4)), ready(Ok(v6))).await.unwrap().peers;
        found.sort_unstable();
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[tokio::test]
    async fn one_family_is_enough() {
        let one = told("203.0.113.5:7000");
        let of = async |v4, v6| either(ready(v4), ready(v6)).await.ok();
        assert_eq!(of(Ok(one.clone()), silent()).await, Some(one.clone()));
        assert_eq!(of(silent(), Ok(one.clone())).await, Some(one.clone()));
        assert_eq!(of(silent(), silent()).await, None);
        assert_eq!(either(ready(Ok(one.clone())), pending()).await.ok(), Some(one));
    }
}
