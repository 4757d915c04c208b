//! One connection of the native protocol: a machine without socket or clock.
//!
//! Messages go in by [`Session::handle`], what is to go out comes from [`Session::poll`]; commands
//! are what a picker or a census decides. All it holds is bounded: the questions and wants of the
//! other side, and what we have asked of it ourselves.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::id::BlockId;
use crate::limits::{MAX_ASKED, MAX_CANCELLED, MAX_PUSHES, MAX_QUESTIONS};

use super::message::{NativeHello, NativeMessage};
use super::window::Window;

/// How long a peer may owe something and give nothing before it is hung up on.
const PATIENCE: Duration = Duration::from_secs(60);

/// A peer that breaks the protocol; its connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// It said something before the extension handshake.
    #[error("a message before the handshake")]
    Early,
    /// It sent a block, or the lack of one, that nobody asked for.
    #[error("an answer about block {0}, which it was not asked for")]
    Unasked(BlockId),
    /// It answered what nobody asked.
    #[error("an answer to no question")]
    NoQuestion,
    /// Its answer has not one bit, or not one number, for each block.
    #[error("an answer about other than the {asked} blocks it was asked about")]
    Bits {
        /// How many it was asked about.
        asked: usize,
    },
    /// It asks more at once than was agreed on.
    #[error("{0} questions or wants at once")]
    Flood(usize),
    /// It owes something and gives nothing.
    #[error("it owes {0} answers and gives nothing")]
    Stalled(usize),
}

/// Why something was asked: the asker's own number, which comes back with the answer.
pub type Errand = u64;

/// Something that has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Which blocks are there.
    Have {
        /// Who wanted to know.
        errand: Errand,
        /// The blocks that were asked about.
        ids: Vec<BlockId>,
        /// Whether each is there.
        have: Vec<bool>,
        /// How many OFF URLs use each; empty if that was not asked, or is not told.
        uses: Vec<u8>,
    },
    /// Whether a block that was pushed is there now.
    Pushed {
        /// Who pushed it.
        errand: Errand,
        /// The block.
        id: BlockId,
        /// Whether it is there.
        kept: bool,
    },
    /// A block; its bytes are to be checked.
    Block(BlockId, Bytes),
    /// Blocks that were wanted and are not there.
    Lack(Vec<BlockId>),
    /// Peers are named, as in BEP 11.
    Peers(Bytes),
}

/// What is to be done for a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A message goes out.
    Send(NativeMessage),
    /// Look which of these blocks are here, and if `uses`, how much they are used; then send
    /// [`NativeMessage::Have`].
    Look {
        /// The blocks.
        ids: Vec<BlockId>,
        /// Whether to tell how much they are used.
        uses: bool,
    },
    /// Check this block and keep it, or not; then send [`NativeMessage::Have`] with one bit.
    Host(BlockId, Bytes),
    /// Send this block, or that it is not here.
    Serve(BlockId),
}

#[derive(Debug)]
enum Question {
    Ask { ids: Vec<BlockId>, uses: bool },
    Push(BlockId, Bytes),
}

#[derive(Debug)]
struct Asked {
    errand: Errand,
    ids: Vec<BlockId>,
    uses: bool,
    is_push: bool,
}

/// One connection.
#[derive(Debug)]
pub struct Session {
    theirs: Option<NativeHello>,
    window: Window,
    /// Our questions that wait for their answers, in order.
    asked: VecDeque<Asked>,
    /// Blocks we want of it, and since when.
    owed: HashMap<BlockId, Instant>,
    /// Blocks that were taken back and may still come.
    cancelled: HashSet<BlockId>,
    /// When it last gave something that it owed, or began to owe.
    gave: Instant,
    /// Its questions.
    questions: VecDeque<Question>,
    /// Blocks it wants.
    wants: VecDeque<BlockId>,
    out: VecDeque<NativeMessage>,
}

