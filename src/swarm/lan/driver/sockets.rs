//! The sockets: one ear for each family, which hears its group on all interfaces, and one mouth for
//! each interface and family.
//!
//! A mouth is bound to an address of its interface that a neighbour would take for one
//! ([`is_neighbour`]): in a network with public IPv6 addresses the system would choose one of those.
//! So an interface that has public addresses only stays silent, and what we are in is not told to
//! strangers in the same data centre. Lines from point to point have no neighbours; what lies behind
//! most of them is a provider of VPN, who need not know either. Loopback is used where nothing else
//! is there, so that programs of one machine find each other.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use if_addrs::Interface;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tracing::{debug, trace};

use crate::address::is_neighbour;
use crate::limits::lan::{LAN_HOPS, MAX_LAN_INTERFACES};
use crate::swarm::lan::message::{Group, LAN_PORT};

/// Where an interface is spoken on: its index, 0 if the system has none, and an address of ours.
type Place = (Group, u32, IpAddr);

/// What hears a group.
#[derive(Debug)]
pub(super) struct Ear {
    group: Group,
    socket: UdpSocket,
}

/// What speaks on each interface.
#[derive(Debug, Default)]
pub(super) struct Mouths(BTreeMap<Place, Socket>);

/// Waits until a datagram has arrived; for ever without a socket.
pub(super) async fn readable(ear: Option<&Ear>) {
    match ear {
        // An error shows when the socket is read.
        Some(ear) => drop(ear.socket.readable().await),
        None => std::future::pending().await,
    }
}

impl Ear {
    /// Binds the port that all clients of this machine share. It is in the group nowhere yet.
    pub(super) fn open(group: Group) -> io::Result<Self> {
        let socket = socket_of(group)?;
        socket.set_reuse_address(true)?;
        // Systems that come from BSD want both. One that knows only the former is content with it.
        #[cfg(unix)]
        let _ = socket.set_reuse_port(true);
        socket.bind(&listening(group).into())?;
        Ok(Self { group, socket: UdpSocket::from_std(socket.into())? })
    }

    /// The bytes of a datagram and where it comes from, if one has arrived.
    pub(super) fn hear(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.try_recv_from(buffer)
    }

    /// An interface that is in the group already has another address than before.
    fn join(&self, index: u32, ip: IpAddr) -> io::Result<()> {
        let joined = match ip {
            IpAddr::V4(ip) => self.socket.join_multicast_v4(Group::IPV4, ip),
            IpAddr::V6(_) => self.socket.join_multicast_v6(&Group::IPV6, index),
        };
        joined.or_else(|error| match error.kind() {
            io::ErrorKind::AddrInUse => Ok(()),
            _ => Err(error),
        })
    }

    /// An interface that has gone has left the group by itself.
    fn leave(&self, index: u32, ip: IpAddr) {
        let _ = match ip {
            IpAddr::V4(ip) => self.socket.leave_multicast_v4(Group::IPV4, ip),
            IpAddr::V6(_) => self.socket.leave_multicast_v6(&Group::IPV6, index),
        };
    }
}

impl Mouths {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Looks which interfaces there are, and uses those. One that refuses is left out until the next
    /// look.
    pub(super) fn look(&mut self, ears: &mut [Ear]) {
        let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
            debug!("cannot list the interfaces: {error}");
            Vec::new()
        });
        let places = places(&interfaces);
        for ear in ears {
            let is_gone = |place: &Place| place.0 == ear.group && !places.contains(place);
            let gone: Vec<Place> = self.0.keys().filter(|place| is_gone(place)).copied().collect();
            for (group, index, ip) in gone {
                self.0.remove(&(group, index, ip));
                ear.leave(index, ip);
            }
            for place in places.iter().filter(|place| place.0 == ear.group) {
                let (_, index, ip) = *place;
                if self.0.contains_key(place) {
                    continue;
                }
                match ear.join(index, ip).and_then(|()| mouth(*place)) {
                    Ok(socket) => drop(self.0.insert(*place, socket)),
                    Err(error) => {
                        ear.leave(index, ip);
                        debug!(%ip, "an interface has no neighbours for us: {error}");
                    }
                }
            }
        }
    }

    /// Says something to a group on all its interfaces.
    pub(super) fn say(&self, group: Group, datagram: &[u8]) {
        let to = group.address().into();
        for ((_, _, ip), socket) in self.0.iter().filter(|((of, ..), _)| *of == group) {
            match socket.send_to(datagram, &to) {
                Ok(_) => trace!(%ip, datagram = %datagram.escape_ascii(), "said"),
                Err(error) => debug!(%ip, "neighbours cannot be told: {error}"),
            }
        }
    }
}

