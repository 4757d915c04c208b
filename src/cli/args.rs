//! What can be typed: commands, flags and their environment twins.
//!
//! Every flag `--some-flag` can also be given as `OFFSWARM_SOME_FLAG`; [`parse`] adds the twins,
//! so none can be forgotten.

mod dht;
mod legacy;
mod native;
mod pack;
mod put;
mod serve;
mod swarm;
mod words;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Arg, ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::client::Percent;
use crate::daemon::config::parse::{duration, log_filter, percent, size, tracker};

use super::cat::ByteRange;
use super::env::Env;
use super::exit;

pub(super) use dht::{
    AnnounceArgs, AskArgs, DhtArgs, DhtCommand, EntryArgs, GetItemArgs, PutItemArgs, ServeArgs,
};
pub(super) use legacy::{
    BlockArgs, GatewayCommand, GatewayGetArgs, IdArgs, ImportArgs, LegacyArgs, LegacyAskArgs,
    LegacyCommand, PeerCommand, Question,
};
pub(super) use native::{NativeFlags, RungArgs};
pub(super) use pack::{AdoptArgs, ExportArgs, PackArgs, PackCommand};
pub(super) use put::{ConvertArgs, HidingArgs, HowToPut, PutArgs, VersionArg};
pub(super) use serve::{ConfigArgs, ConfigCommand, DaemonArgs, LogArgs};
pub(super) use swarm::{LinkArgs, ReportArgs, SeedArgs, SwarmArgs};

/// Share files as noise over BitTorrent: a client of the OFF System.
#[derive(Debug, Parser)]
#[command(name = "offswarm", version, after_help = exit::HELP, max_term_width = 100)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Args)]
pub(super) struct Global {
    /// Folder of the store and the catalog [default: the data folder of XDG, then offswarm]
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) home: Option<PathBuf>,
    /// Bytes of blocks the store may hold, as in `500MB` or `10GiB` [default: what the
    /// configuration says, else no limit]
    #[arg(long, global = true, value_name = "SIZE", value_parser = size)]
    pub(super) limit: Option<u64>,
    /// How much of the limit may be blocks that others push to us, 0 to 100; what is over it is
    /// given back by gc [default: what the configuration says, else 0: none are taken]
    #[arg(long, global = true, value_name = "PERCENT", value_parser = percent)]
    pub(super) host_share: Option<Percent>,
    /// Print JSON, one object per line
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Print no progress and no remarks
    #[arg(long, short, global = true)]
    pub(super) quiet: bool,
    /// What to log to stderr, as in `offswarm=debug`
    #[arg(long, global = true, value_name = "FILTER", default_value = "error,offswarm=warn", value_parser = log_filter)]
    pub(super) log: String,
    /// Open the store here, though a daemon may run that would run the command
    #[arg(long, global = true)]
    pub(super) no_daemon: bool,
    /// Where the command runs.
    #[arg(skip)]
    pub(super) env: Env,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Store a file or folder and print its OFF URL
    ///
    /// Of a folder, symbolic links, special files and what cannot be read are left out; then the
    /// exit code is 3.
    Put(PutArgs),
    /// Store a file or folder, publish its blocks as a torrent and seed them until interrupted
    ///
    /// As soon as peers can connect, stdout gets two lines: the OFF URL with hints where to find
    /// its blocks, and the magnet link.
    Share(ShareArgs),
    /// Make a torrent of an OFF URL that is stored here, and print its links
    ///
    /// stdout gets two lines: the OFF URL with hints where to find its blocks, and the magnet link.
    /// Nobody is told before share or seed runs.
    Publish(PublishArgs),
    /// Get a file or folder by its OFF URL or magnet link
    ///
    /// One file of a folder is got by the folder's OFF URL with the file's path behind its name.
    Get(GetArgs),
    /// Write a file, or a range of it, to standard output by its OFF URL or magnet link
    Cat(CatArgs),
    /// Put a file or folder again, with an OFF URL of the other version, and print that
    ///
    /// It is got as get does, and decoded and put without being written anywhere in between. Of a
    /// folder, what version 3 has no form for, empty files and folders, is left out; then the exit
    /// code is 3.
    Convert(ConvertArgs),
    /// Seed OFF URLs that are stored here until interrupted
    Seed(SeedArgs),
    /// List the OFF URLs put and got here, or the files of a folder
    Ls(LsArgs),
    /// Show how full the store is, or how much of an OFF URL is here and in the network
    Stat(StatArgs),
    /// Exempt the blocks of OFF URLs from eviction
    Pin(UrlArgs),
    /// End a pin
    Unpin(UrlArgs),
    /// Forget OFF URLs and free the blocks that no other URL needs
    Rm(UrlArgs),
    /// Free the blocks that no OFF URL uses
    Gc(GcArgs),
    /// Name every damaged block and every OFF URL it hurts
    ///
    /// Without --read-data only the index is looked at. A check that is interrupted goes on where
    /// it stopped. Exits with 5 if blocks are damaged, with 3 if some are merely missing.
    Check(CheckArgs),
    /// Fetch what OFF URLs lack, and with --push have native peers keep copies of rare blocks
    Repair(RepairArgs),
    /// Carry blocks in and out as packs: files of blocks back to back
    Pack(PackArgs),
    /// Take over what users of js-offs have
    Legacy(LegacyArgs),
    /// Look at torrents
    Torrent(TorrentArgs),
    /// Ask the DHT, keep something there, or run a node of it
    ///
    /// Needs no store, and works beside another offswarm. All but serve ask without becoming a
    /// node that others ask. What other commands are told of the DHT by --no-dht is not looked at.
    Dht(DhtArgs),
    /// Run the daemon until interrupted: the store, its swarms, the DHT, and HTTP for browsers
    ///
    /// stdout gets the address of the web page as soon as it can be opened. While it runs, other
    /// commands are run by it: it opens, reads and writes the files they name, as the same user.
    /// Each of its flags is a key of the configuration (see `config show`).
    Serve(DaemonArgs),
    /// Show how the daemon is doing
    Status,
    /// Show what the daemon logs, or have it log something else
    Log(LogArgs),
    /// Show the configuration
    Config(ConfigArgs),
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

