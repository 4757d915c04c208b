//! Pieces that nobody is to be asked for any more: they are here, or not wanted.

use super::{Chunk, Key, Partial, Picker, Slot, State};

impl Picker {
    /// A piece is here that came otherwise: who was asked for which chunks of it, if it was not here
    /// before.
    pub fn obtained(&mut self, piece: u32) -> Option<Vec<(Key, Chunk)>> {
        let was_wanted = self.wants(piece);
        if !self.swap_state(piece, &[State::Left, State::Fresh, State::Begun], State::Here) {
            return None;
        }
        self.wanted -= u32::from(was_wanted);
        self.open.remove(&piece);
        self.doubts.remove(&piece);
        let partial = self.partial.remove(&piece);
        Some(partial.map_or_else(Vec::new, |partial| self.asked_of(piece, &partial)))
    }

    /// A piece is not here after all; it may be wanted again.
    pub fn missed(&mut self, piece: u32) {
        self.swap_state(piece, &[State::Here], State::Left);
    }

    /// Wants nothing any more, but for pieces that have all come and are being checked: who was asked
    /// for what.
    pub fn want_nothing(&mut self) -> Vec<(Key, Chunk)> {
        self.urgent = None;
        for piece in std::mem::take(&mut self.fresh) {
            self.wanted -= u32::from(self.swap_state(piece, &[State::Fresh], State::Left));
        }
        let is_coming = |partial: &Partial| partial.missing > 0;
        let begun: Vec<_> = self.partial.extract_if(|_, partial| is_coming(partial)).collect();
        let mut asked = Vec::new();
        for (piece, partial) in begun {
            self.wanted -= u32::from(self.swap_state(piece, &[State::Begun], State::Left));
            self.open.remove(&piece);
            asked.extend(self.asked_of(piece, &partial));
        }
        asked
    }

    fn asked_of(&self, piece: u32, partial: &Partial) -> Vec<(Key, Chunk)> {
        let mut asked = Vec::new();
        for (number, slot) in (0..).zip(&partial.slots) {
            if let Slot::Asked(of) = slot {
                let chunk = self.pieces.chunk(piece, number);
                asked.extend(of.iter().map(|(key, _)| (*key, chunk)));
            }
        }
        asked
    }
}
