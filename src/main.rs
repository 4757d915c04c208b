//! The program `offswarm`: hands its arguments to [`offswarm::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    offswarm::cli::main()
}