impl Session {
    /// A connection that has just come about.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            theirs: None,
            window: Window::new(1),
            asked: VecDeque::new(),
            owed: HashMap::new(),
            cancelled: HashSet::new(),
            gave: now,
            questions: VecDeque::new(),
            wants: VecDeque::new(),
            out: VecDeque::new(),
        }
    }

    /// The other side has introduced itself. Only the first time counts.
    pub fn greeted(&mut self, hello: NativeHello) {
        if self.theirs.is_none() {
            self.window = Window::new(hello.queue);
            self.theirs = Some(hello);
        }
    }

    /// What the other side said of itself.
    #[must_use]
    pub const fn theirs(&self) -> Option<&NativeHello> {
        self.theirs.as_ref()
    }

    /// Blocks that may be wanted now: none before the handshake, and none until a good part of the
    /// window is free, so that not every block has a message of its own.
    #[must_use]
    pub fn room(&self) -> usize {
        if self.theirs.is_none() {
            return 0;
        }
        let size = self.window.size();
        let room = size.saturating_sub(self.owed.len());
        if room * 4 < size { 0 } else { room }
    }

    /// Blocks that are wanted of it.
    #[must_use]
    pub fn owed(&self) -> usize {
        self.owed.len()
    }

    /// Questions of ours without an answer, pushes among them.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.asked.len()
    }

    /// Blocks it wants and has not got.
    #[must_use]
    pub fn to_serve(&self) -> usize {
        self.wants.len()
    }

    /// Asks which blocks are there: 1 to [`MAX_ASKED`] of them, not more than a few questions at once.
    pub fn ask(&mut self, errand: Errand, ids: Vec<BlockId>, uses: bool, now: Instant) {
        debug_assert!((1..=MAX_ASKED).contains(&ids.len()));
        self.begin_to_owe(now);
        self.out.push_back(NativeMessage::Ask { ids: ids.clone(), uses });
        self.asked.push_back(Asked { errand, ids, uses, is_push: false });
    }

    /// Gives a block to be kept.
    pub fn push(&mut self, errand: Errand, id: BlockId, bytes: Bytes, now: Instant) {
        self.begin_to_owe(now);
        self.out.push_back(NativeMessage::Push(id, bytes));
        self.asked.push_back(Asked { errand, ids: vec![id], uses: false, is_push: true });
    }

    /// Wants blocks, not more than there is [`room`](Self::room) for.
    pub fn want(&mut self, ids: &[BlockId], now: Instant) {
        self.begin_to_owe(now);
        for ids in ids.chunks(MAX_ASKED) {
            self.owed.extend(ids.iter().map(|id| (*id, now)));
            self.out.push_back(NativeMessage::Want(ids.to_vec()));
        }
    }

    /// Takes wanted blocks back.
    pub fn cancel(&mut self, ids: &[BlockId]) {
        let owed: Vec<_> =
            ids.iter().filter(|id| self.owed.remove(*id).is_some()).copied().collect();
        for ids in owed.chunks(MAX_ASKED) {
            if self.cancelled.len() + ids.len() > MAX_CANCELLED {
                // So long ago that none of them is on its way any more.
                self.cancelled.clear();
            }
            self.cancelled.extend(ids);
            self.out.push_back(NativeMessage::Cancel(ids.to_vec()));
        }
    }

    /// Names peers to it.
    pub fn name_peers(&mut self, body: Bytes) {
        self.out.push_back(NativeMessage::Peers(body));
    }

    /// A message has come.
    pub fn handle(
        &mut self,
        message: NativeMessage,
        now: Instant,
    ) -> Result<Option<Event>, Violation> {
        if self.theirs.is_none() {
            return Err(Violation::Early);
        }
        match message {
            NativeMessage::Ask { ids, uses } => self.questioned(Question::Ask { ids, uses })?,
            NativeMessage::Push(id, bytes) => self.questioned(Question::Push(id, bytes))?,
            NativeMessage::Have { bits, uses } => return self.answered(&bits, uses, now).map(Some),
            NativeMessage::Want(ids) => {
                let all = self.wants.len() + ids.len();
                if all > MAX_ASKED {
                    return Err(Violation::Flood(all));
                }
                self.wants.extend(ids);
            }
            NativeMessage::Cancel(ids) => {
                let ids: HashSet<BlockId> = ids.into_iter().collect();
                self.wants.retain(|id| !ids.contains(id));
            }
            NativeMessage::Block(id, bytes) => {
                self.came(&id, now)?;
                return Ok(Some(Event::Block(id, bytes)));
            }
            NativeMessage::Lack(ids) => {
                for id in &ids {
                    self.settled(id, now)?;
                }
                return Ok(Some(Event::Lack(ids)));
            }
            NativeMessage::Peers(body) => return Ok(Some(Event::Peers(body))),
        }
        Ok(None)
    }

    /// What is to be done for the peer next: answers and our own words first, then, if `serve`, the
    /// blocks it wants.
    pub fn poll(&mut self, serve: bool) -> Option<Output> {
        if let Some(message) = self.out.pop_front() {
            return Some(Output::Send(message));
        }
        match self.questions.pop_front() {
            Some(Question::Ask { ids, uses }) => return Some(Output::Look { ids, uses }),
            Some(Question::Push(id, bytes)) => return Some(Output::Host(id, bytes)),
            None => {}
        }
        if serve { self.wants.pop_front().map(Output::Serve) } else { None }
    }

    /// The block it waits for after the one that [`poll`](Self::poll) gave.
    #[must_use]
    pub fn next_to_serve(&self) -> Option<BlockId> {
        self.wants.front().copied()
    }

    /// Whether the peer is to be waited for any longer.
    pub fn tick(&mut self, now: Instant) -> Result<(), Violation> {
        let owes = self.owed.len() + self.asked.len();
        if owes > 0 && now.saturating_duration_since(self.gave) >= PATIENCE {
            return Err(Violation::Stalled(owes));
        }
        Ok(())
    }

    /// The peer is slow to give: no more than little is asked of it ahead.
    pub fn snub(&mut self) {
        self.window.close();
    }

    fn begin_to_owe(&mut self, now: Instant) {
        if self.owed.is_empty() && self.asked.is_empty() {
            self.gave = now;
        }
    }

    fn questioned(&mut self, question: Question) -> Result<(), Violation> {
        self.questions.push_back(question);
        let is_push = |one: &&Question| matches!(one, Question::Push(..));
        let (count, pushes) = (self.questions.len(), self.questions.iter().filter(is_push).count());
        let is_flood = count > MAX_QUESTIONS || pushes > MAX_PUSHES;
        if is_flood { Err(Violation::Flood(count)) } else { Ok(()) }
    }

    fn answered(&mut self, bits: &[u8], uses: Vec<u8>, now: Instant) -> Result<Event, Violation> {
        let Asked { errand, ids, uses: asked_uses, is_push } =
            self.asked.pop_front().ok_or(Violation::NoQuestion)?;
        self.gave = now;
        let asked = ids.len();
        let are_uses = uses.is_empty() || (asked_uses && uses.len() == asked);
        if bits.len() != asked.div_ceil(8) || !are_uses {
            return Err(Violation::Bits { asked });
        }
        let bit = |at: usize| bits.get(at / 8).is_some_and(|byte| byte & (0x80 >> (at % 8)) != 0);
        let have: Vec<bool> = (0..asked).map(bit).collect();
        Ok(match (is_push, ids.first(), have.first()) {
            (true, Some(id), Some(kept)) => Event::Pushed { errand, id: *id, kept: *kept },
            _ => Event::Have { errand, ids, have, uses },
        })
    }

    fn came(&mut self, id: &BlockId, now: Instant) -> Result<(), Violation> {
        let was_full = self.owed.len() * 4 > self.window.size() * 3;
        let since = self.settled(id, now)?;
        if let Some(since) = since {
            self.window.came(now.saturating_duration_since(since), was_full);
        }
        Ok(())
    }

    /// A want has its answer: since when it was wanted, or `None` if it was taken back.
    fn settled(&mut self, id: &BlockId, now: Instant) -> Result<Option<Instant>, Violation> {
        self.gave = now;
        match self.owed.remove(id) {
            None if !self.cancelled.remove(id) => Err(Violation::Unasked(*id)),
            since => Ok(since),
        }
    }
}

/// Bits for an answer: the first is the highest of the first byte.
#[must_use]
pub fn bits(have: impl IntoIterator<Item = bool>) -> Vec<u8> {
    let mut bits = Vec::new();
    for (at, here) in have.into_iter().enumerate() {
        if at % 8 == 0 {
            bits.push(0);
        }
        if let Some(last) = bits.last_mut().filter(|_| here) {
            *last |= 0x80 >> (at % 8);
        }
    }
    bits
}

#[cfg(test)]
mod tests;
