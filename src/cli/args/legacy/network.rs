//! The arguments of `offswarm legacy peer`, `ask` and `id`.

use std::net::SocketAddr;

use clap::{Args, Subcommand, ValueEnum};

use crate::id::{BlockId, LegacyId};
use crate::legacy::peer::LegacyPeer;
use crate::off::BlockSize;

#[derive(Debug, Args)]
pub(in crate::cli) struct PeerArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: PeerCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum PeerCommand {
    /// Remember a node of js-offs, and ask it for blocks of OFF URLs of version 3 from now on
    ///
    /// It is pinged; if it does not answer it is remembered all the same, and the exit code is 3.
    Add {
        /// Its locator, as js-offs and `legacy id` show it; several may be given
        #[arg(value_name = "LOCATOR", required = true, value_parser = LegacyPeer::parse)]
        peers: Vec<LegacyPeer>,
        /// Do not ping it
        #[arg(long)]
        no_ping: bool,
    },
    /// List the nodes that are remembered, and in a daemon those that have called
    Ls,
    /// Forget nodes
    Rm {
        /// Locators or node ids
        #[arg(value_name = "LOCATOR|ID", required = true, value_parser = id)]
        peers: Vec<LegacyId>,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AskArgs {
    /// The locator of the node, or the id of one that is remembered
    #[arg(value_name = "LOCATOR|ID")]
    pub(in crate::cli) peer: String,
    #[command(subcommand)]
    pub(in crate::cli) question: Question,
}

#[derive(Debug, Clone, Subcommand)]
pub(in crate::cli) enum Question {
    /// Whether it is there
    Ping,
    /// Which nodes it knows that are closest to an id
    FindNode {
        /// The id [default: its own]
        #[arg(value_parser = LegacyId::parse)]
        id: Option<LegacyId>,
    },
    /// Get a block into the store
    FindValue(BlockArgs),
    /// Whether it has a block
    ///
    /// A node that does not may say nothing instead: js-offs takes any answer for a yes.
    PingValue(BlockArgs),
    /// Get any block into the store that is not here
    Random {
        /// The class of the block
        #[arg(long, value_enum)]
        class: Class,
    },
    /// How full it is, in percent
    PingStorage {
        /// Its place for blocks of this class
        #[arg(long, value_enum)]
        class: Class,
    },
}

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct BlockArgs {
    /// The block
    #[arg(value_parser = BlockId::parse)]
    pub(in crate::cli) block: BlockId,
    /// Its class
    #[arg(long, value_enum)]
    pub(in crate::cli) class: Class,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct IdArgs {
    /// Where others reach us [default: what the configuration says, else where the daemon listens]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(in crate::cli) address: Option<SocketAddr>,
}

/// Blocks of js-offs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Class {
    /// 128,000 bytes
    Block,
    /// 1,000 bytes
    Mini,
    /// 136 bytes
    Nano,
}

impl From<Class> for BlockSize {
    fn from(class: Class) -> Self {
        match class {
            Class::Block => Self::LegacyBlock,
            Class::Mini => Self::LegacyMini,
            Class::Nano => Self::LegacyNano,
        }
    }
}

/// The id of a node, by itself or in a locator.
fn id(text: &str) -> Result<LegacyId, String> {
    let of_locator = |_| LegacyPeer::parse(text).map(|peer| peer.id);
    LegacyId::parse(text).or_else(of_locator).map_err(|error| error.to_string())
}
