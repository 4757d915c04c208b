//! Get: an OFF URL in, its bytes out.
//!
//! Blocks are verified as they are read, the stream against its file id at the end.

use std::io::Write;

use crate::id::{BlockId, FileHasher};
use crate::off::descriptor::Walk;
use crate::off::{Block, OffUrl, Tuple, tuple};

use super::{Client, GetError, ReadError};

impl Client {
    /// Decodes the bytes that a URL names, all of whose blocks are in the store. Of a packed
    /// stream only the source blocks that hold them are decoded.
    pub fn decode(&self, url: &OffUrl) -> Decoder<'_> {
        let block = url.block_size().len() as u64;
        let range = url.range();
        let first = range.start / block;
        Decoder {
            client: self,
            url: url.clone(),
            walk: url.walk(),
            ids: Vec::new().into_iter(),
            skip: first * url.tuple().ids(),
            done: first,
            end: range.end.div_ceil(block),
        }
    }

    /// Writes the bytes that a URL names, whose blocks are all in the store to `output`. `progress` is told the
    /// bytes written so far.
    ///
    /// The file id is known to be right only when this returns: who cannot take bytes back must
    /// not show them to anybody before.
    pub fn read(
        &self,
        url: &OffUrl,
        output: &mut dyn Write,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), GetError> {
        let mut hasher = FileHasher::default();
        let mut written = 0;
        for part in self.decode(url) {
            let part = part?;
            hasher.update(&part);
            output.write_all(&part).map_err(GetError::Write)?;
            written += part.len() as u64;
            progress(written);
        }
        output.flush().map_err(GetError::Write)?;
        let (expected, found) = (url.file(), hasher.finish());
        if expected == found {
            Ok(())
        } else {
            Err(ReadError::WrongFile { expected, found }.into())
        }
    }
}

/// The parts of what a URL names in order, a source block each, unsealed and trimmed. It ends
/// after the first error.
#[derive(Debug)]
pub struct Decoder<'a> {
    client: &'a Client,
    url: OffUrl,
    walk: Walk,
    /// What is left of the ids of the current chain block, and of a tuple cut by its end.
    ids: std::vec::IntoIter<BlockId>,
    /// Ids of the source blocks before the first, still to be passed over.
    skip: u64,
    /// Source blocks decoded or passed over.
    done: u64,
    /// Source blocks up to the last that is needed.
    end: u64,
}

impl Iterator for Decoder<'_> {
    type Item = Result<Vec<u8>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done >= self.end {
            return None;
        }
        let part = self.part();
        self.done = if part.is_ok() { self.done + 1 } else { u64::MAX };
        Some(part)
    }
}

impl Decoder<'_> {
    fn part(&mut self) -> Result<Vec<u8>, ReadError> {
        let tuple = self.tuple()?;
        let blocks = tuple.ids().iter().map(|id| self.block(id)).collect::<Result<Vec<_>, _>>()?;
        let broken = |source| ReadError::Tuple { index: self.done, source };
        let mut bytes = tuple::decode(&blocks).map_err(broken)?.into_contents();
        let offset = self.done * self.url.block_size().len() as u64;
        self.url.seal().apply_to_stream(offset, &mut bytes);
        let range = self.url.range();
        let within = |position: u64| usize::try_from(position).unwrap_or(usize::MAX);
        bytes.truncate(within(range.end - offset));
        let before = within(range.start.saturating_sub(offset)).min(bytes.len());
        bytes.drain(..before);
        Ok(bytes)
    }

    fn tuple(&mut self) -> Result<Tuple, ReadError> {
        let size = self.url.tuple().randomizers() + 1;
        while self.ids.len() < size || self.skip > 0 {
            let passed = self.ids.by_ref().take(usize::try_from(self.skip).unwrap_or(usize::MAX));
            self.skip -= passed.count() as u64;
            if self.ids.len() >= size {
                break;
            }
            let Some(id) = self.walk.wants() else { break };
            let more = self.walk.supply(&self.block(&id)?)?;
            self.ids = self.ids.by_ref().chain(more).collect::<Vec<_>>().into_iter();
        }
        let ids = self.ids.by_ref().take(size).collect();
        Tuple::new(ids).map_err(|source| ReadError::Tuple { index: self.done, source })
    }

    fn block(&self, id: &BlockId) -> Result<Block, ReadError> {
        self.client.store.get(id)?.ok_or(ReadError::Missing(*id))
    }
}
