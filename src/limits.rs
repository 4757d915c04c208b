//! Every bound the program puts on what it reads or does, with its unit and its reason.
//!
//! A decoder never allocates by a length a stranger declared: it compares the length with one of
//! these first.

pub mod dht;
pub mod http;
pub mod lan;
pub mod legacy;
pub mod relay;

use std::time::Duration;

/// Bytes of a native block (128 KiB), the unit of the OFF System since its first description.
pub const BLOCK_LEN: usize = 131_072;

/// Blocks in the smallest tuple: an off block and one randomizer.
pub const MIN_TUPLE: usize = 2;

/// Blocks in the largest tuple. More randomizers cost traffic and add no deniability.
pub const MAX_TUPLE: usize = 8;

/// Blocks of a tuple when nobody asks for another number, as in the original OFF System.
pub const DEFAULT_TUPLE: usize = 3;

/// Bytes of the longest stream an OFF URL may declare: 1 PiB. It keeps every product of length
/// and tuple size far below 2^63.
pub const MAX_STREAM_LEN: u64 = 1 << 50;

/// Characters of the longest OFF URL or magnet link we parse: a name of 255 bytes, fully escaped,
/// with a dozen trackers, fits four times.
pub const MAX_URL_LEN: usize = 16_384;

/// Bytes of the longest name in an OFF URL: four times what file systems take, and fully escaped
/// well below [`MAX_URL_LEN`].
pub const MAX_URL_NAME: usize = 1_024;

/// Bytes of the longest file name we write, the limit of every common file system.
pub const MAX_NAME_LEN: usize = 255;

/// Characters of each half of a content type (RFC 6838, section 4.2).
pub const MAX_TYPE_LEN: usize = 127;

/// Trackers, web seeds or peers taken from one link. A link is somebody else's word: it must not
/// make us contact a crowd.
pub const MAX_HINTS: usize = 16;

/// Bytes of the longest directory (the JSON) we read or write: 64 MiB name a quarter of a million
/// files, and take a few hundred MiB of memory when parsed.
pub const MAX_DIRECTORY_LEN: u64 = 64 << 20;

/// Files and empty folders of the largest directory. Empty folders are short, so that
/// [`MAX_DIRECTORY_LEN`] alone would let seven million of them through.
pub const MAX_DIRECTORY_ENTRIES: usize = 1_000_000;

/// Bytes of the longest path in a directory: `PATH_MAX` of Linux.
pub const MAX_PATH_LEN: usize = 4_096;

/// Components of the deepest path in a directory, so that nothing that walks a tree runs out of
/// stack or open folders.
pub const MAX_PATH_DEPTH: usize = 64;

/// Blocks of the largest directory, its files' blocks included: 1 TiB. Its URL does not tell how
/// many they are; this many ids take some 600 MB when they are listed.
pub const MAX_DIRECTORY_BLOCKS: u64 = 1 << 23;

/// Bytes from which on a file in a directory is a stream of its own. A stream costs about four
/// blocks however short it is; shorter files are packed together into one.
pub const PACKED_BELOW_LEN: u64 = 64 << 10;

/// Nesting of lists and dictionaries in bencode. Real metainfo nests 5 deep; `serde_bencode`
/// recurses, and 5,000 levels overflow the stack of a thread.
pub const MAX_BENCODE_DEPTH: usize = 100;

/// Bytes of the largest `.torrent` file we read: 65,536 piece hashes take 1.3 MB, v2 layers and
/// tracker lists of other programs a few more.
pub const MAX_METAINFO_LEN: usize = 16 << 20;

/// Block ids listed in the largest `.torrent` file that lists them, 8 MiB of them for 32 GiB of
/// blocks: half of [`MAX_METAINFO_LEN`], so that what we write can be read.
pub const MAX_LISTED_IDS: usize = 1 << 18;

/// Pieces of the largest torrent we make. Above it a piece covers several blocks, because
/// Transmission slows down long before twice as many, and some clients refuse 132,000.
pub const MAX_PIECES: u64 = 65_536;

/// Bytes of the longest piece we make or accept: 64 MiB, what libtorrent still takes. With
/// [`MAX_PIECES`] it bounds a torrent at 4 TiB of blocks.
pub const MAX_PIECE_LEN: u64 = 64 << 20;

