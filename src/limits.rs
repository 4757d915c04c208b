//! Every bound the program puts on what it reads or does, with its unit and its reason.
//!
//! A decoder never allocates by a length a stranger declared: it compares the length with one of
//! these first.

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

/// Pieces of the largest torrent we make. Above it a piece covers several blocks, because
/// librqbit refuses 132,000 pieces and Transmission slows down long before.
pub const MAX_PIECES: u64 = 65_536;

/// Bytes of the longest piece we make or accept: 64 MiB, what libtorrent still takes. With
/// [`MAX_PIECES`] it bounds a torrent at 4 TiB of blocks.
pub const MAX_PIECE_LEN: u64 = 64 << 20;

/// Blocks written to a slab before the store syncs and commits by itself: 32 MiB, a tenth of a
/// second of writing, so that a crash loses little and a commit costs nothing in the average.
pub const COMMIT_WINDOW_BLOCKS: usize = 256;

/// Touched blocks remembered before their use is written down: 160 KiB of memory.
pub const TOUCH_WINDOW: usize = 4_096;

/// Free slots looked up at a time: 8 KiB of memory.
pub const FREE_SLOTS_AT_ONCE: usize = 1_024;

/// The share of a store's limit that is evicted at once when it is reached, beside what is needed
/// now: one in so many blocks. Evicting one by one would sync the index for every block put.
pub const EVICT_AHEAD: u64 = 64;

/// Slots of one slab file: 128 MiB of native blocks.
pub const SLOTS_PER_SLAB: u64 = 1_024;

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

/// Bytes of tuple ids that a put keeps in memory (a file of 1.4 GiB); a longer list goes to disk.
pub const SPOOL_LEN: usize = 1 << 20;

/// Verified blocks kept in memory (4 MiB): BitTorrent peers ask for a block in eight chunks, and
/// each tuple repeats a block of the one before it.
pub const CACHED_BLOCKS: usize = 32;

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
