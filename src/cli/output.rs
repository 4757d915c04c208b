//! The only file that prints.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, StdoutLock, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::daemon::log::LogFilter;
use crate::id::is_active;

use super::exit::{CliError, Exit};
use super::remote::bar::{BarState, RemoteBar};
use super::remote::line::Line;

/// How long a task may take before it shows a progress bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often a wait is accounted for where there is no terminal.
const REMARK_EVERY: Duration = Duration::from_secs(10);

/// Where results and remarks go. Cloning it makes another handle to the same.
#[derive(Debug, Clone)]
pub(super) struct Output {
    json: bool,
    quiet: bool,
    /// The terminal of another process, if the command runs for one.
    line: Option<Arc<Line>>,
}

impl Output {
    pub(super) const fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet, line: None }
    }

    /// To the process at the other end of a line.
    pub(super) const fn remote(json: bool, quiet: bool, line: Arc<Line>) -> Self {
        Self { json, quiet, line: Some(line) }
    }

    /// Whether programs read it.
    pub(super) const fn is_json(&self) -> bool {
        self.json
    }

    /// Standard output, for bytes.
    pub(super) fn stdout(&self) -> Stdout {
        match &self.line {
            Some(line) => Stdout::There(Arc::clone(line)),
            None => Stdout::Here(io::stdout().lock()),
        }
    }

    /// A result: lines for people, or an object for programs.
    pub(super) fn result(&self, text: &str, json: &impl Serialize) -> Result<(), CliError> {
        if !self.json {
            return self.data(format!("{text}\n").as_bytes());
        }
        let line = serde_json::to_string(json)
            .map_err(|error| CliError::failed("cannot print the result", error))?;
        self.data(format!("{}\n", inert_json(&line)).as_bytes())
    }

    /// Bytes as they are. A reader that has gone away wants no more, which is fine.
    pub(super) fn data(&self, bytes: &[u8]) -> Result<(), CliError> {
        let mut stdout = self.stdout();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(CliError::failed("cannot write to standard output", error))
            }
            _ => Ok(()),
        }
    }

    /// Something that happens while a command runs: a remark for people, a result for programs.
    pub(super) fn event(&self, text: &str, json: &impl Serialize) -> Result<(), CliError> {
        if self.json {
            return self.result(text, json);
        }
        self.remark(text);
        Ok(())
    }

    /// A remark for people.
    pub(super) fn remark(&self, text: &str) {
        if !self.quiet && !self.json {
            self.talk(&format!("offswarm: {text}"));
        }
    }

    /// An error, with its causes and what to try.
    pub(super) fn fail(&self, error: &CliError) -> Exit {
        let message = error.chain().join(": ");
        if self.json {
            let (code, hints) = (error.exit as u8, &error.hints);
            let error = serde_json::json!({"code": code, "message": message, "hints": hints});
            self.talk(&inert_json(&serde_json::json!({"error": error}).to_string()));
        } else {
            self.talk(&format!("offswarm: {message}"));
            for hint in &error.hints {
                self.talk(&format!("  hint: {hint}"));
            }
        }
        error.exit
    }

    /// A line on stderr. Nobody to hear it is no reason to fail.
    pub(super) fn talk(&self, line: &str) {
        match &self.line {
            Some(there) => there.stderr(format!("{line}\n").as_bytes()),
            None => stderr(format!("{line}\n").as_bytes()),
        }
    }

    /// A bar for a task over `total` units (bytes, where `bytes` says so). It shows itself on a
    /// terminal once the task has taken a second.
    pub(super) fn progress(&self, total: Option<u64>, bytes: bool) -> Progress {
        let bar = match &self.line {
            Some(line) => Bar::There(RemoteBar::new(Arc::clone(line), total, bytes)),
            None => Bar::Here(hidden_bar(total, bytes)),
        };
        let watched =
            self.line.as_ref().map_or_else(|| io::stderr().is_terminal(), |l| l.watched());
        let terminal = watched && !self.quiet && !self.json;
        Progress {
            bar,
            output: self.clone(),
            waits_for_terminal: terminal,
            terminal,
            started: Instant::now(),
            remarked: Instant::now(),
        }
    }
}

/// The progress of one task.
#[derive(Debug)]
pub(super) struct Progress {
    bar: Bar,
    output: Output,
    waits_for_terminal: bool,
    terminal: bool,
    started: Instant,
    remarked: Instant,
}

impl Progress {
    /// Whether anybody can see it.
    pub(super) const fn is_shown(&self) -> bool {
        self.terminal
    }