/// Bytes of a leaf of a Merkle tree over a file, fixed by BEP 52.
pub const LEAF_LEN: usize = 16_384;

/// Hashes of one layer that a peer may ask for at once, the most BEP 52 recommends: 16 KiB.
pub const MAX_HASHES_ASKED: u32 = 512;

/// Files of the largest foreign torrent we look at: ten times what real ones have, and some tens of
/// MB when they are listed.
pub const MAX_TORRENT_FILES: usize = 100_000;

/// Bytes of all paths of a foreign torrent together. A file list spells its paths out, so that
/// [`MAX_METAINFO_LEN`] bounds them; in a file tree a long folder name counts for every file below.
pub const MAX_TORRENT_PATHS_LEN: usize = 16 << 20;

/// Blocks whose digests are computed before they are remembered: 32 MiB of reading.
pub const DIGESTS_AT_ONCE: usize = 256;

/// Threads that compute digests. More than a few would only wait for the disk.
pub const DIGEST_THREADS: usize = 4;

/// Blocks written to a slab before the store syncs and commits by itself: 32 MiB, a tenth of a
/// second of writing, so that a crash loses little and a commit costs nothing in the average.
pub const COMMIT_WINDOW_BLOCKS: usize = 256;

/// Blocks of a download that are made durable together. Half of [`COMMIT_WINDOW_BLOCKS`], so that
/// there is room for what comes while that is done: nobody waits, and the store never needs to do it
/// once more by itself.
pub const SAVE_WINDOW_BLOCKS: usize = COMMIT_WINDOW_BLOCKS / 2;

/// Touched blocks remembered before their use is written down: 160 KiB of memory.
pub const TOUCH_WINDOW: usize = 4_096;

/// Free slots looked up at a time: 8 KiB of memory.
pub const FREE_SLOTS_AT_ONCE: usize = 1_024;

/// The share of a store's limit that is evicted at once when it is reached, beside what is needed
/// now: one in so many blocks. Evicting one by one would sync the index for every block put.
pub const EVICT_AHEAD: u64 = 64;

/// Bytes that count against a store's limit for each short block that is kept in its index, beside
/// those of the block: its entries in the tables, and what is left free between them in their pages.
pub const INDEXED_BLOCK_COST: u64 = 1_024;

/// Slots of one slab file: 128 MiB of native blocks.
pub const SLOTS_PER_SLAB: u64 = 1_024;

/// Blocks of a shard, a part of the store that is published as one torrent: those of a slab, so
/// that a slab can be the content of its torrent as it stands.
pub const SHARD_BLOCKS: usize = 1_024;

/// Shards of the largest store that is announced as a whole: 128 TiB of blocks. It keeps their
/// number in a page of the list to seven digits.
pub const MAX_SHARDS: usize = 1 << 20;

/// Shards on one page of the list, a mutable DHT item of at most 1,000 bytes (BEP 44).
pub const MAX_SHARDS_PER_PAGE: usize = 48;

/// Slab files held open at once: 8 GiB of blocks without a reopening, far below the usual limit of
/// 1,024 descriptors.
pub const MAX_OPEN_SLABS: usize = 64;

/// Bytes redb may cache for the index of the store (its default is 1 GiB).
pub const INDEX_CACHE_LEN: usize = 12 << 20;

/// Bytes redb may cache for the catalog.
pub const CATALOG_CACHE_LEN: usize = 4 << 20;

/// Source blocks on their way between two threads of a put or get (2 MiB): enough that neither
/// waits for a slow moment of the other.
pub const PIPE_BLOCKS: usize = 16;

/// Bytes of a file ahead of whoever reads it that are fetched (64 MiB): enough for a fast line to be
/// busy until the next look, and little enough to be lost when a reader skips.
pub const READ_AHEAD_LEN: u64 = 64 << 20;

/// Listings of directories that are read at once for others, each of at most
/// [`MAX_DIRECTORY_LEN`] bytes.
pub const LISTINGS_AT_ONCE: usize = 4;

/// Bytes of JSON of the listings that are kept decoded, which takes some five times as much: those of
/// the stored sites that somebody looks at.
pub const LISTINGS_KEPT_LEN: u64 = 8 << 20;

