//! Hosting: blocks that others push to us, kept within a share of the store's limit.
//!
//! A hosted block is worth as much as one that a URL of ours uses: it counts as used once and is
//! entered in the catalog, so that [`gc`](Client::gc) counts it, too, and it is not the first that
//! is evicted. It is counted before it is entered and discounted after it was struck out, so that a
//! crash in between leaves it worth too much, never too little; `gc` counts anew. If URLs of ours
//! use it as well, they count as well.
//!
//! The limit comes first: hosted blocks are evicted like others. What was evicted stays entered
//! until somebody looks: `gc` at all of them, and a push that finds the share used up at the next
//! few. So no push costs more than these, and one may be refused though there would be room.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::id::BlockId;
use crate::limits::HOSTED_AT_ONCE;
use crate::off::Block;
use crate::store::{Mark, Presence, Removed, StoreError, UseCount, room_of};

use super::{Client, Settings, UpkeepError};

const ONE_USE_MORE: Mark = Mark { uses: 1, pins: 0 };
const ONE_USE_LESS: Mark = Mark { uses: -1, pins: 0 };

/// A share of something, 0 to 100 percent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u8);

/// What came of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hosted {
    /// It is kept from now on, durably.
    Kept,
    /// It was here already, for us or for others.
    Held,
    /// It is not kept.
    Refused(Refusal),
}

/// Why a block is not kept for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing is kept for others here.
    NotOptedIn,
    /// The store has no limit, so there is no share of it.
    NoLimit,
    /// The blocks of others take all they may.
    ShareUsedUp,
    /// Nothing can be evicted: all is pinned or in use just now.
    StoreFull,
}

/// What is kept for others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HostedTotal {
    /// Blocks.
    pub blocks: u64,
    /// Bytes they take of the store's limit.
    pub bytes: u64,
}

/// What hosting keeps to, and where it stands. It is looked at under the lock of the counts.
#[derive(Debug)]
pub(super) struct Hosting {
    /// Bytes that the blocks of others may take.
    room: Result<u64, Refusal>,
    tally: Mutex<Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    /// Bytes of the blocks that are entered, once they were added up.
    bytes: Option<u64>,
    /// Behind which block to look next for those that were evicted.
    hand: Option<BlockId>,
}

impl Client {
    /// Whether blocks of others are kept at all.
    #[must_use]
    pub fn hosts(&self) -> bool {
        self.hosting.room.is_ok_and(|room| room > 0)
    }

    /// Keeps a block for others, durably, if the share allows it. It waits for the disk.
    pub fn host(&self, block: &Block) -> Result<Hosted, UpkeepError> {
        let _counting = self.counting();
        if self.store.presence(&block.id())? == Presence::Held {
            return Ok(Hosted::Held);
        }
        let room = match self.hosting.room {
            Ok(room) => room,
            Err(why) => return Ok(Hosted::Refused(why)),
        };
        let mut tally = self.hosting.tally();
        if self.catalog.is_hosted(&block.id())? {
            // It was evicted or found damaged, and comes anew.
            self.strike(&mut tally, &[(block.id(), room_of(block.size()))])?;
        }
        if !self.has_room(&mut tally, room_of(block.size()), room)? {
            return Ok(Hosted::Refused(Refusal::ShareUsedUp));
        }
        self.keep(block, &mut tally)
    }

    /// What is kept for others and is here now.
    pub fn hosted(&self) -> Result<HostedTotal, UpkeepError> {
        let mut total = HostedTotal::default();
        self.each_hosted(&mut |id, len| {
            if self.store.presence(&id)? == Presence::Held {
                total.blocks += 1;
                total.bytes += len;
            }
            Ok(())
        })?;
        Ok(total)
    }

    /// How many URLs of ours use a block: what peers are told. That it is kept for others is left
    /// out, or whoever pushes a block would make it popular.
    pub fn uses_by_urls(&self, id: &BlockId) -> Result<u32, UpkeepError> {
        let hosted = u32::from(self.catalog.is_hosted(id)?);
        Ok(self.store.uses(id)?.uses.saturating_sub(hosted))
    }

    /// Adds the hosted blocks to the uses that are `expected`, without those that are here no longer
    /// or are over the share, which are struck out. The least popular are given back first, and of
    /// these those with the higher ids. With `dry` nothing is struck out: what would go that no URL
    /// uses.
    pub(super) fn settle_hosted(
        &self,
        expected: &mut HashMap<BlockId, UseCount>,
        dry: bool,
    ) -> Result<Removed, UpkeepError> {
        let (mut held, mut struck) = (Vec::new(), Vec::new());
        self.each_hosted(&mut |id, len| {
            match self.store.presence(&id)? {
                Presence::Held => held.push((self.store.popularity(&id)?, id, len)),
                Presence::Damaged | Presence::Absent => struck.push(id),
            }
            Ok(())
        })?;
        held.sort_unstable_by_key(|(popularity, id, _)| (Reverse(*popularity), *id));
        let (mut left, mut over) = (self.hosting.room.unwrap_or(0), Removed::default());
        for (_, id, len) in held {
            let fits = len <= left;
            left = if fits { left - len } else { 0 };
            if !fits && !dry {
                struck.push(id);
                continue;
            }
            let count = expected.entry(id).or_default();
            if !fits && count.uses == 0 {
                over += Removed { blocks: 1, bytes: len };
            }
            count.uses += 1;
        }
        if !dry {
            self.catalog.unhost(&struck)?;
            *self.hosting.tally() = Tally::default();
        }
        Ok(over)
    }

