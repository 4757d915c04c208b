//! What is kept between requests, so that whoever asks often does not make us work often.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, Semaphore};

use crate::store::StoreCensus;

use super::answers::{Failure, blocking};
use super::store::StoreShown;
use super::urls::HaveMap;

/// A share of one in so many of a thread's time goes into keeping something up to date.
const SHARE: u32 = 20;

/// Listeners to events at a time; each takes a connection and some KiB.
pub(super) const MAX_LISTENERS: usize = 32;

/// Surveys of a URL at a time: that of a directory can take some hundred MB of memory.
const MAX_SURVEYS: usize = 2;

/// What requests share.
#[derive(Clone)]
pub(super) struct Kept(Arc<Shared>);

pub(super) struct Shared {
    pub(super) census: Lasting<StoreCensus>,
    pub(super) store: Lasting<StoreShown>,
    /// Maps of transfers that are under way, by their numbers.
    pub(super) maps: std::sync::Mutex<HashMap<u64, Arc<Lasting<HaveMap>>>>,
    pub(super) surveys: Semaphore,
    pub(super) listeners: Arc<Semaphore>,
}

impl Default for Kept {
    fn default() -> Self {
        Self(Arc::new(Shared {
            census: Lasting::default(),
            store: Lasting::default(),
            maps: std::sync::Mutex::default(),
            surveys: Semaphore::new(MAX_SURVEYS),
            listeners: Arc::new(Semaphore::new(MAX_LISTENERS)),
        }))
    }
}

impl std::ops::Deref for Kept {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// Something that is good for a while. It is made by one who asks while the others wait; the longer
/// that takes, the longer it is good.
pub(super) struct Lasting<T>(Mutex<Option<(Instant, T)>>);

impl<T> Default for Lasting<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Clone + Send + 'static> Lasting<T> {
    /// What there is, unless it was made `least` ago or longer; else what `make` makes, which may
    /// read the disk.
    pub(super) async fn get<E: Into<Failure> + Send + 'static>(
        &self,
        least: Duration,
        make: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<T, Failure> {
        let mut kept = self.0.lock().await;
        let began = Instant::now();
        if let Some((until, made)) = &*kept
            && began < *until
        {
            return Ok(made.clone());
        }
        let new = blocking(make).await?;
        let now = Instant::now();
        *kept = Some((now + least.max((now - began) * SHARE), new.clone()));
        Ok(new)
    }
}
