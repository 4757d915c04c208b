//! What an OFF URL parses to, and what it refuses.

use super::*;
use crate::id::InfoHash;
use crate::limits::{MAX_HINTS, MAX_URL_LEN};
use crate::off::SealKey;
use proptest::prelude::*;
use std::net::SocketAddr;

fn sample(length: u64, name: &str, seal: Seal) -> OffUrl {
    let named = Named {
        length,
        file: FileId::of_nothing(),
        descriptor: (length > 0).then(|| BlockId::of(b"chain")),
        tuple: TupleSize::default(),
        seal,
    };
    OffUrl::new(named, "text/plain", name).unwrap()
}

#[test]
fn prints_the_documented_form() {
    let url = sample(5, "report (1).pdf", Seal::Plain);
    let id = BlockId::of(b"chain");
    let file = FileId::of_nothing();
    assert_eq!(
        url.to_string(),
        format!("{ORIGIN}/offsystem/v4/text/plain/5/{file}/{id}/report%20%281%29.pdf")
    );
}

#[test]
fn takes_any_origin_or_none() {
    let url = sample(5, "a", Seal::Plain);
    for origin in ["", "http://evil.example:1", "https://[::1]", "off://x"] {
        assert_eq!(OffUrl::parse(&format!(" {origin}{}\n", url.path())), Ok(url.clone()));
    }
    assert_eq!(OffUrl::parse(&url.path()[1..]), Ok(url));
}

proptest! {
    #[test]
    fn parse_inverts_display(
        length in 0..=MAX_STREAM_LEN, name in "\\PC{0,200}", tuple in 2u64..=8, key: Option<[u8; 32]>,
        packed: Option<(u32, u32)>, executable: bool,
        btih: Option<[u8; 20]>, trackers in prop::collection::hash_set("\\PC*", 0..4), port: u16,
    ) {
        let seal = key.map_or(Seal::Plain, |key| {
            Seal::Key(SealKey::parse(&bs58::encode(key).into_string()).unwrap())
        });
        let mut url = sample(length, &name, seal);
        url.tuple = TupleSize::new(tuple).unwrap();
        url.executable = executable;
        if let Some((offset, after)) = packed.filter(|_| length > 0 && length < MAX_STREAM_LEN / 2) {
            let offset = u64::from(offset);
            url = url.packed(Member { offset, stream: offset + length + u64::from(after) }).unwrap();
        }
        url.hints = Hints {
            infohash: btih.map(InfoHash::from_bytes),
            trackers: trackers.into_iter().collect(),
            web_seeds: vec!["http://h/x.off?a=b&c".into()],
            peers: vec![SocketAddr::from(([127, 0, 0, 1], port)), SocketAddr::from(([0; 16], port))],
        };
        prop_assert_eq!(OffUrl::parse(&url.to_string()), Ok(url));
    }

    #[test]
    fn never_panics(text in "(/offsystem/v4/)?[\\PC/%?&=.0-9]*") {
        let _ = OffUrl::parse(&text);
    }
}

#[test]
fn refuses_what_is_not_well_formed() {
    let good = sample(5, "n", Seal::Plain).path();
    let id = BlockId::of(b"chain").to_string();
    let with = |from: &str, to: &str| OffUrl::parse(&good.replace(from, to)).unwrap_err();
    assert!(matches!(OffUrl::parse("https://example.org/x"), Err(UrlError::NotOff(_))));
    assert!(matches!(OffUrl::parse(""), Err(UrlError::NotOff(_))));
    assert!(matches!(with("v4", "v2"), UrlError::Version(v) if v == "v2"));
    for length in ["-5", "05", "+5", "5e3", "99999999999999999999", "1125899906842625"] {
        assert!(matches!(with("/5/", &format!("/{length}/")), UrlError::Length(_)), "{length}");
    }
    assert!(matches!(with("/5/", "/0/"), UrlError::Descriptor { length: 0, has: "has a" }));
    assert!(matches!(with(&id, "-"), UrlError::Descriptor { length: 5, has: "has no" }));
    assert!(matches!(with(&id, "0OIl"), UrlError::Id { part: "descriptor id", .. }));
    assert!(matches!(with(&id, "abc"), UrlError::Id { part: "descriptor id", .. }));
    assert!(matches!(with("text/plain", "te xt/plain"), UrlError::Type(_)));
    assert!(matches!(with("/n", ""), UrlError::Missing("name")));
    assert!(matches!(with("/n", "/n/m"), UrlError::Surplus(_)));
    for name in ["/%", "/%4", "/%zz", "/%ff", "/%+1"] {
        assert!(matches!(with("/n", name), UrlError::Escape(_)), "{name}");
    }
    for query in ["t=1", "t=9", "t=x", "k=abc", "btih=12", "pe=nowhere", "o=5", "s=9", "z"] {
        let error = with("/n", &format!("/n?{query}"));
        assert!(matches!(error, UrlError::Parameter { .. }), "{query}: {error}");
    }
    let long = format!("{good}{}", "a".repeat(MAX_URL_LEN));
    assert!(matches!(OffUrl::parse(&long), Err(UrlError::TooLong(_))));
}

