//! Magnet links that carry an OFF URL (BEP 9; of version 2 BEP 52).
//!
//! ```text
//! magnet:?xt=urn:btih:<infohash>&dn=<name>&tr=<tracker>&x.pe=<peer>&x.off=<path and parameters>
//! ```
//!
//! Stock clients join the swarm and skip `x.off`; we decode with it. The value is the OFF URL
//! without its origin, percent-encoded once more as a whole. Links with a second `xt` are refused
//! by some stock clients, so ours has one: `urn:btih:` for the ordinary torrent and for hybrids,
//! `urn:btmh:1220<SHA-256>` for version 2, never both (a pair that does not belong together hangs
//! libtorrent). A link to an empty stream has no `xt`: there is no block to look for.

use std::net::SocketAddr;

use crate::id::{InfoHash, InfoHashV2, excerpt};
use crate::limits::{MAX_HINTS, MAX_URL_LEN};
use crate::off::OffUrl;
use crate::off::url::{Hints, UrlError, escape, unescape};

use super::metainfo::{Metainfo, content_name};

/// What a multihash of SHA-256 begins with: its code and its 32 bytes, in hex.
const SHA_256: &str = "1220";

/// Why a text is not a magnet link we can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MagnetError {
    /// Another kind of link.
    #[error("not a magnet link: \"{0}\"")]
    NotMagnet(String),
    /// Longer than anything sensible.
    #[error("a magnet link of {0} characters is refused (limit {MAX_URL_LEN})")]
    TooLong(usize),
    /// A part that does not parse.
    #[error("bad {key} in the magnet link: \"{value}\"")]
    Part {
        /// Its key.
        key: String,
        /// Its value, cut to 80 characters.
        value: String,
    },
    /// A version 2 swarm by another name than its SHA-256.
    #[error(
        "bad xt in the magnet link: \"{0}\" is not 1220 and 64 hex digits, the form of SHA-256"
    )]
    MultiHash(String),
    /// The OFF URL in it does not parse.
    #[error("bad x.off in the magnet link")]
    Off(#[source] UrlError),
}

/// A parsed magnet link.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Magnet {
    /// The swarm (`xt=urn:btih:`).
    pub infohash: Option<InfoHash>,
    /// The swarm of version 2 (`xt=urn:btmh:`). It is not written where there is an
    /// [`infohash`](Self::infohash).
    pub infohash_v2: Option<InfoHashV2>,
    /// The name shown by stock clients (`dn`).
    pub name: Option<String>,
    /// Trackers (`tr`), at most 16.
    pub trackers: Vec<String>,
    /// Web seeds (`ws`), at most 16.
    pub web_seeds: Vec<String>,
    /// Peers (`x.pe`), at most 16.
    pub peers: Vec<SocketAddr>,
    /// The OFF URL (`x.off`), its own hints included.
    pub off: Option<OffUrl>,
}

impl Magnet {
    /// The link to the swarm of an OFF URL, from the URL's hints.
    #[must_use]
    pub fn to_url(url: &OffUrl) -> Self {
        let Hints { infohash, trackers, web_seeds, peers } = url.hints.clone();
        let name = url.descriptor().map(content_name);
        let off = Some(url.canonical());
        Self { infohash, infohash_v2: None, name, trackers, web_seeds, peers, off }
    }

    /// The link to a version 2 swarm that carries the blocks of an OFF URL.
    #[must_use]
    pub fn to_url_v2(url: &OffUrl, infohash: InfoHashV2) -> Self {
        Self { infohash: None, infohash_v2: Some(infohash), ..Self::to_url(url) }
    }

    /// The link to the swarm of a version 1 torrent. It carries no OFF URL: whoever has it can host
    /// the blocks, not read them.
    #[must_use]
    pub fn to_torrent(metainfo: &Metainfo) -> Self {
        Self {
            infohash: Some(metainfo.info.infohash),
            name: Some(metainfo.info.name.clone()),
            trackers: metainfo.trackers.clone(),
            web_seeds: metainfo.web_seeds.clone(),
            ..Self::default()
        }
    }

