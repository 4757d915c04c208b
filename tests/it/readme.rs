//! Every command that the README shows is run here.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::program::{Place, Ran};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The fenced blocks of the README marked `sh`.
fn blocks() -> Vec<String> {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let fences = readme.split("```sh\n").skip(1);
    fences.map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

/// The command as it stands. Only how hard the compiler tries is another: optimising all crates anew
/// would take as long as a third of all other tests.
#[test]
fn the_first_command_builds_shares_and_prints_two_lines() {
    let place = Place::new();
    let command = blocks()[0].trim().to_owned();
    assert_eq!(command, "cargo run --release -- share README.md");
    let mut child = Command::new("bash")
        .args(["-c", &format!("exec {command}")])
        .current_dir(root())
        .env("CARGO_TARGET_DIR", root().join("target/readme"))
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("OFFSWARM_HOME", place.path("home"))
        .env("OFFSWARM_LISTEN", "127.0.0.1:0")
        .env("OFFSWARM_NO_DHT", "true")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let lines: Vec<String> =
        BufReader::new(child.stdout.take().unwrap()).lines().take(2).map(Result::unwrap).collect();
    crate::program::kill("TERM", child.id());
    assert!(child.wait().unwrap().success());
    assert!(lines[0].contains("/offsystem/v4/text/markdown/"), "{lines:?}");
    assert!(lines[1].starts_with("magnet:?xt=urn:btih:"), "{lines:?}");
}

#[test]
fn the_second_command_is_the_one_ci_calls() {
    assert_eq!(blocks()[1].trim(), "bash tests/run.sh");
    assert!(fs::read_to_string(root().join(".ci/run")).unwrap().contains("bash tests/run.sh"));
    assert!(root().join("tests/run.sh").is_file());
}

/// The session is one script: run as it stands, with the program on the path.
#[test]
fn the_session_runs_as_shown() {
    let place = Place::new();
    let bin = Path::new(env!("CARGO_BIN_EXE_offswarm")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    for script in &blocks()[2..] {
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", script])
            .current_dir(place.path(""))
            .env("PATH", &path)
            .env("OFFSWARM_HOME", place.path("home"))
            .env("OFFSWARM_NO_DHT", "true")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Ran(output).ok();
    }
}
