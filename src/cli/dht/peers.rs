//! `dht get-peers` and `dht announce`.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde::Serialize;

use crate::cli::args::{AnnounceArgs, AskArgs, Global};
use crate::cli::exit::{CliError, Exit};
use crate::cli::home::parse_url;
use crate::cli::output::Output;
use crate::id::{BlockId, InfoHash, NodeId};
use crate::krpc::driver::News;
use crate::krpc::machine::Aim;
use crate::krpc::rendezvous::url_swarm;
use crate::limits::dht::MAX_RECORDS;
use crate::off::OffUrl;
use crate::torrent::magnet::Magnet;

use super::items::{ShownRefusal, find_records};
use super::session::Session;

/// Why a swarm is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Source {
    /// The user named it.
    Argument,
    /// It is the one of all native nodes.
    Native,
    /// Those are in it who hold the blocks of the OFF URL.
    Holders,
    /// The OFF URL names it.
    Hint,
    /// A record of the OFF URL names it.
    Record,
}

/// The swarms that somebody means.
struct Wanted {
    swarms: Vec<(Source, InfoHash)>,
    /// That of an OFF URL, whose records name more.
    descriptor: Option<BlockId>,
}

impl Wanted {
    fn parse(text: &str) -> Result<Self, CliError> {
        let one = |source, infohash| Self { swarms: vec![(source, infohash)], descriptor: None };
        if text == "native" {
            return Ok(one(Source::Native, InfoHash::native()));
        }
        if Magnet::is_magnet(text) {
            let magnet = Magnet::parse(text)
                .map_err(|error| CliError::usage("cannot read the magnet link", error))?;
            if let Some(url) = magnet.hinted_url() {
                return Self::of_url(&url);
            }
            let swarm = magnet.infohash.or(magnet.infohash_v2.map(|hash| hash.truncated()));
            let swarm = swarm.ok_or_else(|| {
                CliError::new(Exit::Usage, "the magnet link names no swarm (xt, x.off)")
            })?;
            return Ok(one(Source::Argument, swarm));
        }
        if is_url(text) {
            return Self::of_url(&parse_url(text)?);
        }
        let infohash = InfoHash::parse(text)
            .map_err(|error| CliError::usage("cannot read the infohash", error))?;
        Ok(one(Source::Argument, infohash))
    }

    fn of_url(url: &OffUrl) -> Result<Self, CliError> {
        let descriptor = descriptor(url)?;
        let mut swarms = vec![(Source::Holders, url_swarm(&descriptor))];
        swarms.extend(url.hints.infohash.map(|hint| (Source::Hint, hint)));
        Ok(Self { swarms, descriptor: Some(descriptor) })
    }
}

/// Whether a text is to be an OFF URL or a magnet link.
pub(super) fn is_url(text: &str) -> bool {
    Magnet::is_magnet(text) || text.contains("/offsystem/")
}

/// What an OFF URL is known by in the DHT.
pub(super) fn descriptor(url: &OffUrl) -> Result<BlockId, CliError> {
    let none = || CliError::new(Exit::NotFound, "the empty file has no blocks, and so no peers");
    url.descriptor().ok_or_else(none)
}

#[derive(Serialize)]
struct ShownPeer {
    peer: SocketAddr,
    infohash: InfoHash,
    source: Source,
    /// The node that told of it.
    node: SocketAddr,
    node_id: NodeId,
}

/// Prints peers as they are found: each once for people, and for programs once for each swarm.
struct Found {
    peers: BTreeSet<SocketAddr>,
    told: BTreeSet<(SocketAddr, InfoHash)>,
    output: Output,
}

impl Found {
    fn tell(&mut self, shown: &ShownPeer) -> Result<(), CliError> {
        let is_new = self.peers.insert(shown.peer);
        if self.told.insert((shown.peer, shown.infohash)) && (is_new || self.output.is_json()) {
            self.output.result(&shown.peer.to_string(), shown)?;
        }
        Ok(())
    }
}

pub(super) async fn get_peers(
    global: &Global,
    swarm: &str,
    ask: &AskArgs,
    output: &Output,
) -> Result<Exit, CliError> {
    let wanted = Wanted::parse(swarm)?;
    let session = Session::join(global, ask, output).await?;
    let found = RefCell::new(Found {
        peers: BTreeSet::new(),
        told: BTreeSet::new(),
        output: output.clone(),
    });
    let named = async {
        let [first, second] = [wanted.swarms.first(), wanted.swarms.get(1)];
        tokio::try_join!(look(&session, first, &found), look(&session, second, &found))
    };
    let by_records = async {
        let Some(descriptor) = wanted.descriptor else { return Ok(()) };
        let is_named = |infohash| wanted.swarms.iter().any(|(_, named)| *named == infohash);
        let records = find_records(&session, &descriptor).await;
        for (record, _) in records.iter().take(MAX_RECORDS) {
            if !is_named(record.infohash) {
                look(&session, Some(&(Source::Record, record.infohash)), &found).await?;
            }
        }
        Ok::<_, CliError>(())
    };
    let done = tokio::try_join!(named, by_records);
    session.leave().await;
    done?;
    if found.into_inner().peers.is_empty() {
        return Err(CliError::new(Exit::NotFound, "no peers were found"));
    }
    Ok(Exit::Done)
}

async fn look(
    session: &Session,
    swarm: Option<&(Source, InfoHash)>,
    found: &RefCell<Found>,
) -> Result<(), CliError> {
    let Some(&(source, infohash)) = swarm else { return Ok(()) };
    let mut search = session.begin(Aim::Peers { infohash, ids: Vec::new() }).await;
    while let Some(news) = session.next(&mut search).await {
        if let News::Peers { from, peers } = news {
            for peer in peers {
                let (node, node_id) = (from.address, from.id);
                found.borrow_mut().tell(&ShownPeer { peer, infohash, source, node, node_id })?;
            }
        }
    }
    Ok(())
}

#[derive(Serialize)]
struct ShownAnnounce {
    infohash: InfoHash,
    source: Source,
    port: u16,
    seed: bool,
    /// Nodes that took it.
    nodes: u32,
    /// What the first one said that did not.
    refused: Option<ShownRefusal>,
}

pub(super) async fn announce(
    global: &Global,
    args: &AnnounceArgs,
    output: &Output,
) -> Result<Exit, CliError> {
    let wanted = Wanted::parse(&args.swarm)?;
    let (port, seed) = (args.port, args.seed);
    let session = Session::join(global, &args.ask, output).await?;
    let mut under_way = Vec::new();
    for (source, infohash) in wanted.swarms {
        let search = session.begin(Aim::Announce { infohash, port, seed }).await;
        under_way.push((source, infohash, search));
    }
    let mut all = Vec::new();
    for (source, infohash, search) in under_way {
        let outcome = session.outcome(search).await.unwrap_or_default();
        let refused = outcome.refused.map(ShownRefusal::from);
        let nodes = outcome.stored;
        all.push(ShownAnnounce { infohash, source, port, seed, nodes, refused });
    }
    session.leave().await;
    for shown in &all {
        output.result(&format!("{} {} nodes", shown.infohash, shown.nodes), shown)?;
    }
    if all.iter().all(|shown| shown.nodes == 0) {
        let refused = all.into_iter().find_map(|shown| shown.refused);
        return Err(ShownRefusal::of_all(refused, "the announce"));
    }
    Ok(if all.iter().any(|shown| shown.nodes == 0) { Exit::Partial } else { Exit::Done })
}
