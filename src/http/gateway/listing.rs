//! The page that lists a directory: a link to each file, and its length. No script, and every name
//! is text.

use std::fmt::Write as _;

use crate::id::is_active;
use crate::limits::http::MAX_LISTED;
use crate::off::url::escape;
use crate::off::{Directory, OffUrl};

const HEAD: &str = "<!doctype html><html lang=en><meta charset=utf-8>\
<meta name=viewport content=\"width=device-width\"><meta name=color-scheme content=\"light dark\">\
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
table{width:100%;border-collapse:collapse}td{padding:.2rem 0;border-top:1px solid #8884}\
td+td{text-align:right;white-space:nowrap}a{overflow-wrap:anywhere}</style>";

/// What is below the folder `prefix` of a directory, which is empty or ends in `/`.
pub(super) fn page(url: &OffUrl, directory: &Directory, prefix: &str) -> String {
    let title = text(&format!("{}/{prefix}", url.name()));
    let mut page = format!("{HEAD}<title>{title}</title><h1>{title}</h1><table>");
    let below = || directory.entries().filter(|entry| entry.path.starts_with(prefix));
    // Writing into a string cannot fail.
    for entry in below().take(MAX_LISTED) {
        let shown = text(entry.path.strip_prefix(prefix).unwrap_or(entry.path));
        let _ = match entry.url {
            Some(file) => {
                let (link, length) = (link(url, entry.path), text(&size(file.length())));
                write!(page, "<tr><td><a href=\"{link}\">{shown}</a><td>{length}")
            }
            None => write!(page, "<tr><td>{shown}<td>empty"),
        };
    }
    page.push_str("</table>");
    let (shown, all) = (below().take(MAX_LISTED).count(), below().count());
    if shown < all {
        let _ = write!(page, "<p>and {} more", all - shown);
    }
    let raw = url.path();
    let separator = if raw.contains('?') { '&' } else { '?' };
    let _ = writeln!(page, "<p><a href=\"{}{separator}ofd=raw\">as JSON</a>", text(&raw));
    page
}

/// Path and parameters of a file of the directory.
fn link(url: &OffUrl, path: &str) -> String {
    let whole = url.path();
    let (base, parameters) = whole.split_once('?').unwrap_or((&whole, ""));
    let path: Vec<_> = path.split('/').map(escape).collect();
    let mut link = format!("{base}/{}", path.join("/"));
    if !parameters.is_empty() {
        link = format!("{link}?{parameters}");
    }
    text(&link)
}

/// Text as HTML: nothing in it is markup, or invisible.
fn text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if is_active(c) => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().si().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::FileId;
    use crate::off::url::Named;
    use crate::off::{Seal, TupleSize};

    fn empty(content_type: &str, name: &str) -> OffUrl {
        let named = Named {
            length: 0,
            file: FileId::of_nothing(),
            descriptor: None,
            tuple: TupleSize::default(),
            seal: Seal::Plain,
        };
        OffUrl::new(named, content_type, name).unwrap()
    }

    #[test]
    fn names_are_text_and_links_lead_to_them() {
        let name = "<img src=x onerror=alert(1)>&\"'\u{202e}";
        let file = format!("{name}/b c.txt");
        let listed = Directory::new([
            (file, Some(empty("text/plain", "b c.txt"))),
            ("none/".to_owned(), None),
        ]);
        let listed = listed.unwrap();
        let url = empty("offsystem/directory", name);
        let page = page(&url, &listed, "");
        assert!(!page.contains("<img") && !page.contains("<script"), "{page}");
        assert!(!page.contains('\u{202e}') && page.contains("&lt;img src=x"), "{page}");
        let link = format!("{}/{}/b%20c.txt", url.path(), escape(name));
        assert!(page.contains(&format!("href=\"{link}\"")), "{page}\n{link}");
        assert!(page.contains("none/<td>empty"));
        let below = super::page(&url, &listed, "none/");
        assert!(!below.contains("b%20c.txt"));
    }
}
