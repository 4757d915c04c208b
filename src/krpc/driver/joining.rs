//! Getting into the network: the names of nodes, and how it went.

use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{Family, Node, Order};
use crate::krpc::machine::Membership;
use crate::limits::dht::QUERY_TIMEOUT;

/// How getting into the network went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Joined {
    /// Those that we are in.
    pub families: Vec<Family>,
    /// Nodes that were asked, and did not answer, in the others.
    pub asked: usize,
    /// Nodes to begin with whose names have no address.
    pub unknown: usize,
}

impl Node {
    /// Tells those who wait for it how getting into the network went, once that is known.
    pub(super) fn tell_joined(&mut self) {
        if self.joining.is_empty() {
            return;
        }
        if let Some(joined) = self.joined() {
            for waiting in self.joining.drain(..) {
                let _ = waiting.send(joined.clone());
            }
        }
    }

    fn joined(&self) -> Option<Joined> {
        let mut joined = Joined { unknown: self.unknown?, ..Joined::default() };
        for family in Family::ALL {
            match self.machine.membership(family) {
                Some(Membership::Pending) => return None,
                Some(Membership::Inside) => joined.families.push(family),
                Some(Membership::Outside { asked }) => joined.asked += asked,
                None => {}
            }
        }
        Some(joined)
    }
}

/// Looks names up, again and again until each has an address.
pub(super) async fn resolve(mut names: Vec<String>, orders: mpsc::Sender<Order>) {
    const RETRY: Duration = Duration::from_secs(60);
    while !names.is_empty() {
        names = look_up(names, &orders).await;
        if orders.send(Order::Named { unknown: names.len() }).await.is_err() {
            return;
        }
        sleep(RETRY).await;
    }
}

/// Looks names up at the same time; those come back that have no address.
async fn look_up(names: Vec<String>, orders: &mpsc::Sender<Order>) -> Vec<String> {
    let mut lookups = JoinSet::new();
    for name in names {
        lookups.spawn(async move {
            let found = timeout(QUERY_TIMEOUT, lookup_host(name.as_str())).await;
            let found = found.map_err(std::io::Error::from).flatten();
            let found = found.map(Iterator::collect::<Vec<_>>);
            (name, found)
        });
    }
    let mut unknown = Vec::new();
    while let Some(looked_up) = lookups.join_next().await {
        match looked_up {
            // Whoever does not take them any more has ended, and this with it.
            Ok((_, Ok(found))) => drop(orders.send(Order::Entries(found)).await),
            Ok((name, Err(error))) => {
                tracing::debug!(%name, %error, "an entry to the DHT has no address");
                unknown.push(name);
            }
            Err(_) => {}
        }
    }
    unknown
}
