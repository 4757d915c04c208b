//! Where blocks come from besides the store: one rung of a fetch's ladder.

use std::pin::Pin;

use crate::id::BlockId;

/// What a fetch wants of one kind of peers. One value belongs to one fetch; when it is dropped,
/// nothing is wanted any more.
///
/// # Contract
///
/// * Each wanted block that comes is checked and in the store before [`wanted`](Self::wanted) stops
///   counting it.
/// * However many sources of a kind there are, a block is asked of one peer at a time but for the
///   last few, and a block that has come otherwise is not asked for any more.
/// * Nothing blocks: what has to be waited for tells by [`changed`](Self::changed).
pub trait BlockSource: Send + Sync {
    /// Wants blocks, in order of wish: how many of them it did not want yet.
    fn want(&self, ids: &[BlockId]) -> usize;

    /// Does not want blocks any more.
    fn unwant(&self, ids: &[BlockId]);

    /// Wants this block before all others.
    fn hurry(&self, id: BlockId);

    /// Blocks that are wanted and have not come.
    fn wanted(&self) -> usize;

    /// Wanted blocks, up to `most`, that nobody has of those who were asked.
    fn unclaimed(&self, most: usize) -> Vec<BlockId>;

    /// Wanted blocks that are being sent to us.
    fn in_flight(&self) -> Vec<BlockId>;

    /// Blocks that have come since this was last asked.
    fn take_arrivals(&self) -> Vec<BlockId>;

    /// Why blocks that came cannot be kept, if so.
    fn failure(&self) -> Option<String>;

    /// How it stands.
    fn status(&self) -> SourceStatus;

    /// Is over when something happens after this was called.
    fn changed(&self) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// A look at a source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SourceStatus {
    /// Peers connected.
    pub peers: u64,
    /// Peers heard of.
    pub known: u64,
    /// Peers that may turn out to have something: not reached yet, or not heard about it.
    pub prospects: u64,
    /// Blocks that are being sent to us.
    pub in_flight: u64,
    /// Blocks that came for this fetch.
    pub came: u64,
    /// Bytes received, of everything and for everybody.
    pub received: u64,
}
