//! A stock client that is a node.

use std::net::SocketAddr;

use offswarm::id::InfoHash;

use crate::clients::{Client, Desk, Task};
use crate::journey::Link;
use crate::net::Machine;

use super::probe::Probe;

/// A client with its DHT on, and one torrent, which it announces and whose peers it looks for.
pub(crate) struct DhtNode<C> {
    #[allow(dead_code, reason = "for tests of downloads; dropping it ends the client")]
    pub(crate) client: C,
    #[allow(dead_code, reason = "for tests of downloads; dropping it removes the folders")]
    pub(crate) desk: Desk,
    /// Where it is asked, by UDP as by TCP.
    pub(crate) address: SocketAddr,
}

impl<C: Client> DhtNode<C> {
    /// Starts it with nodes that it is told, if any; when this returns it answers.
    pub(crate) fn start(machine: &Machine, entries: &[SocketAddr], task: &Task) -> Self {
        let desk = Desk::in_dht(machine, entries);
        Self::start_at(desk, task)
    }

    /// The same with what is in the content folder of a desk that is in a DHT.
    pub(crate) fn start_at(desk: Desk, task: &Task) -> Self {
        let node = Self::start_unasked(desk, task);
        Probe::wait_for(node.desk.machine(), node.address);
        node
    }

    /// Starts it and asks nothing. It may not answer yet.
    pub(crate) fn start_unasked(desk: Desk, task: &Task) -> Self {
        let client = C::join(&desk, task);
        let address = desk.address();
        Self { client, desk, address }
    }
}

/// A torrent that nobody has: what a client is asked that is wanted for its DHT alone.
pub(crate) fn nobodys(infohash: InfoHash) -> Task {
    let link = Link::Magnet(format!("magnet:?xt=urn:btih:{infohash}&dn=nobodys"));
    Task { link, infohash, peers: Vec::new() }
}
