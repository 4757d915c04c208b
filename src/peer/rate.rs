//! A limit to bytes a second, shared by all connections.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::limits::RATE_BURST_LEN;

/// A limit, or none.
#[derive(Debug, Default)]
pub struct Rate(Option<DefaultDirectRateLimiter>);

impl Rate {
    /// At most so many bytes a second in the long run; no limit if `None`. Bursts are as long as
    /// a second, and at least [`RATE_BURST_LEN`], so that the lowest limit lets whole chunks
    /// through.
    #[must_use]
    pub fn new(bytes_per_second: Option<NonZeroU32>) -> Self {
        let quota = |rate: NonZeroU32| {
            let burst = rate.max(NonZeroU32::new(RATE_BURST_LEN).unwrap_or(NonZeroU32::MAX));
            Quota::per_second(rate).allow_burst(burst)
        };
        Self(bytes_per_second.map(|rate| RateLimiter::direct(quota(rate))))
    }

    /// Waits until `bytes` may pass.
    pub async fn pass(&self, bytes: usize) {
        let Some(limiter) = &self.0 else { return };
        let mut rest = u32::try_from(bytes).unwrap_or(u32::MAX);
        while let Some(now) = NonZeroU32::new(rest.min(RATE_BURST_LEN)) {
            // The burst is never shorter than what is asked for here.
            let _ = limiter.until_n_ready(now).await;
            rest -= now.get();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_lowest_limit_lets_whole_chunks_through() {
        let rate = Rate::new(NonZeroU32::new(1));
        rate.pass(16_384).await;
        rate.pass(0).await;
        let third = rate.pass(RATE_BURST_LEN as usize);
        let waited = tokio::time::timeout(std::time::Duration::from_millis(20), third).await;
        assert!(waited.is_err(), "the burst is used up");
    }
}
