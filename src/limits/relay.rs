//! The bounds of what is brought for others: see the module `client::session::relay`.

use std::time::Duration;

/// Blocks that are waited for at the same time.
pub const RELAYED_AT_ONCE: usize = 64;

/// Descriptors that are looked for or carried at the same time.
pub const RELAY_TORRENTS: usize = 8;

/// Descriptors that are looked for because of one address (IPv6: one /64): js-offs wants one file after the
/// other, and others must find a place, too.
pub const RELAY_SEARCHES_PER_ADDRESS: usize = 3;

/// Of the store's limit a torrent that is carried may have one part in so many.
pub const RELAY_SHARE: u64 = 2;

/// Blocks of a torrent that are wanted ahead of what has come, 16 MiB: whoever asks for the first will
/// ask for these next, and has gone away if not.
pub const RELAY_AHEAD: u64 = 128;

/// How long a torrent is looked for that carries a descriptor.
pub const RELAY_SEARCH: Duration = Duration::from_secs(30);

/// Who holds it has been asked for, and still nothing has come: so long it may, before nobody waits any
/// longer.
pub const RELAY_GRACE: Duration = Duration::from_secs(5);

/// How long peers of a torrent that was found are waited for who know what it is.
pub const RELAY_JOIN: Duration = Duration::from_secs(60);

/// How long a torrent is carried of which no block is asked for.
pub const RELAY_IDLE: Duration = Duration::from_secs(120);

/// How long what was looked for in vain is not looked for again.
pub const SOUGHT_AGAIN: Duration = Duration::from_secs(600);

/// Blocks of which it is remembered that they were looked for.
pub const SOUGHT_KEPT: usize = 4_096;
