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
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::catalog::CatalogError;
use crate::client::link::LinkError;
use crate::client::{PublishError, ReadError, UpkeepError};
use crate::http::fault::{Fault, status_of_store};
use crate::store::StoreError;

/// Bytes of the longest request in JSON: a magnet link with all its trackers takes a quarter.
pub(super) const MAX_JSON_LEN: usize = 64 << 10;

/// Why a request is not answered as it wished, in JSON.
#[derive(Debug)]
pub(super) struct Failure(Fault);

impl Failure {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self(Fault::new(status, message))
    }

    pub(super) fn hint(self, hint: &'static str) -> Self {
        Self(self.0.hint(hint))
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// What went wrong on our side.
    pub(super) fn failed(error: &(dyn Error + 'static)) -> Self {
        Self(Fault::of(StatusCode::INTERNAL_SERVER_ERROR, error))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        self.0.into_json()
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        match fault.status {
            StatusCode::INSUFFICIENT_STORAGE => {
                Self(fault.hint("unpin or delete OFF URLs, or raise the limit of the store"))
            }
            _ => Self(fault),
        }
    }
}

impl From<CatalogError> for Failure {
    fn from(error: CatalogError) -> Self {
        Self::failed(&error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Fault::of(status_of_store(&error), &error).into()
    }
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        let failure = Self(Fault::of(StatusCode::BAD_REQUEST, &error));
        match error {
            LinkError::NoUrl => failure.hint("get it with any BitTorrent client"),
            _ => failure,
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Fault::from(&error).into()
    }
}

impl From<UpkeepError> for Failure {
    fn from(error: UpkeepError) -> Self {
        let status = match &error {
            UpkeepError::Unknown { .. } => {
                return Self(Fault::of(StatusCode::NOT_FOUND, &error))
                    .hint("GET /api/urls lists the OFF URLs that are known");
            }
            UpkeepError::Read(read) => Fault::from(read).status,
            UpkeepError::Store(store) => status_of_store(store),
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Fault::of(status, &error).into()
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        let failure = Self::from(Fault::from(&error));
        match error {
            PublishError::Incomplete { .. } => {
                failure.hint("fetch the OFF URL first: POST /api/fetch")
            }
            PublishError::ShortBlocks { .. } | PublishError::MixedBlocks { .. } => failure
                .hint("offswarm convert URL --to v4 puts the same in blocks that fill a torrent"),
            _ => failure,
        }
    }
}

/// A body in JSON.
pub(super) struct Told<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Told<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let body =
            Bytes::from_request(request, state).await.map_err(|rejection| unread(&rejection))?;
        // A list of the fields' values would do, and nobody could tell which is which.
        if body.trim_ascii_start().first() != Some(&b'{') {
            let message = "cannot read the request: its body is not an object in JSON";
            return Err(Failure::bad_request(message));
        }
        let told = serde_json::from_slice(&body);
        told.map(Self)
            .map_err(|error| Failure::bad_request(format!("cannot read the request: {error}")))
    }
}

fn unread(rejection: &BytesRejection) -> Failure {
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
            let why = rejection.body_text();
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
