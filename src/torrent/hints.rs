//! Which peers, trackers and web seeds named by strangers are contacted.
//!
//! A link is somebody else's word, so it must not make us knock at mail servers or call the web
//! interface of the router. What the user named himself is not filtered here. The rules are
//! libtorrent's (`no_connect_privileged_ports`, `ssrf_mitigation`): no privileged ports; a tracker
//! on this machine or a private network only at the path `/announce`; a web seed there only
//! without a query string. Link-local addresses, where clouds keep the credentials of their
//! machines, and addresses that are nobody's are never asked.
//!
//! These are the rules of the text. Names are resolved and held to the same rules where they are
//! connected to, in `swarm::guard`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use url::{Host, Url};

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

/// Whether a tracker that a link names may be asked.
#[must_use]
pub fn may_ask(tracker: &str) -> bool {
    let Ok(url) = Url::parse(tracker) else {
        return false;
    };
    match (url.scheme(), host_reach(&url)) {
        (_, Some(Reach::Nowhere)) => false,
        ("udp", _) => url.has_host() && url.port().is_some_and(|port| port != 0),
        ("http" | "https", Some(Reach::Local)) => {
            url.path() == "/announce" && url.query().is_none()
        }
        ("http" | "https", _) => true,
        _ => false,
    }
}

/// Whether a web seed that a link or a torrent names may be asked.
#[must_use]
pub fn may_fetch(web_seed: &str) -> bool {
    let Ok(url) = Url::parse(web_seed) else {
        return false;
    };
    match (url.scheme(), host_reach(&url)) {
        (_, Some(Reach::Nowhere)) => false,
        ("http" | "https", Some(Reach::Local)) => url.query().is_none(),
        ("http" | "https", _) => true,
        _ => false,
    }
}

/// How far away the host of a URL is, if its text alone tells: an address, or `localhost`.
#[must_use]
pub fn host_reach(url: &Url) -> Option<Reach> {
    // The host of a `udp:` URL is not parsed as that of an `http:` one, where 0x7f.1 is loopback.
    match Host::parse(url.host_str()?).ok()? {
        Host::Ipv4(ip) => Some(reach(ip.into())),
        Host::Ipv6(ip) => Some(reach(ip.into())),
        Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            (name == "localhost" || name.ends_with(".localhost")).then_some(Reach::Local)
        }
    }
}

/// How far away the owner of an address is.
#[must_use]
pub fn reach(ip: IpAddr) -> Reach {
    match ip.to_canonical() {
        IpAddr::V4(ip) => reach_v4(ip),
        IpAddr::V6(ip) => reach_v6(ip),
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
    fn asks_local_trackers_only_at_the_path_of_trackers() {
        for good in [
            "http://tracker.example/x?key=1",
            "https://t.example/announce",
            "udp://t.example:80",
            "udp://127.0.0.1:6969",
            "http://127.0.0.1:6969/announce",
            "http://localhost:6969/announce",
        ] {
            assert!(may_ask(good), "{good}");
        }
        for bad in [
            "file:///etc/passwd",
            "ftp://t.example/",
            "gopher://t/",
            "nonsense",
            "udp://t.example",
            "udp://t.example:0",
            "udp://169.254.1.1:80",
            "http://169.254.169.254/announce",
            "http://127.0.0.1/admin",
            "http://192.168.0.1/announce?reboot=1",
            "http://[::1]/x",
            "http://169.254.169.254/latest/meta-data",
            "http://x.localhost/x",
            "http://0.0.0.0/x",
            "http://[::ffff:10.0.0.1]/x",
        ] {
            assert!(!may_ask(bad), "{bad}");
        }
    }

    #[test]
    fn asks_local_web_seeds_only_without_a_query() {
        for good in [
            "http://seed.example/x?key=1",
            "https://seed.example/files/",
            "http://192.168.0.7/files/x.off",
            "http://localhost:8000/x.off",
        ] {
            assert!(may_fetch(good), "{good}");
        }
        for bad in [
            "udp://seed.example:80/",
            "file:///etc/passwd",
            "ftp://seed.example/x",
            "http://192.168.0.1/set?dns=1",
            "http://127.1/x?y",
            "http://2130706433/x?y",
            "http://169.254.169.254/latest/",
            "http://[fd00:ec2::254]/latest/",
            "http://0.0.0.0/x",
            "http://localhost./x?y",
        ] {
            assert!(!may_fetch(bad), "{bad}");
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
}
