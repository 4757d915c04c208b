//! The exchange of one torrent's pieces with its peers: a machine without socket or clock.
//!
//! Connections tell it what has come ([`Exchange::handle`]) and ask what is to go out
//! ([`Exchange::poll`]); time is an argument. It seeds and downloads at once: what is here is
//! served, what is wanted is asked for. All it holds per peer is bounded: [`MAX_QUEUE`] requests
//! either way, one bit a piece.

mod obtained;
mod violation;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::limits::{MAX_QUEUE, MAX_REQUEST_LEN, MAX_UNREAD};

use super::bits::Bits;
use super::choker::{self, Standing};
use super::message::Message;
use super::party::Party;
use super::picker::{Key, Picker};
use super::pieces::{Chunk, Pieces};
pub use violation::Violation;

/// How long a peer may owe chunks before they are asked of others.
const SNUB: Duration = Duration::from_secs(20);

/// How long a piece is not asked for again of a peer that refused it.
const REFUSED: Duration = Duration::from_secs(2);

/// Bytes a peer may send that nobody asked for: what was on its way when we took requests back.
const MAX_UNASKED: u64 = 4 << 20;

/// What is to go out to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A message.
    Send(Message),
    /// The bytes of a chunk.
    Upload(Chunk),
}

impl Output {
    /// The chunk to be uploaded, if it is one.
    #[must_use]
    pub const fn chunk(&self) -> Option<Chunk> {
        match self {
            Self::Send(_) => None,
            Self::Upload(chunk) => Some(*chunk),
        }
    }
}

/// A piece that has come and is not checked yet: its number and its chunks.
pub type Whole = (u32, Vec<Bytes>);

/// The exchange of one torrent.
#[derive(Debug)]
pub struct Exchange {
    pieces: Pieces,
    here: Bits,
    picker: Picker,
    parties: BTreeMap<Key, Party>,
    slots: usize,
    round: u64,
    /// Parties that have something to send.
    woken: BTreeSet<Key>,
}

impl Exchange {
    /// An exchange of what is here; nothing is wanted. `slots` peers are served at a time.
    #[must_use]
    pub fn new(pieces: Pieces, here: Bits, slots: usize, seed: u64) -> Self {
        let picker = Picker::new(pieces, &here, seed);
        let (parties, woken) = (BTreeMap::new(), BTreeSet::new());
        Self { pieces, here, picker, parties, slots, round: 0, woken }
    }

    /// The sizes of the torrent.
    #[must_use]
    pub const fn pieces(&self) -> &Pieces {
        &self.pieces
    }

    /// The pieces that are here.
    #[must_use]
    pub const fn here(&self) -> &Bits {
        &self.here
    }

    /// Pieces that are wanted and not here.
    #[must_use]
    pub const fn wanted(&self) -> u32 {
        self.picker.wanted()
    }

    /// Whether a piece is wanted and not here.
    #[must_use]
    pub fn wants(&self, piece: u32) -> bool {
        self.picker.wants(piece)
    }

    /// Wants more pieces: how many were not wanted yet.
    pub fn want(&mut self, pieces: impl IntoIterator<Item = u32>, now: Instant) -> u32 {
        let new = self.picker.want(pieces);
        let Self { picker, parties, .. } = self;
        for party in parties.values_mut() {
            party.count_useful(picker);
        }
        self.refill_all(now);
        new
    }

    /// Asks first for a piece and what follows it.
    pub fn hurry(&mut self, piece: Option<u32>, now: Instant) {
        self.picker.hurry(piece);
        self.refill_all(now);
    }

    /// A connection begins to exchange pieces. `fast` if both sides speak the Fast extension, `late`
    /// if something else was said before.
    pub fn join(&mut self, key: Key, fast: bool, late: bool, now: Instant) {
        let mut party = Party::new(self.pieces.count(), fast, now);
        let bits = || Message::Bitfield(Bytes::copy_from_slice(self.here.as_wire()));
        match (late, fast, self.here.is_empty()) {
            (true, ..) => self.here.iter().for_each(|piece| party.say(Message::Have(piece))),
            (_, true, true) => party.say(Message::HaveNone),
            (_, true, false) if self.here.is_full() => party.say(Message::HaveAll),
            (_, false, true) => {}
            _ => party.say(bits()),
        }
        self.parties.insert(key, party);
        self.woken.insert(key);
    }

