//! How many blocks are asked of a peer ahead: enough that it never waits for us, few enough that
//! they do not wait at it for long, where another peer could give them sooner.
//!
//! The wait of a block is compared with the shortest one seen, which is the way there and back. While
//! the rest of it, the time spent in queues, is short and the window was used up, it grows by one for
//! each block that comes, so it doubles in a round trip; when the rest is long, it shrinks by one.

use std::time::Duration;

use crate::limits::MIN_NATIVE_QUEUE;

/// A wait in queues that keeps a connection busy through any hiccup of this machine or that one.
const SHORT: Duration = Duration::from_millis(200);

/// A wait in queues that is of no use to anybody.
const LONG: Duration = Duration::from_millis(600);

/// Blocks asked for ahead at least: one is on its way while the next is being read.
const LEAST: usize = 2;

/// The window of one peer.
#[derive(Debug)]
pub(super) struct Window {
    size: usize,
    most: usize,
    shortest: Duration,
}

impl Window {
    /// At most `most` blocks, as the peer lets wait.
    pub(super) fn new(most: usize) -> Self {
        let most = most.max(1);
        Self { size: MIN_NATIVE_QUEUE.min(most), most, shortest: Duration::MAX }
    }

    /// Blocks that may be asked for ahead.
    pub(super) const fn size(&self) -> usize {
        self.size
    }

    /// A block has come so long after it was asked for; `full` if no more could have been asked for
    /// meanwhile.
    pub(super) fn came(&mut self, wait: Duration, full: bool) {
        self.shortest = self.shortest.min(wait);
        let queued = wait.saturating_sub(self.shortest);
        if queued < SHORT && full {
            self.size = (self.size + 1).min(self.most);
        } else if queued > LONG {
            self.size = (self.size - 1).max(LEAST.min(self.most));
        }
    }

    /// The peer gives nothing.
    pub(super) fn close(&mut self) {
        self.size = LEAST.min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// A link of so many blocks a second and a round trip: the window after some time, and how many
    /// blocks came in the last second of it.
    fn link(blocks_a_second: u32, round_trip: Duration, seconds: u32) -> (usize, u32) {
        let mut window = Window::new(512);
        let (mut asked, mut free_at, mut came) = (VecDeque::new(), Duration::ZERO, 0);
        let each = Duration::from_secs(1) / blocks_a_second;
        let (mut now, end) = (Duration::ZERO, Duration::from_secs(seconds.into()));
        while now < end {
            while asked.len() < window.size() {
                free_at = (now + round_trip).max(free_at) + each;
                asked.push_back((now, free_at));
            }
            let (at, comes) = asked.pop_front().unwrap();
            let was_full = asked.len() + 1 >= window.size();
            now = comes;
            came += u32::from(now + Duration::from_secs(1) > end);
            window.came(now.saturating_sub(at), was_full);
        }
        (window.size(), came)
    }

    #[test]
    fn fast_links_are_filled() {
        for (rate, round_trip) in [(5_000, 1), (800, 50), (800, 300), (100, 300)] {
            let (size, came) = link(rate, Duration::from_millis(round_trip), 20);
            assert!(came * 10 >= rate * 9, "{rate}/s, {round_trip} ms: {came}, window {size}");
        }
    }

    #[test]
    fn slow_links_are_not_flooded() {
        let (size, came) = link(2, Duration::from_millis(50), 60);
        assert!(size <= 3 && came >= 1, "window {size}, {came}");
    }

    #[test]
    fn a_peer_sets_the_limit() {
        let mut window = Window::new(1);
        window.came(Duration::from_millis(1), true);
        window.close();
        assert_eq!(window.size(), 1);
    }
}
