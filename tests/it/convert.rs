//! `convert`: from one version of OFF URLs to the other, and back.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use offswarm::client::convert::Converted;
use offswarm::client::put::PutOptions;
use offswarm::client::{Client, Settings};
use offswarm::off::{BlockSize, OffUrl, Version};

use crate::daemon::Daemon;
use crate::legacy::{heir, manifest, read, url_of};
use crate::program::{Place, noise};

fn to(version: Version) -> PutOptions {
    PutOptions { version, ..PutOptions::default() }
}

fn convert(client: &Client, url: &OffUrl, version: Version) -> OffUrl {
    match client.convert(url, &to(version), &mut |_| ()).unwrap() {
        Converted::File(put) => put.url,
        Converted::Directory(done) => done.put.url,
    }
}

#[test]
fn files_of_every_class_come_back_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::open(folder.path(), &Settings::default()).unwrap();
    for len in [1, 136, 137, 999, 1_000, 1_001, 127_999, 128_000, 128_001, 700_000] {
        let options = PutOptions {
            name: format!("náme {len}.txt"),
            content_type: "text/x-odd".into(),
            ..PutOptions::default()
        };
        let v4 = client.put(&mut &*noise(len), &options, &mut |_| ()).unwrap().url;
        let v3 = convert(&client, &v4, Version::V3);
        let back = convert(&client, &v3, Version::V4);
        assert_eq!(v3.block_size(), BlockSize::legacy_of(len as u64));
        assert_eq!((v3.version(), back.version()), (Version::V3, Version::V4));
        assert_ne!(back, v4, "another key");
        for url in [&v3, &back] {
            assert_eq!((url.name(), url.content_type()), (v4.name(), "text/x-odd"));
            assert_eq!((url.length(), url.file()), (v4.length(), v4.file()));
            assert!(read(&client, url).unwrap() == noise(len), "{url}");
        }
    }
}

#[test]
fn directories_of_js_offs_go_there_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let client = heir(folder.path());
    let (manifest, mut count) = (manifest(), 0);
    let all = manifest["vectors"].as_array().unwrap().iter().map(url_of);
    for url in all.filter(OffUrl::is_directory) {
        let v4 = convert(&client, &url, Version::V4);
        let v3 = convert(&client, &v4, Version::V3);
        let listed = [&url, &v4, &v3].map(|url| client.directory(url).unwrap());
        assert_eq!((v4.name(), v3.name()), (url.name(), url.name()));
        let paths = |at: usize| listed[at].entries().map(|one| one.path.to_owned());
        assert!(paths(0).eq(paths(1)) && paths(0).eq(paths(2)));
        for path in paths(0) {
            let [old, new, back] = listed.each_ref().map(|one| one.file(&path).unwrap());
            assert_eq!((new.version(), back.version()), (Version::V4, Version::V3));
            assert!(new.member().is_some() || new.length() >= 65_536, "{path} is packed");
            for url in [new, back] {
                assert_eq!(url.content_type(), old.content_type());
                assert_eq!(read(&client, url).unwrap(), read(&client, old).unwrap(), "{path}");
            }
        }
        count += 1;
    }
    assert_eq!(count, 2);
}

