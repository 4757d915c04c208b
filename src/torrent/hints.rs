//! Which peers and trackers named by a link are contacted.
//!
//! A link is somebody else's word, so it must not make us knock at mail servers or call the web
//! interface of the router. What the user named himself is not filtered here. The rules are
//! libtorrent's (`no_connect_privileged_ports`, `ssrf_mitigation`): no privileged ports; a tracker
//! on this machine or a private network only at the path `/announce`.

use std::net::{IpAddr, SocketAddr};

use url::{Host, Url};

/// Whether a peer that a link names may be dialled.
#[must_use]
pub fn may_dial(peer: SocketAddr) -> bool {
    const FIRST_UNPRIVILEGED: u16 = 1024;
    let ip = peer.ip().to_canonical();
    let broadcast = ip == IpAddr::from([255, 255, 255, 255]);
    peer.port() >= FIRST_UNPRIVILEGED && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

/// Whether a tracker that a link names may be asked.
#[must_use]
pub fn may_ask(tracker: &str) -> bool {
    let Ok(url) = Url::parse(tracker) else {
        return false;
    };
    let local = match url.host() {
        Some(Host::Ipv4(ip)) => is_local(ip.into()),
        Some(Host::Ipv6(ip)) => is_local(ip.into()),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => return false,
    };
    match url.scheme() {
        "udp" => url.port().is_some(),
        "http" | "https" if local => url.path() == "/announce" && url.query().is_none(),
        "http" | "https" => true,
        _ => false,
    }
}

/// Whether an address is this machine's or a private network's.
fn is_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified()
        }
        IpAddr::V6(ip) => {
            ip.is_loopback()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
                || ip.is_unspecified()
        }
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
}
