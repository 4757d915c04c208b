//! Questions that a peer is asked for other reasons than to fetch, and blocks it is given to keep.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::id::BlockId;
use crate::limits::MAX_ASKED;
use crate::peer::live::locked;
use crate::peer::picker::Key;

use super::link::Link;
use super::natives::Natives;

/// Peers asked at a time how much they use blocks: more than have a say in it.
const ASKED_HOW_POPULAR: usize = 16;

/// How long a question that is not urgent may take.
const QUESTION: Duration = Duration::from_secs(10);

/// An answer somebody waits for.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) have: Vec<bool>,
    pub(super) uses: Vec<u8>,
}

/// A question whose answer is waited for as long as this lives; then it is struck out.
struct Open<F: FnMut()>(F);

impl<F: FnMut()> Drop for Open<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl Natives {
    /// Asks a peer which of some blocks it has, and how much they are used: two lists as long as
    /// `ids` (the second may be empty); `None` if the connection ends first.
    pub async fn ask(&self, peer: SocketAddr, ids: &[BlockId]) -> Option<(Vec<bool>, Vec<u8>)> {
        let (_, link) = self.connection_to(peer)?;
        let (mut have, mut uses) = (Vec::new(), Vec::new());
        for ids in ids.chunks(MAX_ASKED) {
            let answer = self.question(&link, |link, errand| {
                link.with(|session| session.ask(errand, ids.to_vec(), true, Instant::now()));
            });
            let answer = answer.await?;
            have.extend(answer.have);
            uses.extend(answer.uses);
        }
        Some((have, uses))
    }

    /// Gives a block to a peer to keep: whether it has it now; `None` if the connection ends first.
    pub async fn push(&self, peer: SocketAddr, id: BlockId) -> Option<bool> {
        let (_, link) = self.connection_to(peer)?;
        let blocks = Arc::clone(&self.shelf);
        let bytes = spawn_blocking(move || blocks.block(&id)).await.ok()??;
        let answer = self.question(&link, |link, errand| {
            link.with(|session| session.push(errand, id, bytes.clone(), Instant::now()));
        });
        answer.await?.have.first().copied()
    }

    /// Has a peer give a block that it says it has, to be checked and stored: whether it did.
    pub async fn prove(&self, peer: SocketAddr, id: BlockId) -> bool {
        let Some((key, link)) = self.connection_to(peer) else { return false };
        let (sender, proved) = oneshot::channel();
        locked(&self.proofs).insert((key, id), sender);
        let _open = Open(|| drop(locked(&self.proofs).remove(&(key, id))));
        link.with(|session| session.want(&[id], Instant::now()));
        link.wake.notify_one();
        tokio::select! {
            proved = proved => proved.unwrap_or(false),
            () = link.cancel.cancelled() => false,
        }
    }

    pub(super) fn proved(&self, key: Key, id: &BlockId, has: bool) {
        if let Some(asker) = locked(&self.proofs).remove(&(key, *id)) {
            let _ = asker.send(has);
        }
    }

    fn connection_to(&self, peer: SocketAddr) -> Option<(Key, Arc<Link>)> {
        let links = self.all_links().into_iter();
        let mut greeted = links.filter(|(_, link)| link.is_greeted());
        greeted.find(|(_, link)| link.address() == peer)
    }

    async fn question(&self, link: &Arc<Link>, ask: impl FnOnce(&Link, u64)) -> Option<Answer> {
        let errand = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        locked(&self.answers).insert(errand, sender);
        let _open = Open(|| drop(locked(&self.answers).remove(&errand)));
        ask(link, errand);
        link.wake.notify_one();
        tokio::select! {
            answer = answer => answer.ok(),
            () = link.cancel.cancelled() => None,
        }
    }

    pub(super) fn tell(&self, errand: u64, answer: Answer) {
        if let Some(asker) = locked(&self.answers).remove(&errand) {
            let _ = asker.send(answer);
        }
    }

    /// Asks some peers how much they use some of the blocks here.
    pub async fn ask_how_popular(&self) {
        let blocks = Arc::clone(&self.shelf);
        let ids = spawn_blocking(move || blocks.sample(MAX_ASKED)).await.unwrap_or_default();
        if ids.is_empty() {
            return;
        }
        for peer in self.peers().into_iter().take(ASKED_HOW_POPULAR) {
            // The answer goes to the shelf as it comes.
            let _ = timeout(QUESTION, self.ask(peer.address, &ids)).await;
        }
        self.settle().await;
    }
}
