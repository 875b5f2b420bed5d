//! `ctl ping`.

use crate::cli::args::PingArgs;
use crate::cli::error::CliError;
use crate::cli::execute::execute;
use crate::cli::exit::ExitStatus;
use crate::cli::job::JobRequest;
use crate::cli::log::start_log;
use crate::cli::settings::{SavedInputs, Settings};
use ctl_plan::Work;

pub(in crate::cli) fn run(args: &PingArgs) -> Result<ExitStatus, CliError> {
    let settings = Settings::from(&args.fanout);
    start_log(&settings.output)?;
    let job = JobRequest::new("ping", &[], &settings, |_| Work::Ping).job(&SavedInputs::default())?;
    execute(job, &settings, None, &[], None)
}
