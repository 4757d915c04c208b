//! Directories as a user puts, lists and gets them, and what strangers may put into one.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::program::{Place, Ran, Seeder, noise};

/// What is below a folder: of a file its contents and whether it is executable.
type Tree = BTreeMap<String, Option<(Vec<u8>, bool)>>;

fn tree(folder: &Path) -> Tree {
    let mut found = Tree::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            let metadata = path.symlink_metadata().unwrap();
            if metadata.is_dir() {
                found.insert(name, None);
                folders.push(path);
            } else {
                let executable = metadata.permissions().mode() & 0o100 != 0;
                found.insert(name, Some((fs::read(path).unwrap(), executable)));
            }
        }
    }
    found
}

fn write(folder: &Path, path: &str, contents: impl AsRef<[u8]>) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, contents).unwrap();
}

/// A tree with one of everything: `docs` in the place.
fn docs(place: &Place) -> Tree {
    let docs = place.path("docs");
    write(&docs, "naïve résumé 漢字.txt", "unicode");
    write(&docs, "a b/c d/e.txt", "spaces and depth");
    write(&docs, "a.b", "sorts after the folder a b");
    write(&docs, "empty.txt", "");
    write(&docs, "bin/run.sh", "#!/bin/sh\necho ran\n");
    fs::set_permissions(docs.join("bin/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    write(&docs, "large.bin", noise(300_001));
    write(&docs, "just large.bin", noise(65_536));
    // Together these cross the borders of source blocks.
    for at in 0..6 {
        write(&docs, &format!("small/{at}.bin"), noise(50_000 + at));
    }
    fs::create_dir_all(docs.join("hollow/deep")).unwrap();
    tree(&docs)
}

/// Puts a folder and gives its URL.
fn put(place: &Place, home: &str, folder: &str) -> String {
    let ran = place.run(home, ["put", folder]).ok();
    assert_eq!(ran.stderr(), "");
    ran.stdout().trim().to_owned()
}

fn json(ran: &Ran) -> serde_json::Value {
    serde_json::from_slice(&ran.0.stdout).unwrap()
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let place = Place::new();
    let docs = docs(&place);
    for flags in [vec![], vec!["--plain", "--tuple", "2"]] {
        let ran = place.run("home", ["put", "docs/."].into_iter().chain(flags.clone())).ok();
        let url = ran.stdout().trim().to_owned();
        assert!(url.contains("/offsystem/v4/offsystem/directory/"), "{url}");
        assert!(url.contains("/docs.ofd"), "{url}");
        let out = format!("out{}", flags.len());
        assert_eq!(place.run("home", ["get", &url, "-o", &out]).ok().stdout().trim(), out);
        assert!(tree(&place.path(&out)) == docs, "{flags:?}");
    }
    let stored = place.run("home", ["ls"]).ok().stdout();
    assert_eq!(stored.lines().count(), 2, "only the directories are listed: {stored}");
}

#[test]
fn a_folder_that_exists_is_never_changed() {
    let place = Place::new();
    let docs = docs(&place);
    let url = put(&place, "home", "docs");
    place.run("home", ["get", &url]).exits(1).says(["docs", "it exists", "--output"]);
    place.run("home", ["get", &url, "--force"]).exits(1).says(["it exists"]);
    fs::create_dir(place.path("there")).unwrap();
    place.run("home", ["get", &url, "-o", "there"]).ok();
    assert!(tree(&place.path("there/docs")) == docs);
    place.run("home", ["get", &url, "-o", "there"]).exits(1).says(["there/docs", "it exists"]);
    assert!(tree(&place.path("docs")) == docs);
    assert_eq!(fs::read_dir(place.path("there")).unwrap().count(), 1);
    place.run("home", ["get", &url, "-o", "-"]).exits(2).says(["standard output", "hint"]);
    place.run("home", ["put", "docs", "--type", "text/plain"]).exits(2).says(["--type"]);
}

#[test]
fn thousands_of_small_files_share_their_blocks() {
    let place = Place::new();
    let many = place.path("many");
    for at in 0..3_000 {
        write(
            &many,
            &format!("{}/{at}.txt", at % 40),
            format!("file number {at}\n").repeat(at % 9),
        );
    }
    let url = put(&place, "home", "many");
    let stat = json(&place.run("home", ["stat", &url, "--json"]).ok());
    let blocks = stat["blocks"].as_u64().unwrap();
    // About 200 kB of files and 900 kB of directory, against 12,000 blocks if each were a stream.
    assert!(blocks < 60, "{stat}");
    assert_eq!(stat["blocks_here"], stat["blocks"]);
    place.run("home", ["get", &url, "-o", "out"]).ok();
    assert!(tree(&place.path("out")) == tree(&many));
}

#[test]
fn what_cannot_be_put_is_left_out_and_said() {
    let place = Place::new();
    let docs = place.path("docs");
    write(&docs, "good", "good");
    write(&docs, "Same", "one");
    write(&docs, "same", "two");
    write(&docs, "back\\slash", "x");
    write(&place.path("outside"), "secret", "secret");
    symlink(place.path("outside/secret"), docs.join("link")).unwrap();
    symlink(place.path("outside"), docs.join("folder link")).unwrap();
    fs::write(docs.join(OsStr::from_bytes(b"not \xff text")), "x").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(docs.join("socket")).unwrap();
    let ran = place.run("home", ["put", "docs"]).exits(3);
    let url = ran.stdout().trim().to_owned();
    ran.says([
        "link\": it is a symbolic link",
        "folder link\": it is a symbolic link",
        "socket\": it is a special file",
        "no UTF-8",
        "docs/same\": it collides with \"Same\"",
        "backslash",
    ]);
    place.run("home", ["get", &url, "-o", "out"]).ok();
    let out = tree(&place.path("out"));
    assert_eq!(out.keys().collect::<Vec<_>>(), ["Same", "good"]);
    let shown = json(&place.run("home", ["put", "docs", "--json"]).exits(3));
    assert_eq!(shown["skipped"].as_array().unwrap().len(), 6);
    assert_eq!((shown["files"].as_u64(), shown["bytes"].as_u64()), (Some(2), Some(7)));
}

/// A put that met its own store would read what it writes, for ever.
#[test]
fn the_store_is_not_put_into_itself() {
    let place = Place::new();
    write(&place.path("docs"), "good", "good");
    let url = place.put("docs/home", &place.file("in", 300_000));
    let ran = place.run("docs/home", ["put", "docs"]).exits(3).says(["belongs to this store"]);
    let listed = place.run("docs/home", ["ls", ran.stdout().trim()]).ok().stdout();
    assert_eq!(listed.trim_start(), "4  -  good\n");
    for inside in ["docs/home", "docs/home/store"] {
        place.run("docs/home", ["put", inside]).exits(1).says(["belongs to this store"]);
    }
    place.run("docs/home", ["get", &url, "-o", "out"]).ok();
}

#[test]
fn an_empty_folder_is_a_directory() {
    let place = Place::new();
    fs::create_dir(place.path("void")).unwrap();
    let url = put(&place, "home", "void");
    assert!(url.contains("/directory/2/"), "{url}");
    place.run("home", ["get", &url, "-o", "out"]).ok();
    assert_eq!(fs::read_dir(place.path("out")).unwrap().count(), 0);
}

#[test]
fn one_file_is_got_by_its_path() {
    let place = Place::new();
    docs(&place);
    let url = put(&place, "home", "docs");
    let at = |path: &str| url.replace("/docs.ofd", &format!("/docs.ofd/{path}"));
    for (path, len) in [("small/3.bin", 50_003), ("large.bin", 300_001), ("empty.txt", 0)] {
        let got = place.run("home", ["get", &at(path), "-o", "-"]).ok();
        assert!(got.0.stdout == noise(len) || len == 0 && got.0.stdout.is_empty(), "{path}");
    }
    let spaced = place.run("home", ["get", &at("a%20b/c%20d/e.txt"), "-o", "-"]).ok();
    assert_eq!(spaced.stdout(), "spaces and depth");
    place.run("home", ["get", &at("bin/run.sh")]).ok();
    assert!(fs::metadata(place.path("run.sh")).unwrap().permissions().mode() & 0o100 != 0);
    place.run("home", ["get", &at("a%20b/nothing")]).exits(4).says(["a b/nothing"]);
    place.run("home", ["get", &at("..%2f..%2fx")]).exits(4).says(["no file at"]);
}

#[test]
fn ls_lists_a_directory() {
    let place = Place::new();
    docs(&place);
    let url = put(&place, "home", "docs");
    let listed = place.run("home", ["ls", &url]).ok().stdout();
    let lines: Vec<_> = listed.lines().map(str::trim_start).collect();
    assert_eq!(lines.len(), 14, "{listed}");
    assert_eq!(
        lines[..5],
        [
            "16  -  a b/c d/e.txt",
            "26  -  a.b",
            "19  x  bin/run.sh",
            "0  -  empty.txt",
            "0  d  hollow/deep/"
        ]
    );
    let first = place.run("home", ["ls", &url, "--json"]).ok().stdout();
    let first: serde_json::Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    assert_eq!(
        (first["path"].as_str(), first["length"].as_u64()),
        (Some("a b/c d/e.txt"), Some(16))
    );
    let file = place.put("home", &place.file("x", 5));
    place.run("home", ["ls", &file]).exits(2).says(["is not a directory"]);
    place.put("other", &place.file("y", 5));
    place.run("other", ["ls", &url]).exits(4).says(["missing", "get it first"]);
}

/// A directory that a stranger wrote: its URL.
fn hostile(place: &Place, text: &str) -> String {
    fs::write(place.path("evil.json"), text).unwrap();
    let args = ["put", "--type", "offsystem/directory", "--name", "evil.ofd", "evil.json"];
    place.run("home", args).ok().stdout().trim().to_owned()
}

/// Gets a URL inside of a folder of its own, beside which nothing may appear.
fn get_in_canary(place: &Place, url: &str) -> (Ran, Tree) {
    let canary = tempfile::tempdir_in(place.path("")).unwrap();
    let inner = canary.path().join("one/two");
    fs::create_dir_all(&inner).unwrap();
    let mut get = place.command("home", ["get", url]);
    let ran = Ran(get.current_dir(&inner).output().unwrap());
    for (folder, only) in [(canary.path(), "one"), (&canary.path().join("one"), "two")] {
        let names: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, [only], "something was written outside");
    }
    (ran, tree(&inner))
}

#[test]
fn hostile_paths_are_refused_and_nothing_is_written() {
    let place = Place::new();
    let url = place.put("home", &place.file("in", 10));
    let file = |path: &str| format!("{}:\"{url}\"", serde_json::to_string(path).unwrap());
    for (paths, says) in [
        (vec!["../x"], "\"../x\""),
        (vec!["a/../../x"], "\"a/../../x\""),
        (vec!["/etc/x"], "it is absolute"),
        (vec!["a\\..\\b"], "backslash"),
        (vec!["a\0b"], "NUL"),
        (vec!["a//b"], "empty part"),
        (vec![""], "empty part"),
        (vec!["a:b", "a?b"], "collides"),
        (vec!["con", "_con"], "collides"),
        (vec!["Name", "nAME"], "collides"),
        (vec!["folder/x", "Folder/y"], "collides"),
        (vec!["same", "same"], "collides"),
        (vec!["a", "a/b"], "needs a folder"),
    ] {
        let all = paths.iter().map(|path| file(path)).chain([file("good")]);
        let text = format!("{{{}}}", all.collect::<Vec<_>>().join(","));
        let (ran, written) = get_in_canary(&place, &hostile(&place, &text));
        ran.exits(5).says([says]);
        assert!(written.is_empty(), "{paths:?}");
    }
    for text in ["", "[]", "{\"a\":5}", "{\"a\":null}", "{\"a\":\"http://x/\"}"] {
        let (ran, written) = get_in_canary(&place, &hostile(&place, text));
        ran.exits(5);
        assert!(written.is_empty(), "{text}");
    }
}

#[test]
fn odd_names_are_made_safe_inside_the_folder() {
    let place = Place::new();
    let url = place.put("home", &place.file("in", 10));
    let names = ["con", "NUL.txt/x", "gpj\u{202e}exe", "C:\u{7}", " . ", "...", "lead/ space"];
    let entries: Vec<_> = names
        .iter()
        .map(|name| format!("{}:\"{url}\"", serde_json::to_string(name).unwrap()))
        .collect();
    // The two that come to nothing collide.
    let (ran, _) = get_in_canary(&place, &hostile(&place, &format!("{{{}}}", entries.join(","))));
    ran.exits(5).says(["collides"]);
    let text = format!("{{{}}}", entries[..5].join(",") + "," + &entries[6]);
    let (ran, written) = get_in_canary(&place, &hostile(&place, &text));
    ran.ok();
    let files: Vec<_> =
        written.iter().filter(|(_, file)| file.is_some()).map(|(path, _)| path).collect();
    assert_eq!(
        files,
        ["evil/C__", "evil/_", "evil/_NUL.txt/x", "evil/_con", "evil/gpj_exe", "evil/lead/space"]
    );
}

#[test]
fn hostile_urls_of_members_do_no_harm() {
    let place = Place::new();
    let url = place.put("home", &place.file("in", 10));
    let named = url.replace("/in?", "/..%2f..%2fx?");
    let (ran, written) =
        get_in_canary(&place, &hostile(&place, &format!("{{\"ok\":\"{named}\"}}")));
    ran.ok();
    assert_eq!(
        written["evil/ok"].as_ref().unwrap().0,
        noise(10),
        "the name in the URL is not used"
    );

    let other = place.put("home", &place.file("other", 11));
    let id = |url: &str| url.split('/').nth(8).unwrap().to_owned();
    let forged = url.replace(&id(&url), &id(&other));
    for (bad, code, says) in [
        (forged, 5, "the URL names"),
        (format!("{url}&o=0&s=9"), 5, "end after 9 bytes"),
        (format!("{url}&o=5"), 5, "it goes with s"),
        // The ids of the second source block are padding.
        (format!("{url}&o=131072&s=131082"), 4, "blocks not found"),
        (url.replace("/v4/", "/v2/"), 5, "version v2"),
        (format!("file:///etc/passwd{}", "x".repeat(20_000)), 5, "is refused"),
    ] {
        let text = format!("{{\"a\":\"{other}\",\"b\":\"{bad}\"}}");
        let (ran, written) = get_in_canary(&place, &hostile(&place, &text));
        ran.exits(code).says([says]);
        assert!(written.is_empty(), "{bad}: nothing is left of a get that failed");
    }
    let elsewhere = place.put("elsewhere", &place.file("far", 12));
    let text = format!("{{\"a\":\"{other}\",\"b\":\"{elsewhere}\"}}");
    let (ran, written) = get_in_canary(&place, &hostile(&place, &text));
    ran.exits(4).says(["blocks not found"]);
    assert!(written.is_empty());
}

/// The chain of this stream has two blocks, and the member lies behind the first.
#[test]
fn a_member_far_into_a_long_stream_is_read_alone() {
    let place = Place::new();
    let (len, start, end) = (530 * 131_072, 525 * 131_072 - 500, 525 * 131_072 + 500);
    let file = place.file("in", len);
    let whole = place.run("home", ["put", "--tuple", "8", file.to_str().unwrap()]).ok().stdout();
    let member = &noise(len)[start..end];
    let mut parts: Vec<_> = whole.trim().split('/').map(str::to_owned).collect();
    parts[7] = member.len().to_string();
    parts[8] = bs58::encode(Sha256::digest(member)).into_string();
    let url = format!("{}&o={start}&s={len}", parts.join("/"));
    let got = place.run("home", ["get", &url, "-o", "-"]).ok();
    assert!(got.0.stdout == member);
}

#[test]
fn a_directory_crosses_the_swarm_whole() {
    let place = Place::new();
    let docs = docs(&place);
    let seeder = place.share("a", &place.path("docs"), []);
    for (home, link) in [("b", &seeder.url), ("c", &seeder.magnet)] {
        let ran = place.run(home, ["get", link, "-o", home_out(home), "--timeout", "120s"]).ok();
        assert!(tree(&place.path(home_out(home))) == docs, "by {link}: {}", ran.stderr());
    }
    let one = seeder.url.replace("/docs.ofd", "/docs.ofd/small/5.bin");
    let got = place.run("d", ["get", &one, "-o", "-", "--timeout", "120s"]).ok();
    assert!(got.0.stdout == noise(50_005));
    let infohash = seeder.url.split("btih=").nth(1).unwrap()[..40].to_owned();
    drop(seeder);
    let again = Seeder::start(place.command("b", ["seed", "--listen", "127.0.0.1:0"]));
    assert!(again.magnet.contains(&infohash), "whoever holds the directory joins the same swarm");
    place.run("e", ["get", &again.magnet, "-o", "e.out", "--timeout", "120s"]).ok();
    assert!(tree(&place.path("e.out")) == docs);
}

fn home_out(home: &str) -> &'static str {
    if home == "b" { "b.out" } else { "c.out" }
}

#[test]
fn a_directory_with_something_left_out_is_shared_in_part() {
    let place = Place::new();
    write(&place.path("docs"), "good", "good");
    symlink("good", place.path("docs/link")).unwrap();
    let seeder = place.share("a", &place.path("docs"), []);
    assert_eq!(seeder.signal("TERM"), Some(3));
}
