//! One peer of an exchange: what it has, what it owes us, what it waits for.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::limits::{MAX_QUEUE, MIN_QUEUE};

use super::bits::Bits;
use super::choker::Standing;
use super::message::Message;
use super::picker::Picker;
use super::pieces::Chunk;

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "the protocol has as many, all independent")]
pub(super) struct Party {
    /// What it has.
    pub(super) bits: Bits,
    /// Whether both sides speak the Fast extension.
    pub(super) fast: bool,
    pub(super) is_web_seed: bool,
    /// Requests it lets wait.
    pub(super) queue: usize,
    pub(super) chokes_us: bool,
    pub(super) is_choked: bool,
    pub(super) is_interested: bool,
    interested_in_it: bool,
    /// Pieces it has that we want.
    pub(super) useful: u32,
    /// Pieces it refused to give, and when. As many as it was asked for at most.
    pub(super) refused: Vec<(u32, Instant)>,
    /// What we asked it for.
    pub(super) asked: VecDeque<Chunk>,
    /// What it asked us for.
    pub(super) wants: VecDeque<Chunk>,
    /// Messages to it.
    pub(super) out: VecDeque<Message>,
    /// Requests we let wait there.
    depth: usize,
    /// When it was first asked for what it owes, or last gave something.
    heard: Instant,
    pub(super) received: u64,
    pub(super) sent: u64,
    received_before: u64,
    sent_before: u64,
    /// Bytes a second, smoothed.
    rate_in: u64,
    rate_out: u64,
    /// Bytes that came and were not asked for.
    pub(super) unasked: u64,
}

impl Party {
    pub(super) fn new(pieces: u32, fast: bool, now: Instant) -> Self {
        Self {
            bits: Bits::none(pieces),
            fast,
            is_web_seed: false,
            queue: MIN_QUEUE,
            chokes_us: true,
            is_choked: true,
            is_interested: false,
            interested_in_it: false,
            useful: 0,
            refused: Vec::new(),
            asked: VecDeque::new(),
            wants: VecDeque::new(),
            out: VecDeque::new(),
            depth: MIN_QUEUE / 2,
            heard: now,
            received: 0,
            sent: 0,
            received_before: 0,
            sent_before: 0,
            rate_in: 0,
            rate_out: 0,
            unasked: 0,
        }
    }

    pub(super) fn web_seed(pieces: u32, now: Instant) -> Self {
        let mut party = Self::new(pieces, true, now);
        party.is_web_seed = true;
        party
    }

    pub(super) fn say(&mut self, message: Message) {
        self.out.push_back(message);
    }

    pub(super) fn has_output(&self) -> bool {
        !self.out.is_empty() || !self.wants.is_empty()
    }

    pub(super) fn standing(&self) -> Standing {
        Standing {
            received: self.received,
            sent: self.sent,
            rate_in: self.rate_in,
            rate_out: self.rate_out,
            is_interested: self.is_interested,
            is_served: !self.is_choked,
            has: self.bits.count(),
        }
    }

    pub(super) fn count_useful(&mut self, picker: &Picker) {
        let useful = self.bits.iter().filter(|piece| picker.wants(*piece)).count();
        self.useful = u32::try_from(useful).unwrap_or(u32::MAX);
    }

    /// A piece has come and is right: from whomever.
    pub(super) fn piece_came(&mut self, piece: u32) {
        if self.is_web_seed {
            return;
        }
        if self.bits.has(piece) {
            self.useful = self.useful.saturating_sub(1);
            self.show_interest();
        } else {
            self.say(Message::Have(piece));
        }
    }

    pub(super) fn show_interest(&mut self) {
        let interested = self.useful > 0;
        if interested != self.interested_in_it {
            self.interested_in_it = interested;
            self.say(if interested { Message::Interested } else { Message::NotInterested });
        }
    }

    /// Requests it can be sent now: none until a good part of its queue is empty.
    pub(super) fn room(&self) -> usize {
        let depth = self.depth.min(self.queue);
        let room = depth.saturating_sub(self.asked.len());
        if self.chokes_us || room * 4 < depth { 0 } else { room }
    }

    pub(super) fn ask(&mut self, chunks: &[Chunk], now: Instant) {
        if self.asked.is_empty() {
            self.heard = now;
        }
        for chunk in chunks {
            self.asked.push_back(*chunk);
            self.say(Message::Request(*chunk));
        }
    }

    /// Whether a chunk was owed; it is not any more.
    pub(super) fn take_asked(&mut self, chunk: Chunk) -> bool {
        let place = self.asked.iter().position(|asked| *asked == chunk);
        place.is_some_and(|place| self.asked.remove(place).is_some())
    }

    pub(super) fn chunk_came(&mut self, chunk: Chunk, now: Instant) {
        self.received += u64::from(chunk.len);
        self.heard = now;
        self.depth = (self.depth + 1).min(MAX_QUEUE);
    }

    /// How long it has owed us something without giving anything.
    pub(super) fn owes_since(&self, now: Instant) -> Duration {
        if self.asked.is_empty() || self.chokes_us {
            return Duration::ZERO;
        }
        now.saturating_duration_since(self.heard)
    }

    /// It does not give what it owes: one request at a time until it does.
    pub(super) fn snub(&mut self) {
        self.depth = 1;
    }

    /// A second has passed: the queue holds what comes in two.
    pub(super) fn tick(&mut self) {
        let received = self.received - self.received_before;
        let sent = self.sent - self.sent_before;
        (self.received_before, self.sent_before) = (self.received, self.sent);
        self.rate_in = (self.rate_in * 3 + received) / 4;
        self.rate_out = (self.rate_out * 3 + sent) / 4;
        if self.depth > 1 {
            let chunks = usize::try_from(received / u64::from(crate::limits::CHUNK_LEN));
            self.depth = (chunks.unwrap_or(MAX_QUEUE) * 2).clamp(MIN_QUEUE / 2, MAX_QUEUE);
        }
    }

    /// It takes a request back.
    pub(super) fn cancelled(&mut self, chunk: Chunk) {
        if let Some(place) = self.wants.iter().position(|wanted| *wanted == chunk) {
            self.wants.remove(place);
            if self.fast {
                self.say(Message::Reject(chunk));
            }
        }
    }

    /// It is served, or not.
    pub(super) fn serve(&mut self, served: bool) {
        if served != self.is_choked || self.is_web_seed {
            return;
        }
        self.is_choked = !served;
        self.say(if served { Message::Unchoke } else { Message::Choke });
        if !served {
            let dropped = std::mem::take(&mut self.wants);
            if self.fast {
                self.out.extend(dropped.into_iter().map(Message::Reject));
            }
        }
    }
}
