//! What fetches want of native peers.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use crate::id::BlockId;
use crate::peer::live::locked;
use crate::source::{BlockSource, SourceStatus};

use super::natives::{Natives, Needed, chosen};

/// What one fetch wants.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    pub(super) wanted: HashSet<BlockId>,
    pub(super) came: u64,
    /// Blocks that came since somebody asked for this.
    pub(super) arrived: Vec<BlockId>,
    /// Why one of its blocks could not be kept.
    pub(super) failure: Option<String>,
}

/// Native peers as a source of blocks. They are dialled as long as this lives.
#[derive(Debug)]
pub struct Errand {
    natives: Arc<Natives>,
    wishes: Arc<Mutex<Wishes>>,
    _needed: Needed,
}

impl Natives {
    /// These peers as the source of one fetch.
    #[must_use]
    pub fn errand(self: &Arc<Self>) -> Errand {
        Errand { natives: Arc::clone(self), wishes: self.add_wishes(), _needed: self.need() }
    }
}

impl Errand {
    /// Whether somebody is not reached whom the user named.
    #[must_use]
    pub fn awaits_named(&self) -> bool {
        self.natives.awaits_named()
    }
}

impl BlockSource for Errand {
    fn want(&self, ids: &[BlockId]) -> usize {
        let mut wishes = locked(&self.wishes);
        let new: Vec<_> = ids.iter().filter(|id| wishes.wanted.insert(**id)).copied().collect();
        drop(wishes);
        self.natives.want(&new);
        new.len()
    }

    fn unwant(&self, ids: &[BlockId]) {
        let mut wishes = locked(&self.wishes);
        let gone: Vec<_> = ids.iter().filter(|id| wishes.wanted.remove(*id)).copied().collect();
        drop(wishes);
        self.natives.unwant(&gone);
    }

    fn hurry(&self, id: BlockId) {
        if locked(&self.wishes).wanted.contains(&id) {
            locked(&self.natives.picker).hurry(Some(id));
            self.natives.wake_all();
        }
    }

    fn wanted(&self) -> usize {
        locked(&self.wishes).wanted.len()
    }

    fn unclaimed(&self, most: usize) -> Vec<BlockId> {
        let wishes = locked(&self.wishes);
        let picker = locked(&self.natives.picker);
        let unclaimed = picker.unclaimed().filter(|id| wishes.wanted.contains(id));
        unclaimed.take(most).collect()
    }

    fn in_flight(&self) -> Vec<BlockId> {
        locked(&self.natives.picker).all_in_flight()
    }

    fn take_arrivals(&self) -> Vec<BlockId> {
        std::mem::take(&mut locked(&self.wishes).arrived)
    }

    fn failure(&self) -> Option<String> {
        locked(&self.wishes).failure.clone()
    }

    fn status(&self) -> SourceStatus {
        let natives = &self.natives;
        let in_flight = locked(&natives.picker).in_flight() as u64;
        let [peers, known, prospects] =
            [natives.connected(), natives.known(), natives.prospects()].map(|count| count as u64);
        let (came, received) = (locked(&self.wishes).came, natives.traffic().received);
        SourceStatus { peers, known, prospects, in_flight, came, received }
    }

    fn changed(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self.natives.changed())
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        self.natives.drop_wishes(&self.wishes);
    }
}

/// What fetches want.
impl Natives {
    pub(super) fn add_wishes(&self) -> Arc<Mutex<Wishes>> {
        let wishes = Arc::default();
        locked(&self.wishes).push(Arc::clone(&wishes));
        wishes
    }

    pub(super) fn drop_wishes(&self, wishes: &Arc<Mutex<Wishes>>) {
        locked(&self.wishes).retain(|other| !Arc::ptr_eq(other, wishes));
        let wanted: Vec<_> = locked(wishes).wanted.drain().collect();
        self.unwant(&wanted);
    }

    /// Wants blocks of the peers.
    pub(super) fn want(&self, ids: &[BlockId]) {
        locked(&self.picker).want(ids.iter().copied());
        self.wake_all();
    }

    /// Takes those back that no fetch wants any more.
    pub(super) fn unwant(&self, ids: &[BlockId]) {
        let wishes = locked(&self.wishes).clone();
        for id in ids {
            if wishes.iter().any(|one| locked(one).wanted.contains(id)) {
                continue;
            }
            let cancel = locked(&self.picker).unwant(id);
            self.take_back(id, &cancel);
        }
    }

    /// Forgets wanted blocks that came otherwise. It reads the index of the store.
    pub(in crate::peer) fn look_for_arrivals(&self) {
        let in_flight = locked(&self.picker).all_in_flight();
        let here = self.shelf.holds(&in_flight);
        self.came_otherwise(&chosen(&in_flight, here.into_iter()));
    }

    pub(super) fn came_otherwise(&self, ids: &[BlockId]) {
        // What is in the store because a peer gave it a moment ago is counted by whoever stores it.
        let arriving = locked(&self.arriving).clone();
        let ids: Vec<_> = ids.iter().filter(|id| !arriving.contains(id)).copied().collect();
        for wishes in locked(&self.wishes).iter() {
            let mut wishes = locked(wishes);
            for id in &ids {
                wishes.wanted.remove(id);
            }
        }
        self.unwant(&ids);
    }
}
