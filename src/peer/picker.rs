//! Which chunk to ask whom for.
//!
//! First the pieces somebody waits for, in order; then pieces that were begun; then, of a random
//! sample of those nobody was asked for, the rarest. When every chunk has been asked for, what a
//! peer has owed for a second is asked of an idle one too. Every chunk is remembered with its
//! giver until its piece is known to be right:
//!
//! - a wrong piece from one giver makes that one a liar;
//! - a wrong piece from several is fetched again, from one peer alone; when it is right at last,
//!   whoever gave something else for one of its chunks is a liar.

mod given_up;

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::id::PieceHash;

use super::bits::Bits;
use super::pieces::{Chunk, Pieces};

/// A source of chunks: a connection, or a web seed.
pub type Key = u64;

/// Pieces looked at for the rarest.
const SAMPLE: usize = 32;

/// Pieces from an awaited one on that go before all others: 32 MiB of single blocks.
const URGENT: u32 = 256;

/// How long a chunk is owed before another peer is asked for it too.
const PATIENCE: Duration = Duration::from_secs(1);

/// Askings of one chunk at once.
const MAX_ASKED: usize = 3;

/// Wrong pieces from several givers that are remembered, to find the liars among them.
const MAX_DOUBTS: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not wanted.
    Left,
    /// Wanted, and nobody was asked.
    Fresh,
    /// Somebody was asked for some of it.
    Begun,
    /// Here.
    Here,
}

#[derive(Debug)]
enum Slot {
    Free,
    Asked(Vec<(Key, Instant)>),
    Come(Key, Bytes),
}

#[derive(Debug)]
struct Partial {
    slots: Vec<Slot>,
    /// Slots that are free.
    free: usize,
    /// Slots that have not come.
    missing: usize,
    /// Who may give it.
    from: From,
}

/// Who may give a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    /// Everybody, a chunk each.
    All,
    /// One source alone, whichever comes first.
    Any,
    /// This one alone.
    Only(Key),
}

/// What became of a chunk that came.
#[derive(Debug, Default)]
pub struct Arrived {
    /// Whether it was of use.
    pub useful: bool,
    /// Who else was asked for it.
    pub others: Vec<Key>,
    /// The chunks of its piece, if that has all come.
    pub whole: Option<Vec<Bytes>>,
}

/// The state of a download.
#[derive(Debug)]
pub struct Picker {
    pieces: Pieces,
    states: Vec<State>,
    /// Pieces that may be fresh, shuffled; those that are not any more are skipped.
    fresh: Vec<u32>,
    /// Pieces that are wanted and not here.
    wanted: u32,
    availability: Vec<u16>,
    partial: HashMap<u32, Partial>,
    /// Those of them that have free chunks.
    open: BTreeSet<u32>,
    urgent: Option<u32>,
    doubts: HashMap<u32, Vec<(Key, PieceHash)>>,
    rng: SmallRng,
}

impl Picker {
    /// Nothing is wanted.
    #[must_use]
    pub fn new(pieces: Pieces, here: &Bits, seed: u64) -> Self {
        let count = pieces.count();
        let state = |piece| if here.has(piece) { State::Here } else { State::Left };
        Self {
            pieces,
            states: (0..count).map(state).collect(),
            fresh: Vec::new(),
            wanted: 0,
            availability: vec![0; count as usize],
            partial: HashMap::new(),
            open: BTreeSet::new(),
            urgent: None,
            doubts: HashMap::new(),
            rng: SmallRng::seed_from_u64(seed),
        }
    }

    /// Adds pieces to those that are wanted: how many were not yet.
    pub fn want(&mut self, pieces: impl IntoIterator<Item = u32>) -> u32 {
        let (before, wanted) = (self.fresh.len(), self.wanted);
        for piece in pieces {
            if self.swap_state(piece, &[State::Left], State::Fresh) {
                self.fresh.push(piece);
                self.wanted += 1;
            }
        }
        if let Some(new) = self.fresh.get_mut(before..) {
            new.shuffle(&mut self.rng);
        }
        self.wanted - wanted
    }

    /// Pieces that are wanted and not here.
    #[must_use]
    pub const fn wanted(&self) -> u32 {
        self.wanted
    }

    /// Whether a piece is wanted and not here.
    #[must_use]
    pub fn wants(&self, piece: u32) -> bool {
        matches!(self.state(piece), Some(State::Fresh | State::Begun))
    }

    /// The piece somebody waits for.
    pub fn hurry(&mut self, piece: Option<u32>) {
        self.urgent = piece;
    }

