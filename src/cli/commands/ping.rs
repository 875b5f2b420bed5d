//! `ctl ping`.

use crate::cli::args::PingArgs;
use crate::cli::exit::Exit;
use crate::cli::fanout::{Request, carry_out};
use crate::cli::report::CliError;
use crate::plan::Action;

pub(in crate::cli) fn run(args: PingArgs) -> Result<Exit, CliError> {
    carry_out(&Request::new("ping", Action::Ping, &[], &args.fanout))
}
