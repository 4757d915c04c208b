//! The peers that are known: a table without a socket and without a clock.
//!
//! The user names some, and they stay. Others have called us, or were told by a peer that we asked. Who
//! calls says where it is, which may be anywhere: only an address that it calls from is believed, and
//! nobody else hears of it, and nothing is asked of it, before it has answered a ping there.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::address::household;
use crate::id::LegacyId;
use crate::limits::legacy::{
    LEGACY_CONTACTS_PER_ADDRESS, LEGACY_UPKEEP_EVERY, MAX_LEGACY_CONTACTS,
};

use super::peer::LegacyPeer;

/// A peer, and what we know of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contact {
    /// The peer.
    pub peer: LegacyPeer,
    /// The user named it.
    pub named: bool,
    /// When it last answered us.
    pub answered: Option<Instant>,
    /// When it was last pinged.
    pinged: Option<Instant>,
}

/// All peers, in the order in which they became known.
#[derive(Debug, Default)]
pub struct Contacts {
    all: Vec<Contact>,
    /// Our own ids: nobody who has one is a peer.
    ours: Option<LegacyId>,
}

impl Contacts {
    /// Nobody is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says which id is ours.
    pub fn we_are(&mut self, id: LegacyId) {
        self.ours = Some(id);
        self.all.retain(|contact| contact.peer.id != id);
    }

    /// Adds a peer that the user names. It replaces what was known under its id. We are none of ours.
    pub fn name(&mut self, peer: LegacyPeer) {
        if self.ours == Some(peer.id) {
            return;
        }
        match self.all.iter_mut().find(|contact| contact.peer.id == peer.id) {
            Some(known) if known.peer == peer => known.named = true,
            Some(known) => *known = Contact { peer, named: true, answered: None, pinged: None },
            None => self.all.push(Contact { peer, named: true, answered: None, pinged: None }),
        }
    }

    /// Forgets a peer. `false` if it was not known.
    pub fn forget(&mut self, id: LegacyId) -> bool {
        let before = self.all.len();
        self.all.retain(|contact| contact.peer.id != id);
        self.all.len() < before
    }

    /// A peer has called from an address. It is remembered if it says that it is there: whether it was
    /// not known. Whom the user named stays where the user said.
    pub fn called(&mut self, peer: LegacyPeer, from: IpAddr) -> bool {
        peer.is_at(from) && self.add(peer, from)
    }

    /// A peer was told by somebody at an address.
    pub fn told(&mut self, peer: LegacyPeer, by: IpAddr) -> bool {
        self.add(peer, by)
    }

    fn add(&mut self, peer: LegacyPeer, by: IpAddr) -> bool {
        if self.ours == Some(peer.id) || !peer.may_be_told(by) {
            return false;
        }
        match self.all.iter_mut().find(|contact| contact.peer.id == peer.id) {
            // Nobody can take over the id of a peer that answers.
            Some(known) if known.named || known.peer == peer || known.answered.is_some() => false,
            Some(known) => {
                *known = Contact { peer, named: false, answered: None, pinged: None };
                true
            }
            None => {
                self.make_room(peer.external.ip()) && {
                    self.all.push(Contact { peer, named: false, answered: None, pinged: None });
                    true
                }
            }
        }
    }

    /// Makes room for one that is new at an address: of those who never answered the oldest goes, and if
    /// many are at that address, of these. Whether there is.
    fn make_room(&mut self, ip: IpAddr) -> bool {
        // On this machine many programs share an address.
        let ip = Some(household(ip)).filter(|ip| !ip.is_loopback());
        let is_beside = |contact: &Contact| Some(household(contact.peer.external.ip())) == ip;
        let beside = self.all.iter().filter(|contact| is_beside(contact)).count();
        let crowded = beside >= LEGACY_CONTACTS_PER_ADDRESS;
        if self.all.len() < MAX_LEGACY_CONTACTS && !crowded {
            return true;
        }
        let goes = |contact: &Contact| {
            !contact.named && contact.answered.is_none() && (!crowded || is_beside(contact))
        };
        let oldest = self.all.iter().position(goes);
        oldest.map(|at| self.all.remove(at)).is_some()
    }

    /// A peer has answered.
    pub fn answered(&mut self, id: LegacyId, now: Instant) {
        if let Some(contact) = self.all.iter_mut().find(|contact| contact.peer.id == id) {
            (contact.answered, contact.pinged) = (Some(now), Some(now));
        }
    }

    /// A peer has not answered. It is forgotten, unless the user named it.
    pub fn silent(&mut self, id: LegacyId) {
        self.all.retain(|contact| contact.peer.id != id || contact.named);
        if let Some(contact) = self.all.iter_mut().find(|contact| contact.peer.id == id) {
            contact.answered = None;
        }
    }

