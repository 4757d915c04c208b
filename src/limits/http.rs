//! The bounds of our own HTTP server, and of asking that of another OFF program.

use std::time::Duration;

/// Connections at once. A browser opens six to a host; each of ours may hold a few MB.
pub const MAX_HTTP_CONNECTIONS: usize = 256;

/// Bytes of the longest request head. An OFF URL has at most 16,384 characters
/// ([`MAX_URL_LEN`](super::MAX_URL_LEN)), and browsers send a few KB of headers.
pub const MAX_HEAD_LEN: usize = 64 << 10;

/// Header lines of one request: browsers send twenty.
pub const MAX_HEADERS: usize = 64;

/// Bytes read from or gathered for one connection at once: a block.
pub const HTTP_BUFFER_LEN: usize = 128 << 10;

/// How long a connection may take for the head of a request, and may idle between two.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may be waited for in all until it has taken [`LEAST_MOVED`] bytes of an answer, or
/// sent so many of a body.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes that have to move in so much waiting: 270 bytes a second, less than the slowest line that
/// somebody uses. Whoever sends a byte now and then would hold a place for ever.
pub const LEAST_MOVED: u64 = 16 << 10;

/// How long requests that are under way when the server stops may still take.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Ranges of one request that are answered. Players and PDF viewers ask for a handful.
pub const MAX_RANGES: usize = 64;

/// Parts of a body that wait between the connection and the put: 1 MiB when they are as long as
/// the buffer of a connection.
pub const BODY_PARTS_AHEAD: usize = 8;

/// Bytes of small files that are gathered before they are put as one packed stream.
pub const GATHERED_LEN: usize = 8 << 20;

/// Lines of the listing of a directory that one page shows: 2 MB of HTML.
pub const MAX_LISTED: usize = 10_000;

/// Files of one form. A folder of more is for the command line.
pub const MAX_FORM_FILES: usize = 10_000;

/// Bytes of a form between the end of a file and the beginning of the next: its head, and what the
/// connection has read of the file by then.
pub const MAX_FORM_GAP: usize = 1 << 20;

/// Bytes of a form that are still read when nobody wants them any more.
pub const MAX_FORM_REST: usize = 64 << 20;

/// How long the HTTP port of another OFF program may take to accept a connection.
pub const NODE_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long it may be silent where the user has set no limit: within a folder of a million files
/// somebody has to give up some time.
pub const NODE_SILENCE: Duration = Duration::from_secs(24 * 3600);
