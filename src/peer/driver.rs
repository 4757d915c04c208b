//! One connection: the only place that reads from and writes to a peer's socket.
//!
//! Two halves run side by side, so that neither side of a connection can stop the other by not
//! reading. What one peer can make us hold is bounded: a message being read, [`MAX_QUEUE`]
//! requests, [`MAX_OUTBOX`] other messages, and two blocks it is being served from.
//!
//! [`MAX_QUEUE`]: crate::limits::MAX_QUEUE
//! [`MAX_OUTBOX`]: crate::limits::MAX_OUTBOX

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout, timeout_at};

use crate::limits::{PEER_READ_LEN, PEER_WRITE_LEN};

use super::early::Early;
use super::exchange::{Output, Violation, Whole};
use super::extension::{self, Hello, Metadata};
use super::front::Shared;
use super::handshake::Handshake;
use super::live::{Link, Live, locked};
use super::loader::Loader;
use super::message::{self, Message, WireError};
use super::metadata::Assembly;
use super::picker::Key;
use super::pieces::Chunk;

/// How long a peer may be silent. Keep-alives come every two minutes.
const SILENCE: Duration = Duration::from_secs(150);

/// How often a peer is looked at while the info dict is missing.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// After how long without a message a keep-alive is sent.
const KEEP_ALIVE: Duration = Duration::from_secs(100);

/// How long a peer may take to read what we send.
const WRITE: Duration = Duration::from_secs(60);

/// Outputs taken from the exchange at once: what is taken can no longer be cancelled.
const OUTPUTS_AT_ONCE: usize = 16;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("the connection failed")]
    Io(#[from] io::Error),
    #[error("it was silent for too long")]
    Silent,
    #[error("it does not read")]
    Stuck,
    #[error("it sent no message of the protocol")]
    Wire(#[from] WireError),
    #[error("it broke the protocol")]
    Violation(#[from] Violation),
    #[error("it sent too many messages before their time")]
    TooEarly,
    #[error("it gave a false info dict")]
    FalseInfo,
    #[error("it promised the info dict and does not give it")]
    NoInfo,
    #[error("nothing is left to be said")]
    Done,
}

/// A connection whose handshakes are done.
pub(super) struct Connection {
    pub(super) live: Arc<Live>,
    pub(super) shared: Arc<Shared>,
    pub(super) theirs: Handshake,
    pub(super) remote: SocketAddr,
    /// Whether we dialled `remote`, so that it listens there.
    pub(super) dialled: bool,
}

impl Connection {
    /// Speaks until one side has enough: why, and whether the peer was of any use.
    pub(super) async fn run(self, stream: TcpStream) -> (Ended, bool) {
        let link = Arc::new(Link::new(Some(self.remote), self.theirs.peer_id));
        if self.dialled {
            *locked(&link.listens) = Some(self.remote);
        }
        let key = self.live.attach(Arc::clone(&link));
        let (read, write) = stream.into_split();
        let joined = Notify::new();
        let both = BothHalves { connection: &self, link: &link, key, joined: &joined };
        let mut reader = Reader::new(&both);
        let mut writer = Writer::new(&both, write);
        let ended = tokio::select! {
            ended = reader.run(read) => ended,
            ended = writer.run() => ended,
            () = link.ended() => Ended::Done,
            () = self.shared.stop.cancelled() => Ended::Done,
        };
        let standing = self.live.with(|exchange| exchange.standing(key)).flatten();
        let was_of_use = standing.is_some_and(|one| one.received + one.sent > 0);
        self.live.detach(key);
        if !self.dialled {
            self.live.may_dial_again(&link, was_of_use);
        }
        if matches!(ended, Ended::FalseInfo) {
            tracing::info!(liar = %self.remote, "a peer gave a false info dict; it is banned");
            self.shared.ban(self.remote);
        }
        (ended, was_of_use)
    }
}

struct BothHalves<'a> {
    connection: &'a Connection,
    link: &'a Arc<Link>,
    key: Key,
    /// Wakes the reader when the writer has entered the exchange of pieces.
    joined: &'a Notify,
}

impl BothHalves<'_> {
    fn live(&self) -> &Arc<Live> {
        &self.connection.live
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.connection.shared
    }

    fn hello(&self) -> Message {
        let len = self.live().content().map(|content| content.info().len());
        Message::Extended(extension::HANDSHAKE, extension::hello(self.shared().port, len))
    }
}

