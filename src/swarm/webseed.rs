//! Web seeds: a torrent's file on an HTTP server (BEP 19, the `GetRight` style).
//!
//! For a torrent of a single file the URL is that of the file; one that ends with `/` is that of
//! its folder, and the file's name is appended. Every request is for one range of bytes, and only
//! an answer of exactly that range is taken (RFC 9110, section 14): a server that ignores ranges
//! answers 200 with the whole file, which is refused unless the whole file was asked for.
//!
//! Bytes are handed out as they arrive, unverified, and never more than were asked for. Whether
//! they are the right ones shows the hash of their piece.
//!
//! An error is temporary, so that the same seed may be asked again later, or permanent.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use super::guard::{Answer, Guard, GuardError, Origin, Purpose};
use crate::id::excerpt;
use crate::limits::{MAX_RETRY_AFTER, MAX_URL_LEN};
use crate::torrent::hints::may_fetch;

/// Why a text is not a web seed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebSeedUrlError {
    /// Longer than any sensible URL.
    #[error("a web seed's URL of {0} characters is refused (limit {MAX_URL_LEN})")]
    TooLong(usize),
    /// No URL.
    #[error("a web seed's URL does not parse: \"{text}\"")]
    Form {
        /// The text, cut to 80 characters.
        text: String,
        /// What the parser said.
        source: url::ParseError,
    },
    /// Another protocol.
    #[error("a web seed's URL begins with http or https: \"{0}\"")]
    Scheme(String),
    /// Against the rules for what strangers name.
    #[error("a stranger's web seed on a local network may not be asked this: \"{0}\"")]
    Refused(String),
}

/// Why a range is not there, or not whole.
#[derive(Debug, thiserror::Error)]
pub enum WebSeedError {
    /// No answer, or one that broke off.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// It has no time for us now.
    #[error("{server} is busy (HTTP status {status})")]
    Busy {
        /// The server.
        server: String,
        /// Its status.
        status: u16,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// It does not give us this file.
    #[error("{server} does not have the file for us (HTTP status {status})")]
    Status {
        /// The server.
        server: String,
        /// Its status.
        status: u16,
    },
    /// It answers with the whole file, or with another one.
    #[error("{server} ignores which range was asked for")]
    IgnoresRanges {
        /// The server.
        server: String,
    },
    /// It answers with another range.
    #[error("{server} answers with the range \"{got}\" instead of \"{asked}\"")]
    OtherRange {
        /// The server.
        server: String,
        /// What was asked for.
        asked: String,
        /// What it says it sends.
        got: String,
    },
    /// The answer ended too early.
    #[error("the answer of {server} lacks its last {missing} bytes")]
    CutShort {
        /// The server.
        server: String,
        /// Bytes that are missing.
        missing: u64,
    },
    /// We asked for no bytes, or for some beyond the file.
    #[error("no range of a file of {total} bytes: {start} to {end}")]
    BadRange {
        /// First byte asked for.
        start: u64,
        /// The byte after the last.
        end: u64,
        /// Bytes of the file.
        total: u64,
    },
}

impl WebSeedError {
    /// Whether the seed may be asked again later.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        match self {
            Self::Guard(error) => error.is_temporary(),
            Self::Busy { .. } | Self::CutShort { .. } => true,
            Self::Status { .. }
            | Self::IgnoresRanges { .. }
            | Self::OtherRange { .. }
            | Self::BadRange { .. } => false,
        }
    }

    /// How long the seed wants to be left alone, at most an hour.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// A torrent's file on an HTTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSeed {
    url: Url,
    origin: Origin,
}

