//! Connections: how many there are, how long they may take, and how they end.
//!
//! A connection is accepted only when there is room for it. The head of a request has a bound in
//! bytes, lines and time (431, or the connection ends), a body and an answer one on how long nothing
//! may move. A request with two lengths is 400; one with a length and `Transfer-Encoding` goes by
//! the latter and ends its connection (RFC 9112, section 6.1). A panic in a handler is a 500 and
//! the end of that connection.

use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, TRANSFER_ENCODING};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper::{StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::limits::http::{
    DRAIN_TIMEOUT, HEAD_TIMEOUT, HTTP_BUFFER_LEN, MAX_HEAD_LEN, MAX_HEADERS, MAX_HTTP_CONNECTIONS,
    STALL_TIMEOUT,
};

use super::context::Context;
use super::fault::Fault;
use super::patience::{PatientBody, PatientIo};

/// How long the server waits after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections in a row that could not be accepted, after which the server gives up: 10 s.
const ACCEPT_FAILURES: u32 = 100;

/// What the server bears of its clients.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Connections at once.
    pub connections: usize,
    /// For the head of a request, and between two.
    pub head: Duration,
    /// Without anything moving in a body or an answer.
    pub stall: Duration,
    /// For requests that are under way when the server stops.
    pub drain: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: MAX_HTTP_CONNECTIONS,
            head: HEAD_TIMEOUT,
            stall: STALL_TIMEOUT,
            drain: DRAIN_TIMEOUT,
        }
    }
}

/// The address at which a request has arrived.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrived(pub(super) SocketAddr);

/// Serves until `stop`, then lets requests end. Dropping it cuts all connections.
pub async fn serve(
    listener: TcpListener,
    context: Context,
    stop: CancellationToken,
) -> io::Result<()> {
    serve_within(listener, context, &Bounds::default(), stop).await
}

/// Like [`serve`] with other bounds.
pub async fn serve_within(
    listener: TcpListener,
    context: Context,
    bounds: &Bounds,
    stop: CancellationToken,
) -> io::Result<()> {
    let app = super::router(Context { stop: stop.clone(), ..context }, bounds.stall);
    let (tasks, cut) = (TaskTracker::new(), CancellationToken::new());
    let _guard = cut.clone().drop_guard();
    let connection = Connection { app, bounds: bounds.clone(), stop, cut: cut.clone() };
    let accepted = accept(listener, &connection, &tasks).await;
    tasks.close();
    if tokio::time::timeout(bounds.drain, tasks.wait()).await.is_err() {
        cut.cancel();
        tasks.wait().await;
    }
    accepted
}

async fn accept(
    listener: TcpListener,
    connection: &Connection,
    tasks: &TaskTracker,
) -> io::Result<()> {
    let permits = Arc::new(Semaphore::new(connection.bounds.connections));
    let mut failures = 0;
    loop {
        let permitted = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            biased;
            () = connection.stop.cancelled() => return Ok(()),
            accepted = permitted => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                failures = 0;
                tasks.spawn(connection.clone().run(stream, permit.ok()));
            }
            Err(error) if failures == ACCEPT_FAILURES => return Err(error),
            Err(error) => {
                failures += 1;
                tracing::debug!("a connection could not be accepted: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

#[derive(Clone)]
struct Connection {
    app: Router,
    bounds: Bounds,
    /// No further requests.
    stop: CancellationToken,
    /// The end, whatever is under way.
    cut: CancellationToken,
}

impl Connection {
    async fn run(self, stream: TcpStream, _permit: Option<OwnedSemaphorePermit>) {
        // Small answers should not wait for more of them; nothing depends on it.
        let _ = stream.set_nodelay(true);
        let Ok(arrived) = stream.local_addr() else { return };
        let io = TokioIo::new(PatientIo::new(stream, self.bounds.stall));
        let app = TowerToHyperService::new(self.app);
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(Arrived(arrived));
            app.call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.bounds.head)
            .max_header_size(MAX_HEAD_LEN)
            .max_headers(MAX_HEADERS)
            .max_buf_size(HTTP_BUFFER_LEN)
            .serve_connection(io, service);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            biased;
            () = self.cut.cancelled() => return,
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    () = self.cut.cancelled() => return,
                    ended = connection => ended,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!("a connection broke off: {error}");
        }
    }
}

/// Lets no body wait for ever, and no panic out.
pub(super) async fn contain(stall: Duration, request: Request, next: Next) -> Response {
    let is_chunked = request.headers().contains_key(TRANSFER_ENCODING);
    let is_latest = request.version() == Version::HTTP_11;
    let request = request.map(|body| Body::new(PatientBody::new(body, stall)));
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let panicked = answered.is_err();
    let mut response = answered.unwrap_or_else(|_| {
        let message = "the program failed on this request; its log says where";
        Fault::new(StatusCode::INTERNAL_SERVER_ERROR, message).into_response()
    });
    if panicked || (is_chunked && is_latest) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