impl Command {
    /// Whether it needs the store or asks the daemon, so that a daemon runs it if there is one.
    pub(super) const fn is_for_daemon(&self) -> bool {
        !matches!(
            self,
            Self::Dht(_) | Self::Serve(_) | Self::Config(_) | Self::Completions { .. } | Self::Man
        )
    }
}

#[derive(Debug, Args)]
pub(super) struct ShareArgs {
    /// The file or folder
    #[arg(value_name = "FILE|DIR")]
    pub(super) file: PathBuf,
    #[command(flatten)]
    pub(super) how: HowToPut,
    /// Write the torrent to a file too
    #[arg(long, value_name = "FILE")]
    pub(super) torrent_out: Option<PathBuf>,
    /// An HTTP address of the content file, to name in the links and the torrent; may be repeated
    #[arg(long, value_name = "URL", value_parser = web_address)]
    pub(super) web_seed: Vec<String>,
    #[command(flatten)]
    pub(super) links: LinkArgs,
    #[command(flatten)]
    pub(super) swarm: SwarmArgs,
    #[command(flatten)]
    pub(super) report: ReportArgs,
}

#[derive(Debug, Args)]
pub(super) struct PublishArgs {
    /// The OFF URL or magnet link
    pub(super) url: String,
    /// For clients that know version 2 only: a torrent of its own, with the same content file
    #[arg(long, conflicts_with = "hybrid")]
    pub(super) v2: bool,
    /// For clients of both versions in one swarm; some old ones refuse it
    #[arg(long)]
    pub(super) hybrid: bool,
    /// A tracker to name in the links and the torrent; may be repeated
    #[arg(long, value_name = "URL", value_parser = tracker)]
    pub(super) tracker: Vec<String>,
    /// An HTTP address of the content file, likewise; may be repeated
    #[arg(long, value_name = "URL", value_parser = web_address)]
    pub(super) web_seed: Vec<String>,
    #[command(flatten)]
    pub(super) links: LinkArgs,
    /// Write the torrent to a file too
    #[arg(long, value_name = "FILE")]
    pub(super) torrent_out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct GetArgs {
    #[command(flatten)]
    pub(super) from: FetchArgs,
    /// Where to write: a file, a folder, or `-` for standard output [default: the name in the URL]
    ///
    /// A folder that exists gets the file or folder put inside. A folder is written to where
    /// nothing is yet.
    #[arg(long, short, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    /// Overwrite a file that only the URL's name chose
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, Args)]
pub(super) struct CatArgs {
    #[command(flatten)]
    pub(super) from: FetchArgs,
    /// Only these bytes, counted from 0: `A-B` with B included, `A-`, or `-N` for the last N
    #[arg(long, value_name = "A-B", allow_hyphen_values = true)]
    pub(super) range: Option<ByteRange>,
}

/// What to fetch, and how.
#[derive(Debug, Args)]
pub(super) struct FetchArgs {
    /// The OFF URL or magnet link, or `-` to read it from standard input
    #[arg(value_name = "URL|MAGNET")]
    pub(super) what: String,
    /// The torrent of the URL's blocks, or of a pack or shard that lists its blocks; may be
    /// repeated
    #[arg(long, value_name = "FILE")]
    pub(super) torrent: Vec<PathBuf>,
    /// An HTTP server that has the content file of the URL's torrent; may be repeated
    #[arg(long, value_name = "URL", value_parser = web_address)]
    pub(super) web_seed: Vec<String>,
    /// Ask nobody: use the store only
    #[arg(long, conflicts_with_all = ["native_only", "swarm_only"])]
    pub(super) offline: bool,
    #[command(flatten)]
    pub(super) rungs: RungArgs,
    #[command(flatten)]
    pub(super) patience: Patience,
    #[command(flatten)]
    pub(super) swarm: SwarmArgs,
}

#[derive(Debug, Args)]
pub(super) struct Patience {
    /// Give up after so long, as in `30s` or `5m`; 0 is never
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = duration)]
    pub(super) timeout: Duration,
    /// Give up when nothing has come for so long; 0 is never
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(super) stall: Duration,
}

