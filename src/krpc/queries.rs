//! Queries of ours that wait to be sent or to be answered.
//!
//! A transaction id is a random number of 32 bits, and an answer counts only if it comes from where
//! the query went to: whoever cannot read our datagrams cannot answer in somebody's place.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::{Rng, RngExt};

use super::contact::Contact;
use crate::limits::dht::{MAX_PENDING, QUERY_SLOW, QUERY_TIMEOUT};

/// A query under way. `P` is what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending<P> {
    /// Where it goes.
    pub to: SocketAddr,
    /// Who is expected there, if that is known.
    pub contact: Option<Contact>,
    /// What it is for.
    pub purpose: P,
    /// Whether every node that is there answers such a query.
    pub is_common: bool,
    /// When it was sent; when it will be, before that.
    pub sent: Instant,
}

/// What happens to a query as time passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due<P> {
    /// It is to be sent now.
    Send {
        /// Where.
        to: SocketAddr,
        /// The datagram.
        datagram: Vec<u8>,
    },
    /// The answer takes its time.
    Slow(Pending<P>),
    /// No answer came.
    Silent(Pending<P>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Send,
    Slow,
    Silent,
}

/// What happens to a query, and how long after it was sent.
const STEPS: [(Step, Duration); 3] =
    [(Step::Send, Duration::ZERO), (Step::Slow, QUERY_SLOW), (Step::Silent, QUERY_TIMEOUT)];

/// All queries under way.
#[derive(Debug)]
pub struct Queries<P> {
    pending: BTreeMap<u32, (Pending<P>, Vec<u8>)>,
    timeline: BTreeSet<(Instant, u32, Step)>,
}

impl<P> Default for Queries<P> {
    fn default() -> Self {
        Self { pending: BTreeMap::new(), timeline: BTreeSet::new() }
    }
}

impl<P: Clone> Queries<P> {
    /// A transaction id that is not in use.
    pub fn transaction(&self, chance: &mut impl Rng) -> u32 {
        loop {
            let transaction = chance.random();
            if !self.pending.contains_key(&transaction) {
                return transaction;
            }
        }
    }

    /// Whether there is room for another one.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.pending.len() < MAX_PENDING
    }

    /// Queries under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Takes a query in that was sent at `pending.sent`, or whose datagram is to be sent then.
    pub fn add(&mut self, transaction: u32, pending: Pending<P>, datagram: Option<Vec<u8>>) {
        let at = pending.sent;
        let steps = if datagram.is_some() { &STEPS[..] } else { &STEPS[1..] };
        self.timeline.extend(steps.iter().map(|(step, after)| (at + *after, transaction, *step)));
        self.pending.insert(transaction, (pending, datagram.unwrap_or_default()));
    }

    /// The query that this answer is for.
    pub fn take(&mut self, transaction: &[u8], from: SocketAddr) -> Option<Pending<P>> {
        let transaction = u32::from_be_bytes(transaction.try_into().ok()?);
        if self.pending.get(&transaction)?.0.to != from {
            return None;
        }
        self.remove(transaction)
    }

    /// All queries to an address.
    pub fn take_all(&mut self, to: SocketAddr) -> Vec<Pending<P>> {
        let there = self.pending.iter().filter(|(_, (pending, _))| pending.to == to);
        let there: Vec<u32> = there.map(|(transaction, _)| *transaction).collect();
        there.into_iter().filter_map(|transaction| self.remove(transaction)).collect()
    }

    /// When something is due.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.timeline.first().map(|(at, ..)| *at)
    }

    /// The next thing that is due.
    pub fn due(&mut self, now: Instant) -> Option<Due<P>> {
        loop {
            let (at, transaction, step) = *self.timeline.first()?;
            if at > now {
                return None;
            }
            self.timeline.pop_first();
            match step {
                Step::Send => {
                    if let Some((pending, datagram)) = self.pending.get_mut(&transaction) {
                        let datagram = std::mem::take(datagram);
                        return Some(Due::Send { to: pending.to, datagram });
                    }
                }
                Step::Slow => {
                    if let Some((pending, _)) = self.pending.get(&transaction) {
                        return Some(Due::Slow(pending.clone()));
                    }
                }
                Step::Silent => {
                    if let Some((pending, _)) = self.pending.remove(&transaction) {
                        return Some(Due::Silent(pending));
                    }
                }
            }
        }
    }

    fn remove(&mut self, transaction: u32) -> Option<Pending<P>> {
        let (pending, _) = self.pending.remove(&transaction)?;
        let at = pending.sent;
        for (step, after) in STEPS {
            self.timeline.remove(&(at + after, transaction, step));
        }
        Some(pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(at: Instant) -> (Queries<u8>, SocketAddr) {
        let mut queries = Queries::default();
        let to = ([203, 0, 113, 5], 6881).into();
        let pending = Pending { to, contact: None, purpose: 1, is_common: true, sent: at };
        queries.add(7, pending, Some(b"q".to_vec()));
        (queries, to)
    }

    #[test]
    fn is_sent_slow_and_silent_in_turn() {
        let start = Instant::now();
        let (mut queries, to) = added(start + Duration::from_secs(1));
        assert_eq!(queries.due(start), None);
        let start = start + Duration::from_secs(1);
        assert_eq!(queries.next(), Some(start));
        assert_eq!(queries.due(start), Some(Due::Send { to, datagram: b"q".to_vec() }));
        assert_eq!(queries.due(start), None);
        assert!(matches!(queries.due(start + QUERY_SLOW), Some(Due::Slow(_))));
        assert!(matches!(queries.due(start + QUERY_TIMEOUT), Some(Due::Silent(_))));
        assert!(queries.is_empty() && queries.next().is_none());
    }

    #[test]
    fn is_answered_only_from_where_it_went() {
        let start = Instant::now();
        let (mut queries, to) = added(start);
        assert_eq!(queries.take(&7_u32.to_be_bytes(), ([203, 0, 113, 6], 6881).into()), None);
        assert_eq!(queries.take(&8_u32.to_be_bytes(), to), None);
        assert_eq!(queries.take(b"x", to), None);
        assert_eq!(queries.take(&7_u32.to_be_bytes(), to).map(|pending| pending.purpose), Some(1));
        assert!(queries.next().is_none() && queries.due(start + QUERY_TIMEOUT).is_none());
    }
}
