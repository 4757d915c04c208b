//! The parameters of an OFF URL: what changes how it decodes, and hints where to look.

use std::net::SocketAddr;

use crate::id::{InfoHash, excerpt};
use crate::limits::MAX_HINTS;
use crate::off::{Seal, SealKey, TupleSize};

use super::parse::{parse_length, unescape};
use super::{Member, UrlError};

/// Where a URL's blocks may be found. Somebody else's word: checked before it is followed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints {
    /// The swarm that has the blocks (`btih`).
    pub infohash: Option<InfoHash>,
    /// Its trackers (`tr`).
    pub trackers: Vec<String>,
    /// HTTP addresses of its content file (`ws`, BEP 19).
    pub web_seeds: Vec<String>,
    /// Peers of the swarm (`pe`).
    pub peers: Vec<SocketAddr>,
}

/// What the parameters of a URL say.
pub(super) struct Parameters {
    pub(super) tuple: TupleSize,
    pub(super) seal: Seal,
    pub(super) member: Option<Member>,
    pub(super) executable: bool,
    pub(super) hints: Hints,
}

/// The two halves of a [`Member`], as far as they have been read.
#[derive(Default)]
struct Halves {
    offset: Option<u64>,
    stream: Option<u64>,
}

impl Parameters {
    pub(super) fn parse(query: &str) -> Result<Self, UrlError> {
        let mut found = Self {
            tuple: TupleSize::default(),
            seal: Seal::Plain,
            member: None,
            executable: false,
            hints: Hints::default(),
        };
        let mut halves = Halves::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            found.take(key, unescape(value)?, &mut halves)?;
        }
        found.member = halves.joined()?;
        Ok(found)
    }

    fn take(&mut self, key: &str, value: String, halves: &mut Halves) -> Result<(), UrlError> {
        let wrong = |why: String| UrlError::Parameter { key: excerpt(key), why };
        let hints = &mut self.hints;
        match key {
            "t" => self.tuple = value.parse().map_err(wrong)?,
            "k" => {
                let key = SealKey::parse(&value).map_err(|e| wrong(e.to_string()))?;
                self.seal = Seal::Key(key);
            }
            "o" => halves.offset = Some(parse_length(&value).map_err(|e| wrong(e.to_string()))?),
            "s" => halves.stream = Some(parse_length(&value).map_err(|e| wrong(e.to_string()))?),
            "exec" => self.executable = value == "1",
            "btih" => {
                hints.infohash = Some(InfoHash::parse(&value).map_err(|e| wrong(e.to_string()))?);
            }
            "tr" => push_hint(&mut hints.trackers, value),
            "ws" => push_hint(&mut hints.web_seeds, value),
            "pe" => {
                let peer = value.parse().map_err(|_| {
                    wrong(format!("not an address and port: \"{}\"", excerpt(&value)))
                })?;
                push_hint(&mut hints.peers, peer);
            }
            key if key.chars().nth(1).is_none() => {
                return Err(wrong(
                    "it changes how the stream decodes and is not known here".into(),
                ));
            }
            _ => {}
        }
        Ok(())
    }
}

impl Halves {
    fn joined(self) -> Result<Option<Member>, UrlError> {
        let alone = |key: &str, other| UrlError::Parameter {
            key: key.into(),
            why: format!("it goes with {other}, which is missing"),
        };
        match (self.offset, self.stream) {
            (Some(offset), Some(stream)) => Ok(Some(Member { offset, stream })),
            (None, None) => Ok(None),
            (Some(_), None) => Err(alone("o", "s")),
            (None, Some(_)) => Err(alone("s", "o")),
        }
    }
}

fn push_hint<T: PartialEq>(hints: &mut Vec<T>, hint: T) {
    if hints.len() < MAX_HINTS && !hints.contains(&hint) {
        hints.push(hint);
    }
}
