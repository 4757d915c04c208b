//! `offswarm completions` and `offswarm man`.

use std::io;

use clap::Command;

use super::args;
use super::exit::{CliError, Exit};
use super::output::Output;

pub(super) fn completions(shell: clap_complete::Shell, output: &Output) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "offswarm", &mut script);
    output.data(&script)?;
    Ok(Exit::Done)
}

/// One page: the program, then each command with its flags.
pub(super) fn man(output: &Output) -> Result<Exit, CliError> {
    let failed = |error| CliError::failed("cannot make the manual page", error);
    let mut command = args::command();
    command.build();
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page).map_err(failed)?;
    commands(&command, "", &mut page).map_err(failed)?;
    output.data(&page)?;
    Ok(Exit::Done)
}

/// A section for each command, and for those within it.
fn commands(command: &Command, within: &str, page: &mut Vec<u8>) -> io::Result<()> {
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let man = clap_mangen::Man::new(sub.clone());
        let name = format!("{within}{}", sub.get_name().to_uppercase());
        page.extend(format!(".SH \"COMMAND {name}\"\n").as_bytes());
        man.render_description_section(page)?;
        man.render_options_section(page)?;
        commands(sub, &format!("{name} "), page)?;
    }
    Ok(())
}
