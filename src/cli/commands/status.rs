//! `ctl status [NAME...]`.

use crate::cli::args::StatusArgs;
use crate::cli::exit::Exit;
use crate::cli::fanout::carry_out;
use crate::cli::job::Request;
use crate::cli::output::start_log;
use crate::cli::report::CliError;
use crate::cli::settings::Sources;
use crate::plan::Action;

pub(in crate::cli) fn run(args: &StatusArgs) -> Result<Exit, CliError> {
    if args.watch.is_some() || args.save.is_some() || args.fanout.output.output.is_of_status() {
        return Err(CliError::usage("this is not built yet"));
    }
    start_log(&args.fanout.output)?;
    let (in_depth, at_a_glance) = (true, !args.all);
    let request =
        Request { in_depth, at_a_glance, ..Request::new("status", Action::Status, &args.names, &args.fanout) };
    carry_out(request.job(&Sources::default())?, &args.fanout, None, &[], None)
}