impl WebSeed {
    /// The web seed at `url` for a torrent whose only file is called `content_name`.
    pub fn new(url: &str, content_name: &str, origin: Origin) -> Result<Self, WebSeedUrlError> {
        const UNRESERVED: &AsciiSet =
            &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
        if url.len() > MAX_URL_LEN {
            return Err(WebSeedUrlError::TooLong(url.len()));
        }
        let mut parsed = Url::parse(url)
            .map_err(|source| WebSeedUrlError::Form { text: excerpt(url), source })?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(WebSeedUrlError::Scheme(excerpt(url)));
        }
        if parsed.path().ends_with('/') && parsed.query().is_none() {
            let name = utf8_percent_encode(content_name, UNRESERVED);
            parsed.set_path(&format!("{}{name}", parsed.path()));
        }
        parsed.set_fragment(None);
        if origin == Origin::Stranger && !may_fetch(parsed.as_str()) {
            return Err(WebSeedUrlError::Refused(excerpt(url)));
        }
        Ok(Self { url: parsed, origin })
    }

    /// The URL of the file.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// Asks for some bytes of the file, which has `total` bytes.
    ///
    /// # Errors
    /// The answer is not exactly these bytes, as far as its headers tell.
    pub async fn fetch(
        &self,
        guard: &Guard,
        range: Range<u64>,
        total: u64,
    ) -> Result<Chunks, WebSeedError> {
        if range.is_empty() || range.end > total {
            return Err(WebSeedError::BadRange { start: range.start, end: range.end, total });
        }
        let answer = guard.get(&self.url, self.origin, Purpose::WebSeed, Some(&range)).await?;
        let said = Said {
            status: answer.status(),
            range: answer.header("content-range"),
            length: answer.length(),
            encoded: answer.header("content-encoding").is_some_and(|coding| coding != "identity"),
            retry_after: answer.header("retry-after"),
        };
        check(&said, &range, total, answer.server())?;
        Ok(Chunks { answer, left: range.end - range.start })
    }
}

/// The bytes of a range, as they arrive.
#[derive(Debug)]
pub struct Chunks {
    answer: Answer,
    left: u64,
}

impl Chunks {
    /// The next bytes, at least one; `None` when all have been handed out. Cancelling loses
    /// nothing.
    pub async fn next(&mut self) -> Result<Option<Bytes>, WebSeedError> {
        while self.left > 0 {
            let Some(mut chunk) = self.answer.chunk().await? else {
                let server = self.answer.server().to_owned();
                return Err(WebSeedError::CutShort { server, missing: self.left });
            };
            chunk.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.left -= chunk.len() as u64;
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
        }
        Ok(None)
    }

    /// Bytes that have not been handed out yet.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.left
    }
}

/// What the headers of an answer say.
struct Said<'a> {
    status: u16,
    range: Option<&'a str>,
    length: Option<u64>,
    encoded: bool,
    retry_after: Option<&'a str>,
}

/// Whether an answer is just the bytes that were asked for.
fn check(
    said: &Said<'_>,
    asked: &Range<u64>,
    total: u64,
    server: &str,
) -> Result<(), WebSeedError> {
    let server = server.to_owned();
    let status = said.status;
    let length = asked.end - asked.start;
    match status {
        206 if is_range(said.range.unwrap_or_default(), asked, total)
            && said.length.is_none_or(|declared| declared == length)
            && !said.encoded =>
        {
            Ok(())
        }
        206 => {
            let got = excerpt(said.range.unwrap_or_default());
            let asked = format!("bytes {}-{}/{total}", asked.start, asked.end - 1);
            Err(WebSeedError::OtherRange { server, asked, got })
        }
        200 if *asked == (0..total) && said.length == Some(total) && !said.encoded => Ok(()),
        200 => Err(WebSeedError::IgnoresRanges { server }),
        408 | 425 | 429 | 500 | 502..=504 => {
            let retry_after = said.retry_after.and_then(|text| wait(text, SystemTime::now()));
            Err(WebSeedError::Busy { server, status, retry_after })
        }
        _ => Err(WebSeedError::Status { server, status }),
    }
}

/// Whether a `Content-Range` is of these bytes of a file of `total`.
fn is_range(text: &str, asked: &Range<u64>, total: u64) -> bool {
    let parse = || {
        let (unit, rest) = text.trim().split_once(' ')?;
        let (range, of) = rest.trim().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let last: u64 = last.parse().ok()?;
        let whole = of == "*" || of.parse() == Ok(total);
        let bytes = unit.eq_ignore_ascii_case("bytes");
        Some(bytes && whole && first.parse() == Ok(asked.start) && last == asked.end - 1)
    };
    parse().unwrap_or(false)
}

