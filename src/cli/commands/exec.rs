//! `ctl exec -- COMMAND...`.

use crate::cli::args::ExecArgs;
use crate::cli::exit::Exit;
use crate::cli::fanout::{Request, carry_out};
use crate::cli::report::CliError;
use crate::plan::Action;

pub(in crate::cli) fn run(args: &ExecArgs) -> Result<Exit, CliError> {
    let line = match args.command.as_slice() {
        [line] => line.clone(),
        words => shlex::try_join(words.iter().map(String::as_str))
            .map_err(|_| CliError::usage("a word of the command holds a NUL byte"))?,
    };
    if line.trim().is_empty() {
        return Err(CliError::usage("the command is empty"));
    }
    carry_out(&Request {
        line: Some(line),
        change: Some(&args.change),
        ..Request::new("exec", Action::Exec, &[], &args.fanout)
    })
}
