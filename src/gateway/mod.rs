//! The HTTP ports of other OFF programs, as a client: whole files by their OFF URLs.
//!
//! Two programs are known that answer `GET /offsystem/v3/<type>/<length>/<file id>/<descriptor
//! id>/<name>` with the file:
//!
//! | program | file id | where a file is not there |
//! |---|---|---|
//! | js-offs (v0.1.0) | SHA-256 | 200 with a short body, ended as if it were whole, or silence |
//! | OFFS | BLAKE3 | not relied on |
//!
//! js-offs declares no length and never compares what it sends with the file id, nor do the hashes of
//! its blocks protect it (it pads half-written ones with noise). So a [`Body`] is believed at its
//! end only, if it has just the bytes of the OFF URL and one of the two hashes makes the file id of
//! them. Its last part is kept back until then: whoever has all parts has the file.
//!
//! # What a node can do to us
//!
//! The user names the node and trusts it as far as to contact it. The host in an OFF URL is not
//! looked at, redirects are not followed, no proxy of the environment is used, and nothing is
//! decompressed. The path in an OFF URL is sent with its escapes as they are, but no part of it
//! leads elsewhere (`..`). Heads are bounded by the HTTP library (100 header lines, 400 KB), bodies
//! by the length in the OFF URL; a connection must be made within ten seconds, and each silence has
//! the caller's limit.
//!
//! Not here: what the bytes are for, and the API by which js-offs takes files.

mod wanted;

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_ENCODING, HeaderValue};
use reqwest::{Client, Response};
use tokio::time::timeout;
use url::Url;

use crate::id::{EitherFileHasher, FileHash, excerpt};
use crate::limits::http::{NODE_CONNECT_TIMEOUT, NODE_SILENCE};
use crate::off::OffUrl;
use crate::web;

pub use wanted::Wanted;

/// Why a text does not name a node.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Not the address of a web server.
    #[error(
        "\"{0}\" is no address of a node: it begins with http:// or https:// and has a host, \
         no user and no query"
    )]
    Form(String),
    /// No HTTP client can be made, for example without installed certificates.
    #[error("cannot speak with {node}")]
    Client {
        /// The node.
        node: String,
        /// The reason.
        source: reqwest::Error,
    },
}

/// Why a file did not come. A node is named without the path that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// Its URL is none that other programs know.
    #[error("{url} is not of version 3, and other programs know no other")]
    Version {
        /// The OFF URL, cut to 80 characters.
        url: String,
    },
    /// No connection, or no sound answer.
    #[error("cannot ask {node}")]
    Connect {
        /// The node.
        node: String,
        /// The reason.
        source: reqwest::Error,
    },
    /// It does not answer, or pauses for too long.
    #[error("{node} was silent for {} s ({got} of {wanted} bytes came)", waited.as_secs())]
    Silent {
        /// The node.
        node: String,
        /// How long.
        waited: Duration,
        /// Bytes that came before.
        got: u64,
        /// Bytes of the file.
        wanted: u64,
    },
    /// It says that it has no such file.
    #[error("{node} does not have the file (HTTP status {status})")]
    Absent {
        /// The node.
        node: String,
        /// Its status.
        status: u16,
    },
    /// It would have us ask elsewhere.
    #[error("{node} redirects to another address, which is not followed (HTTP status {status})")]
    Redirect {
        /// The node.
        node: String,
        /// Its status.
        status: u16,
    },
    /// Another status than that of success.
    #[error("{node} cannot give the file (HTTP status {status})")]
    Status {
        /// The node.
        node: String,
        /// Its status.
        status: u16,
    },
    /// A body that would have to be decoded.
    #[error(
        "{node} sends the file as \"{encoding}\", though only its bytes as they are were asked for"
    )]
    Encoded {
        /// The node.
        node: String,
        /// What it says of the body.
        encoding: String,
    },
    /// The connection broke within the body.
    #[error("the answer of {node} broke off ({got} of {wanted} bytes came)")]
    Broken {
        /// The node.
        node: String,
        /// Bytes that came before.
        got: u64,
        /// Bytes of the file.
        wanted: u64,
        /// The reason.
        source: reqwest::Error,
    },
    /// It ended early, which is how js-offs says that a block is missing.
    #[error("{node} does not have all of the file: it sent {got} of {wanted} bytes")]
    Short {
        /// The node.
        node: String,
        /// Bytes that came.
        got: u64,
        /// Bytes of the file.
        wanted: u64,
    },
    /// It does not end where the file does.
    #[error("{node} sends more than the {wanted} bytes of the file")]
    Long {
        /// The node.
        node: String,
        /// Bytes of the file.
        wanted: u64,
    },
    /// The right number of bytes, and they are others.
    #[error("{node} sent another file: neither SHA-256 nor BLAKE3 makes {id} of it")]
    WrongFile {
        /// The node.
        node: String,
        /// The file id in the OFF URL.
        id: String,
    },
}

/// The HTTP port of an OFF program.
#[derive(Debug, Clone)]
pub struct Node {
    base: Url,
    client: Client,
    /// How long it may be silent.
    silence: Duration,
}

