//! Foreign programs: finding them, and a port for those that cannot choose one.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
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

/// Ports that no program gets unless it asks for that very one: they lie below those that Linux
/// hands out to whoever wants any, so that nobody takes one between our look and its use.
const UNASSIGNED: Range<u16> = 10_000..32_000;

/// A free port of this machine, for programs that must be told one.
pub(crate) fn free_address() -> SocketAddr {
    poll("a free port", || {
        let address = (Ipv4Addr::LOCALHOST, rand::random_range(UNASSIGNED)).into();
        TcpListener::bind::<SocketAddr>(address).is_ok().then_some(address)
    })
}
