//! The door: who is dialled, who is let in, and which protocol is spoken with them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::id::InfoHash;
use crate::limits::MAX_PER_ADDRESS;

use super::driver::Connection;
use super::front::{SHAKE, Shared};
use super::handshake::{HANDSHAKE_LEN, Handshake, ROUTED_LEN};
use super::live::{Live, locked};
use super::native;
use super::native::natives::Natives;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);

/// The pause after a failed accept: most often there is no file descriptor left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What a connection is about.
enum Spoken {
    /// The pieces of a torrent.
    Torrent(Arc<Live>),
    /// Single blocks.
    Native(Arc<Natives>),
}

impl Spoken {
    fn infohash(&self) -> InfoHash {
        match self {
            Self::Torrent(live) => live.infohash(),
            Self::Native(_) => InfoHash::native(),
        }
    }
}

impl Shared {
    /// Dials a peer of a torrent and speaks to it: whether that was of any use.
    /// `dialling` is given back as soon as it is connected.
    pub(super) async fn dial(
        self: Arc<Self>,
        live: Arc<Live>,
        peer: SocketAddr,
        dialling: OwnedSemaphorePermit,
    ) -> bool {
        self.reach(Spoken::Torrent(live), peer, dialling).await
    }

    /// Dials somebody who may be a native peer and speaks to it: whether it is one.
    /// `dialling` is given back as soon as it is connected.
    pub(super) async fn dial_native(
        self: Arc<Self>,
        natives: Arc<Natives>,
        peer: SocketAddr,
        dialling: OwnedSemaphorePermit,
    ) -> bool {
        self.reach(Spoken::Native(natives), peer, dialling).await
    }

    async fn reach(
        self: &Arc<Self>,
        spoken: Spoken,
        peer: SocketAddr,
        dialling: OwnedSemaphorePermit,
    ) -> bool {
        if locked(&self.bans).has(peer, Instant::now()) {
            return false;
        }
        let Ok(_place) = Arc::clone(&self.places).try_acquire_owned() else { return false };
        let connected = timeout(CONNECT, TcpStream::connect(peer)).await;
        let Ok(Ok(mut stream)) = connected else { return false };
        let theirs = match timeout(SHAKE, self.shake_first(&mut stream, spoken.infohash())).await {
            Ok(Ok(Some(theirs))) if self.is_welcome(&spoken, &theirs, true) => theirs,
            _ => return false,
        };
        drop(dialling);
        self.speak(spoken, stream, theirs, peer, true).await
    }

    async fn shake_first(
        &self,
        stream: &mut TcpStream,
        infohash: InfoHash,
    ) -> std::io::Result<Option<Handshake>> {
        let _ = stream.set_nodelay(true);
        stream.write_all(&self.handshake(infohash)).await?;
        let mut bytes = [0; HANDSHAKE_LEN];
        stream.read_exact(&mut bytes).await?;
        Ok(Handshake::decode(&bytes).filter(|theirs| theirs.infohash == infohash))
    }

    fn handshake(&self, infohash: InfoHash) -> [u8; HANDSHAKE_LEN] {
        Handshake::ours(infohash, self.peer_id, self.dht.get().is_some()).encode()
    }

    /// Whether a peer is neither ourselves nor connected already.
    fn is_welcome(&self, spoken: &Spoken, theirs: &Handshake, dialled: bool) -> bool {
        theirs.peer_id != self.peer_id
            && match spoken {
                Spoken::Torrent(live) => !live.knows_peer(&theirs.peer_id),
                // Two that dial each other at once must not both hang up: both sides keep the
                // connection that the one with the greater id dialled.
                Spoken::Native(natives) => {
                    let is_better = dialled == (self.peer_id > theirs.peer_id);
                    natives.has_place_for(&theirs.peer_id, is_better.then_some(dialled))
                }
            }
    }

    async fn answer(self: Arc<Self>, mut stream: TcpStream, remote: SocketAddr) {
        let shaken = timeout(SHAKE, self.shake_second(&mut stream)).await;
        if let Ok(Ok(Some((spoken, theirs)))) = shaken
            && self.is_welcome(&spoken, &theirs, false)
        {
            self.speak(spoken, stream, theirs, remote, false).await;
        }
    }

