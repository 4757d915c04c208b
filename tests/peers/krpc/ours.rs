//! A node of ours on any machine, within the test.
//!
//! It lives on a thread that has gone to the machine: what sockets that opens are there. What goes
//! over the wire is told in the words in which the node logs it.

use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};

use offswarm::id::{InfoHash, NodeId};
use offswarm::krpc::driver::{Dht, News, Options, Status};
use offswarm::krpc::machine::{Aim, Nothing, Outcome, Pong};
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::common::child::DEADLINE;
use crate::net::Machine;

/// Where it says that it speaks the native peer protocol. Nobody connects.
pub(super) const NATIVE_PORT: u16 = 7003;

/// What the node logs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

/// A node of ours. It leaves the network when this is dropped.
pub(super) struct OurNode {
    dht: Arc<Dht>,
    runtime: Handle,
    log: Log,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
    pub(super) address: SocketAddr,
}

/// What came of a search.
pub(super) struct Found {
    pub(super) news: Vec<News>,
    pub(super) outcome: Outcome,
}

impl OurNode {
    pub(super) fn start(machine: &Machine, listen: SocketAddr, entries: &[SocketAddr]) -> Self {
        let options = Options {
            listen: vec![listen],
            read_only: false,
            native_port: NATIVE_PORT,
            bootstrap: entries.iter().map(SocketAddr::to_string).collect(),
            known: Vec::new(),
            state: None,
            holdings: Arc::new(Nothing),
        };
        let (log, stop) = (Log::default(), CancellationToken::new());
        let (sender, started) = mpsc::channel();
        let (machine, written, stopped) = (machine.clone(), log.clone(), stop.clone());
        let thread = thread::spawn(move || {
            machine.enter();
            let logger =
                tracing_subscriber::fmt().with_ansi(false).with_writer(move || written.clone());
            let logger = logger.with_env_filter(EnvFilter::new("offswarm::krpc=trace"));
            let _logging = tracing::subscriber::set_default(logger.finish());
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let handle = runtime.handle().clone();
            runtime.block_on(async {
                let dht = Arc::new(Dht::start(options).unwrap());
                sender.send((Arc::clone(&dht), handle)).unwrap();
                stopped.cancelled().await;
                dht.stop().await;
            });
        });
        let (dht, runtime) = started.recv_timeout(DEADLINE).unwrap();
        let address = dht.addresses()[0];
        Self { dht, runtime, log, stop, thread: Some(thread), address }
    }

    /// Asks whether a node is there.
    pub(super) fn ping(&self, to: SocketAddr) -> Option<Pong> {
        self.wait_for(|dht| async move { dht.ping(to).await })
    }

    pub(super) fn search(&self, aim: Aim) -> Found {
        self.wait_for(|dht| async move {
            let mut search = dht.search(aim, Vec::new()).await;
            let mut news = Vec::new();
            while let Some(one) = search.next().await {
                news.push(one);
            }
            Found { news, outcome: search.outcome().await }
        })
    }

    /// Looks for the peers of a swarm.
    pub(super) fn peers_of(&self, infohash: InfoHash) -> Found {
        self.search(Aim::Peers { infohash, ids: Vec::new() })
    }

    pub(super) fn status(&self) -> Status {
        self.wait_for(|dht| async move { dht.status().await })
    }

    pub(super) fn id(&self) -> NodeId {
        self.status().networks[0].id
    }

    /// Whether a node at this address is in our routing table, and not as a bad one.
    pub(super) fn knows(&self, node: SocketAddr) -> bool {
        self.status().networks[0].contacts.iter().any(|contact| contact.address == node)
    }

    /// The addresses to which queries of a method went.
    pub(super) fn asked(&self, method: &str) -> Vec<SocketAddr> {
        queries(&String::from_utf8_lossy(&self.log.0.lock().unwrap()), "sent to=", method)
    }

    /// Waits for something that the node does.
    fn wait_for<T, F>(&self, what: impl FnOnce(Arc<Dht>) -> F) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let (sender, done) = mpsc::channel();
        let doing = what(Arc::clone(&self.dht));
        self.runtime.spawn(async move {
            // Who does not wait any more has failed.
            let _ = sender.send(doing.await);
        });
        done.recv_timeout(DEADLINE).expect("the node answers in time")
    }
}

/// The addresses of all queries of a method in a log, that went this way.
pub(super) fn queries(log: &str, way: &str, method: &str) -> Vec<SocketAddr> {
    // Keys are in order: what follows is either `ro` or the transaction.
    let name = format!("1:q{}:{method}", method.len());
    let names = ["1:t", "2:ro"].map(|next| format!("{name}{next}"));
    let lines = log.lines().filter(|line| names.iter().any(|name| line.contains(name)));
    let address = |line: &str| line.split_once(way)?.1.split(' ').next()?.parse().ok();
    lines.filter_map(address).collect()
}

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for OurNode {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Found {
    /// The peers that a node told of.
    pub(super) fn peers_from(&self, node: SocketAddr) -> Vec<SocketAddr> {
        let told = self.news.iter().filter_map(|news| match news {
            News::Peers { from, peers } if from.address == node => Some(peers),
            _ => None,
        });
        told.flatten().copied().collect()
    }

    /// Whether a node is among the closest that answered.
    pub(super) fn has_close(&self, node: SocketAddr) -> bool {
        self.outcome.closest.iter().any(|contact| contact.address == node)
    }

    /// The nodes that said that they are native.
    pub(super) fn natives(&self) -> Vec<SocketAddr> {
        let native = self.news.iter().filter_map(|news| match news {
            News::Native { node, .. } => Some(node.contact.address),
            _ => None,
        });
        native.collect()
    }
}
