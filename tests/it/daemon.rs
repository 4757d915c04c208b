//! The daemon: every command does the same with one as without.
//!
//! Most of this is a table: each row is run in a home of its own and in one that a daemon holds,
//! both made alike, and the exit code and all that is printed are compared.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::{Place, Ran, kill, noise};

/// A running daemon, killed at the end of the test.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    /// What it said when it was ready.
    pub(crate) ready: Value,
}

impl Daemon {
    pub(crate) fn start(place: &Place, home: &str) -> Self {
        Self::spawn(place.command(home, ["serve", "--json"]))
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        command.env("OFFSWARM_HTTP_LISTEN", "127.0.0.1:0").env("OFFSWARM_LISTEN", "127.0.0.1:0");
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not ready: {line}"));
        Self { child, ready }
    }

    pub(crate) fn signal(mut self, name: &str) -> Option<i32> {
        kill(name, self.child.id());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two homes made alike, one of them held by a daemon, and a folder for each that has the same.
struct Pair {
    place: Place,
    /// The URL of `in.bin`, and that of the folder `tree`.
    file: String,
    tree: String,
    _daemon: Daemon,
}

const SIDES: [&str; 2] = ["alone", "served"];

impl Pair {
    fn new() -> Self {
        let place = Place::new();
        let here = |name: &str| place.path(&format!("alone.d/{name}"));
        fs::create_dir_all(here("tree/sub")).unwrap();
        fs::write(here("in.bin"), noise(300_000)).unwrap();
        fs::write(here("tree/sub/a.txt"), "hello").unwrap();
        fs::write(here("tree/b.bin"), noise(70_000)).unwrap();
        let put = |what: &str| {
            let ran = run(&place, "alone", "", &[], &["put", what]).ok();
            ran.stdout().trim().to_owned()
        };
        let (file, tree) = (put("in.bin"), put("tree"));
        for (from, to) in [("alone", "served"), ("alone.d", "served.d")] {
            let (from, to) = (place.path(from), place.path(to));
            assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
        }
        let daemon = Daemon::start(&place, "served");
        Self { place, file, tree, _daemon: daemon }
    }

    /// Runs a command on both sides, with bytes for stdin: what came of it, without a daemon first.
    fn run(&self, stdin: &str, twins: &[(&str, &str)], args: &[&str]) -> [Told; 2] {
        SIDES.map(|side| {
            let ran = run(&self.place, side, stdin, twins, args);
            let home = self.place.path(side).display().to_string();
            let inert = |bytes: &[u8]| {
                let text = String::from_utf8_lossy(bytes).replace(&format!("{home}.d"), "HERE");
                no_chance(&text.replace(&home, "HOME"))
            };
            let code = ran.0.status.code();
            Told { code, stdout: inert(&ran.0.stdout), stderr: inert(&ran.0.stderr) }
        })
    }

    /// What is not the same on both sides, or not as it should be.
    fn differs(&self, code: i32, args: &[&str]) -> Option<String> {
        differ(code, args, self.run("", &[], args))
    }

    /// The same but for what differs by chance: URLs, keys and rates.
    fn differs_in_shape(&self, code: i32, stdin: &str, args: &[&str]) -> Option<String> {
        differ(code, args, self.run(stdin, &[], args).map(Told::shape))
    }

    fn files(&self, name: &str) -> [Vec<u8>; 2] {
        SIDES.map(|side| fs::read(self.place.path(&format!("{side}.d/{name}"))).unwrap())
    }
}

fn differ(code: i32, args: &[&str], [alone, served]: [Told; 2]) -> Option<String> {
    let is_well = alone == served && alone.code == Some(code);
    (!is_well).then(|| format!("{args:?} is to exit with {code}:\n{alone:#?}\n{served:#?}\n"))
}

/// Names of temporary files are drawn at random.
fn no_chance(text: &str) -> String {
    let mut parts = text.split(".offswarm-");
    let mut plain = parts.next().unwrap().to_owned();
    for part in parts {
        plain.push_str(part.split_once('.').map_or(part, |(_, rest)| rest));
    }
    plain
}

#[derive(Debug, PartialEq, Eq)]
struct Told {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Told {
    /// With every word that has a digit, or is of a URL, replaced.
    fn shape(mut self) -> Self {
        for text in [&mut self.stdout, &mut self.stderr] {
            let word = |word: &str| {
                let by_chance = word.chars().any(|c| c.is_ascii_digit()) || word.contains("://");
                if by_chance { "*".to_owned() } else { word.to_owned() }
            };
            let lines = text.lines().map(|line| {
                line.split_inclusive([' ', ',', ':', '?', '&']).map(word).collect::<String>()
            });
            *text = lines.collect::<Vec<_>>().join("\n");
        }
        self
    }
}

fn run(place: &Place, side: &str, stdin: &str, twins: &[(&str, &str)], args: &[&str]) -> Ran {
    let mut command = place.command(side, args);
    command.current_dir(place.path(&format!("{side}.d"))).envs(twins.iter().copied());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read it may be gone already.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    Ran(child.wait_with_output().unwrap())
}

#[test]
fn every_command_does_the_same_with_a_daemon() {
    let pair = Pair::new();
    let (file, tree) = (pair.file.as_str(), pair.tree.as_str());
    let mut wrong = Vec::new();
    let member = tree.replacen("tree.ofd", "tree.ofd/sub/a.txt", 1);
    for (code, args) in [
        (0, &["stat"] as &[&str]),
        (0, &["stat", "--json"]),
        (0, &["ls"]),
        (0, &["check"]),
        (0, &["gc", "--dry-run"]),
        (0, &["get", file, "-o", "out.bin"]),
        (0, &["get", file, "-o", "out.bin", "--json"]),
        (1, &["get", file]),
        (0, &["get", file, "--force"]),
        (0, &["get", file, "-o", "tree"]),
        (1, &["get", file, "-o", "nowhere/x"]),
        (0, &["get", file, "-o", "-"]),
        (0, &["get", file, "-o", "/dev/null"]),
        (0, &["get", tree, "-o", "copy"]),
        (0, &["get", tree, "-o", "copy"]),
        (1, &["get", tree, "-o", "copy"]),
        (2, &["get", tree, "-o", "-"]),
        (0, &["get", &member, "-o", "-"]),
        (1, &["get", file, "--torrent", "no.torrent"]),
        (0, &["cat", file, "--range", "10-19"]),
        (0, &["cat", file, "--range", "-5"]),
        (2, &["cat", file, "--range", "300000-"]),
        (0, &["ls", tree]),
        (0, &["ls", tree, "--json"]),
        (0, &["stat", file]),
        (0, &["stat", file, "--json"]),
        (2, &["stat", "nonsense"]),
        (2, &["stat", "--copies", "x"]),
        (0, &["pin", file]),
        (0, &["pin", file]),
        (0, &["unpin", file, "--json"]),
        (0, &["publish", file, "--torrent-out", "in.torrent"]),
        (1, &["publish", file, "--torrent-out", "nowhere/in.torrent"]),
        (0, &["torrent", "show", "in.torrent"]),
        (0, &["torrent", "show", file, "--json"]),
        (1, &["torrent", "show", "no.torrent"]),
        (0, &["pack", "export", "in.off", "--urls", file]),
        (1, &["pack", "adopt", "no.off"]),
        (0, &["repair", file]),
        (4, &["pin", &file.replacen("/300000/", "/300001/", 1)]),
        (4, &["get", "--offline", &file.replacen("/300000/", "/1/", 1), "-o", "y"]),
    ] {
        if args.contains(&"no.off") || args.contains(&"y") {
            // The library tells the whole path, or the URL has nothing to do with the other.
            let codes = pair.run("", &[], args).map(|told| told.code);
            assert_eq!(codes[0], codes[1], "{args:?}");
            continue;
        }
        wrong.extend(pair.differs(code, args));
    }
    for files in ["out.bin", "tree/in.bin", "in.off", "in.torrent"].map(|name| pair.files(name)) {
        assert!(files[0] == files[1]);
    }
    assert_eq!(pair.files("out.bin")[0], noise(300_000));
    assert_eq!(pair.files("copy/sub/a.txt"), [b"hello", b"hello"]);
    for (code, stdin, args) in [
        (0, "", &["put", "in.bin"] as &[&str]),
        (0, "", &["put", "in.bin", "--json"]),
        (0, "", &["put", "tree", "--name", "x"]),
        (1, "", &["put", "nothing"]),
        (2, "", &["put", "tree", "--type", "a/b"]),
        (0, "some text", &["put", "-", "--name", "x.txt"]),
        (0, file, &["cat", "-", "--range", "0-0"]),
        (0, "", &["ls"]),
        (0, "", &["check"]),
        (0, "", &["check", "--read-data", "--json"]),
        (0, "", &["repair"]),
        (0, "", &["gc", "--dry-run"]),
        (0, "", &["gc"]),
        (0, "", &["rm", file]),
        (0, "", &["pack", "adopt", "in.off"]),
        (0, "", &["get", file, "-o", "again.bin", "--offline"]),
        (2, "", &["frobnicate"]),
        (2, "", &["get"]),
    ] {
        wrong.extend(pair.differs_in_shape(code, stdin, args));
    }
    assert!(wrong.is_empty(), "{}", wrong.concat());
    assert_eq!(pair.files("again.bin"), [noise(300_000), noise(300_000)]);
}

#[test]
fn the_environment_and_the_folder_are_the_callers() {
    let pair = Pair::new();
    let [alone, served] =
        pair.run("", &[("OFFSWARM_PLAIN", "1"), ("OFFSWARM_TUPLE", "4")], &["put", "in.bin"]);
    for told in [alone, served] {
        assert!(told.stdout.contains("?t=4") && !told.stdout.contains("k="), "{told:?}");
    }
    let [alone, served] = pair.run("", &[("OFFSWARM_RANGE", "0-9")], &["cat", &pair.file]);
    assert_eq!((alone.stdout.len(), &alone.stdout), (served.stdout.len(), &served.stdout));
    let [alone, served] = pair.run("", &[("OFFSWARM_TUPLE", "9")], &["put", "in.bin"]);
    assert_eq!((alone.code, &alone), (Some(2), &served));
    // A flag that a store is opened with says nothing to one that is open, a variable may be meant
    // for the daemon.
    let limit = run(&pair.place, "served", "", &[], &["ls", "--limit", "1GiB"]).exits(2);
    limit.says(["--limit", "the daemon's", "hint"]);
    run(&pair.place, "served", "", &[("OFFSWARM_LIMIT", "1GiB")], &["ls"]).ok();
    let without = run(&pair.place, "served", "", &[("OFFSWARM_NO_DAEMON", "1")], &["ls"]);
    without.exits(11).says(["in use by another process"]);
}

#[test]
fn a_daemon_says_how_it_is_and_logs_what_it_is_told() {
    let place = Place::new();
    place.run("home", ["status"]).exits(1).says(["no daemon runs in", "offswarm serve"]);
    let daemon = Daemon::start(&place, "home");
    assert_eq!(daemon.ready["home"].as_str(), place.path("home").to_str());
    let status = place.run("home", ["status", "--json"]).ok().stdout();
    let status: Value = serde_json::from_str(&status).unwrap();
    assert!(status["services"].is_array() && status["store"]["blocks"] == 0, "{status}");
    assert!(place.run("home", ["status"]).ok().stdout().contains("store     0 blocks"));
    assert_eq!(place.run("home", ["log"]).ok().stdout().trim(), "error,offswarm=warn");
    assert_eq!(place.run("home", ["log", "info"]).ok().stdout().trim(), "info");
    assert_eq!(place.run("home", ["log"]).ok().stdout().trim(), "info");
    place.run("home", ["log", "a=b=c"]).exits(2);
    place.run("home", ["serve"]).exits(11).says(["in use by another process"]);
    let mode = fs::metadata(place.path("home/daemon.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(daemon.signal("TERM"), Some(0));
    assert!(!place.path("home/daemon.sock").exists());
}

#[test]
fn an_interrupted_daemon_exits_with_130() {
    let place = Place::new();
    assert_eq!(Daemon::start(&place, "home").signal("INT"), Some(130));
}

#[test]
fn a_command_works_at_once_after_the_daemon_was_killed() {
    let place = Place::new();
    let daemon = Daemon::start(&place, "home");
    let url = place.put("home", &place.file("in", 10));
    daemon.signal("KILL");
    assert!(place.path("home/daemon.sock").exists());
    assert_eq!(place.run("home", ["ls"]).ok().stdout().trim(), url);
    // The next one takes over the socket that was left.
    let _daemon = Daemon::start(&place, "home");
    assert_eq!(place.run("home", ["ls"]).ok().stdout().trim(), url);
}

/// Starts `put -` and feeds it until something of it is in the store.
fn put_begun(place: &Place) -> (Child, std::process::ChildStdin) {
    let mut child = place
        .command("home", ["put", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&noise(4_000_000)).unwrap();
    (child, stdin)
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(120), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn blocks(place: &Place) -> u64 {
    let stat = place.run("home", ["stat", "--json"]).ok().stdout();
    serde_json::from_str::<Value>(&stat).unwrap()["blocks"].as_u64().unwrap()
}

#[test]
fn a_put_ends_with_the_program_that_wanted_it() {
    let place = Place::new();
    let _daemon = Daemon::start(&place, "home");
    for signal in ["INT", "KILL"] {
        let (mut child, stdin) = put_begun(&place);
        wait_for("the first blocks", || blocks(&place) > 0);
        kill(signal, child.id());
        let code = child.wait().unwrap().code();
        assert_eq!(code, (signal == "INT").then_some(130));
        drop(stdin);
        wait_for("them to be gone", || blocks(&place) == 0);
        assert_eq!(place.run("home", ["ls"]).ok().stdout(), "");
    }
    place.put("home", &place.file("in", 10));
}

#[test]
fn share_and_seed_run_in_the_daemon_until_they_are_interrupted() {
    let place = Place::new();
    let _daemon = Daemon::start(&place, "home");
    let file = place.file("in", 200_000);
    let seeder = place.share("home", &file, []);
    place.run("other", ["get", &seeder.url, "-o", "copy", "--listen", "127.0.0.1:0"]).ok();
    assert_eq!(fs::read(place.path("copy")).unwrap(), noise(200_000));
    assert_eq!(seeder.signal("INT"), Some(130));
    let seed = || {
        // Swarms that are to be otherwise than the daemon's are opened for the command.
        let own = ["seed", "--listen", "127.0.0.1:0", "--max-peers", "50"];
        let command = place.command("home", own);
        crate::program::Seeder::start(command)
    };
    assert_eq!(seed().signal("TERM"), Some(0));
    // One that is killed lets go of its port.
    let seeder = seed();
    let address = seeder.address();
    assert_eq!(seeder.signal("KILL"), None);
    let port = address.rsplit(':').next().unwrap();
    let address = format!("127.0.0.1:{port}");
    wait_for("the port to be free", || std::net::TcpListener::bind(&address).is_ok());
}

#[test]
fn a_reader_that_has_had_enough_is_no_error() {
    let place = Place::new();
    let _daemon = Daemon::start(&place, "home");
    let url = place.put("home", &place.file("in", 8_000_000));
    for args in [["get", &url, "-o", "-"], ["cat", &url, "--range", "0-"]] {
        let mut get = place.command("home", args).stdout(Stdio::piped()).spawn().unwrap();
        let mut first = [0; 10];
        get.stdout.take().unwrap().read_exact(&mut first).unwrap();
        assert_eq!(first, noise(8_000_000)[..10]);
        assert_eq!(get.wait().unwrap().code(), Some(0), "{args:?}");
    }
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ran = place.command("home", ["get", &url, "-o", "-"]).stdout(full).output().unwrap();
    Ran(ran).exits(1).says(["cannot write to standard output", "No space left"]);
}

#[test]
fn many_bytes_go_through_unharmed() {
    let place = Place::new();
    let _daemon = Daemon::start(&place, "home");
    let bytes = noise(9_000_000);
    let mut put = place
        .command("home", ["put", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    put.stdin.take().unwrap().write_all(&bytes).unwrap();
    let url = Ran(put.wait_with_output().unwrap()).ok().stdout();
    assert!(url.contains("/9000000/"), "{url}");
    assert!(place.run("home", ["get", url.trim(), "-o", "-"]).ok().0.stdout == bytes);
}

/// One frame: what it is, and its contents.
fn frame(kind: u8, contents: &[u8]) -> Vec<u8> {
    let length = u32::try_from(contents.len() + 1).unwrap();
    [&length.to_be_bytes()[..], &[kind], contents].concat()
}

fn call(socket: &Path, bytes: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    said
}

#[test]
fn nonsense_at_the_socket_harms_nobody() {
    let place = Place::new();
    let _daemon = Daemon::start(&place, "home");
    let socket = place.path("home/daemon.sock");
    let hello = |version: &str| {
        frame(1, format!("{{\"version\":\"{version}\",\"watched\":false}}").as_bytes())
    };
    let mine = env!("CARGO_PKG_VERSION");
    let welcome = frame(2, mine.as_bytes());
    assert_eq!(
        call(&socket, &hello("0.0.0")),
        welcome,
        "another version is told ours, and no more"
    );
    for bad in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0xff; 64],
        frame(1, b"{}"),
        [hello(mine), frame(9, b"x")].concat(),
        [hello(mine), frame(3, b"no nul"), frame(4, b"")].concat(),
        [hello(mine), frame(3, b"/\0offswarm\0--nothing\0"), frame(4, b"")].concat(),
        [hello(mine), frame(3, b"/\0offswarm\0serve\0"), frame(4, b"")].concat(),
    ] {
        call(&socket, &bad);
        place.run("home", ["ls"]).ok();
    }
}

/// A daemon of another version is a stub here: it says what it is, and that is all.
#[test]
fn a_daemon_of_another_version_is_named() {
    let place = Place::new();
    fs::create_dir(place.path("home")).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(place.path("home/daemon.sock")).unwrap();
    let stub = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 5]).unwrap();
        stream.write_all(&frame(2, b"0.0.9")).unwrap();
        // Until the program hangs up.
        stream.read_to_end(&mut Vec::new()).unwrap();
    });
    let ran = place.run("home", ["ls"]).exits(1);
    ran.says(["the daemon is 0.0.9", env!("CARGO_PKG_VERSION"), "restart it"]);
    stub.join().unwrap();
}

#[test]
fn shows_the_configuration_and_where_it_comes_from() {
    let place = Place::new();
    fs::create_dir(place.path("home")).unwrap();
    let file: PathBuf = place.path("home/config.toml");
    fs::write(&file, "[http]\nlisten = \"127.0.0.1:4444\"\n[peers]\nmax_peers = 7\n").unwrap();
    assert_eq!(place.run("home", ["config", "path"]).ok().stdout().trim(), file.to_str().unwrap());
    let mut command = place.command("home", ["config", "show", "--origin", "--up-limit", "2MiB"]);
    command.env("OFFSWARM_HTTP_LISTEN", "127.0.0.1:5555").env("OFFSWARM_HTTP_HOST", "a,b");
    let shown = Ran(command.output().unwrap()).ok().stdout();
    for line in [
        "environment  http.listen = \"127.0.0.1:5555\"",
        "environment  http.hosts = [\"a\",\"b\"]",
        "environment  dht.enabled = false",
        "file         peers.max_peers = 7",
        "flag         peers.up_limit = 2097152",
        "default      store.limit_bytes = null",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is not in:\n{shown}");
    }
    // A switch is turned off by its variable, too, whatever the file says.
    fs::write(&file, "[native]\nlan = true\n[dht]\nenabled = false\n").unwrap();
    let mut command = place.command("home", ["config", "show", "--origin"]);
    command.env("OFFSWARM_LAN", "0").env("OFFSWARM_NO_DHT", "false");
    let shown = Ran(command.output().unwrap()).ok().stdout();
    for line in ["environment  native.lan = false", "environment  dht.enabled = true"] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is not in:\n{shown}");
    }
    let json = place.run("home", ["config", "show", "--json"]).ok().stdout();
    let first: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    for name in ["key", "value", "origin", "flag", "environment", "default", "about"] {
        assert!(first.get(name).is_some(), "{name} is not in {first}");
    }
    fs::write(&file, "[http]\nlisten = 5\n").unwrap();
    place.run("home", ["serve"]).exits(2).says([
        "config.toml",
        "line 2",
        "`http.listen`",
        "allowed",
    ]);
    place.run("home", ["serve", "--http-listen", "x"]).exits(2).says(["--http-listen", "allowed"]);
}
