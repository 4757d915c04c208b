//! The swarms that a command takes part in.

use crate::client::Client;
use crate::swarm::session::Swarms;

use super::args::{Global, SwarmArgs};
use super::exit::CliError;

/// Opens swarms for a command that seeds until it is stopped.
pub(super) async fn swarms(
    global: &Global,
    client: &Client,
    args: &SwarmArgs,
) -> Result<Swarms, CliError> {
    Ok(client.swarms(&args.options(global, true)?).await?)
}
