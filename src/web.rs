//! What every HTTP client of ours keeps to.
//!
//! No redirect is followed that nobody looked at, no proxy of the environment is used, and nothing is
//! decompressed: a server says where we go and how much we unpack nowhere else than its answer is read.

use std::error::Error as StdError;
use std::io;
use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
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

/// Whether a connection ended before the answer began: the server may have closed it just before it was
/// used again. (It may have ended within the head, too.) An answer that cannot be read is none of these.
fn is_stale(error: &Error) -> bool {
    let mut causes = std::iter::successors(error.source(), |&cause| cause.source());
    error.is_request() && !error.is_connect() && causes.any(is_end)
}

fn is_end(cause: &(dyn StdError + 'static)) -> bool {
    if let Some(error) = cause.downcast_ref::<hyper::Error>() {
        return error.is_canceled() || error.is_closed() || error.is_incomplete_message();
    }
    // The last is a TLS connection that ends without a farewell.
    let error = cause.downcast_ref::<io::Error>();
    error.is_some_and(|error| {
        matches!(error.kind(), ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// What a server does to a connection.
    #[derive(Clone, Copy)]
    enum Deed {
        /// It is closed, and data that nobody read makes that a reset.
        Reset,
        /// It ends after the request.
        End,
        /// It ends after this answer.
        Say(&'static str),
    }

    async fn serve(mut stream: TcpStream, deed: Deed) {
        if matches!(deed, Deed::Reset) {
            stream.read_exact(&mut [0; 4]).await.unwrap();
            return;
        }
        let (mut stream, mut line) = (BufReader::new(stream), String::new());
        while line != "\r\n" {
            line.clear();
            assert_ne!(stream.read_line(&mut line).await.unwrap(), 0, "a whole request");
        }
        if let Deed::Say(answer) = deed {
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    /// Sends a request to a server that does one thing after the other: what comes of it, and how many
    /// connections there were.
    async fn ask(deeds: &[Deed]) -> (Result<Response, Error>, usize) {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", server.local_addr().unwrap());
        let connections = AtomicUsize::new(0);
        let serving = async {
            for deed in deeds {
                let (stream, _) = server.accept().await.unwrap();
                connections.fetch_add(1, Ordering::SeqCst);
                serve(stream, *deed).await;
            }
            std::future::pending::<()>().await;
        };
        let client = client(Duration::from_secs(10)).tls_certs_only([]).build().unwrap();
        let answer = tokio::select! {
            answer = send(client.get(url)) => answer,
            () = serving => unreachable!("it waits for ever"),
            () = tokio::time::sleep(Duration::from_secs(30)) => panic!("nobody answers"),
        };
        (answer, connections.into_inner())
    }

    #[tokio::test]
    async fn outlives_all_connections_that_are_kept() {
        let fine = Deed::Say("HTTP/1.1 204 No Content\r\n\r\n");
        for stale in [Deed::Reset, Deed::End] {
            for count in [0, 1, IDLE_PER_HOST] {
                let deeds = [vec![stale; count], vec![fine]].concat();
                let (answer, connections) = ask(&deeds).await;
                assert_eq!((answer.unwrap().status().as_u16(), connections), (204, count + 1));
            }
            let (answer, connections) = ask(&[stale; IDLE_PER_HOST + 2]).await;
            assert!(is_stale(&answer.unwrap_err()));
            assert_eq!(connections, IDLE_PER_HOST + 1);
        }
    }

    #[tokio::test]
    async fn asks_nobody_again_who_says_nonsense() {
        for nonsense in ["SSH-2.0-x\r\n", "HTTP/1.1 two\r\n\r\n", "HTTP/1.1 200 OK\r\nA\r\n\r\n"] {
            let (answer, connections) = ask(&[Deed::Say(nonsense); 2]).await;
            assert!(answer.is_err());
            assert_eq!(connections, 1, "{nonsense}");
        }
    }
}
