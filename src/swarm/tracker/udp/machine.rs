//! One exchange with one address, as a machine without socket and clock.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

use super::super::{AnswerError, Reply};
use super::message::{
    ANNOUNCE, CONNECT, ERROR, Reader, Request, decode_announced, encode_announce, encode_connect,
};
use crate::id::excerpt;
use crate::limits::{ANNOUNCE_DEADLINE, MAX_UDP_CONNECTIONS, UDP_CONNECTION_LIFE};

/// How long the first transmission waits for its answer; each further one waits twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(15);

/// What an exchange wants next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send this to the tracker, then ask again.
    Send(Vec<u8>),
    /// Hand in what arrives, and ask again at this time.
    Wait(Instant),
    /// Its minute is over.
    GaveUp,
}

/// What a datagram meant to an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It is no answer to what was asked.
    Nothing,
    /// A connection id to remember.
    Connected(u64),
    /// The remembered connection id is not accepted any more.
    Forget,
    /// The answer to the announce.
    Answer(Reply),
    /// The tracker refuses, for a reason cut to 80 characters.
    Refused(String),
    /// The right answer in the wrong form.
    Nonsense(AnswerError),
}

/// One announce to one address: a machine without socket and clock.
#[derive(Debug)]
pub struct Exchange<'a> {
    request: Request<'a>,
    transaction: u32,
    connection: Option<Connection>,
    /// Whether the connection id was remembered from an earlier exchange.
    remembered: bool,
    waits: VecDeque<Duration>,
    next: Instant,
    deadline: Instant,
}

impl<'a> Exchange<'a> {
    /// An exchange that starts now. `transaction` is random; `known` is the connection id that the
    /// tracker gave within the last minute, if any.
    #[must_use]
    pub fn new(
        request: Request<'a>,
        transaction: u32,
        known: Option<Connection>,
        now: Instant,
    ) -> Self {
        let deadline = now + ANNOUNCE_DEADLINE;
        Self {
            request,
            transaction,
            connection: known,
            remembered: known.is_some(),
            waits: waits(),
            next: now,
            deadline,
        }
    }

    /// What to do now.
    pub fn poll(&mut self, now: Instant) -> Step {
        if now >= self.deadline {
            return Step::GaveUp;
        }
        if now < self.next {
            return Step::Wait(self.next.min(self.deadline));
        }
        let unanswered = self.waits.len() < waits().len();
        let stale = self.connection.is_some_and(|connection| !connection.is_good(now));
        if stale || (self.remembered && unanswered) {
            self.connect_anew(now);
        }
        self.next = now + self.waits.pop_front().unwrap_or(ANNOUNCE_DEADLINE);
        Step::Send(match self.connection {
            Some(connection) => encode_announce(connection.id, self.transaction, &self.request),
            None => encode_connect(self.transaction),
        })
    }

    /// Takes a datagram from the tracker's address.
    pub fn handle(&mut self, datagram: &[u8], now: Instant) -> Heard {
        let mut reader = Reader(datagram);
        let (Some(action), Some(transaction)) = (reader.u32(), reader.u32()) else {
            return Heard::Nothing;
        };
        if transaction != self.transaction {
            return Heard::Nothing;
        }
        match (action, self.connection) {
            (ERROR, Some(_)) if self.remembered => {
                self.connect_anew(now);
                Heard::Forget
            }
            (ERROR, _) => Heard::Refused(excerpt(&String::from_utf8_lossy(reader.0))),
            (CONNECT, None) => match reader.u64() {
                Some(id) => {
                    self.connection = Some(Connection { id, since: now });
                    self.begin_phase(now);
                    Heard::Connected(id)
                }
                None => Heard::Nonsense(AnswerError::Form("its connection id is cut short")),
            },
            // So opentracker answers for a swarm that it does not serve.
            (ANNOUNCE, Some(_)) if reader.0.is_empty() => {
                Heard::Refused("it gives no reason".into())
            }
            (ANNOUNCE, Some(_)) => match decode_announced(reader, self.request.ipv6) {
                Some(reply) => Heard::Answer(reply),
                None => Heard::Nonsense(AnswerError::Form("it is cut short")),
            },
            _ => Heard::Nothing,
        }
    }

