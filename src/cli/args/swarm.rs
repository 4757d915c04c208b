//! The arguments of what takes part in swarms.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::catalog;
use crate::cli::exit::CliError;
use crate::daemon::config::Values;
use crate::daemon::config::parse::{duration, entry, peers, rate, tracker};
use crate::peer::front::Limits;
use crate::swarm::native::NativeOptions;
use crate::swarm::session::{DhtOptions, Options};

use super::{Global, NativeFlags};

#[derive(Debug, Args)]
pub(in crate::cli) struct SwarmArgs {
    /// A tracker to announce to or ask; may be repeated
    #[arg(long, value_name = "URL", value_parser = tracker)]
    pub(in crate::cli) tracker: Vec<String>,
    /// Where to listen for BitTorrent peers (TCP) [default: what the configuration says, else any
    /// free port, all addresses]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(in crate::cli) listen: Option<SocketAddr>,
    /// A peer to connect to; may be repeated
    #[arg(long, value_name = "ADDR:PORT")]
    pub(in crate::cli) peer: Vec<SocketAddr>,
    /// Send at most so much a second, as in `500KB` or `2MiB` [default: what the configuration
    /// says, else no limit]
    #[arg(long, value_name = "SIZE", value_parser = rate)]
    pub(in crate::cli) up_limit: Option<NonZeroU32>,
    /// Receive at most so much a second [default: likewise]
    #[arg(long, value_name = "SIZE", value_parser = rate)]
    pub(in crate::cli) down_limit: Option<NonZeroU32>,
    /// Connections to peers, at most [default: what the configuration says, else 200]
    #[arg(long, value_name = "NUMBER", value_parser = peers)]
    pub(in crate::cli) max_peers: Option<usize>,
    #[command(flatten)]
    pub(in crate::cli) dht: DhtFlags,
    #[command(flatten)]
    pub(in crate::cli) native: NativeFlags,
}

/// Whether and how to take part in the DHT.
#[derive(Debug, Args)]
pub(in crate::cli) struct DhtFlags {
    /// Do not take part in the DHT
    #[arg(long)]
    pub(in crate::cli) no_dht: bool,
    /// A node of the DHT to begin with; may be repeated [default: those of the configuration, else
    /// well-known ones]
    #[arg(long, value_name = "HOST:PORT", value_parser = entry)]
    pub(in crate::cli) dht_bootstrap: Vec<String>,
}

impl DhtFlags {
    /// The nodes of the DHT to begin with; `None` if we take no part in it. Flags come first, then
    /// the configuration.
    fn entries(&self, values: &Values) -> Option<Vec<String>> {
        match &*self.dht_bootstrap {
            _ if self.no_dht => None,
            [] => values.dht.then(|| values.bootstrap.clone()),
            named => Some(named.to_vec()),
        }
    }
}

impl SwarmArgs {
    /// Whether flags say that swarms are to be opened otherwise than by these values, so that those
    /// that are open will not do.
    pub(in crate::cli) fn differs_from(&self, values: &Values) -> bool {
        let Self { listen, up_limit, down_limit, max_peers, dht, native, .. } = self;
        let limits = up_limit.is_some_and(|limit| values.up_limit != Some(limit))
            || down_limit.is_some_and(|limit| values.down_limit != Some(limit))
            || max_peers.is_some_and(|most| most != values.max_peers);
        let entries = !dht.dht_bootstrap.is_empty() && dht.dht_bootstrap != values.bootstrap;
        let dht = (dht.no_dht && values.dht) || entries;
        let listen = listen.is_some_and(|listen| values.peers_listen != Some(listen));
        listen || limits || dht || (native.lan && !values.lan)
    }

    /// What a session of swarms keeps to. Who stays in the DHT is asked by others, too.
    pub(in crate::cli) fn options(
        &self,
        global: &Global,
        stays: bool,
    ) -> Result<Options, CliError> {
        let values = global.values()?;
        let limits = Limits {
            max_peers: self.max_peers.unwrap_or(values.max_peers),
            upload: self.up_limit.or(values.up_limit),
            download: self.down_limit.or(values.down_limit),
            ..Limits::default()
        };
        let dht = self.dht.entries(&values);
        let dht = dht.map(|bootstrap| DhtOptions { bootstrap, stays, state: None });
        let native = NativeOptions { stays, ..self.native.options(&values) };
        // Who only fetches needs no port that others know, and beside a daemon that has it another
        // one of the same address will do.
        let anywhere = |listen: SocketAddr| SocketAddr::new(listen.ip(), 0);
        let has_port = stays && global.env.daemon().is_none();
        let configured = values.peers_listen;
        let configured = if has_port { configured } else { configured.map(anywhere) };
        let listen = self.listen.or(configured);
        Ok(Options { listen, limits, dht, native, tended: false })
    }
}

/// How much of the upload a torrent gets: its peers served at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Priority {
    Low,
    Normal,
    High,
}

impl From<Priority> for catalog::Priority {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Low => Self::Low,
            Priority::Normal => Self::Normal,
            Priority::High => Self::High,
        }
    }
}

/// What the links say that are printed.
#[derive(Debug, Clone, Copy, Args)]
pub(in crate::cli) struct LinkArgs {
    /// Print the OFF URL without hints where to find its blocks: the DHT knows
    #[arg(long)]
    pub(in crate::cli) bare: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ReportArgs {
    /// Tell peers and rates so often [default: 1s on a terminal, 60s elsewhere]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(in crate::cli) report: Option<Duration>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SeedArgs {
    /// OFF URLs to publish and seed [default: all that were published or downloaded here]
    #[arg(value_name = "URL")]
    pub(in crate::cli) urls: Vec<String>,
    /// Publish the whole store as torrents of at most 1,024 blocks, and seed them too
    #[arg(long, conflicts_with = "urls")]
    pub(in crate::cli) store: bool,
    /// Write the torrents of the store to a folder, with a list of them
    #[arg(long, value_name = "DIR", requires = "store")]
    pub(in crate::cli) torrent_dir: Option<PathBuf>,
    /// How much of the upload these URLs get beside others; it is remembered
    #[arg(long, value_name = "HOW", requires = "urls")]
    pub(in crate::cli) priority: Option<Priority>,
    #[command(flatten)]
    pub(in crate::cli) links: LinkArgs,
    #[command(flatten)]
    pub(in crate::cli) swarm: SwarmArgs,
    #[command(flatten)]
    pub(in crate::cli) report: ReportArgs,
}