    /// Whether a connection has begun to exchange pieces.
    #[must_use]
    pub fn knows(&self, key: Key) -> bool {
        self.parties.contains_key(&key)
    }

    /// A web seed joins: it has every piece and is asked for runs of them.
    pub fn join_web_seed(&mut self, key: Key, now: Instant) {
        self.parties.insert(key, Party::web_seed(self.pieces.count(), now));
    }

    /// The pieces that a web seed is to fetch next.
    pub fn next_run(&mut self, key: Key, most: u32, now: Instant) -> Option<std::ops::Range<u32>> {
        let run = self.picker.pick_run(key, most, now)?;
        if let Some(party) = self.parties.get_mut(&key) {
            for piece in run.clone() {
                let chunks = 0..self.pieces.chunks_of(piece);
                party.asked.extend(chunks.map(|number| self.pieces.chunk(piece, number)));
            }
        }
        Some(run)
    }

    /// A peer has said how many requests it lets wait.
    pub fn set_queue(&mut self, key: Key, queue: usize) {
        if let Some(party) = self.parties.get_mut(&key) {
            party.queue = queue.clamp(1, MAX_QUEUE);
        }
    }

    /// A connection has ended.
    pub fn leave(&mut self, key: Key, now: Instant) {
        let Some(party) = self.parties.remove(&key) else { return };
        party.asked.iter().for_each(|chunk| self.picker.give_back(key, *chunk));
        party.bits.iter().for_each(|piece| self.picker.lost(piece));
        self.woken.remove(&key);
        self.rechoke();
        self.refill_all(now);
    }

    /// A message has come; the piece that is whole with it, if one is.
    pub fn handle(
        &mut self,
        key: Key,
        message: Message,
        now: Instant,
    ) -> Result<Option<Whole>, Violation> {
        let unread = self.parties.get(&key).map_or(0, |party| party.out.len());
        if unread > MAX_UNREAD + self.pieces.count() as usize {
            return Err(Violation::Unread(unread));
        }
        match message {
            Message::Piece { piece, offset, bytes } => {
                let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                return self.arrived(key, Chunk { piece, offset, len }, bytes, now);
            }
            Message::Have(piece) if piece >= self.pieces.count() => {
                return Err(Violation::NoPiece(piece));
            }
            Message::Have(piece) => self.gained(key, piece, now),
            Message::Bitfield(bits) => {
                let bits = Bits::from_wire(&bits, self.pieces.count());
                self.has(key, bits.ok_or(Violation::Bitfield)?, now);
            }
            Message::HaveAll => self.has(key, Bits::all(self.pieces.count()), now),
            Message::HaveNone => self.has(key, Bits::none(self.pieces.count()), now),
            Message::Choke => self.choked(key, now),
            Message::Unchoke => {
                self.with(key, |party| party.chokes_us = false);
                self.refill(key, now);
            }
            Message::Interested | Message::NotInterested => {
                self.with(key, |party| party.is_interested = message == Message::Interested);
                self.rechoke();
            }
            Message::Request(chunk) => self.requested(key, chunk)?,
            Message::Cancel(chunk) => self.with(key, |party| party.cancelled(chunk)),
            Message::Reject(chunk) => self.rejected(key, chunk, now),
            // Pieces allowed while choked save a round trip at the start; nobody waits for that.
            _ => {}
        }
        Ok(None)
    }

    /// A peer has a piece no longer.
    pub fn lost(&mut self, key: Key, piece: u32) {
        let Some(party) = self.parties.get_mut(&key) else { return };
        if party.bits.remove(piece) {
            self.picker.lost(piece);
            party.count_useful(&self.picker);
        }
    }

