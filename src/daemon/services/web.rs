//! The service that answers HTTP.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::daemon::log::LogFilter;
use crate::daemon::{DaemonError, Shared};
use crate::http::{self, Access, LogLevel, ServiceStatus, Services, Token};
use crate::supervise::{Board, Service, Status};

/// Where HTTP is served. The port is open as long as the program runs, so that a browser finds it
/// also while the service is started again.
pub(in crate::daemon) struct Web {
    listener: StdListener,
    pub(in crate::daemon) address: SocketAddr,
    token: Token,
}

/// Opens the port.
pub(in crate::daemon) async fn bind(asked: SocketAddr, token: String) -> Result<Web, DaemonError> {
    let failed = |source| DaemonError::Listen { address: asked, source };
    let listener =
        TcpListener::bind(asked).await.and_then(TcpListener::into_std).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Web { listener, address, token: Token::new(token) })
}

pub(super) fn http(shared: &Shared, web: Web) -> Service {
    let (shared, web) = (shared.clone(), Arc::new(web));
    Service::new("http", move |context| {
        let (shared, web) = (shared.clone(), Arc::clone(&web));
        async move {
            let listener = TcpListener::from_std(web.listener.try_clone()?)?;
            let bounds =
                http::Bounds { drain: shared.config.values.drain, ..http::Bounds::default() };
            let answering =
                http::serve_within(listener, within(&shared, &web)?, &bounds, context.stop);
            Ok(answering.await?)
        }
    })
}

/// What requests are answered from.
fn within(shared: &Shared, web: &Web) -> io::Result<http::Context> {
    let session = shared.session().map_err(io::Error::other)?;
    let config = shared.config.clone();
    let shown = move || serde_json::json!({ "file": config.file, "config": config.show() });
    Ok(http::Context {
        session,
        board: Arc::new(Watched(shared.board().ok_or_else(|| io::Error::other("no services"))?)),
        config: Arc::new(shown),
        log: Arc::new(shared.log.clone()),
        access: Access {
            token: Some(web.token.clone()),
            hosts: shared.config.values.http_hosts.clone(),
            loopback: web.address.ip().is_loopback(),
            may_inject_faults: shared.fault_injection,
        },
        started: shared.started,
        listen: web.address,
        meter: Arc::clone(&shared.meter),
        metrics: Arc::clone(&shared.metrics),
        stop: tokio_util::sync::CancellationToken::new(),
    })
}

/// The services as requests see them: those of the inner supervisor by their own names.
struct Watched(Board);

/// What stands before the names of the inner supervisor's services.
const INNER: &str = "services.";

/// The services of a board, by the names that users know.
pub(in crate::daemon) fn statuses(board: &Board) -> Vec<ServiceStatus> {
    let is_shown = |status: &Status| format!("{}.", status.name) != INNER;
    board.snapshot().into_iter().filter(is_shown).map(shown).collect()
}

fn shown(status: Status) -> ServiceStatus {
    ServiceStatus {
        name: status.name.strip_prefix(INNER).unwrap_or(&status.name).to_owned(),
        state: status.state.as_str(),
        health: status.health.as_str(),
        reason: status.health.reason().map(str::to_owned),
        restarts: status.restarts,
        last_error: status.last_error,
        since: status.since,
    }
}

impl Services for Watched {
    fn statuses(&self) -> Vec<ServiceStatus> {
        statuses(&self.0)
    }

    fn restart(&self, name: &str) -> bool {
        self.0.restart(&format!("{INNER}{name}")) || self.0.restart(name)
    }

    fn panic(&self, name: &str) -> bool {
        self.0.panic(&format!("{INNER}{name}")) || self.0.panic(name)
    }
}

impl LogLevel for LogFilter {
    fn filter(&self) -> String {
        Self::filter(self)
    }

    fn set(&self, filter: &str) -> Result<(), String> {
        Self::set(self, filter)
    }
}
