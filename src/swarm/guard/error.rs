//! Why a server is not contacted, or its answer not there.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use url::Url;

use super::scope::LookupError;
use crate::limits::MAX_REDIRECTS;

/// Why an address is not contacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A scheme that is not spoken.
    #[error("only http and https are spoken")]
    Scheme,
    /// Against the rules of [`hints`](crate::torrent::hints).
    #[error("a stranger named it, and this address of a local network is none of his business")]
    Rules,
    /// The name has no address in the world.
    #[error("its name leads to a local network")]
    Resolved,
    /// From the world to a local network.
    #[error("that leads into a local network")]
    Inwards,
    /// Too many redirects.
    #[error("more than {MAX_REDIRECTS} redirects")]
    TooMany,
    /// A redirect without a destination that can be read.
    #[error("that is no URL")]
    Nowhere,
}

/// Why a server's answer is not there. Servers are named without path and query.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// It is not contacted at all.
    #[error("{server} is not contacted: {why}")]
    Refused {
        /// The server.
        server: String,
        /// The rule.
        why: Refusal,
    },
    /// It redirects to where we do not go.
    #[error("a redirect of {server} is not followed: {why}")]
    Redirect {
        /// The server that redirects.
        server: String,
        /// The rule.
        why: Refusal,
    },
    /// Its name is unknown.
    #[error("cannot find {server}")]
    Resolve {
        /// The server.
        server: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// HTTPS cannot be spoken, for example without installed certificates.
    #[error("cannot speak HTTPS with {server}")]
    Tls {
        /// The server.
        server: String,
        /// The reason.
        source: reqwest::Error,
    },
    /// No connection, or no sound answer.
    #[error("cannot ask {server}")]
    Connect {
        /// The server.
        server: String,
        /// The reason.
        source: reqwest::Error,
    },
    /// It does not answer, or pauses for too long.
    #[error("{server} was silent for {} s", waited.as_secs())]
    Silent {
        /// The server.
        server: String,
        /// How long.
        waited: Duration,
    },
    /// The connection broke within the answer.
    #[error("the answer of {server} broke off")]
    Broken {
        /// The server.
        server: String,
        /// The reason.
        source: reqwest::Error,
    },
    /// More than whoever asked can take.
    #[error("{server} answers with more than {limit} bytes")]
    TooLong {
        /// The server.
        server: String,
        /// Bytes that would have been taken.
        limit: usize,
    },
}

impl GuardError {
    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        match self {
            Self::Refused { .. }
            | Self::Redirect { .. }
            | Self::Tls { .. }
            | Self::TooLong { .. } => false,
            Self::Resolve { .. }
            | Self::Connect { .. }
            | Self::Silent { .. }
            | Self::Broken { .. } => true,
        }
    }
}

impl LookupError {
    pub(super) fn of(self, url: &Url) -> GuardError {
        let server = server(url);
        match self {
            Self::Refused => GuardError::Refused { server, why: Refusal::Resolved },
            Self::Failed(source) => GuardError::Resolve { server, source },
        }
    }
}

/// What went wrong before there was an answer.
pub(super) fn failure(error: reqwest::Error, url: &Url) -> GuardError {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
    while let Some(current) = cause {
        match current.downcast_ref() {
            Some(LookupError::Refused) => return LookupError::Refused.of(url),
            Some(LookupError::Failed(io)) => {
                return LookupError::Failed(io::Error::new(io.kind(), io.to_string())).of(url);
            }
            None => cause = current.source(),
        }
    }
    GuardError::Connect { server: server(url), source: error.without_url() }
}

/// A URL without path, query and credentials.
pub(in crate::swarm) fn server(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}