    /// Whether a text claims to be a magnet link.
    #[must_use]
    pub fn is_magnet(text: &str) -> bool {
        text.trim().get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("magnet:"))
    }

    /// Reads a magnet link of any client.
    pub fn parse(text: &str) -> Result<Self, MagnetError> {
        let text = text.trim();
        if text.len() > MAX_URL_LEN {
            return Err(MagnetError::TooLong(text.len()));
        }
        let query = Some(text)
            .filter(|text| Self::is_magnet(text))
            .and_then(|text| text.split_once('?'))
            .ok_or_else(|| MagnetError::NotMagnet(excerpt(text)))?
            .1;
        let mut found = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let bad = || MagnetError::Part { key: excerpt(key), value: excerpt(value) };
            // `+` for a space is a habit of HTML forms that many magnet makers share.
            let value = unescape(&value.replace('+', "%20")).map_err(|_| bad())?;
            found.take(key, value, bad)?;
        }
        Ok(found)
    }

    fn take(
        &mut self,
        key: &str,
        value: String,
        bad: impl Fn() -> MagnetError,
    ) -> Result<(), MagnetError> {
        // `tr.1=` is the form for several trackers.
        match key.split_once('.').filter(|(key, _)| *key != "x").map_or(key, |(key, _)| key) {
            "xt" => {
                if let Some(hash) = value.strip_prefix("urn:btih:") {
                    self.infohash = Some(infohash(hash).ok_or_else(bad)?);
                } else if let Some(hash) = value.strip_prefix("urn:btmh:") {
                    let wrong = || MagnetError::MultiHash(excerpt(hash));
                    self.infohash_v2 = Some(multihash(hash).ok_or_else(wrong)?);
                }
            }
            "dn" => self.name = Some(value),
            "tr" => push(&mut self.trackers, value),
            "ws" => push(&mut self.web_seeds, value),
            "x.pe" => push(&mut self.peers, value.parse().map_err(|_| bad())?),
            "x.off" => self.off = Some(OffUrl::parse(&value).map_err(MagnetError::Off)?),
            _ => {}
        }
        Ok(())
    }

    /// The OFF URL with everything the link knows as its hints.
    #[must_use]
    pub fn hinted_url(&self) -> Option<OffUrl> {
        let mut url = self.off.clone()?;
        let hints = &mut url.hints;
        hints.infohash = self.infohash.or(hints.infohash);
        self.trackers.iter().for_each(|hint| push(&mut hints.trackers, hint.clone()));
        self.web_seeds.iter().for_each(|hint| push(&mut hints.web_seeds, hint.clone()));
        self.peers.iter().for_each(|hint| push(&mut hints.peers, *hint));
        Some(url)
    }
}

impl std::fmt::Display for Magnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = Vec::new();
        let v2 = self.infohash_v2.map(|hash| format!("xt=urn:btmh:{SHA_256}{hash}"));
        parts.extend(self.infohash.map(|hash| format!("xt=urn:btih:{hash}")).or(v2));
        parts.extend(self.name.iter().map(|name| format!("dn={}", escape(name))));
        parts.extend(self.trackers.iter().map(|tracker| format!("tr={}", escape(tracker))));
        parts.extend(self.web_seeds.iter().map(|seed| format!("ws={}", escape(seed))));
        parts.extend(self.peers.iter().map(|peer| format!("x.pe={peer}")));
        parts.extend(self.off.iter().map(|url| format!("x.off={}", escape(&url.path()))));
        write!(f, "magnet:?{}", parts.join("&"))
    }
}

/// An infohash in either of BEP 9's two forms: 40 hex digits, or 32 characters of base32.
fn infohash(text: &str) -> Option<InfoHash> {
    if text.len() == 32 {
        let bytes = data_encoding::BASE32.decode(text.to_ascii_uppercase().as_bytes()).ok()?;
        return InfoHash::from_slice(&bytes);
    }
    InfoHash::parse(text).ok()
}

/// A version 2 infohash as a multihash.
fn multihash(text: &str) -> Option<InfoHashV2> {
    InfoHashV2::parse(text.strip_prefix(SHA_256)?).ok()
}

