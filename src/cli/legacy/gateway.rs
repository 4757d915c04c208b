//! `offswarm legacy gateway`: files from the HTTP ports of other OFF programs.

use crate::cli::args::{GatewayGetArgs, Global};
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::Output;
use crate::cli::signals::Signals;

#[expect(clippy::unused_async, reason = "it will wait for a node")]
pub(super) async fn get(
    _: &Global,
    args: &GatewayGetArgs,
    _: &Output,
    _: &Signals,
) -> Result<Exit, CliError> {
    Err(CliError::failed(format!("cannot get {}", args.url), "not built yet"))
}