    /// So much is done.
    pub(super) fn set(&mut self, done: u64) {
        if self.waits_for_terminal && self.started.elapsed() > PATIENCE {
            self.bar.appear();
            self.waits_for_terminal = false;
        }
        self.bar.change(|bar| bar.set_position(done), |state| state.position = done);
    }

    /// The number of units has become known.
    pub(super) fn set_total(&mut self, total: u64) {
        self.bar.change(|bar| bar.set_length(total), |state| state.total = Some(total));
    }

    /// What is being waited for: beside the bar, or every ten seconds where there is none.
    pub(super) fn waiting(&mut self, reason: &str) {
        if self.terminal {
            let set = |state: &mut BarState| reason.clone_into(&mut state.message);
            self.bar.change(|bar| bar.set_message(reason.to_owned()), set);
        } else if self.remarked.elapsed() > REMARK_EVERY {
            self.remarked = Instant::now();
            self.output.remark(reason);
        }
    }

    /// The same, and for programs every second on stderr, where errors go too.
    pub(super) fn waiting_event(&mut self, reason: &str, json: &impl Serialize) {
        if !self.output.json {
            self.waiting(reason);
        } else if self.remarked.elapsed() > PATIENCE {
            self.remarked = Instant::now();
            let json = serde_json::json!({ "waiting": json }).to_string();
            self.output.talk(&inert_json(&json));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.change(ProgressBar::finish_and_clear, |state| state.done = true);
    }
}

/// A bar on the terminal of this process or of another.
#[derive(Debug)]
enum Bar {
    Here(ProgressBar),
    There(RemoteBar),
}

impl Bar {
    fn appear(&mut self) {
        match self {
            Self::Here(bar) => bar.set_draw_target(ProgressDrawTarget::stderr()),
            Self::There(bar) => bar.appear(),
        }
    }

    fn change(&mut self, here: impl FnOnce(&ProgressBar), there: impl FnOnce(&mut BarState)) {
        match self {
            Self::Here(bar) => here(bar),
            Self::There(bar) => bar.change(there),
        }
    }
}

/// A bar that is not shown yet.
fn hidden_bar(total: Option<u64>, bytes: bool) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
    let template = match (total, bytes) {
        (Some(_), true) => "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        (Some(_), false) => "{wide_bar} {pos}/{len} blocks {msg}",
        (None, _) => "{msg} {spinner} {bytes} {bytes_per_sec}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// A bar on this terminal that is moved by another process.
pub(super) struct Mirror(ProgressBar);

impl Mirror {
    pub(super) fn new(state: &BarState) -> Self {
        let bar = hidden_bar(state.has_total.then_some(0), state.bytes);
        bar.set_draw_target(ProgressDrawTarget::stderr());
        Self(bar)
    }

    pub(super) fn set(&self, state: &BarState) {
        if let Some(total) = state.total {
            self.0.set_length(total);
        }
        self.0.set_message(state.message.clone());
        self.0.set_position(state.position);
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Standard output of this process or of another.
pub(super) enum Stdout {
    Here(StdoutLock<'static>),
    There(Arc<Line>),
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Here(stdout) => stdout.write(bytes),
            Self::There(line) => line.stdout(bytes).map(|()| bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Here(stdout) => stdout.flush(),
            Self::There(_) => Ok(()),
        }
    }
}

/// The same JSON with characters that act on a terminal escaped: they can only be in strings.
fn inert_json(json: &str) -> String {
    let mut inert = String::with_capacity(json.len());
    for c in json.chars() {
        if is_active(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing into a string cannot fail.
                let _ = write!(inert, "\\u{unit:04x}");
            }
        } else {
            inert.push(c);
        }
    }
    inert
}

/// A text of unknown origin as a terminal can show it: what would act on it is escaped.
pub(super) fn inert(text: &str) -> String {
    let escape =
        |c: char| if is_active(c) { c.escape_unicode().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}

/// Bytes to stderr. Nobody to hear them is no reason to fail.
pub(super) fn stderr(bytes: &[u8]) {
    let _ = io::stderr().lock().write_all(bytes);
}

/// Logs to stderr what `filter` lets through; that can be changed later.
pub(super) fn log_to_stderr(filter: &str) -> LogFilter {
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    LogFilter::install(filter, io::stderr, colours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_escaped_and_nothing_is_lost() {
        let text = "a\u{1b}[2J\u{202e}\u{9b}\u{7f}漢\"\\";
        assert_eq!(inert(text), "a\\u{1b}[2J\\u{202e}\\u{9b}\\u{7f}漢\"\\");
        let json = inert_json(&serde_json::to_string(text).unwrap());
        assert!(!json.contains(is_active), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}
