//! `offswarm legacy`: what users of js-offs have.

mod ask;
mod gateway;
mod import;
mod peer;

pub(super) use peer::hinted;

use super::args::{GatewayCommand, Global, LegacyCommand};
use super::exit::{CliError, Exit};
use super::output::Output;
use super::signals::Signals;

pub(super) async fn run(
    global: &Global,
    command: LegacyCommand,
    output: &Output,
    signals: &Signals,
) -> Result<Exit, CliError> {
    match command {
        LegacyCommand::Import(args) => import::run(global, &args, output, signals),
        LegacyCommand::Gateway(args) => match args.command {
            GatewayCommand::Get(args) => gateway::get(global, &args, output, signals).await,
        },
        LegacyCommand::Peer(args) => peer::run(global, &args.command, output).await,
        LegacyCommand::Ask(args) => ask::run(global, &args, output).await,
        LegacyCommand::Id(args) => peer::id(global, &args, output),
    }
}
