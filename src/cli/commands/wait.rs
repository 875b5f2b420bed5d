//! `ctl wait NAME... --for STATE`.

use crate::cli::execute::execute;
use crate::cli::job::{JobRequest, service_names};
use ctl_args::args::{ConditionArg, WaitArgs};
use ctl_args::settings::{SavedInputs, Settings};
use ctl_console::error::CliError;
use ctl_console::exit::ExitStatus;
use ctl_plan::{WaitCondition, WaitGoal, Work};

pub(in crate::cli) fn run(args: &WaitArgs) -> Result<ExitStatus, CliError> {
    let condition = match args.condition {
        ConditionArg::Running => WaitCondition::Running,
        ConditionArg::Active => WaitCondition::Active,
        ConditionArg::Stopped => WaitCondition::Stopped,
    };
    let settings = Settings::from(&args.fanout);
    settings.output.start_log()?;
    let goal = WaitGoal { condition, stable: args.stable, limit: args.wait_timeout };
    let services = service_names(&args.names);
    let request = JobRequest::new("wait", &services, &settings, |services| Work::Wait { services, goal });
    execute(request.job(&SavedInputs::default())?, &settings, None, &[], None)
}