/// Files that are known to be what their URLs say, some 300 bytes each: those that somebody may read
/// again soon.
pub const PROVEN_FILES: usize = 1_024;

/// Blocks that a put has drawn as randomizers and set aside for more popular ones (2 MiB of
/// memory): in a stream of up to 8 GiB, with tuples of three, each one is the better of two.
pub const MAX_SET_ASIDE: usize = 65_536;

/// Hosted blocks looked at in one go: when a push finds the share used up, this many look-ups in
/// the index are the price of it, a fraction of a millisecond.
pub const HOSTED_AT_ONCE: usize = 64;

/// Blocks of which is remembered who uses them elsewhere: 10 MB of memory when [`MAX_SPEAKERS`]
/// have spoken of each. What was heard before is in the index of the store.
pub const POPULAR_BLOCKS: usize = 16_384;

/// Peers remembered that use one block: enough to reach [`MAX_POPULARITY`] if each uses it once.
pub const MAX_SPEAKERS: usize = 16;

/// Uses by one peer that count: whoever lies is as good as a few that are honest.
pub const MAX_WORD: u8 = 3;

/// The highest popularity, five peers that use a block a lot: above that it is common enough.
pub const MAX_POPULARITY: u8 = 15;

/// Bytes of tuple ids that a put keeps in memory (a file of 1.4 GiB); a longer list goes to disk.
pub const SPOOL_LEN: usize = 1 << 20;

/// Verified blocks kept in memory (4 MiB): BitTorrent peers ask for a block in eight chunks, and
/// each tuple repeats a block of the one before it.
pub const CACHED_BLOCKS: usize = 32;

/// Bytes of a chunk, what one request asks a peer for (BEP 3; longer ones are refused by many).
pub const CHUNK_LEN: u32 = 16_384;

/// Bytes of the longest request we answer. Some clients ask for more than a chunk.
pub const MAX_REQUEST_LEN: u32 = 131_072;

/// Bytes of the longest message we read from a peer: a bitfield of two million pieces, twice what
/// any request of ours brings.
pub const MAX_MESSAGE_LEN: u32 = 256 << 10;

/// Requests that wait at a peer, and of a peer's at us: 8 MiB on their way, enough for 1 Gbit/s
/// at a round trip of 60 ms.
pub const MAX_QUEUE: usize = 512;

/// Requests that wait at a peer that has not said how many it takes, and those we begin with.
pub const MIN_QUEUE: usize = 64;

/// Messages to a peer that are not about pieces (parts of the info dict among them, 16 KiB each)
/// that wait to be sent; more are dropped.
pub const MAX_OUTBOX: usize = 64;

/// Messages about pieces that wait to be sent to a peer, beside one for each piece that has come:
/// as many requests, cancels and refusals as an honest peer can bring about.
pub const MAX_UNREAD: usize = 4 * MAX_QUEUE;

/// Messages about pieces that a peer may send before we know the torrent.
pub const MAX_EARLY_MESSAGES: usize = 8_192;

/// Bytes read from a socket at once: a chunk and its head, many times over.
pub const PEER_READ_LEN: usize = 256 << 10;

/// Bytes gathered before they are written to a socket.
pub const PEER_WRITE_LEN: usize = 128 << 10;

/// Pieces that wait to be checked, of all downloads: while the disk is slow no more are read.
pub const MAX_CHECKS: usize = 16;

/// Peers taken from one message of peer exchange (BEP 11 allows 50 added ones of each family).
pub const MAX_PEX_PEERS: usize = 100;

/// Addresses remembered for one torrent.
pub const MAX_KNOWN_PEERS: usize = 1_000;

/// Connections of one torrent that we bring about.
pub const MAX_PEERS_PER_TORRENT: usize = 50;

/// Connections of one torrent that are being brought about at once.
pub const MAX_DIALS: usize = 16;

/// Connections from one address: a household behind one router, not a crowd.
pub const MAX_PER_ADDRESS: usize = 16;

/// Bytes that may pass at once under a rate limit: the longest answer to one request.
pub const RATE_BURST_LEN: u32 = MAX_REQUEST_LEN;
/// Redirects followed for one request, as libtorrent and browsers of files do: a CDN takes two.
pub const MAX_REDIRECTS: usize = 5;

