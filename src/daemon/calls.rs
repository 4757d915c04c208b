//! Commands that other processes of the user have the daemon run.

use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::limits::MAX_COMMANDS;

use crate::supervise::Service;

use super::socket::{Door, SocketError};
use super::{Daemon, Shared};

/// Runs commands.
pub trait Commands: Send + Sync + 'static {
    /// Runs the command that a program asks for over `stream`, and returns when it has ended or the
    /// program has hung up. `stop` says that the daemon ends. It is called on a thread that may
    /// block, in the runtime of the daemon.
    fn run(&self, daemon: &Daemon, stream: UnixStream, stop: &CancellationToken);
}

/// The service that takes commands. The first start gets the socket that is open.
pub(super) fn service(shared: &Shared, door: Door) -> Service {
    let (shared, first) = (shared.clone(), Arc::new(Mutex::new(Some(door))));
    Service::new("commands", move |context| {
        let (shared, first) = (shared.clone(), Arc::clone(&first));
        async move {
            let taken = first.lock().unwrap_or_else(PoisonError::into_inner).take();
            let door = match taken {
                Some(door) => door,
                None => Door::open(&shared.home)?,
            };
            let drain = shared.config.values.drain;
            let daemon = Daemon { session: shared.session()?, shared: shared.clone() };
            Ok(answer(door, &daemon, &shared.commands, &context.stop, drain).await?)
        }
    })
}

/// Takes commands at a socket until `stop`, and then waits for those that run, but no longer than
/// `drain`: one may wait for a terminal that is suspended.
async fn answer(
    door: Door,
    daemon: &Daemon,
    commands: &Arc<dyn Commands>,
    stop: &CancellationToken,
    drain: Duration,
) -> Result<(), SocketError> {
    let (running, places) = (TaskTracker::new(), Arc::new(Semaphore::new(MAX_COMMANDS)));
    loop {
        let accepted = async {
            // Nobody closes it.
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (place, door.accept().await)
        };
        let (place, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = stop.cancelled() => break,
        };
        let stream = accepted?;
        let (daemon, commands, stop) = (daemon.clone(), Arc::clone(commands), stop.clone());
        running.spawn_blocking(move || {
            commands.run(&daemon, stream, &stop);
            drop(place);
        });
    }
    drop(door);
    running.close();
    if tokio::time::timeout(drain, running.wait()).await.is_err() {
        tracing::warn!("{} commands did not end in time", running.len());
    }
    Ok(())
}