    /// Whether a block that takes so many bytes is within `room` bytes, after a look at some that
    /// may be gone.
    fn has_room(&self, tally: &mut Tally, takes: u64, room: u64) -> Result<bool, UpkeepError> {
        let fits = |tally: &Tally| tally.bytes.is_some_and(|bytes| bytes + takes <= room);
        if tally.bytes.is_none() {
            tally.bytes = Some(self.entered_bytes()?);
        }
        if !fits(tally) {
            self.strike_some(tally)?;
        }
        Ok(fits(tally))
    }

    /// Strikes those of the next few hosted blocks out that are here no longer.
    fn strike_some(&self, tally: &mut Tally) -> Result<(), UpkeepError> {
        let page = self.catalog.hosted_after(tally.hand.as_ref(), HOSTED_AT_ONCE)?;
        tally.hand = page.get(HOSTED_AT_ONCE - 1).map(|(last, _)| *last);
        let mut gone = Vec::new();
        for (id, len) in page {
            if self.store.presence(&id)? != Presence::Held {
                gone.push((id, len));
            }
        }
        if gone.is_empty() { Ok(()) } else { self.strike(tally, &gone) }
    }

    fn strike(&self, tally: &mut Tally, gone: &[(BlockId, u64)]) -> Result<(), UpkeepError> {
        let ids: Vec<BlockId> = gone.iter().map(|(id, _)| *id).collect();
        self.catalog.unhost(&ids)?;
        self.store.mark(&ids, ONE_USE_LESS)?;
        let freed = gone.iter().map(|(_, len)| len).sum();
        tally.bytes = tally.bytes.map(|bytes| bytes.saturating_sub(freed));
        Ok(())
    }

    fn keep(&self, block: &Block, tally: &mut Tally) -> Result<Hosted, UpkeepError> {
        // It is used by nobody until it is marked.
        let _lease = self.store.lease();
        match self.store.put(block) {
            Ok(true) => self.store.commit()?,
            Ok(false) => return Ok(Hosted::Held),
            Err(StoreError::Full { .. }) => return Ok(Hosted::Refused(Refusal::StoreFull)),
            Err(error) => return Err(error.into()),
        }
        let takes = room_of(block.size());
        self.store.mark(&[block.id()], ONE_USE_MORE)?;
        self.catalog.host(&block.id(), takes)?;
        tally.bytes = tally.bytes.map(|bytes| bytes + takes);
        Ok(Hosted::Kept)
    }

    fn entered_bytes(&self) -> Result<u64, UpkeepError> {
        let mut bytes = 0;
        self.each_hosted(&mut |_, len| {
            bytes += len;
            Ok(())
        })?;
        Ok(bytes)
    }

    /// Tells all blocks that are entered as hosted, with their bytes.
    fn each_hosted(
        &self,
        act: &mut dyn FnMut(BlockId, u64) -> Result<(), UpkeepError>,
    ) -> Result<(), UpkeepError> {
        let mut last = None;
        loop {
            let page = self.catalog.hosted_after(last.as_ref(), HOSTED_AT_ONCE)?;
            let Some((end, _)) = page.last() else { return Ok(()) };
            last = Some(*end);
            page.into_iter().try_for_each(|(id, len)| act(id, len))?;
        }
    }
}

impl Hosting {
    pub(super) fn new(settings: &Settings) -> Self {
        let room = match (settings.host_share, settings.limit) {
            (Percent(0), _) => Err(Refusal::NotOptedIn),
            (_, None) => Err(Refusal::NoLimit),
            (share, Some(limit)) => Ok(share.of(limit)),
        };
        Self { room, tally: Mutex::default() }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Percent {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// So many hundredths; `None` if it is more than 100.
    #[must_use]
    pub const fn new(percent: u8) -> Option<Self> {
        if percent <= 100 { Some(Self(percent)) } else { None }
    }

    /// The number of hundredths.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// This share of a number of bytes, rounded down.
    fn of(self, bytes: u64) -> u64 {
        let percent = u64::from(self.0);
        bytes / 100 * percent + bytes % 100 * percent / 100
    }
}

impl std::fmt::Display for Percent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} percent", self.0)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotOptedIn => "nothing is kept for others here",
            Self::NoLimit => "the store has no limit to take a share of",
            Self::ShareUsedUp => "what is kept for others takes all it may",
            Self::StoreFull => "the store is full of what is pinned or in use",
        })
    }
}

#[cfg(test)]
mod tests;
