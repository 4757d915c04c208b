//! Who may ask: Host, Origin and token; and the headers that every answer carries.
//!
//! | rule | for | else |
//! |---|---|---|
//! | `Host` is this machine: `localhost`, `127.0.0.1`, `[::1]`, the address the request came to, or a configured name; any port | every request | 421 |
//! | the token is there (`Bearer`, or `Basic` with any user) | every request, if others than this machine can connect | 401 |
//! | `Origin`, if any, is `http://`, or of a configured name `https://` (a proxy's), and the `Host` header | all but GET and HEAD; all of `/api/` | 403 |
//! | `Sec-Fetch-Site`, if any, is `same-origin` or `none` | all but GET and HEAD; what scripts and pages load of `/api/` | 403 |
//! | `Offswarm-Request: 1`, or the token | all but GET and HEAD of `/api/` | 403 |
//!
//! A page of another site can neither name this machine as its own host (the first rule), nor
//! change anything here (the others): a form cannot send the header, and a script would have to ask
//! first, which nobody answers. Nor can it hold event streams open.

mod headers;
mod token;

use std::net::IpAddr;

use ::headers::authorization::{Authorization, Basic, Bearer};
use ::headers::{HeaderMap, HeaderMapExt as _};
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use hyper::header::{HOST, HeaderName, HeaderValue, ORIGIN, WWW_AUTHENTICATE};
use hyper::{Method, StatusCode, Uri};

use crate::id::excerpt;

use super::context::{Access, Context};
use super::fault::Fault;
use super::server::Arrived;

pub(super) use headers::{disposition, finish, stored};
pub use token::Token;

/// What a page of ours sends along with what changes something.
const OURS: HeaderName = HeaderName::from_static("offswarm-request");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// What a browser shows when it asks for the token.
const CHALLENGE: HeaderValue =
    HeaderValue::from_static("Basic realm=\"offswarm\", charset=\"UTF-8\"");

/// Lets a request in, or answers it.
pub(super) async fn admit(
    State(context): State<Context>,
    request: Request,
    next: Next,
) -> Response {
    let arrived = request.extensions().get::<Arrived>().map(|Arrived(address)| address.ip());
    let asked =
        Asked { method: request.method(), uri: request.uri(), headers: request.headers(), arrived };
    let Err(fault) = asked.check(&context.access) else { return next.run(request).await };
    let is_unknown = fault.status == StatusCode::UNAUTHORIZED;
    let is_api = is_api(request.uri());
    let mut response = if is_api { fault.into_json() } else { fault.into_response() };
    if is_unknown {
        response.headers_mut().insert(WWW_AUTHENTICATE, CHALLENGE);
    }
    response
}

fn is_api(uri: &Uri) -> bool {
    uri.path().starts_with("/api/")
}

/// What the rules look at.
struct Asked<'a> {
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    arrived: Option<IpAddr>,
}

impl Asked<'_> {
    fn check(&self, access: &Access) -> Result<(), Fault> {
        let host = self.host(access)?;
        let knows_token = self.knows_token(access);
        if !access.loopback && !knows_token {
            let why = "this address is open to others, so the token is needed";
            return Err(Fault::new(StatusCode::UNAUTHORIZED, why));
        }
        let (changes, is_api) = (!self.is_pure(), is_api(self.uri));
        if changes || is_api {
            self.check_origin(host, access)?;
        }
        if changes || (is_api && !self.opens_page()) {
            self.check_site()?;
        }
        if changes && is_api && !knows_token && self.header(&OURS) != Some("1") {
            let why = "a request that changes something needs the header \"Offswarm-Request: 1\" \
                       or the token";
            return Err(Fault::new(StatusCode::FORBIDDEN, why));
        }
        Ok(())
    }

    fn is_pure(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }

    /// A header that is there once, as text.
    fn header(&self, name: &HeaderName) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        values.next().filter(|_| values.next().is_none())?.to_str().ok()
    }

    /// The `Host` header, which is there once and names this machine, as does a whole URL.
    fn host(&self, access: &Access) -> Result<&str, Fault> {
        let misdirected = |why: String| Fault::new(StatusCode::MISDIRECTED_REQUEST, why);
        let host = self.header(&HOST).ok_or_else(|| misdirected("no Host header".into()))?;
        let in_url = self.uri.authority().map(Authority::as_str);
        for named in [Some(host), in_url].into_iter().flatten() {
            if !is_ours(named, access, self.arrived) {
                let named = excerpt(named);
                return Err(misdirected(format!("the host {named:?} is not this machine")));
            }
        }
        Ok(host)
    }

    fn check_origin(&self, host: &str, access: &Access) -> Result<(), Fault> {
        let is_named = host_of(host).is_some_and(|host| is_configured(&host, access));
        let schemes = ["http", "https"].into_iter().take(1 + usize::from(is_named));
        let ours: Vec<String> = schemes.map(|scheme| format!("{scheme}://{host}")).collect();
        let is_ours = |origin: &HeaderValue| {
            ours.iter().any(|ours| ours.as_bytes().eq_ignore_ascii_case(origin.as_bytes()))
        };
        if self.headers.get_all(ORIGIN).iter().all(is_ours) {
            return Ok(());
        }
        Err(Fault::new(StatusCode::FORBIDDEN, "a page of another origin may not ask for this"))
    }

    fn check_site(&self) -> Result<(), Fault> {
        let mut sites = self.headers.get_all(FETCH_SITE).iter();
        if sites.all(|site| site == "same-origin" || site == "none") {
            return Ok(());
        }
        Err(Fault::new(StatusCode::FORBIDDEN, "a page of another site may not ask for this"))
    }

    /// Whether somebody follows a link to something that ends, rather than a page loading something.
    fn opens_page(&self) -> bool {
        self.header(&FETCH_MODE) == Some("navigate") && self.uri.path() != "/api/events"
    }

    fn knows_token(&self, access: &Access) -> bool {
        let Some(token) = &access.token else { return false };
        let bearer = self.headers.typed_get::<Authorization<Bearer>>();
        let basic = self.headers.typed_get::<Authorization<Basic>>();
        bearer.is_some_and(|bearer| token.is(bearer.token().as_bytes()))
            || basic.is_some_and(|basic| token.is(basic.password().as_bytes()))
    }
}

/// Whether `named`, a host with or without a port, is this machine.
fn is_ours(named: &str, access: &Access, arrived: Option<IpAddr>) -> bool {
    let Some(host) = host_of(named) else { return false };
    let is_usual = ["localhost", "127.0.0.1", "[::1]"].contains(&host.as_str());
    let literal = match arrived.map(|address| address.to_canonical()) {
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => format!("[{address}]"),
        None => String::new(),
    };
    is_usual || is_configured(&host, access) || literal == host
}

fn is_configured(host: &str, access: &Access) -> bool {
    access.hosts.iter().any(|name| name.eq_ignore_ascii_case(host))
}

/// The host of `host[:port]`, in small letters; IPv6 addresses in brackets.
fn host_of(named: &str) -> Option<String> {
    let (host, rest) = match named.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']')? + 2;
            named.split_at_checked(end)?
        }
        None => named.split_at_checked(named.find(':').unwrap_or(named.len()))?,
    };
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let is_whole = rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
    is_whole.then(|| host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests;
