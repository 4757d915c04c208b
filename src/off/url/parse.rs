//! Reading an OFF URL of either version.

use percent_encoding::percent_decode_str;

use crate::id::{BlockId, FileId, excerpt};
use crate::limits::{MAX_STREAM_LEN, MAX_TYPE_LEN, MAX_URL_LEN};

use super::parameters::Parameters;
use super::{Named, OffUrl, UrlError, legacy};

impl OffUrl {
    /// Reads an OFF URL with any origin or none.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        match parts(text)? {
            (url, None) => Ok(url),
            (_, Some(path)) => Err(UrlError::Surplus(excerpt(&path))),
        }
    }

    /// Reads an OFF URL; that of a directory may go on with the path of one of its files. In
    /// version 3 the path may also stand where the directory's name should be.
    pub fn parse_with_path(text: &str) -> Result<(Self, Option<String>), UrlError> {
        let (url, path) = parts(text)?;
        Ok((url, path.filter(|path| !path.is_empty())))
    }
}

/// What both versions begin with.
pub(super) struct Head<'a> {
    pub(super) content_type: String,
    pub(super) length: u64,
    pub(super) file: FileId,
    /// As it stands there.
    pub(super) descriptor: &'a str,
    /// Everything behind, without parameters.
    pub(super) rest: &'a str,
}

/// A URL, and a path in the directory that it names if there is anything where it would stand.
fn parts(text: &str) -> Result<(OffUrl, Option<String>), UrlError> {
    let text = text.trim();
    if text.len() > MAX_URL_LEN {
        return Err(UrlError::TooLong(text.len()));
    }
    let text = text.split_once('#').map_or(text, |(before, _)| before);
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let (version, path) = version_and_path(path)?;
    match version {
        "v3" => legacy::parse(Head::parse(path)?, query),
        "v4" => native(Head::parse(path)?, query),
        other => Err(UrlError::Version(excerpt(other))),
    }
}

fn native(head: Head<'_>, query: &str) -> Result<(OffUrl, Option<String>), UrlError> {
    let Head { content_type, length, file, descriptor, rest } = head;
    let descriptor = match descriptor {
        "-" => None,
        text => Some(descriptor_id(text)?),
    };
    let (name, path) = match rest.split_once('/') {
        Some((name, path)) => (name, Some(path)),
        None => (rest, None),
    };
    let Parameters { tuple, seal, member, executable, hints } = Parameters::parse(query)?;
    let named = Named { length, file, descriptor, tuple, seal };
    let url = OffUrl::new(named, &content_type, &unescape(name)?)?;
    let url = OffUrl { executable, hints, ..url };
    let url = match member {
        Some(member) => url.packed(member)?,
        None => url,
    };
    match path {
        Some(path) if !url.is_directory() => Err(UrlError::Surplus(excerpt(path))),
        path => Ok((url, path.map(unescape).transpose()?)),
    }
}

impl<'a> Head<'a> {
    fn parse(path: &'a str) -> Result<Self, UrlError> {
        let mut parts = path.splitn(6, '/');
        let mut part = |what| parts.next().filter(|p| !p.is_empty()).ok_or(UrlError::Missing(what));
        let content_type = format!("{}/{}", part("type")?, part("type")?);
        let length = parse_length(part("length")?)?;
        let id = |source| UrlError::Id { part: "file id", source };
        let file = FileId::parse(part("file id")?).map_err(id)?;
        let descriptor = part("descriptor id")?;
        let rest = parts.next().ok_or(UrlError::Missing("name"))?;
        Ok(Self { content_type, length, file, descriptor, rest })
    }
}

pub(super) fn descriptor_id(text: &str) -> Result<BlockId, UrlError> {
    BlockId::parse(text).map_err(|source| UrlError::Id { part: "descriptor id", source })
}

/// Cuts origin and `offsystem` off: the version, and what comes after it.
fn version_and_path(path: &str) -> Result<(&str, &str), UrlError> {
    let not_off = || UrlError::NotOff(excerpt(path));
    let path = match path.split_once("://") {
        Some((_, rest)) => rest.split_once('/').ok_or_else(not_off)?.1,
        None => path.trim_start_matches('/'),
    };
    let rest = path.strip_prefix("offsystem/").ok_or_else(not_off)?;
    rest.split_once('/').filter(|(version, _)| version.starts_with('v')).ok_or_else(not_off)
}

pub(super) fn check_type(text: &str) -> Result<(), UrlError> {
    let half = |half: &str| {
        (1..=MAX_TYPE_LEN).contains(&half.len())
            && half.bytes().all(|b| b.is_ascii_alphanumeric() || b"-+._".contains(&b))
    };
    match text.split_once('/') {
        Some((major, minor)) if half(major) && half(minor) => Ok(()),
        _ => Err(UrlError::Type(excerpt(text))),
    }
}

pub(super) fn parse_length(text: &str) -> Result<u64, UrlError> {
    let canonical = text == "0" || !text.starts_with('0');
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|&length| canonical && digits && length <= MAX_STREAM_LEN)
        .ok_or_else(|| UrlError::Length(excerpt(text)))
}

/// Undoes [`escape`](super::escape), strictly: every `%` has two hex digits and the result is
/// UTF-8.
pub fn unescape(text: &str) -> Result<String, UrlError> {
    let mut escapes = text.split('%').skip(1);
    let well_formed = escapes
        .all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()));
    match percent_decode_str(text).decode_utf8() {
        Ok(decoded) if well_formed => Ok(decoded.into_owned()),
        _ => Err(UrlError::Escape(excerpt(text))),
    }
}