impl Node {
    /// The node at an address. It may be silent for so long, by default for a day.
    pub fn new(address: &str, silence: Option<Duration>) -> Result<Self, NodeError> {
        let form = || NodeError::Form(excerpt(address));
        let base = Url::parse(address).map_err(|_| form())?;
        let is_web = matches!(base.scheme(), "http" | "https") && base.has_host();
        let is_bare = base.username().is_empty() && base.password().is_none();
        if !is_web || !is_bare || base.query().is_some() || base.fragment().is_some() {
            return Err(form());
        }
        let client =
            client(&base).map_err(|source| NodeError::Client { node: name(&base), source })?;
        Ok(Self { base, client, silence: silence.unwrap_or(NODE_SILENCE) })
    }

    /// Asks for a file, or for the list that a directory is.
    pub async fn get(&self, wanted: &Wanted) -> Result<Body, GatewayError> {
        let (node, url) = (name(&self.base), wanted.url());
        let at = wanted.at(&self.base);
        let silent = |_| {
            let (node, wanted) = (node.clone(), url.length());
            GatewayError::Silent { node, waited: self.silence, got: 0, wanted }
        };
        let asked = web::send(self.client.get(at));
        let sent = timeout(self.silence, asked).await.map_err(silent)?;
        let response = sent.map_err(|source| {
            let source = source.without_url();
            GatewayError::Connect { node: node.clone(), source }
        })?;
        check(&response, &node, url)?;
        Ok(Body {
            response,
            node,
            silence: self.silence,
            url: url.clone(),
            got: 0,
            held: None,
            hasher: EitherFileHasher::default(),
            verified: None,
        })
    }
}

/// A file as it comes.
#[derive(Debug)]
pub struct Body {
    response: Response,
    node: String,
    silence: Duration,
    url: OffUrl,
    got: u64,
    /// The last part that came.
    held: Option<Bytes>,
    hasher: EitherFileHasher,
    verified: Option<FileHash>,
}

impl Body {
    /// The next part. `None` if all have been handed out, and then they are the file.
    pub async fn next(&mut self) -> Result<Option<Bytes>, GatewayError> {
        while self.verified.is_none() {
            let Some(part) = self.receive().await? else {
                self.verified = Some(self.check()?);
                break;
            };
            if part.is_empty() {
                continue;
            }
            self.got += part.len() as u64;
            if self.got > self.url.length() {
                return Err(long(&self.node, &self.url));
            }
            self.hasher.update(&part);
            if let Some(before) = self.held.replace(part) {
                return Ok(Some(before));
            }
        }
        Ok(self.held.take())
    }

    /// By which hash the bytes are the file, once all of them have come.
    #[must_use]
    pub const fn verified(&self) -> Option<FileHash> {
        self.verified
    }

    async fn receive(&mut self) -> Result<Option<Bytes>, GatewayError> {
        let (node, got, wanted) = (self.node.clone(), self.got, self.url.length());
        match timeout(self.silence, self.response.chunk()).await {
            Err(_) => Err(GatewayError::Silent { node, waited: self.silence, got, wanted }),
            Ok(Err(source)) => {
                let source = source.without_url();
                Err(GatewayError::Broken { node, got, wanted, source })
            }
            Ok(Ok(part)) => Ok(part),
        }
    }

    fn check(&mut self) -> Result<FileHash, GatewayError> {
        let (node, wanted) = (self.node.clone(), self.url.length());
        if self.got < wanted {
            return Err(GatewayError::Short { node, got: self.got, wanted });
        }
        let id = self.url.file();
        let found = std::mem::take(&mut self.hasher).check(id);
        found.ok_or_else(|| GatewayError::WrongFile { node, id: id.to_string() })
    }
}

/// What the head of an answer says of the file.
fn check(response: &Response, node: &str, url: &OffUrl) -> Result<(), GatewayError> {
    let (node, status) = (node.to_owned(), response.status().as_u16());
    match status {
        200 => {}
        404 | 410 => return Err(GatewayError::Absent { node, status }),
        300..400 => return Err(GatewayError::Redirect { node, status }),
        _ => return Err(GatewayError::Status { node, status }),
    }
    let encoding = response.headers().get(CONTENT_ENCODING).map(HeaderValue::as_bytes);
    if let Some(encoding) = encoding.filter(|encoding| !encoding.eq_ignore_ascii_case(b"identity"))
    {
        let encoding = excerpt(&String::from_utf8_lossy(encoding));
        return Err(GatewayError::Encoded { node, encoding });
    }
    match response.content_length() {
        Some(length) if length > url.length() => Err(long(&node, url)),
        _ => Ok(()),
    }
}

fn long(node: &str, url: &OffUrl) -> GatewayError {
    GatewayError::Long { node: node.to_owned(), wanted: url.length() }
}

fn client(base: &Url) -> Result<Client, reqwest::Error> {
    let builder = web::client(NODE_CONNECT_TIMEOUT);
    // With no certificates to trust, none are looked for: plain HTTP works where none are installed.
    if base.scheme() == "https" { builder.build() } else { builder.tls_certs_only([]).build() }
}

/// Scheme, host and port.
fn name(base: &Url) -> String {
    base.origin().ascii_serialization()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_addresses_of_web_servers_only() {
        for good in ["http://localhost:23402", "https://n.example/off/", "http://[::1]:1"] {
            Node::new(good, None).unwrap();
        }
        for bad in [
            "localhost:23402",
            "127.0.0.1:23402",
            "ftp://n.example",
            "file:///etc/passwd",
            "http://",
            "http://user:secret@n.example",
            "http://n.example/?a",
            "http://n.example/#a",
        ] {
            let error = Node::new(bad, None).unwrap_err();
            assert!(matches!(error, NodeError::Form(_)), "{bad}: {error}");
        }
    }
}