    async fn shake_second(
        self: &Arc<Self>,
        stream: &mut TcpStream,
    ) -> std::io::Result<Option<(Spoken, Handshake)>> {
        let _ = stream.set_nodelay(true);
        let mut bytes = [0; HANDSHAKE_LEN];
        let (routed, peer_id) = bytes.split_at_mut(ROUTED_LEN);
        stream.read_exact(routed).await?;
        let infohash = routed.first_chunk().and_then(Handshake::route);
        let Some(infohash) = infohash else { return Ok(None) };
        let Some(spoken) = self.about(infohash).await else { return Ok(None) };
        // Some send their peer id only when they have seen our handshake.
        stream.write_all(&self.handshake(infohash)).await?;
        stream.read_exact(peer_id).await?;
        Ok(Handshake::decode(&bytes).map(|theirs| (spoken, theirs)))
    }

    /// What a handshake is about; `None` if that is nothing of ours.
    async fn about(self: &Arc<Self>, infohash: InfoHash) -> Option<Spoken> {
        match self.natives.get() {
            Some(natives) if infohash == InfoHash::native() => {
                Some(Spoken::Native(Arc::clone(natives)))
            }
            _ => self.find(infohash).await.map(Spoken::Torrent),
        }
    }

    async fn speak(
        self: &Arc<Self>,
        spoken: Spoken,
        stream: TcpStream,
        theirs: Handshake,
        remote: SocketAddr,
        dialled: bool,
    ) -> bool {
        let (infohash, shared) = (spoken.infohash(), Arc::clone(self));
        let (why, was_of_use) = match spoken {
            Spoken::Torrent(live) => {
                let connection = Connection { live, shared, theirs, remote, dialled };
                let (ended, was_of_use) = connection.run(stream).await;
                (Box::new(ended) as Box<dyn std::error::Error + Send>, was_of_use)
            }
            Spoken::Native(natives) => {
                let connection =
                    native::driver::Connection { natives, shared, theirs, remote, dialled };
                let (ended, speaks) = connection.run(stream).await;
                (Box::new(ended) as _, speaks)
            }
        };
        tracing::debug!(%infohash, %remote, error = &*why as &dyn std::error::Error, "peer gone");
        was_of_use
    }

    /// Ends the connection that has exchanged nothing for longest, if there is one.
    fn make_place(&self) {
        let links = self.lives().into_iter().flat_map(|live| {
            let standing = |key| live.with(|exchange| exchange.standing(key)).flatten();
            let links = live.links().into_iter();
            links.map(|(key, link)| (standing(key).unwrap_or_default(), link)).collect::<Vec<_>>()
        });
        let idle = links
            .filter(|(one, link)| one.rate_in + one.rate_out == 0 && link.remote.is_some())
            .min_by_key(|(one, _)| one.received + one.sent)
            .map(|(_, link)| link);
        match idle {
            Some(link) => link.end(),
            None => {
                let _ = self.natives.get().map(|natives| natives.make_place());
            }
        }
    }

    fn count(&self, ip: IpAddr) -> Option<Counted<'_>> {
        let mut per_address = locked(&self.per_address);
        let count = per_address.entry(ip).or_default();
        let most = if ip.is_loopback() { self.limits.max_peers } else { MAX_PER_ADDRESS };
        (*count < most).then(|| {
            *count += 1;
            Counted { shared: self, ip }
        })
    }
}

/// A connection counted for its address for as long as this lives.
struct Counted<'a> {
    shared: &'a Shared,
    ip: IpAddr,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let mut per_address = locked(&self.shared.per_address);
        if let Some(count) = per_address.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                per_address.remove(&self.ip);
            }
        }
    }
}

pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.stop.cancelled() => return,
        };
        let Ok((stream, remote)) = accepted else {
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        // A socket of IPv6 may be called over IPv4.
        let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
        if locked(&shared.bans).has(remote, Instant::now()) {
            continue;
        }
        let Ok(place) = Arc::clone(&shared.places).try_acquire_owned() else {
            shared.make_place();
            continue;
        };
        let tasks = shared.tasks.clone();
        let task_shared = Arc::clone(&shared);
        tasks.spawn(async move {
            let _place = place;
            let counting = Arc::clone(&task_shared);
            let Some(_counted) = counting.count(remote.ip()) else { return };
            let stop = task_shared.stop.clone();
            tokio::select! {
                () = task_shared.answer(stream, remote) => {}
                () = stop.cancelled() => {}
            }
        });
    }
}
