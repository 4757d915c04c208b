//! Drives the program as a user would: by its arguments, its standard output and signals.
//!
//! Nothing here waits for a time to pass: every wait is for an event and has a deadline.

#![allow(dead_code, reason = "each test binary uses the part it needs")]
#![allow(
    unreachable_pub,
    reason = "what a test binary shares is public in the module that is shared"
)]

pub mod child;

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use offswarm::client::{Client, Settings};
use offswarm::off::OffUrl;
use offswarm::torrent::magnet::Magnet;
use tempfile::TempDir;

use child::Running;

/// The argument that keeps a program's peer port on this machine.
pub const LISTEN_HERE: &[&str] = &["--listen", "127.0.0.1:0"];

/// A home that does not exist until the program makes it.
pub struct Home {
    folder: TempDir,
}

impl Home {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { folder }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// A path for a file beside the home, which lives as long.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program with this home, without the settings of whoever runs the tests.
    pub fn offswarm<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_offswarm"));
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"OFFSWARM_") {
                command.env_remove(name);
            }
        }
        // No test asks the world for nodes. Those of the DHT name their own.
        command.env("OFFSWARM_NO_DHT", "true");
        command.arg("--home").arg(self.path()).args(args);
        command
    }

    /// `offswarm share`, listening on loopback, until peers can connect.
    pub fn share(&self, file: &Path, args: &[&str]) -> Seeder {
        let mut command = self.offswarm([OsStr::new("share"), file.as_os_str()]);
        Seeder::start(command.args(LISTEN_HERE).args(args))
    }

    /// `offswarm seed` of all that was shared here, listening on loopback, until peers can connect.
    pub fn seed(&self, args: &[&str]) -> Seeder {
        Seeder::start(self.offswarm(["seed"]).args(LISTEN_HERE).args(args))
    }

    /// `offswarm --json get`, listening on loopback, to its end.
    pub fn get(&self, what: &str, output: &Path, args: &[&str]) -> Output {
        let mut command = self.offswarm(["--json", "get", what, "--output"]);
        command.arg(output).args(LISTEN_HERE).args(args);
        command.output().expect("offswarm starts")
    }

    /// The blocks of a URL in the order of its torrent, back to back. Nobody else may use the
    /// home meanwhile.
    pub fn blocks(&self, url: &OffUrl) -> Vec<u8> {
        let client = Client::open_existing(&self.path(), &Settings::default()).expect("a home");
        let survey = client.survey(url).expect("a survey");
        assert!(survey.is_whole(), "blocks of {url} are missing");
        let block = |id| client.store().get(id).expect("a whole block");
        let blocks = survey.order.iter().map(|id| block(id).expect("a block"));
        blocks.flat_map(|block| block.contents().to_vec()).collect()
    }

    /// How many blocks are here.
    pub fn census(&self) -> u64 {
        let client = Client::open_existing(&self.path(), &Settings::default()).expect("a home");
        client.store().census().expect("a census").blocks
    }
}

/// A running `offswarm share` or `offswarm seed` of one file.
pub struct Seeder {
    running: Running,
    /// The OFF URL, with hints.
    pub url: OffUrl,
    /// The magnet link as it was printed.
    pub magnet: String,
}

impl Seeder {
    /// Starts it by a command that prints a URL and a magnet link.
    pub fn start(command: &mut Command) -> Self {
        let running = Running::start(command);
        let url = OffUrl::parse(&running.line()).expect("an OFF URL in the first line");
        let magnet = running.line();
        let said = Magnet::parse(&magnet).expect("a magnet link in the second line");
        assert_eq!(said.hinted_url().as_ref(), Some(&url), "both lines agree");
        Self { running, url, magnet }
    }

    /// Where its peers find it.
    pub fn address(&self) -> SocketAddr {
        *self.url.hints.peers.first().expect("a peer hint")
    }

    /// Ends it without a word.
    pub fn kill(self) {
        self.running.kill();
    }

    /// Ends it as a service manager would.
    pub fn stop(self) {
        let status = self.running.terminate();
        assert!(status.success(), "a terminated seeder ends well: {status}");
    }
}
