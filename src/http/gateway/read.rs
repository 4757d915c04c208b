//! `GET` and `HEAD` of an OFF URL.

use std::ops::Range;

use axum::body::Body;
use axum::extract::State;
use axum::http::response::Builder;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use headers::{ETag, HeaderMap, HeaderMapExt as _, IfMatch, IfNoneMatch, IfRange};
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, HeaderName, HeaderValue, IF_RANGE, LOCATION, RANGE, VARY,
};
use hyper::{Method, StatusCode, Uri};

use crate::client::session::{Session, Source};

use super::super::context::Context;
use super::super::fault::Fault;
use super::super::guard::{disposition, stored};
use super::body::{Exactly, Step};
use super::ranges::{Wanted, wanted};
use super::target::{File, Found, Target};

const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What an OFF URL names never changes.
const FOREVER: &str = "private, max-age=31536000, immutable";

/// How the client and we agree on the end of a part.
const BOUNDARY_LEN: usize = 16;

pub(super) async fn read(
    State(context): State<Context>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let opens = headers.get(FETCH_MODE).is_some_and(|mode| mode == "navigate");
    let target = Target::parse(&uri)?;
    let is_others = headers.get_all(FETCH_SITE).iter().any(|site| !is_own(site));
    let target = if is_others && !opens { target.unhinted() } else { target };
    match target.find(&context.session, opens).await? {
        Found::File(file) => {
            let request = Request { session: context.session, method, headers };
            request.answer(&file).await
        }
        Found::Listing(page) => Ok(listed(page)),
        Found::Elsewhere(path) => elsewhere(path),
    }
}

/// Whether a browser asks for a page of ours, or for its user.
fn is_own(site: &HeaderValue) -> bool {
    site == "same-origin" || site == "none"
}

fn listed(page: String) -> Response {
    let mut response = page.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    stored(headers, false);
    response
}

fn elsewhere(path: String) -> Result<Response, Fault> {
    let path = HeaderValue::try_from(path);
    let path = path.map_err(|error| Fault::bad(format!("cannot send you there: {error}")))?;
    let vary = HeaderValue::from_static("sec-fetch-mode");
    Ok((StatusCode::FOUND, [(LOCATION, path), (VARY, vary)]).into_response())
}

struct Request {
    session: Session,
    method: Method,
    headers: HeaderMap,
}