    /// A source has a piece.
    pub fn gained(&mut self, piece: u32) {
        if let Some(count) = self.availability.get_mut(piece as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// A source has a piece no longer, or is gone.
    pub fn lost(&mut self, piece: u32) {
        if let Some(count) = self.availability.get_mut(piece as usize) {
            *count = count.saturating_sub(1);
        }
    }

    /// Chooses at most `most` chunks for a source to be asked for.
    pub fn pick(&mut self, key: Key, has: &Bits, most: usize, now: Instant) -> Vec<Chunk> {
        let mut chosen = Vec::new();
        if let Some(first) = self.urgent {
            for piece in first..first.saturating_add(URGENT).min(self.pieces.count()) {
                if chosen.len() >= most {
                    return chosen;
                }
                if has.has(piece) && self.wants(piece) {
                    self.begin(piece);
                    self.take(piece, key, most, now, &mut chosen);
                }
            }
        }
        let open: Vec<u32> = self.open.iter().copied().filter(|piece| has.has(*piece)).collect();
        for piece in open {
            if chosen.len() >= most {
                return chosen;
            }
            self.take(piece, key, most, now, &mut chosen);
        }
        while chosen.len() < most {
            let Some(piece) = self.rarest(has) else { break };
            self.begin(piece);
            self.take(piece, key, most, now, &mut chosen);
        }
        chosen
    }

    /// Chooses one chunk that another source has owed for long, when nothing else is left.
    pub fn pick_again(&mut self, key: Key, has: &Bits, now: Instant) -> Option<Chunk> {
        for (piece, partial) in &mut self.partial {
            if !has.has(*piece) || partial.from != From::All {
                continue;
            }
            for (number, slot) in (0..).zip(&mut partial.slots) {
                let Slot::Asked(asked) = slot else { continue };
                let late = |at: &Instant| now.saturating_duration_since(*at) >= PATIENCE;
                if asked.len() < MAX_ASKED
                    && asked.iter().all(|(other, at)| *other != key && late(at))
                {
                    asked.push((key, now));
                    return Some(self.pieces.chunk(*piece, number));
                }
            }
        }
        None
    }

    /// Gives a source a run of whole pieces that nobody was asked for: a web seed answers one
    /// request with many.
    pub fn pick_run(&mut self, key: Key, most: u32, now: Instant) -> Option<Range<u32>> {
        let count = self.pieces.count();
        let urgent = self.urgent.unwrap_or(count);
        let awaited = (urgent..urgent.saturating_add(URGENT).min(count))
            .find(|piece| self.state(*piece) == Some(State::Fresh));
        let first = match awaited {
            Some(first) => first,
            None => self.rarest(&Bits::all(count))?,
        };
        let mut end = first;
        while end < count && end - first < most && self.state(end) == Some(State::Fresh) {
            self.begin(end);
            self.take(end, key, usize::MAX, now, &mut Vec::new());
            end += 1;
        }
        Some(first..end)
    }

    /// A chunk will not come from the source that was asked for it.
    pub fn give_back(&mut self, key: Key, chunk: Chunk) {
        let Some(number) = self.pieces.number_of(chunk) else { return };
        let Some(partial) = self.partial.get_mut(&chunk.piece) else { return };
        if let Some(slot) = partial.slots.get_mut(number as usize)
            && let Slot::Asked(asked) = slot
        {
            asked.retain(|(other, _)| *other != key);
            if asked.is_empty() {
                *slot = Slot::Free;
                partial.free += 1;
            }
        }
        if partial.from == From::Only(key) {
            // Another one must give all of it.
            self.restart(chunk.piece);
        } else if partial.free > 0 {
            self.open.insert(chunk.piece);
        }
        self.close_if_untouched(chunk.piece);
    }

    /// A chunk has come.
    pub fn arrived(&mut self, key: Key, chunk: Chunk, bytes: Bytes) -> Arrived {
        let mut arrived = Arrived::default();
        let Some(number) = self.pieces.number_of(chunk) else { return arrived };
        let Some(partial) = self.partial.get_mut(&chunk.piece) else { return arrived };
        let Some(slot) = partial.slots.get_mut(number as usize) else { return arrived };
        let Slot::Asked(asked) = slot else { return arrived };
        if !asked.iter().any(|(other, _)| *other == key) {
            return arrived;
        }
        arrived.useful = true;
        arrived.others =
            asked.iter().map(|(other, _)| *other).filter(|other| *other != key).collect();
        *slot = Slot::Come(key, bytes);
        partial.missing -= 1;
        if partial.missing == 0 {
            arrived.whole = Some(partial.slots.iter().filter_map(Slot::bytes).collect());
        }
        arrived
    }

    /// Whether a piece that has all come is right: who lied about it.
    pub fn verdict(&mut self, piece: u32, right: bool) -> Vec<Key> {
        let Some(partial) = self.partial.remove(&piece) else { return Vec::new() };
        self.open.remove(&piece);
        let givers: Vec<(Key, PieceHash)> = partial
            .slots
            .iter()
            .filter_map(|slot| match slot {
                Slot::Come(key, bytes) if !right || self.doubts.contains_key(&piece) => {
                    Some((*key, PieceHash::of(bytes)))
                }
                _ => None,
            })
            .collect();
        if right {
            self.swap_state(piece, &[State::Begun], State::Here);
            self.wanted -= 1;
            let doubts = self.doubts.remove(&piece).unwrap_or_default();
            let differ = doubts.iter().zip(&givers).filter(|(then, now)| then.1 != now.1);
            return distinct(differ.map(|(then, _)| then.0));
        }
        self.swap_state(piece, &[State::Begun], State::Fresh);
        self.fresh.push(piece);
        let liars = distinct(givers.iter().map(|(key, _)| *key));
        if liars.len() == 1 {
            return liars;
        }
        if self.doubts.len() < MAX_DOUBTS {
            self.doubts.insert(piece, givers);
        }
        Vec::new()
    }

    fn state(&self, piece: u32) -> Option<State> {
        self.states.get(piece as usize).copied()
    }

    fn swap_state(&mut self, piece: u32, from: &[State], to: State) -> bool {
        match self.states.get_mut(piece as usize) {
            Some(state) if from.contains(state) => {
                *state = to;
                true
            }
            _ => false,
        }
    }

    fn begin(&mut self, piece: u32) {
        if !self.swap_state(piece, &[State::Fresh], State::Begun) {
            return;
        }
        let chunks = self.pieces.chunks_of(piece) as usize;
        let slots = (0..chunks).map(|_| Slot::Free).collect();
        let from = if self.doubts.contains_key(&piece) { From::Any } else { From::All };
        self.partial.insert(piece, Partial { slots, free: chunks, missing: chunks, from });
        self.open.insert(piece);
    }

    /// Asks a source for free chunks of a piece.
    fn take(&mut self, piece: u32, key: Key, most: usize, now: Instant, out: &mut Vec<Chunk>) {
        let Some(partial) = self.partial.get_mut(&piece) else { return };
        match partial.from {
            From::Only(giver) if giver != key => return,
            From::Any => partial.from = From::Only(key),
            From::All | From::Only(_) => {}
        }
        for (number, slot) in (0..).zip(&mut partial.slots) {
            if out.len() >= most {
                break;
            }
            if matches!(slot, Slot::Free) {
                *slot = Slot::Asked(vec![(key, now)]);
                partial.free -= 1;
                out.push(self.pieces.chunk(piece, number));
            }
        }
        if partial.free == 0 {
            self.open.remove(&piece);
        }
    }

    /// The rarest of a sample of the fresh pieces that a source has.
    fn rarest(&mut self, has: &Bits) -> Option<u32> {
        let mut best: Option<(u16, u32)> = None;
        let (mut seen, mut steps) = (0, 0);
        let start =
            if self.fresh.is_empty() { 0 } else { self.rng.random_range(0..self.fresh.len()) };
        while steps < self.fresh.len() && seen < SAMPLE {
            let at = (start + steps) % self.fresh.len();
            let Some(&piece) = self.fresh.get(at) else { break };
            if self.state(piece) != Some(State::Fresh) {
                self.fresh.swap_remove(at);
                continue;
            }
            steps += 1;
            if has.has(piece) {
                seen += 1;
                let rarity = self.availability.get(piece as usize).copied().unwrap_or(0);
                if best.is_none_or(|(least, _)| rarity < least) {
                    best = Some((rarity, piece));
                }
            }
        }
        best.map(|(_, piece)| piece)
    }

    /// Forgets what has come of a piece.
    fn restart(&mut self, piece: u32) {
        self.partial.remove(&piece);
        self.open.remove(&piece);
        if self.swap_state(piece, &[State::Begun], State::Fresh) {
            self.fresh.push(piece);
        }
    }

    fn close_if_untouched(&mut self, piece: u32) {
        let untouched = |partial: &Partial| partial.free == partial.slots.len();
        if self.partial.get(&piece).is_some_and(untouched) {
            self.restart(piece);
        }
    }
}

impl Slot {
    fn bytes(&self) -> Option<Bytes> {
        match self {
            Self::Come(_, bytes) => Some(bytes.clone()),
            Self::Free | Self::Asked(_) => None,
        }
    }
}

fn distinct(keys: impl Iterator<Item = Key>) -> Vec<Key> {
    keys.collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests;
