//! One swarm we take part in.

use std::collections::{BTreeSet, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::id::{BlockId, InfoHash};
use crate::limits::BLOCK_LEN;
use crate::peer::bits::Bits;
use crate::peer::content::Traffic;
use crate::peer::exchange::Exchange;
use crate::peer::front::Front;
use crate::peer::live::Live;
use crate::torrent::metainfo::Info;

use super::announce::live::Progress;
use super::content::{BlockContent, Failure};
use super::session::SwarmError;

/// A look at a swarm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SwarmStatus {
    /// Blocks of the torrent; 0 while its metadata is being looked for.
    pub blocks: u64,
    /// Blocks that are here, in whole pieces.
    pub have: u64,
    /// Blocks that have come since it was joined.
    pub came: u64,
    /// Bytes received, good or bad.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
    /// Peers connected.
    pub peers: u64,
    /// Peers ever heard of.
    pub known_peers: u64,
}

pub(super) type Coming = Option<Download>;

/// What is downloaded of a swarm.
#[derive(Clone)]
pub(super) struct Download {
    pub(super) info: Info,
    /// What all downloads of this swarm share.
    pub(super) content: Arc<BlockContent>,
    /// Blocks that had come when this one began.
    came_before: u64,
    /// Bytes that had moved by then.
    moved_before: Traffic,
}

impl Download {
    /// Begins to download what a torrent in use consists of, of which some may have come before, or
    /// have been lost since it was looked at. Reads the index of the store.
    pub(super) fn begin(live: &Live, info: Info, new: &Arc<BlockContent>) -> Self {
        let used = live.content().map(|content| Arc::clone(content).as_any().downcast());
        let content = used.and_then(Result::ok).unwrap_or_else(|| Arc::clone(new));
        if !Arc::ptr_eq(&content, new) {
            content.retry();
            live.retry();
            let counted = live.with(|exchange| exchange.here().clone()).unwrap_or_default();
            let lost: Vec<_> = counted.iter().filter(|piece| !content.has_piece(*piece)).collect();
            live.with(|exchange| lost.into_iter().for_each(|piece| exchange.forget(piece)));
        }
        live.downloads.fetch_add(1, Ordering::AcqRel);
        let (came_before, moved_before) = (content.came(), live.traffic());
        Self { info, content, came_before, moved_before }
    }
}

/// A torrent kept in use.
pub(super) struct Held {
    pub(super) live: Arc<Live>,
    pub(super) front: Arc<Front>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.front.let_go(&self.live);
    }
}

/// One swarm we take part in.
pub struct Swarm {
    pub(super) held: Held,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
    /// What is downloaded; `None` if it is only seeded.
    pub(super) coming: Coming,
}

impl std::fmt::Debug for Swarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Swarm").field("infohash", &self.infohash()).finish_non_exhaustive()
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        self.stop.cancel();
        let live = &self.held.live;
        if self.coming.is_some() && live.downloads.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Peers that are there would go on giving what nobody waits for.
            live.with(Exchange::want_nothing);
        }
    }
}

impl Swarm {
    /// Its name.
    #[must_use]
    pub fn infohash(&self) -> InfoHash {
        self.held.live.infohash()
    }

    /// Its info dict, if it is downloaded.
    #[must_use]
    pub fn info(&self) -> Option<&Info> {
        self.coming.as_ref().map(|download| &download.info)
    }

