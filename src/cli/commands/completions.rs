//! `ctl completions SHELL`.

use std::io::Write;

use crate::cli::completion;
use ctl_args::args::CompletionsArgs;
use ctl_console::error::CliError;
use ctl_console::exit::ExitStatus;

pub(in crate::cli) fn run(args: &CompletionsArgs) -> Result<ExitStatus, CliError> {
    let written = completion::script(args.shell).and_then(|script| {
        let mut out = std::io::stdout().lock();
        out.write_all(&script)?;
        out.flush()
    });
    match written {
        // A reader that has gone away is no error.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(CliError::usage(format!("standard output: {error}")))
        }
        Ok(()) | Err(_) => Ok(ExitStatus::Good),
    }
}
