//! Packs: blocks back to back in a file, the one form in which blocks travel outside of torrents.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use crate::id::BlockId;
use crate::limits::BLOCK_LEN;
use crate::off::Block;
use crate::store::StoreError;

use super::{Client, ReadError, UpkeepError};

/// Blocks listed in one go.
const BATCH: usize = 1_024;

impl Client {
    /// Writes blocks to a pack, each verified: how many.
    pub fn export(&self, blocks: &[BlockId], pack: &mut dyn Write) -> Result<u64, UpkeepError> {
        for id in blocks {
            let block = self.store.get(id)?.ok_or(ReadError::Missing(*id))?;
            pack.write_all(block.contents()).map_err(UpkeepError::Write)?;
        }
        pack.flush().map_err(UpkeepError::Write)?;
        Ok(blocks.len() as u64)
    }

    /// All blocks of the store, in the order of their places.
    pub fn all_blocks(&self) -> Result<Vec<BlockId>, UpkeepError> {
        let (mut place, mut all) = (0, Vec::new());
        loop {
            let part = self.store.walk(place, BATCH)?;
            let Some((last, _)) = part.last() else { return Ok(all) };
            place = last + 1;
            all.extend(part.iter().map(|(_, id)| *id));
        }
    }

    /// Takes the blocks of a pack in: how many are new. With `in_place` the file is read where it
    /// is from then on, verified on every read and never written; else its blocks are copied.
    pub fn adopt(&self, pack: &Path, in_place: bool) -> Result<u64, UpkeepError> {
        if in_place {
            return Ok(self.store.adopt(pack)?);
        }
        let failed = |source| UpkeepError::Pack { path: pack.to_owned(), source };
        let mut file = File::open(pack).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        if length == 0 || length % BLOCK_LEN as u64 != 0 {
            let why = format!("its {length} bytes are no whole number of blocks");
            return Err(StoreError::NotAPack { path: pack.to_owned(), why }.into());
        }
        let mut new = 0;
        while let Some(contents) = next_block(&mut file).map_err(failed)? {
            if let Ok(block) = Block::from_piece(contents.into()) {
                new += u64::from(self.store.put(&block)?);
            }
        }
        self.store.commit()?;
        Ok(new)
    }
}

fn next_block(file: &mut File) -> io::Result<Option<Vec<u8>>> {
    let mut contents = Vec::with_capacity(BLOCK_LEN);
    file.take(BLOCK_LEN as u64).read_to_end(&mut contents)?;
    Ok((contents.len() == BLOCK_LEN).then_some(contents))
}
