//! `legacy import`: the blocks of a js-offs cache, sound and unsound.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use offswarm::client::{Client, Settings};
use offswarm::off::OffUrl;
use serde_json::Value;

use crate::daemon::Daemon;
use crate::program::{Place, Ran};

/// The folders of js-offs, and those of the vectors.
const CLASSES: [(&str, &str); 3] =
    [(".block-cache", "block"), (".mini-cache", "mini"), (".nano-cache", "nano")];

pub(crate) fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/jsoffs")
}

/// The OFF URLs of the vectors, with the SHA-256 of their files.
pub(crate) fn urls() -> Vec<(String, String)> {
    let manifest = fs::read(vectors().join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let vectors = manifest["vectors"].as_array().unwrap().iter();
    vectors.map(|vector| (text(&vector["url"]), text(&vector["sha256"]))).collect()
}

/// A home of js-offs with all blocks of the vectors, and what lies beside them.
pub(crate) fn js_offs(place: &Place, name: &str) -> PathBuf {
    let cache = place.path(name).join("OFFSYSTEM");
    for (folder, class) in CLASSES {
        let folder = cache.join(folder);
        fs::create_dir_all(&folder).unwrap();
        for entry in fs::read_dir(vectors().join("blocks").join(class)).unwrap() {
            let from = entry.unwrap().path();
            fs::copy(&from, folder.join(from.file_name().unwrap())).unwrap();
        }
    }
    for beside in ["config", "node", ".bucket"] {
        fs::write(cache.join(beside), "something").unwrap();
    }
    cache
}

fn json(ran: &Ran) -> Vec<Value> {
    ran.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Every path below a folder, with the bytes of files.
fn snapshot(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.symlink_metadata().unwrap().is_dir() {
            all.extend(snapshot(&path));
        } else {
            all.push((path.clone(), fs::read(&path).unwrap_or_default()));
        }
    }
    all.sort();
    all
}

#[test]
fn a_cache_of_js_offs_gives_all_its_files() {
    let place = Place::new();
    let cache = js_offs(&place, "offs");
    let before = snapshot(&cache);
    let ran = place.run("home", ["legacy", "import", "offs"]).ok();
    let told = ran.stdout();
    assert!(told.starts_with("offs: 585 new blocks, "), "{told}");
    assert!(told.ends_with(" bytes; 0 were here; 0 files are no sound block\n"), "{told}");
    ran.says(["no OFF URL uses these blocks yet", "gc"]);
    assert!(snapshot(&cache) == before, "the cache is only read");
    let urls = urls();
    assert_eq!(urls.len(), 41);
    let client = Client::open_existing(&place.path("home"), &Settings::default()).unwrap();
    for (url, _) in &urls {
        let url = OffUrl::parse(url).unwrap();
        // That these are the bytes of js-offs shows their file id.
        client.read(&url, &mut std::io::sink(), &mut |_| ()).unwrap();
    }
    drop(client);
    for (url, sha256) in urls.iter().filter(|(url, _)| !url.contains("/offsystem/directory/")) {
        place.run("home", ["get", url, "--offline", "-o", "out"]).ok();
        let id = OffUrl::parse(url).unwrap().file();
        assert_eq!(data_encoding::HEXLOWER.encode(id.as_bytes()), *sha256);
    }
    let again = json(&place.run("home", ["legacy", "import", "offs/OFFSYSTEM", "--json"]).ok());
    let whole = &again[0];
    assert_eq!(
        (&whole["new"], &whole["bytes"], &whole["here"]),
        (&0.into(), &0.into(), &585.into())
    );
    let classes: Vec<_> = whole["classes"].as_array().unwrap().iter().collect();
    assert_eq!(classes.iter().map(|class| class["here"].as_u64().unwrap()).sum::<u64>(), 585);
    let names: Vec<_> = classes.iter().map(|class| class["class"].as_str().unwrap()).collect();
    assert_eq!(names, ["block", "mini", "nano"]);
}

#[test]
fn imported_blocks_are_of_no_url_until_one_is_got() {
    let place = Place::new();
    js_offs(&place, "offs");
    place.run("home", ["legacy", "import", "offs/OFFSYSTEM/.nano-cache"]).ok();
    let (url, _) = urls().into_iter().find(|(url, _)| url.contains("/500/")).unwrap();
    place.run("home", ["get", &url, "--offline", "-o", "out"]).ok();
    let freed = place.run("home", ["gc"]).ok().stdout();
    assert!(!freed.starts_with("freed 0 "), "{freed}");
    place.run("home", ["get", &url, "--offline", "-o", "out"]).ok();
}

#[test]
fn what_is_no_sound_block_is_named_with_the_reason() {
    let place = Place::new();
    let mini = js_offs(&place, "offs").join(".mini-cache");
    let entries = fs::read_dir(&mini).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let renamed = names.pop().unwrap();
    names.truncate(4);
    for (name, bytes) in names.iter().zip([Some(0), Some(999), Some(1_001), None]) {
        let path = mini.join(name);
        let mut contents = fs::read(&path).unwrap();
        match bytes {
            Some(len) => contents.resize(len, 7),
            None => contents[500] ^= 1,
        }
        fs::write(path, contents).unwrap();
    }
    fs::rename(mini.join(renamed), mini.join("not a block")).unwrap();
    fs::create_dir(mini.join("folder")).unwrap();
    symlink("/dev/zero", mini.join(bs58_of(7))).unwrap();
    fs::create_dir(mini.join(bs58_of(8))).unwrap();
    names.extend(["not a block".into(), "folder".into(), bs58_of(7), bs58_of(8)]);
    let reasons = [
        "it is half-written: 0 of 1000 bytes",
        "it is half-written: 999 of 1000 bytes",
        "it has 1001 bytes, a block here has 1000",
        "they hash to",
        "its name is no block id",
        "its name is no block id",
        "it is a symbolic link",
        "it is a folder",
    ];
    let ran = place.run("home", ["legacy", "import", "offs"]).exits(3);
    assert!(ran.stdout().contains("580 new blocks"), "{}", ran.stdout());
    assert!(ran.stdout().contains("; 8 files are no sound block"), "{}", ran.stdout());
    let lines: Vec<String> = ran.stderr().lines().map(str::to_owned).collect();
    for (name, reason) in names.iter().zip(reasons) {
        let line = lines.iter().find(|line| line.contains(&format!("{name}\"")));
        assert!(line.is_some_and(|line| line.contains(reason)), "{name} {reason}: {lines:?}");
    }
    let told = json(&place.run("other", ["legacy", "import", "offs", "--json"]).exits(3));
    assert_eq!(told.len(), 8 + 1);
    for (name, reason) in names.iter().zip(reasons) {
        let line_of =
            told.iter().find(|line| line["file"].as_str().is_some_and(|f| f.ends_with(name)));
        assert!(line_of.unwrap()["why"].as_str().unwrap().contains(reason), "{name} {reason}");
    }
    assert_eq!(told[8]["unsound"], 8);
}

/// The text of an id that no block of the vectors has.
fn bs58_of(byte: u8) -> String {
    offswarm::id::BlockId::of(&[byte]).to_string()
}

#[test]
fn says_what_it_has_looked_for() {
    let place = Place::new();
    fs::create_dir_all(place.path("some/OFFSYSTEM")).unwrap();
    let ran = place.run("home", ["legacy", "import", "some"]).exits(1);
    ran.says(["some is no cache of js-offs", "some/OFFSYSTEM", ".block-cache", "hint: "]);
    place.run("home", ["legacy", "import", "none"]).exits(1).says(["cannot read none", "No such"]);
    place.file("file", 10);
    place.run("home", ["legacy", "import", "file"]).exits(1).says(["cannot read file"]);
    assert!(!place.path("home").exists(), "no store is left behind");
}

#[test]
fn a_store_that_gets_full_says_how_much_it_took() {
    let place = Place::new();
    js_offs(&place, "offs");
    let import = ["--limit", "1MiB", "legacy", "import", "offs"];
    let ran = place.run("home", import).exits(1);
    let ran =
        ran.says(["cannot store a block", "new blocks were taken in before", "full", "hint:"]);
    let stderr = ran.stderr();
    let taken = stderr.split('(').nth(1).unwrap().split(' ').next().unwrap();
    let taken: u64 = taken.parse().unwrap();
    assert!(taken >= 8, "{stderr}");
    let stat = json(&place.run("home", ["stat", "--json"]).ok());
    assert_eq!(stat[0]["blocks"], taken, "what was taken in stays");
}

#[test]
fn a_daemon_imports_what_lies_in_the_callers_folder() {
    let place = Place::new();
    let mini = js_offs(&place, "offs").join(".mini-cache");
    let _daemon = Daemon::start(&place, "home");
    fs::write(mini.join("x"), "").unwrap();
    let ran = place.run("home", ["legacy", "import", "offs"]).exits(3);
    assert!(ran.stdout().starts_with("offs: 585 new blocks, "), "{}", ran.stdout());
    ran.says(["left out \"offs/OFFSYSTEM/.mini-cache/x\": its name is no block id"]);
    let (url, _) = urls().into_iter().find(|(url, _)| url.contains("/50000/")).unwrap();
    place.run("home", ["get", &url, "--offline", "-o", "out"]).ok();
}
