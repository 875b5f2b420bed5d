//! `ctl snapshot`.

use crate::cli::args::SnapshotArgs;
use crate::cli::exit::Exit;
use crate::cli::report::CliError;

pub(in crate::cli) fn run(_args: &SnapshotArgs) -> Result<Exit, CliError> {
    Err(CliError::usage("`ctl snapshot` is not built yet"))
}