#[test]
fn what_version_3_has_no_form_for_is_left_out_and_named() {
    let place = Place::new();
    fs::create_dir_all(place.path("tree/empty folder")).unwrap();
    fs::write(place.path("tree/empty file"), []).unwrap();
    fs::write(place.path("tree/run.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(place.path("tree/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(place.path("tree/large"), noise(200_000)).unwrap();
    let v4 = place.put("a", &place.path("tree"));
    let ran = place.run("a", ["--json", "convert", &v4, "--to", "v3"]).exits(3);
    let told: serde_json::Value = serde_json::from_slice(&ran.0.stdout).unwrap();
    let v3 = told["url"].as_str().unwrap().to_owned();
    assert!(v3.contains("/v3/offsystem/directory/") && v3.ends_with("/tree.ofd"), "{v3}");
    assert_eq!((&told["files"], &told["bytes"]), (&2.into(), &200_010.into()));
    let skipped: Vec<_> =
        told["skipped"].as_array().unwrap().iter().map(|one| one["path"].clone()).collect();
    assert_eq!(skipped, ["empty file", "empty folder/"]);
    let back = place.run("a", ["convert", &v3, "--to", "v4"]).ok().stdout();
    place.run("a", ["get", back.trim(), "-o", "back", "--offline"]).ok();
    assert_eq!(fs::read(place.path("back/run.sh")).unwrap(), b"#!/bin/sh\n");
    assert!(fs::read(place.path("back/large")).unwrap() == noise(200_000));
}

/// A directory of one version may list files of the other.
#[test]
fn a_directory_with_files_of_both_versions_is_made_of_one() {
    let place = Place::new();
    let file = place.file("in", 300_000);
    let v3 = place.run("a", ["put", "--v3", file.to_str().unwrap()]).ok().stdout();
    let v3 = OffUrl::parse(v3.trim()).unwrap();
    let client = Client::open(&place.path("a"), &Settings::default()).unwrap();
    let options = PutOptions { executable: true, ..PutOptions::default() };
    let v4 = client.put(&mut &*noise(90_000), &options, &mut |_| ()).unwrap().url;
    let entries = vec![("old".into(), Some(v3)), ("new".into(), Some(v4)), ("no/".into(), None)];
    let bytes = offswarm::off::Directory::new(entries).unwrap().encode().unwrap();
    let content_type = offswarm::off::directory::CONTENT_TYPE.to_owned();
    let options = PutOptions { content_type, name: "d.ofd".into(), ..PutOptions::default() };
    let mixed = client.put(&mut &*bytes, &options, &mut |_| ()).unwrap().url;
    assert!(client.publish(&mixed, &[]).is_err());
    let url = convert(&client, &mixed, Version::V4);
    let listed = client.directory(&url).unwrap();
    assert!(listed.files().all(|file| file.version() == Version::V4));
    assert!(listed.file("new").unwrap().is_executable(), "the flag goes along");
    assert_eq!(listed.entries().count(), 3, "the empty folder is there");
    assert!(read(&client, listed.file("old").unwrap()).unwrap() == noise(300_000));
    client.publish(&url, &[]).unwrap();
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    let place = Place::new();
    let file = place.file("in", 5_000);
    let v4 = place.put("a", &file);
    let v3 = place.run("a", ["put", "--v3", file.to_str().unwrap()]).ok().stdout();
    for (url, version) in [(v4.as_str(), "v4"), (v3.trim(), "v3")] {
        let ran = place.run("a", ["convert", url, "--to", version]).exits(2);
        ran.says(["of version", "already"]);
    }
    let with_tuple = ["convert", &v4, "--to", "v3", "--tuple", "4"];
    place.run("a", with_tuple).exits(2).says(["--tuple"]);
    place.run("a", ["convert", &v4]).exits(2).says(["--to"]);
    place.run("a", ["convert", &v4, "--to", "v5"]).exits(2);
    let empty = place.put("a", &place.file("none", 0));
    place.run("a", ["convert", &empty, "--to", "v3"]).exits(2).says(["empty"]);
    let tree = {
        fs::create_dir(place.path("d")).unwrap();
        place.path("d")
    };
    fs::write(tree.join("x"), "x").unwrap();
    let tree = place.put("a", &tree);
    place.run("a", ["convert", &tree, "--to", "v4"]).exits(2).says(["already"]);
    place.run("b", ["convert", &v4, "--to", "v3", "--offline"]).exits(4).says(["not found"]);
    assert_eq!(place.run("b", ["ls"]).ok().stdout(), "");
}

/// In a process of its own and in a daemon: what is not here is got first.
#[test]
fn what_is_not_here_comes_from_the_swarm() {
    let place = Place::new();
    let seeder = place.share("a", &place.file("in.bin", 400_000), []);
    let daemon = Daemon::start(&place, "served");
    for home in ["alone", "served"] {
        let convert = ["convert", &seeder.url, "--to", "v3", "--timeout", "60s"];
        let v3 = place.run(home, convert).ok().stdout();
        let v3 = v3.trim();
        assert!(v3.contains("/v3/") && v3.ends_with("/in.bin"), "{v3}");
        place.run(home, ["get", v3, "-o", "out", "--force", "--offline"]).ok();
        assert!(fs::read(place.path("out")).unwrap() == noise(400_000));
        let plain = ["convert", v3, "--to", "v4", "--plain", "--tuple", "4", "--offline"];
        let v4 = place.run(home, plain).ok().stdout();
        assert!(v4.trim().ends_with("?t=4"), "neither sealed nor of three: {v4}");
    }
    drop(daemon);
}
