//! Taking part in swarms: finding their members and moving the pieces.
//!
//! | file | what it does |
//! |---|---|
//! | [`session`], `one` | the swarms this program is in: seeding, downloading; one of them |
//! | [`content`] | the blocks of a torrent, served and taken in |
//! | [`guard`] | the HTTP client for strangers' addresses |
//! | [`tracker`] | one announce to one tracker, HTTP or UDP (BEP 3, 7, 15, 23, 41) |
//! | [`announce`] | when which tracker hears what, for one torrent or a million |
//! | [`native`] | native peers, and where they are found |
//! | [`lan`] | peers on the same network (BEP 14) |
//! | `rendezvous` | our place in the DHT, and which torrent carries an OFF URL |
//! | [`webseed`], `web` | ranges of a torrent's file from an HTTP server (BEP 19) |

pub mod announce;
pub mod content;
pub mod guard;
pub mod lan;
pub mod native;
mod one;
mod rendezvous;
pub mod session;
pub mod tracker;
mod web;
pub mod webseed;
