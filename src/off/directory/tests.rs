//! What a directory reads and writes, and what it refuses.

use super::*;
use crate::id::{BlockId, FileId};
use crate::off::url::{Member, Named};
use crate::off::{Seal, TupleSize};
use proptest::prelude::*;

fn url(length: u64) -> OffUrl {
    let named = Named {
        length,
        file: FileId::of_nothing(),
        descriptor: (length > 0).then(|| BlockId::of(b"chain")),
        tuple: TupleSize::default(),
        seal: Seal::Plain,
    };
    OffUrl::new(named, "text/plain", "n").unwrap()
}

fn file(path: &str) -> (String, Option<OffUrl>) {
    (path.to_owned(), Some(url(5)))
}

fn fault(paths: &[&str]) -> Option<PathFault> {
    let all = refused(paths.iter().copied());
    assert!(all.len() <= 1, "{all:?}");
    all.into_iter().next().map(|error| error.fault)
}

#[test]
fn prints_the_documented_form() {
    let member = url(5).packed(Member { offset: 1, stream: 9 }).unwrap().executable(true);
    let entries =
        [("e/".to_owned(), None), ("b".into(), Some(url(0))), ("a b/c".into(), Some(member))];
    let text = String::from_utf8(Directory::new(entries).unwrap().encode().unwrap()).unwrap();
    let (member, empty) = (url(5).path(), url(0));
    assert_eq!(
        text,
        format!(
            "{{\"a b/c\":\"http://localhost:23402{member}?o=1&s=9&exec=1\",\"b\":\"{empty}\",\"e/\":null}}"
        )
    );
    assert_eq!(Directory::new([]).unwrap().encode().unwrap(), b"{}");
}

#[test]
fn reads_any_order_and_drops_hints() {
    let mut hinted = url(5);
    hinted.hints.trackers = vec!["http://t/".into()];
    let text = format!("{{ \"b\": \"{hinted}\", \"a\": \"{}\" }}", url(7));
    let directory = Directory::decode(text.as_bytes()).unwrap();
    let found: Vec<_> = directory.entries().map(|entry| (entry.path, entry.url.cloned())).collect();
    assert_eq!(found, [("a", Some(url(7))), ("b", Some(url(5)))]);
}

#[test]
fn finds_a_file_by_its_path_or_its_safe_path() {
    let directory = Directory::new([file("a/con"), file("a/x:y")]).unwrap();
    for path in ["a/con", "a/_con", "a/x:y", "a/x_y"] {
        assert!(directory.file(path).is_some(), "{path}");
    }
    for path in ["a", "a/", "con", "", "../a/con"] {
        assert!(directory.file(path).is_none(), "{path}");
    }
}

#[test]
fn refuses_paths_that_lead_elsewhere() {
    for (path, expected) in [
        ("../x", PathFault::Dots("..".into())),
        ("a/../x", PathFault::Dots("..".into())),
        ("./x", PathFault::Dots(".".into())),
        ("a/..", PathFault::Dots("..".into())),
        ("/etc/x", PathFault::Absolute),
        ("/", PathFault::Absolute),
        ("", PathFault::EmptyPart),
        ("a//b", PathFault::EmptyPart),
        ("a//", PathFault::EmptyPart),
        ("a\\..\\b", PathFault::Backslash),
        ("a\0b", PathFault::Nul),
    ] {
        assert_eq!(fault(&[path]), Some(expected), "{path:?}");
    }
    let deep = "a/".repeat(MAX_PATH_DEPTH);
    assert_eq!(fault(&[&deep]), None);
    assert_eq!(fault(&[&format!("{deep}b")]), Some(PathFault::TooDeep(65)));
    assert_eq!(fault(&[&"a".repeat(4_097)]), Some(PathFault::TooLong(4_097)));
}

