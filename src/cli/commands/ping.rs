//! `ctl ping`.

use crate::cli::args::PingArgs;
use crate::cli::exit::ExitStatus;
use crate::cli::job::JobRequest;
use crate::cli::log::start_log;
use crate::cli::report::CliError;
use crate::cli::session::execute;
use crate::cli::settings::SavedInputs;
use crate::plan::Action;

pub(in crate::cli) fn run(args: &PingArgs) -> Result<ExitStatus, CliError> {
    start_log(&args.fanout.output)?;
    let job = JobRequest::new("ping", Action::Ping, &[], &args.fanout).job(&SavedInputs::default())?;
    execute(job, &args.fanout, None, &[], None)
}
