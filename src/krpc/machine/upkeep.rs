//! Keeping a node in the network: refresh, pings, its own id.

use std::net::SocketAddr;
use std::time::Instant;

use super::tasks::Purpose;
use super::{Aim, Contact, Family, Host, Machine, Method, Pending, Question, Response};
use crate::address::{Reach, may_dial_told, reach};
use crate::krpc::secure::{id_for, is_secure};
use crate::limits::dht::{BUCKET_NODES, GOSSIP_GAP, GREETING_LEN, NATIVE_PROBES};

impl Machine {
    /// Does what is due in all networks.
    pub(super) fn keep_up(&mut self, now: Instant) {
        for family in Family::ALL {
            let side = self.sides.iter_mut().find(|side| side.family == family);
            let Some(side) = side.filter(|side| side.bootstrap.is_ready()) else { continue };
            if side.bootstrap.is_due(side.table.is_empty(), now) {
                self.bootstrap_side(family, now);
                continue;
            }
            let ping = side.table.questionable_due(now);
            let refresh = side.table.refresh_due(&mut self.chance, now);
            if let Some(contact) = ping {
                self.check_on(contact, now);
            }
            if let Some(target) = refresh {
                self.start(Aim::Nodes(target), family, &[], false, now);
            }
        }
    }

    /// What an answer tells about the node and about us.
    pub(super) fn note_answer(
        &mut self,
        pending: &Pending<Purpose>,
        response: &Response,
        contact: Contact,
        ip: Option<SocketAddr>,
        now: Instant,
    ) {
        self.guard.prove(pending.to, now);
        let family = Family::of(&contact.address);
        let Some(side) = self.side_mut(family).filter(|side| side.table.own() != contact.id) else {
            return;
        };
        if let Some(ip) = ip {
            side.votes.vote(ip.ip().to_canonical(), Host::of(contact.address), now);
        }
        // Under whatever id it answers now: nodes that learn their address take another one.
        if let Some(doubtful) = side.table.answered(contact, now) {
            self.check_on(doubtful, now);
        }
        if self.side(family).is_some_and(|side| side.table.len() >= BUCKET_NODES) {
            self.open(family, now);
        }
        self.follow_our_address(family, now);
        if let Some(off) = &response.off {
            self.hear_of_natives(&off.on, contact.address, now);
        }
    }

    /// A node has not answered.
    pub(super) fn note_silence(&mut self, address: SocketAddr, now: Instant) {
        self.natives.failed(address);
        if let Some(side) = self.side_mut(Family::of(&address)) {
            side.table.failed(address, now);
        }
    }

    /// A node may not be there.
    pub(super) fn doubt(&mut self, address: SocketAddr, now: Instant) {
        let side = self.side_mut(Family::of(&address));
        if let Some(doubtful) = side.and_then(|side| side.table.doubt(address, now)) {
            self.check_on(doubtful, now);
        }
    }

    /// A node has asked us something: if there is a place for it, we ask it something, too, as soon
    /// as it has sent enough for that.
    pub(super) fn meet(&mut self, contact: Contact, now: Instant) {
        let Some(side) = self.side_mut(Family::of(&contact.address)) else { return };
        side.table.queried_us(&contact, now);
        let allowance = self.guard.allowance(contact.address, now);
        if allowance >= GREETING_LEN && self.is_wanted(&contact, now) {
            self.check(contact, allowance != usize::MAX, now);
        }
    }

    /// Asks native nodes that others named whether they are there, one at a time: who names them may
    /// lie, and go on for as long as it is asked.
    fn hear_of_natives(&mut self, named: &[Contact], by: SocketAddr, now: Instant) {
        if now < self.gossip_from || self.natives.fresh(now).count() >= NATIVE_PROBES {
            return;
        }
        let named = self.believable(named.iter().copied(), by, Family::of(&by));
        let unknown = named.into_iter().find(|one| !self.natives.is_native(one.address));
        if let Some(contact) = unknown {
            self.gossip_from = now + GOSSIP_GAP;
            self.check_on(contact, now);
        }
    }

    /// Asks a node whether it is there.
    fn check_on(&mut self, contact: Contact, now: Instant) {
        self.check(contact, false, now);
    }

    fn check(&mut self, contact: Contact, brief: bool, now: Instant) {
        let question = Question::new(contact.address, Method::Ping, Purpose::Ping(None));
        self.ask(Question { contact: Some(contact), brief, ..question }, now);
    }

    /// Takes an id that follows from our address, once that is known (BEP 42).
    fn follow_our_address(&mut self, family: Family, now: Instant) {
        let Some(side) = self.sides.iter_mut().find(|side| side.family == family) else { return };
        let Some(ip) = side.votes.agreed() else { return };
        if !is_secure(&side.table.own(), ip) {
            side.table.rebase(id_for(ip, &mut self.chance), now);
            // Our neighbours are others now, and do not know us.
            let target = side.table.own().target();
            self.start(Aim::Nodes(target), family, &[], false, now);
        }
    }

    /// The nodes that somebody named and that may be asked: of the family, not ourselves, and not
    /// in our network if who named them is not.
    pub(super) fn believable(
        &self,
        contacts: impl Iterator<Item = Contact>,
        by: SocketAddr,
        family: Family,
    ) -> Vec<Contact> {
        let own = self.id(family);
        let is_good = |contact: &Contact| {
            Family::of(&contact.address) == family
                && Some(contact.id) != own
                && may_dial_told(contact.address, by.ip())
                && reach(contact.address.ip()) != Reach::Nowhere
        };
        contacts.filter(is_good).take(2 * BUCKET_NODES).collect()
    }
}
