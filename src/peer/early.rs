//! Messages about pieces that come before the torrent is known.

use crate::limits::MAX_EARLY_MESSAGES;

use super::message::Message;

/// What one peer has said so far.
#[derive(Debug, Default)]
pub(super) struct Early(Vec<Message>);

impl Early {
    /// Keeps a message: whether it makes sense and there is room. No bytes are kept but those of
    /// the last bitfield, and nothing can be given yet, as nothing was asked for.
    pub(super) fn keep(&mut self, message: Message) -> bool {
        let is_given = matches!(message, Message::Piece { .. });
        if is_given || self.0.len() >= MAX_EARLY_MESSAGES {
            return false;
        }
        if matches!(message, Message::Bitfield(_)) {
            self.0.retain(|other| !matches!(other, Message::Bitfield(_)));
        }
        self.0.push(message);
        true
    }

    /// All that was kept, in order.
    pub(super) fn take(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn keeps_what_is_small_and_makes_sense() {
        let mut early = Early::default();
        let bitfield = |byte| Message::Bitfield(Bytes::from(vec![byte; 9]));
        for message in [bitfield(1), Message::Have(7), bitfield(2)] {
            assert!(early.keep(message));
        }
        assert!(!early.keep(Message::Piece { piece: 0, offset: 0, bytes: Bytes::new() }));
        assert_eq!(early.take(), [Message::Have(7), bitfield(2)]);
        let kept = (0..10_000).filter(|piece| early.keep(Message::Have(*piece))).count();
        assert_eq!(kept, MAX_EARLY_MESSAGES);
    }
}
