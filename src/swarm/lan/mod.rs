//! Peers on the same network: local service discovery (BEP 14).
//!
//! Participants: this program and other clients on the networks that this machine is on, libtorrent
//! (qBittorrent, Deluge) and Transmission among them. Each says to a multicast group which swarms it
//! is in, and hears the others. Goals: two of the same swarm find each other within seconds,
//! whoever came first, without a tracker, the DHT or any way out; the traffic is bounded, and so is
//! what a flood of forged datagrams brings about. Non-goals: networks behind a router (datagrams do
//! not pass one), version 2 infohashes (the BEP has none), keeping secret what we take part in: each
//! machine on the network hears the infohashes.
//!
//! | file | what it does |
//! |---|---|
//! | [`message`] | datagrams to values and back |
//! | [`machine`] | what is said when, and who is believed; no socket, no clock |
//! | [`driver`] | the sockets, on each interface |
//!
//! Whoever is heard is somebody's word: only sources on a local network count
//! ([`is_neighbour`](crate::address::is_neighbour)), only peers that may be dialled are told, and
//! only for swarms that we announce ourselves.

pub mod driver;
pub mod machine;
pub mod message;
