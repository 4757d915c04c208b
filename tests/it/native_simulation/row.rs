//! A row of the table: how the network is, and what came of it.

use std::fmt;
use std::time::Duration;

use offswarm::limits::BLOCK_LEN;

use crate::trials::{Share, quantile};

/// How the network is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weather {
    pub(super) name: &'static str,
    pub(super) nodes: usize,
    /// How long nodes are up and down, on average; both times are distributed exponentially.
    pub(super) up: Duration,
    pub(super) down: Duration,
    /// Of so many nodes this part lies.
    pub(super) liars: f64,
    /// Blocks that a node keeps at most.
    pub(super) store: usize,
    /// Whether a node must give one of the blocks that it says it has to be counted as a copy.
    pub(super) proof: bool,
}

impl Weather {
    /// The part of all time that a node is up.
    pub(super) fn up_part(&self) -> f64 {
        self.up.as_secs_f64() / (self.up + self.down).as_secs_f64()
    }
}

/// The numbers of holders by which gets are told apart.
pub(super) const HOLDERS: [usize; 3] = [1, 2, 4];

/// What was counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) urls: usize,
    pub(super) gets: Share,
    /// Of those during which each block had so many holders that stayed, see [`HOLDERS`].
    pub(super) lasting: [Share; HOLDERS.len()],
    /// Gets of nodes that went down meanwhile.
    pub(super) broken_off: usize,
    /// Milliseconds of each get that succeeded.
    pub(super) times: Vec<u32>,
    /// Bytes in both directions for gets, and for copies.
    pub(super) moved: u64,
    pub(super) tended: u64,
    /// Wanted blocks that came.
    pub(super) got: u64,
    /// Blocks wanted of some peer, and those that another one owed already.
    pub(super) asked: usize,
    pub(super) asked_of_two: usize,
    /// Pushes that were answered, and those that were kept, as was said.
    pub(super) pushed: Share,
    pub(super) banned: usize,
    pub(super) evicted: usize,
    /// What happened, and what was there of happenings to come and links at any time.
    pub(super) happened: usize,
    pub(super) at_once: usize,
    /// Copies of the rarest block of each URL at the end.
    pub(super) copies: Vec<usize>,
}

impl Tally {
    /// A get is over; each block had so many holders at least that stayed.
    pub(super) fn note_get(&mut self, succeeded: bool, lasting: usize, took: Duration) {
        self.gets.count(succeeded);
        for (share, holders) in self.lasting.iter_mut().zip(HOLDERS) {
            if lasting >= holders {
                share.count(succeeded);
            }
        }
        if succeeded {
            self.times.push(took.as_millis() as u32);
        }
    }
}

/// How a day went.
pub(super) struct Row {
    pub(super) weather: Weather,
    pub(super) tally: Tally,
}

impl Row {
    /// The head of the table.
    pub(super) const HEAD: &str = "\
| network | URLs put | gets | % done | 1 holder stays: gets | % done | 2 stay: gets | % done | 4 stay: gets | % done | s a get, median | s, 95 % | copies of the rarest block | bytes moved a byte got | blocks asked of two at once, % | MB a node and hour for copies | blocks evicted | bans |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
";
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { urls, gets, lasting, times, .. } = &self.tally;
        write!(f, "| {} | {urls} | {} | {:.1} |", self.weather.name, gets.all, gets.percent())?;
        for share in lasting {
            write!(f, " {} | {:.1} |", share.all, share.percent())?;
        }
        let seconds = |part| f64::from(quantile(times, part)) / 1_000.0;
        let tally = &self.tally;
        let copies = tally.copies.iter().sum::<usize>() as f64 / tally.copies.len().max(1) as f64;
        let overhead = tally.moved as f64 / (tally.got.max(1) * BLOCK_LEN as u64) as f64;
        let twice = 100.0 * tally.asked_of_two as f64 / tally.asked.max(1) as f64;
        let upkeep = tally.tended as f64 / 1e6 / self.weather.nodes as f64 / 24.0;
        writeln!(
            f,
            " {:.1} | {:.1} | {copies:.1} | {overhead:.3} | {twice:.1} | {upkeep:.2} | {} | {} |",
            seconds(0.5),
            seconds(0.95),
            tally.evicted,
            tally.banned,
        )
    }
}
