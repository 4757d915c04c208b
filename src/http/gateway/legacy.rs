//! `PUT /offsystem` as js-offs (v0.1.0) understands it: everything about the body is in headers.
//!
//! | header | meaning |
//! |---|---|
//! | `type` | content type; parameters behind a `;` are dropped, since no URL can carry them |
//! | `file-name` | the name: UTF-8, else Latin-1 as js-offs reads it |
//! | `stream-length` | bytes of the body; another number is taken if it is as many blocks |
//! | `server-address` | origin of the URL in the answer (ours) |
//! | `recycler` | JSON list of OFF URLs whose blocks are to be used as randomizers (none) |
//! | `temporary` | never worked in js-offs; refused |
//!
//! What js-offs answers with 500, or not at all, is 400 here.

use std::io::{self, Read};

use axum::body::Body;
use axum::extract::State;
use headers::HeaderMap;

use crate::client::pipe::PipeReader;
use crate::client::put::PutOptions;
use crate::off::url::ORIGIN;
use crate::off::{BlockSize, OffUrl, Version};

use super::super::context::Context;
use super::super::fault::Fault;
use super::put::{How, store};

/// Bytes of the longest `server-address`: the longest name of a host, and a port.
const MAX_ORIGIN_LEN: usize = 300;

pub(super) async fn put(
    State(context): State<Context>,
    headers: HeaderMap,
    body: Body,
) -> Result<String, Fault> {
    let asked = Asked::parse(&headers)?;
    let Asked { options, length, origin } = asked;
    let how = How { options, publish: false, length: Some(length) };
    let answer = store(&context.session, how, &headers, body).await?;
    Ok(format!("{origin}{}", answer.path()))
}

/// What the headers say.
struct Asked {
    options: PutOptions,
    length: u64,
    origin: String,
}

impl Asked {
    fn parse(headers: &HeaderMap) -> Result<Self, Fault> {
        if headers.contains_key("temporary") {
            return Err(Fault::bad("temporary files are not kept here"));
        }
        let content_type = needed(headers, "type")?;
        let content_type = content_type.split(';').next().unwrap_or_default().trim().to_owned();
        let (name, length) = (needed(headers, "file-name")?, needed(headers, "stream-length")?);
        let length = match length.parse() {
            Ok(0) => return Err(Fault::bad("an empty stream has no URL of version 3")),
            Ok(length) => length,
            Err(why) => {
                return Err(Fault::bad(format!("stream-length {length:?} is no length: {why}")));
            }
        };
        OffUrl::check_words(&content_type, &name)?;
        let (version, recycle) = (Version::V3, recycled(headers)?);
        let options = PutOptions { content_type, name, version, recycle, ..PutOptions::default() };
        Ok(Self { options, length, origin: origin(headers)? })
    }
}

fn needed(headers: &HeaderMap, name: &str) -> Result<String, Fault> {
    let missing = || Fault::bad(format!("the header {name} is missing"));
    text(headers, name).filter(|text| !text.is_empty()).ok_or_else(missing)
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let bytes = headers.get(name)?.as_bytes();
    let latin_1 = || bytes.iter().copied().map(char::from).collect();
    Some(std::str::from_utf8(bytes).map_or_else(|_| latin_1(), str::to_owned))
}

fn recycled(headers: &HeaderMap) -> Result<Vec<OffUrl>, Fault> {
    let Some(list) = text(headers, "recycler") else { return Ok(Vec::new()) };
    let wrong = |why: String| Fault::bad(format!("recycler is no list of OFF URLs: {why}"));
    let urls: Vec<String> =
        serde_json::from_str(&list).map_err(|error| wrong(error.to_string()))?;
    let parse = |url: &String| OffUrl::parse(url).map_err(|error| wrong(error.to_string()));
    urls.iter().map(parse).collect()
}

