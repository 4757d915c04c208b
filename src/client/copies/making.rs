//! Making copies: rare blocks are pushed to native peers that keep blocks of others.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::id::BlockId;
use crate::limits::MAX_PUSHES;

use super::{Copies, Network};

/// How long a peer may take to take in a block.
const PATIENCE: Duration = Duration::from_secs(30);

/// Blocks that are being pushed at once, over all peers: as many as one of them takes.
const AT_ONCE: usize = MAX_PUSHES;

/// How often a peer may refuse, or not answer, before it is left alone.
const REFUSALS: u32 = 3;

/// What came of pushing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Copies made.
    pub copies: u64,
    /// Pushes that were refused or not answered.
    pub refused: u64,
    /// Blocks that still have fewer copies than wanted.
    pub below: u64,
}

/// Who is to get which block next: a machine without a network.
#[derive(Debug)]
struct Plan<'c> {
    copies: &'c mut Copies,
    counts: Vec<u32>,
    target: u32,
    /// How often each peer has refused, and how many blocks it was given.
    refusals: HashMap<SocketAddr, u32>,
    given: HashMap<SocketAddr, u64>,
    /// The block to look at next.
    at: usize,
}

/// One push: the place of the block, and to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Push {
    at: usize,
    id: BlockId,
    to: SocketAddr,
}

impl<'c> Plan<'c> {
    fn new(copies: &'c mut Copies, target: u32) -> Self {
        let counts = copies.counts();
        let (refusals, given) = (HashMap::new(), HashMap::new());
        Self { copies, counts, target, refusals, given, at: 0 }
    }

    /// The next push. It counts as done until it [`failed`](Self::failed).
    fn next(&mut self) -> Option<Push> {
        while let (Some(count), Some(id)) =
            (self.counts.get_mut(self.at), self.copies.blocks.get(self.at).copied())
        {
            let at = self.at;
            if *count >= self.target {
                self.at += 1;
                continue;
            }
            let refusals = &self.refusals;
            let willing = |to: &SocketAddr| refusals.get(to).copied().unwrap_or(0) < REFUSALS;
            let takers = self.copies.natives.iter_mut();
            let takers = takers.filter(|one| one.hosts && !one.has(at) && willing(&one.address));
            // Evenly: who was given least so far.
            let given = |to: &SocketAddr| self.given.get(to).copied().unwrap_or(0);
            let Some(taker) = takers.min_by_key(|one| given(&one.address)) else {
                self.at += 1;
                continue;
            };
            if let Some(has) = taker.has.get_mut(at) {
                *has = true;
            }
            *count += 1;
            let to = taker.address;
            *self.given.entry(to).or_default() += 1;
            return Some(Push { at, id, to });
        }
        None
    }

    /// A push did not come off: somebody else may be asked.
    fn failed(&mut self, push: Push) {
        *self.refusals.entry(push.to).or_default() += 1;
        if let Some(count) = self.counts.get_mut(push.at) {
            *count -= 1;
        }
        self.at = self.at.min(push.at);
    }

    fn below(&self) -> u64 {
        self.counts.iter().filter(|count| **count < self.target).count() as u64
    }
}

impl Network {
    /// Pushes blocks that are here and have fewer than `target` copies to native peers that keep
    /// blocks of others, until they have as many or nobody takes them. `progress` is told the copies
    /// made so far. What came of it is remembered in `copies`.
    pub async fn push(
        &self,
        copies: &mut Copies,
        target: u32,
        stop: &CancellationToken,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Pushed {
        let (mut plan, mut done) = (Plan::new(copies, target), Pushed::default());
        let mut under_way = JoinSet::new();
        while !stop.is_cancelled() {
            while under_way.len() < AT_ONCE {
                let Some(push) = plan.next() else { break };
                let natives = self.swarms.natives().clone();
                under_way.spawn(async move {
                    let kept = timeout(PATIENCE, natives.push(push.to, push.id)).await;
                    (push, kept.ok().flatten() == Some(true))
                });
            }
            match under_way.join_next().await {
                Some(Ok((_, true))) => done.copies += 1,
                Some(Ok((push, false))) => {
                    done.refused += 1;
                    plan.failed(push);
                }
                Some(Err(error)) => tracing::warn!("a push broke off: {error}"),
                None => break,
            }
            progress(done.copies);
        }
        Pushed { below: plan.below(), ..done }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Holder;
    use super::*;

    fn peer(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n], 6881))
    }

    fn copies(blocks: u8, holders: &[(bool, &[u8])]) -> Copies {
        let natives = (1..).zip(holders).map(|(n, (hosts, has))| Holder {
            address: peer(n),
            hosts: *hosts,
            has: (0..blocks).map(|block| has.contains(&block)).collect(),
        });
        Copies {
            blocks: (0..blocks).map(|n| BlockId::from_bytes([n; 32])).collect(),
            natives: natives.collect(),
            swarm: vec![1; blocks.into()],
            swarm_peers: 1,
        }
    }

    #[test]
    fn copies_are_counted() {
        let copies = copies(4, &[(true, &[0, 1]), (false, &[0, 1, 2])]);
        assert_eq!(copies.counts(), [3, 3, 2, 1]);
        assert_eq!((copies.least(), copies.below(3), copies.hosts()), (1, 2, 1));
        assert!((copies.mean() - 2.25).abs() < 1e-9);
        assert_eq!(Copies::default().least(), 0);
    }

    #[test]
    fn rare_blocks_go_evenly_to_those_who_take_them() {
        let mut copies = copies(6, &[(true, &[0]), (true, &[]), (false, &[]), (true, &[])]);
        let mut plan = Plan::new(&mut copies, 3);
        let pushes: Vec<_> = std::iter::from_fn(|| plan.next()).collect();
        assert_eq!(plan.below(), 0);
        // One copy of each is in the swarm, one of the first at a peer.
        assert_eq!(pushes.len(), 1 + 5 * 2);
        let to = |n| pushes.iter().filter(|push| push.to == peer(n)).count();
        assert!(to(3) == 0 && [1, 2, 4].iter().all(|n| (3..=4).contains(&to(*n))));
        let mut once: Vec<_> = pushes.iter().map(|push| (push.at, push.to)).collect();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), pushes.len());
    }

    #[test]
    fn who_refuses_is_left_alone_and_the_others_are_asked() {
        let mut copies = copies(10, &[(true, &[]), (true, &[])]);
        let mut plan = Plan::new(&mut copies, 2);
        let (mut refused, mut kept) = (0, 0);
        while let Some(push) = plan.next() {
            if push.to == peer(1) {
                refused += 1;
                plan.failed(push);
            } else {
                kept += 1;
            }
        }
        assert_eq!((refused, kept, plan.below()), (3, 10, 0));
    }
}