#[test]
fn skips_unknown_hints_and_caps_known_ones() {
    let mut text = sample(5, "n", Seal::Plain).path();
    text.push_str("?utm=1");
    for i in 0..100 {
        write!(text, "&tr=http://t{i}/").unwrap();
    }
    text.push_str("#fragment");
    assert_eq!(OffUrl::parse(&text).unwrap().hints.trackers.len(), MAX_HINTS);
}

#[test]
fn a_member_is_laid_out_by_its_whole_stream() {
    let text = format!("{}?o=131000&s=400000&exec=1", sample(200, "n", Seal::Plain).path());
    let url = OffUrl::parse(&text).unwrap();
    assert_eq!(url.path(), text);
    assert_eq!(url.member(), Some(Member { offset: 131_000, stream: 400_000 }));
    assert_eq!((url.length(), url.stream_length(), url.source_blocks()), (200, 400_000, 4));
    assert_eq!(url.range(), 131_000..131_200);
    assert!(url.is_executable());
    assert_eq!(url.canonical(), url, "what a URL names is no hint");
    let other = OffUrl::parse(&text.replace("o=131000", "o=0")).unwrap();
    assert_eq!(url.stream_key(), other.stream_key());
}

#[test]
fn refuses_members_that_do_not_fit_their_stream() {
    let good = sample(5, "n", Seal::Plain).path();
    for query in [
        "o=5&s=9",
        "o=0&s=4",
        "o=18446744073709551615&s=9",
        "o=-1&s=9",
        "o=01&s=9",
        "o=&s=",
        "o=1&s=1125899906842625",
    ] {
        let error = OffUrl::parse(&format!("{good}?{query}")).unwrap_err();
        assert!(matches!(error, UrlError::Parameter { .. }), "{query}: {error}");
    }
    assert!(OffUrl::parse(&format!("{good}?s=9&o=4")).is_ok());
    let empty = sample(0, "n", Seal::Plain).path();
    assert!(matches!(OffUrl::parse(&format!("{empty}?o=0&s=9")), Err(UrlError::Parameter { .. })));
}

#[test]
fn only_a_directory_takes_a_path_behind_its_name() {
    let file = sample(5, "n", Seal::Plain).path();
    let folder = file.replace("text/plain", "offsystem/directory");
    let read = |text: &str| OffUrl::parse_with_path(text).map(|(_, path)| path);
    assert_eq!(read(&file), Ok(None));
    assert!(matches!(read(&format!("{file}/x")), Err(UrlError::Surplus(_))));
    assert_eq!(read(&folder), Ok(None));
    assert_eq!(read(&format!("{folder}/")), Ok(None));
    assert_eq!(read(&format!("{folder}/a%20b/c?t=3#x")), Ok(Some("a b/c".into())));
    assert!(matches!(read(&format!("{folder}/%zz")), Err(UrlError::Escape(_))));
    assert!(matches!(OffUrl::parse(&format!("{folder}/x")), Err(UrlError::Surplus(_))));
}

fn legacy(length: u64, content_type: &str, name: &str) -> Result<OffUrl, UrlError> {
    OffUrl::legacy(length, FileId::of_nothing(), BlockId::of(b"chain"), content_type, name)
}

#[test]
fn prints_version_3_as_js_offs_reads_it() {
    let url = legacy(5, "text/plain", "report (1)!.pdf").unwrap();
    let (id, file) = (BlockId::of(b"chain"), FileId::of_nothing());
    assert_eq!(
        url.to_string(),
        format!("{ORIGIN}/offsystem/v3/text/plain/5/{file}/{id}/report%20%281%29%21.pdf")
    );
    assert_eq!((url.version(), url.block_size()), (Version::V3, BlockSize::LegacyNano));
    assert!(!url.clone().executable(true).is_executable());
    assert!(url.packed(Member { offset: 0, stream: 9 }).is_err());
    assert_eq!(legacy(0, "text/plain", "a"), Err(UrlError::Empty));
    assert!(matches!(legacy(1, "text/plain; x=y", "a"), Err(UrlError::Type(_))));
}

