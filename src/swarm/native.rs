//! Native peers: where they are found.
//!
//! Those the user names, those on the local network if the user wants that, those that peers name to
//! each other, and those in the DHT: first the nodes that are announced as holders of an OFF URL, then
//! any native node.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::announce::dht::{Announcer, say_that_we_are_native};
use super::lan::driver::Lan;
use super::session::Swarms;
use crate::id::{BlockId, InfoHash};
use crate::krpc::driver::News;
use crate::krpc::machine::Aim;
use crate::krpc::rendezvous::url_swarm;
use crate::limits::dht::{LONELY_SEARCH_FIRST, LONELY_SEARCH_LAST};
use crate::peer::native::natives::{Natives, Needed};

/// When we first ask how popular our blocks are: peers are not known before.
const MINGLE_FIRST: Duration = Duration::from_secs(60);

/// How often we ask: what others store changes slowly.
const MINGLE_EVERY: Duration = Duration::from_secs(3600);

/// How long neighbours take to answer on the local network.
const NEIGHBOURS: Duration = Duration::from_secs(1);

/// How long it takes to meet some peers.
const MEETING: Duration = Duration::from_secs(5);

/// Where native peers may be found besides in the DHT.
#[derive(Debug, Clone, Default)]
pub struct NativeOptions {
    /// Peers that the user names.
    pub peers: Vec<SocketAddr>,
    /// Whether they are looked for on the local network.
    pub lan: bool,
    /// We stay: other nodes are met for what they know of our blocks though nothing is fetched.
    pub stays: bool,
}

/// Looks for native peers on the local network, and lets itself be found there, until it is stopped.
pub(super) fn meet_neighbours(
    natives: &Arc<Natives>,
    port: u16,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send + use<> {
    let started = Lan::start(port, &stop);
    let natives = Arc::clone(natives);
    async move {
        let Some((lan, mut found)) = started else { return };
        if !lan.announce(InfoHash::native()) {
            return;
        }
        let mut met: Option<Needed> = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                found = found.recv() => {
                    let Some((_, peer)) = found else { break };
                    natives.add_peers([peer], false);
                    // A newcomer may not hear our answer before a minute is over, so it is called on.
                    met = Some(natives.need());
                }
                () = tokio::time::sleep(MEETING), if met.is_some() => met = None,
            }
        }
        lan.stop().await;
    }
}

/// Asks native peers now and then how much they use our blocks, until it is stopped.
pub(super) async fn mingle(natives: Arc<Natives>, stop: CancellationToken) {
    let go_on = async {
        let mut pause = MINGLE_FIRST;
        loop {
            tokio::time::sleep(pause).await;
            pause = MINGLE_EVERY;
            let needed = natives.need();
            // As long as dialling and greeting take.
            tokio::time::sleep(MEETING).await;
            natives.ask_how_popular().await;
            drop(needed);
        }
    };
    let _ = stop.run_until_cancelled(go_on).await;
}

/// A search for native peers. Dropping it ends it.
#[derive(Debug)]
pub struct Looking {
    _stop: DropGuard,
    asked: watch::Receiver<bool>,
}

impl Looking {
    /// Whether those have been asked who know the holders of the URL, so that who was not found yet
    /// may not be there.
    #[must_use]
    pub fn has_asked(&self) -> bool {
        *self.asked.borrow()
    }
}

impl Swarms {
    /// The native peers.
    #[must_use]
    pub const fn natives(&self) -> &Arc<Natives> {
        &self.natives
    }

    /// Meets native peers until it is stopped: on the local network if the user wants that, and if we
    /// stay, those that may know how much our blocks are used; and says in the DHT that we are one.
    pub fn tend_natives(&self, stop: CancellationToken) -> impl Future<Output = ()> + Send + use<> {
        let (natives, options) = (Arc::clone(&self.natives), &self.options);
        let port = self.listen().port();
        let lan = options.native.lan.then(|| meet_neighbours(&natives, port, stop.clone()));
        let mingling = options.native.stays.then(|| mingle(Arc::clone(&natives), stop.clone()));
        let stays = options.dht.as_ref().is_some_and(|dht| dht.stays);
        let saying = self.announcer.clone().filter(|_| stays).map(|announcer| {
            let found = move |peers| natives.add_peers(peers, false);
            say_that_we_are_native(announcer, found, stop.clone())
        });
        async move {
            tokio::join!(if_any(lan), if_any(mingling), if_any(saying));
            // Where there is nothing to be done this has not failed.
            stop.cancelled().await;
        }
    }

    /// Looks for native peers in the DHT, again and again: for those that hold the blocks of an OFF
    /// URL, if one is given, then for others.
    #[must_use]
    pub fn look_for_natives(&self, descriptor: Option<BlockId>) -> Looking {
        let stop = CancellationToken::new();
        let (asked, is_asked) =
            watch::channel(self.announcer.is_none() && !self.options.native.lan);
        if let Some(announcer) = &self.announcer {
            let (announcer, natives) = (Arc::clone(announcer), Arc::clone(&self.natives));
            let stop = stop.clone();
            self.tasks.spawn(async move {
                let look = look_again(&announcer, &natives, descriptor, &asked);
                stop.run_until_cancelled(look).await;
            });
        } else if self.options.native.lan {
            let stop = stop.clone();
            self.tasks.spawn(async move {
                stop.run_until_cancelled(tokio::time::sleep(NEIGHBOURS)).await;
                asked.send_replace(true);
            });
        }
        Looking { _stop: stop.drop_guard(), asked: is_asked }
    }
}

/// Waits for a future, if there is one.
pub(super) async fn if_any(future: Option<impl Future<Output = ()>>) {
    if let Some(future) = future {
        future.await;
    }
}

async fn look_again(
    announcer: &Announcer,
    natives: &Natives,
    descriptor: Option<BlockId>,
    asked: &watch::Sender<bool>,
) {
    let mut pause = LONELY_SEARCH_FIRST;
    loop {
        let began = Instant::now();
        if let Some(descriptor) = descriptor {
            let found = |peers| natives.add_peers(peers, false);
            announcer.look(url_swarm(&descriptor), found).await;
        }
        asked.send_replace(true);
        look_for_any(announcer, natives).await;
        tokio::time::sleep_until((began + pause).into()).await;
        pause = (pause * 2).min(LONELY_SEARCH_LAST);
    }
}

/// Looks for native nodes, whatever they hold: those that are announced, and those that show
/// themselves on the way there.
async fn look_for_any(announcer: &Announcer, natives: &Natives) {
    let aim = Aim::Peers { infohash: InfoHash::native(), ids: Vec::new() };
    let mut search = announcer.dht().search(aim, Vec::new()).await;
    while let Some(news) = search.next().await {
        match news {
            News::Peers { peers, .. } => natives.add_peers(peers, false),
            News::Native { node, .. } => natives.add_peers(node.peer, false),
            News::Item(_) => {}
        }
    }
}
