//! `ctl wait NAME... --for STATE`.

use crate::cli::args::{ConditionArg, WaitArgs};
use crate::cli::exit::Exit;
use crate::cli::fanout::carry_out;
use crate::cli::job::Request;
use crate::cli::log::start_log;
use crate::cli::report::CliError;
use crate::cli::settings::Sources;
use crate::plan::{Action, WaitCondition, WaitGoal};

pub(in crate::cli) fn run(args: &WaitArgs) -> Result<Exit, CliError> {
    let condition = match args.condition {
        ConditionArg::Running => WaitCondition::Running,
        ConditionArg::Active => WaitCondition::Active,
        ConditionArg::Stopped => WaitCondition::Stopped,
    };
    start_log(&args.fanout.output)?;
    let until = Some(WaitGoal { condition, stable: args.stable, limit: args.wait_timeout });
    let request = Request { until, ..Request::new("wait", Action::Wait, &args.names, &args.fanout) };
    carry_out(request.job(&Sources::default())?, &args.fanout, None, &[], None)
}
