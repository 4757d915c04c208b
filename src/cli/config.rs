//! `offswarm config`: what the configuration says, and where.

use serde::Serialize;

use crate::daemon::config::Config;

use super::args::{ConfigCommand, Global};
use super::exit::{CliError, Exit};
use super::output::{Output, inert};

#[derive(Serialize)]
struct ShownPath {
    file: String,
    exists: bool,
}

pub(super) fn run(
    global: &Global,
    command: &ConfigCommand,
    output: &Output,
) -> Result<Exit, CliError> {
    let file = global.config_file()?;
    let (origin, keys) = match command {
        ConfigCommand::Path => {
            let shown = ShownPath { file: file.display().to_string(), exists: file.exists() };
            output.result(&shown.file.clone(), &shown)?;
            return Ok(Exit::Done);
        }
        ConfigCommand::Show { origin, keys } => (origin, keys),
    };
    for key in Config::load(&file, &keys.0)?.show() {
        let mut text = format!("{} = {}", key.key, inert(&key.value.to_string()));
        if *origin {
            text = format!("{:11}  {text}", key.origin);
        }
        output.result(&text, &key)?;
    }
    Ok(Exit::Done)
}