fn push<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if list.len() < MAX_HINTS && !list.contains(&item) {
        list.push(item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{BlockId, FileId};
    use crate::off::url::Named;
    use crate::off::{Seal, TupleSize};
    use proptest::prelude::*;

    fn url(name: &str) -> OffUrl {
        let named = Named {
            length: 5,
            file: FileId::of_nothing(),
            descriptor: Some(BlockId::of(b"chain")),
            tuple: TupleSize::new(4).unwrap(),
            seal: Seal::Plain,
        };
        let mut url = OffUrl::new(named, "text/plain", name).unwrap();
        url.hints.infohash = Some(InfoHash::of(b"x"));
        url.hints.trackers = vec!["http://t:1/announce?a=b&c=d".into()];
        url.hints.peers = vec!["127.0.0.1:5".parse().unwrap(), "[::1]:6".parse().unwrap()];
        url
    }

    #[test]
    fn carries_the_url_through_a_link() {
        for name in ["a b+c.txt", "50%&=?#/\\", "漢字", ""] {
            let url = url(name);
            let text = Magnet::to_url(&url).to_string();
            assert_eq!(text.matches("xt=").count(), 1);
            assert_eq!(Magnet::parse(&text).unwrap().hinted_url(), Some(url), "{text}");
        }
    }

    #[test]
    fn reads_links_of_other_programs() {
        let hex = InfoHash::of(b"x");
        let base32 = data_encoding::BASE32.encode(hex.as_bytes()).to_lowercase();
        let text =
            format!("MAGNET:?dn=a+b&xt=urn:btih:{base32}&tr.1=udp://t:1&so=0&xt=urn:sha1:12");
        let magnet = Magnet::parse(&text).unwrap();
        assert_eq!((magnet.infohash, magnet.name.as_deref()), (Some(hex), Some("a b")));
        assert_eq!((magnet.trackers.as_slice(), magnet.off), (&["udp://t:1".to_owned()][..], None));
    }

    #[test]
    fn names_version_2_swarms_by_their_multihash_alone() {
        let (v2, url) = (InfoHashV2::of(b"x"), url("n"));
        let text = Magnet::to_url_v2(&url, v2).to_string();
        assert!(text.starts_with(&format!("magnet:?xt=urn:btmh:1220{v2}&dn=")), "{text}");
        assert!(!text.contains("btih"), "{text}");
        let magnet = Magnet::parse(&text).unwrap();
        assert_eq!((magnet.infohash, magnet.infohash_v2), (None, Some(v2)));
        assert_eq!(magnet.off, Some(url.canonical()));
        let both = format!("magnet:?xt=urn:btih:{}&xt=urn:btmh:1220{v2}", InfoHash::of(b"x"));
        let both = Magnet::parse(&both).unwrap();
        assert_eq!(both.infohash_v2, Some(v2));
        assert!(!both.to_string().contains("btmh"), "{both}");
        for bad in
            ["", "12", "1220", "1114a9993e364706816aba3e25717850c26c9cd0d89d", &"12".repeat(34)]
        {
            let error = Magnet::parse(&format!("magnet:?xt=urn:btmh:{bad}")).unwrap_err();
            assert!(matches!(error, MagnetError::MultiHash(_)), "{bad}: {error}");
        }
    }

    #[test]
    fn refuses_what_does_not_parse() {
        let parse = Magnet::parse;
        assert!(matches!(parse("http://x/"), Err(MagnetError::NotMagnet(_))));
        assert!(matches!(parse("magnet:"), Err(MagnetError::NotMagnet(_))));
        for bad in ["xt=urn:btih:abc", "x.pe=there", "dn=%zz"] {
            let error = parse(&format!("magnet:?{bad}")).unwrap_err();
            assert!(matches!(error, MagnetError::Part { .. }), "{bad}: {error}");
        }
        assert!(matches!(parse("magnet:?x.off=/offsystem/v4/"), Err(MagnetError::Off(_))));
        assert!(matches!(parse(&"magnet:?".repeat(9_000)), Err(MagnetError::TooLong(_))));
    }

    proptest! {
        #[test]
        fn never_panics(text in "magnet:\\?(xt=urn:btih:)?[\\PC&=%.]*") {
            let _ = Magnet::parse(&text);
        }
    }
}
