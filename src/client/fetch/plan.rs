//! Which blocks of a URL are missing, and where in the torrents they are.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use crate::id::BlockId;
use crate::off::OffUrl;

use crate::client::survey::Survey;
use crate::client::{Client, GetError, ReadError};

/// What is missing of a URL: each block with its number in the URL's own torrent.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    /// Blocks whose ids are known.
    pub(super) known: Vec<(u64, BlockId)>,
    /// Blocks whose ids will be known when these have come: numbers in the URL's own torrent. The
    /// end is open for a directory, whose length nobody knows yet.
    pub(super) unknown: Option<Range<u64>>,
    /// Whether nothing else can turn out to be needed.
    is_final: bool,
}

impl Plan {
    /// Whether everything is here that is needed.
    pub(super) fn is_fulfilled(&self) -> bool {
        self.is_final && self.known.is_empty()
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
    /// What is missing of a URL, or of ranges of its stream and its descriptor.
    pub(super) fn plan(
        &self,
        url: &OffUrl,
        ranges: Option<&[Range<u64>]>,
        survey: &Survey,
    ) -> Result<Plan, GetError> {
        let missing: HashSet<BlockId> = survey.missing.iter().copied().collect();
        // Of a directory its listing is all that ranges can be of, and that may be known before its
        // files are.
        let is_known = survey.complete || survey.order.len() as u64 > url.layout().blocks();
        let needed = match ranges {
            Some(ranges) if is_known => Some(self.blocks_of_ranges(url, ranges)?),
            _ => None,
        };
        let is_needed = |id: &BlockId| needed.as_ref().is_none_or(|needed| needed.contains(id));
        let numbered = (0..).zip(survey.order.iter().copied());
        let known = numbered.filter(|(_, id)| missing.contains(id) && is_needed(id)).collect();
        let is_final = survey.complete || needed.is_some();
        let unknown = if is_final { None } else { unknown(url, survey) };
        Ok(Plan { known, unknown, is_final })
    }

    /// The descriptor blocks of a URL and the blocks of the tuples that ranges of its stream need.
    /// The descriptor must be here.
    fn blocks_of_ranges(
        &self,
        url: &OffUrl,
        ranges: &[Range<u64>],
    ) -> Result<HashSet<BlockId>, ReadError> {
        let (mut chain, mut ids, mut walk) = (HashSet::new(), Vec::new(), url.walk());
        while let Some(id) = walk.wants() {
            chain.insert(id);
            let block = self.store.get(&id)?.ok_or(ReadError::Missing(id))?;
            ids.extend(walk.supply(&block)?);
        }
        let (base, block_len) = (url.range().start, url.block_size().len() as u64);
        let tuple = url.tuple().ids();
        for range in ranges {
            let first = (base + range.start) / block_len * tuple;
            let end = (base + range.end).div_ceil(block_len) * tuple;
            let place =
                |number: u64| usize::try_from(number).map_or(ids.len(), |n| n.min(ids.len()));
            chain.extend(ids.get(place(first)..place(end)).unwrap_or_default());
        }
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
