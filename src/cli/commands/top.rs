//! `ctl top`.

use crate::cli::args::TopArgs;
use crate::cli::error::CliError;
use crate::cli::exit::ExitStatus;
use crate::cli::job::service_names;
use crate::cli::log::start_log;
use crate::cli::output::{self, FoldRows};
use crate::cli::settings::Settings;
use crate::cli::top::{self, RunWords};

/// `run_words` runs another command line in this process.
pub(in crate::cli) fn run(args: &TopArgs, run_words: &RunWords) -> Result<ExitStatus, CliError> {
    let settings = Settings::from(&args.fanout);
    start_log(&settings.output)?;
    output::can_fold(&settings.output, FoldRows::None("top"))?;
    top::run(&service_names(&args.names), args.interval, settings, run_words)
}
