//! `ctl ping`.

use crate::cli::args::PingArgs;
use crate::cli::exit::Exit;
use crate::cli::fanout::carry_out;
use crate::cli::job::Request;
use crate::cli::log::start_log;
use crate::cli::report::CliError;
use crate::cli::settings::Sources;
use crate::plan::Action;

pub(in crate::cli) fn run(args: &PingArgs) -> Result<Exit, CliError> {
    start_log(&args.fanout.output)?;
    let job = Request::new("ping", Action::Ping, &[], &args.fanout).job(&Sources::default())?;
    carry_out(job, &args.fanout, None, &[], None)
}
