//! The terminal of a command that runs in a daemon.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::cli::exit::{CliError, Exit};
use crate::cli::output::{self, Mirror, Output};
use crate::cli::signals::{Received, Signals};
use crate::daemon::socket;

use super::frame::{Frame, Hello, MAX_FRAME_LEN, Signal};

/// How long a daemon may take to answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// Bytes of standard input sent at once.
const STDIN_PIECE_LEN: usize = 256 << 10;

/// Runs a command in the daemon of a home, if there is one.
pub(in crate::cli) fn run(
    home: &std::path::Path,
    words: &[OsString],
    output: &Output,
) -> Result<Option<ExitCode>, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::failed("cannot start the runtime", error))?;
    let connected = runtime.block_on(socket::connect(home));
    let Some(stream) = connected.map_err(|error| CliError::new(Exit::Failed, error))? else {
        return Ok(None);
    };
    let mut terminal = Terminal::new(stream, output.clone()).map_err(lost)?;
    terminal.open(words)?;
    // Signals are heard beside the frames.
    let told = Arc::clone(&terminal.writer);
    let heard = move |received| {
        let signal = match received {
            Received::Interrupt => Signal::Interrupt,
            Received::Terminate => Signal::Terminate,
        };
        let _ = send(&told, &Frame::Signal(signal));
    };
    let signals = runtime.block_on(async { Signals::hear(heard) })?;
    std::thread::spawn(move || runtime.block_on(signals));
    terminal.serve().map(Some)
}

type Writer = Arc<Mutex<UnixStream>>;

fn send(writer: &Writer, frame: &Frame) -> io::Result<()> {
    frame.write(&mut *writer.lock().unwrap_or_else(PoisonError::into_inner))
}

fn lost(error: io::Error) -> CliError {
    CliError::failed("lost the daemon", error)
}

struct Terminal {
    reader: UnixStream,
    writer: Writer,
    output: Output,
    bars: HashMap<u64, Mirror>,
    /// Why stdout takes no more.
    closed: Option<io::Error>,
}

impl Terminal {
    fn new(stream: UnixStream, output: Output) -> io::Result<Self> {
        let writer = Arc::new(Mutex::new(stream.try_clone()?));
        Ok(Self { reader: stream, writer, output, bars: HashMap::new(), closed: None })
    }

    /// Says what is wanted.
    fn open(&mut self, words: &[OsString]) -> Result<(), CliError> {
        let version = env!("CARGO_PKG_VERSION");
        let hello = Hello { version: version.to_owned(), watched: io::stderr().is_terminal() };
        // If that fails, what comes back says why.
        let _ = send(&self.writer, &Frame::Hello(hello));
        self.reader.set_read_timeout(Some(ANSWER_DEADLINE)).map_err(lost)?;
        let welcome = match Frame::read(&mut self.reader) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let why = "it does not answer; it may be busy with other commands";
                return Err(CliError::failed("cannot use the daemon of this home", why));
            }
            welcome => welcome.map_err(lost)?,
        };
        match welcome {
            Some(Frame::Welcome(theirs)) if theirs == version => {}
            Some(Frame::Welcome(theirs)) => {
                let why = format!("the daemon is {theirs}, this program {version}");
                let error = CliError::failed("cannot use the daemon of this home", why);
                return Err(error.hint("restart it"));
            }
            _ => {
                let why = "it does not answer as one does, or runs too many commands already";
                return Err(CliError::failed("cannot use the daemon of this home", why));
            }
        }
        self.reader.set_read_timeout(None).map_err(lost)?;
        let here = std::env::current_dir()
            .map_err(|error| CliError::failed("cannot tell the current folder", error))?;
        let mut bytes = Vec::new();
        for word in std::iter::once(here.as_os_str()).chain(words.iter().map(OsString::as_os_str)) {
            bytes.extend(word.as_bytes());
            bytes.push(0);
        }
        for part in bytes.chunks(MAX_FRAME_LEN) {
            send(&self.writer, &Frame::Words(part.to_vec())).map_err(lost)?;
        }
        send(&self.writer, &Frame::Go).map_err(lost)
    }

    /// Is the terminal until the command has ended: its exit code.
    fn serve(mut self) -> Result<ExitCode, CliError> {
        while let Some(frame) = Frame::read(&mut self.reader).map_err(lost)? {
            match frame {
                Frame::Stdout(bytes) => self.print(&bytes),
                Frame::Stderr(bytes) => output::stderr(&bytes),
                Frame::Bar(state) if state.done => {
                    self.bars.remove(&state.id);
                }
                Frame::Bar(state) => {
                    self.bars.entry(state.id).or_insert_with(|| Mirror::new(&state)).set(&state);
                }
                Frame::WantStdin => self.feed(),
                Frame::Exit(code) => return Ok(self.end(code)),
                _ => break,
            }
        }
        Err(CliError::new(Exit::Failed, "the daemon broke off").hint("see what it says in its log"))
    }

    fn print(&mut self, bytes: &[u8]) {
        if self.closed.is_some() {
            return;
        }
        let mut stdout = io::stdout().lock();
        if let Err(error) = stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            self.closed = Some(error);
            let _ = send(&self.writer, &Frame::OutputClosed);
        }
    }

    /// Reads standard input once, on a thread of its own: the user may interrupt meanwhile.
    fn feed(&self) {
        let writer = Arc::clone(&self.writer);
        std::thread::spawn(move || {
            let mut piece = vec![0; STDIN_PIECE_LEN];
            let frame = match read_some(&mut piece) {
                Ok(0) => Frame::StdinEnd,
                Ok(read) => {
                    piece.truncate(read);
                    Frame::Stdin(piece)
                }
                Err(error) => Frame::StdinFailed(error.raw_os_error().unwrap_or_default()),
            };
            let _ = send(&writer, &frame);
        });
    }

    /// The command is over. Standard output that failed but by its reader's will is an error.
    fn end(&mut self, code: u8) -> ExitCode {
        self.bars.clear();
        match self.closed.take() {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                let error = CliError::failed("cannot write to standard output", error);
                self.output.fail(&error).into()
            }
            _ => code.into(),
        }
    }
}

fn read_some(into: &mut [u8]) -> io::Result<usize> {
    loop {
        match io::stdin().lock().read(into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}
