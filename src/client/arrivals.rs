//! What passes between a fetch and the streams that read what it brings, block by block.
//!
//! A stream says which block it waits for and how far it has come; the fetch asks for that block
//! and what follows it first, and says when nothing more will come. A fetch that *follows* its
//! readers brings just what is ahead of them: a window from where each of them is, so that a
//! reader who skips or stops leaves little behind that nobody wanted. It goes on for a moment
//! without readers, because a player that seeks closes one connection before it opens the next.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::id::BlockId;
use crate::limits::READ_AHEAD_LEN;
use crate::off::Block;
use crate::store::{BlockStore, StoreError};

/// How often a stream looks whether its block has come.
const LOOK: Duration = Duration::from_millis(10);

/// How long a fetch waits for readers when the last one has gone.
const LINGER: Duration = Duration::from_secs(5);

/// Shared by a fetch and its streams.
#[derive(Debug, Clone)]
pub struct Arrivals(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Whether the fetch brings what readers want, and nothing else.
    follows: bool,
    /// Whether somebody wants what comes kept, not only read.
    keeps: AtomicBool,
}

#[derive(Debug)]
struct State {
    readers: BTreeMap<u64, Want>,
    last_reader: u64,
    /// Counts the changes of what is wanted.
    version: u64,
    /// Since when there has been no reader.
    alone: Instant,
    over: bool,
}

#[derive(Debug, Default)]
struct Want {
    /// The bytes of the file to be read; all of it without.
    range: Option<Range<u64>>,
    /// Up to where blocks are wanted by now.
    horizon: u64,
    awaited: Option<BlockId>,
}

/// What the readers of a fetch want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wants {
    version: u64,
    /// Ranges of the file; all of it without.
    pub(super) ranges: Option<Vec<Range<u64>>>,
}

impl State {
    fn enter(&mut self, range: Option<Range<u64>>) -> u64 {
        self.last_reader += 1;
        self.version += 1;
        let start = range.as_ref().map_or(0, |range| range.start);
        let horizon = start.saturating_add(READ_AHEAD_LEN);
        self.readers.insert(self.last_reader, Want { range, horizon, awaited: None });
        self.last_reader
    }
}

impl Default for Arrivals {
    fn default() -> Self {
        Self::new(false)
    }
}

impl Arrivals {
    /// For a fetch that brings what it was told to, whoever reads it.
    fn new(follows: bool) -> Self {
        let state = State {
            readers: BTreeMap::new(),
            last_reader: 0,
            version: 0,
            alone: Instant::now(),
            over: false,
        };
        let keeps = AtomicBool::new(!follows);
        Self(Arc::new(Shared { state: Mutex::new(state), follows, keeps }))
    }

    /// For a fetch that brings what its readers want, with the first of them.
    pub(super) fn following(range: Option<Range<u64>>) -> (Self, Reader) {
        let arrivals = Self::new(true);
        let reader = arrivals.state().enter(range);
        let reader = Reader::new(arrivals.clone(), reader);
        (arrivals, reader)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that somebody wants what comes kept.
    pub(super) fn keep(&self) {
        self.0.keeps.store(true, Ordering::Release);
    }

    pub(super) fn keeps(&self) -> bool {
        self.0.keeps.load(Ordering::Acquire)
    }

    /// Says that nothing more will come.
    pub fn end(&self) {
        self.state().over = true;
    }

    /// Adds a reader of a range of the file, or somebody who wants all of it brought without reading
    /// it; `None` if nothing more will come.
    pub(super) fn reader(&self, range: Option<Range<u64>>) -> Option<Reader> {
        let mut state = self.state();
        let id = if state.over { None } else { Some(state.enter(range)) };
        Some(Reader::new(self.clone(), id?))
    }

    /// A block that a stream waits for. Where there are several, each has its turn.
    pub(super) fn awaited(&self, turn: usize) -> Option<BlockId> {
        let state = self.state();
        let awaited: Vec<BlockId> =
            state.readers.values().filter_map(|reader| reader.awaited).collect();
        awaited.get(turn.checked_rem(awaited.len())?).copied()
    }

    /// What readers want of a fetch that follows them.
    pub(super) fn wants(&self) -> Option<Wants> {
        if !self.0.follows {
            return None;
        }
        let state = self.state();
        let ahead = |want: &Want| {
            let range = want.range.clone()?;
            Some(range.start..range.end.min(want.horizon))
        };
        let ranges = state.readers.values().map(ahead).collect();
        Some(Wants { version: state.version, ranges })
    }

    /// Whether readers want something else than when these wants were asked for.
    pub(super) fn has_changed(&self, wants: &Wants) -> bool {
        self.state().version != wants.version
    }

    /// Ends it, if the readers have all they want, which was `wants` when it was last asked, and
    /// none may be about to come: whether it is over.
    pub(super) fn end_if_served(&self, wants: &Wants) -> bool {
        let mut state = self.state();
        let lingers = state.readers.is_empty() && state.alone.elapsed() < LINGER;
        state.over |= state.version == wants.version && !lingers;
        state.over
    }

    /// Whether nobody has read for a while.
    pub(super) fn is_abandoned(&self) -> bool {
        let state = self.state();
        self.0.follows && state.readers.is_empty() && state.alone.elapsed() >= LINGER
    }
}

/// One reader of what a fetch brings. It reads no more when it is dropped.
#[derive(Debug)]
pub(super) struct Reader {
    arrivals: Arrivals,
    id: u64,
    /// Is cancelled when nobody waits for it any more.
    gone: CancellationToken,
}

impl Reader {
    fn new(arrivals: Arrivals, id: u64) -> Self {
        Self { arrivals, id, gone: CancellationToken::new() }
    }

