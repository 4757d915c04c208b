//! The list of a stream's tuple ids while it is put: in memory while it is short, else in a file.
//!
//! The chain is made from its last block to its first, so all ids must be at hand when the stream
//! ends: 96 bytes for each 128 KiB, 800 MB for a TiB. The file has no name (it is unlinked as soon
//! as it is made), so a crash leaves nothing behind, and lies in the home, whose owner alone can
//! read it.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use tempfile::SpooledTempFile;

use crate::id::{BlockId, ID_LEN};
use crate::limits::SPOOL_LEN;

use super::PutError;

/// Ids in order: first all are added, then ranges are read.
pub(super) struct IdSpool {
    file: SpooledTempFile,
    folder: PathBuf,
    len: u64,
}

impl IdSpool {
    /// An empty list that moves to a file in `folder` when it gets long.
    pub(super) fn new(folder: &Path) -> Self {
        let file = tempfile::spooled_tempfile_in(SPOOL_LEN, folder);
        Self { file, folder: folder.to_owned(), len: 0 }
    }

    /// Ids in the list.
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// Adds ids at the end.
    pub(super) fn push(&mut self, ids: &[BlockId]) -> Result<(), PutError> {
        let bytes: Vec<u8> = ids.iter().flat_map(BlockId::as_bytes).copied().collect();
        self.file.write_all(&bytes).map_err(|source| self.failed(source))?;
        self.len += ids.len() as u64;
        Ok(())
    }

    /// The ids with these numbers, which are all in the list.
    pub(super) fn read(&mut self, numbers: Range<u64>) -> Result<Vec<BlockId>, PutError> {
        self.bytes(numbers)
            .map(|bytes| bytes.chunks_exact(ID_LEN).filter_map(BlockId::from_slice).collect())
            .map_err(|source| self.failed(source))
    }

    fn bytes(&mut self, numbers: Range<u64>) -> io::Result<Vec<u8>> {
        let id_len = ID_LEN as u64;
        let len = usize::try_from((numbers.end - numbers.start) * id_len);
        let mut bytes = vec![0; len.map_err(io::Error::other)?];
        self.file.seek(SeekFrom::Start(numbers.start * id_len))?;
        self.file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn failed(&self, source: io::Error) -> PutError {
        PutError::Spool { path: self.folder.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_any_range_in_memory_and_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        for count in [10, 2 * (SPOOL_LEN / ID_LEN) as u64] {
            let ids: Vec<BlockId> = (0..count).map(|i| BlockId::of(&i.to_le_bytes())).collect();
            let mut spool = IdSpool::new(folder.path());
            for ids in ids.chunks(3) {
                spool.push(ids).unwrap();
            }
            assert_eq!(spool.len(), count);
            for (start, end) in [(count - 4, count), (3, 7), (0, count), (5, 5)] {
                let found = spool.read(start..end).unwrap();
                assert_eq!(found, ids[start as usize..end as usize]);
            }
        }
        assert_eq!(folder.path().read_dir().unwrap().count(), 0, "the file has no name");
    }
}