/// How long a stranger's HTTP server may take to accept a connection, TLS included.
pub const HTTP_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a stranger's HTTP server may take from the request to the end of its headers.
/// Trackers under load take ten seconds.
pub const HTTP_HEADERS_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a body from a stranger may pause. libtorrent's `urlseed_timeout` is 20 s.
pub const HTTP_IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// Names of hosts whose addresses are kept for [`RESOLVED_LIFE`]: 200 KB of memory.
pub const MAX_RESOLVED: usize = 1_024;

/// How long the addresses of a host are used before it is looked up again.
pub const RESOLVED_LIFE: Duration = Duration::from_secs(60);

/// The longest wait that a web seed's `Retry-After` can ask for. What asks for more is as good as
/// gone for this download.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// Characters of the longest tracker URL, passkeys included. The longest seen have 300.
pub const MAX_TRACKER_URL_LEN: usize = 2_048;

/// Bytes of a tracker URL's path and query that a UDP announce carries (BEP 41), so that the
/// datagram stays below 1,280 bytes, which every IPv6 link passes on whole.
pub const MAX_UDP_URL_DATA: usize = 1_020;

/// Bytes of the longest answer of an HTTP tracker: 200 peers in the long form take 20 KB.
pub const MAX_TRACKER_REPLY: usize = 1 << 20;

/// Bytes of the longest tracker id (BEP 3) that is sent back.
pub const MAX_TRACKER_ID_LEN: usize = 256;

/// Peers taken from one answer of a tracker. Trackers give 50 when asked for no number.
pub const MAX_TOLD_PEERS: usize = 200;

/// How long one announce may take, a UDP tracker's retransmissions included (BEP 15 would go on
/// for an hour).
pub const ANNOUNCE_DEADLINE: Duration = Duration::from_secs(60);

/// The shortest interval that a tracker can make us announce in.
pub const MIN_ANNOUNCE_INTERVAL: Duration = Duration::from_secs(60);

/// The longest interval that a tracker can keep us silent for.
pub const MAX_ANNOUNCE_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// The interval when a tracker gives none: the usual half an hour.
pub const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(30 * 60);

/// How often a tracker is asked by a download that has no peer at all, unless it forbids it.
pub const LONELY_ANNOUNCE_INTERVAL: Duration = Duration::from_secs(30);

/// The first pause after a failed announce; it doubles with each further failure.
pub const ANNOUNCE_RETRY_FIRST: Duration = Duration::from_secs(10);

/// The longest pause after failed announces.
pub const ANNOUNCE_RETRY_LAST: Duration = Duration::from_secs(600);

/// How long the end of a torrent waits for its trackers to hear of it. They forget us anyway.
pub const FAREWELL_DEADLINE: Duration = Duration::from_secs(2);

/// How long peers from a tracker wait for somebody to take them. Who is not taken has to be told
/// of again.
pub const PEERS_HANDOVER_DEADLINE: Duration = Duration::from_secs(5);

/// Connection ids of UDP trackers kept (BEP 15): 160 KB of memory.
pub const MAX_UDP_CONNECTIONS: usize = 4_096;

/// How long a UDP tracker's connection id is used (BEP 15).
pub const UDP_CONNECTION_LIFE: Duration = Duration::from_secs(60);

/// Announces a second of a seeder with a large catalog. A million torrents once in 25 minutes are
/// 667 a second, and over UDP some 170 KB/s both ways together.
pub const MASS_ANNOUNCES_PER_SECOND: u32 = 700;

/// Announces of a large catalog under way at once: at 700 a second, trackers may take 180 ms on
/// the average.
pub const MASS_ANNOUNCES_AT_ONCE: usize = 128;

/// How long one announce of a large catalog may take, so that a dead tracker does not hold all of
/// [`MASS_ANNOUNCES_AT_ONCE`] for a minute.
pub const MASS_ANNOUNCE_DEADLINE: Duration = Duration::from_secs(15);

/// Torrents of a catalog read at a time: 100 KB of memory with a few trackers each.
pub const MASS_PAGE: usize = 256;

