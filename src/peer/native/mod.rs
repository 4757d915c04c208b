//! The native peer protocol: single blocks, asked for by their ids.
//!
//! Participants: two offswarm nodes, or whoever else speaks this. Goals: any block of the store can
//! be asked for without a torrent, many at a time; who lies, stalls or floods harms nobody but
//! itself; a node takes in blocks of others only as far as its owner lets it. Non-goals: secrecy
//! (blocks are noise, and who asks for an id is seen asking), finding peers (the DHT, the local
//! network and gossip do that).
//!
//! # Connection
//!
//! TCP, at the port where BitTorrent peers are received, too. The handshake of BEP 3 names the
//! infohash SHA-1("offswarm native 1") ([`InfoHash::native`](crate::id::InfoHash::native)) and has the bit of BEP 10; then both sides send the extension
//! handshake (message 20, 0) and from then on only extension messages, the port of a node of the DHT
//! (BEP 5), and keep-alives, which come at least every two minutes. The handshake's dictionary has, beside `m`, `p`, `reqq` and `v`:
//!
//! ```text
//! off = d 1:h i<1 if it keeps blocks of others>e 1:v i1e e
//! ```
//!
//! `reqq` is how many wanted blocks the sender lets wait (not 16 KiB requests). `m` names the messages:
//!
//! | message | body | meaning |
//! |---|---|---|
//! | `off_ask` | `d 3:ids <32 bytes each> [1:u i1e] e` | which of these (at most 1,024) are there? `u`: and how much used? |
//! | `off_have` | `d 4:bits <one each, the first is the highest> [1:u <one byte each>] e` | answers asks and pushes in their order |
//! | `off_want` | `d 3:ids <32 bytes each> e` | these blocks, please |
//! | `off_block` | `d 2:id <32 bytes> e`, then the block's bytes | one of them |
//! | `off_lack` | `d 3:ids <32 bytes each> e` | of those that were wanted, these are not there |
//! | `off_cancel` | `d 3:ids <32 bytes each> e` | these are not wanted any more |
//! | `off_push` | `d 2:id <32 bytes> e`, then the block's bytes | keep this; the bit of the `off_have` says whether it is there now |
//! | `ut_pex` | as in BEP 11 | other native peers |
//!
//! A bit of `off_have` is not a promise: blocks are evicted. A byte of `u` says how many OFF URLs of
//! the sender use the block, 255 standing for more. Each wanted block is answered once, by
//! `off_block` or `off_lack`, in any order; one that was taken back may still be. Unknown messages
//! and keys are passed over. At most 16 questions, four of them pushes, wait for their answers. A side that sends what nobody asked for, answers of the wrong length or
//! more than was agreed on is hung up on; one that sends other bytes than the id says is banned.
//!
//! | file | what it is |
//! |---|---|
//! | [`message`] | bytes to values and back |
//! | [`session`], `window` | one connection: a machine without socket or clock |
//! | [`picker`] | which blocks are asked of which peer; no clock either |
//! | [`shelf`] | the blocks here, as peers may see and change them |
//! | [`natives`], `link` | what all connections share |
//! | [`errand`], `questions` | how a fetch uses them; what else they are asked |
//! | `driver`, `serving` | one connection, the only place that reads and writes its socket |

pub(super) mod driver;
pub mod errand;
mod link;
pub mod message;
pub mod natives;
pub mod picker;
mod questions;
mod serving;
pub mod session;
pub mod shelf;
pub(super) mod tender;
mod window;
