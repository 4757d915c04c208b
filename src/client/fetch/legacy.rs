//! The rung of legacy nodes (js-offs), for one fetch: they have blocks of their own sizes only.

use std::pin::Pin;

use crate::client::Client;
use crate::client::survey::Survey;
use crate::id::BlockId;
use crate::legacy::errand::LegacyErrand;
use crate::off::{OffUrl, Version};
use crate::source::{BlockSource, SourceStatus};

use super::slots::counted;

pub(super) struct LegacyRung {
    errand: LegacyErrand,
    begun: bool,
    /// How it stood when it was last looked at.
    seen: SourceStatus,
    /// Blocks that had come when the plan was made.
    had: u64,
}

impl LegacyRung {
    /// The nodes that are known, if there are any and they may have blocks of a URL. None is asked
    /// before something is wanted.
    pub(super) fn new(client: &Client, url: &OffUrl) -> Option<Self> {
        if !may_have(url) {
            return None;
        }
        let errand = client.legacy_errand()?;
        Some(Self { errand, begun: false, seen: SourceStatus::default(), had: 0 })
    }

    /// Looks at how it stands, once for all who ask then.
    pub(super) fn look(&mut self) {
        self.seen = self.errand.status();
    }

    pub(super) const fn status(&self) -> SourceStatus {
        self.seen
    }

    pub(super) const fn has_begun(&self) -> bool {
        self.begun
    }

    /// Wants blocks of a survey, each with its number there: how many it did not want yet.
    pub(super) fn want(&mut self, survey: &Survey, blocks: &[(u64, BlockId)]) -> u64 {
        self.begun = true;
        self.had = self.seen.came;
        let sized = blocks.iter().map(|(number, id)| (*id, survey.size_at(*number)));
        self.errand.learn(sized);
        let ids: Vec<BlockId> = blocks.iter().map(|(_, id)| *id).collect();
        self.errand.want(&ids) as u64
    }

    /// Waits until those blocks are counted that are in the store because of this.
    pub(super) async fn counted(&self) {
        self.errand.counted().await;
    }

    pub(super) fn unwant(&self, ids: &[BlockId]) {
        self.errand.unwant(ids);
    }

    pub(super) fn wanted(&self) -> usize {
        self.errand.wanted()
    }

    pub(super) fn hurry(&self, id: BlockId) {
        self.errand.hurry(id);
    }

    pub(super) fn take_arrivals(&self) -> Vec<BlockId> {
        self.errand.take_arrivals()
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.errand.failure()
    }

    pub(super) fn changed(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.errand.changed()
    }

    /// Blocks that have come since the plan was made.
    pub(super) const fn came_since(&self) -> u64 {
        self.seen.came.saturating_sub(self.had)
    }

    /// Whether nothing is to be expected of those who are known.
    pub(super) fn is_hopeless(&self) -> bool {
        self.begun && self.errand.is_hopeless()
    }

    /// Who was asked, in words.
    pub(super) fn asked(&self) -> String {
        let SourceStatus { peers, known, .. } = self.seen;
        let known = counted(usize::try_from(known).unwrap_or(usize::MAX), "js-offs node");
        format!("{known} ({peers} answered)")
    }
}

/// Whether legacy nodes may have blocks of a URL: it is of their version, or a directory that may
/// have files of it.
pub(super) fn may_have(url: &OffUrl) -> bool {
    url.version() == Version::V3 || url.is_directory()
}
