//! One native connection: the only place that reads from and writes to its socket.
//!
//! Two halves run side by side, as for BitTorrent peers: the writer asks and serves, the reader takes
//! what comes. What one peer can make us hold is bounded: a message being read, a few blocks that
//! wait to be checked, its questions and wants, and two blocks it is being served.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::timeout_at;

use crate::id::BlockId;
use crate::limits::NATIVE_READ_LEN;
use crate::peer::extension::{HANDSHAKE, pex_peers};
use crate::peer::front::{SHAKE, Shared};
use crate::peer::handshake::Handshake;
use crate::peer::live::locked;
use crate::peer::message::{self, Message, WireError};
use crate::peer::picker::Key;

use super::link::Link;
use super::message::{NativeError, NativeHello, NativeMessage};
use super::natives::Natives;
use super::serving::Writer;
use super::session::{Event, Violation};
use super::shelf::Taken;

/// How long a peer may be silent. Keep-alives come every two minutes.
const SILENCE: Duration = Duration::from_secs(150);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(in crate::peer) enum Ended {
    #[error("the connection failed")]
    Io(#[from] io::Error),
    #[error("it was silent for too long")]
    Silent,
    #[error("it does not read")]
    Stuck,
    #[error("it sent no message of BitTorrent")]
    Wire(#[from] WireError),
    #[error("it sent no message of the protocol")]
    Native(#[from] NativeError),
    #[error("it does not speak the protocol")]
    Stranger,
    #[error("it broke the protocol")]
    Violation(#[from] Violation),
    #[error("it gave other bytes than block {0}")]
    Liar(BlockId),
    #[error("nothing is left to be said")]
    Done,
}

/// A connection whose handshakes of BEP 3 are done.
pub(in crate::peer) struct Connection {
    pub(in crate::peer) natives: Arc<Natives>,
    pub(in crate::peer) shared: Arc<Shared>,
    pub(in crate::peer) theirs: Handshake,
    pub(in crate::peer) remote: SocketAddr,
    /// Whether we dialled `remote`, so that it listens there.
    pub(in crate::peer) dialled: bool,
}

/// What both halves work with.
pub(super) struct Common {
    pub(super) natives: Arc<Natives>,
    pub(super) shared: Arc<Shared>,
    pub(super) link: Arc<Link>,
    pub(super) key: Key,
}

impl Connection {
    /// Speaks until one side has enough: why, and whether the peer speaks the protocol at all.
    pub(in crate::peer) async fn run(self, stream: TcpStream) -> (Ended, bool) {
        let Self { natives, shared, theirs, remote, dialled } = self;
        let link = Arc::new(Link::new(remote, dialled, theirs.peer_id, Instant::now()));
        let key = natives.attach(Arc::clone(&link));
        let common = Common { natives, shared, link, key };
        let (read, write) = stream.into_split();
        let mut reader = Reader { common: &common, told_its_node: false };
        let mut writer = Writer::new(&common, theirs.dht, write);
        let ended = tokio::select! {
            ended = reader.run(read) => ended,
            ended = writer.run() => ended,
            () = common.link.cancel.cancelled() => Ended::Done,
            () = common.shared.stop.cancelled() => Ended::Done,
        };
        // Whoever waits for an answer learns that none will come.
        common.link.cancel.cancel();
        common.natives.detach(key);
        (ended, common.link.is_greeted())
    }
}

/// Neither dials a peer again that gave other bytes than a block nor lets it in, for a while.
pub(super) fn ban(natives: &Natives, shared: &Shared, link: &Link, id: BlockId) {
    tracing::info!(liar = %link.remote, %id, "a native peer gave wrong bytes; it is banned");
    shared.ban(link.remote);
    let listens = *locked(&link.listens);
    if let Some(listens) = listens {
        shared.ban(listens);
        locked(&natives.pool).ban(listens);
    }
}

struct Reader<'a> {
    common: &'a Common,
    /// One node is enough of one peer.
    told_its_node: bool,
}

impl Reader<'_> {
    async fn run(&mut self, half: OwnedReadHalf) -> Ended {
        match self.read(half).await {
            Ok(()) => Ended::Done,
            Err(ended) => ended,
        }
    }

    async fn read(&mut self, mut half: OwnedReadHalf) -> Result<(), Ended> {
        let (mut buffer, mut until) = (BytesMut::new(), tokio::time::Instant::now() + SHAKE);
        loop {
            while let Some(message) = message::decode(&mut buffer)? {
                match message {
                    Message::Extended(number, body) => self.receive(number, &body).await?,
                    Message::Port(port) => self.hear_of_node(port),
                    _ => {}
                }
                // Only now may it be silent for long.
                if self.common.link.is_greeted() {
                    until = tokio::time::Instant::now() + SILENCE;
                }
            }
            // Whoever decodes has made room for the rest of a message, and no more is read: a block
            // has bytes of its own then, and is not copied.
            if buffer.capacity() == buffer.len() {
                buffer.reserve(NATIVE_READ_LEN);
            }
            let read = timeout_at(until, half.read_buf(&mut buffer)).await;
            let read = read.map_err(|_| Ended::Silent)??;
            if read == 0 {
                return Ok(());
            }
            self.common.natives.count_received(&self.common.link, read);
            self.common.shared.download.pass(read).await;
        }
    }

    /// The peer has a node of the DHT (BEP 5). What nobody takes now is heard of from others.
    fn hear_of_node(&mut self, port: u16) {
        if let Some(node) = self.common.shared.dht.get().filter(|_| !self.told_its_node) {
            self.told_its_node = true;
            let _ = node.heard.try_send((self.common.link.remote.ip(), port).into());
        }
    }

    async fn receive(&mut self, number: u8, body: &Bytes) -> Result<(), Ended> {
        let Common { natives, link, key, .. } = self.common;
        if number == HANDSHAKE {
            return self.greeted(body);
        }
        let Some(message) = NativeMessage::decode(number, body)? else { return Ok(()) };
        let event = link.with(|session| session.handle(message, Instant::now()))?;
        match event {
            Some(Event::Block(id, bytes)) => self.take(id, bytes).await?,
            Some(Event::Peers(body)) => {
                let (may_dial, teller) = (self.common.shared.may_dial, link.remote.ip());
                let peers = pex_peers(&body).into_iter().filter(|peer| may_dial(*peer, teller));
                natives.add_peers(peers, false);
            }
            Some(event) => self.answered(*key, event).await,
            // It wants something: the writer sees to it.
            None => link.wake.notify_one(),
        }
        Ok(())
    }

    fn greeted(&self, body: &Bytes) -> Result<(), Ended> {
        let Common { natives, link, key, .. } = self.common;
        if link.is_greeted() {
            return Ok(());
        }
        let hello = NativeHello::decode(body).filter(|hello| hello.numbers.suffice());
        let hello = hello.ok_or(Ended::Stranger)?;
        if let (false, Some(port)) = (link.dialled, hello.port) {
            *locked(&link.listens) = Some(SocketAddr::new(link.remote.ip(), port));
        }
        natives.greeted(*key, link, hello);
        Ok(())
    }

    async fn answered(&self, key: Key, event: Event) {
        let Common { natives, link, .. } = self.common;
        if let Event::Have { ids, uses, .. } = &event
            && !uses.is_empty()
        {
            let told: Vec<_> = ids.iter().copied().zip(uses.iter().copied()).collect();
            let (blocks, peer) = (Arc::clone(&natives.shelf), link.address());
            let _ = tokio::task::spawn_blocking(move || blocks.heard_of_uses(peer, &told)).await;
        }
        natives.answered(key, link, event);
    }

    /// Has a block checked and stored. So many wait for that at most; then no more are read.
    async fn take(&self, id: BlockId, bytes: Bytes) -> Result<(), Ended> {
        let Common { natives, shared, link, key } = self.common;
        link.is_used();
        link.wake.notify_one();
        let Ok(permit) = shared.checks.acquire().await else { return Ok(()) };
        permit.forget();
        natives.arrives(id);
        let (natives, task_shared, link, key) =
            (Arc::clone(natives), Arc::clone(shared), Arc::clone(link), *key);
        shared.tasks.spawn(async move {
            let blocks = Arc::clone(&natives.shelf);
            let taken = tokio::task::spawn_blocking(move || blocks.take(id, bytes)).await;
            task_shared.checks.add_permits(1);
            match taken {
                Ok(Taken::Kept) => natives.came(key, &id),
                Ok(Taken::Wrong) => {
                    natives.spoilt(key, &id, None);
                    // Here, because its connection may have ended meanwhile.
                    if link.lied(id) {
                        ban(&natives, &task_shared, &link, id);
                    }
                }
                Ok(Taken::Refused) => natives.spoilt(key, &id, Some("it is refused".into())),
                Ok(Taken::Failed(why)) => natives.spoilt(key, &id, Some(why)),
                Err(panic) => natives.spoilt(key, &id, Some(panic.to_string())),
            }
        });
        Ok(())
    }
}
