//! Which trackers and web seeds named by strangers are contacted.
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

use url::{Host, Url};

use crate::address::{Reach, reach};

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
