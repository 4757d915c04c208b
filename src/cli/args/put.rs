//! The arguments of `offswarm put` and `offswarm convert`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::client::Policy;
use crate::off::{TupleSize, Version};

use super::FetchArgs;

#[derive(Debug, Args)]
pub(in crate::cli) struct PutArgs {
    /// The file or folder, or `-` for standard input
    #[arg(value_name = "FILE|DIR")]
    pub(in crate::cli) file: PathBuf,
    /// For js-offs: an OFF URL of version 3, never sealed
    ///
    /// Torrents carry its blocks if it has 128,000 bytes and more. Empty files and folders are left
    /// out of a folder.
    #[arg(long, conflicts_with = "tuple")]
    pub(in crate::cli) v3: bool,
    #[command(flatten)]
    pub(in crate::cli) how: HowToPut,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct HowToPut {
    /// The file name in the OFF URL [default: that of the file]
    #[arg(long)]
    pub(in crate::cli) name: Option<String>,
    /// The content type in the OFF URL of a file [default: by the name's extension]
    #[arg(long = "type", value_name = "TYPE")]
    pub(in crate::cli) content_type: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) hiding: HidingArgs,
}

/// What a stream is hidden behind, and how.
#[derive(Debug, Args)]
pub(in crate::cli) struct HidingArgs {
    /// Do not seal: whoever collects the blocks can try to combine them
    #[arg(long)]
    pub(in crate::cli) plain: bool,
    /// Blocks of a tuple, 2 to 8
    #[arg(long, value_name = "N", default_value_t = TupleSize::default())]
    pub(in crate::cli) tuple: TupleSize,
    /// What to hide the file behind
    #[arg(long, value_enum, default_value_t = PolicyArg::Mixed, value_name = "POLICY")]
    pub(in crate::cli) randomizers: PolicyArg,
    /// Hide it behind the blocks of this OFF URL first; may be repeated
    #[arg(long, value_name = "URL")]
    pub(in crate::cli) recycle: Vec<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ConvertArgs {
    #[command(flatten)]
    pub(in crate::cli) from: FetchArgs,
    /// The version of the new OFF URL: v4 is ours, v3 that of js-offs, which is never sealed
    #[arg(long, value_enum, value_name = "VERSION")]
    pub(in crate::cli) to: VersionArg,
    #[command(flatten)]
    pub(in crate::cli) hiding: HidingArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum VersionArg {
    /// Blocks of 128 KiB, sealed, in torrents of its own
    V4,
    /// For js-offs
    V3,
}

impl From<VersionArg> for Version {
    fn from(version: VersionArg) -> Self {
        match version {
            VersionArg::V4 => Self::V4,
            VersionArg::V3 => Self::V3,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(in crate::cli) enum PolicyArg {
    /// Blocks of this file and of the store, fresh noise where they do not suffice
    Mixed,
    /// As mixed, but fail rather than make fresh noise
    Store,
    /// Fresh noise only
    Fresh,
}

impl From<PolicyArg> for Policy {
    fn from(policy: PolicyArg) -> Self {
        match policy {
            PolicyArg::Mixed => Self::Mixed,
            PolicyArg::Store => Self::Store,
            PolicyArg::Fresh => Self::Fresh,
        }
    }
}