#[test]
fn refuses_paths_that_collide() {
    let collides = |with: &str| Some(PathFault::Collides(with.into()));
    assert_eq!(fault(&["a", "a"]), collides("a"));
    assert_eq!(fault(&["README", "x", "readme"]), collides("README"));
    assert_eq!(fault(&["Folder/a", "folder/b"]), collides("Folder/a"));
    assert_eq!(fault(&["stra\u{df}e", "STRASSE"]), collides("STRASSE"));
    assert_eq!(fault(&["a:b", "a?b"]), collides("a:b"));
    assert_eq!(fault(&["a:b/x", "a?b/y"]), collides("a:b/x"));
    assert_eq!(fault(&["con", "_con"]), collides("_con"));
    assert_eq!(fault(&["a", "a/"]), collides("a"));
    assert_eq!(fault(&["a.", "a"]), collides("a"));
    assert_eq!(fault(&["a", "a/b"]), Some(PathFault::NeedsFolder("a".into())));
    assert_eq!(fault(&["a/b", "a.c", "a"]), Some(PathFault::NeedsFolder("a".into())));
    assert_eq!(fault(&["A", "a/b"]), collides("A"));
    assert_eq!(fault(&["a/", "a/b"]), Some(PathFault::NeedsFolder("a/".into())));
    assert_eq!(fault(&["a/b", "a/c", "a.b", "ab", "b/a"]), None);
}

#[test]
fn refuses_what_is_not_such_an_object() {
    let decode = |text: &str| Directory::decode(text.as_bytes()).unwrap_err();
    let url = url(5);
    for text in ["", "[]", "null", "{", "{\"a\":1}", "{\"a\":{}}", "{}x", "{\"a\":[\"b\"]}"] {
        assert!(matches!(decode(text), DirectoryError::Json(_)), "{text}");
    }
    assert!(matches!(Directory::decode(b"{\"\xff\":null}"), Err(DirectoryError::Json(_))));
    assert!(matches!(decode(&"[".repeat(100_000)), DirectoryError::Json(_)));
    assert!(
        matches!(decode("{\"a\":\"http://x/\"}"), DirectoryError::Url { path, .. } if path == "a")
    );
    assert!(matches!(decode("{\"a\":null}"), DirectoryError::Kind { .. }));
    assert!(matches!(decode(&format!("{{\"a/\":\"{url}\"}}")), DirectoryError::Kind { .. }));
    let twice = decode(&format!("{{\"a\":\"{url}\",\"a\":\"{url}\"}}"));
    assert!(matches!(twice, DirectoryError::Path(PathError { path, .. }) if path == "a"));
    let many = format!("{{\"x\":null{}}}", ",\"x\":null".repeat(MAX_DIRECTORY_ENTRIES));
    assert!(matches!(decode(&many), DirectoryError::Json(_)));
}

proptest! {
    #[test]
    fn decode_inverts_encode(
        paths in prop::collection::btree_map("[a-zA-Z0-9 .ü\u{202e}\"]{1,6}(/[a-z:?]{1,3}){0,3}", 0u64..9, 0..20),
        folders in prop::collection::btree_set("[0-9]{1,3}/", 0..4),
    ) {
        let files = paths.into_iter().map(|(path, length)| (path, Some(url(length))));
        let entries: Vec<_> = files.chain(folders.into_iter().map(|path| (path, None))).collect();
        let bad = refused(entries.iter().map(|(path, _)| path.as_str()));
        let good = entries.into_iter().filter(|(path, _)| bad.iter().all(|bad| bad.path != *path));
        let directory = Directory::new(good).unwrap();
        prop_assert_eq!(Directory::decode(&directory.encode().unwrap()).unwrap(), directory);
    }

    #[test]
    fn safe_paths_stay_inside_and_apart(paths in prop::collection::vec("[aAbB/.:\\\\\0 \u{202e}]{0,8}", 0..20)) {
        let bad = refused(paths.iter().map(String::as_str));
        let good = paths.iter().filter(|path| bad.iter().all(|bad| bad.path != **path));
        let mut seen = std::collections::HashSet::new();
        for path in good.map(|path| safe_path(path)) {
            prop_assert!(path.split('/').all(|part| !["", ".", ".."].contains(&part)), "{path:?}");
            prop_assert!(!path.starts_with('/') && !path.contains(['\\', '\0']), "{path:?}");
            prop_assert!(seen.insert(path.to_lowercase()), "{path:?}");
        }
    }

    #[test]
    fn never_panics(text in "\\{(\"[^\"]*\":(null|\"[^\"]*\"),?)*\\}?") {
        let _ = Directory::decode(text.as_bytes());
    }
}
