//! The web page, embedded in the program.
//!
//! Hand-written HTML, CSS and ES modules, without a build step: what stands in `page/` is what a
//! browser gets. The page keeps to a strict Content-Security-Policy (which the guard adds): no
//! inline script or style, nothing from elsewhere. It may be cached but is asked for again each
//! time, with an entity tag of its contents, so that a new program never runs beside an old page.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get};
use headers::{ETag, HeaderMapExt as _, IfNoneMatch};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, StatusCode};

use crate::id::FileHasher;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

/// A file of the page.
struct Asset {
    name: &'static str,
    content_type: &'static str,
    contents: &'static str,
    /// Of the contents, made at first use.
    tag: LazyLock<Option<ETag>>,
}

macro_rules! asset {
    ($name:literal, $content_type:expr) => {
        Asset {
            name: $name,
            content_type: $content_type,
            contents: include_str!(concat!("page/", $name)),
            tag: LazyLock::new(|| tag_of(include_str!(concat!("page/", $name)))),
        }
    };
}

static INDEX: Asset = asset!("index.html", HTML);
static ICON: Asset = asset!("icon.svg", IMAGE);

/// What is below `/page/`.
static ASSETS: [Asset; 13] = [
    asset!("api.js", SCRIPT),
    asset!("card.js", SCRIPT),
    asset!("dom.js", SCRIPT),
    asset!("icon.svg", IMAGE),
    asset!("main.js", SCRIPT),
    asset!("network.js", SCRIPT),
    asset!("plots.js", SCRIPT),
    asset!("put.js", SCRIPT),
    asset!("store.js", SCRIPT),
    asset!("style.css", CSS),
    asset!("system.js", SCRIPT),
    asset!("transfers.js", SCRIPT),
    asset!("urls.js", SCRIPT),
];

/// The routes of the page: `/`, `/page/<file>` and `/favicon.ico`.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", fixed(&INDEX))
        .route("/favicon.ico", fixed(&ICON))
        .route("/page/{name}", get(named))
}

fn fixed<S: Clone + Send + Sync + 'static>(asset: &'static Asset) -> MethodRouter<S> {
    get(move |headers: HeaderMap| async move { answer(asset, &headers) })
}

async fn named(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match ASSETS.iter().find(|asset| asset.name == name) {
        Some(asset) => answer(asset, &headers),
        None => (StatusCode::NOT_FOUND, "the page has no such file\n").into_response(),
    }
}

fn answer(asset: &'static Asset, asked: &HeaderMap) -> Response {
    let tag = asset.tag.as_ref();
    let known = asked.typed_get::<IfNoneMatch>();
    let is_known = known.zip(tag).is_some_and(|(known, tag)| !known.precondition_passes(tag));
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(CONTENT_TYPE, asset.content_type)], asset.contents).into_response()
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Some(tag) = tag {
        response.headers_mut().typed_insert(tag.clone());
    }
    response
}

/// A strong entity tag: SHA-256 of the contents. Base58 needs no escape, so there always is one.
fn tag_of(contents: &str) -> Option<ETag> {
    let mut hasher = FileHasher::default();
    hasher.update(contents.as_bytes());
    format!("\"{}\"", hasher.finish()).parse().ok()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http_body_util::BodyExt as _;
    use hyper::Request;
    use hyper::header::{CONTENT_LENGTH, ETAG, IF_NONE_MATCH};
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;

    use super::*;

    fn all() -> impl Iterator<Item = &'static Asset> {
        ASSETS.iter().chain([&INDEX])
    }

    async fn ask(method: &str, path: &str, known: Option<&HeaderValue>) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(known) = known {
            request = request.header(IF_NONE_MATCH, known);
        }
        let request = request.body(Body::empty()).unwrap();
        TowerToHyperService::new(router::<()>().with_state(())).call(request).await.unwrap()
    }

    /// What stands between the quotes that follow `before`.
    fn quoted<'a>(text: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
        text.split(before).skip(1).filter_map(|rest| rest.split(['"', '\'']).next())
    }

    #[test]
    fn the_whole_page_is_under_80_kb() {
        let total: usize = all().map(|asset| asset.contents.len()).sum();
        assert!(total < 80_000, "{total} bytes");
    }

    #[test]
    fn every_file_is_embedded_and_every_embedded_file_is_used() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/page");
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(all().any(|asset| asset.name == name), "{name} is not embedded");
        }
        let everything: String = all().map(|asset| asset.contents).collect();
        for asset in &ASSETS {
            let is_used = everything.contains(&format!("/page/{}\"", asset.name))
                || everything.contains(&format!("'./{}'", asset.name));
            assert!(is_used, "nothing refers to {}", asset.name);
        }
    }

    #[test]
    fn every_reference_is_to_an_embedded_file() {
        for asset in all() {
            let of_html = quoted(asset.contents, "\"/page/");
            for name in of_html.chain(quoted(asset.contents, "'./")) {
                let is_there = ASSETS.iter().any(|asset| asset.name == name);
                assert!(is_there, "{} refers to {name}", asset.name);
            }
        }
    }

    /// The Content-Security-Policy forbids them, so they would not work.
    #[test]
    fn nothing_is_inline_and_nothing_is_from_elsewhere() {
        let html = INDEX.contents;
        assert!(!html.contains("<style") && !html.contains(" style="));
        assert_eq!(html.matches("<script").count(), 1);
        assert!(html.contains("src=\"/page/main.js\"></script>"));
        let handler = html.split(" on").skip(1).find(|rest| {
            rest.split('=').next().is_some_and(|name| name.chars().all(|c| c.is_ascii_lowercase()))
        });
        assert_eq!(handler, None);
        for asset in all().filter(|asset| asset.content_type != IMAGE) {
            let foreign = ["src=\"http", "href=\"http", "@import", "url(", "innerHTML", "eval("];
            for word in foreign {
                assert!(!asset.contents.contains(word), "{} has {word}", asset.name);
            }
        }
    }

    #[tokio::test]
    async fn a_file_has_its_type_and_an_entity_tag_that_saves_its_transfer() {
        for asset in &ASSETS {
            let path = format!("/page/{}", asset.name);
            let first = ask("GET", &path, None).await;
            assert_eq!(first.status(), StatusCode::OK);
            assert_eq!(first.headers()[CONTENT_TYPE], asset.content_type);
            assert_eq!(first.headers()[CACHE_CONTROL], "no-cache");
            let tag = first.headers()[ETAG].clone();
            let body = first.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, asset.contents);
            let again = ask("GET", &path, Some(&tag)).await;
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
            assert_eq!(again.headers()[ETAG], tag);
            let other = ask("GET", &path, Some(&HeaderValue::from_static("\"other\""))).await;
            assert_eq!(other.status(), StatusCode::OK);
        }
    }

    #[tokio::test]
    async fn head_has_the_length_and_no_body() {
        let response = ask("HEAD", "/", None).await;
        assert_eq!(response.headers()[CONTENT_LENGTH], INDEX.contents.len().to_string().as_str());
        assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
    }

    #[tokio::test]
    async fn what_is_not_of_the_page_is_not_found() {
        for path in ["/page/", "/page/nothing.js", "/page/..%2fpage.rs", "/page/index.html"] {
            assert_eq!(ask("GET", path, None).await.status(), StatusCode::NOT_FOUND, "{path}");
        }
        assert_eq!(ask("POST", "/", None).await.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(ask("GET", "/favicon.ico", None).await.headers()[CONTENT_TYPE], IMAGE);
    }
}
