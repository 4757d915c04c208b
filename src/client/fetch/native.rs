//! The rung of native peers, for one fetch.

use std::collections::HashSet;
use std::pin::Pin;

use crate::id::BlockId;
use crate::off::OffUrl;
use crate::peer::native::errand::Errand;
use crate::source::{BlockSource, SourceStatus};
use crate::swarm::native::Looking;
use crate::swarm::session::Swarms;

use super::Ways;
use super::slots::counted;

/// Blocks that nobody native has which are handed to the swarms at once.
const UNCLAIMED_AT_ONCE: usize = 16_384;

pub(super) struct NativeRung {
    errand: Errand,
    looking: Looking,
    /// How it stood when it was last looked at.
    seen: SourceStatus,
    /// Blocks that had come when the plan was made.
    had: u64,
}

impl NativeRung {
    /// Begins to look for native peers: whoever the URL or the user names may be one.
    pub(super) fn new(swarms: &Swarms, url: &OffUrl, ways: &Ways) -> Self {
        let natives = swarms.natives();
        natives.add_peers(ways.named_peers(url), false);
        let looking = swarms.look_for_natives(url.descriptor());
        Self { errand: natives.errand(), looking, seen: SourceStatus::default(), had: 0 }
    }

    /// Whether everybody was asked who could know of native peers.
    pub(super) fn has_asked(&self) -> bool {
        self.looking.has_asked()
    }

    /// Looks at how it stands, once for all who ask then: every address that is known is counted.
    pub(super) fn look(&mut self) {
        self.seen = self.errand.status();
    }

    pub(super) const fn status(&self) -> SourceStatus {
        self.seen
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.errand.failure()
    }

    pub(super) fn changed(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.errand.changed()
    }

    pub(super) fn wanted(&self) -> usize {
        self.errand.wanted()
    }

    /// Wants blocks: how many it did not want yet.
    pub(super) fn want(&mut self, ids: &[BlockId]) -> usize {
        self.had = self.seen.came;
        self.errand.want(ids)
    }

    /// Does not want blocks any more: they have come otherwise.
    pub(super) fn unwant(&self, ids: &[BlockId]) {
        self.errand.unwant(ids);
    }

    pub(super) fn hurry(&self, id: BlockId) {
        self.errand.hurry(id);
    }

    pub(super) fn take_arrivals(&self) -> Vec<BlockId> {
        self.errand.take_arrivals()
    }

    /// Blocks that have come since the plan was made.
    pub(super) fn came_since(&self) -> u64 {
        self.seen.came.saturating_sub(self.had)
    }

    pub(super) fn any_unclaimed(&self) -> bool {
        !self.errand.unclaimed(1).is_empty()
    }

    pub(super) fn unclaimed(&self) -> HashSet<BlockId> {
        self.errand.unclaimed(UNCLAIMED_AT_ONCE).into_iter().collect()
    }

    pub(super) fn in_flight(&self) -> HashSet<BlockId> {
        self.errand.in_flight().into_iter().collect()
    }

    /// Whether nothing is to be expected of those who are known. Whom the user named is expected to
    /// come, even if nobody is there now.
    pub(super) fn is_hopeless(&self) -> bool {
        let status = self.seen;
        let nobody_has =
            || status.peers == 0 || self.errand.unclaimed(usize::MAX).len() == self.wanted();
        status.prospects == 0
            && status.in_flight == 0
            && !self.errand.awaits_named()
            && nobody_has()
    }

    /// Who was asked, in words.
    pub(super) fn asked(&self) -> String {
        let SourceStatus { peers, known, .. } = self.seen;
        let known = counted(usize::try_from(known).unwrap_or(usize::MAX), "native peer");
        format!("{known} ({peers} connected)")
    }
}
