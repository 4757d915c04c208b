//! `offswarm dht`: the DHT by itself.
//!
//! | file | what it does |
//! |---|---|
//! | `session` | asks as somebody who is about to leave: joins, searches, keeps to a deadline |
//! | `memory` | the nodes of the last time, beside other processes of the same home |
//! | `nodes` | `ping`, `find-node`, `status` |
//! | `peers` | `get-peers`, `announce` |
//! | `items`, `keys` | `get`, `put`; the files of secret keys |
//! | `serve` | `serve` |
//!
//! Neither store nor catalog is opened.

mod items;
mod keys;
mod memory;
mod nodes;
mod peers;
mod serve;
mod session;

use super::args::{DhtCommand, Global};
use super::exit::{CliError, Exit};
use super::output::Output;
use super::signals::Signals;

pub(super) async fn run(
    global: &Global,
    command: DhtCommand,
    output: &Output,
    signals: &Signals,
) -> Result<Exit, CliError> {
    if let DhtCommand::Serve(args) = &command {
        return serve::run(global, args, output, signals).await;
    }
    tokio::select! {
        done = ask(global, command, output) => done,
        () = signals.stop().cancelled() => Ok(Exit::Interrupted),
    }
}

async fn ask(global: &Global, command: DhtCommand, output: &Output) -> Result<Exit, CliError> {
    match command {
        DhtCommand::Ping { node, ask } => nodes::ping(&node, &ask, output).await,
        DhtCommand::FindNode { id, ask } => nodes::find_node(global, id, &ask, output).await,
        DhtCommand::Status { ask } => nodes::status(global, &ask, output).await,
        DhtCommand::GetPeers { swarm, ask } => peers::get_peers(global, &swarm, &ask, output).await,
        DhtCommand::Announce(args) => peers::announce(global, &args, output).await,
        DhtCommand::Get(args) => items::get(global, &args, output).await,
        DhtCommand::Put(args) => items::put(global, args, output).await,
        DhtCommand::Key { file } => keys::key(&file, output),
        DhtCommand::Serve(_) => Ok(Exit::Usage),
    }
}
