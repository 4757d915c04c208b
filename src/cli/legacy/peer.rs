//! `offswarm legacy peer` and `legacy id`: the nodes of js-offs that are known, and our place among
//! them.

use std::net::SocketAddr;

use serde::Serialize;

use crate::cli::args::{Global, IdArgs, PeerCommand};
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::Output;
use crate::client::Client;
use crate::client::fetch::Ways;
use crate::client::legacy::LegacyIdError;
use crate::id::LegacyId;
use crate::legacy::caller::CallError;
use crate::legacy::contacts::Contact;
use crate::legacy::message::Call;
use crate::legacy::peer::LegacyPeer;
use crate::off::{OffUrl, Version};

#[derive(Serialize)]
struct ShownPeer {
    id: LegacyId,
    external: SocketAddr,
    internal: SocketAddr,
    locator: String,
    /// The user named it; it is remembered.
    named: bool,
    /// Whether it has answered; nothing if it was not asked.
    answers: Option<bool>,
}

impl ShownPeer {
    fn new(peer: &LegacyPeer, named: bool, answers: Option<bool>) -> Self {
        let LegacyPeer { id, external, internal } = *peer;
        Self { id, external, internal, locator: peer.locator(), named, answers }
    }

    fn line(&self) -> String {
        let named = if self.named { "named" } else { "called us" };
        let answers = match self.answers {
            Some(true) => ", answers",
            Some(false) => ", does not answer",
            None => "",
        };
        format!("{} at {}: {named}{answers}", self.id, self.external)
    }
}

pub(super) async fn run(
    global: &Global,
    command: &PeerCommand,
    output: &Output,
) -> Result<Exit, CliError> {
    match command {
        PeerCommand::Add { peers, no_ping } => add(global, peers, *no_ping, output).await,
        PeerCommand::Ls => list(global, output),
        PeerCommand::Rm { peers } => remove(global, peers, output),
    }
}

async fn add(
    global: &Global,
    peers: &[LegacyPeer],
    no_ping: bool,
    output: &Output,
) -> Result<Exit, CliError> {
    let client = global.client()?;
    let mut exit = Exit::Done;
    for peer in peers {
        client.add_legacy_peer(*peer)?;
        let answers = if no_ping { None } else { Some(ping(&client, peer, output).await) };
        if answers == Some(false) {
            exit = Exit::Partial;
        }
        let shown = ShownPeer::new(peer, true, answers);
        output.result(&shown.line(), &shown)?;
    }
    Ok(exit)
}

async fn ping(client: &Client, peer: &LegacyPeer, output: &Output) -> bool {
    let pong = client.call_legacy(peer, &Call::Ping).await;
    if let Err(error) = &pong {
        output.remark(&told(error));
    }
    pong.is_ok()
}

/// An error with its cause, as one line.
fn told(error: &CallError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn list(global: &Global, output: &Output) -> Result<Exit, CliError> {
    for Contact { peer, named, answered, .. } in global.existing_client()?.legacy_peers() {
        let shown = ShownPeer::new(&peer, named, answered.map(|_| true));
        output.result(&shown.line(), &shown)?;
    }
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct ShownRemoved {
    id: LegacyId,
    removed: bool,
}

fn remove(global: &Global, ids: &[LegacyId], output: &Output) -> Result<Exit, CliError> {
    let client = global.existing_client()?;
    let mut exit = Exit::Done;
    for id in ids {
        let removed = client.remove_legacy_peer(*id)?;
        if !removed {
            exit = Exit::Partial;
        }
        let what = if removed { "forgotten" } else { "was not known" };
        output.result(&format!("{id}: {what}"), &ShownRemoved { id: *id, removed })?;
    }
    Ok(exit)
}

/// An error of a fetch. Where nobody who was asked has the blocks, js-offs nodes may, if they are named.
pub(in crate::cli) fn hinted(
    error: CliError,
    client: &Client,
    url: &OffUrl,
    ways: &Ways,
) -> CliError {
    let is_theirs = url.version() == Version::V3 && !ways.offline && ways.rungs.asks_legacy();
    if error.exit != Exit::NotFound || !is_theirs || !client.legacy_peers().is_empty() {
        return error;
    }
    error.hint("if a node of js-offs has it, name the node with legacy peer add")
}

#[derive(Serialize)]
struct ShownId {
    id: LegacyId,
    locator: Option<String>,
    /// Whether js-offs nodes are answered there now.
    answering: bool,
}

/// Shows our id, and our locator if it is known where we are.
pub(super) fn id(global: &Global, args: &IdArgs, output: &Output) -> Result<Exit, CliError> {
    let client = global.client()?;
    let id = client.legacy_id()?;
    let listening = global.env.daemon().and_then(crate::daemon::Daemon::legacy);
    let known = listening.filter(|address| !address.ip().is_unspecified());
    let address = args.address.or(global.values()?.legacy.address).or(known);
    let locator =
        address.map(|address| LegacyPeer { id, external: address, internal: address }.locator());
    let shown = ShownId { id, locator, answering: listening.is_some() };
    let text = shown.locator.clone().unwrap_or_else(|| id.to_string());
    output.result(&text, &shown)?;
    if shown.locator.is_none() {
        output.remark("this is the id; with --address it becomes a locator for js-offs");
    } else if !shown.answering {
        output.remark("nobody answers there now: start serve with --legacy");
    }
    Ok(Exit::Done)
}

impl From<LegacyIdError> for CliError {
    fn from(error: LegacyIdError) -> Self {
        Self::new(Exit::Failed, error).hint("delete the file for a new id")
    }
}