/// On Linux only what is sent to the group arrives at a socket that is bound to it; elsewhere that
/// may not be bound, or would be the source of what is sent.
fn listening(group: Group) -> SocketAddr {
    match group {
        _ if cfg!(target_os = "linux") => group.address(),
        Group::V4 => (Ipv4Addr::UNSPECIFIED, LAN_PORT).into(),
        Group::V6 => (Ipv6Addr::UNSPECIFIED, LAN_PORT).into(),
    }
}

fn socket_of(group: Group) -> io::Result<Socket> {
    let domain = Domain::for_address(group.address());
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if group == Group::V6 {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A socket that speaks from an address of an interface. Other programs of this machine hear it.
fn mouth((group, index, ip): Place) -> io::Result<Socket> {
    let socket = socket_of(group)?;
    match ip {
        IpAddr::V4(ip) => {
            socket.set_multicast_if_v4(&ip)?;
            socket.set_multicast_ttl_v4(LAN_HOPS)?;
            socket.set_multicast_loop_v4(true)?;
            socket.bind(&SocketAddr::from((ip, 0)).into())?;
        }
        IpAddr::V6(ip) => {
            socket.set_multicast_if_v6(index)?;
            socket.set_multicast_hops_v6(LAN_HOPS)?;
            socket.set_multicast_loop_v6(true)?;
            let scope = if ip.is_unicast_link_local() { index } else { 0 };
            socket.bind(&SocketAddr::from(SocketAddrV6::new(ip, 0, 0, scope)).into())?;
        }
    }
    Ok(socket)
}

/// One place for each family and interface that has neighbours, loopback only if there is no other.
fn places(interfaces: &[Interface]) -> Vec<Place> {
    let mut found: BTreeMap<(Group, &str), (u8, Place)> = BTreeMap::new();
    for interface in interfaces.iter().filter(|one| one.is_oper_up() && !one.is_p2p()) {
        let (ip, index) = (interface.ip(), interface.index.unwrap_or(0));
        let group = if ip.is_ipv4() { Group::V4 } else { Group::V6 };
        if !is_neighbour(ip) || (group == Group::V6 && index == 0) {
            continue;
        }
        // Of several addresses the one that can be dialled from anywhere on the network.
        let candidate = (u8::from(interface.is_link_local()), (group, index, ip));
        let place = found.entry((group, &interface.name)).or_insert(candidate);
        *place = candidate.min(*place);
    }
    let all = found.into_values().map(|(_, place)| place);
    let (loopback, mut others): (Vec<_>, Vec<_>) = all.partition(|place| place.2.is_loopback());
    if others.is_empty() {
        // There is no way to an IPv6 group by loopback on Linux, and one family is enough.
        others.extend(loopback.into_iter().filter(|place| place.0 == Group::V4));
    }
    others.truncate(MAX_LAN_INTERFACES);
    others
}

#[cfg(test)]
mod tests {
    use if_addrs::{IfAddr, IfOperStatus, Ifv4Addr, Ifv6Addr};

    use super::*;

    fn interface(name: &str, index: u32, ip: &str) -> Interface {
        let addr = match ip.parse().unwrap() {
            IpAddr::V4(ip) => {
                let netmask = Ipv4Addr::UNSPECIFIED;
                IfAddr::V4(Ifv4Addr { ip, netmask, prefixlen: 24, broadcast: None })
            }
            IpAddr::V6(ip) => {
                let netmask = Ipv6Addr::UNSPECIFIED;
                IfAddr::V6(Ifv6Addr { ip, netmask, prefixlen: 64, broadcast: None })
            }
        };
        let (name, oper_status) = (name.to_owned(), IfOperStatus::Up);
        Interface { name, addr, index: Some(index), oper_status, is_p2p: false }
    }

    fn at(group: Group, index: u32, ip: &str) -> Place {
        (group, index, ip.parse().unwrap())
    }

    #[test]
    fn speaks_once_on_each_local_network_and_family() {
        let down =
            Interface { oper_status: IfOperStatus::Down, ..interface("down", 5, "192.168.5.1") };
        let line = Interface { is_p2p: true, ..interface("tun", 6, "10.8.0.2") };
        let interfaces = [
            interface("lo", 1, "127.0.0.1"),
            interface("lo", 1, "::1"),
            interface("lan", 2, "169.254.1.1"),
            interface("lan", 2, "192.168.0.9"),
            interface("lan", 2, "192.168.0.8"),
            interface("lan", 2, "2001:db8::9"),
            interface("lan", 2, "fe80::9"),
            interface("wifi", 3, "fe80::7"),
            interface("wifi", 3, "fd00::7"),
            interface("world", 4, "203.0.113.9"),
            down,
            line,
        ];
        let wanted = [
            at(Group::V4, 2, "192.168.0.8"),
            at(Group::V6, 2, "fe80::9"),
            at(Group::V6, 3, "fd00::7"),
        ];
        assert_eq!(places(&interfaces), wanted);
        assert_eq!(places(&interfaces[..2]), [at(Group::V4, 1, "127.0.0.1")]);
        assert_eq!(places(&interfaces[9..]), []);
    }
}
