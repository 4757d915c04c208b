//! Tests of the web page in a browser, Debian's Chromium, as somebody uses it who has never seen a
//! command line.
//!
//! Each test starts `offswarm serve` with a home of its own and a script beside this file, which
//! drives the browser (playwright-core) and looks at the page with axe-core. Both packages come from
//! the npm registry at the versions of `package-lock.json`, into `target/browser`, where the pictures
//! that the tests take are kept, too. Nothing the page or the program does leaves this machine: the
//! scripts check it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

#[path = "../common/mod.rs"]
mod common;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::child::Running;
use common::{Home, LISTEN_HERE};

/// What takes this long has failed.
const DEADLINE_SECONDS: &str = "600";

const CHROMIUM: &str = "/usr/bin/chromium";

/// Files that say which packages there must be.
const LISTS: [&str; 2] = ["package.json", "package-lock.json"];

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser")
}

/// Where packages are and pictures go: `target/browser`, wherever `target` is.
fn workshop() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a target folder");
    target.join("browser")
}

fn run(command: &mut Command) {
    let status = command.status();
    let status = status.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    assert!(status.success(), "{command:?} ended with {status}");
}

/// The workshop with the packages in it. Tests that begin together wait for the one that installs.
fn furnished() -> PathBuf {
    let workshop = workshop();
    fs::create_dir_all(&workshop).unwrap();
    let lock = File::create(workshop.join("lock")).unwrap();
    lock.lock().unwrap();
    let is_current = LISTS.iter().all(|list| {
        let installed = fs::read(workshop.join("installed").join(list));
        installed.is_ok_and(|installed| installed == fs::read(scripts().join(list)).unwrap())
    });
    if !is_current {
        for list in LISTS {
            fs::copy(scripts().join(list), workshop.join(list)).unwrap();
        }
        run(Command::new("npm").args(["ci", "--ignore-scripts"]).current_dir(&workshop));
        fs::create_dir_all(workshop.join("installed")).unwrap();
        for list in LISTS {
            fs::copy(workshop.join(list), workshop.join("installed").join(list)).unwrap();
        }
    }
    workshop
}

/// Runs a script on the page of a client that has nothing yet.
fn browse(script: &str) {
    assert!(Path::new(CHROMIUM).is_file(), "install the Debian package chromium");
    let workshop = furnished();
    let home = Home::new();
    let mut command = home.offswarm(["serve", "--http-listen", "127.0.0.1:0"]);
    let server = Running::start(command.args(LISTEN_HERE).args(["--no-dht", "--fault-injection"]));
    let page = server.line_with("where its page is", |line| {
        line.split_whitespace()
            .find(|word| word.starts_with("http://127.0.0.1:"))
            .map(str::to_owned)
    });
    let files = home.beside("files");
    fs::create_dir_all(&files).unwrap();
    let mut node = Command::new("timeout");
    node.args([DEADLINE_SECONDS, "node"]).arg(scripts().join(script));
    run(node.arg(page).arg(&workshop).arg(&files).current_dir(&workshop));
    assert!(server.terminate().success(), "the client ends well");
}

#[test]
fn a_dropped_file_becomes_a_url_that_gives_it_back() {
    browse("put.mjs");
}

#[test]
fn a_dropped_folder_becomes_one_url() {
    browse("folder.mjs");
}

#[test]
fn hostile_names_are_text() {
    browse("hostile.mjs");
}

#[test]
fn every_view_is_accessible_wide_and_narrow_light_and_dark() {
    browse("looks.mjs");
}

#[test]
fn a_service_that_restarts_is_seen() {
    browse("services.mjs");
}
