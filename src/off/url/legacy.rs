//! The OFF URL of version 3, as js-offs (v0.1.0) prints and reads it.
//!
//! ```text
//! <server>/offsystem/v3/<type>/<length>/<file id>/<descriptor id>/<name>[?hints]
//! ```
//!
//! Type, length and ids are those of version 4, but there is no empty stream. The length alone says
//! how long the blocks are, see [`BlockSize::legacy_of`](crate::off::BlockSize::legacy_of). The name
//! is everything up to `?` or `#`, slashes included.
//!
//! js-offs prints names as JavaScript's `encodeURIComponent` does, with `!~*'()` bare, and cuts a name
//! off at the first of ``!$`&*()+`` when it reads one; so we escape these. What it got in a header it
//! reads as Latin-1, so that any name that was typed as UTF-8 comes out wrong, but always as UTF-8; what
//! others wrote by hand need not be. No id covers a name, so it is read whatever it is: an escape that is
//! none stands for itself, and bytes that are no UTF-8 become U+FFFD.
//!
//! A directory's name ends in `.ofd`. Where its name is expected, js-offs takes the path of one of its
//! files as well: `.../<descriptor id>/img/dot.svg`. So what does not begin with a part that ends in
//! `.ofd` is such a path, and the directory's own name is not known.
//!
//! No parameter changes how a stream decodes: those of version 4 that do are refused, hints are read,
//! and everything else is skipped, as js-offs does.

use percent_encoding::percent_decode_str;

use crate::id::{BlockId, FileId};
use crate::limits::MAX_STREAM_LEN;
use crate::off::{Seal, TupleSize, directory};

use super::parameters::Parameters;
use super::parse::{Head, descriptor_id};
use super::{Hints, OffUrl, UrlError, Version};

/// What a directory is called whose name is not known.
const NAMELESS: &str = "directory.ofd";

/// The parameters that mean something, or would in version 4.
const OURS: [&str; 8] = ["t", "k", "o", "s", "btih", "tr", "ws", "pe"];

/// Why a parameter of version 4 is refused.
pub(super) const NO_PARAMETER: &str = "an OFF URL of version 3 has no such parameter";

impl OffUrl {
    /// Names a stream in version 3. `content_type` must be a type, `name` may be anything; that of
    /// a directory gets the ending `.ofd` unless it has it.
    pub fn legacy(
        length: u64,
        file: FileId,
        descriptor: BlockId,
        content_type: &str,
        name: &str,
    ) -> Result<Self, UrlError> {
        let is_directory = content_type == directory::CONTENT_TYPE;
        let ending =
            if is_directory && !is_directory_name(name) { directory::EXTENSION } else { "" };
        let name = format!("{name}{ending}");
        Self::check_words(content_type, &name)?;
        if length > MAX_STREAM_LEN {
            return Err(UrlError::Length(length.to_string()));
        }
        if length == 0 {
            return Err(UrlError::Empty);
        }
        Ok(Self {
            version: Version::V3,
            content_type: content_type.to_owned(),
            length,
            file,
            descriptor: Some(descriptor),
            name,
            tuple: TupleSize::default(),
            seal: Seal::Plain,
            member: None,
            executable: false,
            hints: Hints::default(),
        })
    }
}

/// Reads what comes after the version.
pub(super) fn parse(head: Head<'_>, query: &str) -> Result<(OffUrl, Option<String>), UrlError> {
    let Head { content_type, length, file, descriptor, rest } = head;
    let descriptor = descriptor_id(descriptor)?;
    let (name, path) = match content_type.as_str() {
        directory::CONTENT_TYPE => name_and_path(rest),
        _ => (unescape(rest), None),
    };
    let is_ours = |pair: &&str| OURS.contains(&pair.split('=').next().unwrap_or_default());
    let query = query.split('&').filter(is_ours).collect::<Vec<_>>().join("&");
    let Parameters { tuple, seal, member, executable: _, hints } = Parameters::parse(&query)?;
    let of_version_4 =
        [("t", tuple != TupleSize::default()), ("k", seal != Seal::Plain), ("o", member.is_some())];
    if let Some((key, _)) = of_version_4.into_iter().find(|(_, is_there)| *is_there) {
        return Err(UrlError::Parameter { key: key.into(), why: NO_PARAMETER.into() });
    }
    let url = OffUrl::legacy(length, file, descriptor, &content_type, &name)?;
    Ok((OffUrl { hints, ..url }, path))
}

/// A directory's name, and what comes behind it: the path of a file, or nothing.
fn name_and_path(rest: &str) -> (String, Option<String>) {
    let (name, path) = match rest.split_once('/') {
        Some((name, path)) => (unescape(name), Some(path)),
        None => (unescape(rest), None),
    };
    if is_directory_name(&name) {
        return (name, path.map(unescape));
    }
    (NAMELESS.to_owned(), Some(unescape(rest)).filter(|path| !path.is_empty()))
}

fn is_directory_name(name: &str) -> bool {
    name.ends_with(directory::EXTENSION)
}

/// Undoes percent-encoding, whatever it is.
fn unescape(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
