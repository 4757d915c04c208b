//! The arguments of `offswarm pack`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::daemon::config::parse::tracker;

use super::web_address;

#[derive(Debug, Args)]
pub(in crate::cli) struct PackArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: PackCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum PackCommand {
    /// Write blocks to a pack, and the torrent of it beside it; print its magnet link
    ///
    /// The torrent is remembered as published. That of a single OFF URL is the OFF URL's own. The
    /// link does not carry the OFF URL: whoever has it can host the blocks, not read them. A client
    /// that is to seed the pack wants it under the name in the torrent. OFF URLs of version 3 need
    /// 128,000 bytes and more, and a pack of their own.
    Export(ExportArgs),
    /// Take the blocks of a pack in
    Adopt(AdoptArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ExportArgs {
    /// The pack to write
    #[arg(value_name = "FILE.off")]
    pub(in crate::cli) file: PathBuf,
    /// OFF URLs or magnet links whose blocks to write
    #[arg(long, value_name = "URL", num_args = 1.., required_unless_present = "all")]
    pub(in crate::cli) urls: Vec<String>,
    /// Write all blocks of the store
    #[arg(long, conflicts_with = "urls")]
    pub(in crate::cli) all: bool,
    /// Where to write the torrent [default: FILE.off.torrent]
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) torrent_out: Option<PathBuf>,
    /// A tracker to announce to; may be repeated
    #[arg(long, value_name = "URL", value_parser = tracker)]
    pub(in crate::cli) tracker: Vec<String>,
    /// Where the pack can be had by HTTP (BEP 19); may be repeated
    #[arg(long, value_name = "URL", value_parser = web_address)]
    pub(in crate::cli) web_seed: Vec<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AdoptArgs {
    /// The pack
    #[arg(value_name = "FILE.off")]
    pub(in crate::cli) file: PathBuf,
    /// Read the file where it is instead of copying it; it must stay there unchanged
    #[arg(long)]
    pub(in crate::cli) in_place: bool,
}
