//! Commands that run in a daemon, with the terminal of another process.
//!
//! A home has one owner at a time. While that is a daemon, a command that needs the store is run by
//! it, and the program the user has called is no more than its terminal. Each connection to the
//! socket in the home (see [`daemon::socket`](crate::daemon::socket)) is one command:
//!
//! | who | says | with |
//! |---|---|---|
//! | program | `Hello` | its version, and whether its stderr is a terminal |
//! | daemon | `Welcome` | its version; if they differ, that is all |
//! | program | `Words` | the folder it was called in and the arguments, each behind a NUL |
//! | program | `Go` | that was all of them |
//! | daemon | `Stdout`, `Stderr` | bytes to print |
//! | daemon | `WantStdin` | it wants to read |
//! | program | `Stdin`, `StdinEnd`, `StdinFailed` | what came of that |
//! | daemon | `Bar` | how a progress bar looks now |
//! | program | `Signal` | the user has interrupted or terminated it |
//! | program | `OutputClosed` | nobody reads its stdout any more |
//! | daemon | `Exit` | the exit code; the end |
//!
//! A frame ([`frame`]) is four bytes of length, one that says what it is, and its contents. The
//! arguments are the program's with its environment variables spelt out as flags
//! ([`args::Parsed`](super::args::Parsed)), for the daemon has an environment of its own. Whoever
//! hangs up wants the command stopped: there is nobody left to see what comes of it.
//!
//! Paths are those of the program: the daemon, which is the same user, opens, reads and writes the
//! files itself, seen from the folder the program was called in. Its own umask and view of the file
//! system hold.

pub(super) mod bar;
pub(super) mod client;
mod frame;
pub(super) mod line;
pub(super) mod server;
