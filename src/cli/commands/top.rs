//! `ctl top`.

use crate::cli::args::TopArgs;
use crate::cli::exit::Exit;
use crate::cli::log::start_log;
use crate::cli::output::{self, Rows};
use crate::cli::report::CliError;
use crate::cli::top;

pub(in crate::cli) fn run(args: &TopArgs) -> Result<Exit, CliError> {
    start_log(&args.fanout.output)?;
    output::can_fold(&args.fanout.output, Rows::None("top"))?;
    top::run(args)
}