    /// Waits for blocks only until this is cancelled.
    pub(super) fn until(mut self, gone: CancellationToken) -> Self {
        self.gone = gone;
        self
    }

    /// Says how far it has come, so that what is ahead of it is brought.
    pub(super) fn advance(&self, place: u64) {
        let mut state = self.arrivals.state();
        let Some(want) = state.readers.get_mut(&self.id) else { return };
        let horizon = place.saturating_add(READ_AHEAD_LEN);
        // In steps, because what is wanted is found out anew each time.
        if horizon >= want.horizon.saturating_add(READ_AHEAD_LEN / 4) {
            want.horizon = horizon;
            if let Some(range) = &mut want.range {
                range.start = range.start.max(place);
            }
            state.version += 1;
        }
    }

    /// A block, as soon as it is here; `None` if it will not come. A damaged one is waited for
    /// like one that is missing.
    pub(super) fn block(
        &self,
        store: &dyn BlockStore,
        id: &BlockId,
    ) -> Result<Option<Block>, StoreError> {
        loop {
            // Asked before the look, so that what comes between the two is not missed.
            let over = self.gone.is_cancelled() || self.arrivals.state().over;
            match store.get(id) {
                Ok(Some(block)) => {
                    self.await_block(None);
                    return Ok(Some(block));
                }
                Ok(None) | Err(StoreError::Damaged { .. }) if !over => {}
                other => return other,
            }
            self.await_block(Some(*id));
            sleep(LOOK);
        }
    }

    fn await_block(&self, id: Option<BlockId>) {
        if let Some(want) = self.arrivals.state().readers.get_mut(&self.id) {
            want.awaited = id;
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.arrivals.state();
        state.readers.remove(&self.id);
        state.version += 1;
        state.alone = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetch_brings_what_is_ahead_of_its_readers() {
        let far = 10 * READ_AHEAD_LEN;
        let (arrivals, one) = Arrivals::following(Some(0..far));
        let two = arrivals.reader(Some(far - 10..far)).unwrap();
        let wants = arrivals.wants().unwrap();
        assert_eq!(wants.ranges, Some(vec![0..READ_AHEAD_LEN, far - 10..far]));
        one.advance(10);
        assert!(!arrivals.has_changed(&wants), "a small step");
        one.advance(READ_AHEAD_LEN);
        assert!(arrivals.has_changed(&wants));
        drop(two);
        let ranges = arrivals.wants().unwrap().ranges.unwrap();
        assert!(matches!(&*ranges, [only] if *only == (READ_AHEAD_LEN..2 * READ_AHEAD_LEN)));
        let all = arrivals.reader(None).unwrap();
        assert_eq!(arrivals.wants().unwrap().ranges, None);
        drop((one, all));
        assert_eq!(arrivals.wants().unwrap().ranges, Some(Vec::new()));
    }

    #[test]
    fn it_ends_when_its_readers_are_served_and_not_before_a_new_one() {
        let (arrivals, reader) = Arrivals::following(Some(0..10));
        let wants = arrivals.wants().unwrap();
        let newcomer = arrivals.reader(Some(10..20)).unwrap();
        assert!(!arrivals.end_if_served(&wants), "somebody came meanwhile");
        drop((reader, newcomer));
        assert!(!arrivals.end_if_served(&arrivals.wants().unwrap()), "somebody may come");
        let _reader = arrivals.reader(Some(0..10)).unwrap();
        assert!(arrivals.end_if_served(&arrivals.wants().unwrap()));
        assert!(arrivals.reader(None).is_none());
    }
}
