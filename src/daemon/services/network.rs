//! The services that speak with others.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::client::session::Session;
use crate::daemon::Shared;
use crate::http::run_meter;
use crate::supervise::{BoxError, Context, Service};
use crate::swarm::session::Swarms;

/// How often the DHT is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What ended that should not have.
#[derive(Debug, thiserror::Error)]
#[error("{0} ended without being told to")]
struct EndedEarly(&'static str);

/// Closes the swarms for everybody when it is dropped.
struct Closing(Session, Arc<Swarms>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.set_swarms(None);
        self.1.abandon();
    }
}

/// The port for peers, and what goes on between them and us.
pub(super) fn peers(shared: &Shared) -> Service {
    let shared = shared.clone();
    // Others have been told of the port, so it stays the same as long as the program runs.
    let place: Arc<Mutex<Option<SocketAddr>>> = Arc::default();
    let service = Service::new("peers", move |context| {
        let (shared, place) = (shared.clone(), Arc::clone(&place));
        async move {
            let session = shared.session()?;
            let mut options = shared.config.values.swarms();
            options.tended = true;
            let known = *place.lock().unwrap_or_else(PoisonError::into_inner);
            options.listen = known.or(options.listen);
            let swarms = Arc::new(session.client().swarms(&options).await?);
            place.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(swarms.listen());
            session.set_swarms(Some(Arc::clone(&swarms)));
            let closing = Closing(session.clone(), Arc::clone(&swarms));
            context.health.ready();
            tokio::select! {
                () = context.stop.cancelled() => {}
                () = swarms.ended() => return Err(EndedEarly("the port for peers").into()),
            }
            // Fetches end first, so that what has come is saved.
            session.set_swarms(None);
            swarms.stop().await;
            drop(closing);
            Ok(())
        }
    });
    service.says_ready()
}

/// Does something with the swarms that are open, and again with others when they were opened anew,
/// until it is stopped. What it does ends when its token is cancelled.
async fn with_swarms<Fut>(
    shared: &Shared,
    context: &Context,
    mut act: impl FnMut(Session, Arc<Swarms>, CancellationToken) -> Fut,
) -> Result<(), BoxError>
where
    Fut: Future<Output = Result<(), BoxError>> + Send,
{
    let session = shared.session()?;
    let mut open = session.watch_swarms();
    loop {
        let swarms = tokio::select! {
            () = context.stop.cancelled() => return Ok(()),
            swarms = open.wait_for(Option::is_some) => match swarms {
                Ok(swarms) => swarms.clone(),
                Err(_) => return Ok(()),
            },
        };
        let Some(swarms) = swarms else { continue };
        let stop = context.stop.child_token();
        let acting = act(session.clone(), swarms, stop.clone());
        tokio::pin!(acting);
        tokio::select! {
            ended = &mut acting => {
                ended?;
                if !context.stop.is_cancelled() {
                    return Err(EndedEarly("what it does").into());
                }
            }
            _ = open.changed() => {
                stop.cancel();
                acting.await?;
            }
        }
    }
}

/// Our node of the DHT.
pub(super) fn dht(shared: &Shared) -> Service {
    let shared = shared.clone();
    Service::new("dht", move |context| {
        let shared = shared.clone();
        async move {
            let health = context.health.clone();
            let act = |_: Session, swarms: Arc<Swarms>, stop: CancellationToken| {
                let health = health.clone();
                async move {
                    let tended = swarms.tend_dht(stop);
                    tokio::pin!(tended);
                    let mut looks = tokio::time::interval(LOOK_EVERY);
                    loop {
                        tokio::select! {
                            ended = &mut tended => return Ok(ended?),
                            _ = looks.tick() => match swarms.dht().map(|dht| dht.known_nodes()) {
                                None => health.degraded("no UDP port is to be had"),
                                Some(0) => health.degraded("no node of the DHT is known yet"),
                                Some(_) => health.ok(),
                            },
                        }
                    }
                }
            };
            with_swarms(&shared, &context, act).await
        }
    })
}

/// What is done for and with native peers while nothing is fetched.
pub(super) fn native(shared: &Shared) -> Service {
    let shared = shared.clone();
    Service::new("native", move |context| {
        let shared = shared.clone();
        async move {
            let act = |_: Session, swarms: Arc<Swarms>, stop| async move {
                Box::pin(swarms.tend_natives(stop)).await;
                Ok(())
            };
            with_swarms(&shared, &context, act).await
        }
    })
}

/// Announces what the catalog has.
pub(super) fn seeding(shared: &Shared) -> Service {
    let shared = shared.clone();
    Service::new("seeding", move |context| {
        let shared = shared.clone();
        async move {
            let trackers = shared.config.values.trackers.clone();
            let client = shared.session()?.client().clone();
            let came = (client.clone(), trackers.clone());
            // What came of native peers has no torrent yet.
            if let Err(error) = spawn_blocking(move || came.0.publish_what_came(&came.1)).await? {
                context.health.degraded(format!("cannot publish all that came: {error}"));
            }
            let act = |_: Session, swarms: Arc<Swarms>, stop: CancellationToken| {
                let (client, trackers) = (client.clone(), trackers.clone());
                async move { Ok(client.keep_seeding(&swarms, &trackers, &stop).await?) }
            };
            with_swarms(&shared, &context, act).await
        }
    })
}

/// Measures what goes and comes.
pub(super) fn meter(shared: &Shared) -> Service {
    let shared = shared.clone();
    Service::new("meter", move |context| {
        let shared = shared.clone();
        async move {
            run_meter(shared.session()?, Arc::clone(&shared.meter), context.stop).await;
            Ok(())
        }
    })
}
