//! Child processes that do not outlive their test, and waiting for what they say.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take before its test fails. Many times what a slow machine needs.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// How often a condition is looked at that announces itself in no other way.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Waits until `look` finds something.
#[track_caller]
pub fn poll<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < DEADLINE, "waited in vain for {what}");
        thread::sleep(LOOK_EVERY);
    }
}

/// A child process, killed when this is dropped. Its stderr goes where the test's goes.
pub struct Running {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        Self::start_with(command, Stdio::null())
    }

    /// Starts what takes orders on its standard input, and ends when that does.
    pub fn start_obedient(command: &mut Command) -> Self {
        Self::start_with(command, Stdio::piped())
    }

    fn start_with(command: &mut Command, stdin: Stdio) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let spawned = command.stdin(stdin).stdout(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("a piped stdout"));
        let (sender, lines) = channel();
        // Ends with the child, which closes its end of the pipe.
        thread::spawn(move || hand_on(stdout, &sender));
        Self { name, child, stdin, lines }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Says a line to one that was started obedient.
    pub fn tell(&self, line: &str) {
        let mut stdin = self.stdin.as_ref().expect("one that was started obedient");
        let told = stdin.write_all(format!("{line}\n").as_bytes());
        told.unwrap_or_else(|error| panic!("cannot tell {} {line}: {error}", self.name));
    }

    /// The next line of its standard output.
    #[track_caller]
    pub fn line(&self) -> String {
        match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("{} said nothing for {DEADLINE:?}", self.name),
            Err(RecvTimeoutError::Disconnected) => panic!("{} ended too early", self.name),
        }
    }

    /// The first line to come in which `find` finds something.
    #[track_caller]
    pub fn line_with<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let mut heard = Vec::new();
        let started = Instant::now();
        while started.elapsed() < DEADLINE {
            let line = self.line();
            if let Some(found) = find(&line) {
                return found;
            }
            heard.push(line);
        }
        panic!("{} did not say {what}, but {heard:#?}", self.name)
    }

    /// Sends a signal by its name, as in `TERM`.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent =
            Command::new("/bin/sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &id]).status();
        assert!(sent.expect("a shell").success(), "cannot signal {}", self.name);
    }

    /// Ends it without a word, and waits until it has.
    pub fn kill(mut self) {
        self.child.kill().expect("a child of ours");
        self.child.wait().expect("a child of ours");
    }

    /// Asks it to end, and waits until it has.
    pub fn terminate(mut self) -> ExitStatus {
        self.signal("TERM");
        let name = self.name.clone();
        poll(&format!("the end of {name}"), || self.child.try_wait().expect("a child of ours"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn hand_on(stdout: impl BufRead, lines: &Sender<String>) {
    for line in stdout.lines().map_while(Result::ok) {
        if lines.send(line).is_err() {
            return;
        }
    }
}
