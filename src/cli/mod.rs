//! The command line: arguments in, one call into the library, one print out.
//!
//! stdout is data, stderr is talk. Each command is a file; `output` is the only one that
//! prints, `exit` the only one that knows exit codes.

mod args;
mod cat;
mod check;
mod dht;
mod exit;
mod get;
mod get_directory;
mod home;
mod list;
mod manual;
mod network;
mod output;
mod pack;
mod panics;
mod publish;
mod put;
mod report;
mod seed;
mod signals;
mod torrent;
mod upkeep;

use std::process::ExitCode;

use args::{Cli, Command};
use exit::{CliError, Exit};
use output::Output;
use signals::Signals;

/// Runs the program with the arguments and environment of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match args::parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are data and go to stdout, usage errors to stderr.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { ExitCode::SUCCESS };
        }
    };
    output::log_to_stderr(&cli.global.log);
    let output = Output::new(cli.global.json, cli.global.quiet);
    match panics::caught(|| run_to_end(cli, output)) {
        Ok(exit) => exit,
        Err(error) => output.fail(&error),
    }
    .into()
}

fn run_to_end(cli: Cli, output: Output) -> Result<Exit, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::failed("cannot start the runtime", error))?;
    let done = runtime.block_on(run(cli, output));
    // A blocking task may still wait for a pipe; everything that must be kept has been committed.
    runtime.shutdown_background();
    done
}

async fn run(cli: Cli, output: Output) -> Result<Exit, CliError> {
    let signals = Signals::watch()?;
    let Cli { global, command } = cli;
    match command {
        Command::Put(args) => put::run(&global, args, output, &signals).await,
        Command::Share(args) => seed::share(&global, args, output, &signals).await,
        Command::Publish(args) => publish::run(&global, args, output, &signals).await,
        Command::Get(args) => get::run(&global, args, output, &signals).await,
        Command::Cat(args) => cat::run(&global, &args, output, &signals).await,
        Command::Seed(args) => seed::seed(&global, args, output, &signals).await,
        Command::Ls(args) => list::ls(&global, &args, output),
        Command::Stat(args) if args.network => {
            network::stat(&global, &args, output, &signals).await
        }
        Command::Stat(args) => list::stat(&global, &args, output),
        Command::Pin(args) => upkeep::pin(&global, &args, true, output),
        Command::Unpin(args) => upkeep::pin(&global, &args, false, output),
        Command::Rm(args) => upkeep::rm(&global, &args, output),
        Command::Gc(args) => upkeep::gc(&global, &args, output),
        Command::Check(args) => check::check(&global, &args, output, &signals),
        Command::Repair(args) => check::repair(&global, &args, output, &signals).await,
        Command::Pack(args) => pack::run(&global, &args.command, output),
        Command::Torrent(args) => torrent::run(&global, &args.command, output),
        Command::Dht(args) => dht::run(&global, args.command, output, &signals).await,
        Command::Completions { shell } => manual::completions(shell, output),
        Command::Man => manual::man(output),
    }
}
