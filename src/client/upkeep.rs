//! Upkeep: pin, unpin, rm, gc, check.
//!
//! The store counts for every block how many URLs of the catalog use it and how many of these are
//! pinned. A URL is counted before it enters the catalog and discounted after it has left, so that
//! a crash in between leaves blocks that are worth too much, never too little; [`Client::gc`]
//! counts anew from the catalog. What is kept for others (`hosting.rs`) counts like a URL's.

use std::collections::{HashMap, HashSet};

use crate::catalog::{CatalogError, Origin};
use crate::id::BlockId;
use crate::off::OffUrl;
use crate::store::{Mark, Removed, StoreError, UseCount};

use super::survey::Survey;
use super::{Client, ReadError, UpkeepError};

/// Blocks looked at in one go.
const BATCH: usize = 1_024;

/// What a removal freed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freed {
    /// Blocks taken out, or that would be.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blocks whose worth was counted wrongly before.
    pub recounted: u64,
}

/// A block that is not whole, and the URLs it hurts.
#[derive(Debug, Clone)]
pub struct Hurt {
    /// The URL, canonical.
    pub url: OffUrl,
    /// Its damaged blocks.
    pub damaged: Vec<BlockId>,
    /// Its blocks that are not here, the damaged included; an upper bound without its descriptor.
    pub missing: u64,
    /// All its blocks.
    pub blocks: u64,
}

impl Client {
    /// Enters a URL in the catalog and counts it on its blocks. Nothing happens if it is known.
    pub(super) fn remember(&self, url: &OffUrl, origin: Origin) -> Result<(), UpkeepError> {
        let _counting = self.counting();
        if self.catalog.url(url)?.is_some() {
            return Ok(());
        }
        self.mark(url, Mark { uses: 1, pins: 0 })?;
        Ok(self.catalog.add(url, origin)?)
    }

    /// Exempts the blocks of a URL from eviction. `false` if it was pinned already.
    pub fn pin(&self, url: &OffUrl) -> Result<bool, UpkeepError> {
        self.set_pinned(url, true)
    }

    /// Ends a pin. `false` if there was none.
    pub fn unpin(&self, url: &OffUrl) -> Result<bool, UpkeepError> {
        self.set_pinned(url, false)
    }

    fn set_pinned(&self, url: &OffUrl, pinned: bool) -> Result<bool, UpkeepError> {
        let _counting = self.counting();
        let known = self.catalog.url(url)?.ok_or_else(|| UpkeepError::unknown(url))?;
        if known.pinned == pinned {
            return Ok(false);
        }
        self.mark(url, Mark { uses: 0, pins: if pinned { 1 } else { -1 } })?;
        self.catalog.set_pinned(url, pinned)?;
        Ok(true)
    }

    /// Forgets a URL and frees the blocks that no other URL needs.
    pub fn rm(&self, url: &OffUrl) -> Result<Freed, UpkeepError> {
        let _counting = self.counting();
        let known = self.catalog.url(url)?.ok_or_else(|| UpkeepError::unknown(url))?;
        self.catalog.remove(url)?;
        let pins = if known.pinned { -1 } else { 0 };
        let mut removed = Removed::default();
        self.each_known_part(url, &mut |part| {
            self.store.mark(part, Mark { uses: -1, pins })?;
            removed += self.store.remove_unused(part)?;
            Ok(())
        })?;
        let Removed { blocks, bytes } = removed;
        Ok(Freed { blocks, bytes, recounted: 0 })
    }

    /// Counts anew which blocks are used by the URLs of the catalog or kept for others, gives back
    /// what is over the share of others, and takes out what nothing uses. With `dry` it only says
    /// what it would take out.
    pub fn gc(&self, dry: bool) -> Result<Freed, UpkeepError> {
        let _counting = self.counting();
        let mut expected: HashMap<BlockId, UseCount> = HashMap::new();
        for (url, record) in self.known_urls()? {
            self.each_known_part(&url, &mut |part| {
                for id in part {
                    let count = expected.entry(*id).or_default();
                    count.uses += 1;
                    count.pins += u32::from(record.pinned);
                }
                Ok(())
            })?;
        }
        let mut removed = self.settle_hosted(&mut expected, dry)?;
        let recounted = self.store.recount(&expected)?;
        if dry {
            removed += self.store.evict(0, u64::MAX, true)?;
        } else {
            loop {
                match self.store.evict(0, BATCH as u64, false)? {
                    Removed { blocks: 0, .. } => break,
                    evicted => removed += evicted,
                }
            }
        }
        let Removed { blocks, bytes } = removed;
        Ok(Freed { blocks, bytes, recounted })
    }