    fn connect_anew(&mut self, now: Instant) {
        self.connection = None;
        self.remembered = false;
        self.begin_phase(now);
    }

    fn begin_phase(&mut self, now: Instant) {
        self.transaction = self.transaction.wrapping_add(1);
        self.waits = waits();
        self.next = now;
    }
}

/// How long each transmission waits for its answer, within [`ANNOUNCE_DEADLINE`].
fn waits() -> VecDeque<Duration> {
    [FIRST_WAIT, FIRST_WAIT * 2, FIRST_WAIT * 4].into()
}

/// The connection ids that trackers gave, by their address.
#[derive(Debug)]
pub struct Connections(Mutex<LruCache<SocketAddr, Connection>>);

/// A connection id and when it was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    id: u64,
    since: Instant,
}

impl Default for Connections {
    fn default() -> Self {
        let most = NonZeroUsize::new(MAX_UDP_CONNECTIONS).unwrap_or(NonZeroUsize::MIN);
        Self(Mutex::new(LruCache::new(most)))
    }
}

impl Connections {
    pub(super) fn get(&self, tracker: SocketAddr, now: Instant) -> Option<Connection> {
        let known = self.lock().get(&tracker).copied()?;
        known.is_good(now).then_some(known)
    }

    pub(super) fn put(&self, tracker: SocketAddr, id: u64, now: Instant) {
        self.lock().put(tracker, Connection { id, since: now });
    }

