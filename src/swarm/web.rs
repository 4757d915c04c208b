//! Draws pieces of a download from a web seed, run by run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio_util::sync::CancellationToken;

use crate::limits::{CHUNK_LEN, WEB_SEED_RUN_LEN};
use crate::peer::front::Front;
use crate::peer::live::{Link, Live};
use crate::peer::message::Message;
use crate::peer::picker::Key;

use super::guard::Guard;
use super::webseed::{WebSeed, WebSeedError};

/// How often an idle web seed looks whether something is wanted.
const LOOK: Duration = Duration::from_millis(500);

/// The pause after a first failure; it doubles with each, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);

const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Draws what is wanted until it is told to stop, or the web seed proves useless or a liar.
pub(super) async fn draw(
    seed: WebSeed,
    guard: Guard,
    live: Arc<Live>,
    front: Arc<Front>,
    stop: CancellationToken,
) {
    let link = Arc::new(Link::web_seed());
    let key = live.attach(Arc::clone(&link));
    let source = Source { seed, guard, live: Arc::clone(&live), front, key };
    tokio::select! {
        () = source.run() => {}
        () = link.ended() => tracing::info!(url = %source.seed.url(), "a web seed lied"),
        () = stop.cancelled() => {}
    }
    live.detach(key);
}

struct Source {
    seed: WebSeed,
    guard: Guard,
    live: Arc<Live>,
    front: Arc<Front>,
    key: Key,
}

impl Source {
    async fn run(&self) {
        let mut failures = 0;
        self.live.with(|exchange| exchange.join_web_seed(self.key, Instant::now()));
        loop {
            match self.draw_run().await {
                Ok(true) => failures = 0,
                // Nothing is wanted right now.
                Ok(false) => tokio::time::sleep(LOOK).await,
                Err(error) if error.is_temporary() => {
                    tracing::info!("a web seed pauses: {error}");
                    // What it owes is asked of others.
                    self.live.with(|exchange| exchange.leave(self.key, Instant::now()));
                    let pause = FIRST_PAUSE * 2_u32.pow(failures);
                    failures = (failures + 1).min(10);
                    let pause = error.retry_after().unwrap_or(pause).min(LONGEST_PAUSE);
                    tokio::time::sleep(pause).await;
                    self.live.with(|exchange| exchange.join_web_seed(self.key, Instant::now()));
                }
                Err(error) => {
                    tracing::warn!("a web seed is of no use: {error}");
                    return;
                }
            }
        }
    }

    /// Fetches a run of pieces: whether there was one to fetch.
    async fn draw_run(&self) -> Result<bool, WebSeedError> {
        let run = self.live.with(|exchange| {
            let most = (WEB_SEED_RUN_LEN / exchange.pieces().piece_len).max(1);
            let run = exchange.next_run(self.key, most, Instant::now())?;
            let pieces = *exchange.pieces();
            Some((
                pieces.start_of(run.start)..pieces.start_of(run.end).min(pieces.total),
                run.start,
                pieces,
            ))
        });
        let Some((range, mut piece, pieces)) = run.flatten() else { return Ok(false) };
        let mut bytes = self.seed.fetch(&self.guard, range, pieces.total).await?;
        let (mut waiting, mut number) = (BytesMut::new(), 0);
        while let Some(more) = bytes.next().await? {
            self.live.count_received(more.len());
            self.front.pass(more.len()).await;
            waiting.extend_from_slice(&more);
            loop {
                let chunk = pieces.chunk(piece, number);
                if chunk.len == 0 || waiting.len() < chunk.len as usize {
                    break;
                }
                let contents = waiting.split_to(chunk.len as usize).freeze();
                self.give(piece, chunk.offset, contents).await;
                number += 1;
                if number == pieces.chunks_of(piece) {
                    (piece, number) = (piece + 1, 0);
                }
            }
        }
        Ok(true)
    }

    async fn give(&self, piece: u32, offset: u32, bytes: Bytes) {
        debug_assert!(bytes.len() <= CHUNK_LEN as usize);
        let message = Message::Piece { piece, offset, bytes };
        let given = self.live.with(|exchange| exchange.handle(self.key, message, Instant::now()));
        if let Some(Ok(Some(whole))) = given {
            self.front.check(&self.live, whole).await;
        }
    }
}
