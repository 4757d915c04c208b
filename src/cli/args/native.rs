//! The arguments about native peers.

use std::net::SocketAddr;

use clap::Args;

use crate::client::fetch::Rungs;
use crate::daemon::config::Values;
use crate::swarm::native::NativeOptions;

/// Where native peers are found.
#[derive(Debug, Args)]
pub(in crate::cli) struct NativeFlags {
    /// A native peer, an offswarm that is shared or seeded from; may be repeated [default: those of
    /// the configuration]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(in crate::cli) native_peer: Vec<SocketAddr>,
    /// Look for native peers on the local network, and be found there (BEP 14)
    #[arg(long)]
    pub(in crate::cli) lan: bool,
}

impl NativeFlags {
    /// Where native peers are found: those of the flags, else those of the configuration.
    pub(super) fn options(&self, values: &Values) -> NativeOptions {
        let named =
            if self.native_peer.is_empty() { &values.native_peers } else { &self.native_peer };
        NativeOptions { peers: named.clone(), lan: self.lan || values.lan, stays: false }
    }
}

/// Whom to ask.
#[derive(Debug, Clone, Copy, Args)]
pub(in crate::cli) struct RungArgs {
    /// Ask native peers only, no BitTorrent swarm
    #[arg(long, conflicts_with = "swarm_only")]
    pub(in crate::cli) native_only: bool,
    /// Ask BitTorrent swarms only, no native peer
    #[arg(long)]
    pub(in crate::cli) swarm_only: bool,
}

impl From<RungArgs> for Rungs {
    fn from(args: RungArgs) -> Self {
        match (args.native_only, args.swarm_only) {
            (true, _) => Self::NativeOnly,
            (_, true) => Self::SwarmOnly,
            _ => Self::All,
        }
    }
}