struct Writer<'a> {
    both: &'a BothHalves<'a>,
    half: OwnedWriteHalf,
    out: BytesMut,
    loader: Loader,
    joined: bool,
}

impl<'a> Writer<'a> {
    fn new(both: &'a BothHalves<'a>, half: OwnedWriteHalf) -> Self {
        Self { both, half, out: BytesMut::new(), loader: Loader::default(), joined: false }
    }

    async fn run(&mut self) -> Ended {
        match self.write().await {
            Ok(()) => Ended::Done,
            Err(ended) => ended,
        }
    }

    async fn write(&mut self) -> Result<(), Ended> {
        let theirs = &self.both.connection.theirs;
        // The pieces come first, as BEP 3 has it.
        if !self.join() && theirs.fast {
            Message::HaveNone.encode(&mut self.out);
        }
        if self.joined {
            self.take_outputs().await?;
        }
        if theirs.extended {
            self.both.hello().encode(&mut self.out);
        }
        let node = self.both.shared().dht.get().filter(|_| theirs.dht);
        if let Some(port) = node.and_then(|node| node.port) {
            Message::Port(port).encode(&mut self.out);
        }
        loop {
            if !self.joined && self.join() && theirs.extended {
                // Now the info dict can be asked of us, too.
                self.both.hello().encode(&mut self.out);
            }
            let mut busy = self.take_outputs().await?;
            while let Some(message) = self.both.link.said() {
                message.encode(&mut self.out);
                busy = true;
            }
            if busy && self.out.len() < PEER_WRITE_LEN {
                continue;
            }
            self.flush().await?;
            if !busy {
                self.loader.clear();
                if timeout(KEEP_ALIVE, self.both.link.wake.notified()).await.is_err() {
                    Message::KeepAlive.encode(&mut self.out);
                }
            }
        }
    }

    /// Enters the exchange of pieces as soon as there is one: whether it is entered.
    fn join(&mut self) -> bool {
        let (key, fast) = (self.both.key, self.both.connection.theirs.fast);
        // Only the first message may be a bitfield.
        let late = !self.out.is_empty();
        let join = |exchange: &mut super::exchange::Exchange| {
            exchange.join(key, fast, late, Instant::now());
        };
        if !self.joined && self.both.live().with(join).is_some() {
            self.joined = true;
            self.both.joined.notify_one();
        }
        self.joined
    }

    /// Encodes some of what is to go out: whether there was anything.
    async fn take_outputs(&mut self) -> Result<bool, Ended> {
        let (outputs, next) = self.both.live().poll(self.both.key, OUTPUTS_AT_ONCE);
        let busy = !outputs.is_empty();
        let mut coming: VecDeque<Chunk> =
            outputs.iter().filter_map(Output::chunk).chain(next).collect();
        for output in outputs {
            match output {
                Output::Send(message) => message.encode(&mut self.out),
                Output::Upload(chunk) => {
                    coming.pop_front();
                    self.upload(chunk, &coming).await?;
                }
            }
        }
        Ok(busy)
    }

    async fn upload(&mut self, chunk: Chunk, coming: &VecDeque<Chunk>) -> Result<(), Ended> {
        let (live, key) = (self.both.live(), self.both.key);
        let bytes = match live.content() {
            Some(content) => self.loader.load(content, chunk, coming).await,
            None => None,
        };
        if let Some(bytes) = &bytes {
            let rate = &self.both.shared().upload;
            if tokio::time::timeout(Duration::ZERO, rate.pass(bytes.len())).await.is_err() {
                // What is written already need not wait for the limit.
                self.flush().await?;
                rate.pass(bytes.len()).await;
            }
            let (piece, offset, bytes) = (chunk.piece, chunk.offset, bytes.clone());
            Message::Piece { piece, offset, bytes }.encode(&mut self.out);
        } else {
            self.lacks(chunk.piece);
        }
        live.with(|exchange| exchange.uploaded(key, chunk, bytes.is_some()));
        if self.out.len() >= PEER_WRITE_LEN {
            self.flush().await?;
        }
        Ok(())
    }

