//! The swarms that a command takes part in.

use std::sync::Arc;

use crate::client::{Client, Engaged};
use crate::swarm::session::Swarms;

use super::args::{Global, SwarmArgs};
use super::exit::CliError;

/// Swarms for a command that seeds until it is stopped.
pub(super) async fn swarms(
    global: &Global,
    client: &Client,
    args: &SwarmArgs,
) -> Result<Engaged, CliError> {
    match open(global, args) {
        Some(swarms) => Ok(Engaged::Shared(swarms)),
        None => Ok(Engaged::Own(Box::new(client.swarms(&args.options(global, true)?).await?))),
    }
}

/// The swarms of the daemon that runs the command, unless the user wants them to be otherwise.
pub(super) fn open(global: &Global, args: &SwarmArgs) -> Option<Arc<Swarms>> {
    let daemon = global.env.daemon()?;
    if args.differs_from(&daemon.config().values) {
        return None;
    }
    let swarms = daemon.session().swarms()?;
    swarms.natives().add_peers(args.native.native_peer.iter().copied(), true);
    Some(swarms)
}
