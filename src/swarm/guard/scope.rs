//! Which addresses a request may go to: the rules, without a connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use lru::LruCache;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Url;

use super::error::Refusal;
use crate::address::{Reach, reach};
use crate::limits::{MAX_RESOLVED, RESOLVED_LIFE};
use crate::torrent::hints;

/// Who named an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The user, on the command line or in the configuration: not filtered.
    User,
    /// A link, a torrent, a tracker: filtered.
    Stranger,
}

/// What a server is asked as: which rules of [`hints`] apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// As a tracker.
    Tracker,
    /// As a web seed.
    WebSeed,
}

/// Which addresses a request may be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// All of them: the user named the host.
    Any,
    /// Those in the world.
    World,
    /// Those of this machine and its private networks, because the URL openly says so.
    Here,
}

impl Scope {
    pub(super) fn of(url: &Url, origin: Origin, purpose: Purpose) -> Result<Self, Refusal> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refusal::Scheme);
        }
        let is_allowed = || match purpose {
            Purpose::Tracker => {
                // An announce has a query: ours. The path is the rule.
                let mut bare = url.clone();
                bare.set_query(None);
                hints::may_ask(bare.as_str())
            }
            Purpose::WebSeed => hints::may_fetch(url.as_str()),
        };
        match (origin, hints::host_reach(url)) {
            (Origin::User, _) => Ok(Self::Any),
            (Origin::Stranger, _) if !is_allowed() => Err(Refusal::Rules),
            (Origin::Stranger, Some(Reach::Local)) => Ok(Self::Here),
            (Origin::Stranger, _) => Ok(Self::World),
        }
    }

    /// The scope after a redirect of a server that is on a local network or is not.
    pub(super) fn after(
        self,
        from: &Url,
        local: bool,
        to: &Url,
        purpose: Purpose,
    ) -> Result<Self, Refusal> {
        let same_host = from.host() == to.host() && matches!(to.scheme(), "http" | "https");
        if self == Self::Any && same_host {
            return Ok(self);
        }
        let next = Self::of(to, Origin::Stranger, purpose);
        let inwards = hints::host_reach(to).is_some_and(|reach| reach != Reach::Public);
        if inwards && !local {
            return Err(Refusal::Inwards);
        }
        next
    }

    pub(super) fn admits(self, ip: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::World => reach(ip) == Reach::Public,
            Self::Here => reach(ip) == Reach::Local,
        }
    }
}

/// Finds the addresses of names, those that its scope admits. Found ones are kept for a minute:
/// a catalog's announces would ask for the same name hundreds of times a second.
#[derive(Debug, Clone)]
pub(super) struct Resolver {
    scope: Scope,
    found: Arc<Mutex<LruCache<String, Found>>>,
}

#[derive(Debug, Clone)]
struct Found {
    addresses: Vec<IpAddr>,
    until: Instant,
}

/// Why a name leads nowhere.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookupError {
    #[error("its name leads to a local network")]
    Refused,
    #[error(transparent)]
    Failed(#[from] io::Error),
}

impl Resolver {
    pub(super) fn new(scope: Scope) -> Self {
        let most = NonZeroUsize::new(MAX_RESOLVED).unwrap_or(NonZeroUsize::MIN);
        Self { scope, found: Arc::new(Mutex::new(LruCache::new(most))) }
    }

