//! Listings of directories that are being read over and over: every file of a stored site asks for
//! the one of its directory.
//!
//! A listing of the longest kind takes some 200 MB once it is decoded, and whoever made the URL chose
//! that. So only a few are read at once, one is decoded at a time, and those that are kept are bounded
//! by their length.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use tokio::sync::Semaphore;

use crate::limits::{LISTINGS_AT_ONCE, LISTINGS_KEPT_LEN};
use crate::off::{Directory, OffUrl};

/// Those that were decoded lately, and the right to decode more.
pub(super) struct Listings {
    /// To read one, from wherever.
    pub(super) reading: Semaphore,
    /// To decode one.
    pub(super) decoding: Semaphore,
    kept: Mutex<Kept>,
}

struct Kept {
    listings: LruCache<String, Arc<Directory>>,
    /// Bytes of their JSON.
    bytes: u64,
}

impl Default for Listings {
    fn default() -> Self {
        let kept = Kept { listings: LruCache::unbounded(), bytes: 0 };
        Self {
            reading: Semaphore::new(LISTINGS_AT_ONCE),
            decoding: Semaphore::new(1),
            kept: Mutex::new(kept),
        }
    }
}

impl Listings {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that was decoded lately. What a URL decodes to never changes.
    pub(super) fn find(&self, url: &OffUrl) -> Option<Arc<Directory>> {
        self.kept().listings.get(&url.canonical().to_string()).map(Arc::clone)
    }

    /// Keeps one, and as many of the others as there is room for.
    pub(super) fn keep(&self, url: &OffUrl, listing: &Arc<Directory>) {
        if url.length() > LISTINGS_KEPT_LEN {
            return;
        }
        let mut kept = self.kept();
        let before = kept.listings.put(url.canonical().to_string(), Arc::clone(listing));
        if before.is_none() {
            kept.bytes += url.length();
        }
        while kept.bytes > LISTINGS_KEPT_LEN {
            let Some((oldest, _)) = kept.listings.pop_lru() else { break };
            let length = OffUrl::parse(&oldest).map_or(0, |url| url.length());
            kept.bytes = kept.bytes.saturating_sub(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{BlockId, FileId};
    use crate::off::directory;
    use crate::off::url::Named;
    use crate::off::{Seal, TupleSize};

    #[test]
    fn keeps_the_latest_within_its_bound() {
        let url = |number: u64, length: u64| {
            let named = Named {
                length,
                file: FileId::of_nothing(),
                descriptor: Some(BlockId::of(&number.to_le_bytes())),
                tuple: TupleSize::default(),
                seal: Seal::Plain,
            };
            OffUrl::new(named, directory::CONTENT_TYPE, "d.ofd").unwrap()
        };
        let (listings, half) = (Listings::default(), LISTINGS_KEPT_LEN / 2);
        let listing = Arc::new(Directory::new(Vec::new()).unwrap());
        let all: Vec<OffUrl> = (0..3).map(|number| url(number, half)).collect();
        for one in &all {
            listings.keep(one, &listing);
            listings.keep(one, &listing);
        }
        let found: Vec<bool> = all.iter().map(|one| listings.find(one).is_some()).collect();
        assert_eq!(found, [false, true, true]);
        let huge = url(9, LISTINGS_KEPT_LEN + 1);
        listings.keep(&huge, &listing);
        assert!(listings.find(&huge).is_none() && listings.find(&all[2]).is_some());
    }
}
