//! An iterative lookup: whom to ask next on the way to a target.
//!
//! Kademlia's lookup (BEP 5), hardened against nodes that lie:
//!
//! * The nodes it begins with are dealt out to three paths, and each node belongs to the path that
//!   heard of it first (S/Kademlia's disjoint paths): who captures one path names nodes of his own
//!   on that one only. At the end the paths are joined, and the eight nodes closest of all must
//!   have answered.
//! * Of the eight at most one is of a [`Neighbourhood`], and at most four have an id that does not
//!   follow from their address (BEP 42): ids near a target are cheap, addresses are not.
//! * A node that answers with another id than it was named by counts as one that is silent.
//! * Who is silent is asked once more at the end, if it is among the eight: datagrams get lost.
//!
//! Three nodes are asked at a time. One that is slow makes room for the next, up to eight.
//!
//! A node of our kind that cut its answer short, because it had no proof of our address, is asked
//! again at once with the token it gave.

use std::net::SocketAddr;

use super::contact::{Contact, Distance, Neighbourhood};
use super::secure::is_secure;
use crate::id::{NodeId, Target};
use crate::limits::dht::{
    BUCKET_NODES, LOOKUP_AT_MOST, LOOKUP_AT_ONCE, LOOKUP_CANDIDATES, LOOKUP_INSECURE, LOOKUP_PATHS,
    LOOKUP_QUERIES,
};

/// A lookup under way, over one family of addresses.
#[derive(Debug, Clone)]
pub struct Lookup {
    target: Target,
    /// In the order of their distance.
    candidates: Vec<Candidate>,
    asked: u32,
    answered: u32,
    joined: bool,
}

#[derive(Debug, Clone)]
struct Candidate {
    contact: Contact,
    distance: Distance,
    secure: bool,
    neighbourhood: Neighbourhood,
    path: u8,
    /// Answers on the way to it.
    depth: u32,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Heard,
    Asked { slow: bool, tries: u8 },
    Again { token: Vec<u8> },
    Answered { token: Option<Vec<u8>> },
    Silent { tries: u8 },
    Liar,
}

/// Whom to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The node.
    pub contact: Contact,
    /// What to show, if it is asked again.
    pub token: Option<Vec<u8>>,
}

/// What a node answered, as far as it matters for the way.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// The nodes it named, already filtered.
    pub contacts: Vec<Contact>,
    /// What an announce or put there has to show.
    pub token: Option<Vec<u8>>,
    /// Whether it says that there is more.
    pub cut: bool,
}

/// A node that has answered, in the result of a lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The node.
    pub contact: Contact,
    /// Its token.
    pub token: Option<Vec<u8>>,
}

impl Lookup {
    /// A lookup that begins with these nodes.
    #[must_use]
    pub fn new(target: Target, seeds: impl IntoIterator<Item = Contact>) -> Self {
        let mut lookup =
            Self { target, candidates: Vec::new(), asked: 0, answered: 0, joined: false };
        for (path, contact) in (0..LOOKUP_PATHS).cycle().zip(seeds) {
            lookup.hear(contact, path, 0);
        }
        lookup
    }

    /// What is looked for.
    #[must_use]
    pub const fn target(&self) -> Target {
        self.target
    }

    /// Nodes asked and nodes that answered, those asked again counted again.
    #[must_use]
    pub const fn counts(&self) -> (u32, u32) {
        (self.asked, self.answered)
    }

    /// Answers on the way to a node: 0 for those it began with.
    #[must_use]
    pub fn depth(&self, address: SocketAddr) -> u32 {
        self.candidate(address).map_or(0, |candidate| candidate.depth)
    }

    /// Whom to ask now; `None` until something changes, or for ever if [`is_done`](Self::is_done).
    pub fn next_ask(&mut self) -> Option<Ask> {
        if self.asked >= LOOKUP_QUERIES || !self.may_ask() {
            return None;
        }
        let place = self.choose()?;
        let candidate = self.candidates.get_mut(place)?;
        let (token, tries) = match std::mem::replace(&mut candidate.state, State::Liar) {
            State::Again { token } => (Some(token), 1),
            State::Silent { tries } => (None, tries),
            _ => (None, 0),
        };
        candidate.state = State::Asked { slow: false, tries: tries + 1 };
        self.asked += 1;
        Some(Ask { contact: candidate.contact, token })
    }