    /// Those to be pinged now: who never was, and who was not for a while.
    pub fn due(&mut self, now: Instant) -> Vec<LegacyPeer> {
        let is_due = |contact: &&mut Contact| {
            let since = |then: Instant| now.saturating_duration_since(then);
            contact.pinged.is_none_or(|then| since(then) >= LEGACY_UPKEEP_EVERY)
        };
        let due = self.all.iter_mut().filter(is_due);
        let take = |contact: &mut Contact| {
            contact.pinged = Some(now);
            contact.peer
        };
        due.map(take).collect()
    }

    /// How long nobody is due.
    #[must_use]
    pub fn next_due(&self, now: Instant) -> Duration {
        let left = |contact: &Contact| match contact.pinged {
            None => Duration::ZERO,
            Some(then) => LEGACY_UPKEEP_EVERY.saturating_sub(now.saturating_duration_since(then)),
        };
        self.all.iter().map(left).min().unwrap_or(LEGACY_UPKEEP_EVERY)
    }

    /// The `count` peers closest to an id, closest first, of those that have answered; and whoever
    /// asks, if it is known.
    #[must_use]
    pub fn closest(&self, to: &[u8; 32], count: usize, asker: LegacyId) -> Vec<LegacyPeer> {
        let is_told = |contact: &&Contact| contact.answered.is_some() || contact.peer.id == asker;
        let mut peers: Vec<_> =
            self.all.iter().filter(is_told).map(|contact| contact.peer).collect();
        // It is stable: who is as close as another one stays behind it.
        peers.sort_by_key(|peer| distance(peer.id.as_bytes(), to));
        peers.truncate(count);
        peers
    }

    /// Those that may be asked for something: first those that the user named, then those that have
    /// answered.
    #[must_use]
    pub fn to_ask(&self) -> Vec<LegacyPeer> {
        let may = |contact: &&Contact| contact.named || contact.answered.is_some();
        let mut contacts: Vec<_> = self.all.iter().filter(may).collect();
        contacts.sort_by_key(|contact| !contact.named);
        contacts.into_iter().map(|contact| contact.peer).collect()
    }

    /// Everybody.
    #[must_use]
    pub fn all(&self) -> &[Contact] {
        &self.all
    }
}

