//! OFF blocks as torrent pieces: the formats of BitTorrent.
//!
//! | file | what it does |
//! |---|---|
//! | [`mapping`] | which block of a URL is which piece |
//! | [`merkle`] | the hash trees of version 2, from the roots over blocks (BEP 52) |
//! | [`metainfo`] | info dicts and `.torrent` files, ours and other people's (BEP 3, BEP 52) |
//! | [`hints`] | which peers and trackers of a link are contacted |
//! | [`magnet`] | magnet links that carry an OFF URL (BEP 9) |
//! | [`shard_set`] | the torrents of a whole store as mutable DHT items (BEP 44) |
//!
//! There is one deterministic torrent per OFF URL: version 1, a single file, a piece is a block.
//! Whoever holds the blocks of a URL rebuilds the same infohash and joins the same swarm. The
//! content file (`.off`) is the blocks back to back, so a stock client's copy is a pack. Of version 2
//! and hybrid there are twins on request, with the same content file, pieces and name, never mixed
//! with the version 1 torrent: old clients choke on version 2.

pub mod hints;
pub mod magnet;
pub mod mapping;
pub mod merkle;
pub mod metainfo;
pub mod shard_set;
