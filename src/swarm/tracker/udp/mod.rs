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
//! [`Exchange`](machine::Exchange) has no socket and no clock; [`announce`] drives one. A tracker with addresses of
//! both families is asked by both: each tells only of peers of its own.

pub mod machine;
pub mod message;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;
use tokio::time::{Instant as Clock, timeout_at};

use super::{Announce, Announced, Tracker, TrackerError};
use crate::limits::{ANNOUNCE_DEADLINE, MAX_TOLD_PEERS};
use crate::swarm::guard::Guard;
use machine::{Exchange, Heard, Step};
use message::{Request, url_data};

/// Bytes of the largest datagram that is looked at: 200 peers over IPv6 take 3,620.
const DATAGRAM_LEN: usize = 8_192;

/// Announces to a UDP tracker.
pub(super) async fn announce(
    guard: &Guard,
    tracker: &Tracker,
    what: &Announce,
) -> Result<Announced, TrackerError> {
    let found = guard.resolve(tracker.url(), tracker.origin()).await?;
    let v4 = found.iter().find(|address| address.is_ipv4()).copied();
    let v6 = found.iter().find(|address| address.is_ipv6()).copied();
    let ask = async |address: Option<SocketAddr>| match address {
        Some(address) => Some(exchange(guard, tracker, address, what).await),
        None => None,
    };
    match tokio::join!(ask(v4), ask(v6)) {
        (Some(Ok(mut one)), Some(Ok(other))) => {
            let new = other.peers.into_iter().filter(|peer| !one.peers.contains(peer));
            let new: Vec<_> = new.collect();
            one.peers.extend(new);
            one.peers.truncate(MAX_TOLD_PEERS);
            Ok(one)
        }
        (Some(Ok(one)), _) | (_, Some(Ok(one))) => Ok(one),
        (Some(Err(error)), _) | (None, Some(Err(error))) => Err(error),
        (None, None) => {
            let source = std::io::ErrorKind::AddrNotAvailable.into();
            Err(TrackerError::Datagrams { tracker: tracker.to_string(), source })
        }
    }
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
