//! The services of the daemon, and who depends on whom.
//!
//! ```text
//! root       RestForOne, 5 restarts in 60 s
//! |- store     opens the store and the catalog, and looks after them
//! `- services  OneForOne, 20 restarts in 10 minutes
//!    |- peers    the port for BitTorrent and native peers, trackers
//!    |- dht      our node of the DHT
//!    |- native   native peers: the local network, gossip
//!    |- seeding  announces what the catalog has
//!    |- meter    rates and the last 15 minutes
//!    |- legacy   answers js-offs nodes, if that is wanted
//!    |- commands the socket of the command line
//!    `- http     gateway, API, page
//! ```
//!
//! Everything holds blocks, so a store that fails takes the others with it, and they begin again
//! with the one that is opened then. Among themselves they do not depend on each other: what needs
//! swarms waits until they are open, and goes on with others when they were opened anew.

mod legacy;
mod network;
mod store;
mod web;

use std::time::Duration;

use crate::supervise::{Backoff, Intensity, Service, Strategy, Supervisor};

use super::{Opened, Shared};

pub(super) use legacy::{BridgePort, bind as bind_bridge};
pub(super) use web::{Web, bind, statuses};

/// The tree of services.
pub(super) fn tree(shared: &Shared, opened: Opened) -> Supervisor {
    let Opened { client, door, web, bridge } = opened;
    let values = &shared.config.values;
    let drain = values.drain;
    let mut services = Supervisor::new(Strategy::OneForOne)
        .intensity(Intensity { restarts: 20, within: Duration::from_secs(600) })
        .backoff(Backoff { first: Duration::from_millis(200), ..Backoff::default() })
        .shutdown(drain + Duration::from_secs(5))
        .service(network::peers(shared));
    if values.dht {
        services = services.service(network::dht(shared));
    }
    services = services
        .service(network::native(shared))
        .service(network::seeding(shared))
        .service(network::meter(shared))
        .service(super::calls::service(shared, door).grace(drain));
    if let Some(port) = bridge {
        services = services.service(legacy::bridge(shared, port));
    }
    if let Some(web) = web {
        services = services.service(web::http(shared, web).grace(drain + Duration::from_secs(2)));
    }
    Supervisor::new(Strategy::RestForOne)
        .intensity(Intensity { restarts: 5, within: Duration::from_secs(60) })
        .shutdown(drain + Duration::from_secs(10))
        .service(store::store(shared, client))
        .service(Service::nested("services", services))
}
