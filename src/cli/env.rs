//! Where a command runs: in the process that the user called, or in a daemon for it.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::daemon::Daemon;

use super::remote::line::{Line, RemoteStdin};

/// What a command sees of whoever called it. By default that is this process.
#[derive(Clone, Default)]
pub(super) struct Env(Option<Remote>);

#[derive(Clone)]
struct Remote {
    /// The folder that the program was called in.
    folder: PathBuf,
    line: Arc<Line>,
    daemon: Daemon,
}

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Env").field(&self.0.as_ref().map(|remote| &remote.folder)).finish()
    }
}

impl Env {
    /// In a daemon, for a program at the other end of a line.
    pub(super) const fn remote(folder: PathBuf, line: Arc<Line>, daemon: Daemon) -> Self {
        Self(Some(Remote { folder, line, daemon }))
    }

    /// The daemon that runs the command, if one does.
    pub(super) fn daemon(&self) -> Option<&Daemon> {
        self.0.as_ref().map(|remote| &remote.daemon)
    }

    /// Where a path leads that the user has typed. Errors and results show it as it was typed.
    pub(super) fn at(&self, path: &Path) -> PathBuf {
        match &self.0 {
            Some(remote) if path.as_os_str().is_empty() => remote.folder.join("."),
            Some(remote) => remote.folder.join(path),
            None => path.to_owned(),
        }
    }

    /// A path below one that was typed, as the user would write it.
    pub(super) fn typed<'a>(&self, typed: &Path, path: &'a Path) -> &'a Path {
        match &self.0 {
            Some(remote) if typed.is_relative() => {
                path.strip_prefix(&remote.folder).unwrap_or(path)
            }
            _ => path,
        }
    }

    /// Standard input.
    pub(super) fn stdin(&self) -> Box<dyn Read + Send> {
        match &self.0 {
            Some(remote) => Box::new(RemoteStdin::new(Arc::clone(&remote.line))),
            None => Box::new(io::stdin()),
        }
    }
}