    /// A piece that came whole has been checked, and stored if it is right: who lied.
    pub fn verdict(&mut self, piece: u32, right: bool, now: Instant) -> Vec<Key> {
        let liars = self.picker.verdict(piece, right);
        if right {
            self.is_here(piece);
        } else {
            self.refill_all(now);
        }
        liars
    }

    /// What is to go out to a peer next.
    pub fn poll(&mut self, key: Key) -> Option<Output> {
        self.woken.remove(&key);
        let party = self.parties.get_mut(&key)?;
        if let Some(message) = party.out.pop_front() {
            return Some(Output::Send(message));
        }
        party.wants.pop_front().map(Output::Upload)
    }

    /// The chunk that a peer waits for next.
    #[must_use]
    pub fn awaited(&self, key: Key) -> Option<Chunk> {
        self.parties.get(&key)?.wants.front().copied()
    }

    /// Parties that something is to go out to since this was last asked.
    pub fn take_woken(&mut self) -> BTreeSet<Key> {
        std::mem::take(&mut self.woken)
    }

    /// A chunk was sent to a peer, or could not be.
    pub fn uploaded(&mut self, key: Key, chunk: Chunk, sent: bool) {
        self.with(key, |party| match sent {
            true => party.sent += u64::from(chunk.len),
            false if party.fast => party.say(Message::Reject(chunk)),
            false => {}
        });
    }

    /// A second has passed.
    pub fn tick(&mut self, now: Instant) {
        self.round += 1;
        let mut snubbed = Vec::new();
        for (key, party) in &mut self.parties {
            party.tick();
            if party.owes_since(now) > SNUB && !party.is_web_seed {
                snubbed.extend(party.asked.drain(..).map(|chunk| (*key, chunk)));
                party.snub();
            }
        }
        for (key, chunk) in snubbed {
            self.picker.give_back(key, chunk);
        }
        self.ask_refused_again(now);
        self.rechoke();
        self.refill_all(now);
    }

    /// How a peer stands: bytes received and sent, and whether it is of use to us or we to it.
    #[must_use]
    pub fn standing(&self, key: Key) -> Option<Standing> {
        self.parties.get(&key).map(Party::standing)
    }

    /// The pieces that a peer has; `None` for a web seed, which nobody has looked into.
    #[must_use]
    pub fn has_pieces(&self, key: Key) -> Option<&Bits> {
        self.parties.get(&key).filter(|party| !party.is_web_seed).map(|party| &party.bits)
    }

