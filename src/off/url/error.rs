//! Why a text is not an OFF URL.

use crate::id::ParseIdError;
use crate::limits::{MAX_STREAM_LEN, MAX_URL_LEN, MAX_URL_NAME};

/// Why a text is not an OFF URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It does not even look like one.
    #[error("not an OFF URL (no /offsystem/ in it): \"{0}\"")]
    NotOff(String),
    /// A form of another program or time.
    #[error("an OFF URL of version {0} cannot be read, only one of version v3 or v4")]
    Version(String),
    /// Longer than anything sensible.
    #[error("an OFF URL of {0} characters is refused (limit {MAX_URL_LEN})")]
    TooLong(usize),
    /// A part is missing.
    #[error("the OFF URL ends before its {0}")]
    Missing(&'static str),
    /// There is more than there should be.
    #[error("the OFF URL has a part too many: \"{0}\"")]
    Surplus(String),
    /// Not a content type.
    #[error("not a content type: \"{0}\"")]
    Type(String),
    /// A name nobody can use.
    #[error("a name of {0} bytes is refused (limit {MAX_URL_NAME})")]
    Name(usize),
    /// Not a length, or beyond the limit.
    #[error("not a length in bytes (0 to {MAX_STREAM_LEN}): \"{0}\"")]
    Length(String),
    /// An id that does not parse.
    #[error("bad {part} in the OFF URL")]
    Id {
        /// Which part.
        part: &'static str,
        /// What is wrong with it.
        source: ParseIdError,
    },
    /// Length 0 with a descriptor, or the other way round.
    #[error("an OFF URL of length {length} {has} descriptor")]
    Descriptor {
        /// The length.
        length: u64,
        /// "has a" or "has no".
        has: &'static str,
    },
    /// js-offs has no empty streams.
    #[error("an OFF URL of version 3 cannot name an empty file")]
    Empty,
    /// `%` without two hex digits, or not UTF-8.
    #[error("bad percent-encoding: \"{0}\"")]
    Escape(String),
    /// A parameter with an impossible value.
    #[error("bad parameter {key}: {why}")]
    Parameter {
        /// The parameter's name.
        key: String,
        /// What is wrong.
        why: String,
    },
}
