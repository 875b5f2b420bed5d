//! `ctl top`.

use crate::cli::job::service_names;
use crate::cli::output::{self, FoldRows};
use crate::cli::top::{self, RunWords};
use ctl_args::args::TopArgs;
use ctl_args::settings::Settings;
use ctl_console::error::CliError;
use ctl_console::exit::ExitStatus;

/// `run_words` runs another command line in this process.
pub(in crate::cli) fn run(args: &TopArgs, run_words: &RunWords) -> Result<ExitStatus, CliError> {
    let settings = Settings::from(&args.fanout);
    settings.output.start_log()?;
    output::can_fold(&settings.output, FoldRows::None("top"))?;
    top::run(&service_names(&args.names), args.interval, settings, run_words)
}
