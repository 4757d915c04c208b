//! The peer protocol of BitTorrent, served and spoken.
//!
//! Participants: this program and any client of BEP 3, with the Fast extension (BEP 6), the
//! extension protocol (BEP 10) with `ut_metadata` (BEP 9), `ut_pex` (BEP 11) and `lt_donthave`
//! (BEP 54), and the hash messages of BEP 52. Goals: any torrent of a [`content::Library`] is
//! served on demand and nothing is held for those without peers; chosen pieces of a torrent are
//! downloaded, and nothing else; a peer that lies or breaks the protocol harms nobody but itself.
//! Non-goals: uTP (TCP is twice as fast where it was measured), encryption (it hides nothing from
//! who knows the infohash), super-seeding.
//!
//! | file | what it is |
//! |---|---|
//! | [`handshake`], [`message`], [`extension`] | bytes to values and back |
//! | [`bits`], [`pieces`] | sets of pieces; how a torrent is cut |
//! | [`exchange`], `party`, [`picker`], [`choker`] | the machine: no socket, no clock |
//! | [`pool`] | which addresses to dial when, whom to shun; no clock either |
//! | [`content`] | what a torrent consists of here |
//! | [`live`], `metadata` | what the connections of a torrent share |
//! | `driver`, `early` | one connection, the only place that reads and writes a socket |
//! | `loader` | the blocks it is served from, one read ahead |
//! | [`front`], `door`, `tender`, [`rate`] | the port, who is let in, the limits, and what happens as time passes |
//! | [`native`] | the native peer protocol: single blocks, at the same port |

pub mod bits;
pub mod choker;
pub mod content;
mod door;
mod driver;
mod early;
pub mod exchange;
pub mod extension;
pub mod front;
pub mod handshake;
pub mod live;
mod loader;
pub mod message;
mod metadata;
pub mod native;
mod party;
pub mod picker;
pub mod pieces;
pub mod pool;
pub mod rate;
mod tender;

#[cfg(test)]
mod simulation;
