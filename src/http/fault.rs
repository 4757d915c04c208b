//! Why a request gets no answer, on its way to whoever asked.

use std::error::Error;
use std::fmt::Write as _;
use std::io::ErrorKind;

use axum::response::{IntoResponse, Response};
use http_body_util::Full;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use serde_json::json;

use crate::client::{GetError, PublishError, PutError, ReadError};
use crate::off::url::UrlError;
use crate::store::StoreError;

/// A status, and what, on what, and why, in words.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) status: StatusCode,
    pub(super) message: String,
    /// What may help.
    pub(super) hints: Vec<&'static str>,
}

/// As `text/plain`, as the gateway says it.
impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let Self { status, message, .. } = self;
        let mut response = (status, format!("{message}\n")).into_response();
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

impl Fault {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), hints: Vec::new() }
    }

    /// With something that may help.
    pub(super) fn hint(mut self, hint: &'static str) -> Self {
        self.hints.push(hint);
        self
    }

    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// With an error's causes.
    pub(super) fn of(status: StatusCode, error: &dyn Error) -> Self {
        Self::new(status, with_causes(error))
    }

    /// As JSON, as the API says it.
    pub(super) fn into_json(self) -> Response {
        let Self { status, message, hints } = &self;
        let code = code_of(*status);
        let error = json!({ "error": { "code": code, "message": message, "hints": hints } });
        let body = axum::body::Body::new(Full::from(error.to_string()));
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

fn code_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "unauthorized",
        StatusCode::FORBIDDEN => "forbidden",
        StatusCode::NOT_FOUND => "not_found",
        StatusCode::METHOD_NOT_ALLOWED => "method",
        StatusCode::CONFLICT => "conflict",
        StatusCode::PAYLOAD_TOO_LARGE => "too_large",
        StatusCode::MISDIRECTED_REQUEST => "misdirected",
        StatusCode::INSUFFICIENT_STORAGE => "full",
        StatusCode::SERVICE_UNAVAILABLE => "unavailable",
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => "timeout",
        status if status.is_client_error() => "bad_request",
        _ => "failed",
    }
}

/// An error and why it came about, in one line.
pub(super) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing into a string cannot fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

impl From<UrlError> for Fault {
    fn from(error: UrlError) -> Self {
        Self::of(StatusCode::BAD_REQUEST, &error)
    }
}

/// What is not here and cannot be had is 404, and the text says why. That others gave us something
/// wrong, or that the URL itself leads to something wrong, is 502; that our own disk did is 500.
impl From<&GetError> for Fault {
    fn from(error: &GetError) -> Self {
        Self::of(status_of_get(error), error)
    }
}

impl From<&ReadError> for Fault {
    fn from(error: &ReadError) -> Self {
        Self::of(status_of_read(error), error)
    }
}

fn status_of_get(error: &GetError) -> StatusCode {
    match error {
        GetError::NotFound { .. } => StatusCode::NOT_FOUND,
        GetError::Forged { .. } | GetError::WrongTorrent { .. } => StatusCode::BAD_GATEWAY,
        GetError::Swarm(_) | GetError::Stopped => StatusCode::SERVICE_UNAVAILABLE,
        GetError::Read(error) => status_of_read(error),
        GetError::Member { source, .. } => status_of_read(source),
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn status_of_read(error: &ReadError) -> StatusCode {
    match error {
        ReadError::Missing(_) | ReadError::NoMember(_) | ReadError::NotDirectory(_) => {
            StatusCode::NOT_FOUND
        }
        ReadError::Range { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
        ReadError::Store(error) => status_of_store(error),
        _ => StatusCode::BAD_GATEWAY,
    }
}

pub(super) fn status_of_store(error: &StoreError) -> StatusCode {
    match error {
        StoreError::Full { .. } => StatusCode::INSUFFICIENT_STORAGE,
        error if error.is_disk_full() => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<&PutError> for Fault {
    fn from(error: &PutError) -> Self {
        Self::of(status_of_put(error), error)
    }
}

fn status_of_put(error: &PutError) -> StatusCode {
    match error {
        // The stream is the body of the request.
        PutError::Read { source, .. } => match source.kind() {
            ErrorKind::TimedOut => StatusCode::REQUEST_TIMEOUT,
            // Somebody stopped it.
            ErrorKind::ConnectionAborted => StatusCode::CONFLICT,
            _ => StatusCode::BAD_REQUEST,
        },
        PutError::Url(_) | PutError::Directory(_) => StatusCode::BAD_REQUEST,
        PutError::TooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        PutError::TooFewRandomizers { .. } | PutError::Stopped => StatusCode::CONFLICT,
        PutError::Spool { source, .. } if source.kind() == ErrorKind::StorageFull => {
            StatusCode::INSUFFICIENT_STORAGE
        }
        PutError::Store(error) => status_of_store(error),
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<&PublishError> for Fault {
    fn from(error: &PublishError) -> Self {
        let status = match error {
            PublishError::Empty
            | PublishError::Incomplete { .. }
            | PublishError::ShortBlocks { .. }
            | PublishError::MixedBlocks { .. } => StatusCode::CONFLICT,
            PublishError::Store(error) => status_of_store(error),
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::of(status, error)
    }
}
