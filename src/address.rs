//! Addresses on the network: how far away they are, and their compact form.
//!
//! Whom a stranger names is somebody else's word, so it must not make us knock at mail servers or
//! at machines of our own network. The rules are libtorrent's (`no_connect_privileged_ports`): no
//! privileged ports, and nobody out in the world knows who is on our networks.
//!
//! Compact (BEP 5, 7, 23, 32): the address, 4 or 16 bytes, and the port, 2 bytes, in network order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// How far away the owner of an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Somewhere in the world.
    Public,
    /// This machine or a private network.
    Local,
    /// Nobody's, a crowd's, or the link's own: metadata services of clouds live there.
    Nowhere,
}

/// Whether a peer that a link names may be dialled.
#[must_use]
pub fn may_dial(peer: SocketAddr) -> bool {
    const FIRST_UNPRIVILEGED: u16 = 1024;
    let ip = peer.ip().to_canonical();
    let broadcast = ip == IpAddr::from([255, 255, 255, 255]);
    peer.port() >= FIRST_UNPRIVILEGED && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

/// Whether a peer may be dialled that somebody at `teller` told of, a tracker or another peer:
/// who is out in the world knows nobody on our networks.
#[must_use]
pub fn may_dial_told(peer: SocketAddr, teller: IpAddr) -> bool {
    may_dial(peer) && (reach(peer.ip()) == Reach::Public || reach(teller) != Reach::Public)
}

/// How far away the owner of an address is.
#[must_use]
pub fn reach(ip: IpAddr) -> Reach {
    match ip.to_canonical() {
        IpAddr::V4(ip) => reach_v4(ip),
        IpAddr::V6(ip) => reach_v6(ip),
    }
}

/// Whether an address is one of a neighbour's, on this machine or a network that it is on: loopback,
/// private, link-local or, in IPv6, unique local. Unlike [`reach`] it leaves out networks behind a
/// carrier's translator, where strangers live, and takes in the link's own addresses, but for those
/// where clouds have their metadata services.
#[must_use]
pub fn is_neighbour(ip: IpAddr) -> bool {
    const METADATA_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
    const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe);
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            ip.is_loopback() || ip.is_private() || (ip.is_link_local() && ip != METADATA_V4)
        }
        IpAddr::V6(ip) if ip.is_unicast_link_local() => ip != METADATA_V6,
        IpAddr::V6(ip) => {
            (ip.is_loopback() || ip.is_unique_local()) && reach_v6(ip) == Reach::Local
        }
    }
}

fn reach_v4(ip: Ipv4Addr) -> Reach {
    // Alibaba's, Azure's and Oracle's ways to the host of a virtual machine.
    const METADATA: [[u8; 4]; 3] = [[100, 100, 100, 200], [168, 63, 129, 16], [192, 0, 0, 192]];
    match ip.octets() {
        octets if METADATA.contains(&octets) => Reach::Nowhere,
        [0 | 224..=255, ..] | [169, 254, ..] => Reach::Nowhere,
        // Behind a carrier's translator (RFC 6598), and laboratories (RFC 2544).
        [100, 64..=127, ..] | [198, 18 | 19, ..] | [192, 0, 0, _] => Reach::Local,
        _ if ip.is_loopback() || ip.is_private() => Reach::Local,
        _ => Reach::Public,
    }
}

fn reach_v6(ip: Ipv6Addr) -> Reach {
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        reach_v4(Ipv4Addr::new(a, b, c, d))
    };
    match ip.segments() {
        // Amazon's and Google's metadata services.
        [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254] | [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254] => {
            Reach::Nowhere
        }
        [0, 0, 0, 0, 0, 0, 0, 1]
        | [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..]
        | [0x0064, 0xff9b, 1, ..] => Reach::Local,
        // NAT64 (RFC 6052) and 6to4 (RFC 3056) lead to an IPv4 address.
        [0x0064, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => embedded(high, low),
        [0, 0, 0, 0, 0, 0, _, _] | [0xfe80..=0xfebf | 0xff00.., ..] => Reach::Nowhere,
        _ => Reach::Public,
    }
}

/// An IPv4 address, or the /64 of an IPv6 one: what one household has.
#[must_use]
pub fn household(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) if !ip.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64))
        }
        ip => ip,
    }
}

/// Writes an address in its compact form: 6 bytes for IPv4, 18 for IPv6.
pub fn put_compact(out: &mut Vec<u8>, address: SocketAddr) {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    out.extend_from_slice(&address.port().to_be_bytes());
}

/// Reads an address in its compact form: exactly 6 or 18 bytes. An IPv4 address that comes in IPv6
/// clothes is read without them, because [`put_compact`] writes it so.
#[must_use]
pub fn from_compact(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_last_chunk::<2>()?;
    Some(SocketAddr::new(ip_from_compact(ip)?.to_canonical(), u16::from_be_bytes(*port)))
}