    pub(super) fn forget(&self, tracker: SocketAddr) {
        self.lock().pop(&tracker);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LruCache<SocketAddr, Connection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    fn is_good(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < UDP_CONNECTION_LIFE
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Announce;
    use super::super::super::tests::an_announce;
    use super::super::message::PROTOCOL;
    use super::*;
    use proptest::prelude::*;

    const ID: u64 = 0x0102_0304_0506_0708;

    fn request(what: &Announce) -> Request<'_> {
        Request { what, url_data: String::new(), ipv6: false }
    }

    fn answer(action: u32, transaction: u32, rest: &[u8]) -> Vec<u8> {
        [&action.to_be_bytes()[..], &transaction.to_be_bytes(), rest].concat()
    }

    /// The datagram it sends now: its first field, action and transaction id.
    fn sent(exchange: &mut Exchange<'_>, now: Instant) -> (u64, u32, u32) {
        let Step::Send(bytes) = exchange.poll(now) else { panic!("nothing to send") };
        let mut reader = Reader(&bytes);
        (reader.u64().unwrap(), reader.u32().unwrap(), reader.u32().unwrap())
    }

    const ANNOUNCED: &[u8] = b"\0\0\x07\x08\0\0\0\x03\0\0\0\x05\xcb\0\x71\x05\x1a\xe1cut";

    #[test]
    fn connects_announces_and_hears_of_peers() {
        let (what, now) = (an_announce(), Instant::now());
        let mut exchange = Exchange::new(request(&what), 7, None, now);
        assert_eq!(sent(&mut exchange, now), (PROTOCOL, CONNECT, 7));
        assert!(matches!(exchange.poll(now), Step::Wait(until) if until == now + FIRST_WAIT));
        let heard = exchange.handle(&answer(CONNECT, 7, &ID.to_be_bytes()), now);
        assert_eq!(heard, Heard::Connected(ID));
        assert_eq!(sent(&mut exchange, now), (ID, ANNOUNCE, 8));
        let Heard::Answer(reply) = exchange.handle(&answer(ANNOUNCE, 8, ANNOUNCED), now) else {
            panic!("no answer")
        };
        assert_eq!(reply.interval, Some(1800));
        assert_eq!((reply.leechers, reply.seeders), (Some(3), Some(5)));
        assert_eq!(reply.peers, ["203.0.113.5:6881".parse().unwrap()]);
    }

    #[test]
    fn ignores_what_answers_something_else() {
        let (what, now) = (an_announce(), Instant::now());
        let mut exchange = Exchange::new(request(&what), 7, None, now);
        sent(&mut exchange, now);
        for datagram in [
            &b""[..],
            b"\0\0\0\0",
            &answer(CONNECT, 8, &ID.to_be_bytes()),
            &answer(ANNOUNCE, 7, ANNOUNCED),
            &answer(2, 7, ANNOUNCED),
            &answer(ERROR, 6, b"no"),
        ] {
            assert_eq!(exchange.handle(datagram, now), Heard::Nothing, "{datagram:?}");
        }
        let short = exchange.handle(&answer(CONNECT, 7, b"short"), now);
        assert!(matches!(short, Heard::Nonsense(_)));
        let refused = exchange.handle(&answer(ERROR, 7, b"go \xff\x07"), now);
        assert_eq!(refused, Heard::Refused("go \u{fffd}\u{fffd}".into()));
    }

    #[test]
    fn takes_an_answer_without_anything_for_a_refusal_and_a_cut_one_for_nonsense() {
        let (what, now) = (an_announce(), Instant::now());
        let known = Some(Connection { id: ID, since: now });
        let mut exchange = Exchange::new(request(&what), 7, known, now);
        let heard = exchange.handle(&answer(ANNOUNCE, 7, b""), now);
        assert!(matches!(heard, Heard::Refused(_)));
        let heard = exchange.handle(&answer(ANNOUNCE, 7, b"\0\0\0\x3c\0\0"), now);
        assert!(matches!(heard, Heard::Nonsense(_)));
    }

    #[test]
    fn sends_again_and_gives_up_after_a_minute() {
        let (what, start) = (an_announce(), Instant::now());
        let mut exchange = Exchange::new(request(&what), 7, None, start);
        let (mut now, mut at) = (start, Vec::new());
        loop {
            match exchange.poll(now) {
                Step::Send(_) => at.push((now - start).as_secs()),
                Step::Wait(until) => now = until,
                Step::GaveUp => break,
            }
        }
        assert_eq!((at, now - start), (vec![0, 15, 45], ANNOUNCE_DEADLINE));
    }

    #[test]
    fn uses_a_known_connection_until_it_fails() {
        let (what, now) = (an_announce(), Instant::now());
        let known = Some(Connection { id: ID, since: now });
        let mut exchange = Exchange::new(request(&what), 7, known, now);
        assert_eq!(sent(&mut exchange, now), (ID, ANNOUNCE, 7));
        assert_eq!(exchange.handle(&answer(ERROR, 7, b"mismatch"), now), Heard::Forget);
        assert_eq!(sent(&mut exchange, now), (PROTOCOL, CONNECT, 8));

        let mut exchange = Exchange::new(request(&what), 7, known, now);
        sent(&mut exchange, now);
        assert_eq!(sent(&mut exchange, now + FIRST_WAIT), (PROTOCOL, CONNECT, 8));
    }

    #[test]
    fn remembers_connections_for_a_minute() {
        let (connections, now) = (Connections::default(), Instant::now());
        let tracker = "203.0.113.5:80".parse().unwrap();
        connections.put(tracker, ID, now);
        assert_eq!(connections.get(tracker, now).map(|found| found.id), Some(ID));
        assert_eq!(connections.get(tracker, now + UDP_CONNECTION_LIFE), None);
        connections.forget(tracker);
        assert_eq!(connections.get(tracker, now), None);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100), action in 0_u32..5) {
            let (what, now) = (an_announce(), Instant::now());
            for known in [None, Some(Connection { id: ID, since: now })] {
                let mut exchange = Exchange::new(request(&what), 7, known, now);
                let _ = exchange.handle(&bytes, now);
                let _ = exchange.handle(&answer(action, 7, &bytes), now);
            }
        }
    }
}
