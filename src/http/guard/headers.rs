//! The headers that every answer carries, and those of bytes that somebody stored.
//!
//! Stored bytes are anybody's, so they get an origin of their own: `Content-Security-Policy:
//! sandbox` makes it, and no script runs in it. What a browser would act on is handed out as a
//! download, unless it is part of a stored site.

use std::fmt::Write as _;

use ::headers::HeaderMap;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use hyper::header::{
    CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};

use crate::off::name;
use crate::off::url::escape;

/// For our own page and everything else that is ours.
const OURS: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// For stored bytes.
const STORED: &str = "sandbox; default-src 'none'; img-src 'self' data: blob:; \
    media-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; font-src 'self' data:; \
    form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

const OPENER: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Content types whose bytes a browser shows or plays and does not act on.
const PASSIVE: &[&str] = &[
    "text/plain",
    "text/css",
    "text/csv",
    "text/markdown",
    "text/vtt",
    "text/json",
    "application/json",
];

/// Completes an answer.
pub(in crate::http) async fn finish(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    complete(response.headers_mut());
    response
}

fn complete(headers: &mut HeaderMap) {
    let fixed = HeaderValue::from_static;
    if !headers.contains_key(CONTENT_SECURITY_POLICY) {
        headers.insert(CONTENT_SECURITY_POLICY, fixed(OURS));
        // A browser does not open a sandboxed answer that has this one.
        headers.insert(OPENER, fixed("same-origin"));
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, fixed("nosniff"));
    headers.insert(REFERRER_POLICY, fixed("no-referrer"));
    headers.entry(RESOURCE).or_insert(fixed("same-origin"));
}

/// Says that an answer has stored bytes in it. A sandboxed page is of no origin, and so its own
/// images and styles, the members of the same directory, are of another one: they can be shown by
/// any page that knows their URL, and read by none.
pub(in crate::http) fn stored(headers: &mut HeaderMap, is_member: bool) {
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(STORED));
    let whose = if is_member { "cross-origin" } else { "same-origin" };
    headers.insert(RESOURCE, HeaderValue::from_static(whose));
}

/// How a browser is to take a file: what it is called (RFC 6266), and whether it is shown.
pub(in crate::http) fn disposition(
    name: &str,
    content_type: &str,
    is_member: bool,
) -> Option<HeaderValue> {
    let name = name::safe(name, "download");
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let is_shown = is_member || is_passive(content_type);
    let mut text =
        format!("{}; filename=\"{plain}\"", if is_shown { "inline" } else { "attachment" });
    if plain != name {
        // Writing into a string cannot fail.
        let _ = write!(text, "; filename*=UTF-8''{}", escape(&name));
    }
    HeaderValue::try_from(text).ok()
}

/// Whether a character means nothing between the quotes of a header, not even to a browser that
/// undoes percent-encoding there.
fn is_plain(c: char) -> bool {
    (c.is_ascii_graphic() || c == ' ') && !"\"\\%".contains(c)
}

fn is_passive(content_type: &str) -> bool {
    let content_type = content_type.to_ascii_lowercase();
    let is_media =
        ["image/", "audio/", "video/", "font/"].iter().any(|kind| content_type.starts_with(kind));
    let is_active = content_type.contains("svg") || content_type.contains("xml");
    PASSIVE.contains(&content_type.as_str()) || (is_media && !is_active)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn active_types_are_downloads_unless_they_are_part_of_a_site() {
        for content_type in [
            "text/html",
            "TEXT/HTML",
            "application/xhtml+xml",
            "image/svg+xml",
            "IMAGE/SVG+xml",
            "text/xml",
            "application/xml",
            "application/javascript",
            "text/javascript",
            "application/pdf",
            "application/octet-stream",
            "x/y",
        ] {
            let alone = disposition("a", content_type, false).unwrap();
            assert_eq!(alone, "attachment; filename=\"a\"", "{content_type}");
            assert_eq!(disposition("a", content_type, true).unwrap(), "inline; filename=\"a\"");
        }
        for content_type in ["text/plain", "image/png", "video/mp4", "audio/ogg", "text/css"] {
            let alone = disposition("a", content_type, false).unwrap();
            assert_eq!(alone, "inline; filename=\"a\"", "{content_type}");
        }
    }

    #[test]
    fn hostile_names_are_one_harmless_header() {
        for (name, expected) in [
            ("a b.txt", "filename=\"a b.txt\""),
            ("a\"; x=\"b", "filename=\"a_; x=_b\""),
            ("a\r\nSet-Cookie: x=1", "filename=\"a__Set-Cookie_ x=1\""),
            ("../../etc/passwd", "filename=\".._.._etc_passwd\""),
            ("gpj\u{202e}exe", "filename=\"gpj_exe\""),
            ("100%41", "filename=\"100_41\"; filename*=UTF-8''100%2541"),
            ("", "filename=\"download\""),
            ("née.txt", "filename=\"n_e.txt\"; filename*=UTF-8''n%C3%A9e.txt"),
        ] {
            let found = disposition(name, "text/plain", false).unwrap();
            assert_eq!(found.to_str().unwrap(), format!("inline; {expected}"), "{name:?}");
        }
    }

    #[test]
    fn stored_bytes_are_sandboxed_and_ours_have_an_opener_policy() {
        let (mut ours, mut theirs) = (HeaderMap::new(), HeaderMap::new());
        complete(&mut ours);
        stored(&mut theirs, false);
        complete(&mut theirs);
        let of = |headers: &HeaderMap, name: &HeaderName| {
            headers.get(name).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(of(&ours, &CONTENT_SECURITY_POLICY).unwrap(), OURS);
        assert!(of(&theirs, &CONTENT_SECURITY_POLICY).unwrap().starts_with("sandbox;"));
        assert_eq!(of(&theirs, &OPENER), None);
        for headers in [ours, theirs] {
            assert_eq!(of(&headers, &X_CONTENT_TYPE_OPTIONS).unwrap(), "nosniff");
            assert_eq!(of(&headers, &RESOURCE).unwrap(), "same-origin");
            assert_eq!(of(&headers, &REFERRER_POLICY).unwrap(), "no-referrer");
        }
    }
}
