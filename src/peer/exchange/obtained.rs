//! Pieces that nobody is asked for any more: they are here, or not wanted.

use super::{Chunk, Exchange, Key};
use crate::peer::message::Message;

impl Exchange {
    /// A piece is here that came otherwise than by this exchange: nobody is asked for it any more.
    pub fn obtained(&mut self, piece: u32) {
        let Some(asked) = self.picker.obtained(piece) else { return };
        self.take_back(asked);
        self.is_here(piece);
    }

    /// Wants nothing any more. What has all come is still checked.
    pub fn want_nothing(&mut self) {
        let asked = self.picker.want_nothing();
        self.take_back(asked);
        let Self { picker, parties, .. } = self;
        for party in parties.values_mut() {
            party.count_useful(picker);
        }
    }

    /// A piece is not here after all; it may be wanted again.
    pub fn forget(&mut self, piece: u32) {
        self.here.remove(piece);
        self.picker.missed(piece);
    }

    fn take_back(&mut self, asked: Vec<(Key, Chunk)>) {
        for (key, chunk) in asked {
            self.with(key, |party| {
                if party.take_asked(chunk) {
                    party.say(Message::Cancel(chunk));
                }
            });
        }
    }

    /// Everybody learns of a piece.
    pub(super) fn is_here(&mut self, piece: u32) {
        self.here.add(piece);
        for (key, party) in &mut self.parties {
            party.piece_came(piece);
            if !party.out.is_empty() {
                self.woken.insert(*key);
            }
        }
    }
}
