//! The parameters of an OFF URL: what changes how it decodes, and hints where to look.

use std::net::SocketAddr;

use crate::id::{InfoHash, excerpt};
use crate::limits::MAX_HINTS;
use crate::off::{Seal, SealKey, TupleSize};

use super::{UrlError, unescape};

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
    pub(super) hints: Hints,
}

impl Parameters {
    pub(super) fn parse(query: &str) -> Result<Self, UrlError> {
        let mut found =
            Self { tuple: TupleSize::default(), seal: Seal::Plain, hints: Hints::default() };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            found.take(key, unescape(value)?)?;
        }
        Ok(found)
    }

    fn take(&mut self, key: &str, value: String) -> Result<(), UrlError> {
        let wrong = |why: String| UrlError::Parameter { key: excerpt(key), why };
        let hints = &mut self.hints;
        match key {
            "t" => self.tuple = value.parse().map_err(wrong)?,
            "k" => {
                let key = SealKey::parse(&value).map_err(|e| wrong(e.to_string()))?;
                self.seal = Seal::Key(key);
            }
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

fn push_hint<T: PartialEq>(hints: &mut Vec<T>, hint: T) {
    if hints.len() < MAX_HINTS && !hints.contains(&hint) {
        hints.push(hint);
    }
}