impl Request {
    async fn answer(&self, file: &File) -> Result<Response, Fault> {
        let tag: ETag = format!("\"{}\"", file.source.file.file())
            .parse()
            .map_err(|_| Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "a file id is no tag"))?;
        if self.headers.typed_get::<IfMatch>().is_some_and(|tags| !tags.precondition_passes(&tag)) {
            let why = format!("the file is {tag:?}, which If-Match does not name");
            return Err(Fault::new(StatusCode::PRECONDITION_FAILED, why));
        }
        let known = self.headers.typed_get::<IfNoneMatch>();
        let is_known = known.is_some_and(|tags| !tags.precondition_passes(&tag));
        let (head, length) = (Head(file), file.source.file.length());
        if is_known {
            return head.finish(StatusCode::NOT_MODIFIED, Body::empty(), |head| head);
        }
        match self.wanted(&tag, length) {
            Wanted::Whole => self.whole(head, length).await,
            Wanted::Nothing => Ok(nothing(length)),
            Wanted::Ranges(ranges) => match ranges.as_slice() {
                [range] => self.one(head, range.clone(), length).await,
                _ => self.several(head, ranges, length).await,
            },
        }
    }

    /// The ranges, unless the client has a part of something else (`If-Range`).
    fn wanted(&self, tag: &ETag, length: u64) -> Wanted {
        let has_ours = match self.headers.get(IF_RANGE) {
            None => true,
            Some(_) => {
                let known = self.headers.typed_get::<IfRange>();
                known.is_some_and(|known| !known.is_modified(Some(tag), None))
            }
        };
        let mut values = self.headers.get_all(RANGE).iter();
        match (values.next(), values.next()) {
            (Some(value), None) if has_ours && self.method == Method::GET => {
                value.to_str().map_or(Wanted::Whole, |value| wanted(value, length))
            }
            _ => Wanted::Whole,
        }
    }

    async fn whole(&self, head: Head<'_>, length: u64) -> Result<Response, Fault> {
        let body = self.body(&head.0.source, 0..length).await?;
        head.finish(StatusCode::OK, body, |head| head.header(CONTENT_LENGTH, length))
    }

    async fn one(&self, head: Head<'_>, range: Range<u64>, length: u64) -> Result<Response, Fault> {
        let body = self.body(&head.0.source, range.clone()).await?;
        head.finish(StatusCode::PARTIAL_CONTENT, body, |head| {
            head.header(CONTENT_LENGTH, range.end - range.start)
                .header(CONTENT_RANGE, content_range(&range, length))
        })
    }

    /// The bytes of a range; of nothing, or for `HEAD`, without looking for a block.
    async fn body(&self, source: &Source, range: Range<u64>) -> Result<Body, Fault> {
        if range.is_empty() || self.method == Method::HEAD {
            return Ok(Body::empty());
        }
        let length = range.end - range.start;
        let step = self.begin(source, range).await?;
        Ok(Body::new(Exactly::new(self.session.clone(), source.clone(), [step], length)))
    }

    /// Begins to read, so that what fails at once has a status.
    async fn begin(&self, source: &Source, range: Range<u64>) -> Result<Step, Fault> {
        let reading = self.session.read(source, range).await;
        Ok(Step::Reading(reading.map_err(|error| Fault::from(&*error))?))
    }

    /// `multipart/byteranges`: RFC 9110, section 14.6.
    async fn several(
        &self,
        head: Head<'_>,
        ranges: Vec<Range<u64>>,
        length: u64,
    ) -> Result<Response, Fault> {
        let boundary = boundary();
        let (source, content_type) = (&head.0.source, &head.0.content_type);
        let (mut steps, mut total) = (Vec::with_capacity(2 * ranges.len() + 1), 0);
        for (at, range) in ranges.into_iter().enumerate() {
            let placed = content_range(&range, length);
            let text = Bytes::from(format!(
                "\r\n--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: {placed}\r\n\r\n"
            ));
            total += text.len() as u64 + (range.end - range.start);
            steps.push(Step::Text(text));
            let is_first = at == 0;
            steps.push(if is_first {
                self.begin(source, range).await?
            } else {
                Step::Range(range)
            });
        }
        let end = Bytes::from(format!("\r\n--{boundary}--\r\n"));
        total += end.len() as u64;
        steps.push(Step::Text(end));
        let body = Exactly::new(self.session.clone(), source.clone(), steps, total);
        head.finish(StatusCode::PARTIAL_CONTENT, Body::new(body), |head| {
            let content_type = format!("multipart/byteranges; boundary={boundary}");
            head.header(CONTENT_LENGTH, total).header(CONTENT_TYPE, content_type)
        })
    }
}

fn nothing(length: u64) -> Response {
    let why = format!("none of the ranges is in the {length} bytes, or they are too many");
    let mut response = Fault::new(StatusCode::RANGE_NOT_SATISFIABLE, why).into_response();
    if let Ok(all) = HeaderValue::try_from(format!("bytes */{length}")) {
        response.headers_mut().insert(CONTENT_RANGE, all);
    }
    response
}

fn content_range(range: &Range<u64>, length: u64) -> String {
    format!("bytes {}-{}/{length}", range.start, range.end - 1)
}

/// What nobody who stored the file could have put into it.
fn boundary() -> String {
    bs58::encode(rand::random::<[u8; BOUNDARY_LEN]>()).into_string()
}

/// The head of every answer about a file.
#[derive(Clone, Copy)]
struct Head<'a>(&'a File);

impl Head<'_> {
    fn finish(
        self,
        status: StatusCode,
        body: Body,
        more: impl FnOnce(Builder) -> Builder,
    ) -> Result<Response, Fault> {
        let File { source, content_type, is_member } = self.0;
        let mut builder = Response::builder()
            .status(status)
            .header(ACCEPT_RANGES, "bytes")
            .header(CACHE_CONTROL, FOREVER);
        if let Some(name) = disposition(source.file.name(), content_type, *is_member) {
            builder = builder.header(CONTENT_DISPOSITION, name);
        }
        if *is_member && content_type == "text/html" {
            builder = builder.header(VARY, FETCH_MODE);
        }
        let failed =
            |error: axum::http::Error| Fault::of(StatusCode::INTERNAL_SERVER_ERROR, &error);
        let mut response = more(builder).body(body).map_err(failed)?;
        let headers = response.headers_mut();
        if !headers.contains_key(CONTENT_TYPE) {
            let content_type = HeaderValue::try_from(content_type.as_str());
            headers.insert(CONTENT_TYPE, content_type.map_err(|error| failed(error.into()))?);
        }
        let tag = HeaderValue::try_from(format!("\"{}\"", source.file.file()));
        headers.insert(ETAG, tag.map_err(|error| failed(error.into()))?);
        stored(headers, *is_member);
        Ok(response)
    }
}
