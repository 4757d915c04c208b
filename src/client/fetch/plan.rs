//! Which blocks of a URL are missing, and where in the torrents they are.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use crate::id::BlockId;
use crate::off::OffUrl;

use crate::client::survey::Survey;
use crate::client::{Client, GetError, ReadError};

use super::Ways;

/// What is missing of a URL: each block with its number in the URL's own torrent.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    /// Blocks whose ids are known.
    pub(super) known: Vec<(u64, BlockId)>,
    /// Blocks whose ids will be known when these have come: numbers in the URL's own torrent. The
    /// end is open for a directory, whose length nobody knows yet.
    pub(super) unknown: Option<Range<u64>>,
}

impl Plan {
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty() && self.unknown.is_none()
    }

    /// Of it only these blocks.
    pub(super) fn only(mut self, ids: &HashSet<BlockId>) -> Self {
        self.known.retain(|(_, id)| ids.contains(id));
        Self { unknown: None, ..self }
    }

    /// Of it all but these blocks.
    pub(super) fn without(mut self, ids: &HashSet<BlockId>) -> Self {
        self.known.retain(|(_, id)| !ids.contains(id));
        self
    }
}

impl Client {
    /// What is missing of a URL, or of a range of its stream and its descriptor.
    pub(super) fn plan(
        &self,
        url: &OffUrl,
        ways: &Ways,
        survey: &Survey,
    ) -> Result<Plan, GetError> {
        let missing: HashSet<BlockId> = survey.missing.iter().copied().collect();
        let needed = match &ways.range {
            Some(range) if survey.complete && !url.is_directory() => {
                Some(self.blocks_of_range(url, range)?)
            }
            _ => None,
        };
        let is_needed = |id: &BlockId| needed.as_ref().is_none_or(|needed| needed.contains(id));
        let numbered = (0..).zip(survey.order.iter().copied());
        let known = numbered.filter(|(_, id)| missing.contains(id) && is_needed(id)).collect();
        Ok(Plan { known, unknown: unknown(url, survey) })
    }

    /// Whether everything is here that was asked for.
    pub(super) fn has_enough(
        &self,
        url: &OffUrl,
        ways: &Ways,
        survey: &Survey,
    ) -> Result<bool, GetError> {
        Ok(survey.complete && self.plan(url, ways, survey)?.is_empty())
    }

    /// The descriptor blocks of a URL and the blocks of the tuples that a range of its stream
    /// needs. The descriptor must be here.
    fn blocks_of_range(
        &self,
        url: &OffUrl,
        range: &Range<u64>,
    ) -> Result<HashSet<BlockId>, ReadError> {
        let (mut chain, mut ids, mut walk) = (HashSet::new(), Vec::new(), url.walk());
        while let Some(id) = walk.wants() {
            chain.insert(id);
            let block = self.store.get(&id)?.ok_or(ReadError::Missing(id))?;
            ids.extend(walk.supply(&block)?);
        }
        let (base, block_len) = (url.range().start, url.block_size().len() as u64);
        let tuple = url.tuple().ids();
        let first = (base + range.start) / block_len * tuple;
        let end = (base + range.end).div_ceil(block_len) * tuple;
        let within = |number: u64| (first..end).contains(&number);
        let needed = (0..).zip(ids).filter(|(number, _)| within(*number)).map(|(_, id)| id);
        chain.extend(needed);
        Ok(chain)
    }
}

/// The blocks behind those that are known, as far as they must come next.
fn unknown(url: &OffUrl, survey: &Survey) -> Option<Range<u64>> {
    if survey.complete {
        return None;
    }
    let known = survey.order.len() as u64;
    let chain = url.layout().blocks();
    if known < chain {
        return Some(known..chain);
    }
    // Behind a directory's own blocks are its files', and how many they are only their descriptors
    // tell. While a chain's last block is still to come, nothing behind it is known to be wanted.
    (url.is_directory() && known > chain).then_some(known..u64::MAX)
}

/// Where each of the blocks is that a torrent lists.
pub(super) fn places(ids: &[BlockId]) -> HashMap<BlockId, u64> {
    ids.iter().copied().zip(0..).collect()
}
