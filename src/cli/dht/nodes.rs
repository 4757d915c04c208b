//! `dht ping`, `dht find-node` and `dht status`.

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use crate::cli::args::{AskArgs, Global};
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::Output;
use crate::id::{NodeId, Target};
use crate::krpc::contact::Family;
use crate::krpc::driver::{Network, Status};
use crate::krpc::machine::{Aim, Membership, Pong};
use crate::krpc::native::NativeNode;

use super::session::{Deadline, Session, asker, start};

/// Bytes of a program's version that are shown.
const VERSION_SHOWN: usize = 32;

#[derive(Serialize)]
struct ShownPong {
    address: SocketAddr,
    id: NodeId,
    /// Four bytes mostly; those that are no characters as `\x00`.
    version: Option<String>,
    milliseconds: f64,
    /// Where it sees us.
    our_address: Option<SocketAddr>,
    native: bool,
    /// Where it speaks the native peer protocol, if it does.
    native_port: Option<u16>,
}

impl From<Pong> for ShownPong {
    fn from(pong: Pong) -> Self {
        let version = pong.version.map(|mut version| {
            version.truncate(VERSION_SHOWN);
            version.escape_ascii().to_string()
        });
        Self {
            address: pong.contact.address,
            id: pong.contact.id,
            version,
            milliseconds: pong.after.as_secs_f64() * 1_000.0,
            our_address: pong.ip,
            native: pong.native.is_some(),
            native_port: pong.native.filter(|port| *port != 0),
        }
    }
}

impl ShownPong {
    fn lines(&self) -> String {
        let native = match self.native_port {
            Some(port) => format!("yes, port {port}"),
            None if self.native => "yes".into(),
            None => "no".into(),
        };
        let unknown = || "not said".to_owned();
        let us = self.our_address.map_or_else(unknown, |address| format!("at {address}"));
        [
            format!("id        {}", self.id),
            format!("address   {}", self.address),
            format!("program   {}", self.version.clone().unwrap_or_else(unknown)),
            format!("answered  in {:.1} ms", self.milliseconds),
            format!("sees us   {us}"),
            format!("native    {native}"),
        ]
        .join("\n")
    }
}

/// Asks under an id of the moment, whoever is there.
pub(super) async fn ping(node: &str, ask: &AskArgs, output: &Output) -> Result<Exit, CliError> {
    let deadline = Deadline::of(ask);
    let silence = || CliError::new(Exit::NotFound, format!("no node at {node} answers"));
    let found = deadline.keep(tokio::net::lookup_host(node)).await.ok_or_else(silence)?;
    let found = found.map_err(|error| CliError::failed(format!("cannot look up {node}"), error))?;
    let dht = start(asker(ask))?;
    let families: Vec<Family> = dht.addresses().iter().map(Family::of).collect();
    let within_reach = found.filter(|address| families.contains(&Family::of(address)));
    for address in within_reach.collect::<Vec<_>>() {
        if let Some(Some(pong)) = deadline.keep(dht.ping(address)).await {
            let pong = ShownPong::from(pong);
            output.result(&pong.lines(), &pong)?;
            return Ok(Exit::Done);
        }
    }
    Err(silence())
}

#[derive(Serialize)]
struct ShownNode {
    id: NodeId,
    address: SocketAddr,
    /// Bits that its id and the target begin with.
    common_bits: u32,
}

pub(super) async fn find_node(
    global: &Global,
    target: Option<Target>,
    ask: &AskArgs,
    output: &Output,
) -> Result<Exit, CliError> {
    let session = Session::join(global, ask, output).await?;
    let target = match target {
        Some(target) => target,
        None => own_id(&session).await?.target(),
    };
    let search = session.begin(Aim::Nodes(target)).await;
    let outcome = session.outcome(search).await;
    session.leave().await;
    let outcome =
        outcome.ok_or_else(|| CliError::new(Exit::NotFound, "the nodes were not found in time"))?;
    let mut closest = outcome.closest;
    closest.sort_by_key(|contact| contact.distance(&target));
    for contact in &closest {
        let (id, address) = (contact.id, contact.address);
        let common_bits = contact.distance(&target).common_bits();
        output.result(&format!("{id} {address}"), &ShownNode { id, address, common_bits })?;
    }
    if closest.is_empty() {
        return Err(CliError::new(Exit::NotFound, "no node answered"));
    }
    Ok(Exit::Done)
}

