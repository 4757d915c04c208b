//! `offswarm completions` and `offswarm man`.

use super::args;
use super::exit::{CliError, Exit};
use super::output::Output;

pub(super) fn completions(shell: clap_complete::Shell, output: Output) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "offswarm", &mut script);
    output.data(&script)?;
    Ok(Exit::Done)
}

/// One page: the program, then each command with its flags.
pub(super) fn man(output: Output) -> Result<Exit, CliError> {
    let failed = |error| CliError::failed("cannot make the manual page", error);
    let mut command = args::command();
    command.build();
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page).map_err(failed)?;
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let man = clap_mangen::Man::new(sub.clone());
        page.extend(format!(".SH \"COMMAND {}\"\n", sub.get_name().to_uppercase()).as_bytes());
        man.render_description_section(&mut page).map_err(failed)?;
        man.render_options_section(&mut page).map_err(failed)?;
    }
    output.data(&page)?;
    Ok(Exit::Done)
}
