//! An iterative lookup: whom to ask next on the way to a target.
//!
//! Kademlia's lookup (BEP 5), hardened against nodes that lie:
//!
//! * The nodes it begins with are dealt out to three paths, and each node belongs to the path that
//!   heard of it first (S/Kademlia's disjoint paths): who captures one path names nodes of his own
//!   on that one only. At the end the paths are joined, and the sixteen nodes closest of all must
//!   have answered.
//! * Of the eight at most one is of a [`Neighbourhood`], and at most four have an id that does not
//!   follow from their address (BEP 42): ids near a target are cheap, addresses are not.
//! * A node has its place by the id it answers with, whatever it was named by: a false name keeps
//!   nobody out, and nodes that learn their address take another id. Of what one path says of a
//!   host two addresses are believed, so that nobody has us pester a third party.
//! * Who is silent is asked up to four times in all, if it is among the eight at the end:
//!   datagrams get lost.
//!
//! Three nodes are asked at a time, and one more for each that has not answered within a second, up
//! to eight.
//!
//! A node of our kind that cut its answer short, because it had no proof of our address, is asked
//! again at once with the token it gave.

use std::net::SocketAddr;

use super::contact::{Contact, Distance, Host, Neighbourhood};
use super::secure::is_secure;
use crate::id::{NodeId, Target};
use crate::limits::dht::{
    BUCKET_NODES, LOOKUP_AT_MOST, LOOKUP_AT_ONCE, LOOKUP_CANDIDATES, LOOKUP_INSECURE,
    LOOKUP_PATH_WIDTH, LOOKUP_PATHS, LOOKUP_PER_HOST, LOOKUP_QUERIES, LOOKUP_TRIES, LOOKUP_WIDTH,
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
    /// Sources that nodes to begin with came from.
    sources: u8,
}

