//! What is asked of a node: the path of an OFF URL, as it was written.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use url::Url;

use crate::id::excerpt;
use crate::off::url::UrlError;
use crate::off::{OffUrl, Version};

use super::GatewayError;

/// What cannot stand in a request or would be changed on the way. Escapes stay as they are.
const BARE: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'?').add(b'#');

/// A file, or the list that a directory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    url: OffUrl,
    /// Begins with `/offsystem/`; no part of it is `.` or `..`.
    path: String,
}

impl Wanted {
    /// Reads an OFF URL. That of a directory may go on with the path of one of its files, which is
    /// given back.
    pub fn parse(text: &str) -> Result<(Self, Option<String>), UrlError> {
        let (url, member) = OffUrl::parse_with_path(text)?;
        let path = if url.is_directory() { bare(&url.path()) } else { bare(text.trim()) };
        Ok((Self { url, path }, member))
    }

    /// The file that a directory names.
    #[must_use]
    pub fn file(url: &OffUrl) -> Self {
        let url = url.canonical();
        Self { path: bare(&url.path()), url }
    }

    /// What it is.
    #[must_use]
    pub const fn url(&self) -> &OffUrl {
        &self.url
    }

    /// An error if other programs do not know such OFF URLs.
    pub fn check(&self) -> Result<(), GatewayError> {
        match self.url.version() {
            Version::V3 => Ok(()),
            Version::V4 => Err(GatewayError::Version { url: excerpt(&self.url.path()) }),
        }
    }

    /// Its URL at a node.
    pub(super) fn at(&self, base: &Url) -> Url {
        let mut at = base.clone();
        at.set_path(&format!("{}{}", base.path().trim_end_matches('/'), self.path));
        if self.url.is_directory() {
            at.set_query(Some("ofd=raw"));
        }
        at
    }
}

/// The path of an OFF URL that has been parsed, without its origin and parameters.
fn bare(text: &str) -> String {
    let path = text.split(['?', '#']).next().unwrap_or_default();
    let path = match path.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => path.trim_start_matches('/'),
    };
    path.split('/').fold(String::new(), |path, part| {
        // A name is only decoration, and such a one would be taken for a way out.
        let part =
            if leads_away(part) { "_".into() } else { utf8_percent_encode(part, BARE).to_string() };
        path + "/" + &part
    })
}

fn leads_away(part: &str) -> bool {
    let dots = part.replace("%2e", ".").replace("%2E", ".");
    dots == "." || dots == ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: &str =
        "4ByD8hXcXLRZUnvDcCf48qEQ6ejcTN2jhqEC9AKVnWdZ/4ByD8hXcXLRZUnvDcCf48qEQ6ejcTN2jhqEC9AKVnWdZ";

    fn asked(url: &str, base: &str) -> String {
        let (wanted, _) = Wanted::parse(url).unwrap();
        wanted.at(&Url::parse(base).unwrap()).to_string()
    }

    fn sent(origin: &str, name: &str) -> String {
        let url = format!("{origin}/offsystem/v3/text/plain/5/{IDS}/{name}");
        let asked = asked(&url, "http://n.example:23402");
        let begin = format!("http://n.example:23402/offsystem/v3/text/plain/5/{IDS}/");
        asked.strip_prefix(&begin).unwrap_or(&asked).to_owned()
    }

    #[test]
    fn a_name_goes_out_as_it_was_written() {
        for name in ["a(1)!.txt", "a%281%29.txt", "%C3%AF%20x", "a%2Fb", "%zz", "a&b+c$d", "a:b@c"]
        {
            assert_eq!(sent("", name), name);
        }
        assert_eq!(sent("", "a b\\c"), "a%20b%5Cc");
        assert_eq!(sent("", "ï"), "%C3%AF");
        assert_eq!(sent("", "a?x=y&z#w"), "a");
        assert_eq!(sent("", "a#b"), "a");
    }

    #[test]
    fn nothing_in_a_url_leads_elsewhere() {
        for origin in
            ["http://evil.example", "http://user@evil.example:1", "https://[::1]", "x://y"]
        {
            assert_eq!(sent(origin, "a"), "a");
        }
        for name in ["..", ".", "../../../../admin", "%2e%2E/x", ".%2e"] {
            assert!(!sent("", name).contains("admin/") && sent("", name).contains('_'), "{name}");
        }
        let path = sent("", "../../../../../../../admin");
        assert_eq!(path, "_/_/_/_/_/_/_/admin");
    }

    #[test]
    fn a_node_may_live_below_a_path_and_a_directory_is_asked_for_its_list() {
        let url = format!("/offsystem/v3/offsystem/directory/5/{IDS}/d.ofd/sub/a.txt");
        let (_, member) = Wanted::parse(&url).unwrap();
        assert_eq!(member.as_deref(), Some("sub/a.txt"));
        let at = asked(&url, "https://n.example/off/");
        let directory = url.strip_suffix("/sub/a.txt").unwrap();
        assert_eq!(at, format!("https://n.example/off{directory}?ofd=raw"));
    }
}
