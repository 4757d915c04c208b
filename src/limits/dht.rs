//! The bounds of the DHT node.

use std::time::Duration;

use super::{BLOCK_LEN, MAX_PIECE_LEN, MAX_PIECES};

/// Nodes in a bucket, and nodes that keep a value (Kademlia's k, BEP 5).
pub const BUCKET_NODES: usize = 8;

/// Bytes of the longest datagram we read; libtorrent writes at most 1,500, and some routers more.
pub const MAX_DATAGRAM_LEN: usize = 4_096;

/// Bytes of the longest datagram we write: every IPv6 link passes 1,280 on whole, less the 48 of the
/// headers. An item of 1,000 bytes with all its fields fits.
pub const MAX_SENT_DATAGRAM_LEN: usize = 1_232;

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

/// Bytes of the longest value of an item (BEP 44).
pub const MAX_VALUE_LEN: usize = 1_000;

/// Bytes of the longest salt of an item (BEP 44).
pub const MAX_SALT_LEN: usize = 64;

/// Items kept for others: below 3 MB with everything around them. libtorrent keeps 700.
pub const MAX_ITEMS: usize = 2_000;

/// Items kept for one host: a twentieth of the room. Of a thousand URLs that somebody publishes
/// into the real network, hardly two come to the same node; in a network of a few nodes all do, and
/// then the latest hundred are kept.
pub const MAX_ITEMS_PER_HOST: usize = 100;

/// How long an item is kept that nobody puts again (BEP 44).
pub const ITEM_LIFE: Duration = Duration::from_secs(2 * 3600);

/// Blocks of the largest torrent that a record may speak of: as many as the largest torrent that we
/// make or accept has, 4 TiB of them.
pub const MAX_RECORD_BLOCKS: u64 = MAX_PIECES * (MAX_PIECE_LEN / BLOCK_LEN as u64);

/// How often peers are announced, at the earliest and at the latest. Nodes forget them after 30
/// minutes (libtorrent) or more.
pub const PEERS_INTERVAL: (Duration, Duration) =
    (Duration::from_secs(15 * 60), Duration::from_secs(25 * 60));

/// How often items are put again, at the earliest and at the latest: twice before they expire, or
/// nearly so (BEP 44 asks for once an hour).
pub const ITEM_INTERVAL: (Duration, Duration) =
    (Duration::from_secs(55 * 60), Duration::from_secs(65 * 60));

/// How soon after midnight (UTC) items are put under the salt of the new day, at the latest: not
/// all publishers at once, and long before yesterday's expire.
pub const NEW_DAY_SPREAD: Duration = Duration::from_secs(15 * 60);

/// How long to wait after an announce or a put that reached no node.
pub const REPUBLISH_RETRY: Duration = Duration::from_secs(60);