    /// A node that was asked has answered. False if it is not who it was said to be.
    pub fn answered(&mut self, from: SocketAddr, id: NodeId, answer: Answer) -> bool {
        let Some(candidate) = self.asked_mut(from) else { return false };
        if candidate.contact.id != id {
            candidate.state = State::Liar;
            return false;
        }
        let State::Asked { tries, .. } = candidate.state else { return false };
        candidate.state = match (answer.token, answer.cut && tries == 1) {
            (Some(token), true) => State::Again { token },
            (token, _) => State::Answered { token },
        };
        let (path, depth) = (candidate.path, candidate.depth + 1);
        self.answered += 1;
        for contact in answer.contacts {
            self.hear(contact, path, depth);
        }
        true
    }

    /// A node takes its time: another one is asked beside it.
    pub fn is_slow(&mut self, address: SocketAddr) {
        if let Some(Candidate { state: State::Asked { slow, .. }, .. }) = self.asked_mut(address) {
            *slow = true;
        }
    }

    /// A node has not answered, or with an error.
    pub fn failed(&mut self, address: SocketAddr) {
        if let Some(candidate) = self.asked_mut(address)
            && let State::Asked { tries, .. } = candidate.state
        {
            candidate.state = State::Silent { tries };
        }
    }

    /// Whether nothing is left to ask or to wait for.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.in_flight().0 == 0 && (self.asked >= LOOKUP_QUERIES || self.choose_joined().is_none())
    }

    /// The closest nodes that have answered, at most eight.
    #[must_use]
    pub fn closest(&self) -> Vec<Found> {
        let is_answered =
            |candidate: &&Candidate| matches!(candidate.state, State::Answered { .. });
        let closest = shortlist(self.candidates.iter().filter(is_answered), BUCKET_NODES);
        closest
            .into_iter()
            .map(|candidate| match &candidate.state {
                State::Answered { token } => (candidate.contact, token.clone()),
                _ => (candidate.contact, None),
            })
            .map(|(contact, token)| Found { contact, token })
            .collect()
    }

    /// Adds a node that was heard of, unless it is known, or too far away to matter.
    fn hear(&mut self, contact: Contact, path: u8, depth: u32) {
        let is_same = |known: &Candidate| {
            known.contact.address == contact.address || known.contact.id == contact.id
        };
        if self.candidates.iter().any(is_same) {
            return;
        }
        let distance = contact.distance(&self.target);
        let place = self.candidates.partition_point(|known| known.distance < distance);
        if place >= LOOKUP_CANDIDATES {
            return;
        }
        self.candidates.insert(
            place,
            Candidate {
                contact,
                distance,
                secure: is_secure(&contact.id, contact.address.ip()),
                neighbourhood: Neighbourhood::of(contact.address),
                path,
                depth,
                state: State::Heard,
            },
        );
        if self.candidates.len() > LOOKUP_CANDIDATES {
            self.forget_the_furthest();
        }
    }

    /// Drops the furthest node of which nothing is known yet.
    fn forget_the_furthest(&mut self) {
        let furthest = self.candidates.iter().rposition(|known| known.state == State::Heard);
        if let Some(furthest) = furthest {
            self.candidates.remove(furthest);
        }
    }

    fn may_ask(&self) -> bool {
        let (all, fresh) = self.in_flight();
        fresh < LOOKUP_AT_ONCE && all < LOOKUP_AT_MOST
    }

    /// Nodes that have been asked and have not answered, and those of them that are not slow.
    fn in_flight(&self) -> (usize, usize) {
        let slow = self.candidates.iter().filter_map(|candidate| match candidate.state {
            State::Asked { slow, .. } => Some(slow),
            _ => None,
        });
        slow.fold((0, 0), |(all, fresh), slow| (all + 1, fresh + usize::from(!slow)))
    }

    /// The place of the candidate to ask next.
    fn choose(&mut self) -> Option<usize> {
        let again = |candidate: &Candidate| matches!(candidate.state, State::Again { .. });
        if let Some(place) = self.candidates.iter().position(again) {
            return Some(place);
        }
        if !self.joined {
            let places = (0..LOOKUP_PATHS).filter_map(|path| self.choose_on(path));
            // The path that is furthest from the target has the most to catch up.
            if let Some(place) = places.max() {
                return Some(place);
            }
            self.joined = self.in_flight().0 == 0;
        }
        if self.joined { self.choose_joined() } else { None }
    }

    /// The closest node on a path that is to be asked.
    fn choose_on(&self, path: u8) -> Option<usize> {
        let per_path = BUCKET_NODES.div_ceil(usize::from(LOOKUP_PATHS));
        let on_path = self.candidates.iter().filter(|candidate| {
            candidate.path == path && !matches!(candidate.state, State::Silent { .. })
        });
        let heard = |candidate: &&Candidate| candidate.state == State::Heard;
        let chosen = shortlist(on_path, per_path).into_iter().find(heard)?;
        self.place(chosen.contact.address)
    }

    /// The closest node of all that is to be asked.
    fn choose_joined(&self) -> Option<usize> {
        let open = |candidate: &&Candidate| {
            matches!(
                candidate.state,
                State::Heard | State::Again { .. } | State::Silent { tries: 1 }
            )
        };
        let chosen = shortlist(self.candidates.iter(), BUCKET_NODES).into_iter().find(open)?;
        self.place(chosen.contact.address)
    }

    fn place(&self, address: SocketAddr) -> Option<usize> {
        self.candidates.iter().position(|candidate| candidate.contact.address == address)
    }

    fn candidate(&self, address: SocketAddr) -> Option<&Candidate> {
        self.candidates.iter().find(|candidate| candidate.contact.address == address)
    }

    fn asked_mut(&mut self, address: SocketAddr) -> Option<&mut Candidate> {
        self.candidates.iter_mut().find(|candidate| {
            candidate.contact.address == address && matches!(candidate.state, State::Asked { .. })
        })
    }
}

