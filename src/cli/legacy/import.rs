//! `offswarm legacy import`: the blocks of a js-offs cache.

use crate::cli::args::{Global, ImportArgs};
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::Output;
use crate::cli::signals::Signals;

pub(super) fn run(
    _: &Global,
    args: &ImportArgs,
    _: &Output,
    _: &Signals,
) -> Result<Exit, CliError> {
    Err(CliError::failed(format!("cannot import {}", args.folder.display()), "not built yet"))
}
