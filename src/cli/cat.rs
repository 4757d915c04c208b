//! `offswarm cat`: write a stream, or a range of it, to standard output.

use std::io;
use std::ops::Range;
use std::str::FromStr;

use crate::client::arrivals::Arrivals;
use crate::client::fetch::{Fetched, Ways};
use crate::client::{Client, GetError, ReadError};
use crate::off::OffUrl;
use crate::store::StoreError;

use super::args::{CatArgs, Global};
use super::exit::{CliError, Exit};
use super::get::{Stoppable, fetch, typed};
use super::home::parse_url;
use super::output::Output;
use super::signals::Signals;

pub(super) async fn run(
    global: &Global,
    args: &CatArgs,
    output: &Output,
    signals: &Signals,
) -> Result<Exit, CliError> {
    let url = parse_url(&typed(global, &args.from.what)?)?;
    let ways = args.from.ways(global)?;
    let range = args.range.map(|range| range.of(url.length())).transpose()?;
    let client = global.client()?;
    let _lease = client.store().lease();
    let is_range = range.is_some();
    match stream(&client, &url, range, &ways, output, signals)? {
        (Err(GetError::Read(ReadError::Missing(_) | ReadError::Store(_))), Err(cause)) => {
            return Err(cause);
        }
        // The stream is out, but could not be entered as got.
        (Ok(()), Err(error)) if !is_range => return Err(error),
        (written, _) => told(&client, &url, &ways, output, signals, written).await?,
    }
    Ok(Exit::Done)
}

/// How the writing and how the fetching of a stream ended.
type Ended = (Result<(), GetError>, Result<Fetched, CliError>);

/// Writes a range to standard output while its blocks still come in.
fn stream(
    client: &Client,
    url: &OffUrl,
    range: Option<Range<u64>>,
    ways: &Ways,
    output: &Output,
    signals: &Signals,
) -> Result<Ended, CliError> {
    let arrivals = Arrivals::default();
    let ways = Ways { arrivals: Some(arrivals.clone()), range: range.clone(), ..ways.clone() };
    let (is_range, enough) = (range.is_some(), signals.stop().child_token());
    let (written, fetched) = tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let stdout = &mut Stoppable { target: &mut output.stdout(), signals };
                let written = client.read_arriving(url, range, &arrivals, stdout, &mut |_| ());
                // Who has the range needs no more; a whole stream is entered when all is here.
                if is_range || written.is_err() {
                    enough.cancel();
                }
                written
            });
            let fetching = fetch(client, url, &ways, output, &enough);
            let fetched = tokio::runtime::Handle::current().block_on(fetching);
            arrivals.end();
            (writer.join(), fetched)
        })
    });
    let written = written.map_err(|_| CliError::new(Exit::Failed, "the writing broke off"))?;
    Ok((written, fetched))
}

/// Writes a stream whose blocks are here to standard output, and checks its file id.
pub(super) async fn to_stdout(
    client: &Client,
    url: &OffUrl,
    ways: &Ways,
    output: &Output,
    signals: &Signals,
) -> Result<(), CliError> {
    let written = tokio::task::block_in_place(|| {
        let mut progress = output.progress(Some(url.length()), true);
        let stdout = &mut Stoppable { target: &mut output.stdout(), signals };
        client.read(url, stdout, &mut |written| progress.set(written))
    });
    told(client, url, ways, output, signals, written).await
}

/// What the end of a writing to standard output means to the user.
async fn told(
    client: &Client,
    url: &OffUrl,
    ways: &Ways,
    output: &Output,
    signals: &Signals,
    written: Result<(), GetError>,
) -> Result<(), CliError> {
    match written {
        Ok(()) => Ok(()),
        Err(GetError::Write(_)) if signals.stop().is_cancelled() => Err(GetError::Stopped.into()),
        // Whoever read our output has had enough.
        Err(GetError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        // Bytes that are out cannot be taken back, so nothing is tried again; but who is hurt
        // and how much is worth knowing. (A block found damaged is missing when it is looked for
        // again.)
        Err(GetError::Read(
            ReadError::Missing(_) | ReadError::Store(StoreError::Damaged { .. }),
        )) => {
            tokio::task::block_in_place(|| client.find_damage(url))?;
            let ways = Ways { offline: true, ..ways.clone() };
            let hurt = fetch(client, url, &ways, output, signals.stop()).await.err();
            Err(hurt.unwrap_or_else(|| {
                CliError::new(Exit::Integrity, "a block was damaged while it was read")
            }))
        }
        Err(error) => Err(error.into()),
    }
}

/// Bytes of a stream as HTTP names them (RFC 9110, section 14.1.2): counted from 0, the last one
/// included, an end beyond the stream meaning its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ByteRange {
    /// `A-B`, or `A-` up to the end.
    From(u64, Option<u64>),
    /// `-N`: the last N bytes.
    Last(u64),
}

impl ByteRange {
    /// The bytes it means in a stream of `length`, from the first to the one behind the last.
    fn of(self, length: u64) -> Result<Range<u64>, CliError> {
        let range = match self {
            Self::From(first, None) => first..length,
            Self::From(first, Some(last)) => first..length.min(last.saturating_add(1)),
            Self::Last(count) => length.saturating_sub(count)..length,
        };
        if range.is_empty() {
            let why = format!("the stream has {length} bytes, counted from 0");
            return Err(CliError::usage(format!("there are no bytes {self}"), why));
        }
        Ok(range)
    }
}

impl std::fmt::Display for ByteRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::From(first, None) => write!(f, "{first}-"),
            Self::From(first, Some(last)) => write!(f, "{first}-{last}"),
            Self::Last(count) => write!(f, "-{count}"),
        }
    }
}

impl FromStr for ByteRange {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "a range is A-B, A- or -N, in bytes";
        // `u64` would take a plus sign.
        let number = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| digits).ok_or(FORM)
        };
        match text.split_once('-').ok_or(FORM)? {
            ("", count) => Ok(Self::Last(number(count)?)),
            (first, "") => Ok(Self::From(number(first)?, None)),
            (first, last) => match (number(first)?, number(last)?) {
                (first, last) if first <= last => Ok(Self::From(first, Some(last))),
                _ => Err("the range ends before it begins"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(range: &str, length: u64) -> Option<Range<u64>> {
        range.parse::<ByteRange>().unwrap().of(length).ok()
    }

    #[test]
    fn means_what_http_means() {
        assert_eq!(bytes("0-0", 10), Some(0..1));
        assert_eq!(bytes("3-99", 10), Some(3..10));
        assert_eq!(bytes("9-", 10), Some(9..10));
        assert_eq!(bytes("-3", 10), Some(7..10));
        assert_eq!(bytes("-99", 10), Some(0..10));
        assert_eq!(bytes("0-18446744073709551615", 10), Some(0..10));
        for (none, length) in [("10-", 10), ("10-11", 10), ("-0", 10), ("0-", 0), ("-1", 0)] {
            assert_eq!(bytes(none, length), None, "{none} of {length}");
        }
    }

    #[test]
    fn refuses_what_is_no_range() {
        for text in ["", "-", "5", "5-4", "+1-2", "1-2-3", "a-b", "--1", "1-18446744073709551616"] {
            assert!(text.parse::<ByteRange>().is_err(), "{text}");
        }
    }
}
