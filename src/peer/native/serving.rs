//! The writing half of a native connection: what we ask, answer and serve.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::SemaphorePermit;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use crate::id::BlockId;
use crate::limits::PEER_WRITE_LEN;
use crate::peer::message::Message;

use super::driver::{Common, Ended, ban};
use super::message::{NativeHello, NativeMessage};
use super::session::{Output, bits};
use super::shelf::Taken;

/// After how long without a message a keep-alive is sent.
const KEEP_ALIVE: Duration = Duration::from_secs(100);

/// How long a peer may take to read what we send.
const WRITE: Duration = Duration::from_secs(60);

/// How long a peer that does not read may keep its turn: who takes longer for what is written at
/// once, a block and a little, reads 128 KB/s at most.
const TURN_KEPT: Duration = Duration::from_secs(1);

/// Blocks served in a row before others have their turn: 2 MiB.
const TURN: u32 = 16;

/// Writes to a native peer.
pub(super) struct Writer<'a> {
    common: &'a Common,
    half: OwnedWriteHalf,
    out: BytesMut,
    /// The right to serve, and how many blocks of this turn are left.
    turn: Option<(SemaphorePermit<'a>, u32)>,
    /// The block after the one that is being sent, read and verified meanwhile.
    ahead: Option<(BlockId, JoinHandle<Option<Bytes>>)>,
}

impl<'a> Writer<'a> {
    /// `dht` if the other side takes part in the DHT.
    pub(super) fn new(common: &'a Common, dht: bool, half: OwnedWriteHalf) -> Self {
        let mut out = BytesMut::new();
        out.extend_from_slice(&NativeHello::ours(common.shared.port, common.natives.shelf.hosts()));
        let node = common.shared.dht.get().filter(|_| dht);
        if let Some(port) = node.and_then(|node| node.port) {
            Message::Port(port).encode(&mut out);
        }
        Self { common, half, out, turn: None, ahead: None }
    }

    pub(super) async fn run(&mut self) -> Ended {
        match self.write().await {
            Ok(never) => match never {},
            Err(ended) => ended,
        }
    }

    async fn write(&mut self) -> Result<std::convert::Infallible, Ended> {
        let Common { natives, link, key, .. } = self.common;
        loop {
            natives.fill(*key, link).await;
            while let Some(output) = link.with(|session| session.poll(self.turn.is_some())) {
                self.act(output).await?;
                if self.out.len() >= PEER_WRITE_LEN {
                    self.flush(Bytes::new()).await?;
                }
            }
            if let Some(liar) = link.liar() {
                return Err(Ended::Liar(liar));
            }
            self.flush(Bytes::new()).await?;
            self.wait().await?;
        }
    }

    /// Waits for something to do: for a turn if there is something to serve.
    async fn wait(&mut self) -> Result<(), Ended> {
        let Common { natives, link, .. } = self.common;
        if link.with(|session| session.to_serve()) == 0 {
            (self.turn, self.ahead) = (None, None);
            if timeout(KEEP_ALIVE, link.wake.notified()).await.is_err() {
                Message::KeepAlive.encode(&mut self.out);
            }
            return Ok(());
        }
        tokio::select! {
            turn = natives.slots.acquire(), if self.turn.is_none() => {
                self.turn = turn.ok().map(|permit| (permit, TURN));
            }
            () = link.wake.notified() => {}
        }
        Ok(())
    }

    async fn act(&mut self, output: Output) -> Result<(), Ended> {
        let Common { natives, shared, link, .. } = self.common;
        match output {
            Output::Send(message) => self.say(message).await,
            Output::Look { ids, uses } => {
                let blocks = Arc::clone(&natives.shelf);
                let looked = spawn_blocking(move || {
                    let uses = if uses { blocks.uses(&ids) } else { Vec::new() };
                    NativeMessage::Have { bits: bits(blocks.holds(&ids)), uses }
                });
                let answer = looked.await.map_err(std::io::Error::other)?;
                self.say(answer).await
            }
            Output::Host(id, bytes) => {
                let blocks = Arc::clone(&natives.shelf);
                let taken = spawn_blocking(move || blocks.host(id, bytes)).await;
                match taken.map_err(std::io::Error::other)? {
                    Taken::Wrong => {
                        ban(natives, shared, link, id);
                        Err(Ended::Liar(id))
                    }
                    taken => {
                        let bits = bits([taken == Taken::Kept]);
                        self.say(NativeMessage::Have { bits, uses: Vec::new() }).await
                    }
                }
            }
            Output::Serve(id) => self.serve(id).await,
        }
    }

    async fn serve(&mut self, id: BlockId) -> Result<(), Ended> {
        let Common { shared, link, .. } = self.common;
        let bytes = self.load(id).await;
        self.turn =
            self.turn.take().filter(|(_, left)| *left > 1).map(|(one, left)| (one, left - 1));
        let Some(bytes) = bytes else {
            return self.say(NativeMessage::Lack(vec![id])).await;
        };
        link.is_used();
        if timeout(Duration::ZERO, shared.upload.pass(bytes.len())).await.is_err() {
            // What is written already need not wait for the limit.
            self.flush(Bytes::new()).await?;
            shared.upload.pass(bytes.len()).await;
        }
        self.say(NativeMessage::Block(id, bytes)).await
    }

    /// Reads a block, and has the next one read meanwhile.
    async fn load(&mut self, id: BlockId) -> Option<Bytes> {
        let begin = |id: BlockId| {
            let blocks = Arc::clone(&self.common.natives.shelf);
            spawn_blocking(move || blocks.block(&id))
        };
        let this = match self.ahead.take() {
            Some((other, reading)) if other == id => reading,
            _ => begin(id),
        };
        let next = self.common.link.with(|session| session.next_to_serve());
        self.ahead = next.map(|next| (next, begin(next)));
        this.await.ok().flatten()
    }

    async fn say(&mut self, message: NativeMessage) -> Result<(), Ended> {
        let numbers = self.common.link.with(|session| session.theirs().map(|one| one.numbers));
        // Before the other side has introduced itself nothing is said to it.
        let Some(block) = numbers.and_then(|numbers| message.encode(&numbers, &mut self.out))
        else {
            return Ok(());
        };
        if block.is_empty() { Ok(()) } else { self.flush(block).await }
    }

    /// Sends what was written, and a block behind it. Others need not wait for a peer that is slow
    /// to read it.
    async fn flush(&mut self, block: Bytes) -> Result<(), Ended> {
        let len = self.out.len() + block.len();
        if len == 0 {
            return Ok(());
        }
        let mut all = self.out.split().freeze().chain(block);
        let mut writing = pin!(timeout(WRITE, self.half.write_all_buf(&mut all)));
        let written = if let Ok(written) = timeout(TURN_KEPT, &mut writing).await {
            written
        } else {
            self.turn = None;
            writing.await
        };
        written.map_err(|_| Ended::Stuck)??;
        self.common.natives.count_sent(&self.common.link, len);
        Ok(())
    }
}
