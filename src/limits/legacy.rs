//! The bounds of the legacy protocol of js-offs: see the module `legacy`.

use std::time::Duration;

/// Bytes of the longest request we read. Only Random needs more than a block: its filter names the
/// whole cache of whoever asks, 44 bytes a block, and js-offs would send 440 MB for a full cache of
/// small blocks.
pub const MAX_LEGACY_REQUEST_LEN: usize = 8 << 20;

/// Bytes of the longest answer we read: the largest block, and room for a crowd of nodes.
pub const MAX_LEGACY_ANSWER_LEN: usize = 256 << 10;

/// Bytes of a request that need no share of [`LEGACY_LARGE_REQUESTS`]: every call but Random, whose
/// filter fits as well up to 5,000 blocks.
pub const LEGACY_SMALL_REQUEST_LEN: usize = 256 << 10;

/// Requests longer than [`LEGACY_SMALL_REQUEST_LEN`] that are read at the same time: with what is made
/// of their filters some 100 MiB.
pub const LEGACY_LARGE_REQUESTS: usize = 4;

/// Connections answered at the same time; who comes later is dropped.
pub const LEGACY_CONNECTIONS: usize = 256;

/// Connections of one address (IPv6: one /64) at the same time. js-offs has one at a time for each of
/// its own fetches; ours have up to [`LEGACY_CALLS_PER_NODE`].
pub const LEGACY_CONNECTIONS_PER_ADDRESS: usize = 32;

/// How long the bytes of a request may take in all. js-offs writes them at once.
pub const LEGACY_REQUEST_TIME: Duration = Duration::from_secs(30);

/// How long nothing may come of a request, or be taken of an answer.
pub const LEGACY_IDLE_TIME: Duration = Duration::from_secs(10);

/// How long an answer is waited for, and more of one that has begun. js-offs answers some requests never
/// and does not close the connection either.
pub const LEGACY_CALL_TIME: Duration = Duration::from_secs(10);

/// How long an answer may take in all: [`LEGACY_CALLS_PER_NODE`] of the largest over a line of some
/// 20 kB/s.
pub const LEGACY_ANSWER_TIME: Duration = Duration::from_secs(60);

/// Calls to one node at the same time: js-offs gives 28 MB/s over one connection and 35 over four,
/// of small blocks ten times as many over sixteen as over one.
pub const LEGACY_CALLS_PER_NODE: usize = 8;

/// Calls of one fetch at the same time, to all nodes.
pub const LEGACY_CALLS: usize = 32;

/// Nodes that one fetch asks: those that are known, then those that were named by them.
pub const MAX_LEGACY_NODES: usize = 64;

/// Answers in a row that a node may fail to give before a fetch asks it no more.
pub const LEGACY_PATIENCE: u32 = 4;

/// Peers in one answer that are looked at, and that we tell at most: js-offs asks for 10.
pub const MAX_LEGACY_PEERS_TOLD: usize = 20;

/// Peers that are remembered because they have called us. js-offs keeps four.
pub const MAX_LEGACY_CONTACTS: usize = 256;

/// Of these, peers at one address (IPv6: one /64): ids cost nothing.
pub const LEGACY_CONTACTS_PER_ADDRESS: usize = 8;

/// From one round of pings to the next, as in js-offs.
pub const LEGACY_UPKEEP_EVERY: Duration = Duration::from_secs(300);

/// Pings of a round at the same time.
pub const LEGACY_PINGS: usize = 16;

/// Characters of the longest locator: base58 of two IPv6 addresses and an id, twice over.
pub const MAX_LEGACY_LOCATOR_LEN: usize = 512;

/// Slots of a filter that we read: what fits [`MAX_LEGACY_REQUEST_LEN`].
pub const MAX_LEGACY_FILTER_SLOTS: usize = MAX_LEGACY_REQUEST_LEN / 20;

/// Blocks that are looked at for an answer to Random, at random.
pub const LEGACY_RANDOM_SAMPLE: usize = 65_536;

/// Answers to Random that are looked for at the same time: each takes a thread for up to some tenths
/// of a second.
pub const LEGACY_RANDOM_AT_ONCE: usize = 2;

/// How long somebody waits for a block that is fetched from elsewhere, unless the configuration says
/// otherwise. js-offs gives up after 120 s.
pub const LEGACY_BRIDGE_TIME: Duration = Duration::from_secs(30);
