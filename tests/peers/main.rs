//! Tests with foreign BitTorrent clients.
//!
//! What they show is the point of the program: any client can hold our blocks. Each test goes one
//! way and back: offswarm shares a file, the foreign client downloads the blocks, offswarm stops,
//! and a home that has nothing gets the file from the foreign client alone, which never had
//! anything but noise.
//!
//! Which client does what is recorded in `MATRIX.md`, by `matrix.rs` and `large.rs`; what the other
//! tests show about single clients goes further.
//!
//! Everything stays on loopback, or in networks that tests make for themselves (`net.rs`), which
//! takes root. A foreign program that is missing fails the test and names the
//! Debian package; `tests/run.sh` installs them all.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

#[path = "../common/mod.rs"]
mod common;

mod announces;
mod aria2;
mod bridge;
mod clients;
mod journey;
mod krpc;
mod ladder;
mod lan;
mod large;
mod legacy_torrents;
mod liar;
mod libtorrent;
mod lighttpd;
mod matrix;
mod mixed;
mod net;
mod openssl;
mod opentracker;
mod programs;
mod record;
mod scale;
mod shards;
mod stage;
mod twins;
mod twins_wire;
mod ways;
