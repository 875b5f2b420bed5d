//! `ctl top`.

use crate::cli::args::TopArgs;
use crate::cli::exit::ExitStatus;
use crate::cli::log::start_log;
use crate::cli::output::{self, FoldRows};
use crate::cli::report::CliError;
use crate::cli::top;

pub(in crate::cli) fn run(args: &TopArgs) -> Result<ExitStatus, CliError> {
    start_log(&args.fanout.output)?;
    output::can_fold(&args.fanout.output, FoldRows::None("top"))?;
    top::run(args)
}