#[derive(Debug, Clone)]
struct Candidate {
    contact: Contact,
    distance: Distance,
    secure: bool,
    neighbourhood: Neighbourhood,
    host: Host,
    path: u8,
    /// Answers on the way to it.
    depth: u32,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Heard,
    Asked { tries: u8, token: Option<Vec<u8>> },
    Again { token: Vec<u8> },
    Answered { token: Option<Vec<u8>> },
    Silent { tries: u8, token: Option<Vec<u8>> },
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
        let mut lookup = Self {
            target,
            candidates: Vec::new(),
            asked: 0,
            answered: 0,
            joined: false,
            sources: 0,
        };
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
        let (token, tries) = match &candidate.state {
            State::Again { token } => (Some(token.clone()), 0),
            State::Silent { tries, token } => (token.clone(), *tries),
            _ => (None, 0),
        };
        candidate.state = State::Asked { tries: tries + 1, token: token.clone() };
        self.asked += 1;
        Some(Ask { contact: candidate.contact, token })
    }

    /// More nodes to begin with, which come from one source: they belong to one path.
    pub fn begin_with(&mut self, contacts: impl IntoIterator<Item = Contact>) {
        let path = self.sources % LOOKUP_PATHS;
        self.sources = self.sources.wrapping_add(1);
        for contact in contacts {
            self.hear(contact, path, 0);
        }
    }

    /// A node that was asked has answered. False if nothing was expected of it.
    pub fn answered(&mut self, from: SocketAddr, id: NodeId, answer: Answer) -> bool {
        let Some(candidate) = self.asked_mut(from) else { return false };
        let (State::Asked { token: shown, .. } | State::Silent { token: shown, .. }) =
            &candidate.state
        else {
            return false;
        };
        // Who was shown its token and cuts its answer all the same has nothing more for us.
        candidate.state = match (answer.token, answer.cut && shown.is_none()) {
            (Some(token), true) => State::Again { token },
            (token, _) => State::Answered { token },
        };
        let (path, depth) = (candidate.path, candidate.depth + 1);
        self.answered += 1;
        self.settle(Contact { id, address: from });
        for contact in answer.contacts {
            self.hear(contact, path, depth);
        }
        true
    }

    /// A node takes its time, or is not there: it is not waited for any more. It may be asked again,
    /// and its answer counts whenever it comes.
    pub fn is_slow(&mut self, address: SocketAddr) {
        if let Some(candidate) = self.asked_mut(address)
            && let State::Asked { tries, token } = &mut candidate.state
        {
            candidate.state = State::Silent { tries: *tries, token: token.take() };
        }
    }

    /// A node has answered with an error: there is no use in asking it again.
    pub fn refused(&mut self, address: SocketAddr) {
        if let Some(candidate) = self.asked_mut(address) {
            candidate.state = State::Silent { tries: LOOKUP_TRIES, token: None };
        }
    }

    /// Whether nothing is left to ask or to wait for.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.in_flight() == 0 && (self.asked >= LOOKUP_QUERIES || self.choose_joined().is_none())
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
        // A name may be false, so another one is believed until somebody answers there.
        let is_same = |known: &Candidate| {
            known.contact.address == contact.address
                && (known.contact.id == contact.id || known.state.is_settled())
        };
        let host = Host::of(contact.address);
        let of_host = |known: &&Candidate| known.host == host && known.path == path;
        if self.candidates.iter().any(is_same)
            || self.candidates.iter().filter(of_host).count() >= LOOKUP_PER_HOST
        {
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
                host,
                path,
                depth,
                state: State::Heard,
            },
        );
        if self.candidates.len() > LOOKUP_CANDIDATES {
            self.forget_the_furthest();
        }
    }

    /// A node has answered: it is who it says, and nobody else is at its address.
    fn settle(&mut self, contact: Contact) {
        let answered = self
            .candidates
            .iter()
            .position(|known| known.contact.address == contact.address && known.state.is_settled());
        let Some(mut candidate) = answered.map(|place| self.candidates.remove(place)) else {
            return;
        };
        self.candidates.retain(|known| known.contact.address != contact.address);
        candidate.contact = contact;
        candidate.distance = contact.distance(&self.target);
        candidate.secure = is_secure(&contact.id, contact.address.ip());
        let place = self.candidates.partition_point(|known| known.distance < candidate.distance);
        self.candidates.insert(place, candidate);
    }

    /// Drops the furthest node of which nothing is known yet.
    fn forget_the_furthest(&mut self) {
        let furthest = self.candidates.iter().rposition(|known| known.state == State::Heard);
        if let Some(furthest) = furthest {
            self.candidates.remove(furthest);
        }
    }

    /// Whether so few are being asked that another one can be. Silence widens the search.
    fn may_ask(&self) -> bool {
        let silent = |candidate: &&Candidate| matches!(candidate.state, State::Silent { .. });
        let silent = self.candidates.iter().filter(silent).count();
        self.in_flight() < LOOKUP_AT_MOST.min(LOOKUP_AT_ONCE + silent)
    }

    /// Nodes that have been asked and may still answer in time.
    fn in_flight(&self) -> usize {
        let asked = |candidate: &&Candidate| matches!(candidate.state, State::Asked { .. });
        self.candidates.iter().filter(asked).count()
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
            self.joined = self.in_flight() == 0;
        }
        if self.joined { self.choose_joined() } else { None }
    }

    /// The closest node on a path that is to be asked.
    fn choose_on(&self, path: u8) -> Option<usize> {
        let on_path = self.candidates.iter().filter(|candidate| {
            candidate.path == path && !matches!(candidate.state, State::Silent { .. })
        });
        let heard = |candidate: &&Candidate| {
            candidate.state == State::Heard && !self.is_busy(candidate.contact.address)
        };
        let chosen = shortlist(on_path, LOOKUP_PATH_WIDTH).into_iter().find(heard)?;
        self.place(chosen.contact)
    }

    /// The closest node of all that is to be asked.
    fn choose_joined(&self) -> Option<usize> {
        let open = |candidate: &&Candidate| {
            let is_open = matches!(
                candidate.state,
                State::Heard | State::Again { .. } | State::Silent { .. }
            );
            is_open && !self.is_busy(candidate.contact.address)
        };
        let chosen = shortlist(self.candidates.iter(), LOOKUP_WIDTH).into_iter().find(open)?;
        self.place(chosen.contact)
    }

    /// Whether an address is being asked, under whatever id.
    fn is_busy(&self, address: SocketAddr) -> bool {
        let asked = |candidate: &&Candidate| matches!(candidate.state, State::Asked { .. });
        self.candidates.iter().filter(asked).any(|candidate| candidate.contact.address == address)
    }

    fn place(&self, contact: Contact) -> Option<usize> {
        self.candidates.iter().position(|candidate| candidate.contact == contact)
    }

    fn candidate(&self, address: SocketAddr) -> Option<&Candidate> {
        self.candidates.iter().find(|candidate| candidate.contact.address == address)
    }

    /// Who is being asked at an address; else who was asked there and has not answered.
    fn asked_mut(&mut self, address: SocketAddr) -> Option<&mut Candidate> {
        let at = |candidate: &Candidate| candidate.contact.address == address;
        let asked = |known: &Candidate| at(known) && matches!(known.state, State::Asked { .. });
        let silent = |known: &Candidate| at(known) && matches!(known.state, State::Silent { .. });
        let place = self.candidates.iter().position(asked);
        let place = place.or_else(|| self.candidates.iter().position(silent))?;
        self.candidates.get_mut(place)
    }
}

impl State {
    /// Whether somebody has answered.
    const fn is_settled(&self) -> bool {
        matches!(self, Self::Again { .. } | Self::Answered { .. })
    }
}

/// The closest of these candidates that count: nobody who was silent each time, one of a
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
        let is_out =
            matches!(candidate.state, State::Silent { tries, .. } if tries >= LOOKUP_TRIES);
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
mod tests;
