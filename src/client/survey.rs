//! Survey: which blocks a URL consists of, and which of them are here.

use std::collections::HashSet;

use crate::id::BlockId;
use crate::limits::MAX_DIRECTORY_BLOCKS;
use crate::off::{BlockSize, Directory, OffUrl, Tuple};
use crate::store::{Presence, StoreError};
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
    /// Bytes that the URL stands for: its stream's, and those of a directory's files.
    pub bytes: u64,
    /// Bytes of all its tuples' blocks, each counted as often as it occurs.
    pub tuple_blocks: u64,
    /// Where in `order` blocks of another size begin: those of a directory's files may differ. See
    /// [`size_at`](Self::size_at).
    pub sizes: Vec<(usize, BlockSize)>,
}

impl Survey {
    /// The size of a block by its number in `order`.
    #[must_use]
    pub fn size_at(&self, number: u64) -> BlockSize {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        let behind = self.sizes.partition_point(|(begin, _)| *begin <= number);
        let before = behind.checked_sub(1).and_then(|at| self.sizes.get(at));
        before.map_or(BlockSize::Native, |(_, size)| *size)
    }

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
    /// Lists the blocks of a URL and looks which are here, in the index only. A directory's files
    /// are part of it; what they are is known once its own blocks are here.
    pub fn survey(&self, url: &OffUrl) -> Result<Survey, ReadError> {
        let mut listing = Listing {
            client: self,
            mapping: Mapping::new(),
            sizes: Vec::new(),
            tuple_blocks: 0,
            bytes: url.length(),
        };
        let mut complete = listing.stream(url)?;
        if complete && url.is_directory() {
            complete = match self.directory_if_here(url)? {
                Some(directory) => listing.files(&directory)?,
                None => false,
            };
        }
        let Listing { mapping, sizes, tuple_blocks, bytes, .. } = listing;
        let order = mapping.into_order();
        let blocks = if complete { order.len() as u64 } else { url.max_blocks() };
        let mut survey =
            Survey { order, complete, blocks, bytes, tuple_blocks, sizes, ..Survey::default() };
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

    /// A directory; `None` if blocks of it are missing or have just been found damaged.
    pub(super) fn directory_if_here(&self, url: &OffUrl) -> Result<Option<Directory>, ReadError> {
        match self.directory(url) {
            Ok(directory) => Ok(Some(directory)),
            Err(ReadError::Missing(_)) => Ok(None),
            Err(ReadError::Store(StoreError::Damaged { id, place, .. })) => {
                tracing::warn!(%id, place, "a block is damaged");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Counts the blocks of a URL if all are here, by the index only and in constant memory, and
    /// touches them; `None` if one is not here. Blocks are counted as
    /// `each_part` tells them.
    pub fn blocks_if_whole(&self, url: &OffUrl) -> Result<Option<u64>, ReadError> {
        let (mut blocks, mut here) = (0, true);
        let complete = self.each_part(url, |part| {
            for id in part {
                here = here && self.store.touch(id)?;
            }
            blocks += part.len() as u64;
            Ok::<_, ReadError>(())
        })?;
        Ok((complete && here).then_some(blocks))
    }

    /// Tells the blocks of a stream part by part, a chain block and the ids in it at a time, as
    /// far as the descriptor is here: whether it is all here. Takes the memory of two parts.
    ///
    /// A block that occurs again is told again only if more than a chain block lies between; a
    /// put of ours repeats blocks in neighbouring tuples only.
    pub(super) fn each_part<E: From<ReadError>>(
        &self,
        url: &OffUrl,
        mut act: impl FnMut(&[BlockId]) -> Result<(), E>,
    ) -> Result<bool, E> {
        let (mut walk, mut before) = (url.walk(), HashSet::new());
        // Tuples checked, and what the end of a chain block cuts off one.
        let (mut tuples, mut cut, size) = (0, Vec::new(), url.tuple().randomizers() + 1);
        while let Some(id) = walk.wants() {
            let Some(block) = self.whole_block(&id)? else {
                act(&[id])?;
                return Ok(false);
            };
            let ids = walk.supply(&block).map_err(ReadError::from)?;
            cut.extend(&ids);
            let rest = cut.split_off(cut.len() - cut.len() % size);
            check_tuples(url, tuples, &cut)?;
            tuples += (cut.len() / size) as u64;
            cut = rest;
            let ids: HashSet<BlockId> = ids.into_iter().collect();
            let part: Vec<BlockId> =
                std::iter::once(id).chain(ids.difference(&before).copied()).collect();
            act(&part)?;
            before = ids;
        }
        Ok(true)
    }

    /// A block, unless it is missing or has just been found damaged.
    fn whole_block(&self, id: &BlockId) -> Result<Option<crate::off::Block>, ReadError> {
        match self.store.get(id) {
            Err(StoreError::Damaged { id, place, .. }) => {
                tracing::warn!(%id, place, "a block is damaged");
                Ok(None)
            }
            other => Ok(other?),
        }
    }
}

/// The blocks of a URL as they are found.
struct Listing<'a> {
    client: &'a Client,
    mapping: Mapping,
    sizes: Vec<(usize, BlockSize)>,
    tuple_blocks: u64,
    bytes: u64,
}

impl Listing<'_> {
    /// Adds the chain of a stream, and its tuples if the whole chain is here: whether it is.
    fn stream(&mut self, url: &OffUrl) -> Result<bool, ReadError> {
        let (begin, size) = (self.mapping.order().len(), url.block_size());
        if self.sizes.last().is_none_or(|(_, last)| *last != size) {
            self.sizes.push((begin, size));
        }
        let mut tuple_ids = Vec::new();
        let mut walk = url.walk();
        while let Some(id) = walk.wants() {
            self.mapping.push(id);
            let Some(block) = self.client.whole_block(&id)? else {
                return Ok(false);
            };
            tuple_ids.extend(walk.supply(&block)?);
        }
        check_tuples(url, 0, &tuple_ids)?;
        self.tuple_blocks += tuple_ids.len() as u64;
        self.mapping.extend(tuple_ids);
        Ok(true)
    }

    /// Adds the streams of a directory's files, as far as the order is known: whether all are.
    fn files(&mut self, directory: &Directory) -> Result<bool, ReadError> {
        let mut seen = HashSet::new();
        for url in directory.files() {
            self.bytes = self.bytes.saturating_add(url.length());
            if !seen.insert(url.stream_key()) {
                continue;
            }
            if !self.stream(url)? {
                return Ok(false);
            }
            // One block can stand in for many streams, so this is not bounded by what is here.
            if self.mapping.order().len() as u64 > MAX_DIRECTORY_BLOCKS {
                return Err(ReadError::TooManyBlocks { limit: MAX_DIRECTORY_BLOCKS });
            }
        }
        Ok(true)
    }
}

/// Refuses a descriptor with impossible tuples before anything is fetched for it.
fn check_tuples(url: &OffUrl, first: u64, ids: &[BlockId]) -> Result<(), ReadError> {
    let size = url.tuple().randomizers() + 1;
    for (index, ids) in (first..).zip(ids.chunks(size)) {
        Tuple::new(ids.to_vec()).map_err(|source| ReadError::Tuple { index, source })?;
    }
    Ok(())
}
