//! `ctl status [NAME...]`.

use crate::cli::args::StatusArgs;
use crate::cli::exit::Exit;
use crate::cli::fanout::{Request, carry_out};
use crate::cli::report::CliError;
use crate::plan::Action;

pub(in crate::cli) fn run(args: StatusArgs) -> Result<Exit, CliError> {
    carry_out(&Request::new("status", Action::Status, &args.names, &args.fanout))
}