    /// Peers, web seeds not counted.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.parties.values().filter(|party| !party.is_web_seed).count()
    }

    /// Whether neither side can be of use to the other, now or later: both have everything.
    #[must_use]
    pub fn is_pointless(&self, key: Key) -> bool {
        self.here.is_full() && self.parties.get(&key).is_some_and(|party| party.bits.is_full())
    }

    /// Lets pieces be asked for again that were refused a while ago.
    fn ask_refused_again(&mut self, now: Instant) {
        let Self { parties, picker, .. } = self;
        for party in parties.values_mut() {
            let late = |at: Instant| now.saturating_duration_since(at) >= REFUSED;
            for (piece, _) in party.refused.extract_if(.., |(_, at)| late(*at)) {
                if party.bits.add(piece) {
                    picker.gained(piece);
                    party.useful += u32::from(picker.wants(piece));
                }
            }
        }
    }

    fn with(&mut self, key: Key, act: impl FnOnce(&mut Party)) {
        if let Some(party) = self.parties.get_mut(&key) {
            act(party);
            if party.has_output() {
                self.woken.insert(key);
            }
        }
    }

    fn gained(&mut self, key: Key, piece: u32, now: Instant) {
        let Some(party) = self.parties.get_mut(&key) else { return };
        if party.bits.add(piece) {
            self.picker.gained(piece);
            if self.picker.wants(piece) {
                party.useful += 1;
            }
            self.refill(key, now);
        }
    }

    fn has(&mut self, key: Key, bits: Bits, now: Instant) {
        let Some(party) = self.parties.get_mut(&key) else { return };
        party.bits.iter().for_each(|piece| self.picker.lost(piece));
        bits.iter().for_each(|piece| self.picker.gained(piece));
        party.bits = bits;
        party.count_useful(&self.picker);
        self.refill(key, now);
    }

    fn choked(&mut self, key: Key, now: Instant) {
        let Some(party) = self.parties.get_mut(&key) else { return };
        party.chokes_us = true;
        // With the Fast extension each request is answered all the same.
        if !party.fast {
            let asked = std::mem::take(&mut party.asked);
            for chunk in asked {
                self.picker.give_back(key, chunk);
            }
            self.refill_all(now);
        }
    }

    fn rejected(&mut self, key: Key, chunk: Chunk, now: Instant) {
        let Some(party) = self.parties.get_mut(&key) else { return };
        let serves = !party.chokes_us;
        if party.take_asked(chunk) {
            self.picker.give_back(key, chunk);
            if serves && party.bits.has(chunk.piece) {
                // It may be about to choke us (Transmission tells that after its rejects), or not
                // have the piece any more: it is asked again after a while.
                party.refused.push((chunk.piece, now));
                self.lost(key, chunk.piece);
            }
            self.refill_all(now);
        }
    }

    fn requested(&mut self, key: Key, chunk: Chunk) -> Result<(), Violation> {
        let Chunk { piece, offset, len } = chunk;
        if self.pieces.range_of(chunk).is_none() || len > MAX_REQUEST_LEN {
            return Err(Violation::Request { piece, offset, len });
        }
        let here = self.here.has(piece);
        self.with(key, |party| {
            let refused = party.is_choked || !here || party.wants.len() >= MAX_QUEUE;
            match (refused, party.fast) {
                (false, _) => party.wants.push_back(chunk),
                (true, true) if party.out.len() < MAX_QUEUE => party.say(Message::Reject(chunk)),
                _ => {}
            }
        });
        Ok(())
    }

    fn arrived(
        &mut self,
        key: Key,
        chunk: Chunk,
        bytes: Bytes,
        now: Instant,
    ) -> Result<Option<Whole>, Violation> {
        let Some(party) = self.parties.get_mut(&key) else { return Ok(None) };
        let was_asked = party.take_asked(chunk);
        party.chunk_came(chunk, now);
        let arrived = self.picker.arrived(key, chunk, bytes);
        if !was_asked && !arrived.useful {
            party.unasked += u64::from(chunk.len);
            if party.unasked > MAX_UNASKED {
                return Err(Violation::Unasked(party.unasked));
            }
        }
        for other in arrived.others {
            self.with(other, |party| {
                if party.take_asked(chunk) {
                    party.say(Message::Cancel(chunk));
                }
            });
        }
        self.refill(key, now);
        Ok(arrived.whole.map(|parts| (chunk.piece, parts)))
    }

    fn refill_all(&mut self, now: Instant) {
        let keys: Vec<Key> = self.parties.keys().copied().collect();
        for key in keys {
            self.refill(key, now);
        }
    }

    /// Asks a peer for as much as it is good for.
    fn refill(&mut self, key: Key, now: Instant) {
        let Some(party) = self.parties.get_mut(&key).filter(|party| !party.is_web_seed) else {
            return;
        };
        party.show_interest();
        let room = party.room();
        // A few at a time would cost a search and a packet for each chunk that comes.
        if room > 0 && party.useful > 0 {
            let mut chosen = self.picker.pick(key, &party.bits, room, now);
            if chosen.is_empty() && party.asked.is_empty() {
                chosen.extend(self.picker.pick_again(key, &party.bits, now));
            }
            party.ask(&chosen, now);
        }
        if party.has_output() {
            self.woken.insert(key);
        }
    }

    /// Decides anew who is served.
    fn rechoke(&mut self) {
        let downloading = self.picker.wanted() > 0;
        let standings = self.parties.iter().filter(|(_, party)| party.is_interested);
        let standings: Vec<_> = standings.map(|(key, party)| (*key, party.standing())).collect();
        let served = choker::choose(&standings, self.slots, downloading, self.round);
        for (key, party) in &mut self.parties {
            party.serve(served.contains(key));
            if party.has_output() {
                self.woken.insert(*key);
            }
        }
    }
}
