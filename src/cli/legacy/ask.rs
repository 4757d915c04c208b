//! `offswarm legacy ask`: one call to a node of js-offs.

use rand::Rng as _;
use serde::Serialize;
use tokio::task::block_in_place;

use crate::cli::args::{BlockArgs, Global, LegacyAskArgs, Question};
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::Output;
use crate::client::Client;
use crate::id::{BlockId, LegacyId};
use crate::legacy::caller::CallError;
use crate::legacy::cuckoo::Filter;
use crate::legacy::message::{Answer, Call};
use crate::legacy::peer::LegacyPeer;
use crate::off::{Block, BlockSize};

/// Nodes that are asked for, as many as js-offs asks for.
const COUNT: usize = 10;

/// Blocks that a filter of ours names: js-offs takes any number, and so many are 220 kB.
const NAMED: usize = 5_000;

#[derive(Serialize)]
struct ShownAnswer {
    id: LegacyId,
    answers: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    has: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    block: Option<BlockId>,
    /// Whether the block was not here before.
    #[serde(skip_serializing_if = "Option::is_none")]
    new: Option<bool>,
}

impl ShownAnswer {
    const fn of(peer: &LegacyPeer) -> Self {
        Self { id: peer.id, answers: true, has: None, percent: None, block: None, new: None }
    }
}

#[derive(Serialize)]
struct ShownNode {
    id: LegacyId,
    external: std::net::SocketAddr,
    locator: String,
}

pub(super) async fn run(
    global: &Global,
    args: &LegacyAskArgs,
    output: &Output,
) -> Result<Exit, CliError> {
    let client = global.client()?;
    let peer = peer(&client, &args.peer)?;
    match &args.question {
        Question::Ping => {
            ask(&client, &peer, &Call::Ping).await?;
            output.result(&format!("{peer} answers"), &ShownAnswer::of(&peer))?;
            Ok(Exit::Done)
        }
        Question::FindNode { id } => find_node(&client, &peer, id.unwrap_or(peer.id), output).await,
        Question::FindValue(block) => find_value(&client, &peer, block, output).await,
        Question::PingValue(block) => ping_value(&client, &peer, block, output).await,
        Question::Random { class } => random(&client, &peer, (*class).into(), output).await,
        Question::PingStorage { class } => {
            let asked = Call::PingStorage { size: (*class).into() };
            let Answer::Capacity(percent) = ask(&client, &peer, &asked).await? else {
                return Err(refused(&peer, "does not say how full it is"));
            };
            let shown = ShownAnswer { percent: Some(percent), ..ShownAnswer::of(&peer) };
            output.result(&format!("{percent} percent full"), &shown)?;
            Ok(Exit::Done)
        }
    }
}

/// The node of a locator, or of the id of one that is known.
fn peer(client: &Client, text: &str) -> Result<LegacyPeer, CliError> {
    let Ok(id) = LegacyId::parse(text) else {
        return LegacyPeer::parse(text)
            .map_err(|error| CliError::usage("cannot tell the node", error));
    };
    let known = client.legacy_peers().into_iter().find(|contact| contact.peer.id == id);
    let why = "no node of that id is remembered";
    known.map(|contact| contact.peer).ok_or_else(|| {
        CliError::usage(format!("cannot ask {id}"), why).hint("name it by its locator")
    })
}

async fn ask(client: &Client, peer: &LegacyPeer, asked: &Call) -> Result<Answer, CliError> {
    client.call_legacy(peer, asked).await.map_err(CliError::from)
}

fn refused(peer: &LegacyPeer, what: &str) -> CliError {
    CliError::new(Exit::NotFound, format!("{peer} {what}"))
}

async fn find_node(
    client: &Client,
    peer: &LegacyPeer,
    target: LegacyId,
    output: &Output,
) -> Result<Exit, CliError> {
    let asked = Call::FindNode { target, count: COUNT };
    let Answer::Nodes(nodes) = ask(client, peer, &asked).await? else {
        return Err(refused(peer, "names no nodes"));
    };
    for node in nodes {
        let shown = ShownNode { id: node.id, external: node.external, locator: node.locator() };
        output.result(&format!("{node} {}", shown.locator), &shown)?;
    }
    Ok(Exit::Done)
}

async fn find_value(
    client: &Client,
    peer: &LegacyPeer,
    BlockArgs { block: id, class }: &BlockArgs,
    output: &Output,
) -> Result<Exit, CliError> {
    let asked = Call::FindValue { size: (*class).into(), id: *id, count: COUNT };
    match ask(client, peer, &asked).await? {
        Answer::Value { data, .. } => keep(client, peer, *id, data, output),
        Answer::Elsewhere { nodes, .. } => {
            let others = nodes.len();
            Err(refused(peer, &format!("does not have it, and names {others} others")))
        }
        _ => Err(refused(peer, "does not have it")),
    }
}

/// Takes a block into the store that is what it should be.
fn keep(
    client: &Client,
    peer: &LegacyPeer,
    id: BlockId,
    data: bytes::Bytes,
    output: &Output,
) -> Result<Exit, CliError> {
    let lied =
        |error| CliError::new(Exit::Integrity, format!("{peer} gave something else: {error}"));
    let block = Block::check(id, data).map_err(lied)?;
    let new = block_in_place(|| {
        let new = client.store().put(&block)?;
        client.store().commit().map(|()| new)
    })?;
    let how = if new { "is here now" } else { "was here" };
    let shown =
        ShownAnswer { has: Some(true), block: Some(id), new: Some(new), ..ShownAnswer::of(peer) };
    output.result(&format!("{id} {how}"), &shown)?;
    Ok(Exit::Done)
}

async fn ping_value(
    client: &Client,
    peer: &LegacyPeer,
    BlockArgs { block: id, class }: &BlockArgs,
    output: &Output,
) -> Result<Exit, CliError> {
    let asked = Call::PingValue { size: (*class).into(), id: *id };
    let has = match client.call_legacy(peer, &asked).await {
        Ok(answer) => answer == Answer::Success,
        Err(CallError::Closed { .. }) => false,
        Err(error) => return Err(error.into()),
    };
    let text = if has { "has it" } else { "does not have it" };
    let shown = ShownAnswer { has: Some(has), ..ShownAnswer::of(peer) };
    output.result(text, &shown)?;
    Ok(if has { Exit::Done } else { Exit::NotFound })
}

async fn random(
    client: &Client,
    peer: &LegacyPeer,
    size: BlockSize,
    output: &Output,
) -> Result<Exit, CliError> {
    let mut rng = rand::rng();
    let seed = rng.next_u64();
    let here: Result<Vec<BlockId>, _> =
        block_in_place(|| client.store().draws(size, seed)?.take(NAMED).collect());
    let here = here?;
    let filter =
        if here.is_empty() { Filter::nothing() } else { Filter::encode_of(&here, &mut rng) };
    match ask(client, peer, &Call::Random { size, filter: filter.into() }).await? {
        Answer::Random { value, .. } if value.len() == size.len() => {
            keep(client, peer, BlockId::of(&value), value, output)
        }
        Answer::Random { value, .. } => {
            let what = format!("{peer} gave {} bytes for a block", value.len());
            Err(CliError::new(Exit::Integrity, what))
        }
        _ => Err(refused(peer, "has no other block of that class")),
    }
}

impl From<CallError> for CliError {
    fn from(error: CallError) -> Self {
        let exit = if error.is_violation() { Exit::Integrity } else { Exit::NotFound };
        Self::new(exit, error)
    }
}
