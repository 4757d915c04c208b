//! Runs the program in homes of its own.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Lines, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

/// A folder with homes and files, gone at the end of the test.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file of noise that is the same on every run.
    pub(crate) fn file(&self, name: &str, len: usize) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, noise(len)).unwrap();
        path
    }

    /// The program with the home `home` and nothing of the user's environment.
    pub(crate) fn command<A: AsRef<OsStr>>(
        &self,
        home: &str,
        args: impl IntoIterator<Item = A>,
    ) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_offswarm"));
        command.arg("--home").arg(self.path(home)).args(args);
        command.current_dir(self.0.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("OFFSWARM_") {
                command.env_remove(name);
            }
        }
        // No test asks the world for nodes. Those of the DHT name their own.
        command.env("OFFSWARM_NO_DHT", "true");
        command
    }

    pub(crate) fn run<A: AsRef<OsStr>>(
        &self,
        home: &str,
        args: impl IntoIterator<Item = A>,
    ) -> Ran {
        Ran(self.command(home, args).output().unwrap())
    }

    /// Runs `put FILE` and gives the URL.
    pub(crate) fn put(&self, home: &str, file: &Path) -> String {
        self.run(home, [OsStr::new("put"), file.as_os_str()]).ok().stdout().trim().to_owned()
    }

    /// Starts `share FILE` on a loopback port and waits until peers can connect.
    pub(crate) fn share<'a>(
        &self,
        home: &str,
        file: &'a Path,
        more: impl IntoIterator<Item = &'a str>,
    ) -> Seeder {
        let args = ["share", file.to_str().unwrap(), "--listen", "127.0.0.1:0"];
        Seeder::start(self.command(home, args.into_iter().chain(more)))
    }
}

pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    StdRng::seed_from_u64(len as u64).fill_bytes(&mut bytes);
    bytes
}

/// A finished run of the program.
pub(crate) struct Ran(pub(crate) Output);

impl Ran {
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.exits(0)
    }

    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.0.status.code(), Some(code), "{}{}", self.stdout(), self.stderr());
        self
    }

    /// The error says all of this.
    #[track_caller]
    pub(crate) fn says<'a>(self, parts: impl IntoIterator<Item = &'a str>) -> Self {
        let stderr = self.stderr();
        for part in parts {
            assert!(stderr.contains(part), "{part:?} is not in: {stderr}");
        }
        self
    }
}

/// A running `share` or `seed`, killed at the end of the test.
pub(crate) struct Seeder {
    child: Child,
    pub(crate) url: String,
    pub(crate) magnet: String,
}

impl Seeder {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut line = || lines.next().and_then(Result::ok).unwrap_or_default();
        let (url, magnet) = (line(), line());
        if magnet.is_empty() {
            let output = child.wait_with_output().unwrap();
            panic!("no magnet link: {}", String::from_utf8_lossy(&output.stderr));
        }
        Self { child, url, magnet }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens, as its URL says.
    pub(crate) fn address(&self) -> String {
        let peer = self.url.split("pe=").nth(1).unwrap().split('&').next().unwrap();
        peer.replace("%3A", ":")
    }

    /// Ends it and gives what it said on stderr.
    pub(crate) fn log(mut self) -> String {
        let _ = self.child.kill();
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        log
    }

    /// Sends a signal and gives the exit code.
    pub(crate) fn signal(mut self, name: &str) -> Option<i32> {
        kill(name, self.child.id());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Seeder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A `share` or `seed` that reports in JSON, killed at the end of the test.
pub(crate) struct Watched {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// Where it listens.
    pub(crate) address: String,
}

impl Watched {
    pub(crate) fn start(mut command: Command) -> Self {
        command.args(["--json", "--report", "100ms"]).stderr(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut watched = Self { child, lines, address: String::new() };
        watched.address =
            watched.wait(|told| told["swarms"].is_array().then(|| text(&told["listen"])));
        watched
    }

    /// Waits for a line in which `find` finds something.
    #[track_caller]
    pub(crate) fn wait<T>(&mut self, find: impl Fn(&Value) -> Option<T>) -> T {
        let (started, mut last) = (Instant::now(), Value::Null);
        while started.elapsed() < Duration::from_secs(120) {
            last = serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap();
            if let Some(found) = find(&last) {
                return found;
            }
        }
        panic!("waited in vain; the last line was {last}");
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a service manager would, and gives the exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        kill("TERM", self.child.id());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// The memory of a process in KiB: `VmRSS` is what it takes now, `VmHWM` the most it took.
pub(crate) fn memory(process: u32, what: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

pub(crate) fn kill(signal: &str, process: u32) {
    Command::new("kill").args(["-s", signal, &process.to_string()]).status().unwrap();
}
