//! Copies: how many of each block of a URL there are elsewhere, and making more of them.
//!
//! Native peers are asked which of the blocks they have, and the peers of the URL's swarm say it of
//! themselves. Who is both counts once. What is here does not count, nor does a web seed, which says
//! nothing. A native peer must give one of the blocks that it says it has, chosen at random (it is
//! stored here, if it was not): else whoever claims everything would keep copies from being made. For
//! the rest its word is taken: the count is an estimate, not a proof.

mod making;

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use rand::seq::IteratorRandom;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::id::BlockId;
use crate::off::OffUrl;
use crate::peer::native::natives::Needed;
use crate::swarm::native::Looking;
use crate::swarm::session::{Swarm, Wanted};

use super::engaged::Engaged;
use super::fetch::{Candidate, Ways, rumoured};
use super::survey::Survey;
use super::{Client, GetError, ReadError};

pub use making::Pushed;

/// How long peers are looked for at least, though nobody seems to be there: connecting to those who
/// are named takes some round trips.
const LOOK_AT_LEAST: Duration = Duration::from_secs(1);

/// How often is looked whether all have answered.
const TICK: Duration = Duration::from_millis(100);

/// A native peer, and what it says it has.
#[derive(Debug, Clone)]
struct Holder {
    address: SocketAddr,
    /// Whether it keeps blocks of others.
    hosts: bool,
    /// In the order of the blocks.
    has: Vec<bool>,
}

/// How many copies of the blocks of a URL were found elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Copies {
    blocks: Vec<BlockId>,
    natives: Vec<Holder>,
    /// Copies of each block in the swarm, at peers that are not among the native ones.
    swarm: Vec<u32>,
    /// Peers of the swarm that said what they have, the native ones not counted.
    swarm_peers: u64,
}

impl Copies {
    /// Native peers that answered.
    #[must_use]
    pub fn native_peers(&self) -> u64 {
        self.natives.len() as u64
    }

    /// Native peers that keep blocks of others.
    #[must_use]
    pub fn hosts(&self) -> u64 {
        self.natives.iter().filter(|peer| peer.hosts).count() as u64
    }

    /// Peers of the swarm that said what they have, the native ones not counted.
    #[must_use]
    pub const fn swarm_peers(&self) -> u64 {
        self.swarm_peers
    }

    /// Copies of each block, in the order of the URL's torrent.
    #[must_use]
    pub fn counts(&self) -> Vec<u32> {
        let native = |at: usize| self.natives.iter().filter(|peer| peer.has(at)).count();
        let swarm = |at: usize| self.swarm.get(at).copied().unwrap_or_default();
        let count = |at| u32::try_from(native(at)).unwrap_or(u32::MAX).saturating_add(swarm(at));
        (0..self.blocks.len()).map(count).collect()
    }

    /// The fewest copies of any block; 0 without blocks.
    #[must_use]
    pub fn least(&self) -> u32 {
        self.counts().into_iter().min().unwrap_or_default()
    }

    /// Copies of a block on the average; 0 without blocks.
    #[must_use]
    pub fn mean(&self) -> f64 {
        let counts = self.counts();
        let sum: f64 = counts.iter().copied().map(f64::from).sum();
        let blocks = u32::try_from(counts.len().max(1)).unwrap_or(u32::MAX);
        sum / f64::from(blocks)
    }

    /// Blocks with fewer than so many copies.
    #[must_use]
    pub fn below(&self, copies: u32) -> u64 {
        self.counts().into_iter().filter(|count| *count < copies).count() as u64
    }
}

impl Holder {
    fn has(&self, at: usize) -> bool {
        self.has.get(at).copied().unwrap_or_default()
    }
}

/// One of the blocks that a peer says it has, at random.
fn any_of(blocks: &[BlockId], has: &[bool]) -> Option<BlockId> {
    let claimed = blocks.iter().zip(has).filter(|(_, has)| **has).map(|(id, _)| *id);
    claimed.choose(&mut rand::rng())
}

/// The network, while copies are counted and made.
pub struct Network {
    swarms: Engaged,
    order: Vec<BlockId>,
    deadline: Instant,
    /// The search for native peers, who are dialled meanwhile; none if they are not to be asked.
    looking: Option<(Needed, Looking)>,
    swarm: Option<Swarm>,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network").field("blocks", &self.order.len()).finish_non_exhaustive()
    }
}

impl Client {
    /// Goes into the network to look for those who have the blocks of a URL, within `patience`. Its
    /// descriptor is fetched first if it is not here.
    pub async fn network(
        &self,
        url: &OffUrl,
        ways: &Ways,
        patience: Duration,
        stop: &CancellationToken,
    ) -> Result<Network, GetError> {
        let ways = &*ways.to(url);
        let mut survey = self.survey(url)?;
        if !survey.complete && !url.is_directory() {
            let ways = Ways { range: Some(0..0), timeout: Some(patience), ..ways.clone() };
            self.fetch(url, &ways, stop, &mut |_| ()).await?;
            survey = self.survey(url)?;
        }
        if !survey.complete {
            let first = survey.missing.first().copied();
            return Err(first.map_or(GetError::Stopped, |id| ReadError::Missing(id).into()));
        }
        let candidates = self.candidates(url, ways, &survey)?;
        let swarms = self.engage(ways).await?;
        let looking = ways.rungs.asks_natives().then(|| {
            swarms.natives().add_peers(ways.named_peers(url), false);
            (swarms.natives().need(), swarms.look_for_natives(url.descriptor()))
        });
        let (deadline, swarm) = (Instant::now() + patience, None);
        let mut network = Network { swarms, order: Vec::new(), deadline, looking, swarm };
        if ways.rungs.asks_swarms() && url.carriage().is_some() {
            let own = candidates.into_iter().find(|one| one.ids.is_none());
            network.join(url, ways, &survey, own).await;
        }
        network.order = survey.order;
        Ok(network)
    }
}

