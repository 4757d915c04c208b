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

/// Nodes per bucket that wait for a place, all of which have answered (BEP 5 leaves the number open).
pub const BUCKET_SPARES: usize = 8;

/// Buckets of a table: a network of 2^40 nodes fills as many. Ids made to share more bits with ours
/// than that have one bucket together. A table has at most 320 nodes and 320 spares, about 60 KiB.
pub const MAX_BUCKETS: usize = 40;

/// How long a sign of life makes a node good (BEP 5), and how long an address counts as proven.
pub const GOOD_FOR: Duration = Duration::from_secs(900);

/// Unanswered queries in a row that make a node bad: BEP 5 advises to try once more.
pub const BAD_FAILURES: u8 = 2;

/// Unanswered queries in a row after which a node nobody replaces is forgotten: two and a half hours
/// of pings, so that a table outlives an evening without a link.
pub const FORGET_FAILURES: u8 = 12;

/// Queries to one node that time out within this are one failure: a lost link loses all of them.
pub const FAILURE_GAP: Duration = Duration::from_secs(3);

/// Between two pings of a node in doubt: by then a short outage of the link is over.
pub const PING_RETRY: Duration = Duration::from_secs(30);

/// Between two maintenance pings of one table: 160 nodes take 800 seconds, less than [`GOOD_FOR`].
pub const PING_GAP: Duration = Duration::from_secs(5);

/// After how long without a change a bucket is refreshed by a lookup (BEP 5).
pub const REFRESH_AFTER: Duration = Duration::from_secs(900);

/// Between two refreshes of one table: a lookup takes about 60 datagrams, so one a second.
pub const REFRESH_GAP: Duration = Duration::from_secs(60);

/// How often the secret behind tokens changes (BEP 5).
pub const TOKEN_EPOCH: Duration = Duration::from_secs(300);

/// Secrets whose tokens are taken, the present one too: one that is 10 minutes old always is (BEP 5),
/// one that is older than 15 never.
pub const TOKEN_EPOCHS: u64 = 3;

/// Announced peers that are stored, each under one infohash: at most 6 MB if every one has an infohash
/// of its own. A node of the real network, where eight nodes share what is near them, keeps far less.
pub const MAX_STORED_PEERS: usize = 20_000;

/// Peers stored under one infohash, as libtorrent's `max_peers`: five full answers.
pub const MAX_SWARM_PEERS: usize = 500;

/// Peers of one host under one infohash: a few clients behind one translator.
pub const MAX_HOST_PEERS: usize = 4;

/// Entries of one host in the store of peers, a two-hundredth of it. Whoever seeds more has other
/// nodes to tell, but on a private net of a handful.
pub const MAX_HOST_ANNOUNCES: usize = 100;

/// How long an announced peer is told on: announces come every 25 minutes (DESIGN 5).
pub const PEER_LIFE: Duration = Duration::from_secs(1_800);

/// Datagrams a second that one host may send us: a busy neighbour sends a tenth.
pub const HOST_DATAGRAMS: u32 = 20;

/// Datagrams one host may send at once: the end of a lookup and its announces come together.
pub const HOST_BURST: u32 = 100;

/// Datagrams a second read from strangers, and as many again from hosts we asked or that are proven:
/// a tenth of what one core decodes.
pub const ALL_DATAGRAMS: u32 = 2_000;

/// Datagrams of either kind that may come at once: half a second's worth.
pub const ALL_BURST: u32 = 1_000;

/// Hosts of either kind that are remembered: 600 KiB for each kind. We ask a few dozen a second at most.
pub const MAX_GUARDED_HOSTS: usize = 4_096;

/// How long bytes received allow bytes to be sent: an answer is made at once.
pub const CREDIT_FOR: Duration = Duration::from_secs(5);

/// How long a host that we asked is no stranger: longer than [`QUERY_TIMEOUT`].
pub const ASKED_FOR: Duration = Duration::from_secs(10);

/// Between two queries to one host in the long run. libtorrent bans at the 50th datagram in 10
/// seconds (DESIGN 5): with [`PACE_BURST`] never more than 40 are queries.
pub const PACE_GAP: Duration = Duration::from_millis(300);

/// Queries to one host that may go at once.
pub const PACE_BURST: u32 = 6;
