//! `ctl top`.

use crate::cli::args::TopArgs;
use crate::cli::exit::Exit;
use crate::cli::log::start_log;
use crate::cli::report::CliError;
use crate::cli::top;

pub(in crate::cli) fn run(args: &TopArgs) -> Result<Exit, CliError> {
    start_log(&args.fanout.output)?;
    top::run(args)
}
