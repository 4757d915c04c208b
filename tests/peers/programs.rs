//! Foreign programs: finding them, and a port for those that cannot choose one.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;

use crate::common::child::poll;

/// Where a program is. One that is missing fails the test.
#[track_caller]
pub(crate) fn program(name: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Where a service lives, a user's path does not lead.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = folders.map(|folder| folder.join(name)).find(|at| at.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing: install the Debian package {package}"))
}

/// A port of this machine that was free a moment ago, for programs that must be told one.
pub(crate) fn free_address() -> SocketAddr {
    let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    probe.local_addr().unwrap()
}

/// Waits until somebody listens.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    poll(&format!("a listener on {address}"), || TcpStream::connect(address).ok())
}
