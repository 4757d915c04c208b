//! Who hears of our torrents, and when.
//!
//! | file | what it does |
//! |---|---|
//! | [`schedule`] | when one tracker hears of one torrent: no clock, no network |
//! | [`live`] | one torrent that has peers or wants some: all its trackers, all its events |
//! | [`mass`] | a catalog of up to a million torrents that are only offered |
//! | [`dht`] | what the DHT hears, of one torrent or of a catalog |
//!
//! All drivers are futures that their owner awaits. They end when their token is cancelled;
//! dropping one ends what it has under way and loses nothing that the next announce does not
//! bring again.

pub mod dht;
pub mod live;
pub mod mass;
pub mod schedule;

/// Who we are to trackers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Our name in the swarm (BEP 20).
    pub peer_id: [u8; 20],
    /// The TCP port where peers find us.
    pub port: u16,
    /// A number that proves who we are when our address changes.
    pub key: u32,
}