/// Reads an address without a port: exactly 4 or 16 bytes.
#[must_use]
pub fn ip_from_compact(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok();
    v4().or_else(|| <[u8; 16]>::try_from(bytes).map(IpAddr::from).ok())
}

/// Reads addresses of one family back to back, `N` bytes each (6 or 18); what is left over at the
/// end is ignored.
pub fn all_from_compact<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = SocketAddr> + '_ {
    bytes.as_chunks::<N>().0.iter().filter_map(|one| from_compact(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dials_no_privileged_ports_and_no_crowds() {
        for good in ["203.0.113.5:6881", "127.0.0.1:40000", "[2001:db8::1]:1024"] {
            assert!(may_dial(good.parse().unwrap()), "{good}");
        }
        for bad in [
            "203.0.113.5:0",
            "203.0.113.5:22",
            "203.0.113.5:25",
            "0.0.0.0:6881",
            "224.0.0.1:6881",
            "255.255.255.255:6881",
            "[ff02::1]:6881",
            "[::]:6881",
            "[::ffff:0.0.0.0]:6881",
        ] {
            assert!(!may_dial(bad.parse().unwrap()), "{bad}");
        }
    }

    #[test]
    fn tells_our_networks_from_the_world() {
        let reach = |ip: &str| super::reach(ip.parse().unwrap());
        for ip in ["8.8.8.8", "203.0.113.5", "172.32.0.1", "2001:db8::1", "64:ff9b::808:808"] {
            assert_eq!(reach(ip), Reach::Public, "{ip}");
        }
        for ip in [
            "127.0.0.1",
            "127.255.0.9",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "::1",
            "fd12::1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:c0a8:101::1",
        ] {
            assert_eq!(reach(ip), Reach::Local, "{ip}");
        }
        for ip in [
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::127.0.0.1",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "64:ff9b::a9fe:a9fe",
        ] {
            assert_eq!(reach(ip), Reach::Nowhere, "{ip}");
        }
    }

    #[test]
    fn neighbours_are_on_this_machine_or_its_networks() {
        let near = |ip: &str| is_neighbour(ip.parse().unwrap());
        for ip in [
            "127.0.0.1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1",
            "169.254.7.7",
            "::ffff:10.0.0.1",
            "::1",
            "fd12::1",
            "fe80::1",
        ] {
            assert!(near(ip), "{ip}");
        }
        for ip in [
            "8.8.8.8",
            "172.32.0.1",
            "100.64.0.1",
            "198.18.0.1",
            "169.254.169.254",
            "224.0.0.1",
            "0.0.0.0",
            "2001:db8::1",
            "64:ff9b::a00:1",
            "2002:a00:1::1",
            "fec0::1",
            "fd00:ec2::254",
            "fe80::a9fe:a9fe",
            "ff15::efc0:988f",
            "::",
        ] {
            assert!(!near(ip), "{ip}");
        }
    }

    #[test]
    fn believes_only_neighbours_about_neighbours() {
        let told = |peer: &str, by: &str| may_dial_told(peer.parse().unwrap(), by.parse().unwrap());
        assert!(told("203.0.113.5:6881", "198.51.100.1"));
        assert!(told("203.0.113.5:6881", "127.0.0.1"));
        assert!(told("127.0.0.1:6881", "127.0.0.1"));
        assert!(told("192.168.0.9:6881", "192.168.0.1"));
        assert!(!told("127.0.0.1:6881", "198.51.100.1"));
        assert!(!told("192.168.0.9:6881", "198.51.100.1"));
        assert!(!told("[::1]:6881", "2001:db8::1"));
        assert!(!told("169.254.169.254:6881", "198.51.100.1"));
        assert!(!told("127.0.0.1:22", "127.0.0.1"));
    }

    #[test]
    fn compact_forms_give_the_address_back() {
        for text in ["203.0.113.5:6881", "[2001:db8::5]:1"] {
            let (mut bytes, address) = (Vec::new(), text.parse().unwrap());
            put_compact(&mut bytes, address);
            assert_eq!(from_compact(&bytes), Some(address));
        }
        let mut mapped = Vec::new();
        put_compact(&mut mapped, "[::ffff:203.0.113.5]:80".parse().unwrap());
        assert_eq!(mapped, b"\xcb\0\x71\x05\0\x50");
        let all: Vec<_> =
            all_from_compact::<6>(b"\x7f\0\0\x01\x1a\xe1\xcb\0\x71\x05\0\x50x").collect();
        assert_eq!(all, ["127.0.0.1:6881".parse().unwrap(), "203.0.113.5:80".parse().unwrap()]);
        assert_eq!(from_compact(b"12345"), None);
    }
}
