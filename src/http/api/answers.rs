//! Requests that are read, and answers that say why there is no other.
//!
//! Everything that fails has one shape, and its code follows from its status:
//!
//! ```json
//! {"error": {"code": "not_found", "message": "what, on what, why", "hints": []}}
//! ```

use std::error::Error;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::catalog::CatalogError;
use crate::client::link::LinkError;
use crate::client::{PublishError, PutError, ReadError, UpkeepError};
use crate::store::StoreError;

/// Bytes of the longest request in JSON: a magnet link with all its trackers takes a quarter.
pub(super) const MAX_JSON_LEN: usize = 64 << 10;

/// Why a request is not answered as it wished.
#[derive(Debug)]
pub(in crate::http) struct Failure {
    status: StatusCode,
    message: String,
    hints: Vec<&'static str>,
}

#[derive(Serialize)]
struct Shown<'a> {
    error: ShownError<'a>,
}

#[derive(Serialize)]
struct ShownError<'a> {
    code: &'static str,
    message: &'a str,
    hints: &'a [&'static str],
}

impl Failure {
    pub(in crate::http) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), hints: Vec::new() }
    }

    pub(in crate::http) fn hint(mut self, hint: &'static str) -> Self {
        self.hints.push(hint);
        self
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// What went wrong on our side.
    pub(super) fn failed(error: &(dyn Error + 'static)) -> Self {
        Self::caused(StatusCode::INTERNAL_SERVER_ERROR, error)
    }

    pub(super) fn caused(status: StatusCode, error: &(dyn Error + 'static)) -> Self {
        Self::new(status, with_causes(error))
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self { status, message, hints } = &self;
        let error = ShownError { code: code(*status), message, hints };
        (*status, axum::Json(Shown { error })).into_response()
    }
}

/// The word for a status.
fn code(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "bad_request",
        401 => "unauthorized",
        403 => "forbidden",
        404 => "not_found",
        405 => "method",
        409 => "conflict",
        410 => "gone",
        413 => "too_large",
        421 => "misdirected",
        431 => "headers_too_large",
        503 => "unavailable",
        504 => "timeout",
        507 => "full",
        _ => "failed",
    }
}

/// An error and what caused it, in one line.
fn with_causes(error: &(dyn Error + 'static)) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// An error, what caused it, and so on.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let this = next?;
        next = this.source();
        Some(this)
    })
}

/// A failure of the store if it is one, else the status given.
fn of_store(status: StatusCode, error: &(dyn Error + 'static)) -> Failure {
    match causes(error).find_map(|cause| cause.downcast_ref::<StoreError>()) {
        Some(StoreError::Full { .. }) => Failure::caused(StatusCode::INSUFFICIENT_STORAGE, error)
            .hint("unpin or delete OFF URLs, or raise store.limit_bytes"),
        Some(source) if source.is_disk_full() => {
            Failure::caused(StatusCode::INSUFFICIENT_STORAGE, error).hint("the disk is full")
        }
        Some(_) => Failure::failed(error),
        None => Failure::caused(status, error),
    }
}

impl From<CatalogError> for Failure {
    fn from(error: CatalogError) -> Self {
        Self::failed(&error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        of_store(StatusCode::INTERNAL_SERVER_ERROR, &error)
    }
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        let failure = Self::caused(StatusCode::BAD_REQUEST, &error);
        match error {
            LinkError::NoUrl => failure.hint("get it with any BitTorrent client"),
            _ => failure,
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match &error {
            ReadError::Missing(_) => Self::caused(StatusCode::CONFLICT, &error)
                .hint("fetch the OFF URL first: POST /api/fetch"),
            // Whoever made the URL or the chain is wrong.
            _ => of_store(StatusCode::CONFLICT, &error),
        }
    }
}

impl From<UpkeepError> for Failure {
    fn from(error: UpkeepError) -> Self {
        match &error {
            UpkeepError::Unknown { .. } => Self::caused(StatusCode::NOT_FOUND, &error)
                .hint("GET /api/urls lists the OFF URLs that are known"),
            UpkeepError::Read(_) => of_store(StatusCode::CONFLICT, &error),
            _ => of_store(StatusCode::INTERNAL_SERVER_ERROR, &error),
        }
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        match &error {
            PublishError::Incomplete { .. } => Self::caused(StatusCode::CONFLICT, &error)
                .hint("fetch the OFF URL first: POST /api/fetch"),
            PublishError::Empty
            | PublishError::Metainfo(_)
            | PublishError::Read { .. }
            | PublishError::Blocks(_) => of_store(StatusCode::CONFLICT, &error),
            _ => of_store(StatusCode::INTERNAL_SERVER_ERROR, &error),
        }
    }
}

impl From<PutError> for Failure {
    fn from(error: PutError) -> Self {
        let status = match &error {
            // The stream is the body of the request.
            PutError::Read { .. } | PutError::Url(_) | PutError::Directory(_) => {
                StatusCode::BAD_REQUEST
            }
            PutError::TooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            PutError::TooFewRandomizers { .. } | PutError::Encode(_) => StatusCode::CONFLICT,
            PutError::Spool { source, .. }
                if source.kind() == std::io::ErrorKind::StorageFull =>
            {
                StatusCode::INSUFFICIENT_STORAGE
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        of_store(status, &error)
    }
}

/// A body in JSON.
pub(super) struct Told<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Told<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let body = Bytes::from_request(request, state).await.map_err(unread)?;
        let told = serde_json::from_slice(&body);
        told.map(Self)
            .map_err(|error| Failure::bad_request(format!("cannot read the request: {error}")))
    }
}

fn unread(rejection: BytesRejection) -> Failure {
    let status = rejection.status();
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        let message = format!("a request of more than {MAX_JSON_LEN} bytes is refused");
        return Failure::new(status, message);
    }
    Failure::bad_request(format!("cannot read the request: {}", rejection.body_text()))
}

/// The parameters behind the `?`.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let asked = Query::<T>::from_request_parts(parts, state).await;
        asked.map(|Query(asked)| Self(asked)).map_err(|rejection| {
            let why = causes(&rejection).last().map(ToString::to_string).unwrap_or_default();
            Failure::bad_request(format!("cannot read the parameters of the request: {why}"))
        })
    }
}

/// No parameters: any is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// Does what reads or writes the disk, off the threads of the network.
pub(super) async fn blocking<T, E>(
    act: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Failure>
where
    T: Send + 'static,
    E: Into<Failure> + Send + 'static,
{
    match tokio::task::spawn_blocking(act).await {
        Ok(done) => done.map_err(Into::into),
        Err(broken) => Err(Failure::failed(&broken)),
    }
}