#[derive(Debug, Args)]
pub(super) struct LsArgs {
    /// The OFF URL or magnet link of a folder that is stored here: list its files with their
    /// lengths, and whether they are executable (x) or empty folders (d)
    pub(super) url: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct StatArgs {
    /// An OFF URL or magnet link
    pub(super) url: Option<String>,
    /// Count the copies of its blocks that native peers and the swarm have
    #[arg(long, requires = "url")]
    pub(super) network: bool,
    /// With --network: so many copies of a block are enough; exits with 3 if a block has fewer
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) copies: u32,
    /// With --network: look for peers so long, as in `30s`
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub(super) timeout: Duration,
    #[command(flatten)]
    pub(super) rungs: RungArgs,
    #[command(flatten)]
    pub(super) swarm: SwarmArgs,
}

#[derive(Debug, Args)]
pub(super) struct UrlArgs {
    /// OFF URLs or magnet links
    #[arg(required = true, value_name = "URL")]
    pub(super) urls: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct GcArgs {
    /// Only say what would be freed
    #[arg(long)]
    pub(super) dry_run: bool,
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Read and verify every block
    #[arg(long)]
    pub(super) read_data: bool,
    /// Begin anew, though a check was interrupted
    #[arg(long)]
    pub(super) restart: bool,
}

#[derive(Debug, Args)]
pub(super) struct RepairArgs {
    /// OFF URLs or magnet links [default: all that are hurt]
    #[arg(value_name = "URL")]
    pub(super) urls: Vec<String>,
    /// Push blocks with fewer than N copies elsewhere to native peers that keep blocks of others;
    /// exits with 3 if some remain
    #[arg(long, value_name = "N", requires = "urls", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) push: Option<u32>,
    #[command(flatten)]
    pub(super) rungs: RungArgs,
    #[command(flatten)]
    pub(super) patience: Patience,
    #[command(flatten)]
    pub(super) swarm: SwarmArgs,
}

#[derive(Debug, Args)]
pub(super) struct TorrentArgs {
    #[command(subcommand)]
    pub(super) command: TorrentCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum TorrentCommand {
    /// Show what a torrent holds, and which OFF URL it carries, if any
    ///
    /// Of an OFF URL or magnet link the torrent is shown if its blocks are stored here.
    Show {
        /// A torrent file, an OFF URL or a magnet link
        #[arg(value_name = "FILE|URL|MAGNET")]
        what: String,
    },
}

/// The arguments, understood, and as a daemon is told them.
pub(super) struct Parsed {
    pub(super) cli: Cli,
    /// Every argument that was given, here or in the environment, spelt out.
    pub(super) words: Vec<OsString>,
}

/// Reads the arguments and the environment of this process.
pub(super) fn parse() -> Result<Parsed, clap::Error> {
    let mut command = command();
    let mut matches = command.try_get_matches_from_mut(std::env::args_os())?;
    let words = words::of(&command, &matches);
    let cli = Cli::from_arg_matches_mut(&mut matches);
    let cli = cli.map_err(|error| error.format(&mut command))?;
    Ok(Parsed { cli, words })
}

/// Reads arguments that were spelt out; the environment says nothing.
pub(super) fn parse_words(words: Vec<OsString>) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(words)
}

/// The whole command with the environment twins of all flags.
pub(super) fn command() -> clap::Command {
    with_twins(Cli::command())
}

fn with_twins(command: clap::Command) -> clap::Command {
    command.mut_args(twin).mut_subcommands(with_twins)
}

fn twin(arg: Arg) -> Arg {
    let Some(flag) = arg.get_long() else {
        return arg;
    };
    if matches!(flag, "help" | "version") {
        return arg;
    }
    let name = format!("OFFSWARM_{}", flag.replace('-', "_").to_uppercase());
    if std::env::var_os(&name).is_some_and(|value| value.is_empty()) {
        // Set to nothing is the same as not set.
        return arg;
    }
    let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
    let is_list = matches!(arg.get_action(), ArgAction::Append);
    let arg = arg.env(clap::builder::OsStr::from(name)).hide_env_values(true);
    match (is_switch, is_list) {
        (true, _) => arg.value_parser(FalseyValueParser::new()),
        (_, true) => arg.value_delimiter(','),
        _ => arg,
    }
}

fn web_address(text: &str) -> Result<String, String> {
    let url = url::Url::parse(text).map_err(|error| error.to_string())?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(text.to_owned()),
        _ => Err("a web seed has an http or https address".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn every_flag_has_an_environment_twin() {
        let command = command();
        for sub in command.get_subcommands() {
            for arg in sub.get_arguments().filter(|arg| arg.get_long().is_some()) {
                if arg.get_long() != Some("help") {
                    assert!(arg.get_env().is_some(), "{} {}", sub.get_name(), arg.get_id());
                }
            }
        }
    }

    #[test]
    fn refuses_web_seeds_of_other_kinds() {
        for bad in ["udp://t.example:80", "file:///x", "t.example", "http://"] {
            assert!(web_address(bad).is_err(), "{bad}");
        }
    }
}
