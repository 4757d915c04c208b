//! What every HTTP client of ours keeps to.
//!
//! No redirect is followed that nobody looked at, no proxy of the environment is used, and nothing is
//! decompressed: a server says where we go and how much we unpack nowhere else than its answer is read.

use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use reqwest::{Client, ClientBuilder, Error, redirect};

/// The beginning of a client that gives up a connection that does not come about in time.
pub fn client(connect: Duration) -> ClientBuilder {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    Client::builder()
        .user_agent(concat!("offswarm/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .http1_only()
        .connect_timeout(connect)
}

/// Whether a connection may have been closed by the server just before it was used again.
#[must_use]
pub fn is_stale(error: &Error) -> bool {
    error.is_request() && !error.is_connect() && !error.is_timeout()
}