    /// Blocks of the torrent.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.content().map_or(0, |content| content.blocks())
    }

    /// Downloads more blocks, and whatever shares a piece with them: how many pieces were not
    /// wanted yet.
    pub fn want(&self, blocks: impl IntoIterator<Item = u64>) -> u32 {
        let Some(content) = self.content() else { return 0 };
        let pieces: Vec<u32> = blocks.into_iter().map(|block| content.piece_of(block)).collect();
        let now = std::time::Instant::now();
        self.held.live.with(|exchange| exchange.want(pieces, now)).unwrap_or(0)
    }

    /// Tells which block is where: it is checked by that alone, and not asked for if it is here.
    pub fn learn(&self, known: impl IntoIterator<Item = (u64, BlockId)>) {
        if let Some(content) = self.content() {
            content.learn(known);
        }
    }

    /// Looks whether blocks have come otherwise: what is here is not asked for any more, and is served.
    /// It reads the index of the store.
    pub fn look_for_arrivals(&self, blocks: impl IntoIterator<Item = u64>) {
        let Some(content) = self.content() else { return };
        let pieces: BTreeSet<u32> =
            blocks.into_iter().map(|block| content.piece_of(block)).collect();
        for piece in pieces.into_iter().filter(|piece| content.has_piece(*piece)) {
            self.held.live.with(|exchange| exchange.obtained(piece));
        }
    }

    /// Asks peers first for the block of this number and what follows it.
    pub fn prefer(&self, block: u64) {
        let Some(content) = self.content() else { return };
        let piece = content.piece_of(block);
        self.held.live.with(|exchange| exchange.hurry(Some(piece), std::time::Instant::now()));
    }

    /// Pieces that are wanted and have not come; an error if they cannot any more.
    pub fn wanted(&self) -> Result<u32, SwarmError> {
        let infohash = self.infohash();
        if let Some(failure) = self.content().and_then(|content| content.failure()) {
            return Err(failed(infohash, &failure));
        }
        if self.held.live.has_failed() {
            return Err(SwarmError::Broken(infohash));
        }
        Ok(self.held.live.with(|exchange| exchange.wanted()).unwrap_or(0))
    }

    /// Is over when something happens after this was called.
    pub fn changed(&self) -> impl Future<Output = ()> + Send + use<> {
        self.held.live.changed()
    }

    /// The peers that are connected, where they are reached as far as that is known, and which blocks
    /// they have, by number.
    #[must_use]
    pub fn holders(&self) -> Vec<(SocketAddr, HashSet<u64>)> {
        let Some(content) = self.content() else { return Vec::new() };
        let blocks = |bits: Bits| bits.iter().flat_map(|piece| content.blocks_of(piece)).collect();
        let holders = self.held.live.holders().into_iter();
        holders.map(|(peer, bits)| (peer, blocks(bits))).collect()
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> SwarmStatus {
        let now = look(&self.held.live);
        let Some(Download { content, came_before, moved_before, .. }) = &self.coming else {
            return now;
        };
        SwarmStatus {
            came: content.came() - came_before,
            received: now.received - moved_before.received,
            sent: now.sent - moved_before.sent,
            ..now
        }
    }

    fn content(&self) -> Option<&Arc<BlockContent>> {
        self.coming.as_ref().map(|download| &download.content)
    }
}

/// How a torrent in use stands.
pub(super) fn look(live: &Live) -> SwarmStatus {
    let Traffic { received, sent } = live.traffic();
    let block = BLOCK_LEN as u64;
    let pieces = live.with(|exchange| {
        let per_piece = u64::from(exchange.pieces().piece_len) / block;
        let total = exchange.pieces().total / block;
        (total, total.min(u64::from(exchange.here().count()) * per_piece), exchange.peers())
    });
    let (blocks, have, peers) = pieces.unwrap_or((0, 0, live.connections()));
    let [peers, known_peers] = [peers, live.known_peers()].map(|count| count as u64);
    SwarmStatus { blocks, have, received, sent, peers, known_peers, came: 0 }
}

pub(super) fn progress(live: &Live) -> Progress {
    let Traffic { received: downloaded, sent: uploaded } = live.traffic();
    let left =
        live.with(|exchange| u64::from(exchange.wanted()) * u64::from(exchange.pieces().piece_len));
    // Until the info dict is here nobody knows; 0 would say that all is.
    Progress { uploaded, downloaded, left: left.unwrap_or(1), peers: live.peers().len() }
}

pub(super) fn failed(infohash: InfoHash, failure: &Failure) -> SwarmError {
    match failure {
        Failure::NotOff(source) => SwarmError::NotOff { infohash, source: source.clone() },
        other => {
            let cause = std::error::Error::source(other).map(ToString::to_string);
            let why = format!("{other}: {}", cause.unwrap_or_default());
            SwarmError::Keep { infohash, why }
        }
    }
}
