//! The HTTP front end: the gateway of OFF URLs, the JSON API, and the web page.
//!
//! | module | what it does |
//! |---|---|
//! | `server` | connections: how many, how long, how large |
//! | `guard` | who may ask: Host, Origin, token; the headers every answer carries |
//! | `gateway` | `/offsystem/...` and `/v4/...`: bytes of OFF URLs out, files in |
//! | `api` | `/api/...`, `/metrics`, `/healthz`, `/readyz` |
//! | `page` | the web page, embedded |
//!
//! [`serve`] runs on a listener that the caller has bound, until it is told to stop.

mod api;
mod context;
mod fault;
mod gateway;
mod guard;
mod page;
mod patience;
mod putting;
mod server;

use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use hyper::{StatusCode, Uri};

pub use api::meter::{Meter, Rates, Sample, run as run_meter};
pub use api::metrics::Metrics;
pub use context::{Access, Context, LogLevel, ServiceStatus, Services};
use fault::Fault;
pub use guard::Token;
pub use server::{Bounds, serve, serve_within};

/// Everything that can be asked for. The guard comes before all of it, also before what is not
/// there.
fn router(context: Context, stall: Duration) -> Router {
    let contain = move |request: Request, next: Next| server::contain(stall, request, next);
    Router::new()
        .merge(gateway::router())
        .merge(page::router())
        .merge(api::router())
        .fallback(nothing)
        .layer(from_fn_with_state(context.clone(), guard::admit))
        .layer(from_fn(contain))
        .layer(from_fn_with_state(context.clone(), api::metrics::count))
        .layer(from_fn(guard::finish))
        .with_state(context)
}

async fn nothing(uri: Uri) -> Fault {
    let path = crate::id::excerpt(uri.path());
    Fault::new(StatusCode::NOT_FOUND, format!("there is nothing at {path:?}"))
}
