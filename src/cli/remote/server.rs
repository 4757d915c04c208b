//! Runs commands for programs that call.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::cli::args;
use crate::cli::env::Env;
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::Output;
use crate::cli::signals::Signals;
use crate::cli::{panics, run};
use crate::daemon::{Commands, Daemon};

use super::frame::{Frame, Hello};
use super::line::{Line, Listener};

/// Bytes of all arguments of a command, at most: twice what the system lets a program have.
const MAX_WORDS_LEN: usize = 4 << 20;

/// How long a program may take to say what it wants.
const OPENING_DEADLINE: Duration = Duration::from_secs(10);

/// The commands of this program.
pub(in crate::cli) struct Server;

impl Commands for Server {
    fn run(&self, daemon: &Daemon, stream: UnixStream, stop: &CancellationToken) {
        if let Err(error) = serve(daemon, stream, stop) {
            tracing::debug!("a command was not run: {error}");
        }
    }
}

fn serve(daemon: &Daemon, stream: UnixStream, stop: &CancellationToken) -> io::Result<()> {
    stream.set_read_timeout(Some(OPENING_DEADLINE))?;
    let Some((hello, words)) = opening(&stream)? else { return Ok(()) };
    stream.set_read_timeout(None)?;
    let (line, listener) = Line::new(stream, hello.watched)?;
    let exit = match command(daemon, &line, listener, &words, stop) {
        // It was not its user who ended it.
        Exit::Interrupted if stop.is_cancelled() => {
            line.stderr(b"offswarm: the daemon was told to stop\n");
            Exit::Failed
        }
        exit => exit,
    };
    line.exit(exit as u8);
    Ok(())
}

/// What the program says before the command begins; `None` if it wants none.
fn opening(mut stream: &UnixStream) -> io::Result<Option<(Hello, Vec<u8>)>> {
    let Some(Frame::Hello(hello)) = Frame::read(&mut stream)? else { return Ok(None) };
    let version = env!("CARGO_PKG_VERSION");
    Frame::Welcome(version.to_owned()).write(&mut stream)?;
    if hello.version != version {
        return Ok(None);
    }
    let mut words = Vec::new();
    loop {
        match Frame::read(&mut stream)? {
            Some(Frame::Words(more)) if words.len() + more.len() <= MAX_WORDS_LEN => {
                words.extend(more);
            }
            Some(Frame::Go) => return Ok(Some((hello, words))),
            _ => return Ok(None),
        }
    }
}

fn command(
    daemon: &Daemon,
    line: &Arc<Line>,
    listener: Listener,
    words: &[u8],
    stop: &CancellationToken,
) -> Exit {
    let plain = Output::remote(false, false, Arc::clone(line));
    let (folder, words) = split(words);
    let mut cli = match args::parse_words(words) {
        Ok(cli) => cli,
        Err(error) => {
            line.stderr(error.to_string().as_bytes());
            return Exit::Usage;
        }
    };
    cli.global.env = Env::remote(folder, Arc::clone(line), daemon.clone());
    let output = Output::remote(cli.global.json, cli.global.quiet, Arc::clone(line));
    let signals = Signals::new();
    let ended = CancellationToken::new();
    let (told, stop, over) = (signals.clone(), stop.clone(), ended.clone());
    // When the daemon is to stop, so are its commands.
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => told.terminate(),
            () = over.cancelled() => {}
        }
    });
    let _over = ended.drop_guard();
    let hears = (Arc::clone(line), signals.clone());
    let hearing = std::thread::Builder::new().name("command-line".into());
    if let Err(error) = hearing.spawn(move || listener.listen(&hears.0, &hears.1)) {
        return plain.fail(&CliError::failed("cannot listen to the terminal", error));
    }
    let runtime = tokio::runtime::Handle::current();
    let done = panics::caught(|| runtime.block_on(Box::pin(run(cli, &output, &signals))));
    done.unwrap_or_else(|error| output.fail(&error))
}

/// The folder the program was called in, and its arguments.
fn split(words: &[u8]) -> (PathBuf, Vec<OsString>) {
    let mut words = words.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec()));
    let folder = words.next().unwrap_or_default();
    let mut words: Vec<_> = words.collect();
    // Each ends with a NUL.
    words.pop();
    (folder.into(), words)
}
