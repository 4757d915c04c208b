//! The blocks that one connection is served from: the one that is being sent, and the one that
//! comes after it, which is read and verified meanwhile.
//!
//! Reading a block costs as much time as sending it, so neither should wait for the other. One
//! block ahead is enough for that, and bounds the memory.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::limits::BLOCK_LEN;

use super::content::Content;
use super::pieces::Chunk;

/// Reads blocks for a connection.
#[derive(Default)]
pub(super) struct Loader {
    /// The block that chunks were served from last.
    block: Option<(u64, Bytes)>,
    /// The block that is being read ahead.
    ahead: Option<(u64, JoinHandle<Option<Bytes>>)>,
}

impl Loader {
    /// The bytes of a chunk; `None` if they are not here. `coming` are those that will be asked
    /// for after it.
    pub(super) async fn load(
        &mut self,
        content: &Arc<dyn Content>,
        chunk: Chunk,
        coming: &VecDeque<Chunk>,
    ) -> Option<Bytes> {
        let range = content.pieces().range_of(chunk)?;
        let block_len = BLOCK_LEN as u64;
        let mut bytes = BytesMut::new();
        let mut at = range.start;
        while at < range.end {
            let block = self.block(content, at / block_len).await?;
            self.read_ahead(content, at / block_len, coming);
            let start = usize::try_from(at % block_len).ok()?;
            let left = usize::try_from(range.end - at).ok()?;
            let part = block.slice(start..block.len().min(start + left));
            at += part.len() as u64;
            if bytes.is_empty() && at == range.end {
                return Some(part);
            }
            bytes.extend_from_slice(&part);
        }
        Some(bytes.freeze())
    }

    /// Holds nothing any more.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    async fn block(&mut self, content: &Arc<dyn Content>, number: u64) -> Option<Bytes> {
        if let Some((at, block)) = &self.block
            && *at == number
        {
            return Some(block.clone());
        }
        let reading = match self.ahead.take() {
            Some((at, reading)) if at == number => reading,
            _ => read(content, number),
        };
        let block = reading.await.ok().flatten()?;
        self.block = Some((number, block.clone()));
        Some(block)
    }

    fn read_ahead(&mut self, content: &Arc<dyn Content>, now: u64, coming: &VecDeque<Chunk>) {
        if self.ahead.is_some() {
            return;
        }
        let block_of =
            |chunk: &Chunk| Some(content.pieces().range_of(*chunk)?.start / BLOCK_LEN as u64);
        let next = coming.iter().filter_map(block_of).find(|number| *number != now);
        self.ahead = next.map(|number| (number, read(content, number)));
    }
}

fn read(content: &Arc<dyn Content>, number: u64) -> JoinHandle<Option<Bytes>> {
    let content = Arc::clone(content);
    spawn_blocking(move || content.block(number))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::peer::bits::Bits;
    use crate::peer::content::Verdict;
    use crate::peer::message::HashRange;
    use crate::peer::pieces::Pieces;

    /// Blocks of their own number; the third is not here.
    #[derive(Default)]
    struct Numbers(Mutex<Vec<u64>>);

    impl Content for Numbers {
        fn pieces(&self) -> Pieces {
            Pieces { total: 4 * BLOCK_LEN as u64, piece_len: BLOCK_LEN as u32 }
        }

        fn info(&self) -> Bytes {
            Bytes::new()
        }

        fn here(&self) -> Bits {
            Bits::all(4)
        }

        fn block(&self, number: u64) -> Option<Bytes> {
            self.0.lock().unwrap().push(number);
            (number != 2).then(|| vec![number as u8; BLOCK_LEN].into())
        }

        fn take(&self, _: u32, _: &[Bytes]) -> Verdict {
            Verdict::Failed
        }

        fn hashes(&self, _: &HashRange) -> Option<Vec<[u8; 32]>> {
            None
        }

        fn as_any(self: Arc<Self>) -> Arc<dyn std::any::Any + Send + Sync> {
            self
        }
    }

    fn chunk(piece: u32) -> Chunk {
        Chunk { piece, offset: 16_384, len: 16_384 }
    }

    #[tokio::test]
    async fn reads_each_block_once_though_it_reads_ahead() {
        let numbers = Arc::new(Numbers::default());
        let content: Arc<dyn Content> = Arc::clone(&numbers) as _;
        let mut loader = Loader::default();
        let mut asked: VecDeque<Chunk> = [0, 0, 1, 1, 2, 3].map(chunk).into();
        let mut served = Vec::new();
        while let Some(chunk) = asked.pop_front() {
            let bytes = loader.load(&content, chunk, &asked).await;
            served.push(bytes.map(|bytes| (bytes.len(), bytes[0])));
        }
        let whole = |number| Some((16_384, number));
        assert_eq!(served, [whole(0), whole(0), whole(1), whole(1), None, whole(3)]);
        assert_eq!(*numbers.0.lock().unwrap(), [0, 1, 2, 3]);
    }

    #[tokio::test]
    async fn what_was_read_ahead_in_vain_is_not_served() {
        let content: Arc<dyn Content> = Arc::new(Numbers::default());
        let mut loader = Loader::default();
        let first = loader.load(&content, chunk(0), &[chunk(1)].into()).await;
        // The request for piece 1 was taken back.
        let then = loader.load(&content, chunk(3), &VecDeque::new()).await;
        assert_eq!((first.unwrap()[0], then.unwrap()[0]), (0, 3));
    }
}
