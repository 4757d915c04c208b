//! How a node stands, for whoever asks.

use std::time::Instant;

use super::{Contact, Family, NativeNode, Node};
use crate::id::NodeId;
use crate::krpc::machine::{Counters, Membership, Saved};
use crate::krpc::routing::Standing;

/// How a node stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// The networks it is in.
    pub networks: Vec<Network>,
    /// Native nodes it knows.
    pub native_nodes: Vec<NativeNode>,
    /// Peers that others have it keep.
    pub kept_peers: usize,
    /// Items that others have it keep.
    pub kept_items: usize,
    /// What went over the wire.
    pub counters: Counters,
}

/// One of the networks a node is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Which one.
    pub family: Family,
    /// Whether we are in it.
    pub membership: Membership,
    /// Our id in it.
    pub id: NodeId,
    /// Our address, as others see it.
    pub external_ip: Option<std::net::IpAddr>,
    /// Nodes that answered lately, those that did not yet again, and those that do not any more.
    pub good: usize,
    /// See `good`.
    pub questionable: usize,
    /// See `good`.
    pub bad: usize,
    /// The nodes themselves, but for the bad ones.
    pub contacts: Vec<Contact>,
}

impl Status {
    /// What is to be remembered for the next start.
    #[must_use]
    pub fn to_save(&self) -> Vec<Saved> {
        let save = |network: &Network| {
            let Network { family, id, contacts, .. } = network;
            Saved { family: *family, id: *id, contacts: contacts.clone() }
        };
        self.networks.iter().map(save).collect()
    }
}

impl Node {
    pub(super) fn status(&self, now: Instant) -> Status {
        let (kept_peers, kept_items) = self.machine.kept();
        let network = |family| {
            let all = self.machine.contacts(family, now);
            let count = |standing| all.iter().filter(|(_, found)| *found == standing).count();
            let alive = all.iter().filter(|(_, standing)| *standing != Standing::Bad);
            Some(Network {
                family,
                membership: self.machine.membership(family)?,
                id: self.machine.id(family)?,
                external_ip: self.machine.external_ip(family),
                good: count(Standing::Good),
                questionable: count(Standing::Questionable),
                bad: count(Standing::Bad),
                contacts: alive.map(|(contact, _)| *contact).collect(),
            })
        };
        Status {
            networks: Family::ALL.into_iter().filter_map(network).collect(),
            native_nodes: self.machine.native_nodes(now),
            kept_peers,
            kept_items,
            counters: self.machine.counters(),
        }
    }
}
