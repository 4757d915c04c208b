//! What users hand in to name a stream: an OFF URL, or a magnet link that carries one.

use crate::off::OffUrl;
use crate::off::url::UrlError;
use crate::torrent::magnet::{Magnet, MagnetError};

/// Why a text names no stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// It is no OFF URL.
    #[error("cannot read the OFF URL")]
    Url(#[from] UrlError),
    /// It claims to be a magnet link, and is none.
    #[error("cannot read the magnet link")]
    Magnet(#[from] MagnetError),
    /// It is the link to a swarm, and nothing decodes what is there.
    #[error("the magnet link carries no OFF URL (x.off), so nothing decodes it")]
    NoUrl,
}

/// Reads an OFF URL, or a magnet link that carries one, with what the link knows as hints.
pub fn parse(text: &str) -> Result<OffUrl, LinkError> {
    if !Magnet::is_magnet(text) {
        return Ok(OffUrl::parse(text)?);
    }
    Magnet::parse(text)?.hinted_url().ok_or(LinkError::NoUrl)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_urls_and_links_and_says_what_is_wrong_with_others() {
        let text = "http://localhost:23402/offsystem/v4/text/plain/0/\
                    GKot5hBsd81kMupNCXHaqbhv3huEbxAFMLnpcX2hniwn/-/n";
        let url = parse(text).unwrap();
        assert_eq!(parse(&Magnet::to_url(&url).to_string()), Ok(url));
        assert!(matches!(parse("http://x/"), Err(LinkError::Url(_))));
        assert!(matches!(parse("magnet:?x.pe=there"), Err(LinkError::Magnet(_))));
        let bare = format!("magnet:?xt=urn:btih:{}", "12".repeat(20));
        assert_eq!(parse(&bare), Err(LinkError::NoUrl));
    }
}
