//! The service that answers js-offs nodes.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::spawn_blocking;

use crate::bridge::{self, Bounds};
use crate::daemon::Shared;
use crate::legacy::caller::Ourselves;
use crate::supervise::Service;

/// Where js-offs nodes are answered. They never forget an address, so the port is open as long as the
/// program runs, also while the service is started again.
pub(in crate::daemon) struct BridgePort {
    listener: StdListener,
    pub(in crate::daemon) address: SocketAddr,
}

/// Opens the port.
pub(in crate::daemon) async fn bind(asked: SocketAddr) -> io::Result<BridgePort> {
    let listener = TcpListener::bind(asked).await?.into_std()?;
    let address = listener.local_addr()?;
    Ok(BridgePort { listener, address })
}

pub(super) fn bridge(shared: &Shared, port: BridgePort) -> Service {
    let (shared, port) = (shared.clone(), Arc::new(port));
    Service::new("legacy", move |context| {
        let (shared, port) = (shared.clone(), Arc::clone(&port));
        async move {
            let listener = TcpListener::from_std(port.listener.try_clone()?)?;
            let session = shared.session()?;
            let client = session.client().clone();
            let id = spawn_blocking(move || client.legacy_id()).await??;
            let values = &shared.config.values;
            let external = values.legacy.address;
            let ourselves = Ourselves { id, port: port.address.port(), external };
            let place = session.client().take_legacy_place(ourselves);
            if values.limit.is_none() && !values.legacy.bridge.is_zero() {
                tracing::warn!(
                    "js-offs nodes get what is here only: nothing is brought into a store without a limit"
                );
            }
            let bounds = Bounds { patience: values.legacy.bridge, ..Bounds::default() };
            bridge::serve(listener, session, &place, bounds, context.stop).await;
            Ok(())
        }
    })
}
