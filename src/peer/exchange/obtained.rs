//! Pieces that are here now, whoever brought them.

use super::Exchange;
use crate::peer::message::Message;

impl Exchange {
    /// A piece is here that came otherwise than by this exchange: nobody is asked for it any more.
    pub fn obtained(&mut self, piece: u32) {
        let Some(asked) = self.picker.obtained(piece) else { return };
        for (key, chunk) in asked {
            self.with(key, |party| {
                if party.take_asked(chunk) {
                    party.say(Message::Cancel(chunk));
                }
            });
        }
        self.is_here(piece);
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
