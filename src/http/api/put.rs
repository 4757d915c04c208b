//! A folder that is dropped on the page: files one after the other, as a form sends them.
//!
//! One thread stores them while they come, so what waits in between is a few parts of one file. A
//! form with other fields than files, one that breaks off, or one with too many files leaves nothing
//! behind. A file whose path no directory can have is left out, and the answer says so.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest as _, Multipart, Request, State};
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::response::Response;
use futures_util::StreamExt as _;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::client::pipe::{PipeReader, pipe};
use crate::client::put::PutOptions;
use crate::client::session::{PutTicket, Session};
use crate::http::Context;
use crate::http::fault::Fault;
use crate::http::putting::{PutAnswer, broken, conclude, give_up, transfer_name};
use crate::id::excerpt;
use crate::limits::http::{MAX_FORM_FILES, MAX_FORM_GAP, MAX_FORM_REST};
use crate::off::TupleSize;

use super::answers::{Asked, Failure};

/// How long the rest of a form that is not wanted is read, so that a client that does not listen
/// while it sends gets to the answer.
const REST_TIMEOUT: Duration = Duration::from_secs(2);

/// How files are to be put.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct How {
    name: String,
    t: Option<String>,
    #[serde(default)]
    plain: Flag,
    #[serde(default)]
    publish: Flag,
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
enum Flag {
    #[default]
    #[serde(rename = "0")]
    Off,
    #[serde(rename = "1")]
    On,
}

impl How {
    fn options(&self) -> Result<PutOptions, Failure> {
        if self.name.is_empty() {
            return Err(Failure::bad_request("the directory has no name"));
        }
        let tuple = match &self.t {
            None => TupleSize::default(),
            Some(text) => text.parse().map_err(|why| {
                Failure::bad_request(format!("t={:?} is no tuple size: {why}", excerpt(text)))
            })?,
        };
        Ok(PutOptions {
            name: self.name.clone(),
            tuple,
            sealed: self.plain == Flag::Off,
            ..PutOptions::default()
        })
    }
}

/// What the thread that stores is told.
enum Next {
    /// A file, and where its bytes come from.
    File(String, PipeReader),
    /// That was all.
    End,
}

pub(super) async fn put(
    State(context): State<Context>,
    Asked(how): Asked<How>,
    request: Request,
) -> Result<Response, Failure> {
    let mut options = how.options()?;
    let tag = transfer_name(request.headers())?;
    let (mut form, gap) = open(request).await?;
    let ticket = context.session.begin_put(&options.name, None);
    if let Some(tag) = tag {
        ticket.tag(&tag);
    }
    let stop = ticket.stop().clone();
    options.stop = stop.clone();
    let (sender, files) = mpsc::channel(1);
    let (session, publish) = (context.session.clone(), how.publish == Flag::On);
    let put = tokio::task::spawn_blocking(move || run(&session, options, publish, ticket, files));
    let forwarded = forward(&mut form, &gap, sender, &stop).await;
    let stored = put.await.map_err(|error| Failure::failed(&error))?;
    if stored.is_err() {
        gap.is(MAX_FORM_REST);
        let rest = async { while let Ok(Some(_)) = form.next_field().await {} };
        // The answer is the same whether all of it was read or not.
        let _ = tokio::time::timeout(REST_TIMEOUT, rest).await;
    }
    // What is wrong with the form says more than that it broke off.
    forwarded?;
    Ok((StatusCode::CREATED, Json(stored?)).into_response())
}

/// Bytes that may still come before the next file begins.
#[derive(Clone, Default)]
struct Gap(Arc<AtomicUsize>);

impl Gap {
    fn is(&self, bytes: usize) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    fn pass(&self, bytes: usize) -> io::Result<()> {
        let lower = |left: usize| left.checked_sub(bytes);
        match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, lower) {
            Ok(_) => Ok(()),
            Err(_) => Err(io::Error::other("the head of a file in the form is too long")),
        }
    }
}

