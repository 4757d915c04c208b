//! The command line: arguments in, one call into the library, one print out.
//!
//! stdout is data, stderr is talk. Each command is a file; `output` is the only one that
//! prints, `exit` the only one that knows exit codes. A command runs in the process that the user
//! has called, or if a daemon has the home, in the daemon (`remote`); `env` is what it sees of the
//! difference.

mod args;
mod cat;
mod check;
mod config;
mod convert;
mod dht;
mod env;
mod exit;
mod get;
mod get_directory;
mod home;
mod legacy;
mod list;
mod manual;
mod network;
mod output;
mod pack;
mod panics;
mod publish;
mod put;
mod remote;
mod report;
mod seed;
mod serve;
mod session;
mod signals;
mod torrent;
mod upkeep;

use std::ffi::OsString;
use std::process::ExitCode;

use args::{Cli, Command, Parsed};
use exit::{CliError, Exit};
use output::Output;
use signals::Signals;

use crate::daemon::log::LogFilter;

/// Runs the program with the arguments and environment of this process.
#[must_use]
pub fn main() -> ExitCode {
    let Parsed { cli, words } = match args::parse() {
        Ok(parsed) => parsed,
        Err(error) => {
            // Help and version are data and go to stdout, usage errors to stderr.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { ExitCode::SUCCESS };
        }
    };
    let log = output::log_to_stderr(&cli.global.log);
    let output = Output::new(cli.global.json, cli.global.quiet);
    let done = panics::caught(|| match in_daemon(&cli, &words, &output)? {
        Some(exit) => Ok(exit),
        None => run_to_end(cli, &output, &log).map(ExitCode::from),
    });
    done.unwrap_or_else(|error| output.fail(&error).into())
}

/// Has the daemon run the command, if one runs and the command is for it.
fn in_daemon(cli: &Cli, words: &[OsString], output: &Output) -> Result<Option<ExitCode>, CliError> {
    if !cli.command.is_for_daemon() || cli.global.no_daemon {
        return Ok(None);
    }
    let Ok(home) = cli.global.folder() else { return Ok(None) };
    remote::client::run(&home, words, output)
}

fn run_to_end(cli: Cli, output: &Output, log: &LogFilter) -> Result<Exit, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::failed("cannot start the runtime", error))?;
    let done = runtime.block_on(async {
        let signals = Signals::watch()?;
        match &cli.command {
            Command::Serve(args) => serve::run(&cli.global, args, log, output, &signals).await,
            _ => run(cli, output, &signals).await,
        }
    });
    // A blocking task may still wait for a pipe; everything that must be kept has been committed.
    runtime.shutdown_background();
    done
}

async fn run(cli: Cli, output: &Output, signals: &Signals) -> Result<Exit, CliError> {
    let Cli { global, command } = cli;
    match command {
        Command::Put(args) => put::run(&global, args, output, signals).await,
        Command::Share(args) => seed::share(&global, args, output, signals).await,
        Command::Publish(args) => publish::run(&global, args, output, signals).await,
        Command::Get(args) => get::run(&global, args, output, signals).await,
        Command::Cat(args) => cat::run(&global, &args, output, signals).await,
        Command::Convert(args) => convert::run(&global, args, output, signals).await,
        Command::Seed(args) => seed::seed(&global, args, output, signals).await,
        Command::Ls(args) => list::ls(&global, &args, output),
        Command::Stat(args) if args.network => network::stat(&global, &args, output, signals).await,
        Command::Stat(args) => list::stat(&global, &args, output),
        Command::Pin(args) => upkeep::pin(&global, &args, true, output),
        Command::Unpin(args) => upkeep::pin(&global, &args, false, output),
        Command::Rm(args) => upkeep::rm(&global, &args, output),
        Command::Gc(args) => upkeep::gc(&global, &args, output),
        Command::Check(args) => check::check(&global, &args, output, signals),
        Command::Repair(args) => check::repair(&global, &args, output, signals).await,
        Command::Pack(args) => pack::run(&global, &args.command, output),
        Command::Legacy(args) => legacy::run(&global, args.command, output, signals).await,
        Command::Torrent(args) => torrent::run(&global, &args.command, output),
        Command::Dht(args) => dht::run(&global, args.command, output, signals).await,
        Command::Serve(_) => Err(CliError::new(Exit::Usage, "a daemon runs no daemon")),
        Command::Status => serve::status(&global, output),
        Command::Log(args) => serve::log(&global, &args, output),
        Command::Config(args) => config::run(&global, &args.command, output),
        Command::Completions { shell } => manual::completions(shell, output),
        Command::Man => manual::man(output),
    }
}
