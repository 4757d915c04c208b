//! What all ways to put something over HTTP have in common.

use std::io;

use axum::body::Body;
use headers::HeaderMap;
use http_body_util::BodyExt as _;
use hyper::header::HeaderName;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::client::pipe::PipeWriter;
use crate::client::put_directory::{PutDirectory, Skipped};
use crate::client::session::{PutTicket, Session};
use crate::client::{PublishError, put::Put};
use crate::id::InfoHash;
use crate::off::OffUrl;
use crate::torrent::magnet::Magnet;

use super::fault::{Fault, with_causes};
use super::patience::Stalled;

/// The name that whoever puts something gives the transfer.
const TRANSFER: HeaderName = HeaderName::from_static("offswarm-transfer");

/// What came of a put, as `PUT /v4/NAME` and `POST /api/put` answer it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct PutAnswer {
    url: String,
    path: String,
    name: String,
    length: u64,
    content_type: String,
    new_blocks: u64,
    directory: bool,
    files: u64,
    bytes: u64,
    skipped: Vec<ShownSkipped>,
    magnet: Option<String>,
    infohash: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
struct ShownSkipped {
    path: String,
    why: String,
}

impl PutAnswer {
    /// About a file.
    pub(super) fn of_file(put: &Put) -> Self {
        Self::new(put, 1, put.url.length(), &[])
    }

    /// About a directory.
    pub(super) fn of_directory(done: &PutDirectory) -> Self {
        Self::new(&done.put, done.files, done.bytes, &done.skipped)
    }

    fn new(put: &Put, files: u64, bytes: u64, skipped: &[Skipped]) -> Self {
        let Put { url, new_blocks } = put;
        let skipped = skipped.iter().map(|Skipped { path, why }| {
            let (path, why) = (path.display().to_string(), why.clone());
            ShownSkipped { path, why }
        });
        Self {
            url: url.to_string(),
            path: url.path(),
            name: url.name().to_owned(),
            length: url.length(),
            content_type: url.content_type().to_owned(),
            new_blocks: *new_blocks,
            directory: url.is_directory(),
            files,
            bytes,
            skipped: skipped.collect(),
            magnet: None,
            infohash: None,
        }
    }

    /// The same with the torrent in it.
    fn published(self, url: &OffUrl, infohash: InfoHash) -> Self {
        let mut url = url.clone();
        url.hints.infohash = Some(infohash);
        Self {
            magnet: Some(Magnet::to_url(&url).to_string()),
            infohash: Some(infohash.to_string()),
            url: url.to_string(),
            path: url.path(),
            ..self
        }
    }

    /// The OFF URL.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Path and parameters of the OFF URL, for a link on this gateway.
    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

/// Ends a put that went well: publishes it if that was asked for, and tells everybody. Blocks the
/// thread.
pub(super) fn conclude(
    session: &Session,
    ticket: PutTicket,
    url: &OffUrl,
    answer: PutAnswer,
    publish: bool,
) -> Result<PutAnswer, Fault> {
    let answer = if publish { publish_it(session.client(), url, answer) } else { Ok(answer) };
    match &answer {
        Ok(_) => ticket.done(url),
        Err(fault) => ticket.failed(&fault.message),
    }
    session.say_urls_changed("added");
    answer
}

fn publish_it(client: &Client, url: &OffUrl, answer: PutAnswer) -> Result<PutAnswer, Fault> {
    match client.publish(url, &[]) {
        Ok(published) => Ok(answer.published(url, published.metainfo.info.infohash)),
        // It has no blocks that anybody would need.
        Err(PublishError::Empty) => Ok(answer),
        Err(error) => {
            let fault = Fault::from(&error);
            let message = format!("{url} is stored, but not published: {}", fault.message);
            Err(Fault { message, ..fault })
        }
    }
}

/// Ends a put that failed or was stopped.
pub(super) fn give_up(ticket: PutTicket, fault: Fault) -> Fault {
    // A ticket that is dropped says that it was stopped.
    if !ticket.stop().is_cancelled() {
        ticket.failed(&fault.message);
    }
    fault
}

/// The name for a transfer that a request asks for.
pub(super) fn transfer_name(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    let Some(value) = headers.get(TRANSFER) else { return Ok(None) };
    let is_name = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
    match value.to_str() {
        Ok(name) if (8..=64).contains(&name.len()) && name.bytes().all(is_name) => {
            Ok(Some(name.to_owned()))
        }
        _ => Err(Fault::bad("Offswarm-Transfer is not 8 to 64 letters, digits, \"-\" and \"_\"")),
    }
}

/// Moves a body into a pipe until it ends, breaks off, or is stopped. `false` if nobody would read
/// all of it.
pub(super) async fn pour(body: &mut Body, pipe: PipeWriter, stop: &CancellationToken) -> bool {
    loop {
        let frame = tokio::select! {
            biased;
            () = stop.cancelled() => {
                let stopped = io::Error::new(io::ErrorKind::ConnectionAborted, "it was stopped");
                pipe.fail(stopped).await;
                return false;
            }
            frame = body.frame() => frame,
        };
        match frame {
            None => {
                pipe.finish().await;
                return true;
            }
            Some(Err(error)) => {
                pipe.fail(broken(&error)).await;
                return false;
            }
            Some(Ok(frame)) => {
                // Trailers mean nothing to us.
                let Ok(bytes) = frame.into_data() else { continue };
                if !pipe.send(bytes).await {
                    return false;
                }
            }
        }
    }
}

/// Why a body ended before its end.
pub(super) fn broken(error: &(dyn std::error::Error + 'static)) -> io::Error {
    let is_late = Stalled::is_cause_of(error);
    let kind = if is_late { io::ErrorKind::TimedOut } else { io::ErrorKind::UnexpectedEof };
    io::Error::new(kind, with_causes(error))
}