/// How long a `Retry-After` asks to wait, in either of its two forms.
fn wait(text: &str, now: SystemTime) -> Option<Duration> {
    let seconds = text.trim().parse().ok().map(Duration::from_secs);
    let until = || {
        let date = httpdate::parse_http_date(text.trim()).ok()?;
        Some(date.duration_since(now).unwrap_or_default())
    };
    Some(seconds.or_else(until)?.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Said<'_> =
        Said { status: 206, range: None, length: None, encoded: false, retry_after: None };

    fn at(url: &str, name: &str) -> String {
        WebSeed::new(url, name, Origin::Stranger).unwrap().url().to_string()
    }

    #[test]
    fn appends_the_name_to_a_folder() {
        assert_eq!(
            at("http://s.example/d/", "a b/ü#.off"),
            "http://s.example/d/a%20b%2F%C3%BC%23.off"
        );
        assert_eq!(at("http://s.example", "x.off"), "http://s.example/x.off");
        assert_eq!(at("http://s.example/y.off", "x.off"), "http://s.example/y.off");
        assert_eq!(at("http://s.example/d/?file=y", "x.off"), "http://s.example/d/?file=y");
    }

    #[test]
    fn refuses_what_is_no_web_seed() {
        let new = |url: &str, origin| WebSeed::new(url, "x.off", origin);
        let refused = |url| new(url, Origin::Stranger).unwrap_err();
        assert!(matches!(refused("nonsense"), WebSeedUrlError::Form { .. }));
        assert!(matches!(refused("file:///etc/"), WebSeedUrlError::Scheme(_)));
        assert!(matches!(refused("ftp://s.example/"), WebSeedUrlError::Scheme(_)));
        assert!(matches!(refused("http://10.0.0.1/?a"), WebSeedUrlError::Refused(_)));
        assert!(matches!(refused(&"http://".repeat(9_000)), WebSeedUrlError::TooLong(_)));
        assert!(new("http://10.0.0.1/?a", Origin::User).is_ok());
    }

    #[test]
    fn takes_only_the_range_it_asked_for() {
        let asked = 10..20;
        for good in ["bytes 10-19/100", "Bytes 10-19/*"] {
            let said = Said { range: Some(good), length: Some(10), ..NOTHING };
            assert!(check(&said, &asked, 100, "s").is_ok(), "{good}");
            assert!(check(&Said { length: None, ..said }, &asked, 100, "s").is_ok(), "{good}");
        }
        for bad in [
            "",
            "bytes",
            "bytes 10-19",
            "bytes 0-9/100",
            "bytes 10-18/100",
            "bytes 10-20/100",
            "bytes 10-19/101",
            "bytes */100",
            "bytes 10-99999999999999999999/100",
            "items 10-19/100",
        ] {
            let said = Said { range: Some(bad), ..NOTHING };
            let error = check(&said, &asked, 100, "s").unwrap_err();
            assert!(matches!(error, WebSeedError::OtherRange { .. }), "{bad}");
            assert!(!error.is_temporary(), "{bad}");
        }
        let right = Said { range: Some("bytes 10-19/100"), length: Some(10), ..NOTHING };
        assert!(check(&Said { length: Some(11), ..right }, &asked, 100, "s").is_err());
        assert!(
            check(&Said { encoded: true, length: Some(10), ..right }, &asked, 100, "s").is_err()
        );
    }

    #[test]
    fn takes_a_whole_file_only_when_it_asked_for_one() {
        let said = Said { status: 200, length: Some(100), ..NOTHING };
        assert!(check(&said, &(0..100), 100, "s").is_ok());
        for (asked, length) in
            [(0..50, Some(100)), (50..100, Some(100)), (0..100, None), (0..100, Some(99))]
        {
            let error = check(&Said { length, ..said }, &asked, 100, "s").unwrap_err();
            assert!(matches!(error, WebSeedError::IgnoresRanges { .. }), "{asked:?}");
            assert!(!error.is_temporary());
        }
    }

    #[test]
    fn tells_busy_from_gone() {
        let of = |status, retry_after| {
            check(&Said { status, retry_after, ..NOTHING }, &(0..1), 2, "s").unwrap_err()
        };
        let busy = of(503, Some("7"));
        assert!(busy.is_temporary());
        assert_eq!(busy.retry_after(), Some(Duration::from_secs(7)));
        assert!(of(429, None).is_temporary() && of(429, None).retry_after().is_none());
        for gone in [204, 301, 304, 400, 401, 403, 404, 410, 416, 501, 999] {
            assert!(!of(gone, None).is_temporary(), "{gone}");
        }
    }

    #[test]
    fn reads_both_forms_of_a_wait_and_waits_no_year() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(wait("120", now), Some(Duration::from_secs(120)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:50:37 GMT", now), Some(Duration::from_secs(60)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:40:37 GMT", now), Some(Duration::ZERO));
        assert_eq!(wait("99999999", now), Some(MAX_RETRY_AFTER));
        assert_eq!(wait("soon", now), None);
        assert_eq!(wait("-1", now), None);
    }
}
