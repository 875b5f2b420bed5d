//! `ctl wait NAME... --for STATE`.

use crate::cli::args::{ConditionArg, WaitArgs};
use crate::cli::exit::Exit;
use crate::cli::fanout::{Request, carry_out};
use crate::cli::report::CliError;
use crate::plan::{Action, Condition, Until};

pub(in crate::cli) fn run(args: &WaitArgs) -> Result<Exit, CliError> {
    let condition = match args.condition {
        ConditionArg::Running => Condition::Running,
        ConditionArg::Active => Condition::Active,
        ConditionArg::Stopped => Condition::Stopped,
    };
    carry_out(&Request {
        until: Some(Until { condition, stable: args.stable, limit: args.wait_timeout }),
        ..Request::new("wait", Action::Wait, &args.names, &args.fanout)
    })
}
