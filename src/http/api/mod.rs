//! The JSON API, as `openapi.json` describes it, and what monitors ask for.
//!
//! Reading changes nothing; what changes something is a `POST` or `PUT`. Requests are read strictly:
//! a field that is not known is refused, so that nobody believes to have said something. What reads
//! the disk does so on a thread of its own.
//!
//! | file | what it answers |
//! |---|---|
//! | `status` | `/api/status`, `/api/history`, `/api/services/...`, `/healthz`, `/readyz` |
//! | `urls`, `put` | `/api/urls`, `/api/url`, `/api/publish`, `/api/put` |
//! | `transfers` | `/api/transfers`, `/api/fetch` |
//! | `network`, `store`, `settings` | `/api/swarms`, `/api/peers`, `/api/dht`; `/api/store`; `/api/config`, `/api/log` |
//! | `events`, `metrics`, `qr` | `/api/events`, `/metrics`, `/api/qr.svg` |
//! | `meter`, `kept` | what is measured all the time; what is kept between requests |
//! | `answers` | how requests are read, and what failures look like |

mod answers;
mod events;
mod kept;
pub(super) mod meter;
pub(super) mod metrics;
mod network;
mod put;
mod qr;
mod settings;
mod status;
mod store;
#[cfg(test)]
mod tests;
mod transfers;
mod urls;

use axum::extract::{DefaultBodyLimit, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, any, get, post};
use axum::{Extension, Router};

use super::Context;
use answers::{Failure, MAX_JSON_LEN};
use kept::Kept;

/// What the API is, for programs.
const OPENAPI: &str = include_str!("openapi.json");

/// Everything that is answered here.
pub(super) fn router() -> Router<Context> {
    let known =
        routes().into_iter().fold(Router::new(), |all, (path, route)| all.route(path, route));
    let unknown = ["/api", "/api/", "/api/{*rest}"];
    unknown
        .into_iter()
        .fold(known, |all, path| all.route(path, any(no_such_path)))
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(MAX_JSON_LEN))
        .layer(Extension(Kept::default()))
}

/// The paths that are known.
fn routes() -> Vec<(&'static str, MethodRouter<Context>)> {
    vec![
        ("/healthz", get(status::alive)),
        ("/readyz", get(status::ready)),
        ("/metrics", get(metrics::metrics)),
        ("/api/openapi.json", get(openapi)),
        ("/api/status", get(status::status)),
        ("/api/store", get(store::store)),
        ("/api/urls", get(urls::list)),
        ("/api/url", get(urls::look)),
        ("/api/urls/pin", post(urls::pin)),
        ("/api/urls/unpin", post(urls::unpin)),
        ("/api/urls/delete", post(urls::delete)),
        ("/api/publish", post(urls::publish)),
        // A form is stored while it comes, however long it is.
        ("/api/put", post(put::put).layer(DefaultBodyLimit::disable())),
        ("/api/fetch", post(transfers::fetch)),
        ("/api/transfers", get(transfers::list)),
        ("/api/transfers/{id}", get(transfers::look)),
        ("/api/transfers/cancel", post(transfers::cancel)),
        ("/api/transfers/clear", post(transfers::clear)),
        ("/api/swarms", get(network::swarms)),
        ("/api/peers", get(network::peers)),
        ("/api/dht", get(network::dht)),
        ("/api/config", get(settings::config)),
        ("/api/log", get(settings::log).put(settings::set_log)),
        ("/api/services/restart", post(status::restart)),
        ("/api/services/panic", post(status::panic)),
        ("/api/history", get(status::history)),
        ("/api/qr.svg", get(qr::qr)),
        ("/api/events", get(events::events)),
    ]
}

async fn openapi() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], OPENAPI)
}

async fn no_such_path(request: Request) -> Failure {
    let path = crate::id::excerpt(request.uri().path());
    Failure::not_found(format!("there is nothing at {path}"))
        .hint("GET /api/openapi.json says what there is")
}

async fn no_such_method(request: Request) -> Failure {
    let (method, path) = (request.method(), crate::id::excerpt(request.uri().path()));
    let message = format!("{method} is not possible at {path}");
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, message)
}
