//! The blocks of a client, for native peers.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::id::BlockId;
use crate::limits::SAVE_WINDOW_BLOCKS;
use crate::off::Block;
use crate::peer::native::shelf::{Shelf, Taken};
use crate::store::{Presence, StoreError};

use super::Client;
use super::hosting::Hosted;
use super::popularity::Popularity;

/// The store of a client, and what its owner lets others put there.
pub(super) struct ClientShelf {
    client: Client,
    /// Blocks that came and may be lost in a crash.
    unsaved: AtomicUsize,
    /// What peers have told of how much they use blocks.
    popularity: Mutex<Popularity>,
}

impl ClientShelf {
    pub(super) fn new(client: Client) -> Self {
        let popularity = Mutex::new(Popularity::new());
        Self { client, unsaved: AtomicUsize::new(0), popularity }
    }

    /// Stores a block; every now and then all that came is made durable.
    fn keep(&self, block: &Block) -> Result<(), StoreError> {
        self.client.store.put(block)?;
        if self.unsaved.fetch_add(1, Ordering::Relaxed) + 1 >= SAVE_WINDOW_BLOCKS {
            self.unsaved.store(0, Ordering::Relaxed);
            self.client.store.commit()?;
        }
        Ok(())
    }
}

impl Shelf for ClientShelf {
    fn holds(&self, ids: &[BlockId]) -> Vec<bool> {
        let store = &self.client.store;
        ids.iter().map(|id| matches!(store.presence(id), Ok(Presence::Held))).collect()
    }

    fn uses(&self, ids: &[BlockId]) -> Vec<u8> {
        // What is kept for others is no use of ours, or whoever pushes would make it popular.
        let uses = |id| self.client.uses_by_urls(id).unwrap_or_default();
        ids.iter().map(|id| u8::try_from(uses(id)).unwrap_or(u8::MAX)).collect()
    }

    fn block(&self, id: &BlockId) -> Option<Bytes> {
        match self.client.store.get(id) {
            Ok(block) => block.map(|block| block.bytes().clone()),
            Err(error) => {
                tracing::warn!(%id, "cannot serve a block: {error}");
                None
            }
        }
    }

    fn take(&self, id: BlockId, bytes: Bytes) -> Taken {
        match Block::check(id, bytes).map(|block| self.keep(&block)) {
            Ok(Ok(())) => Taken::Kept,
            Ok(Err(error)) => Taken::Failed(error.to_string()),
            Err(_) => Taken::Wrong,
        }
    }

    fn host(&self, id: BlockId, bytes: Bytes) -> Taken {
        match Block::check(id, bytes).map(|block| self.client.host(&block)) {
            Ok(Ok(Hosted::Kept | Hosted::Held)) => Taken::Kept,
            Ok(Ok(Hosted::Refused(why))) => {
                tracing::debug!(%id, ?why, "a block of somebody else is not taken in");
                Taken::Refused
            }
            Ok(Err(error)) => Taken::Failed(error.to_string()),
            Err(_) => Taken::Wrong,
        }
    }

    fn hosts(&self) -> bool {
        self.client.hosts()
    }

    fn heard_of_uses(&self, peer: SocketAddr, uses: &[(BlockId, u8)]) {
        let mut popularity = self.popularity.lock().unwrap_or_else(PoisonError::into_inner);
        popularity.hear(peer, uses);
    }

    fn sample(&self, most: usize) -> Vec<BlockId> {
        self.client.sample(rand::random(), most).unwrap_or_default()
    }

    fn settle(&self) {
        let told = self.popularity.lock().unwrap_or_else(PoisonError::into_inner).take();
        let saved = self.client.popular(&told).and_then(|()| self.client.store.commit());
        if let Err(error) = saved {
            tracing::warn!("what was heard of blocks is not written down: {error}");
        }
    }
}
