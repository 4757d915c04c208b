//! The gateway: bytes of OFF URLs out, files in.
//!
//! | request | answer |
//! |---|---|
//! | `GET`, `HEAD` of an OFF URL's path and parameters | the bytes, or any ranges of them (RFC 9110, section 14) |
//! | the same of a directory | its `index.html`, else a list of what is in it; with `?ofd=raw` the JSON it is made of |
//! | the same with the path of a file in the directory after its name | that file |
//! | `/offsystem/with/<parameters>/v4/...` | the same as the OFF URL with these parameters |
//! | `PUT /v4/<name>` | stores the body: 201, its OFF URL |
//! | `PUT /offsystem` and `PUT /offsystem/` | the same as js-offs understands it: 200, its OFF URL |
//!
//! The form with the parameters in the path is for stored sites: a relative link drops what follows
//! the `?`, and with it the key. A browser that opens a page of a stored site is sent there.
//!
//! What fails before the first byte has a status and a text that says why (see [`Fault`]): 400 is no
//! OFF URL, 404 is not here and cannot be had, 502 decodes to something else than it should, 500 is
//! damaged here. What fails later ends the connection before the length that was announced is
//! reached.
//!
//! Ranges that overlap so much that they are more than the file, or that are more than
//! [`MAX_RANGES`](crate::limits::http::MAX_RANGES), are 416, as RFC 9110, section 15.5.17, has it;
//! what is no range at all is ignored.

mod body;
mod legacy;
mod listing;
mod put;
mod ranges;
mod read;
mod target;

use axum::Router;
use axum::routing::{get, put};
use hyper::StatusCode;

use super::context::Context;
use super::fault::Fault;

pub(super) fn router() -> Router<Context> {
    Router::new()
        .route("/offsystem", put(legacy::put))
        .route("/offsystem/", put(legacy::put))
        .route("/offsystem/{*path}", get(read::read))
        .route("/v4/{name}", put(put::put))
        .method_not_allowed_fallback(wrong_method)
}

async fn wrong_method() -> Fault {
    let why = "an OFF URL can be asked for with GET and HEAD; files are stored with PUT /v4/NAME";
    Fault::new(StatusCode::METHOD_NOT_ALLOWED, why)
}
