//! `PUT`: a body in, an OFF URL out.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use headers::{ContentLength, HeaderMap, HeaderMapExt as _};
use http_body_util::BodyExt as _;
use hyper::header::{ACCEPT, HeaderValue, LOCATION};
use hyper::{StatusCode, Uri};

use crate::client::pipe::{PipeReader, pipe};
use crate::client::put::PutOptions;
use crate::client::put_directory::content_type_of;
use crate::client::session::{PutTicket, Session};
use crate::off::OffUrl;

use super::super::context::Context;
use super::super::fault::Fault;
use super::super::putting::{PutAnswer, conclude, give_up, pour, transfer_name};
use super::legacy::Announced;
use super::target::name_in;

/// How long the rest of a body that is not wanted is read, so that a client that does not listen
/// while it sends gets to the answer.
const REST_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) async fn put(
    State(context): State<Context>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    let name = name_in(uri.path().strip_prefix("/v4/").unwrap_or_default())?;
    let how = How::parse(name, uri.query().unwrap_or_default())?;
    let answer = store(&context.session, how, &headers, body).await?;
    let wants_json = headers
        .get_all(ACCEPT)
        .iter()
        .any(|accept| accept.to_str().is_ok_and(|accept| accept.contains("application/json")));
    let location = HeaderValue::try_from(answer.path());
    let location =
        location.map_err(|error| Fault::of(StatusCode::INTERNAL_SERVER_ERROR, &error))?;
    let mut response = if wants_json {
        (StatusCode::CREATED, Json(answer)).into_response()
    } else {
        (StatusCode::CREATED, format!("{}\n", answer.url())).into_response()
    };
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

/// How a body is to be put.
pub(super) struct How {
    pub(super) options: PutOptions,
    pub(super) publish: bool,
    /// The bytes that were announced beside `Content-Length`; none but js-offs's clients do that.
    pub(super) length: Option<u64>,
}

impl How {
    /// Reads the parameters.
    fn parse(name: String, query: &str) -> Result<Self, Fault> {
        let content_type = content_type_of(&name);
        let mut how = Self {
            options: PutOptions { content_type, name, ..PutOptions::default() },
            publish: false,
            length: None,
        };
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "type" => how.options.content_type = value.into_owned(),
                "plain" => how.options.sealed = !is_set(&key, &value)?,
                "exec" => how.options.executable = is_set(&key, &value)?,
                "publish" => how.publish = is_set(&key, &value)?,
                "t" => {
                    let wrong = |why| Fault::bad(format!("t={value:?} is no tuple size: {why}"));
                    how.options.tuple = value.parse().map_err(wrong)?;
                }
                _ => {
                    let why = "those that are known are type, plain, t, publish and exec";
                    return Err(Fault::bad(format!("the parameter {key:?} is not known; {why}")));
                }
            }
        }
        OffUrl::check_words(&how.options.content_type, &how.options.name)?;
        Ok(how)
    }
}

fn is_set(key: &str, value: &str) -> Result<bool, Fault> {
    match value {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(Fault::bad(format!("{key}={value:?} is neither 1 nor 0"))),
    }
}

/// Puts a body while it comes in. If it breaks off, or whoever sends it goes away, nothing of it
/// stays.
pub(super) async fn store(
    session: &Session,
    mut how: How,
    headers: &HeaderMap,
    mut body: Body,
) -> Result<PutAnswer, Fault> {
    let tag = transfer_name(headers)?;
    let length = headers.typed_get::<ContentLength>().map(|ContentLength(length)| length);
    let length = length.or(how.length);
    let ticket = session.begin_put(&how.options.name, length);
    if let Some(tag) = tag {
        ticket.tag(&tag);
    }
    let stop = ticket.stop().clone();
    how.options.stop = stop.clone();
    let (writer, reader) = pipe();
    let session = session.clone();
    let put = tokio::task::spawn_blocking(move || run(&session, &how, ticket, reader));
    let is_read = pour(&mut body, writer, &stop).await;
    let failed = |error| Fault::of(StatusCode::INTERNAL_SERVER_ERROR, &error);
    let answer = put.await.map_err(failed)?;
    if answer.is_err() && !is_read {
        let rest = async { while let Some(Ok(_)) = body.frame().await {} };
        // The answer is the same whether all of it was read or not.
        let _ = tokio::time::timeout(REST_TIMEOUT, rest).await;
    }
    answer
}

fn run(
    session: &Session,
    how: &How,
    ticket: PutTicket,
    reader: PipeReader,
) -> Result<PutAnswer, Fault> {
    let mut progress = |read| ticket.read(read);
    // Afterwards the reader is gone: whoever still sends need not wait for what comes then.
    let put = match (how.length, reader) {
        (Some(length), reader) => {
            let mut reader = Announced::new(reader, length);
            session.client().put(&mut reader, &how.options, &mut progress)
        }
        (None, mut reader) => session.client().put(&mut reader, &how.options, &mut progress),
    };
    match put {
        Ok(put) => conclude(session, ticket, &put.url, PutAnswer::of_file(&put), how.publish),
        Err(error) => Err(give_up(ticket, Fault::from(&error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_parameters_and_refuses_what_it_does_not_know() {
        let how = |query| How::parse("a.txt".into(), query);
        let plain = how("").unwrap();
        assert_eq!(plain.options.content_type, "text/plain");
        assert!(plain.options.sealed && !plain.options.executable && !plain.publish);
        let all = how("type=image%2Fpng&plain=1&t=5&publish=1&exec=1").unwrap();
        assert_eq!(all.options.content_type, "image/png");
        assert_eq!(all.options.tuple.to_string(), "5");
        assert!(!all.options.sealed && all.options.executable && all.publish);
        for wrong in ["plain=yes", "t=1", "t=99", "t=x", "type=html", "type=a/b;c", "colour=red"] {
            let fault = how(wrong).err().unwrap();
            assert_eq!(fault.status, StatusCode::BAD_REQUEST, "{wrong}");
        }
    }
}