    pub(super) async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, LookupError> {
        if let Some(found) = self.found().get(host)
            && Instant::now() < found.until
        {
            return Ok(found.addresses.clone());
        }
        let found = tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip());
        let found: Vec<IpAddr> = found.collect();
        let admits = |ip: &IpAddr| self.scope.admits(*ip);
        let addresses: Vec<_> = found.iter().copied().filter(admits).collect();
        if addresses.is_empty() && !found.is_empty() {
            return Err(LookupError::Refused);
        }
        let kept = Found { addresses: addresses.clone(), until: Instant::now() + RESOLVED_LIFE };
        self.found().put(host.to_owned(), kept);
        Ok(addresses)
    }

    fn found(&self) -> MutexGuard<'_, LruCache<String, Found>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let found = resolver.lookup(name.as_str()).await?;
            // A port of 0 is that of the URL.
            Ok(Box::new(found.into_iter().map(|ip| SocketAddr::new(ip, 0))) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn filters_what_strangers_name_and_nothing_else() {
        let scope = |text, origin| Scope::of(&url(text), origin, Purpose::WebSeed);
        assert_eq!(scope("http://10.0.0.1/x?y", Origin::User), Ok(Scope::Any));
        assert_eq!(scope("http://10.0.0.1/x?y", Origin::Stranger), Err(Refusal::Rules));
        assert_eq!(scope("http://10.0.0.1/x", Origin::Stranger), Ok(Scope::Here));
        assert_eq!(scope("http://localhost/x", Origin::Stranger), Ok(Scope::Here));
        assert_eq!(scope("http://seed.example/x?y", Origin::Stranger), Ok(Scope::World));
        let tracker = |text| Scope::of(&url(text), Origin::Stranger, Purpose::Tracker);
        assert_eq!(tracker("http://10.0.0.1/announce?info_hash=x"), Ok(Scope::Here));
        assert_eq!(tracker("http://10.0.0.1/reboot?info_hash=x"), Err(Refusal::Rules));
        for origin in [Origin::User, Origin::Stranger] {
            assert_eq!(scope("file:///etc/passwd", origin), Err(Refusal::Scheme));
            assert_eq!(scope("ftp://seed.example/", origin), Err(Refusal::Scheme));
        }
    }

    #[test]
    fn connects_to_no_local_address_for_a_name_of_the_world() {
        for ip in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "0.0.0.0"]
        {
            assert!(!Scope::World.admits(ip.parse().unwrap()), "{ip}");
            assert!(Scope::Any.admits(ip.parse().unwrap()), "{ip}");
        }
        assert!(Scope::World.admits("203.0.113.5".parse().unwrap()));
        assert!(Scope::Here.admits("127.0.0.1".parse().unwrap()));
        assert!(!Scope::Here.admits("169.254.169.254".parse().unwrap()));
        assert!(!Scope::Here.admits("203.0.113.5".parse().unwrap()));
    }

    #[test]
    fn follows_no_redirect_from_the_world_into_a_local_network() {
        let from = url("http://seed.example/x");
        for to in [
            "http://127.0.0.1/x",
            "http://192.168.0.1/x",
            "http://169.254.169.254/latest/",
            "http://[::1]/x",
            "http://localhost/x",
            "http://2130706433/x",
        ] {
            for scope in [Scope::World, Scope::Any] {
                let after = scope.after(&from, false, &url(to), Purpose::WebSeed);
                assert_eq!(after, Err(Refusal::Inwards), "{to}");
            }
        }
        let after = |scope: Scope, to| scope.after(&from, false, &url(to), Purpose::WebSeed);
        assert_eq!(after(Scope::World, "https://cdn.example/x?y"), Ok(Scope::World));
        assert_eq!(after(Scope::Any, "https://cdn.example/x?y"), Ok(Scope::World));
        assert_eq!(after(Scope::Any, "https://seed.example/x"), Ok(Scope::Any));
        assert_eq!(after(Scope::Any, "file:///etc/passwd"), Err(Refusal::Scheme));
    }

    #[test]
    fn lets_local_servers_redirect_to_local_ones_within_the_rules() {
        let from = url("http://127.0.0.1:8000/x");
        let after = |to| Scope::Here.after(&from, true, &url(to), Purpose::WebSeed);
        assert_eq!(after("http://127.0.0.1:9000/y"), Ok(Scope::Here));
        assert_eq!(after("http://127.0.0.1:9000/y?z"), Err(Refusal::Rules));
        assert_eq!(after("http://169.254.169.254/y"), Err(Refusal::Rules));
        assert_eq!(after("http://seed.example/y?z"), Ok(Scope::World));
    }

    #[tokio::test]
    async fn resolves_no_local_name_for_a_stranger() {
        let refused = Resolver::new(Scope::World).lookup("localhost").await;
        assert!(matches!(refused, Err(LookupError::Refused)), "{refused:?}");
        let here = Resolver::new(Scope::Here);
        for _ in 0..2 {
            assert!(here.lookup("localhost").await.unwrap().iter().all(IpAddr::is_loopback));
        }
    }
}
