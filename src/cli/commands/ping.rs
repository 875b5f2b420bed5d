//! `ctl ping`.

use crate::cli::execute::execute;
use crate::cli::job::JobRequest;
use ctl_args::args::PingArgs;
use ctl_args::settings::{SavedInputs, Settings};
use ctl_console::error::CliError;
use ctl_console::exit::ExitStatus;
use ctl_plan::Work;

pub(in crate::cli) fn run(args: &PingArgs) -> Result<ExitStatus, CliError> {
    let settings = Settings::from(&args.fanout);
    settings.output.start_log()?;
    let job = JobRequest::new("ping", &[], &settings, |_| Work::Ping).job(&SavedInputs::default())?;
    execute(job, &settings, None, &[], None)
}