/// Begins to read a form. What stands between its files is gathered in memory until the next one
/// begins, so it is bounded here.
async fn open(request: Request) -> Result<(Multipart, Gap), Failure> {
    let gap = Gap::default();
    gap.is(MAX_FORM_GAP);
    let passing = gap.clone();
    let request = request.map(|body| {
        Body::from_stream(body.into_data_stream().map(move |part| {
            let part = part.map_err(io::Error::other)?;
            passing.pass(part.len()).map(|()| part)
        }))
    });
    let form = Multipart::from_request(request, &()).await;
    let form = form.map_err(|rejection| Failure::bad_request(rejection.body_text()))?;
    Ok((form, gap))
}

/// Hands the files of a form on to the thread that stores them, until the form ends or nobody wants
/// more.
async fn forward(
    form: &mut Multipart,
    gap: &Gap,
    files: mpsc::Sender<Next>,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let mut count = 0;
    loop {
        gap.is(MAX_FORM_GAP);
        let next = stop.run_until_cancelled(form.next_field()).await;
        let Some(next) = next else { return Ok(()) };
        let Some(mut field) = next.map_err(|error| unreadable(&error))? else { break };
        gap.is(usize::MAX);
        count += 1;
        if count > MAX_FORM_FILES {
            let message = format!("more than {MAX_FORM_FILES} files at once are refused");
            return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, message)
                .hint("put the folder with offswarm put"));
        }
        let (writer, reader) = pipe();
        if files.send(Next::File(path_of(&field)?, reader)).await.is_err() {
            return Ok(());
        }
        let mut is_wanted = true;
        loop {
            let Some(chunk) = stop.run_until_cancelled(field.chunk()).await else {
                return Ok(());
            };
            match chunk {
                Ok(Some(bytes)) => is_wanted = is_wanted && writer.send(bytes).await,
                Ok(None) => break,
                Err(error) => {
                    let failure = unreadable(&error);
                    writer.fail(io::Error::other("the form breaks off")).await;
                    return Err(failure);
                }
            }
        }
        writer.finish().await;
    }
    if count == 0 {
        return Err(Failure::bad_request("the form has no part named file"));
    }
    // Whoever listens no more has a reason of its own.
    let _ = files.send(Next::End).await;
    Ok(())
}

/// The path of a file in the directory.
fn path_of(field: &Field<'_>) -> Result<String, Failure> {
    if field.name() != Some("file") {
        let name = excerpt(field.name().unwrap_or_default());
        return Err(Failure::bad_request(format!("the form has a part {name:?} beside its files")));
    }
    match field.file_name() {
        // The three that forms escape (HTML, section 4.10.21.8).
        Some(name) => Ok(name.replace("%22", "\"").replace("%0A", "\n").replace("%0D", "\r")),
        None => Err(Failure::bad_request("the form has a file without a filename")),
    }
}

fn unreadable(error: &MultipartError) -> Failure {
    let error = broken(error);
    let status = match error.kind() {
        io::ErrorKind::TimedOut => StatusCode::REQUEST_TIMEOUT,
        _ => StatusCode::BAD_REQUEST,
    };
    Failure::new(status, format!("cannot read the form: {error}"))
}

fn run(
    session: &Session,
    options: PutOptions,
    publish: bool,
    ticket: PutTicket,
    files: mpsc::Receiver<Next>,
) -> Result<PutAnswer, Fault> {
    match store(session, options, &ticket, files) {
        Ok((url, answer)) => conclude(session, ticket, &url, answer, publish),
        Err(fault) => Err(give_up(ticket, fault)),
    }
}

fn store(
    session: &Session,
    options: PutOptions,
    ticket: &PutTicket,
    mut files: mpsc::Receiver<Next>,
) -> Result<(crate::off::OffUrl, PutAnswer), Fault> {
    let mut tree = session.client().begin_tree(options).map_err(|error| Fault::from(&error))?;
    loop {
        match files.blocking_recv() {
            Some(Next::File(path, mut bytes)) => {
                tree.add(&path, false, &mut bytes, &mut |read| ticket.read(read))
                    .map_err(|error| Fault::from(&error))?;
            }
            Some(Next::End) => break,
            None => return Err(Fault::bad("the form broke off, or the put was stopped")),
        }
    }
    let done = tree.finish().map_err(|error| Fault::from(&error))?;
    Ok((done.put.url.clone(), PutAnswer::of_directory(&done)))
}
