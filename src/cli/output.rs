//! The only file that prints.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use tracing_subscriber::EnvFilter;

use crate::id::is_active;

use super::exit::{CliError, Exit};

/// How long a task may take before it shows a progress bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often a wait is accounted for where there is no terminal.
const REMARK_EVERY: Duration = Duration::from_secs(10);

/// Where results and remarks go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    json: bool,
    quiet: bool,
}

impl Output {
    pub(super) const fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// Whether programs read it.
    pub(super) const fn is_json(self) -> bool {
        self.json
    }

    /// A result: lines for people, or an object for programs.
    pub(super) fn result(self, text: &str, json: &impl Serialize) -> Result<(), CliError> {
        if !self.json {
            return self.data(format!("{text}\n").as_bytes());
        }
        let line = serde_json::to_string(json)
            .map_err(|error| CliError::failed("cannot print the result", error))?;
        self.data(format!("{}\n", inert_json(&line)).as_bytes())
    }

    /// Bytes as they are. A reader that has gone away wants no more, which is fine.
    #[expect(clippy::unused_self, reason = "whoever prints has been handed the output")]
    pub(super) fn data(self, bytes: &[u8]) -> Result<(), CliError> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(CliError::failed("cannot write to standard output", error))
            }
            _ => Ok(()),
        }
    }

    /// Something that happens while a command runs: a remark for people, a result for programs.
    pub(super) fn event(self, text: &str, json: &impl Serialize) -> Result<(), CliError> {
        if self.json {
            return self.result(text, json);
        }
        self.remark(text);
        Ok(())
    }

    /// A remark for people.
    pub(super) fn remark(self, text: &str) {
        if !self.quiet && !self.json {
            talk(&format!("offswarm: {text}"));
        }
    }

    /// An error, with its causes and what to try.
    pub(super) fn fail(self, error: &CliError) -> Exit {
        let message = error.chain().join(": ");
        if self.json {
            let (code, hints) = (error.exit as u8, &error.hints);
            let error = serde_json::json!({"code": code, "message": message, "hints": hints});
            talk(&inert_json(&serde_json::json!({"error": error}).to_string()));
        } else {
            talk(&format!("offswarm: {message}"));
            for hint in &error.hints {
                talk(&format!("  hint: {hint}"));
            }
        }
        error.exit
    }

    /// A bar for a task over `total` units (bytes, where `bytes` says so). It shows itself on a
    /// terminal once the task has taken a second.
    pub(super) fn progress(self, total: Option<u64>, bytes: bool) -> Progress {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        let template = match (total, bytes) {
            (Some(_), true) => "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            (Some(_), false) => "{wide_bar} {pos}/{len} blocks {msg}",
            (None, _) => "{msg} {spinner} {bytes} {bytes_per_sec}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let terminal = io::stderr().is_terminal() && !self.quiet && !self.json;
        Progress {
            bar,
            output: self,
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
    bar: ProgressBar,
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
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
            self.waits_for_terminal = false;
        }
        self.bar.set_position(done);
    }

    /// The number of units has become known.
    pub(super) fn set_total(&self, total: u64) {
        self.bar.set_length(total);
    }

    /// What is being waited for: beside the bar, or every ten seconds where there is none.
    pub(super) fn waiting(&mut self, reason: &str) {
        if self.terminal {
            self.bar.set_message(reason.to_owned());
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
            talk(&inert_json(&serde_json::json!({ "waiting": json }).to_string()));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
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

/// A line on stderr. Nobody to hear it is no reason to fail.
pub(super) fn talk(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Logs to stderr what `filter` lets through.
pub(super) fn log_to_stderr(filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("error"));
    let log = tracing_subscriber::fmt().with_writer(io::stderr).with_env_filter(filter);
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // A second logger can only be a second call, and then the first one stays.
    let _ = log.with_ansi(colours).try_init();
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