/// The closest of these candidates that count: no liars, nobody who was silent twice, one of a
/// neighbourhood, and half of them with an id that follows from their address.
fn shortlist<'a>(
    candidates: impl Iterator<Item = &'a Candidate>,
    count: usize,
) -> Vec<&'a Candidate> {
    let (mut list, mut insecure): (Vec<&Candidate>, usize) = (Vec::with_capacity(count), 0);
    for candidate in candidates {
        if list.len() >= count {
            break;
        }
        let is_out = match candidate.state {
            State::Liar => true,
            State::Silent { tries } => tries > 1,
            _ => false,
        };
        let is_neighbour = |other: &&Candidate| other.neighbourhood == candidate.neighbourhood;
        if is_out
            || (!candidate.secure && insecure >= LOOKUP_INSECURE)
            || list.iter().any(is_neighbour)
        {
            continue;
        }
        insecure += usize::from(!candidate.secure);
        list.push(candidate);
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Target = Target::from_bytes([0; 20]);

    /// A node on a private network, where addresses are as good as any, at this distance.
    fn node(distance: u16) -> Contact {
        let mut id = [0; 20];
        id[..2].copy_from_slice(&distance.to_be_bytes());
        let [a, b] = distance.to_be_bytes();
        Contact { id: NodeId::from_bytes(id), address: ([10, 0, a, b], 6881).into() }
    }

    fn nodes(distances: &[u16]) -> Vec<Contact> {
        distances.iter().map(|distance| node(*distance)).collect()
    }

    fn answer(distances: &[u16]) -> Answer {
        let token = Some(b"token".to_vec());
        Answer { contacts: nodes(distances), token, cut: false }
    }

    /// Runs a lookup in a network where `knows` says what each node answers; `None` is silence.
    fn run(mut lookup: Lookup, knows: impl Fn(Contact) -> Option<Answer>) -> Lookup {
        while let Some(Ask { contact, .. }) = lookup.next_ask() {
            match knows(contact) {
                Some(answer) => {
                    lookup.answered(contact.address, contact.id, answer);
                }
                None => lookup.failed(contact.address),
            }
        }
        assert!(lookup.is_done());
        lookup
    }

    fn found(lookup: &Lookup) -> Vec<Contact> {
        lookup.closest().into_iter().map(|found| found.contact).collect()
    }

    #[test]
    fn ends_at_the_closest_eight() {
        // Each node knows those at a half, a third and a quarter of its distance, and its next.
        let knows = |contact: Contact| {
            let [a, b, ..] = *contact.id.as_bytes();
            let distance = u16::from_be_bytes([a, b]);
            let near = [2, 3, 4].map(|part| distance / part).into_iter();
            let next = (1..=4).map(|step| distance.saturating_sub(step).max(1));
            Some(answer(&near.chain(next).map(|one| one.max(1)).collect::<Vec<_>>()))
        };
        let lookup = run(Lookup::new(TARGET, nodes(&[60_000, 50_000, 40_000])), knows);
        assert_eq!(found(&lookup), nodes(&[1, 2, 3, 4, 5, 6, 7, 8]));
        assert!(lookup.counts().0 < 60, "{:?}", lookup.counts());
        assert!(lookup.closest().iter().all(|found| found.token.is_some()));
    }

    #[test]
    fn asks_three_at_a_time_and_more_while_some_are_slow() {
        let mut lookup = Lookup::new(TARGET, nodes(&(1..30).collect::<Vec<_>>()));
        let first: Vec<_> = std::iter::from_fn(|| lookup.next_ask()).collect();
        assert_eq!(first.len(), 3);
        lookup.is_slow(first[0].contact.address);
        assert!(lookup.next_ask().is_some() && lookup.next_ask().is_none());
        for ask in &first[1..] {
            lookup.is_slow(ask.contact.address);
        }
        let more: Vec<_> = std::iter::from_fn(|| {
            let ask = lookup.next_ask()?;
            lookup.is_slow(ask.contact.address);
            Some(ask)
        })
        .collect();
        assert_eq!(more.len(), LOOKUP_AT_MOST - 4);
    }

    #[test]
    fn asks_who_was_silent_once_more_at_the_end() {
        let silent = std::cell::Cell::new(0);
        let knows = |contact: Contact| {
            if contact == node(1) && silent.get() == 0 {
                silent.set(1);
                return None;
            }
            Some(answer(&[]))
        };
        let lookup = run(Lookup::new(TARGET, nodes(&[1, 2, 3, 4])), knows);
        assert_eq!(found(&lookup), nodes(&[1, 2, 3, 4]));
        let lookup = run(Lookup::new(TARGET, nodes(&[1, 2])), |contact| {
            (contact != node(1)).then(|| answer(&[]))
        });
        assert_eq!((found(&lookup), lookup.counts().0), (nodes(&[2]), 3));
    }

    #[test]
    fn a_node_with_another_id_is_a_liar() {
        let mut lookup = Lookup::new(TARGET, nodes(&[1]));
        let ask = lookup.next_ask().unwrap();
        assert!(!lookup.answered(ask.contact.address, node(2).id, answer(&[5])));
        assert!(lookup.is_done() && lookup.closest().is_empty());
    }

    #[test]
    fn asks_again_with_the_token_of_an_answer_that_was_cut() {
        let mut lookup = Lookup::new(TARGET, nodes(&[1]));
        let first = lookup.next_ask().unwrap();
        let cut = Answer { cut: true, ..answer(&[]) };
        assert!(lookup.answered(first.contact.address, first.contact.id, cut.clone()));
        let again = lookup.next_ask().unwrap();
        assert_eq!((again.contact, again.token.as_deref()), (first.contact, Some(&b"token"[..])));
        assert!(lookup.answered(again.contact.address, again.contact.id, cut));
        assert!(lookup.next_ask().is_none() && lookup.is_done());
        assert_eq!(found(&lookup), nodes(&[1]));
    }

    /// ATTACKS 15: ids near the target cost nothing, addresses do.
    #[test]
    fn a_crowd_of_near_ids_takes_half_of_the_places_at_most() {
        let mut crowd = nodes(&[1, 2, 3, 4, 5, 6, 7, 8]);
        for (number, contact) in (0..).zip(&mut crowd) {
            contact.address = ([203, 0, number, 9], 6881).into();
        }
        let honest = nodes(&[100, 101, 102, 103, 104, 105, 106, 107]);
        let lookup = Lookup::new(TARGET, honest.iter().chain(&crowd).copied());
        let lookup = run(lookup, |_| Some(answer(&[])));
        let of_the_crowd = found(&lookup).iter().filter(|one| crowd.contains(one)).count();
        assert_eq!((found(&lookup).len(), of_the_crowd), (8, 4));
    }

    #[test]
    fn one_network_takes_one_place() {
        let mut crowd = nodes(&[1, 2, 3]);
        for (number, contact) in (0..).zip(&mut crowd) {
            contact.address = ([203, 0, 113, number], 6881).into();
        }
        let lookup = run(Lookup::new(TARGET, crowd.clone()), |_| Some(answer(&[])));
        assert_eq!(found(&lookup), crowd[..1]);
    }

    #[test]
    fn gives_up_after_so_many_queries() {
        let mut lookup = Lookup::new(TARGET, nodes(&[60_000]));
        let mut next = 60_000;
        let mut asked = 0;
        while let Some(ask) = lookup.next_ask() {
            asked += 1;
            next -= 1;
            lookup.answered(ask.contact.address, ask.contact.id, answer(&[next]));
        }
        assert_eq!(asked, LOOKUP_QUERIES);
        assert!(lookup.is_done());
    }
}
