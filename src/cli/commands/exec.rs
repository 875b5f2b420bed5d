//! `ctl exec -- COMMAND...`.

use crate::cli::args::ExecArgs;
use crate::cli::exit::ExitStatus;
use crate::cli::job::{CliJob, JobRequest};
use crate::cli::log::start_log;
use crate::cli::report::CliError;
use crate::cli::session::execute;
use crate::cli::settings::SavedInputs;
use crate::plan::Action;

pub(in crate::cli) fn run(args: &ExecArgs, words: &[String]) -> Result<ExitStatus, CliError> {
    start_log(&args.fanout.output)?;
    let mut job = job(args, &SavedInputs::default())?;
    job.reads_stdin = !args.no_stdin;
    execute(job, &args.fanout, Some(&args.change.go), words, None)
}

/// What the words mean: one goes to the login shell as it is, several arrive as they were typed.
pub(in crate::cli) fn job(args: &ExecArgs, sources: &SavedInputs) -> Result<CliJob, CliError> {
    let line = match args.command.as_slice() {
        [line] => line.clone(),
        words => shlex::try_join(words.iter().map(String::as_str))
            .map_err(|_| CliError::usage("the command contains a NUL byte"))?,
    };
    if line.trim().is_empty() {
        return Err(CliError::usage("the command is empty"));
    }
    JobRequest {
        line: Some(line),
        change: Some(&args.change),
        ..JobRequest::new("exec", Action::Exec, &[], &args.fanout)
    }
    .job(sources)
}
