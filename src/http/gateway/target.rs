//! What a path and its parameters name: a file, a file of a directory, or a directory's list.

use axum::http::uri::PathAndQuery;
use hyper::{StatusCode, Uri};

use crate::client::session::{Session, Source};
use crate::off::url::{escape, unescape};
use crate::off::{Directory, OffUrl, directory};

use super::super::fault::Fault;
use super::listing;

/// What a directory's folder shows of itself.
const INDEX: &str = "index.html";

/// How js-offs types the JSON of a directory.
const RAW_TYPE: &str = "text/json";

/// The path that comes before parameters in the path.
const WITH: &str = "/offsystem/with/";

/// What was asked for, before anything is read.
#[derive(Debug)]
pub(super) struct Target {
    url: OffUrl,
    /// The path in the directory; one that ends in `/` is a folder's.
    path: Option<String>,
    /// Whether the directory itself is meant, not what it lists.
    raw: bool,
    /// Whether a relative link leads to another file of the same directory.
    links_lead: bool,
}

/// What was found.
pub(super) enum Found {
    File(Box<File>),
    /// A page that lists a folder.
    Listing(String),
    /// Another path, where relative links lead somewhere.
    Elsewhere(String),
}

/// A file that can be read.
pub(super) struct File {
    pub(super) source: Source,
    pub(super) content_type: String,
    /// Whether it is one of a directory.
    pub(super) is_member: bool,
}

impl From<File> for Found {
    fn from(file: File) -> Self {
        Self::File(Box::new(file))
    }
}

impl Target {
    /// Reads the path and the parameters as they came, with their percent-encoding.
    pub(super) fn parse(uri: &Uri) -> Result<Self, Fault> {
        let text = uri.path_and_query().map_or("", PathAndQuery::as_str);
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        let moved = path.strip_prefix(WITH).and_then(|rest| rest.split_once('/'));
        let whole = match moved {
            Some((parameters, rest)) if query.is_empty() => {
                format!("/offsystem/{rest}?{parameters}")
            }
            Some((parameters, rest)) => format!("/offsystem/{rest}?{parameters}&{query}"),
            None => text.to_owned(),
        };
        let (url, in_directory) = OffUrl::parse_with_path(&whole)?;
        let raw = query.split('&').any(|parameter| parameter == "ofd=raw");
        let links_lead = query.is_empty() && (in_directory.is_some() || path.ends_with('/'));
        Ok(Self { url, path: in_directory, raw, links_lead })
    }

    /// Without the URL's hints: for a page of another site, which must not choose whom we call.
    pub(super) fn unhinted(self) -> Self {
        Self { url: self.url.canonical(), ..self }
    }

    /// Looks it up; a directory is fetched if it is not here. `opens` says that a browser opens it
    /// as a page.
    pub(super) async fn find(self, session: &Session, opens: bool) -> Result<Found, Fault> {
        if !self.url.is_directory() {
            let content_type = self.url.content_type().to_owned();
            let source = Source::from(self.url);
            return Ok(File { source, content_type, is_member: false }.into());
        }
        if self.raw && self.path.is_none() {
            let (source, content_type) = (Source::from(self.url), RAW_TYPE.to_owned());
            return Ok(File { source, content_type, is_member: false }.into());
        }
        let listed = session.directory(&self.url).await.map_err(|error| Fault::from(&*error))?;
        self.find_in(&listed, opens)
    }

    fn find_in(self, listed: &Directory, opens: bool) -> Result<Found, Fault> {
        let path = self.path.as_deref().unwrap_or_default();
        if !path.is_empty() && !path.ends_with('/') {
            if let Some(file) = listed.file(path) {
                return Ok(self.member(file, opens));
            }
            let folder = format!("{path}/");
            if listed.entries().any(|entry| entry.path.starts_with(&folder)) {
                return Ok(Found::Elsewhere(self.path_to(&folder)));
            }
            return Err(not_there());
        }
        if let Some(index) = listed.file(&format!("{path}{INDEX}")) {
            return Ok(self.member(index, opens));
        }
        if !path.is_empty() && !listed.entries().any(|entry| entry.path.starts_with(path)) {
            return Err(not_there());
        }
        Ok(Found::Listing(listing::page(&self.url, listed, path)))
    }

    fn member(&self, file: &OffUrl, opens: bool) -> Found {
        let is_page = file.content_type() == "text/html";
        if opens && is_page && !self.links_lead {
            return Found::Elsewhere(self.path_to(self.path.as_deref().unwrap_or_default()));
        }
        let source = Source { file: file.clone(), carrier: self.url.clone() };
        File { source, content_type: file.content_type().to_owned(), is_member: true }.into()
    }

    /// Where a path in the directory is so that its relative links lead somewhere.
    fn path_to(&self, path: &str) -> String {
        let whole = self.url.path();
        let (base, parameters) = whole.split_once('?').unwrap_or((&whole, ""));
        let path: Vec<_> = path.split('/').map(escape).collect();
        let path = path.join("/");
        match base.strip_prefix("/offsystem/").filter(|_| !parameters.is_empty()) {
            Some(rest) => format!("{WITH}{parameters}/{rest}/{path}"),
            None => format!("{base}/{path}"),
        }
    }
}

/// As js-offs says it.
fn not_there() -> Fault {
    Fault::new(StatusCode::NOT_FOUND, "Resource Not Found")
}

/// The file name of an OFF URL that is to be made, as it stands in a path.
pub(super) fn name_in(text: &str) -> Result<String, Fault> {
    let name = unescape(text)?;
    if name.is_empty() || name == directory::EXTENSION {
        return Err(Fault::bad("a file needs a name"));
    }
    Ok(name)
}