fn origin(headers: &HeaderMap) -> Result<String, Fault> {
    let Some(origin) = text(headers, "server-address") else { return Ok(ORIGIN.to_owned()) };
    let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    let is_host = |c: u8| c.is_ascii_alphanumeric() || b"-._:[]".contains(&c);
    match host.map(|host| host.trim_end_matches('/')) {
        Some(host) if !host.is_empty() && host.bytes().all(is_host) => {}
        _ => return Err(Fault::bad("server-address is not http:// or https:// and a host")),
    }
    if origin.len() > MAX_ORIGIN_LEN {
        return Err(Fault::bad(format!("server-address is longer than {MAX_ORIGIN_LEN}")));
    }
    Ok(origin.trim_end_matches('/').to_owned())
}

/// A body that is to have so many bytes, or at least as many blocks.
pub(super) struct Announced {
    inner: PipeReader,
    length: u64,
    read: u64,
}

impl Announced {
    pub(super) const fn new(inner: PipeReader, length: u64) -> Self {
        Self { inner, length, read: 0 }
    }
}

impl Read for Announced {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read += read as u64;
        let is_end = read == 0 && !buffer.is_empty();
        let size = BlockSize::legacy_of(self.length);
        let blocks = size.source_blocks(self.length);
        let is_other =
            BlockSize::legacy_of(self.read) != size || size.source_blocks(self.read) != blocks;
        // More than was announced need not be waited for to the end.
        if (is_end && is_other) || size.source_blocks(self.read) > blocks {
            let why = format!(
                "the body has {}{} bytes, which is not as many blocks as a stream-length of {}",
                if is_end { "" } else { "at least " },
                self.read,
                self.length
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;
    use axum::http::{HeaderName, HeaderValue};

    fn asked(lines: &[(&str, &[u8])]) -> Result<Asked, Fault> {
        let mut headers = HeaderMap::new();
        let usual: &[(&str, &[u8])] =
            &[("type", b"text/plain"), ("file-name", b"a"), ("stream-length", b"5")];
        for (name, value) in usual.iter().chain(lines) {
            let name: HeaderName = name.parse().unwrap();
            headers.insert(name, HeaderValue::from_bytes(value).unwrap());
        }
        Asked::parse(&headers)
    }

    #[test]
    fn reads_the_headers_of_js_offs() {
        let plain = asked(&[]).unwrap();
        assert_eq!((plain.length, plain.origin.as_str()), (5, ORIGIN));
        assert_eq!(plain.options.version, Version::V3);
        let name = |bytes| asked(&[("file-name", bytes)]).unwrap().options.name;
        assert_eq!((name("ï.txt".as_bytes()), name(b"\xef.txt")), ("ï.txt".into(), "ï.txt".into()));
        let typed = asked(&[("type", b"text/html; charset=utf-8")]).unwrap();
        assert_eq!(typed.options.content_type, "text/html");
        let moved = asked(&[("server-address", b"http://10.0.0.1:80/")]).unwrap();
        assert_eq!(moved.origin, "http://10.0.0.1:80");
        assert!(asked(&[("recycler", b"[]")]).unwrap().options.recycle.is_empty());
    }

    #[test]
    fn refuses_what_js_offs_stumbles_over() {
        for wrong in [
            ("type", &b"html"[..]),
            ("type", b""),
            ("file-name", b""),
            ("stream-length", b"0"),
            ("stream-length", b"-1"),
            ("stream-length", b"x"),
            ("temporary", b"false"),
            ("recycler", b"no"),
            ("recycler", b"[1]"),
            ("recycler", b"[\"http://evil.example/\"]"),
            ("server-address", b"evil"),
            ("server-address", b"http://"),
            ("server-address", b"javascript://x"),
            ("server-address", b"http://a/b<c>"),
        ] {
            let fault = asked(&[wrong]).err().unwrap();
            assert_eq!(fault.status, StatusCode::BAD_REQUEST, "{wrong:?}");
        }
    }
}
