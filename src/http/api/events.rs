//! What happens, as it happens: Server-Sent Events.
//!
//! | event | data | when |
//! |---|---|---|
//! | `status` | as of `/api/status` | at first, once a second while something changes, else every 5 s |
//! | `services` | the services of the status | when one of them changes |
//! | `transfer` | a transfer | at first each that runs; then as it changes, at most four times a second |
//! | `urls` | `{"reason": "added"}`, `removed`, `pinned` | the list has changed; at most once a second each |
//! | `sample` | a sample of `/api/history` | when there is a new one |
//!
//! Who listens slowly misses states in between, not the last one. A listener costs a connection;
//! there are so many at most.

use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::client::session::Event as Told;
use crate::http::Context;

use super::answers::{Asked, Failure, Nothing};
use super::kept::{Kept, MAX_LISTENERS};
use super::meter::{Sample, is_running};
use super::status::{self, ServiceShown, Status};
use super::transfers;

/// How often what has changed is told.
const BEAT: Duration = Duration::from_millis(250);

/// How often the status is told while it changes, and the list of URLs.
const SECOND: Duration = Duration::from_secs(1);

/// How often the status is told though nothing changes.
const CALM: Duration = Duration::from_secs(5);

/// After how long a silent connection gets a comment, so that nobody takes it for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) async fn events(
    State(context): State<Context>,
    Extension(kept): Extension<Kept>,
    Asked(Nothing {}): Asked<Nothing>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    let Ok(place) = kept.listeners.clone().try_acquire_owned() else {
        let message = format!("{MAX_LISTENERS} listen already, and no more can");
        return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, message)
            .hint("close other pages of this program"));
    };
    let listener = Listener::new(context, kept, place);
    let stream = futures_util::stream::unfold(listener, |mut listener| async move {
        let event = listener.next().await?;
        Some((Ok(event), listener))
    });
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE).text("still here");
    Ok(Sse::new(stream).keep_alive(keep_alive))
}

struct Listener {
    context: Context,
    kept: Kept,
    heard: broadcast::Receiver<Told>,
    samples: watch::Receiver<Option<Sample>>,
    beat: Interval,
    /// Transfers that have changed.
    changed: BTreeSet<u64>,
    /// How the list of URLs has changed.
    urls: BTreeSet<&'static str>,
    urls_told: Option<Instant>,
    status: Option<(Instant, Status)>,
    services: Vec<ServiceShown>,
    /// Told next.
    ready: VecDeque<Event>,
    last_id: u64,
    _place: OwnedSemaphorePermit,
}

#[derive(Serialize)]
struct UrlsChanged {
    reason: &'static str,
}

impl Listener {
    fn new(context: Context, kept: Kept, place: OwnedSemaphorePermit) -> Self {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut samples = context.meter.samples();
        samples.mark_unchanged();
        let heard = context.session.events();
        let mut listener = Self {
            services: status::services(&context),
            context,
            kept,
            heard,
            samples,
            beat,
            changed: BTreeSet::new(),
            urls: BTreeSet::new(),
            urls_told: None,
            status: None,
            ready: VecDeque::new(),
            last_id: 0,
            _place: place,
        };
        listener.note_all();
        listener
    }

    /// What is told next; `None` when the program stops.
    async fn next(&mut self) -> Option<Event> {
        let stop = self.context.stop.clone();
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            tokio::select! {
                () = stop.cancelled() => return None,
                told = self.heard.recv() => match told {
                    Ok(Told::Transfer(id)) => _ = self.changed.insert(id),
                    Ok(Told::Urls(how)) => _ = self.urls.insert(how),
                    Err(RecvError::Lagged(_)) => {
                        self.note_all();
                        self.urls.extend(["added", "removed", "pinned"]);
                    }
                    Err(RecvError::Closed) => return None,
                },
                _ = self.beat.tick() => self.beat().await,
            }
        }
    }

    /// Whatever was missed, the transfers under way are told anew.
    fn note_all(&mut self) {
        let running = self.context.session.transfers().into_iter().filter(is_running);
        self.changed.extend(running.map(|transfer| transfer.id));
    }

    async fn beat(&mut self) {
        let now = Instant::now();
        self.tell_status(now).await;
        self.tell_services();
        for id in std::mem::take(&mut self.changed) {
            if let Some(transfer) = self.context.session.transfer(id) {
                let shown = transfers::show(&self.context, &self.kept, transfer).await;
                self.tell("transfer", &shown);
            }
        }
        let is_due = |told: Option<Instant>| told.is_none_or(|told| now - told >= SECOND);
        if !self.urls.is_empty() && is_due(self.urls_told) {
            self.urls_told = Some(now);
            for reason in std::mem::take(&mut self.urls) {
                self.tell("urls", &UrlsChanged { reason });
            }
        }
        // An error means that the meter is gone, and then there is no news either.
        if self.samples.has_changed().unwrap_or(false) {
            let sample = *self.samples.borrow_and_update();
            if let Some(sample) = sample {
                self.tell("sample", &sample);
            }
        }
    }

    async fn tell_status(&mut self, now: Instant) {
        let age = self.status.as_ref().map_or(CALM, |(told, _)| now - *told);
        if age < SECOND {
            return;
        }
        // What cannot be told now may be told later; the request for it says why.
        let Ok(status) = status::look(&self.context, &self.kept).await else { return };
        let is_same = self.status.as_ref().is_some_and(|(_, before)| status.is_as(before));
        if age >= CALM || !is_same {
            self.tell("status", &status);
            self.status = Some((now, status));
        }
    }

    fn tell_services(&mut self) {
        let services = status::services(&self.context);
        if services != self.services {
            self.tell("services", &services);
            self.services = services;
        }
    }

    fn tell(&mut self, what: &'static str, told: &impl Serialize) {
        let Ok(text) = serde_json::to_string(told) else { return };
        self.last_id += 1;
        let event = Event::default().event(what).id(self.last_id.to_string()).data(text);
        self.ready.push_back(event);
    }
}