#[test]
fn urls_of_the_two_versions_name_different_streams() {
    let native = sample(5, "n", Seal::Plain);
    let other = legacy(5, "text/plain", "n").unwrap();
    assert_ne!(native.stream_key(), other.stream_key());
    assert_eq!(other.canonical().path(), native.path().replace("/v4/", "/v3/"));
}

proptest! {
    #[test]
    fn parse_inverts_display_of_version_3(
        length in 1..=MAX_STREAM_LEN, name in "\\PC{0,200}", is_directory: bool,
        btih: Option<[u8; 20]>, port: u16,
    ) {
        let kind = if is_directory { directory::CONTENT_TYPE } else { "image/svg+xml" };
        let mut url = legacy(length, kind, &name).unwrap();
        url.hints.infohash = btih.map(InfoHash::from_bytes);
        url.hints.peers = vec![SocketAddr::from(([127, 0, 0, 1], port))];
        prop_assert_eq!(OffUrl::parse(&url.to_string()), Ok(url));
    }

    #[test]
    fn version_3_never_panics(text in "/offsystem/v3/[\\PC/%?&=.0-9]*", end in "\\PC*") {
        let _ = OffUrl::parse(&text);
        let url = legacy(5, directory::CONTENT_TYPE, "").unwrap().path();
        prop_assert!(OffUrl::parse_with_path(&url.replace(".ofd", &end.replace('?', ""))).is_ok());
    }
}

#[test]
fn names_of_version_3_are_taken_as_they_are() {
    let url = legacy(5, "text/plain", "N").unwrap().path();
    let name =
        |name: &str| OffUrl::parse(&url.replace("/N", name)).map(|url| url.name().to_owned());
    for (text, expected) in [
        ("/report%20(1)!*'~.pdf", "report (1)!*'~.pdf"),
        ("/a/b", "a/b"),
        ("/a%2Fb", "a/b"),
        ("/100%", "100%"),
        ("/%zz%4", "%zz%4"),
        ("/na%EFve", "na\u{fffd}ve"),
        ("/n\u{ef}ve", "n\u{ef}ve"),
        ("/%25C3", "%C3"),
        ("/", ""),
        ("/a?ofd=raw", "a"),
        ("/a?utm=1&t=3#x", "a"),
        ("/a?v=1&z&=&%zz=%zz", "a"),
        ("/a#b?c", "a"),
    ] {
        assert_eq!(name(text).as_deref(), Ok(expected), "{text}");
    }
    for query in ["t=4", "o=0&s=5", "s=5", "tr=a&pe=b", "k=11111111111111111111111111111111"] {
        let error = name(&format!("/a?{query}")).unwrap_err();
        assert!(matches!(error, UrlError::Parameter { .. }), "{query}: {error}");
    }
    assert_eq!(name(""), Err(UrlError::Missing("name")));
    for from_to in [("/5/", "/0/"), ("/5/", "/05/"), ("text/", "te%20xt/")] {
        assert!(OffUrl::parse(&url.replace(from_to.0, from_to.1)).is_err(), "{from_to:?}");
    }
}

#[test]
fn a_path_may_stand_where_a_directory_of_version_3_is_named() {
    let url = legacy(5, directory::CONTENT_TYPE, "N").unwrap().path();
    let read = |end: &str| {
        let (url, path) = OffUrl::parse_with_path(&url.replace("/N.ofd", end)).unwrap();
        (url.name().to_owned(), path)
    };
    let some = |path: &str| Some(path.to_owned());
    assert_eq!(read("/my%20dir.ofd"), ("my dir.ofd".into(), None));
    assert_eq!(read("/my%20dir.ofd/"), ("my dir.ofd".into(), None));
    assert_eq!(read("/d.ofd/img/a%20(b).svg"), ("d.ofd".into(), some("img/a (b).svg")));
    assert_eq!(read("/img/a%20(b).svg?x=y"), ("directory.ofd".into(), some("img/a (b).svg")));
    assert_eq!(read("/index.html"), ("directory.ofd".into(), some("index.html")));
    assert_eq!(read("/"), ("directory.ofd".into(), None));
    let error = OffUrl::parse(&url.replace("/N.ofd", "/index.html")).unwrap_err();
    assert!(matches!(error, UrlError::Surplus(_)), "{error}");
}
