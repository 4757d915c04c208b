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

/// Disjoint paths of a lookup, as S/Kademlia has them; each costs some queries of its own.
pub const LOOKUP_PATHS: u8 = 3;

/// Nodes of a lookup that are asked at a time (Kademlia's alpha), those that are slow not counted.
pub const LOOKUP_AT_ONCE: usize = 3;

/// Nodes of a lookup that are asked at a time, slow ones and all.
pub const LOOKUP_AT_MOST: usize = 8;

/// Nodes of a lookup that are remembered: those of its last steps, and what liars made up.
pub const LOOKUP_CANDIDATES: usize = 256;

/// Queries of one lookup, so that nobody leads it on for ever; a usual one has 25 to 70.
pub const LOOKUP_QUERIES: u32 = 200;

/// Times that a node of a lookup is asked that does not answer, each a second after the one before: at
/// a loss of 20 % either way, one in sixty living ones looks dead then.
pub const LOOKUP_TRIES: u8 = 4;

/// Addresses of one host that one path of a lookup remembers.
pub const LOOKUP_PER_HOST: usize = 2;

/// Closest nodes that have to answer before a lookup ends: twice as many as keep a value. With three
/// liars among ten, who name each other, the closest eight that are known may be liars all; the next
/// eight hardly ever are, and one honest neighbour names the others. In a simulation of 1,000 nodes
/// this finds 99 % where eight find 97, for a seventh more datagrams.
pub const LOOKUP_WIDTH: usize = 16;

/// Closest nodes of each path that have to answer before the paths are joined: on the way a path
/// needs one that is honest, and more would cost datagrams on each of them.
pub const LOOKUP_PATH_WIDTH: usize = 3;

/// Nodes among the closest eight whose id need not follow from their address (BEP 42).
pub const LOOKUP_INSECURE: usize = BUCKET_NODES / 2;

/// After so long without an answer another node of a lookup is asked as well, as libtorrent does.
pub const QUERY_SLOW: Duration = Duration::from_secs(1);

/// Queries that wait to be sent or answered: a thousand lookups at once would have no more.
pub const MAX_PENDING: usize = 4_096;

/// Native nodes that are remembered: 30 KB of memory.
pub const MAX_NATIVES: usize = 256;

/// How long a native node counts as one without having answered again.
pub const NATIVE_LIFE: Duration = Duration::from_secs(3600);

/// Lookups under way at once. Each holds some 30 KB.
pub const MAX_TASKS: usize = 256;

/// Nodes that a lookup begins with: enough for every path to survive a few dead ones.
pub const LOOKUP_SEEDS: usize = 3 * BUCKET_NODES;

/// Nodes asked to get into the network, of those known from last time.
pub const BOOTSTRAP_AT_ONCE: usize = 24;

/// The pause after nobody let us into the network; it doubles with each further time.
pub const BOOTSTRAP_RETRY_FIRST: Duration = Duration::from_secs(15);

/// The longest pause before the next attempt to get into the network.
pub const BOOTSTRAP_RETRY_LAST: Duration = Duration::from_secs(600);

/// Nodes of our kind that are looked after: nobody can make us ping more on his word.
pub const NATIVE_PROBES: usize = 16;

/// Between two nodes that are asked because a native node named them: those looked after are found
/// within a minute or so, and a victim that liars name hears of us as rarely.
pub const GOSSIP_GAP: Duration = Duration::from_secs(4);

/// Bytes of the shortest ping of ours.
pub const GREETING_LEN: usize = 58;

/// Peers in one answer: 800 bytes of IPv6, so that all of it fits into a datagram.
pub const MAX_VALUES_SENT: usize = 40;

/// How often what has expired is dropped.
pub const STORES_SWEPT_EVERY: Duration = Duration::from_secs(60);

/// Searches that users have under way at once: some hundred datagrams a second, which the router of
/// a household bears, and less than [`MAX_TASKS`] in two networks, so that our own upkeep always
/// finds room.
pub const MAX_SEARCHES: usize = 32;

/// News of one search that wait to be fetched; more are dropped.
pub const NEWS_WAITING: usize = 256;

/// Datagrams read from a socket before anything else is looked at.
pub const READ_AT_ONCE: usize = 64;

/// How often the nodes we know are written to disk.
pub const SAVE_EVERY: Duration = Duration::from_secs(600);

/// Nodes of each network that are written to disk: 5 KB.
pub const MAX_SAVED_NODES: usize = 200;

/// Bytes of the longest file of known nodes that is read.
pub const MAX_SAVED_LEN: u64 = 64 << 10;

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

/// Torrents of a large catalog that are announced in the DHT at once. Each takes some ten seconds
/// of mostly waiting, and some 60 datagrams each way: at most 200 a second in all.
pub const DHT_ANNOUNCES_AT_ONCE: usize = 16;

/// Torrents and items whose nearest nodes are remembered: 4 MB of memory.
pub const NEAR_REMEMBERED: usize = 4_096;

/// The pause before a download that has no peer is looked for again; it doubles.
pub const LONELY_SEARCH_FIRST: Duration = Duration::from_secs(2);

/// The longest pause of a download that has no peer.
pub const LONELY_SEARCH_LAST: Duration = Duration::from_secs(300);

/// Records of one URL that are followed: whoever knows the URL can write false ones.
pub const MAX_RECORDS: usize = 4;

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

/// How long bytes received allow bytes to be sent: what an answer leaves of a few queries buys a ping.
pub const CREDIT_FOR: Duration = Duration::from_secs(60);

/// How long a host that we asked is no stranger: longer than [`QUERY_TIMEOUT`].
pub const ASKED_FOR: Duration = Duration::from_secs(10);

/// Between two queries to one host in the long run. libtorrent bans at the 50th datagram in 10
/// seconds (DESIGN 5): with [`PACE_BURST`] never more than 40 are queries.
pub const PACE_GAP: Duration = Duration::from_millis(300);

/// Queries to one host that may go at once.
pub const PACE_BURST: u32 = 6;

/// Nodes of a table below which those of peers are asked whether they are there.
pub const FEW_NODES: usize = 64;

/// Nodes of peers that wait to be looked at; more are dropped.
pub const NODES_WAITING: usize = 16;
