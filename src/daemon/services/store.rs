//! The service that has the store open.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::spawn_blocking;

use crate::client::Client;
use crate::client::session::Session;
use crate::daemon::Shared;
use crate::store::StoreError;
use crate::supervise::{BoxError, Context, Service};

/// How often the store is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How long a look at the store may take before it counts as stuck. A disk that wakes up, or that
/// others are busy with, takes seconds.
const STUCK: Duration = Duration::from_secs(120);

/// Opens the store at each start but the first, which gets the one that is open.
pub(super) fn store(shared: &Shared, first: Client) -> Service {
    let (shared, first) = (shared.clone(), Arc::new(Mutex::new(Some(first))));
    let service = Service::new("store", move |context| {
        let (shared, first) = (shared.clone(), Arc::clone(&first));
        async move {
            let taken = first.lock().unwrap_or_else(PoisonError::into_inner).take();
            let client = match taken {
                Some(client) => client,
                None => open(&shared).await?,
            };
            tend(&shared, client, &context).await
        }
    });
    service.says_ready().watchdog(STUCK)
}

async fn open(shared: &Shared) -> Result<Client, BoxError> {
    let (home, settings) = (shared.home.clone(), shared.config.values.settings()?);
    Ok(spawn_blocking(move || Client::open(&home, &settings)).await??)
}

/// Closes the session for everybody when it is dropped.
struct Closing(Shared, Session);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.session.send_replace(None);
        // What is under way holds the store open.
        self.1.close();
    }
}

async fn tend(shared: &Shared, client: Client, context: &Context) -> Result<(), BoxError> {
    let session = Session::new(client.clone(), shared.config.values.ways());
    shared.session.send_replace(Some(session.clone()));
    let _closing = Closing(shared.clone(), session.clone());
    context.health.ready();
    resume(&session).await?;
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            () = context.stop.cancelled() => break,
            _ = looks.tick() => {
                let client = client.clone();
                match spawn_blocking(move || look(&client)).await? {
                    Ok(None) => context.health.ok(),
                    Ok(Some(reason)) => context.health.degraded(reason),
                    // Reads go on, and so does everything else that is not a put.
                    Err(error) if error.is_disk_full() => context.health.degraded("the disk is full"),
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
    Ok(spawn_blocking(move || client.store().commit()).await??)
}

/// Goes on with what was being fetched when the program ended.
async fn resume(session: &Session) -> Result<(), BoxError> {
    let resumed = session.clone();
    let count = spawn_blocking(move || resumed.resume()).await??;
    if count > 0 {
        tracing::info!("going on with {count} fetches");
    }
    Ok(())
}

/// What is wrong with the store, if something is.
fn look(client: &Client) -> Result<Option<String>, StoreError> {
    client.store().commit()?;
    let damaged = client.store().census()?.damaged;
    let hint = "check says whom that hurts, repair fetches them";
    Ok((damaged > 0).then(|| format!("{damaged} blocks are damaged: {hint}")))
}
