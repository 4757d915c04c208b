//! The bounds of the DHT node.

use std::time::Duration;

/// Nodes in a bucket, and nodes that keep a value (Kademlia's k, BEP 5).
pub const BUCKET_NODES: usize = 8;

/// Bytes of the longest datagram we read; libtorrent writes at most 1,500, and some routers more.
pub const MAX_DATAGRAM_LEN: usize = 4_096;

/// Bytes of the longest datagram we write: every IPv6 link passes 1,280 on whole, less the 48 of the
/// headers. An item of 1,000 bytes with all its fields fits.
pub const MAX_SENT_DATAGRAM_LEN: usize = 1_232;

/// Bytes of the longest transaction id that is echoed. BEP 5 recommends two, eight are seen.
pub const MAX_TRANSACTION_LEN: usize = 32;

/// Bytes of the longest token of a stranger that is kept; libtorrent's have 4, others' up to 20.
pub const MAX_TOKEN_LEN: usize = 64;

/// Bytes of unknown keys of one message that are kept.
pub const MAX_EXTRA_LEN: usize = 1_024;

/// Peers taken from one answer: what fits into the longest datagram of others.
pub const MAX_VALUES: usize = 256;

/// Block ids that one query asks about (DESIGN 5): 768 bytes.
pub const MAX_ASKED_IDS: usize = 24;

/// Native nodes named in one answer: 208 bytes of IPv4.
pub const MAX_GOSSIP: usize = 8;

/// How long an answer is waited for. Most come within one second; libtorrent waits fifteen.
pub const QUERY_TIMEOUT: Duration = Duration::from_secs(4);

/// Voters whose word on our address is kept: two lookups hear as many, and 22 of them have to be
/// liars from different networks to move us.
pub const MAX_ADDRESS_VOTES: usize = 32;

/// Voters that have to agree before we believe an address. Fewer could be one operator's routers, more
/// would keep a node without a proper id for longer than its first lookup.
pub const MIN_ADDRESS_VOTES: usize = 4;

/// How long a vote counts: a dial-up line that changes its address is heard of again within that.
pub const ADDRESS_VOTE_LIFE: Duration = Duration::from_secs(3_600);
