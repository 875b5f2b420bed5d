//! `ctl`: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    contrail_ctl::cli::main(std::env::args_os())
}