    /// A piece is damaged or was evicted: nobody is told any more that it is here.
    fn lacks(&self, piece: u32) {
        self.both.live().with(|exchange| exchange.forget(piece));
        let known = locked(&self.both.link.listens).is_some();
        tracing::debug!(piece, known, "a piece that was asked for is not here any more");
    }

    async fn flush(&mut self) -> Result<(), Ended> {
        if self.out.is_empty() {
            return Ok(());
        }
        let written = timeout(WRITE, self.half.write_all(&self.out)).await;
        written.map_err(|_| Ended::Stuck)??;
        self.both.live().count_sent(self.out.len());
        self.out.clear();
        Ok(())
    }
}

struct Reader<'a> {
    both: &'a BothHalves<'a>,
    hello: Hello,
    assembly: Option<Assembly>,
    early: Early,
    /// One node is enough of one peer.
    told_its_node: bool,
}

impl<'a> Reader<'a> {
    fn new(both: &'a BothHalves<'a>) -> Self {
        let (hello, early) = (Hello::default(), Early::default());
        Self { both, hello, assembly: None, early, told_its_node: false }
    }

    async fn run(&mut self, half: OwnedReadHalf) -> Ended {
        match self.read(half).await {
            Ok(()) => Ended::Done,
            Err(ended) => ended,
        }
    }

    async fn read(&mut self, mut half: OwnedReadHalf) -> Result<(), Ended> {
        let (mut buffer, mut heard) = (BytesMut::new(), tokio::time::Instant::now());
        loop {
            while let Some(message) = message::decode(&mut buffer)? {
                self.receive(message).await?;
            }
            if buffer.capacity() - buffer.len() < PEER_READ_LEN / 4 {
                buffer.reserve(PEER_READ_LEN);
            }
            let read = tokio::select! {
                read = timeout_at(heard + SILENCE, half.read_buf(&mut buffer)) => read,
                () = sleep(LOOK_AGAIN), if self.both.live().wants_info() => {
                    self.pursue_metadata()?;
                    continue;
                }
                () = self.both.joined.notified() => {
                    for message in self.early.take() {
                        self.handle(message).await?;
                    }
                    continue;
                }
            };
            let read = read.map_err(|_| Ended::Silent)??;
            if read == 0 {
                return Ok(());
            }
            heard = tokio::time::Instant::now();
            self.both.link.hears();
            self.both.live().count_received(read);
            self.both.shared().download.pass(read).await;
            if self.is_pointless() {
                return Ok(());
            }
        }
    }

    async fn receive(&mut self, message: Message) -> Result<(), Ended> {
        match message {
            Message::Extended(which, body) => self.extended(which, &body),
            Message::HashRequest(range) => {
                self.hashes(range).await;
                Ok(())
            }
            Message::Port(port) => {
                self.hear_of_node(port);
                Ok(())
            }
            Message::KeepAlive | Message::Other(_) => Ok(()),
            message => self.exchange(message).await,
        }
    }

    /// The peer has a node of the DHT. What nobody takes now is heard of from others.
    fn hear_of_node(&mut self, port: u16) {
        if let Some(node) = self.both.shared().dht.get().filter(|_| !self.told_its_node) {
            self.told_its_node = true;
            let _ = node.heard.try_send((self.both.connection.remote.ip(), port).into());
        }
    }

    async fn exchange(&mut self, message: Message) -> Result<(), Ended> {
        if !self.both.live().with(|exchange| exchange.knows(self.both.key)).unwrap_or(false) {
            return if self.early.keep(message) { Ok(()) } else { Err(Ended::TooEarly) };
        }
        for message in self.early.take().into_iter().chain([message]) {
            self.handle(message).await?;
        }
        Ok(())
    }

    async fn handle(&mut self, message: Message) -> Result<(), Ended> {
        let (key, now) = (self.both.key, Instant::now());
        let handled = self.both.live().with(|exchange| exchange.handle(key, message, now));
        if let Some(whole) = handled.transpose()?.flatten() {
            self.check(whole).await;
        }
        Ok(())
    }