/// Hamming distance: the number of bits that differ.
#[must_use]
pub fn distance(one: &[u8; 32], other: &[u8; 32]) -> u32 {
    one.iter().zip(other).map(|(one, other)| (one ^ other).count_ones()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(id: u8, address: &str) -> LegacyPeer {
        let address = address.parse().unwrap();
        LegacyPeer { id: LegacyId::from_bytes([id; 32]), external: address, internal: address }
    }

    fn ids(peers: &[LegacyPeer]) -> Vec<u8> {
        peers.iter().map(|peer| peer.id.as_bytes()[0]).collect()
    }

    const HERE: &str = "203.0.113.5";

    #[test]
    fn believes_nobody_about_an_address_that_it_does_not_call_from() {
        let mut contacts = Contacts::new();
        let caller = HERE.parse().unwrap();
        assert!(!contacts.called(peer(1, "198.51.100.7:8200"), caller));
        assert!(!contacts.called(peer(1, "203.0.113.5:22"), caller), "a mail server's port");
        assert!(contacts.called(peer(1, "203.0.113.5:8200"), caller));
        assert!(!contacts.called(peer(1, "203.0.113.5:8200"), caller), "it is known");
        assert_eq!(contacts.all().len(), 1);
        let inside = peer(2, "192.168.1.2:8200");
        assert!(!contacts.told(inside, caller), "who is out in the world knows nobody here");
        assert!(contacts.told(inside, "192.168.1.9".parse().unwrap()));
    }

    #[test]
    fn tells_only_of_those_who_have_answered_and_of_who_asks() {
        let (mut contacts, now) = (Contacts::new(), Instant::now());
        for id in [3, 1, 7] {
            contacts.called(peer(id, "203.0.113.5:8200"), HERE.parse().unwrap());
        }
        let closest = |contacts: &Contacts, asker| {
            ids(&contacts.closest(&[0; 32], 10, LegacyId::from_bytes([asker; 32])))
        };
        assert_eq!(closest(&contacts, 9), [] as [u8; 0]);
        assert_eq!(closest(&contacts, 7), [7]);
        for id in [3, 1, 7] {
            contacts.answered(LegacyId::from_bytes([id; 32]), now);
        }
        assert_eq!(closest(&contacts, 9), [1, 3, 7]);
        let nearest = contacts.closest(&[7; 32], 2, LegacyId::from_bytes([9; 32]));
        // 3 and ... differ from 7 in one bit of eight each.
        assert_eq!(ids(&nearest), [7, 3]);
    }

    #[test]
    fn the_silent_are_forgotten_but_for_those_the_user_named() {
        let mut contacts = Contacts::new();
        contacts.name(peer(1, "203.0.113.5:8200"));
        contacts.called(peer(2, "203.0.113.5:8201"), HERE.parse().unwrap());
        contacts.silent(LegacyId::from_bytes([1; 32]));
        contacts.silent(LegacyId::from_bytes([2; 32]));
        assert_eq!(ids(&contacts.to_ask()), [1]);
        assert_eq!(contacts.all().len(), 1);
        assert!(contacts.forget(LegacyId::from_bytes([1; 32])));
        assert!(!contacts.forget(LegacyId::from_bytes([1; 32])));
    }

    #[test]
    fn an_id_that_answers_is_not_taken_over() {
        let (mut contacts, here) = (Contacts::new(), HERE.parse().unwrap());
        contacts.called(peer(1, "203.0.113.5:8200"), here);
        assert!(contacts.called(peer(1, "203.0.113.5:9000"), here), "nobody answers there yet");
        contacts.answered(LegacyId::from_bytes([1; 32]), Instant::now());
        assert!(!contacts.called(peer(1, "203.0.113.5:8200"), here));
        assert_eq!(contacts.to_ask(), [peer(1, "203.0.113.5:9000")]);
    }

    /// Somebody with an id of its own for each number.
    fn anybody(number: u16, address: &str) -> LegacyPeer {
        let mut id = [9; 32];
        id[..2].copy_from_slice(&number.to_le_bytes());
        LegacyPeer { id: LegacyId::from_bytes(id), ..peer(0, address) }
    }

    #[test]
    fn a_crowd_pushes_out_only_who_never_answered() {
        let mut contacts = Contacts::new();
        contacts.called(peer(1, "203.0.113.5:8200"), HERE.parse().unwrap());
        contacts.answered(LegacyId::from_bytes([1; 32]), Instant::now());
        for number in 0..2_000_u16 {
            let caller = anybody(number, &format!("203.0.{}.{}:8200", number >> 8, number & 255));
            contacts.called(caller, caller.external.ip());
        }
        assert_eq!(contacts.all().len(), MAX_LEGACY_CONTACTS);
        assert_eq!(ids(&contacts.to_ask()), [1]);
    }

    /// One address with many ids that all answer had the whole table, and every fetch asked it only.
    #[test]
    fn one_address_with_many_ids_does_not_keep_out_others() {
        let (mut contacts, now) = (Contacts::new(), Instant::now());
        for number in 0..2_000_u16 {
            let caller = anybody(number, "203.0.113.5:8200");
            contacts.called(caller, HERE.parse().unwrap());
            contacts.answered(caller.id, now);
        }
        assert_eq!(contacts.all().len(), LEGACY_CONTACTS_PER_ADDRESS);
        assert!(contacts.called(peer(1, "203.0.113.6:8200"), "203.0.113.6".parse().unwrap()));
        contacts.name(peer(2, "203.0.113.7:8200"));
        assert_eq!(ids(&contacts.to_ask())[0], 2, "whom the user named comes first");
    }

    #[test]
    fn who_has_many_ids_pushes_out_its_own() {
        let mut contacts = Contacts::new();
        contacts.called(peer(1, "203.0.113.6:8200"), "203.0.113.6".parse().unwrap());
        for number in 0..100 {
            contacts.called(anybody(number, "203.0.113.5:8200"), HERE.parse().unwrap());
        }
        assert_eq!(contacts.all().len(), 1 + LEGACY_CONTACTS_PER_ADDRESS);
        assert_eq!(contacts.all()[0].peer.id, LegacyId::from_bytes([1; 32]));
    }

    #[test]
    fn everybody_is_pinged_at_once_and_then_now_and_again() {
        let (mut contacts, now) = (Contacts::new(), Instant::now());
        contacts.name(peer(1, "203.0.113.5:8200"));
        assert_eq!(contacts.next_due(now), Duration::ZERO);
        assert_eq!(ids(&contacts.due(now)), [1]);
        assert_eq!(ids(&contacts.due(now)), [] as [u8; 0]);
        assert_eq!(contacts.next_due(now), LEGACY_UPKEEP_EVERY);
        assert_eq!(ids(&contacts.due(now + LEGACY_UPKEEP_EVERY)), [1]);
    }

    #[test]
    fn we_are_no_peer_of_ours() {
        let mut contacts = Contacts::new();
        contacts.we_are(LegacyId::from_bytes([1; 32]));
        assert!(!contacts.called(peer(1, "203.0.113.5:8200"), HERE.parse().unwrap()));
        contacts.name(peer(1, "203.0.113.5:8200"));
        assert!(contacts.all().is_empty());
    }
}