/// Our id as a node that stays, else the one of the moment.
async fn own_id(session: &Session) -> Result<NodeId, CliError> {
    let remembered = Family::ALL.into_iter().find_map(|family| session.memory.id(family));
    let of_the_moment = session.dht.status().await.networks.first().map(|network| network.id);
    let none = || CliError::new(Exit::Failed, "the node has ended");
    remembered.or(of_the_moment).ok_or_else(none)
}

#[derive(Serialize)]
struct ShownStatus {
    networks: Vec<ShownNetwork>,
    /// Whether the nodes were written down for the next time.
    remembered: bool,
}

/// How we stand in a network.
#[derive(Serialize)]
pub(super) struct ShownNetwork {
    #[serde(skip)]
    network: Family,
    family: &'static str,
    id: NodeId,
    /// Our address, as others see it.
    external_ip: Option<IpAddr>,
    joined: bool,
    /// Nodes that were asked to let us in, if none did.
    asked: Option<usize>,
    pub(super) good: usize,
    pub(super) questionable: usize,
    pub(super) bad: usize,
    pub(super) native_nodes: Vec<ShownNative>,
}

#[derive(Serialize)]
pub(super) struct ShownNative {
    id: NodeId,
    address: SocketAddr,
    /// Where it speaks the native peer protocol.
    peer: Option<SocketAddr>,
}

impl ShownNetwork {
    pub(super) fn all(status: &Status) -> Vec<Self> {
        status.networks.iter().map(|network| Self::of(network, &status.native_nodes)).collect()
    }

    fn of(network: &Network, natives: &[NativeNode]) -> Self {
        let is_of = |node: &&NativeNode| Family::of(&node.contact.address) == network.family;
        let native = |node: &NativeNode| {
            let NativeNode { contact, peer } = *node;
            ShownNative { id: contact.id, address: contact.address, peer }
        };
        Self {
            network: network.family,
            family: name(network.family),
            id: network.id,
            external_ip: network.external_ip,
            joined: network.membership == Membership::Inside,
            asked: match network.membership {
                Membership::Outside { asked } => Some(asked),
                Membership::Pending | Membership::Inside => None,
            },
            good: network.good,
            questionable: network.questionable,
            bad: network.bad,
            native_nodes: natives.iter().filter(is_of).map(native).collect(),
        }
    }

    fn lines(&self) -> String {
        let joined = match (self.joined, self.asked) {
            (true, _) => "yes".into(),
            (false, None) => "not yet".into(),
            (false, Some(0)) => "no, nobody is known there".into(),
            (false, Some(asked)) => format!("no, none of {asked} nodes answered"),
        };
        let us = self.external_ip.map_or_else(|| "not known".into(), |ip| ip.to_string());
        let Self { good, questionable, bad, .. } = self;
        [
            format!("network   {}", self.family),
            format!("joined    {joined}"),
            format!("id        {}", self.id),
            format!("address   {us}"),
            format!("nodes     {good} good, {questionable} questionable, {bad} bad"),
            format!("natives   {}", self.native_nodes.len()),
        ]
        .join("\n")
    }
}

const fn name(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

pub(super) async fn status(
    global: &Global,
    ask: &AskArgs,
    output: &Output,
) -> Result<Exit, CliError> {
    let mut session = Session::try_join(global, ask, output).await?;
    let mut networks = ShownNetwork::all(&session.dht.status().await);
    let remembered = session.remember().await;
    for shown in &mut networks {
        // What we are when we stay.
        shown.id = session.memory.id(shown.network).unwrap_or(shown.id);
    }
    let text: Vec<String> = networks.iter().map(ShownNetwork::lines).collect();
    output.result(&text.join("\n\n"), &ShownStatus { networks, remembered })?;
    let outside = session.outside();
    session.dht.stop().await;
    outside.map_or(Ok(Exit::Done), Err)
}
