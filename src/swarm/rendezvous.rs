//! Our place in the DHT, and which torrent carries an OFF URL.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::announce::dht::{Announcer, unix};
use super::session::{DhtOptions, Swarms};
use crate::id::BlockId;
use crate::krpc::driver::{Dht, DhtError, Options, Records, beside};
use crate::krpc::machine::Holdings;
use crate::krpc::rendezvous::Record;
use crate::limits::dht::{LONELY_SEARCH_FIRST, LONELY_SEARCH_LAST, MAX_RECORDS, NODES_WAITING};
use crate::peer::front::{DhtNode, Front};
use crate::store::{BlockStore, Presence};

/// The blocks of a store, for native nodes that ask which of some are here.
struct Held(Arc<dyn BlockStore>);

impl Holdings for Held {
    fn has(&self, id: &BlockId) -> bool {
        matches!(self.0.presence(id), Ok(Presence::Held))
    }
}

/// Takes our place, at the same port as the one for peers if that is free for UDP. Where no UDP is
/// to be had, swarms must do without.
pub(super) fn join(
    options: &DhtOptions,
    tcp: SocketAddr,
    store: &Arc<dyn BlockStore>,
) -> Option<Arc<Announcer>> {
    let started = start(options, tcp, store);
    let dht = started
        .inspect_err(|error| warn!("{error}: {}; we take no part in the DHT", error.source))
        .ok()?;
    Some(Arc::new(Announcer::new(dht, tcp.port(), options.stays)))
}

fn start(
    options: &DhtOptions,
    tcp: SocketAddr,
    store: &Arc<dyn BlockStore>,
) -> Result<Dht, DhtError> {
    let listen = beside(tcp);
    let anywhere = listen.iter().map(|address| SocketAddr::new(address.ip(), 0)).collect();
    let start = |listen: Vec<SocketAddr>| {
        Dht::start(Options {
            listen,
            read_only: !options.stays,
            native_port: if options.stays { tcp.port() } else { 0 },
            bootstrap: options.bootstrap.clone(),
            state: options.state.clone(),
            known: Vec::new(),
            holdings: Arc::new(Held(Arc::clone(store))),
        })
    };
    start(listen).or_else(|error| {
        warn!("{error}: {}; another port is used", error.source);
        start(anywhere)
    })
}

/// Why there is no node any more.
#[derive(Debug, thiserror::Error)]
pub enum DhtEnded {
    /// Its task broke off: we are wrong.
    #[error("the DHT node broke off")]
    Broken,
    /// It could not be started again.
    #[error(transparent)]
    Start(#[from] DhtError),
}

/// Stops a node when whoever answers for it is gone.
struct Answerable(Arc<Dht>);

impl Drop for Answerable {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// Tells peers of our node, and our node of theirs (BEP 5), until it is stopped.
pub(super) fn share_nodes(
    announcer: &Arc<Announcer>,
    front: &Front,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send + use<> {
    let (heard, mut nodes) = mpsc::channel(NODES_WAITING);
    front.join_dht(DhtNode { port: announcer.port_to_tell(), heard });
    let announcer = Arc::clone(announcer);
    async move {
        while let Some(Some(node)) = stop.run_until_cancelled(nodes.recv()).await {
            announcer.dht().hear_of(node).await;
        }
    }
}

impl Swarms {
    /// Our node of the DHT, if we take part.
    #[must_use]
    pub fn dht(&self) -> Option<Arc<Dht>> {
        self.announcer.as_ref().map(|announcer| announcer.dht())
    }

    /// Answers for our node of the DHT until it is stopped: starts another one if it has ended, and
    /// is an error when it ends. Dropping this stops the node.
    pub fn tend_dht(
        &self,
        stop: CancellationToken,
    ) -> impl Future<Output = Result<(), DhtEnded>> + Send + use<> {
        let (announcer, options) = (self.announcer.clone(), self.options.dht.clone());
        let (listen, store) = (self.listen(), Arc::clone(&self.store));
        async move {
            let (Some(announcer), Some(options)) = (announcer, options) else {
                stop.cancelled().await;
                return Ok(());
            };
            if announcer.dht().has_ended() {
                announcer.replace_dht(start(&options, listen, &store)?);
            }
            let node = Answerable(announcer.dht());
            tokio::select! {
                () = stop.cancelled() => {
                    node.0.stop().await;
                    Ok(())
                }
                () = node.0.ended() => Err(DhtEnded::Broken),
            }
        }
    }

    /// Looks in the DHT for the torrents that carry an OFF URL, again and again until the receiver
    /// is dropped. Each is told once. What is told is somebody's word, who knows the URL.
    #[must_use]
    pub fn records(&self, descriptor: BlockId) -> mpsc::Receiver<Record> {
        let (found, records) = mpsc::channel(MAX_RECORDS);
        if let Some(announcer) = &self.announcer {
            let announcer = Arc::clone(announcer);
            self.tasks.spawn(async move {
                let closed = found.clone();
                tokio::select! {
                    () = look_for_records(&announcer, descriptor, found) => {}
                    () = closed.closed() => {}
                }
            });
        }
        records
    }
}

async fn look_for_records(announcer: &Announcer, descriptor: BlockId, found: mpsc::Sender<Record>) {
    let (mut told, mut pause) = (Vec::new(), LONELY_SEARCH_FIRST / 2);
    while told.len() < MAX_RECORDS {
        let began = Instant::now();
        let mut records = Records::search(&announcer.dht(), descriptor, unix()).await;
        while let Some((record, _)) = records.next().await {
            if told.contains(&record.infohash) || told.len() >= MAX_RECORDS {
                continue;
            }
            debug!(blocks = record.blocks, "the DHT names a torrent");
            told.push(record.infohash);
            if found.send(record).await.is_err() {
                return;
            }
        }
        tokio::time::sleep((began + pause).saturating_duration_since(Instant::now())).await;
        pause = (pause * 2).min(LONELY_SEARCH_LAST).max(Duration::from_secs(1));
    }
    // What was found is all that is followed; the channel stays open.
    found.closed().await;
}
