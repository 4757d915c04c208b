//! The sockets: one for each family.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

/// Waits until a datagram has arrived; for ever without a socket.
pub(super) async fn readable(socket: Option<&UdpSocket>) {
    match socket {
        // An error shows when the socket is read.
        Some(socket) => drop(socket.readable().await),
        None => std::future::pending().await,
    }
}

/// The addresses to listen at for both families, beside a TCP port.
#[must_use]
pub fn beside(tcp: SocketAddr) -> Vec<SocketAddr> {
    if tcp.ip().is_unspecified() {
        let port = tcp.port();
        return vec![(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()];
    }
    vec![SocketAddr::new(tcp.ip().to_canonical(), tcp.port())]
}

/// A socket of one family only, so that both can have the same port.
pub(super) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}
