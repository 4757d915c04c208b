//! What an OFF URL parses to, and what it refuses.

use super::*;
use crate::id::InfoHash;
use crate::limits::MAX_HINTS;
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
    assert!(matches!(with("v4", "v3"), UrlError::Version(v) if v == "v3"));
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
