//! The HTTP client for addresses that strangers name.
//!
//! Links, torrents, trackers and redirects are somebody else's word. They must not make this
//! machine call what only it can reach: the web interface of the router, a service on loopback,
//! the metadata service of a cloud (server-side request forgery). So
//!
//! * only `http` and `https` are spoken;
//! * the text of a URL passes the rules of [`hints`] first, at each redirect again;
//! * a name is resolved once, and the connection goes to just the addresses that were checked: a
//!   name that a stranger gave leads into the world or nowhere, whatever its owner makes of it
//!   between two look-ups;
//! * a redirect never leads from the world to a local address, and at most five are followed;
//! * no answer is decompressed, and the reader says how many bytes it takes;
//! * there is a deadline for the connection, the headers and each pause of the body.
//!
//! A web seed's connection is used for the next range as well; a request that fails on one is made
//! once more. A tracker's is closed: it would be idle for half an hour.
//!
//! What the user named himself is not filtered, and may lead anywhere by a redirect to its own
//! host; a redirect to another host is a stranger's word again. No proxy is used: it would resolve
//! names by itself.
//!
//! Plain HTTP works where no certificates are installed: the TLS side is built when first needed.
//! Errors name a server without path and query, where trackers keep passkeys.

mod error;
mod scope;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONNECTION, LOCATION, RANGE};
use reqwest::{Client, Response};
use tokio::time::timeout;
use url::Url;

pub(super) use error::server;
pub use error::{GuardError, Refusal};
pub use scope::{Origin, Purpose};

use error::failure;
use scope::{Resolver, Scope};

use super::tracker::udp::machine::Connections;
use crate::address::{Reach, reach};
use crate::limits::{HTTP_CONNECT_TIMEOUT, HTTP_HEADERS_TIMEOUT, HTTP_IDLE_TIMEOUT, MAX_REDIRECTS};
use crate::torrent::hints;
use crate::web;

/// How long a server may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// To accept a connection.
    pub connect: Duration,
    /// From the request to the end of the headers, the connection included.
    pub headers: Duration,
    /// Between two parts of a body.
    pub idle: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: HTTP_CONNECT_TIMEOUT,
            headers: HTTP_HEADERS_TIMEOUT,
            idle: HTTP_IDLE_TIMEOUT,
        }
    }
}

/// The HTTP client. Clones share their connections.
#[derive(Clone)]
pub struct Guard {
    patience: Patience,
    clients: Arc<[Clients; 3]>,
    connections: Arc<Connections>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("patience", &self.patience).finish_non_exhaustive()
    }
}

impl Guard {
    /// A client with the usual patience.
    ///
    /// # Errors
    /// An HTTP client cannot be made at all; certificates are not needed for that.
    pub fn new() -> Result<Self, reqwest::Error> {
        Self::with_patience(Patience::default())
    }

    /// A client with a patience of its own.
    pub fn with_patience(patience: Patience) -> Result<Self, reqwest::Error> {
        let clients = |scope| Clients::new(scope, patience);
        let all = [clients(Scope::Any)?, clients(Scope::World)?, clients(Scope::Here)?];
        Ok(Self { patience, clients: Arc::new(all), connections: Arc::default() })
    }

    /// Asks for a URL, or a range of bytes of it, and follows its redirects.
    ///
    /// # Errors
    /// There is no answer. One with a status that means failure is an answer.
    pub async fn get(
        &self,
        url: &Url,
        origin: Origin,
        purpose: Purpose,
        range: Option<&Range<u64>>,
    ) -> Result<Answer, GuardError> {
        let mut url = url.clone();
        let mut scope = Scope::of(&url, origin, purpose)
            .map_err(|why| GuardError::Refused { server: server(&url), why })?;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(&url, scope, purpose, range).await?;
            let Some(to) = destination(&response, &url) else {
                let (server, idle) = (server(&url), self.patience.idle);
                return Ok(Answer { response, server, idle });
            };
            let local = response.remote_addr().is_some_and(|at| is_local(at.ip()));
            let hop = to.and_then(|to| Ok((scope.after(&url, local, &to, purpose)?, to)));
            (scope, url) = hop.map_err(|why| GuardError::Redirect { server: server(&url), why })?;
        }
        Err(GuardError::Redirect { server: server(&url), why: Refusal::TooMany })
    }

    /// The addresses of the host of a URL that may be contacted, for protocols other than HTTP.
    pub async fn resolve(&self, url: &Url, origin: Origin) -> Result<Vec<SocketAddr>, GuardError> {
        let scope = match (origin, hints::host_reach(url)) {
            (Origin::User, _) => Scope::Any,
            (Origin::Stranger, Some(Reach::Local)) => Scope::Here,
            (Origin::Stranger, _) => Scope::World,
        };
        let host = url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let found = timeout(self.patience.connect, self.clients(scope).resolver.lookup(host));
        let found = found.await.map_err(|_| GuardError::Silent {
            server: server(url),
            waited: self.patience.connect,
        })?;
        let found = found.map_err(|error| error.of(url))?;
        let port = url.port_or_known_default().unwrap_or(0);
        Ok(found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
    }

    /// The connection ids of UDP trackers.
    pub(super) fn connections(&self) -> &Connections {
        &self.connections
    }

    fn clients(&self, scope: Scope) -> &Clients {
        let [any, world, here] = &*self.clients;
        match scope {
            Scope::Any => any,
            Scope::World => world,
            Scope::Here => here,
        }
    }

    async fn send(
        &self,
        url: &Url,
        scope: Scope,
        purpose: Purpose,
        range: Option<&Range<u64>>,
    ) -> Result<Response, GuardError> {
        let client = self.clients(scope).for_url(url, self.patience)?;
        let mut request = client.get(url.clone());
        if let Some(range) = range {
            let last = range.end.saturating_sub(1);
            request = request.header(RANGE, format!("bytes={}-{last}", range.start));
        }
        let sent = async {
            match purpose {
                Purpose::Tracker => request.header(CONNECTION, "close").send().await,
                Purpose::WebSeed => web::send(request).await,
            }
        };
        let silent = |_| GuardError::Silent { server: server(url), waited: self.patience.headers };
        let sent = timeout(self.patience.headers, sent).await.map_err(silent)?;
        sent.map_err(|error| failure(error, url))
    }
}