    async fn check(&self, whole: Whole) {
        self.both.shared().check(self.both.live(), whole).await;
    }

    fn is_pointless(&self) -> bool {
        let key = self.both.key;
        self.both.live().with(|exchange| exchange.is_pointless(key)).unwrap_or(false)
    }

    fn extended(&mut self, which: u8, body: &Bytes) -> Result<(), Ended> {
        let live = self.both.live();
        match which {
            extension::HANDSHAKE => self.greeted(body),
            extension::UT_METADATA => return self.metadata(body),
            extension::UT_PEX => {
                let (may_dial, teller) =
                    (self.both.shared().may_dial, self.both.connection.remote.ip());
                let peers = extension::pex_peers(body).into_iter();
                live.add_peers(peers.filter(|peer| may_dial(*peer, teller)), false);
            }
            extension::LT_DONTHAVE => {
                if let Some(piece) = body.first_chunk::<4>().map(|piece| u32::from_be_bytes(*piece))
                {
                    live.with(|exchange| exchange.lost(self.both.key, piece));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn greeted(&mut self, body: &[u8]) {
        self.hello = Hello::decode(body);
        let (live, key, queue) = (self.both.live(), self.both.key, self.hello.queue);
        live.with(|exchange| exchange.set_queue(key, queue));
        if let Some(port) = self.hello.port {
            let listens = SocketAddr::new(self.both.connection.remote.ip(), port);
            locked(&self.both.link.listens).get_or_insert(listens);
            locked(&live.pool).is_connected(listens);
        }
        *locked(&self.both.link.pex) = self.hello.ut_pex;
        self.ask_metadata();
    }

    /// Does not wait for an info dict for ever, and asks for it when nobody else is asked any more.
    fn pursue_metadata(&mut self) -> Result<(), Ended> {
        if self.assembly.as_ref().is_some_and(Assembly::is_late) && self.both.live().wants_info() {
            return Err(Ended::NoInfo);
        }
        self.ask_metadata();
        Ok(())
    }

    /// Asks for the next parts of the info dict, if we need it and the peer has it.
    fn ask_metadata(&mut self) {
        let (Some(len), true) = (self.hello.metadata_len, self.both.live().wants_info()) else {
            return;
        };
        if self.hello.ut_metadata == 0 {
            return;
        }
        if self.assembly.is_none() {
            self.assembly = Assembly::begin(len, self.both.live());
        }
        let Some(assembly) = &mut self.assembly else { return };
        while let Some(piece) = assembly.next_request() {
            let body = Metadata::Request(piece).encode(0);
            self.both.link.say(Message::Extended(self.hello.ut_metadata, body));
        }
    }

    fn metadata(&mut self, body: &Bytes) -> Result<(), Ended> {
        let live = self.both.live();
        match Metadata::decode(body) {
            Some(Metadata::Request(piece)) if self.hello.ut_metadata != 0 => {
                let info = live.content().map(|content| content.info()).unwrap_or_default();
                let body = Metadata::answer(&info, piece).encode(info.len());
                self.both.link.say(Message::Extended(self.hello.ut_metadata, body));
            }
            Some(Metadata::Data(piece, bytes)) => {
                let whole = self.assembly.as_mut().and_then(|parts| parts.add(piece, bytes));
                if let Some(info) = whole {
                    self.assembly = None;
                    if live.wants_info() && !live.supply_info(info) {
                        return Err(Ended::FalseInfo);
                    }
                }
                self.ask_metadata();
            }
            Some(Metadata::Reject(_)) => {
                // When it has the info dict, it says hello again.
                (self.assembly, self.hello.metadata_len) = (None, None);
            }
            Some(Metadata::Request(_)) | None => {}
        }
        Ok(())
    }

    async fn hashes(&self, range: message::HashRange) {
        let content = self.both.live().content().map(Arc::clone);
        let found = tokio::task::spawn_blocking(move || content?.hashes(&range)).await;
        self.both.link.say(match found.ok().flatten() {
            Some(hashes) => Message::Hashes(range, hashes.concat().into()),
            None => Message::HashReject(range),
        });
    }
}
