//! When the next rung of the ladder begins: the rules, without a clock.
//!
//! Native peers come first, because they give single blocks. The swarm is not touched while they
//! serve; it begins on a miss (nobody native is there, or nobody native has a block), after a short
//! stagger in which nothing has come, or to help natives that would take long. What it has begun it
//! goes on with: whoever has a block first gives it.

use std::time::{Duration, Instant};

use crate::source::SourceStatus;

/// How long nothing may come of native peers before the swarm begins. A round trip around the world
/// takes a third of it.
const STAGGER: Duration = Duration::from_secs(1);

/// How long native peers are left alone before they are judged slow.
const TRIAL: Duration = Duration::from_secs(3);

/// Bytes a second below which native peers are slow: a tenth of a usual line.
const SLOW: u64 = 1 << 20;

/// How long slow native peers may still take without help.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the user lets a fetch ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rungs {
    /// Native peers first, then swarms and legacy nodes.
    #[default]
    All,
    /// Native peers first, then legacy nodes: no torrent has the blocks.
    NoSwarm,
    /// Native peers only.
    NativeOnly,
    /// Swarms only.
    SwarmOnly,
}

impl Rungs {
    /// Whether native peers may be asked.
    #[must_use]
    pub const fn asks_natives(self) -> bool {
        !matches!(self, Self::SwarmOnly)
    }

    /// Whether swarms may be asked.
    #[must_use]
    pub const fn asks_swarms(self) -> bool {
        matches!(self, Self::All | Self::SwarmOnly)
    }

    /// Whether legacy nodes may be asked.
    #[must_use]
    pub const fn asks_legacy(self) -> bool {
        matches!(self, Self::All | Self::NoSwarm)
    }
}

/// What the swarm and legacy nodes are to bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    Nothing,
    /// What no native peer has.
    Unclaimed,
    /// All that is missing, but for what native peers are sending right now.
    Rest,
    /// All that is missing.
    All,
}

/// How native peers do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) status: SourceStatus,
    /// Whether everybody was asked who could know of native peers.
    pub(super) has_asked: bool,
    /// Whether there are blocks that nobody native has.
    pub(super) unclaimed: bool,
    /// Bytes that are missing.
    pub(super) missing: u64,
}

/// The state of the ladder.
#[derive(Debug)]
pub(super) struct Ladder {
    rungs: Rungs,
    started: Instant,
    /// Blocks that had come of native peers, and when the last one did.
    came: (u64, Instant),
    /// When the first one came, and how many bytes had been received before.
    first: Option<(Instant, u64)>,
}

impl Ladder {
    pub(super) const fn new(rungs: Rungs, now: Instant) -> Self {
        Self { rungs, started: now, came: (0, now), first: None }
    }

    /// What the swarm and legacy nodes are to bring now.
    pub(super) fn share(&mut self, look: &Look, now: Instant) -> Share {
        match self.rungs {
            Rungs::NativeOnly => return Share::Nothing,
            Rungs::SwarmOnly => return Share::All,
            Rungs::All | Rungs::NoSwarm => {}
        }
        let status = &look.status;
        if status.came > self.came.0 {
            self.first.get_or_insert((now, status.received));
            self.came = (status.came, now);
        }
        let nobody = status.peers + status.prospects == 0 && look.has_asked;
        if nobody || now.saturating_duration_since(self.came.1) >= STAGGER {
            return Share::All;
        }
        if self.is_slow(look, now) {
            return Share::Rest;
        }
        // Until everybody has said what is there, a block that nobody has may turn up.
        if look.unclaimed && status.prospects == 0 && look.has_asked {
            return Share::Unclaimed;
        }
        Share::Nothing
    }

    /// Whether native peers, as fast as they were so far, would still take long.
    fn is_slow(&self, look: &Look, now: Instant) -> bool {
        let Some((since, before)) = self.first else { return false };
        if now.saturating_duration_since(self.started) < TRIAL {
            return false;
        }
        let millis = now.saturating_duration_since(since).as_millis().max(1);
        let received = u128::from(look.status.received.saturating_sub(before)) * 1_000 / millis;
        let rate = u64::try_from(received).unwrap_or(u64::MAX).max(1);
        rate < SLOW && look.missing / rate > PATIENCE.as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: SourceStatus =
        SourceStatus { peers: 0, known: 0, prospects: 0, in_flight: 0, came: 0, received: 0 };

    fn look(peers: u64, prospects: u64, came: u64) -> Look {
        let status = SourceStatus { peers, prospects, came, received: came << 17, ..FRESH };
        Look { status, has_asked: true, unclaimed: false, missing: 1 << 30 }
    }

    fn after(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn without_native_peers_the_swarm_begins_at_once() {
        let now = Instant::now();
        let mut ladder = Ladder::new(Rungs::All, now);
        assert_eq!(ladder.share(&look(0, 0, 0), now), Share::All);
        let looking = Look { has_asked: false, ..look(0, 0, 0) };
        assert_eq!(ladder.share(&looking, now), Share::Nothing);
        assert_eq!(ladder.share(&look(0, 1, 0), now), Share::Nothing);
        assert_eq!(ladder.share(&look(0, 1, 0), now + STAGGER), Share::All);
    }

    #[test]
    fn while_natives_serve_the_swarm_is_left_alone() {
        let now = Instant::now();
        let mut ladder = Ladder::new(Rungs::All, now);
        for second in 0..60 {
            let at = now + after(second * 900);
            assert_eq!(ladder.share(&look(2, 0, second * 100), at), Share::Nothing, "{second}");
        }
        let end = now + after(60 * 900) + STAGGER;
        assert_eq!(ladder.share(&look(2, 0, 5_900), end), Share::All, "then they stall");
    }

    #[test]
    fn what_nobody_native_has_comes_of_the_swarm() {
        let now = Instant::now();
        let mut ladder = Ladder::new(Rungs::All, now);
        let lacking = Look { unclaimed: true, ..look(2, 0, 5) };
        assert_eq!(ladder.share(&lacking, now), Share::Unclaimed);
        let unheard = Look { unclaimed: true, ..look(2, 1, 6) };
        assert_eq!(ladder.share(&unheard, now), Share::Nothing);
    }

    #[test]
    fn slow_natives_are_helped() {
        let now = Instant::now();
        let mut ladder = Ladder::new(Rungs::All, now);
        let shares = (0..10).map(|half| {
            let at = now + after(half * 500);
            (half * 500, ladder.share(&look(1, 0, half), at))
        });
        let shares: Vec<_> = shares.collect();
        for (millis, share) in shares {
            let expected = if millis < 3_000 { Share::Nothing } else { Share::Rest };
            assert_eq!(share, expected, "after {millis} ms");
        }
        let nearly = Look { missing: 1 << 17, ..look(1, 0, 11) };
        assert_eq!(ladder.share(&nearly, now + after(5_000)), Share::Nothing);
    }

    #[test]
    fn the_user_decides() {
        let now = Instant::now();
        let share = |rungs| Ladder::new(rungs, now).share(&look(0, 0, 0), now + STAGGER);
        assert_eq!(share(Rungs::NativeOnly), Share::Nothing);
        assert_eq!(share(Rungs::SwarmOnly), Share::All);
    }
}
