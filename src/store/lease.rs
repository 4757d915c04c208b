//! Leases: what keeps the blocks of a put or a get in the store until it is done.
//!
//! A store counts moments, puts and uses alike. A lease remembers the moment it began, and
//! whatever was put or touched since the oldest living lease is not taken out. So a lease costs
//! the same for a small file and a large one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Keeps blocks for as long as it lives.
#[derive(Debug)]
pub struct Lease {
    leases: Leases,
    start: u64,
}

/// All living leases of a store: how many began at which moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Leases(Arc<Mutex<BTreeMap<u64, usize>>>);

impl Leases {
    pub(super) fn begin(&self, now: u64) -> Lease {
        *self.map().entry(now).or_default() += 1;
        Lease { leases: self.clone(), start: now }
    }

    /// What was used before this moment is held by no lease.
    pub(super) fn floor(&self) -> u64 {
        self.map().keys().next().copied().unwrap_or(u64::MAX)
    }

    fn map(&self) -> MutexGuard<'_, BTreeMap<u64, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// The moment it began.
    pub(super) const fn start(&self) -> u64 {
        self.start
    }

    /// Whether no other lease lives.
    pub(super) fn is_alone(&self) -> bool {
        self.leases.map().values().sum::<usize>() == 1
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut map = self.leases.map();
        if let Some(count) = map.get_mut(&self.start) {
            *count -= 1;
            if *count == 0 {
                map.remove(&self.start);
            }
        }
    }
}