/// An answer whose body has not been read yet.
#[derive(Debug)]
pub struct Answer {
    response: Response,
    server: String,
    idle: Duration,
}

impl Answer {
    /// The status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// A header, if it is there and text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// Bytes of the body, if they are declared.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// Who answered: scheme, host and port.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The address that answered.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.response.remote_addr()
    }

    /// The next part of the body as it arrives; `None` at its end. Cancelling loses nothing.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, GuardError> {
        let server = || self.server.clone();
        match timeout(self.idle, self.response.chunk()).await {
            Err(_) => Err(GuardError::Silent { server: server(), waited: self.idle }),
            Ok(Err(error)) => {
                Err(GuardError::Broken { server: server(), source: error.without_url() })
            }
            Ok(Ok(chunk)) => Ok(chunk),
        }
    }

    /// The whole body, which may have at most `limit` bytes.
    pub async fn body(mut self, limit: usize) -> Result<Bytes, GuardError> {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if body.len().saturating_add(chunk.len()) > limit {
                return Err(GuardError::TooLong { server: self.server, limit });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

/// The clients of one scope: connections are not shared between scopes.
struct Clients {
    resolver: Resolver,
    plain: Client,
    secure: OnceLock<Client>,
}

impl Clients {
    fn new(scope: Scope, patience: Patience) -> Result<Self, reqwest::Error> {
        // With no certificates to trust, none are looked for.
        let resolver = Resolver::new(scope);
        let plain = builder(&resolver, patience).tls_certs_only([]).build()?;
        Ok(Self { resolver, plain, secure: OnceLock::new() })
    }

    fn for_url(&self, url: &Url, patience: Patience) -> Result<&Client, GuardError> {
        if url.scheme() != "https" {
            return Ok(&self.plain);
        }
        if let Some(secure) = self.secure.get() {
            return Ok(secure);
        }
        let built = builder(&self.resolver, patience)
            .build()
            .map_err(|source| GuardError::Tls { server: server(url), source })?;
        Ok(self.secure.get_or_init(|| built))
    }
}

fn builder(resolver: &Resolver, patience: Patience) -> reqwest::ClientBuilder {
    const IDLE_CONNECTION: Duration = Duration::from_secs(30);
    web::client(patience.connect).pool_idle_timeout(IDLE_CONNECTION).dns_resolver(resolver.clone())
}

/// Where an answer redirects to, if it does.
fn destination(response: &Response, from: &Url) -> Option<Result<Url, Refusal>> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = response.headers().get(LOCATION)?;
    let to = location.to_str().ok().and_then(|to| from.join(to).ok());
    Some(to.ok_or(Refusal::Nowhere))
}

fn is_local(ip: IpAddr) -> bool {
    reach(ip) != Reach::Public
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn names_servers_without_their_secrets() {
        assert_eq!(server(&url("http://u:p@t.example:81/passkey?k=1")), "http://t.example:81");
    }

    #[tokio::test]
    async fn resolves_local_names_only_for_the_user() {
        let at = |text, origin| {
            let url = url(text);
            async move { Guard::new().unwrap().resolve(&url, origin).await }
        };
        let found = at("udp://127.0.0.1:6969", Origin::Stranger).await.unwrap();
        assert_eq!(found, ["127.0.0.1:6969".parse().unwrap()]);
        let found = at("udp://[::1]:6969", Origin::User).await.unwrap();
        assert_eq!(found, ["[::1]:6969".parse().unwrap()]);
    }
}
