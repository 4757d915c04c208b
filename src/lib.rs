//! offswarm: a client of the OFF System (Owner-Free Filesystem) that carries its blocks over
//! BitTorrent.
//!
//! A file is stored as noise: it is cut into 128 KiB source blocks, each is combined (XOR) with blocks
//! that are in the store already, and only the result is kept. An OFF URL names the blocks whose XOR
//! gives the file back. Blocks are published as pieces of a torrent that any BitTorrent client can
//! hold, so no network of our own is needed.
//!
//! # Layers
//!
//! `src/` reads as the architecture, from the bottom up; `tests/architecture.rs` enforces it.
//!
//! | layer | modules |
//! |---|---|
//! | words | [`id`], [`limits`], [`address`], [`web`] |
//! | formats | [`off`], [`bencode`] |
//! | holders | [`store`], [`catalog`], [`source`], [`supervise`] |
//! | network | [`torrent`], [`peer`], [`krpc`], [`legacy`], [`gateway`] |
//! | swarm | [`swarm`] |
//! | client | [`client`] |
//! | front ends | [`http`], [`bridge`] |
//! | program | [`daemon`] |
//! | tool | [`cli`] |
//!
//! # Invariants
//!
//! * Formats do no I/O, look at no clock and draw randomness only from what they are handed.
//! * A store knows blocks, not files or names. Torrents are names for OFF URLs in the catalog.
//! * Plaintext has a type of its own: a [`SourceBlock`](off::SourceBlock) has no id, a store takes
//!   only a [`Block`](off::Block), and a `Block` comes only from a check against an id, from a
//!   slot of a torrent or pack, from encoding or from fresh randomness. Storing plaintext does not compile.
//! * HTTP servers that strangers name are asked only through [`swarm::guard`], which keeps them
//!   from sending us to our own machine or network. [`gateway`] asks only the node that the user
//!   names, whatever an OFF URL or a redirect says.
//! * Only the catalog and the index of the store name the database, only the drivers of `peer` and
//!   its door touch a peer's socket, only `krpc::driver` that of the DHT, only `cli::output`
//!   prints.
//! * A service of the daemon may fail at any time: what must outlive it is on the disk, what others
//!   need of it they take from a watched place that is empty while it is down.
//! * A request over HTTP has passed the guard before anything looks at it, and changes something only
//!   if it is no `GET`; stored bytes never share the origin of the page with their scripts on.
//! * What the DHT says is strangers' word: peers are filtered, items exist only if they are signed,
//!   and a torrent that somebody names is believed only when its first block is the descriptor.
//!
//! # How a block flows
//!
//! ```text
//! put      reader -> SourceBlock -> choose randomizers -> encode -> store -> chain -> OFF URL
//! publish  chain -> block ids -> mapping -> info dict -> catalog
//! seed     handshake -> catalog -> block ids -> store -> piece
//! announce torrent, descriptor -> infohash, record -> DHT
//! fetch    store? -> plan -> native peers, block by block -> check -> store
//!          if they miss or are slow: torrent (known, or by a record in the DHT) -> pieces from peers
//!          and web seeds -> check -> store; js-offs nodes, for blocks of their sizes
//! relay    a js-offs node asks -> store? -> native nodes; a descriptor -> torrent -> pieces -> check -> store
//! get      chain -> tuples -> fetch what is missing -> decode -> trim -> bytes
//! convert  get -> put, as an OFF URL of the other version
//! read     store? -> else take part in the URL's fetch, which follows its readers -> bytes as they come
//! ```

#![cfg_attr(test, allow(clippy::cast_possible_truncation, reason = "tests use small numbers"))]

pub mod address;
pub mod bencode;
pub mod bridge;
pub mod catalog;
pub mod cli;
pub mod client;
pub mod daemon;
pub mod gateway;
pub mod http;
pub mod id;
pub mod krpc;
pub mod legacy;
pub mod limits;
pub mod off;
pub mod peer;
pub mod source;
pub mod store;
pub mod supervise;
pub mod swarm;
pub mod torrent;
pub mod web;
