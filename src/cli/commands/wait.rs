//! `ctl wait NAME... --for STATE`.

use crate::cli::args::{ConditionArg, WaitArgs};
use crate::cli::exit::ExitStatus;
use crate::cli::job::JobRequest;
use crate::cli::log::start_log;
use crate::cli::report::CliError;
use crate::cli::session::execute;
use crate::cli::settings::SavedInputs;
use crate::plan::{Action, WaitCondition, WaitGoal};

pub(in crate::cli) fn run(args: &WaitArgs) -> Result<ExitStatus, CliError> {
    let condition = match args.condition {
        ConditionArg::Running => WaitCondition::Running,
        ConditionArg::Active => WaitCondition::Active,
        ConditionArg::Stopped => WaitCondition::Stopped,
    };
    start_log(&args.fanout.output)?;
    let until = Some(WaitGoal { condition, stable: args.stable, limit: args.wait_timeout });
    let request = JobRequest { until, ..JobRequest::new("wait", Action::Wait, &args.names, &args.fanout) };
    execute(request.job(&SavedInputs::default())?, &args.fanout, None, &[], None)
}
