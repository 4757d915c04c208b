//! The program as a user types it.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use crate::program::{Place, Ran, noise};

#[test]
fn gets_back_what_was_put_at_every_edge_length() {
    let place = Place::new();
    for len in [0, 1, 131_071, 131_072, 131_073, 1_000_000] {
        let url = place.put("home", &place.file("in.bin", len));
        let out = format!("out-{len}");
        let ran = place.run("home", ["get", &url, "-o", &out]).ok();
        assert_eq!(ran.stdout().trim(), out);
        assert_eq!(fs::read(place.path(&out)).unwrap(), noise(len), "{len} bytes");
    }
}

#[test]
fn put_prints_the_url_and_nothing_else() {
    let place = Place::new();
    let ran = place.run("home", ["put", place.file("a b.txt", 5).to_str().unwrap()]).ok();
    let stdout = ran.stdout();
    assert_eq!(stdout.lines().count(), 1);
    assert!(stdout.starts_with("http://localhost:23402/offsystem/v4/text/plain/5/"), "{stdout}");
    assert!(stdout.contains("/a%20b.txt?k="), "{stdout}");
    assert_eq!(ran.stderr(), "");
}

#[test]
fn puts_standard_input_and_gets_to_standard_output() {
    let place = Place::new();
    let mut put = place
        .command("home", ["put", "-", "--name", "x.html", "--plain"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    put.stdin.take().unwrap().write_all(&noise(300_000)).unwrap();
    let url = Ran(put.wait_with_output().unwrap()).ok().stdout();
    assert!(url.contains("/v4/text/html/300000/") && !url.contains("k="), "{url}");
    let got = place.run("home", ["get", url.trim(), "-o", "-"]).ok();
    assert_eq!(got.0.stdout, noise(300_000));
}

#[test]
fn reads_the_url_from_standard_input_where_no_process_list_shows_it() {
    let place = Place::new();
    let url = place.put("home", &place.file("in", 10));
    let mut get = place
        .command("home", ["get", "-", "-o", "out"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(get.stdin.take().unwrap(), "{url}").unwrap();
    Ran(get.wait_with_output().unwrap()).ok();
    assert_eq!(fs::read(place.path("out")).unwrap(), noise(10));
}

#[test]
fn a_name_of_the_urls_own_overwrites_nothing() {
    let place = Place::new();
    let url = place.put("home", &place.file("in.txt", 10));
    fs::write(place.path("in.txt"), "precious").unwrap();
    place.run("home", ["get", &url]).exits(1).says(["in.txt", "it exists", "--force"]);
    assert_eq!(fs::read(place.path("in.txt")).unwrap(), b"precious");
    place.run("home", ["get", &url, "--force"]).ok();
    assert_eq!(fs::read(place.path("in.txt")).unwrap(), noise(10));
    fs::create_dir(place.path("folder")).unwrap();
    place.run("home", ["get", &url, "-o", "folder"]).ok();
    assert_eq!(fs::read(place.path("folder/in.txt")).unwrap(), noise(10));
}

#[test]
fn hostile_names_stay_inside_the_folder() {
    let place = Place::new();
    let url = place.put("home", &place.file("in", 10));
    let (stem, rest) = url.rsplit_once("/in").unwrap();
    for (at, name) in
        ["..%2f..%2fx", "%2fetc%2fx", "a%5c..%5cb", "%2e%2e", "con", "n%00l", ""].iter().enumerate()
    {
        let canary = place.path(&format!("canary-{at}"));
        fs::create_dir_all(canary.join("folder")).unwrap();
        let evil = format!("{stem}/{name}{rest}");
        let mut get = place.command("home", ["get", &evil]);
        Ran(get.current_dir(canary.join("folder")).output().unwrap()).ok();
        assert_eq!(fs::read_dir(&canary).unwrap().count(), 1, "{name}: nothing beside the folder");
        assert_eq!(fs::read_dir(canary.join("folder")).unwrap().count(), 1, "{name}");
    }
}

#[test]
fn lists_and_counts_what_is_here() {
    let place = Place::new();
    let url = place.put("home", &place.file("in.txt", 200_000));
    assert_eq!(place.run("home", ["ls"]).ok().stdout().trim(), url);
    let json = json(place.run("home", ["ls", "--json"]));
    assert_eq!((json["name"].as_str(), json["origin"].as_str()), (Some("in.txt"), Some("put")));
    let stat = place.run("home", ["stat"]).ok().stdout();
    assert!(stat.contains("blocks    6\n") && stat.contains("urls      1\n"), "{stat}");
    let stat = place.run("home", ["stat", &url]).ok().stdout();
    assert!(stat.contains("blocks    6 of 6 here, 0 damaged"), "{stat}");
    place.run("other", ["put", place.file("b", 1).to_str().unwrap()]).ok();
    let elsewhere = place.run("other", ["stat", &url, "--json"]).exits(3);
    let elsewhere: serde_json::Value = serde_json::from_slice(&elsewhere.0.stdout).unwrap();
    assert_eq!(elsewhere["blocks_here"], 0);
    assert_eq!(elsewhere["descriptor_complete"], false);
}

fn json(ran: Ran) -> serde_json::Value {
    serde_json::from_slice(&ran.ok().0.stdout).unwrap()
}

#[test]
fn shows_the_torrent_of_a_url_and_of_a_file() {
    let place = Place::new();
    let torrent = place.path("x.torrent");
    let file = place.file("in", 200_000);
    let seeder = place.share("home", &file, ["--torrent-out", torrent.to_str().unwrap()]);
    let infohash = seeder.url.split("btih=").nth(1).unwrap()[..40].to_owned();
    let url = seeder.url.clone();
    assert_eq!(seeder.signal("TERM"), Some(0));
    for what in [url.as_str(), torrent.to_str().unwrap()] {
        let shown = json(place.run("home", ["torrent", "show", what, "--json"]));
        assert_eq!(shown["infohash"].as_str(), Some(infohash.as_str()));
        assert_eq!(
            (shown["blocks"].as_u64(), shown["piece_length"].as_u64()),
            (Some(6), Some(131_072))
        );
    }
    fs::write(place.path("no.torrent"), "d4:infoli1eee").unwrap();
    place
        .run("home", ["torrent", "show", "no.torrent"])
        .exits(2)
        .says(["no.torrent", "not a torrent"]);
}

#[test]
fn an_interrupted_seeder_exits_with_130() {
    let place = Place::new();
    let seeder = place.share("home", &place.file("in", 10), []);
    assert_eq!(seeder.signal("INT"), Some(130));
}

#[test]
fn flags_can_come_from_the_environment() {
    let place = Place::new();
    let file = place.file("in", 10);
    let mut command = place.command("home", ["put", file.to_str().unwrap()]);
    let ran = Ran(command.env("OFFSWARM_PLAIN", "1").env("OFFSWARM_TUPLE", "4").output().unwrap());
    let url = ran.ok().stdout();
    assert!(url.contains("?t=4") && !url.contains("k="), "{url}");
}

#[test]
fn a_second_process_finds_the_store_locked() {
    let place = Place::new();
    let _seeder = place.share("home", &place.file("in", 10), []);
    place.run("home", ["ls"]).exits(11).says(["in use by another process", "hint"]);
}

#[test]
fn reading_commands_make_no_store() {
    let place = Place::new();
    for args in [vec!["ls"], vec!["stat"], vec!["seed"]] {
        place.run("nowhere", args).exits(10).says(["there is no store in"]);
    }
    assert!(!place.path("nowhere").exists());
}

#[test]
fn the_home_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    place.put("home", &place.file("in", 10));
    let mode = |name: &str| fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("home"), mode("home/catalog.redb")), (0o700, 0o600));
}

#[test]
fn prints_completions_and_the_manual() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(place.run("h", ["completions", shell]).ok().stdout().contains("offswarm"));
    }
    let man = place.run("h", ["man"]).ok().stdout();
    for word in [".TH offswarm", "COMMAND SHARE", "torrent\\-out", "OFFSWARM_SOME_FLAG"] {
        assert!(man.contains(word), "{word}");
    }
    assert!(place.run("h", ["--help"]).ok().stdout().contains("11  store locked"));
}
