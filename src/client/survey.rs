//! Survey: which blocks a URL consists of, and which of them are here.

use std::collections::HashSet;

use crate::id::BlockId;
use crate::off::{OffUrl, Tuple};
use crate::store::Presence;
use crate::torrent::mapping::Mapping;

use super::{Client, ReadError};

/// The blocks of a URL: some 300 bytes of memory for each source block, 2.4 MB for a GiB of file.
/// What only needs to know that all is here asks for [`Client::blocks_if_whole`].
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// The blocks in the order of the URL's torrent, as far as the descriptor is here.
    pub order: Vec<BlockId>,
    /// Those of them that are not here.
    pub missing: Vec<BlockId>,
    /// Those of the missing that were here and are damaged.
    pub damaged: Vec<BlockId>,
    /// Whether the whole descriptor is here, so that `order` is all blocks.
    pub complete: bool,
    /// Blocks of the URL: exact if `complete`, else an upper bound.
    pub blocks: u64,
    /// Bytes of all its tuples' blocks, each counted as often as it occurs.
    pub tuple_blocks: u64,
}

impl Survey {
    /// Whether every block is here (whether it is whole is known when it is read).
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.complete && self.missing.is_empty()
    }

    /// Blocks that are not here: exact if `complete`, else an upper bound.
    #[must_use]
    pub fn lacking(&self) -> u64 {
        let unknown = self.blocks - self.order.len() as u64;
        self.missing.len() as u64 + unknown
    }
}

impl Client {
    /// Lists the blocks of a URL and looks which are here, in the index only.
    pub fn survey(&self, url: &OffUrl) -> Result<Survey, ReadError> {
        let mut survey = Survey::default();
        let mut mapping = Mapping::new();
        let mut tuple_ids = Vec::new();
        let mut walk = url.walk();
        survey.complete = loop {
            let Some(id) = walk.wants() else { break true };
            mapping.push(id);
            let Some(block) = self.whole_block(&id)? else {
                break false;
            };
            tuple_ids.extend(walk.supply(&block)?);
        };
        survey.tuple_blocks = tuple_ids.len() as u64;
        if survey.complete {
            check_tuples(url, &tuple_ids)?;
            mapping.extend(tuple_ids);
        }
        survey.order = mapping.into_order();
        survey.blocks = if survey.complete { survey.order.len() as u64 } else { url.max_blocks() };
        for id in &survey.order {
            match self.store.presence(id)? {
                Presence::Held => continue,
                Presence::Damaged => survey.damaged.push(*id),
                Presence::Absent => {}
            }
            survey.missing.push(*id);
        }
        Ok(survey)
    }

    /// Counts the blocks of a URL if all are here, by the index only and in constant memory, and
    /// touches them; `None` if one is not here. A block that occurs again counts as one more if more than a chain
    /// block lies between; a put of ours repeats blocks in neighbouring tuples only.
    pub fn blocks_if_whole(&self, url: &OffUrl) -> Result<Option<u64>, ReadError> {
        let (mut walk, mut blocks, mut before) = (url.walk(), 0, HashSet::new());
        while let Some(id) = walk.wants() {
            let Some(block) = self.whole_block(&id)? else { return Ok(None) };
            self.store.touch(&id)?;
            let ids: HashSet<BlockId> = walk.supply(&block)?.into_iter().collect();
            blocks += 1;
            for id in ids.difference(&before) {
                if !self.store.touch(id)? {
                    return Ok(None);
                }
                blocks += 1;
            }
            before = ids;
        }
        Ok(Some(blocks))
    }

    /// A block, unless it is missing or has just been found damaged.
    fn whole_block(&self, id: &BlockId) -> Result<Option<crate::off::Block>, ReadError> {
        match self.store.get(id) {
            Err(crate::store::StoreError::Damaged { id, place }) => {
                tracing::warn!(%id, place, "a block is damaged");
                Ok(None)
            }
            other => Ok(other?),
        }
    }
}

/// Refuses a descriptor with impossible tuples before anything is fetched for it.
fn check_tuples(url: &OffUrl, ids: &[BlockId]) -> Result<(), ReadError> {
    let size = url.tuple().randomizers() + 1;
    for (index, ids) in (0..).zip(ids.chunks(size)) {
        Tuple::new(ids.to_vec()).map_err(|source| ReadError::Tuple { index, source })?;
    }
    Ok(())
}
