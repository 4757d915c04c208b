//! The bounds of local peer discovery (BEP 14).

use std::time::Duration;

/// Bytes of the longest datagram, read or written: BEP 14 asks for no more, so that no link cuts it
/// into parts.
pub const MAX_LAN_DATAGRAM_LEN: usize = 1_400;

/// Infohashes in one datagram of ours, 52 bytes each: with the longest port, group and cookie beside
/// them they fit [`MAX_LAN_DATAGRAM_LEN`].
pub const MAX_LAN_INFOHASHES: usize = 24;

/// Characters of the longest cookie that is kept; libtorrent's have up to 8.
pub const MAX_LAN_COOKIE_LEN: usize = 64;

/// From one announce of an infohash to the next (BEP 14).
pub const LAN_ANNOUNCE_EVERY: Duration = Duration::from_secs(5 * 60);

/// An announce takes those along that are due so soon: infohashes that came one by one share their
/// datagrams from the second announce on.
pub const LAN_GATHER: Duration = Duration::from_secs(30);

/// Datagrams of ours follow each other at this distance, on each network and family, in the long
/// run. BEP 14 names a minute for one infohash each; with 24 of them in one we are not far off.
pub const LAN_SEND_GAP: Duration = Duration::from_secs(1);

/// Datagrams of ours at once: what a start with a hundred torrents takes.
pub const LAN_SEND_BURST: u32 = 4;

/// Infohashes announced at the same time: what [`LAN_SEND_GAP`] and [`MAX_LAN_INFOHASHES`] let
/// through in [`LAN_ANNOUNCE_EVERY`]. It takes 1 MB of memory.
pub const MAX_LAN_SWARMS: usize = 7_200;

/// The shortest wait before a peer that is new to us hears of us in turn.
pub const LAN_REPLY_FIRST: Duration = Duration::from_secs(1);

/// The longest such wait. They are drawn by lot, so that a hundred machines do not speak at once,
/// and whoever else comes within it is served by the same announce.
pub const LAN_REPLY_LAST: Duration = Duration::from_secs(6);

/// From one announce of an infohash that a new peer brought about to the next such one.
pub const LAN_REPLY_EVERY: Duration = Duration::from_secs(60);

/// Peers remembered, of all infohashes: 300 KB of memory, and more than a network has that carries
/// multicast.
pub const MAX_LAN_PEERS: usize = 2_048;

/// A peer that is heard of again after so long is told again: with each of its announces, that is.
pub const LAN_TELL_AGAIN: Duration = Duration::from_secs(4 * 60);

/// A peer that was silent for so long is a new one: it has missed three announces.
pub const LAN_PEER_LIFE: Duration = Duration::from_secs(16 * 60);

/// Datagrams heard in a second, in the long run. A hundred machines with a hundred torrents each,
/// announced one by one, send 35; reading one takes some microseconds.
pub const LAN_HEARD_PER_SECOND: u32 = 200;

/// Datagrams heard at once: all that such a network sends within half a minute.
pub const LAN_HEARD_BURST: u32 = 1_000;

/// Peers a second that are told and remembered, in the long run, so that a flood of made-up ones
/// neither makes us dial a crowd nor drives the true ones out of memory at once.
pub const LAN_TOLD_PER_SECOND: u32 = 10;

/// Peers that are told at once: those of some hundred torrents that a neighbour has as well.
pub const LAN_TOLD_BURST: u32 = 250;

/// Peers that wait for somebody to take them: as many as are told at once. More are dropped, and
/// are told again after [`LAN_TELL_AGAIN`].
pub const LAN_FOUND_WAITING: usize = 250;

/// Datagrams read from one socket before anything else has its turn.
pub const LAN_READ_AT_ONCE: usize = 32;

/// Interfaces used: more than a machine has that is no router.
pub const MAX_LAN_INTERFACES: usize = 32;

/// How often the interfaces are listed anew: a laptop comes to another network.
pub const LAN_LOOK_EVERY: Duration = Duration::from_secs(60);

/// Routers that a datagram passes plus one: it stays on its network.
pub const LAN_HOPS: u32 = 1;
