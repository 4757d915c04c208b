//! Integration tests: the library through its front door, and the program as a user runs it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "tests use small numbers"
)]

mod announces;
mod bad_input;
mod command_line;
mod convert;
mod daemon;
mod daemon_services;
mod dht_commands;
mod directories;
mod durability;
mod gateway;
mod hostile;
mod hosting;
mod krpc_attacks;
mod krpc_fuzz;
mod krpc_simulation;
mod legacy;
mod legacy_gateway;
mod legacy_import;
mod legacy_rpc;
mod legacy_torrents;
mod limits;
mod memory;
mod metainfo_corpus;
mod native_commands;
mod native_fetch;
mod native_liars;
mod native_peer;
mod native_simulation;
mod native_wire;
mod packaging;
mod packs;
mod peer_liars;
mod peer_wire;
mod procedure;
mod program;
mod ranges;
mod readme;
mod rendezvous;
mod sealed;
mod server;
mod sessions;
mod shards;
mod swarm;
mod twins;
mod upkeep;
mod web_seeds;
mod wire;
mod worked_example;

#[path = "../common/trials.rs"]
mod trials;
#[path = "../common/world.rs"]
mod world;
