//! The arguments of `offswarm legacy`.

mod network;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Patience;

pub(in crate::cli) use network::{
    AskArgs as LegacyAskArgs, BlockArgs, IdArgs, PeerArgs, PeerCommand, Question,
};

#[derive(Debug, Args)]
pub(in crate::cli) struct LegacyArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: LegacyCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum LegacyCommand {
    /// Take the blocks of a js-offs cache in
    ///
    /// Nothing of the cache is changed. A file there that is no whole and sound block is named and
    /// left; then the exit code is 3. No OFF URL uses the blocks yet, so that gc would free them:
    /// get or pin the OFF URLs you have.
    Import(ImportArgs),
    /// Get files by HTTP from nodes of other OFF programs
    Gateway(GatewayArgs),
    /// Name the nodes of js-offs that are asked for blocks
    Peer(PeerArgs),
    /// Ask a node of js-offs
    ///
    /// Exits with 4 if it does not answer or does not have it, with 5 if it answers nonsense.
    Ask(LegacyAskArgs),
    /// Show our id in the network of js-offs, as a locator if it is known where we are
    ///
    /// It is made once and stays the same. js-offs takes the locator as a bootstrap peer.
    Id(IdArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ImportArgs {
    /// The folder with .block-cache, .mini-cache and .nano-cache, the home of js-offs that has it
    /// as OFFSYSTEM, or one of the three
    #[arg(value_name = "DIR")]
    pub(in crate::cli) folder: PathBuf,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct GatewayArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: GatewayCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum GatewayCommand {
    /// Get a file or folder by its OFF URL of version 3 from the HTTP port of a node
    ///
    /// The node is of js-offs or OFFS, and sends the file itself, not blocks. What comes is a file
    /// only if its length and its SHA-256 (js-offs) or BLAKE3 (OFFS) are those in the OFF URL.
    Get(GatewayGetArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct GatewayGetArgs {
    /// The OFF URL, or `-` to read it from standard input; the host in it is not asked
    #[arg(value_name = "URL")]
    pub(in crate::cli) url: String,
    /// The node to ask, as in `http://localhost:23402`
    #[arg(long, value_name = "ADDRESS")]
    pub(in crate::cli) from: String,
    /// Where to write: a file, a folder, or `-` for standard output [default: the name in the URL]
    ///
    /// A folder that exists gets the file or folder put inside. A folder is written to where
    /// nothing is yet.
    #[arg(long, short, value_name = "FILE")]
    pub(in crate::cli) output: Option<PathBuf>,
    /// Overwrite a file that only the URL's name chose
    #[arg(long)]
    pub(in crate::cli) force: bool,
    /// Put the file or folder into the store as it comes, and print its new OFF URL; without
    /// --output nothing else is written
    #[arg(long)]
    pub(in crate::cli) put: bool,
    /// With --put: do not seal; whoever collects the blocks can try to combine them
    #[arg(long, requires = "put")]
    pub(in crate::cli) plain: bool,
    #[command(flatten)]
    pub(in crate::cli) patience: Patience,
}
