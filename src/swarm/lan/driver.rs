//! Local peer discovery on the network: one task that has the sockets.
//!
//! Swarms are announced and withdrawn without waiting. The machine is shared behind a lock that
//! nobody holds while he waits; the task sends what the machine says and hands on the peers it
//! tells of. Peers that nobody fetches are dropped, and so are datagrams that the system does not
//! take, as the network might have.

mod sockets;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::machine::Machine;
use super::message::Group;
use crate::id::InfoHash;
use crate::limits::lan::{
    LAN_FOUND_WAITING, LAN_LOOK_EVERY, LAN_READ_AT_ONCE, MAX_LAN_DATAGRAM_LEN,
};

use sockets::{Ear, Mouths, readable};

/// A peer on the same network, and the swarm it is in. That is somebody's word.
pub type Found = (InfoHash, SocketAddr);

/// Our part in local peer discovery. Dropping it ends it.
#[derive(Debug)]
pub struct Lan {
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Shared {
    machine: Mutex<Machine>,
    /// Something is due that was not.
    changed: Notify,
}

impl Shared {
    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lan {
    /// Opens the sockets on all local networks, for peers that connect to a TCP port of ours, until
    /// `stop` is cancelled. It has to be called within a tokio runtime.
    ///
    /// Peers come by the receiver, which holds [`LAN_FOUND_WAITING`]. None if no interface can be
    /// used, which is logged: this machine must do without then.
    #[must_use]
    pub fn start(port: u16, stop: &CancellationToken) -> Option<(Self, mpsc::Receiver<Found>)> {
        let mut ears: Vec<Ear> = Vec::new();
        for group in Group::ALL {
            match Ear::open(group) {
                Ok(ear) => ears.push(ear),
                Err(error) => warn!("cannot hear neighbours at {}: {error}", group.address()),
            }
        }
        let mut mouths = Mouths::default();
        mouths.look(&mut ears);
        if mouths.is_empty() {
            warn!(
                "no interface is on a local network that carries multicast; no neighbours are found"
            );
            return None;
        }
        let machine = Mutex::new(Machine::new(port, rand::random(), Instant::now()));
        let shared = Arc::new(Shared { machine, changed: Notify::new() });
        let (send_found, found) = mpsc::channel(LAN_FOUND_WAITING);
        let (stop, tasks) = (stop.child_token(), TaskTracker::new());
        let task = Task { shared: Arc::clone(&shared), ears, mouths, found: send_found };
        tasks.spawn(stop.clone().run_until_cancelled_owned(task.run()));
        tasks.close();
        Some((Self { shared, stop, tasks }, found))
    }

    /// We are in a swarm: neighbours hear of it now and every five minutes, and those of it are told
    /// from now on. Announcing it twice is the same as once. False if it is one too many
    /// ([`MAX_LAN_SWARMS`](crate::limits::lan::MAX_LAN_SWARMS)).
    #[must_use]
    pub fn announce(&self, infohash: InfoHash) -> bool {
        let taken = self.shared.machine().announce(infohash, Instant::now());
        self.shared.changed.notify_one();
        taken
    }

    /// We have left a swarm, however often it was announced.
    pub fn withdraw(&self, infohash: &InfoHash) {
        self.shared.machine().withdraw(infohash);
    }

    /// Ends it, and waits until that is done.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The task that has the sockets.
struct Task {
    shared: Arc<Shared>,
    ears: Vec<Ear>,
    mouths: Mouths,
    found: mpsc::Sender<Found>,
}

impl Task {
    async fn run(mut self) {
        // One byte more shows that a datagram is too long.
        let mut buffer = [0; MAX_LAN_DATAGRAM_LEN + 1];
        let mut look = tokio::time::interval(LAN_LOOK_EVERY);
        look.tick().await;
        let shared = Arc::clone(&self.shared);
        loop {
            self.say();
            let now = Instant::now();
            let next = shared.machine().next(now).unwrap_or(now + LAN_LOOK_EVERY);
            tokio::select! {
                () = readable(self.ears.first()) => self.hear(0, &mut buffer),
                () = readable(self.ears.get(1)) => self.hear(1, &mut buffer),
                () = shared.changed.notified() => {}
                () = tokio::time::sleep_until(next.into()) => {}
                _ = look.tick() => self.mouths.look(&mut self.ears),
            }
        }
    }

    fn say(&self) {
        let now = Instant::now();
        loop {
            let Some(announce) = self.shared.machine().poll(now) else { return };
            for group in Group::ALL {
                self.mouths.say(group, &announce.encode(group));
            }
        }
    }

    fn hear(&self, ear: usize, buffer: &mut [u8]) {
        let Some(ear) = self.ears.get(ear) else { return };
        for _ in 0..LAN_READ_AT_ONCE {
            // An error but this one is about a datagram of ours; the next one is read.
            let heard = match ear.hear(buffer) {
                Ok(heard) => heard,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => continue,
            };
            let (length, from) = heard;
            let datagram = buffer.get(..length).unwrap_or_default();
            tracing::trace!(%from, datagram = %datagram.escape_ascii(), "heard");
            let told = self.shared.machine().hear(from, datagram, Instant::now());
            for found in told {
                let _ = self.found.try_send(found);
            }
        }
    }
}
