//! What can go wrong with each verb.
//!
//! "It is not here", "the disk failed", "somebody lied" and "we are wrong" are different
//! variants, because the reactions differ.

use std::io;
use std::path::PathBuf;

use crate::catalog::CatalogError;
use crate::id::{BlockId, FileId, InfoHash, excerpt};
use crate::off::OffUrl;
use crate::off::descriptor::ChainError;
use crate::off::directory::DirectoryError;
use crate::off::tuple::TupleError;
use crate::off::url::UrlError;
use crate::store::StoreError;
use crate::swarm::session::SwarmError;
use crate::torrent::metainfo::MetainfoError;

/// Why a home could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nothing was ever put there.
    #[error("there is no store in {}", path.display())]
    NoStore {
        /// The home.
        path: PathBuf,
    },
    /// Another process has it.
    #[error("the store in {} is in use by another process", path.display())]
    Locked {
        /// The home.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot open {}", path.display())]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store is not usable.
    #[error("cannot open the store")]
    Store(#[from] StoreError),
    /// The catalog is not usable.
    #[error("cannot open the catalog")]
    Catalog(#[from] CatalogError),
}

/// Why a stream could not be put. Nothing was entered in the catalog, and what was stored on the
/// way has been taken out again.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The stream could not be read.
    #[error("cannot read the stream after {read} bytes")]
    Read {
        /// Bytes read before.
        read: u64,
        /// Why.
        source: io::Error,
    },
    /// The list of the stream's blocks did not fit on the disk.
    #[error("cannot keep the list of the stream's blocks in {}", path.display())]
    Spool {
        /// The folder it was to be in.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Longer than an OFF URL can name.
    #[error("a stream of more than {limit} bytes is refused")]
    TooLong {
        /// The limit.
        limit: u64,
    },
    /// With the policy `store`, there are not enough blocks to hide behind.
    #[error("the store has too few blocks to serve as randomizers (tuple {tuple} of the stream)")]
    TooFewRandomizers {
        /// Tuples made before.
        tuple: u64,
    },
    /// The blocks chosen would not hide the source.
    #[error("cannot hide a source block")]
    Encode(#[from] TupleError),
    /// The folder itself could not be read.
    #[error("cannot read the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Whoever wanted it wants it no more.
    #[error("the put was stopped")]
    Stopped,
    /// The files are too many for a directory.
    #[error("cannot make the directory")]
    Directory(#[from] DirectoryError),
    /// The type is none.
    #[error("cannot name the stream")]
    Url(#[from] UrlError),
    /// The store failed.
    #[error("cannot store a block")]
    Store(#[from] StoreError),
    /// The catalog failed.
    #[error("cannot enter the OFF URL in the catalog")]
    Catalog(#[from] CatalogError),
    /// The blocks were stored, but could not be counted as used.
    #[error("cannot enter the OFF URL in the catalog")]
    Upkeep(#[from] Box<UpkeepError>),
}

/// Why a stream could not be read out of the store.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Bytes asked for that the stream does not have.
    #[error("bytes {start} to {end} are not all in a stream of {length}")]
    Range {
        /// The first byte asked for, counted from 0.
        start: u64,
        /// The byte after the last asked for.
        end: u64,
        /// Bytes of the stream.
        length: u64,
    },
    /// A block is not here.
    #[error("block {0} is missing")]
    Missing(BlockId),
    /// The chain leads nowhere: whoever made the URL or the chain is wrong.
    #[error("the descriptor is broken")]
    Chain(#[from] ChainError),
    /// A tuple is none.
    #[error("the descriptor has a broken tuple at source block {index}")]
    Tuple {
        /// Source blocks before it.
        index: u64,
        /// What is wrong with it.
        source: TupleError,
    },
    /// The blocks are right, and give another stream than the URL says.
    #[error("the blocks decode to the stream {found}, the URL names {expected}")]
    WrongFile {
        /// The URL's file id.
        expected: FileId,
        /// What was decoded.
        found: FileId,
    },
    /// A directory that is none, or not one to be followed.
    #[error("the directory cannot be used")]
    Directory(#[from] DirectoryError),
    /// A path was asked for in something else than a directory.
    #[error("{0} is not a directory")]
    NotDirectory(String),
    /// A directory has no file at a path.
    #[error("the directory has no file at {:?}", excerpt(.0))]
    NoMember(String),
    /// A directory with more blocks than we list.
    #[error("a directory of more than {limit} blocks is refused")]
    TooManyBlocks {
        /// The limit.
        limit: u64,
    },
    /// The store failed, or a block in it is damaged.
    #[error("cannot read a block")]
    Store(#[from] StoreError),
}

/// Why a URL could not be got.
#[derive(Debug, thiserror::Error)]
pub enum GetError {
    /// Not all blocks could be found in time, or there was nobody to ask.
    #[error("{missing} of {}{blocks} blocks not found; asked: {}", if *exact { "" } else { "at most " }, asked.join(", "))]
    NotFound {
        /// Blocks that are not here.
        missing: u64,
        /// Blocks of the URL.
        blocks: u64,
        /// Whether `blocks` is known; without the whole descriptor it is an upper bound.
        exact: bool,
        /// What was asked, in words.
        asked: Vec<String>,
    },
    /// Blocks are damaged here, and could not be had elsewhere.
    #[error("{url} is hurt: {damaged} of its {blocks} blocks are damaged on this disk, the first of them {first}; asked: {}", asked.join(", "))]
    Damaged {
        /// The URL.
        url: String,
        /// Blocks damaged.
        damaged: u64,
        /// Blocks of the URL.
        blocks: u64,
        /// One of the damaged.
        first: BlockId,
        /// What was asked, in words.
        asked: Vec<String>,
    },
    /// The swarm was downloaded whole, and the URL needs other blocks.
    #[error(
        "the swarm {infohash} is complete here, but {missing} of {blocks} blocks of the URL are not in it"
    )]
    Forged {
        /// The swarm.
        infohash: InfoHash,
        /// Blocks that are not here.
        missing: u64,
        /// Blocks of the URL, or an upper bound.
        blocks: u64,
    },
    /// A block that a native peer gave could not be kept.
    #[error("cannot keep a block that came: {why}")]
    Keep {
        /// What went wrong.
        why: String,
    },
    /// The `.torrent` handed in carries something else.
    #[error(
        "this torrent does not carry the OFF URL: it names block {found} where {expected} is needed"
    )]
    WrongTorrent {
        /// What the torrent is called after.
        found: String,
        /// What it should be called after.
        expected: String,
    },
    /// What was found does not decode.
    #[error("cannot decode the stream")]
    Read(#[from] ReadError),
    /// A swarm failed.
    #[error("cannot download the blocks")]
    Swarm(#[from] SwarmError),
    /// The user would not wait any longer. What has come is kept.
    #[error("stopped")]
    Stopped,
    /// The output could not be written.
    #[error("cannot write the stream")]
    Write(#[source] io::Error),
    /// A file or folder of a directory could not be written.
    #[error("cannot write {}", path.display())]
    File {
        /// What was being written.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What a file of a directory decodes to is wrong, or its blocks are.
    #[error("cannot decode {:?} of the directory", excerpt(path))]
    Member {
        /// The path in the directory.
        path: String,
        /// What is wrong.
        source: Box<ReadError>,
    },
    /// The catalog failed.
    #[error("cannot use the catalog")]
    Catalog(#[from] CatalogError),
    /// What came could not be counted as used.
    #[error("cannot enter the OFF URL in the catalog")]
    Upkeep(#[from] Box<UpkeepError>),
}

/// Why the store or the catalog could not be looked after.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    /// Nobody put or got it here.
    #[error("the catalog does not know {url}")]
    Unknown {
        /// The URL, canonical.
        url: String,
    },
    /// Its blocks cannot be listed.
    #[error("cannot list the blocks of a URL")]
    Read(#[from] ReadError),
    /// The store failed.
    #[error("cannot change the store")]
    Store(#[from] StoreError),
    /// The catalog failed.
    #[error("cannot use the catalog")]
    Catalog(#[from] CatalogError),
    /// A pack could not be read.
    #[error("cannot read the pack {}", path.display())]
    Pack {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl UpkeepError {
    pub(super) fn unknown(url: &OffUrl) -> Self {
        Self::Unknown { url: url.canonical().to_string() }
    }
}

/// Why a URL, a pack or the store could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The empty stream has no blocks, and neither has an empty store.
    #[error("there are no blocks to publish")]
    Empty,
    /// Not all blocks are here.
    #[error("{missing} of {blocks} blocks of {url} are not here")]
    Incomplete {
        /// The URL.
        url: String,
        /// Blocks that are not here.
        missing: u64,
        /// Blocks of the URL.
        blocks: u64,
    },
    /// Short blocks of js-offs: torrents and packs give each block 128 KiB.
    #[error(
        "{url} has blocks of {len} bytes, js-offs's {class} class: no torrent or pack carries them, \
         each would take 131072 bytes there"
    )]
    ShortBlocks {
        /// The URL.
        url: String,
        /// Bytes of its blocks.
        len: usize,
        /// What js-offs calls blocks of that size.
        class: &'static str,
    },
    /// A directory with files of both versions, or a pack of them.
    #[error(
        "{url} has blocks of {found} bytes beside some of {expected}: a torrent or pack carries \
         blocks of one size"
    )]
    MixedBlocks {
        /// The URL.
        url: String,
        /// Bytes of a block where all is well.
        expected: u64,
        /// Bytes of another.
        found: u64,
    },
    /// A block is damaged, or the descriptor is broken.
    #[error("cannot read the blocks of {url}")]
    Read {
        /// The URL that is hurt.
        url: String,
        /// What is wrong.
        source: ReadError,
    },
    /// A block of a pack is missing or damaged.
    #[error("cannot read the blocks")]
    Blocks(#[from] ReadError),
    /// The store failed.
    #[error("cannot list the blocks")]
    Store(#[from] StoreError),
    /// A pack could not be written.
    #[error("cannot write the pack")]
    Write(#[source] io::Error),
    /// A torrent file, or the list of them, could not be written.
    #[error("cannot write {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Too many blocks for a torrent.
    #[error("cannot make the torrent")]
    Metainfo(#[from] MetainfoError),
    /// The catalog failed.
    #[error("cannot use the catalog")]
    Catalog(#[from] CatalogError),
    /// Its blocks could not be counted as used.
    #[error("cannot enter the OFF URL in the catalog")]
    Upkeep(#[from] Box<UpkeepError>),
}