    /// Reads up to a batch of blocks from `place` on and verifies them: the place to go on from,
    /// or `None` at the end. Damaged blocks are quarantined.
    pub fn verify_some(&self, place: u64) -> Result<Option<(u64, u64)>, UpkeepError> {
        let part = self.store.walk(place, BATCH)?;
        for (_, id) in &part {
            match self.store.get(id) {
                Ok(_) | Err(StoreError::Damaged { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(part.last().map(|(last, _)| (last + 1, part.len() as u64)))
    }

    /// The URLs of the catalog that are not whole, as the index has it.
    pub fn hurt(&self) -> Result<Vec<Hurt>, UpkeepError> {
        let mut list = Vec::new();
        for (url, _) in self.known_urls()? {
            let survey = self.blocks_known_of(&url)?;
            if !survey.is_whole() {
                let (missing, blocks) = (survey.lacking(), survey.blocks);
                list.push(Hurt { url, damaged: survey.damaged, missing, blocks });
            }
        }
        Ok(list)
    }

    /// All URLs of the catalog.
    pub fn known_urls(&self) -> Result<Vec<(OffUrl, crate::catalog::UrlRecord)>, CatalogError> {
        let urls = self.catalog.urls()?.into_iter();
        // What does not parse was written by a later version; it is not ours to judge.
        Ok(urls.filter_map(|(text, record)| Some((OffUrl::parse(&text).ok()?, record))).collect())
    }

    /// The blocks of a URL as far as they can be told. One whose descriptor or listing is broken
    /// by whoever made it must not keep the others from being looked after.
    fn blocks_known_of(&self, url: &OffUrl) -> Result<Survey, ReadError> {
        let survey = match self.survey(url) {
            Err(ReadError::Directory(_)) => self.survey(&url.as_stream()),
            other => other,
        };
        match survey {
            Err(ReadError::Chain(_) | ReadError::Tuple { .. }) => Ok(Survey::default()),
            other => other,
        }
    }

    /// Tells the blocks of a URL part by part, as far as they can be told.
    fn each_known_part(
        &self,
        url: &OffUrl,
        act: &mut dyn FnMut(&[BlockId]) -> Result<(), UpkeepError>,
    ) -> Result<(), UpkeepError> {
        if url.is_directory() {
            // All parts first: a directory is read to find its files, and `act` may free it.
            return self.blocks_known_of(url)?.order.chunks(BATCH).try_for_each(act);
        }
        match self.each_part(url, act) {
            Err(UpkeepError::Read(ReadError::Chain(_) | ReadError::Tuple { .. })) => Ok(()),
            done => done.map(|_| ()),
        }
    }

    fn mark(&self, url: &OffUrl, mark: Mark) -> Result<(), UpkeepError> {
        self.each_known_part(url, &mut |part| Ok(self.store.mark(part, mark)?))
    }

    /// Keeps the blocks of a URL that are here while something is done with it.
    pub(super) fn touch_all(&self, order: &[BlockId]) -> Result<(), ReadError> {
        for id in order {
            self.store.touch(id)?;
        }
        Ok(())
    }

    /// The blocks of some URLs, as far as they can be told, each once.
    pub fn blocks_of(&self, urls: &[OffUrl]) -> Result<Vec<BlockId>, UpkeepError> {
        let mut seen = HashSet::new();
        let mut order = Vec::new();
        for url in urls {
            let survey = self.survey(url)?;
            order.extend(survey.order.into_iter().filter(|id| seen.insert(*id)));
        }
        Ok(order)
    }
}
