//! Files that were read to their ends and found to be what their URLs say.
//!
//! What a URL decodes to depends on its blocks, and every block is verified each time it is read. So
//! a file id that was right once is right for ever, and hashing the file again would only take time.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use crate::limits::PROVEN_FILES;
use crate::off::OffUrl;

/// The latest of them.
pub(super) struct Proven(Mutex<LruCache<String, ()>>);

impl Default for Proven {
    fn default() -> Self {
        let most = NonZeroUsize::new(PROVEN_FILES).unwrap_or(NonZeroUsize::MIN);
        Self(Mutex::new(LruCache::new(most)))
    }
}

impl Proven {
    fn files(&self) -> MutexGuard<'_, LruCache<String, ()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a file was found right.
    pub(super) fn has(&self, url: &OffUrl) -> bool {
        self.files().get(&url.canonical().to_string()).is_some()
    }

    /// Remembers that one was.
    pub(super) fn add(&self, url: &OffUrl) {
        self.files().put(url.canonical().to_string(), ());
    }
}
