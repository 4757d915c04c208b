//! The daemon's end of the line to a terminal: what a command has for stdout, stderr and stdin.
//!
//! Everything here blocks until the other end has taken it, as a terminal does; each command runs
//! on a thread of its own.

use std::io::{self, ErrorKind, Read};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::bar::BarState;
use super::frame::{Frame, MAX_FRAME_LEN, Signal, write_stdout};
use crate::cli::signals::Signals;

/// What came of reading standard input; nothing at its end.
type Fed = io::Result<Vec<u8>>;

/// The line to a terminal.
#[derive(Debug)]
pub(in crate::cli) struct Line {
    stream: Mutex<UnixStream>,
    pieces: Mutex<Receiver<Fed>>,
    /// Nobody reads what is written to stdout.
    closed: AtomicBool,
    /// Whether stderr is a terminal.
    watched: bool,
    bars: AtomicU64,
}

impl Line {
    /// The line, and what its listener needs.
    pub(super) fn new(stream: UnixStream, watched: bool) -> io::Result<(Arc<Self>, Listener)> {
        // One piece is asked for at a time.
        let (feed, pieces) = sync_channel(1);
        let listener = Listener { stream: stream.try_clone()?, feed };
        let (stream, pieces) = (Mutex::new(stream), Mutex::new(pieces));
        let (closed, bars) = (AtomicBool::new(false), AtomicU64::new(0));
        Ok((Arc::new(Self { stream, pieces, closed, watched, bars }), listener))
    }

    /// Whether stderr is a terminal.
    pub(in crate::cli) const fn watched(&self) -> bool {
        self.watched
    }

    /// Writes to stdout. Whoever does not read it has had enough, whatever the reason.
    pub(in crate::cli) fn stdout(&self, bytes: &[u8]) -> io::Result<()> {
        for part in bytes.chunks(MAX_FRAME_LEN) {
            if self.closed.load(Ordering::Acquire) {
                return Err(ErrorKind::BrokenPipe.into());
            }
            write_stdout(part, &mut *self.stream()).map_err(|_| ErrorKind::BrokenPipe)?;
        }
        Ok(())
    }

    /// Writes to stderr. Nobody to hear it is no reason to fail.
    pub(in crate::cli) fn stderr(&self, bytes: &[u8]) {
        for part in bytes.chunks(MAX_FRAME_LEN) {
            let _ = self.send(&Frame::Stderr(part.to_vec()));
        }
    }

    pub(super) fn next_bar(&self) -> u64 {
        self.bars.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn bar(&self, state: BarState) {
        let _ = self.send(&Frame::Bar(state));
    }

    /// Says the exit code and hangs up.
    pub(super) fn exit(&self, code: u8) {
        let _ = self.send(&Frame::Exit(code));
        let _ = self.stream().shutdown(Shutdown::Both);
    }

    fn send(&self, frame: &Frame) -> io::Result<()> {
        frame.write(&mut *self.stream())
    }

    fn stream(&self) -> MutexGuard<'_, UnixStream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next piece of standard input.
    fn ask(&self) -> Fed {
        self.send(&Frame::WantStdin)?;
        let pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        pieces.recv().unwrap_or_else(|_| Err(io::Error::other("the terminal is gone")))
    }
}

/// Standard input at the other end of a line.
pub(in crate::cli) struct RemoteStdin {
    line: Arc<Line>,
    /// What has come and is not read.
    piece: Vec<u8>,
    at: usize,
    ended: bool,
}

impl RemoteStdin {
    pub(in crate::cli) const fn new(line: Arc<Line>) -> Self {
        Self { line, piece: Vec::new(), at: 0, ended: false }
    }
}

impl Read for RemoteStdin {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() && !self.ended {
            (self.piece, self.at) = (self.line.ask()?, 0);
            self.ended = self.piece.is_empty();
        }
        let mut rest = self.piece.get(self.at..).unwrap_or_default();
        let read = rest.read(into)?;
        self.at += read;
        Ok(read)
    }
}

/// Hears what the other end says.
pub(super) struct Listener {
    stream: UnixStream,
    feed: SyncSender<Fed>,
}

impl Listener {
    /// Listens until the other end hangs up, or says what it must not.
    pub(super) fn listen(mut self, line: &Line, signals: &Signals) {
        while let Ok(Some(frame)) = Frame::read(&mut self.stream) {
            let fed = match frame {
                Frame::Signal(Signal::Interrupt) => {
                    signals.interrupt();
                    continue;
                }
                Frame::Signal(Signal::Terminate) => {
                    signals.terminate();
                    continue;
                }
                Frame::OutputClosed => {
                    line.closed.store(true, Ordering::Release);
                    continue;
                }
                Frame::Stdin(bytes) => Ok(bytes),
                Frame::StdinEnd => Ok(Vec::new()),
                Frame::StdinFailed(0) => Err(io::Error::other("no reason given")),
                Frame::StdinFailed(code) => Err(io::Error::from_raw_os_error(code)),
                _ => break,
            };
            if self.feed.try_send(fed).is_err() {
                break;
            }
        }
        line.closed.store(true, Ordering::Release);
        signals.interrupt();
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}
