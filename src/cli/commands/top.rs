//! `ctl top`.

use crate::cli::args::TopArgs;
use crate::cli::exit::Exit;
use crate::cli::report::CliError;

pub(in crate::cli) fn run(_args: &TopArgs) -> Result<Exit, CliError> {
    Err(CliError::usage("`ctl top` is not built yet"))
}
