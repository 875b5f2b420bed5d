//! `ctl logs`.

use crate::cli::args::LogsArgs;
use crate::cli::exit::Exit;
use crate::cli::report::CliError;

pub(in crate::cli) fn run(_args: &LogsArgs) -> Result<Exit, CliError> {
    Err(CliError::usage("`ctl logs` is not built yet"))
}