/// From one round through a large catalog to the next, at least: trackers give 30 minutes and
/// forget a peer some 15 minutes later.
pub const MASS_ROUND_SHORTEST: Duration = Duration::from_secs(25 * 60);

/// From one round through a large catalog to the next, at most, where the pace suffices.
pub const MASS_ROUND_LONGEST: Duration = Duration::from_secs(30 * 60);

/// Trackers of a large catalog whose failures are remembered: 1 MB of memory.
pub const MASS_TRACKERS: usize = 4_096;

/// Bytes asked of a web seed at once: at 10 MB/s a new request every half a second.
pub const WEB_SEED_RUN_LEN: u32 = 4 << 20;

/// Connections that the user can ask for: more than the file descriptors most systems give.
pub const MAX_CONNECTIONS: usize = 10_000;

/// Blocks that one message of the native peer protocol names: 32 KiB of ids.
pub const MAX_ASKED: usize = 1_024;

/// Wanted blocks that wait at a native peer, and of a peer's at us: 32 MiB on their way, enough for
/// 1 Gbit/s at a round trip of 250 ms.
pub const MAX_NATIVE_QUEUE: usize = 256;

/// Wanted blocks that wait at a native peer that has not said how many it takes, and those we begin
/// with.
pub const MIN_NATIVE_QUEUE: usize = 4;

/// Questions of a native peer that wait for our answers, pushed blocks among them.
pub const MAX_QUESTIONS: usize = 16;

/// Pushed blocks of a native peer that wait to be looked at: 512 KiB, and 100 MiB of the usual 200
/// peers together. No more are given to a peer at once.
pub const MAX_PUSHES: usize = 4;

/// Blocks taken back of one native peer that may still come.
pub const MAX_CANCELLED: usize = 4_096;

/// Bytes read from a native peer's socket when no message has begun: many small messages, or the
/// beginning of a block.
pub const NATIVE_READ_LEN: usize = 16 << 10;

/// Native peers that we dial: each holds a megabyte or two while it sends.
pub const MAX_NATIVE_PEERS: usize = 40;

/// Blocks wanted in all up to which a native peer is told so straight away, without the question
/// whether it has them: at most 1 MiB, and a round trip saved.
pub const MAX_UNASKED_WANTS: usize = 8;

/// Native peers that one block is wanted of at once, where the last blocks are waited for.
pub const MAX_FLIGHTS: usize = 3;

/// How long a native peer that owes blocks may give nothing before they are wanted of others too:
/// a block in 5 seconds is 26 KB/s.
pub const SNUB_AFTER: Duration = Duration::from_secs(5);

/// The same for the first block of a connection: the first question, TCP's slow start and the
/// peer's queue are in it, and the pace of the peer is not known. A block in 10 seconds is 13 KB/s.
pub const SNUB_NEWCOMER_AFTER: Duration = Duration::from_secs(10);

/// How long a native peer may be snubbed before it counts as having nothing, so that others are
/// looked for: four blocks of the slowest that is not snubbed.
pub const MUTE_AFTER: Duration = Duration::from_secs(20);

/// How long a native peer is not asked again for what it has not: blocks come and are evicted, and
/// a question of [`MAX_ASKED`] ids a minute is 0.5 KB/s.
pub const ASK_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Blocks that a native peer said to have and has not, from which on it is disbelieved if they are
/// more than those it gave. An honest one evicts a few between answer and request.
pub const MAX_BROKEN_PROMISES: u64 = 8;

/// Characters of a service's reason or error on the status board: a chain of causes, not a dump.
pub const MAX_REASON_LEN: usize = 1_024;

/// Requests that a supervisor has not looked at yet: it looks at once, so that more are a flood.
pub const MAX_REQUESTS_WAITING: usize = 16;

/// Bytes of the largest configuration file that is read.
pub const MAX_CONFIG_LEN: u64 = 1 << 20;

/// Values of one key of the configuration: peers, nodes or hosts that somebody wrote down.
pub const MAX_CONFIG_LIST: usize = 256;

/// Commands of other processes that a daemon runs at once, each on a thread of its own. One that
/// seeds runs for as long as its user likes.
pub const MAX_COMMANDS: usize = 64;