impl Network {
    /// Joins the URL's swarm, if it is known or the DHT names one in time. Nothing is wanted of it,
    /// and as if nothing were here, so that those who have everything stay.
    async fn join(&mut self, url: &OffUrl, ways: &Ways, survey: &Survey, own: Option<Candidate>) {
        let candidate = match own {
            Some(candidate) => Some(candidate),
            None => self.named(url, ways, survey).await,
        };
        let Some(Candidate { wanted, .. }) = candidate else { return };
        let nothing = Wanted { known: Vec::new(), ..wanted };
        match timeout_at(self.deadline, self.swarms.join(&nothing)).await {
            Ok(Ok(swarm)) => self.swarm = Some(swarm),
            Ok(Err(error)) => tracing::warn!("the swarm is not counted: {error}"),
            Err(_) => tracing::debug!("nobody knows the swarm's torrent"),
        }
    }

    /// The torrent that the DHT names for a URL.
    async fn named(&self, url: &OffUrl, ways: &Ways, survey: &Survey) -> Option<Candidate> {
        let descriptor = url.descriptor().filter(|_| self.swarms.dht().is_some())?;
        let mut records = self.swarms.records(descriptor);
        let record = timeout_at(self.deadline, records.recv()).await.ok().flatten()?;
        rumoured(url, ways, record.infohash, survey)
    }

    /// Counts the copies, once all that are found have said what they have or the time is over.
    pub async fn copies(&self, stop: &CancellationToken) -> Copies {
        let began = Instant::now();
        while !stop.is_cancelled() && Instant::now() < self.deadline {
            sleep(TICK).await;
            if self.have_natives_settled()
                && self.has_swarm_settled()
                && began.elapsed() >= LOOK_AT_LEAST
            {
                break;
            }
        }
        let natives = self.ask_natives().await;
        let (swarm, swarm_peers) = self.swarm_copies(&natives);
        Copies { blocks: self.order.clone(), natives, swarm, swarm_peers }
    }

    /// Whether native peers are not asked, or all that are found have said who they are.
    fn have_natives_settled(&self) -> bool {
        let asked = self.looking.as_ref().map(|(_, looking)| looking.has_asked());
        asked.is_none_or(|asked| asked && self.swarms.natives().prospects() == 0)
    }

    /// Whether everybody known in the swarm is connected, or none will be.
    fn has_swarm_settled(&self) -> bool {
        let status = self.swarm.as_ref().map(Swarm::status);
        status.is_none_or(|status| status.known_peers > 0 && status.peers >= status.known_peers)
    }

    async fn ask_natives(&self) -> Vec<Holder> {
        let mut asked = JoinSet::new();
        if self.looking.is_some() {
            for peer in self.swarms.natives().peers() {
                let (natives, order) = (self.swarms.natives().clone(), self.order.clone());
                // Whoever answers at all does so while the others do.
                let until = self.deadline.max(Instant::now() + LOOK_AT_LEAST * 10);
                asked.spawn(async move {
                    let answer = timeout_at(until, natives.ask(peer.address, &order)).await;
                    let (mut has, _) = answer.ok().flatten()?;
                    if let Some(claimed) = any_of(&order, &has) {
                        let proof = natives.prove(peer.address, claimed);
                        if timeout_at(until, proof).await != Ok(true) {
                            tracing::info!(liar = %peer.address, "a peer has not what it says");
                            has.fill(false);
                        }
                    }
                    Some(Holder { address: peer.address, hosts: peer.hosts, has })
                });
            }
        }
        let mut holders: BTreeMap<SocketAddr, Holder> = BTreeMap::new();
        while let Some(answer) = asked.join_next().await {
            if let Ok(Some(holder)) = answer {
                holders.insert(holder.address, holder);
            }
        }
        holders.into_values().collect()
    }

    fn swarm_copies(&self, natives: &[Holder]) -> (Vec<u32>, u64) {
        let known: HashSet<_> = natives.iter().map(|holder| holder.address).collect();
        let holders = self.swarm.iter().flat_map(Swarm::holders);
        let others: BTreeMap<_, _> = holders.filter(|(peer, _)| !known.contains(peer)).collect();
        let mut counts = vec![0; self.order.len()];
        for number in others.values().flatten() {
            let count = usize::try_from(*number).ok().and_then(|at| counts.get_mut(at));
            if let Some(count) = count {
                *count += 1;
            }
        }
        (counts, others.len() as u64)
    }

    /// Leaves the network.
    pub async fn leave(self) {
        if let Some(swarm) = self.swarm {
            self.swarms.leave(swarm).await;
        }
        self.swarms.end().await;
    }
}
