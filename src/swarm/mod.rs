//! Taking part in swarms: finding their members and moving the pieces.
//!
//! | file | what it does |
//! |---|---|
//! | [`guard`] | the HTTP client for strangers' addresses |
//! | [`tracker`] | one announce to one tracker, HTTP or UDP (BEP 3, 7, 15, 23, 41) |
//! | [`announce`] | when which tracker hears what, for one torrent or a million |
//! | [`webseed`] | ranges of a torrent's file from an HTTP server (BEP 19) |

pub mod announce;
pub mod guard;
pub mod tracker;
pub mod webseed;
