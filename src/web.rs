//! What every HTTP client of ours keeps to.
//!
//! No redirect is followed that nobody looked at, no proxy of the environment is used, and nothing is
//! decompressed: a server says where we go and how much we unpack nowhere else than its answer is read.

use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use reqwest::{Client, ClientBuilder, Error, RequestBuilder, Response, redirect};

/// How many connections to one server are kept while nothing is asked of it.
const IDLE_PER_HOST: usize = 4;

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
        .pool_max_idle_per_host(IDLE_PER_HOST)
}

/// Sends a request that has no effects, again while it goes out on connections that the server had
/// just closed.
///
/// A server may close all connections that are kept at once. Each of them takes one try, and only the
/// try after these says something of the server.
pub async fn send(request: RequestBuilder) -> Result<Response, Error> {
    for _ in 0..IDLE_PER_HOST {
        // A body that comes as a stream can be sent once.
        let Some(again) = request.try_clone() else { break };
        match again.send().await {
            Err(error) if is_stale(&error) => {}
            sent => return sent,
        }
    }
    request.send().await
}

/// Whether a connection may have been closed by the server just before it was used again.
fn is_stale(error: &Error) -> bool {
    error.is_request() && !error.is_connect() && !error.is_timeout()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Sends a request to a server that closes so many connections without an answer.
    async fn after_closed(closed: usize) -> Result<Response, Error> {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", server.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            for turn in 0..=closed {
                let (mut stream, _) = server.accept().await.unwrap();
                stream.read_exact(&mut [0; 4]).await.unwrap();
                if turn == closed {
                    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
                }
            }
        });
        let client = client(Duration::from_secs(10)).tls_certs_only([]).build().unwrap();
        let answer = send(client.get(url)).await;
        serving.abort();
        answer
    }

    #[tokio::test]
    async fn outlives_all_connections_that_are_kept() {
        for closed in [0, 1, IDLE_PER_HOST] {
            assert_eq!(after_closed(closed).await.unwrap().status(), 204, "{closed}");
        }
        assert!(is_stale(&after_closed(IDLE_PER_HOST + 1).await.unwrap_err()));
    }
}
