//! The arguments of `offswarm dht`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::id::{ItemKey, Target};

use crate::daemon::config::parse::{duration, entry};

use super::ReportArgs;

#[derive(Debug, Args)]
pub(in crate::cli) struct DhtArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: DhtCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum DhtCommand {
    /// Ask an address whether a node of the DHT is there
    ///
    /// Says its id and its program, how long the answer took, where it sees us, and whether it is a
    /// native node.
    Ping {
        /// The node
        #[arg(value_name = "HOST:PORT", value_parser = entry)]
        node: String,
        #[command(flatten)]
        ask: AskArgs,
    },
    /// Find the nodes closest to an id
    ///
    /// Prints the id and the address of each, the closest first.
    FindNode {
        /// A node id or infohash of 40 hex digits [default: our own id]
        #[arg(value_parser = Target::parse)]
        id: Option<Target>,
        #[command(flatten)]
        ask: AskArgs,
    },
    /// Find the peers of a swarm, and print each as soon as it is found
    ///
    /// Of an OFF URL, these are the peers of the swarm of its holders, of the torrents that its
    /// records name, and of the torrent in the URL; --json tells them apart.
    GetPeers {
        /// An infohash of 40 hex digits, an OFF URL, a magnet link, or `native` for the swarm of
        /// all native nodes
        #[arg(value_name = "INFOHASH|URL|MAGNET|native")]
        swarm: String,
        #[command(flatten)]
        ask: AskArgs,
    },
    /// Announce a peer at this machine's address, and say how many nodes took it
    ///
    /// Of an OFF URL, it is announced in the swarm of its holders and in that of the torrent in the
    /// URL. Nodes forget it within the hour.
    Announce(AnnounceArgs),
    /// Find an item: a small value that nodes keep for others
    ///
    /// A string that is text is printed as it is, any other value in bencode with its bytes
    /// escaped. Of several items of a key, the one of the highest number is printed. Of an OFF URL,
    /// its records are printed, newest first: an infohash and the number of its blocks.
    Get(GetItemArgs),
    /// Have an item kept, and say where and by how many nodes
    ///
    /// Without --key-file it is named by its value and never changes; with it, by the key and the
    /// salt, and whoever has the key can replace it. Nodes forget items within two hours or so.
    Put(PutItemArgs),
    /// Make a secret key for `dht put` and print its public key
    ///
    /// The file is its owner's alone. Of one that is there already the public key is printed.
    Key {
        /// The file
        file: PathBuf,
    },
    /// Join the network, say how that went, and remember its nodes for the next time
    Status {
        #[command(flatten)]
        ask: AskArgs,
    },
    /// Run a node that others can ask until interrupted, and print where it listens
    Serve(ServeArgs),
}

/// How to ask the network.
#[derive(Debug, Args)]
pub(in crate::cli) struct AskArgs {
    /// Give up after so long, as in `30s` or `5m`; 0 is never
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub(in crate::cli) timeout: Duration,
    /// The address of this machine to ask from; a port behind it is not used [default: all
    /// addresses]
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub(in crate::cli) listen: Option<IpAddr>,
    #[command(flatten)]
    pub(in crate::cli) entries: EntryArgs,
}

/// Where to begin. Whoever says `dht` wants it: that other commands are to take no part in it
/// (`--no-dht`, `enabled` in the configuration) is not looked at.
#[derive(Debug, Args)]
pub(in crate::cli) struct EntryArgs {
    /// A node of the DHT to begin with; may be repeated [default: those of the configuration, else
    /// well-known ones]
    #[arg(long, value_name = "HOST:PORT", value_parser = entry)]
    pub(in crate::cli) dht_bootstrap: Vec<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AnnounceArgs {
    /// An infohash of 40 hex digits, an OFF URL, a magnet link, or `native`
    #[arg(value_name = "INFOHASH|URL|MAGNET|native")]
    pub(in crate::cli) swarm: String,
    /// Where the peer listens (TCP)
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(in crate::cli) port: u16,
    /// It has everything
    #[arg(long)]
    pub(in crate::cli) seed: bool,
    #[command(flatten)]
    pub(in crate::cli) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct GetItemArgs {
    /// Where the item is kept (40 hex digits), or an OFF URL
    #[arg(value_name = "TARGET|URL", required_unless_present = "key", conflicts_with = "key")]
    pub(in crate::cli) what: Option<String>,
    /// The public key of its owner, 64 hex digits
    #[arg(long, value_name = "PUBKEY", value_parser = ItemKey::parse)]
    pub(in crate::cli) key: Option<ItemKey>,
    /// What its owner tells it from others by
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(in crate::cli) salt: String,
    /// Print the bencode, byte for byte
    #[arg(long)]
    pub(in crate::cli) raw: bool,
    #[command(flatten)]
    pub(in crate::cli) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PutItemArgs {
    /// The text to keep, at most 996 bytes, or `-` to read it from standard input
    #[arg(value_name = "VALUE|-", default_value = "-", hide_default_value = true)]
    pub(in crate::cli) value: String,
    /// The value is bencode, at most 1,000 bytes
    #[arg(long)]
    pub(in crate::cli) bencode: bool,
    /// Sign it with the key in this file: 64 hex digits, the 32 bytes of an ed25519 seed
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) key_file: Option<PathBuf>,
    /// Tells it from other items of the key, at most 64 bytes
    #[arg(long, value_name = "TEXT", requires = "key_file")]
    pub(in crate::cli) salt: Option<String>,
    /// The number of this version [default: the highest found and one more]
    #[arg(long, value_name = "N", requires = "key_file", value_parser = clap::value_parser!(i64).range(0..))]
    pub(in crate::cli) seq: Option<i64>,
    /// Only replace the version of this number
    #[arg(long, value_name = "N", requires = "key_file", value_parser = clap::value_parser!(i64).range(0..))]
    pub(in crate::cli) cas: Option<i64>,
    #[command(flatten)]
    pub(in crate::cli) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ServeArgs {
    /// Where to listen (UDP) [default: any free port, all addresses]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(in crate::cli) listen: Option<SocketAddr>,
    #[command(flatten)]
    pub(in crate::cli) entries: EntryArgs,
    #[command(flatten)]
    pub(in crate::cli) report: ReportArgs,
}

/// Reads an address, with or without a port.
fn address(text: &str) -> Result<IpAddr, String> {
    let with_port = || text.parse().map(|address: SocketAddr| address.ip());
    text.parse().or_else(|_| with_port()).map_err(|_| "not an IP address".into())
}
