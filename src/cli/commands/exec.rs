//! `ctl exec -- COMMAND...`.

use crate::cli::execute::execute;
use crate::cli::job::{CliJob, JobRequest};
use ctl_args::args::ExecArgs;
use ctl_args::settings::{SavedInputs, Settings};
use ctl_console::error::CliError;
use ctl_console::exit::ExitStatus;
use ctl_plan::Work;

pub(in crate::cli) fn run(args: &ExecArgs, words: &[String]) -> Result<ExitStatus, CliError> {
    let settings = Settings::from(&args.fanout);
    settings.output.start_log()?;
    let mut job = job(args, &settings, &SavedInputs::default())?;
    job.reads_stdin = !args.no_stdin;
    execute(job, &settings, Some(&(&args.change.go).into()), words, None)
}

/// What the words mean: one goes to the login shell as it is, several arrive as they were typed.
pub(in crate::cli) fn job(args: &ExecArgs, settings: &Settings, sources: &SavedInputs) -> Result<CliJob, CliError> {
    let line = match args.command.as_slice() {
        [line] => line.clone(),
        words => shlex::try_join(words.iter().map(String::as_str))
            .map_err(|_| CliError::usage("the command contains a NUL byte"))?,
    };
    if line.trim().is_empty() {
        return Err(CliError::usage("the command is empty"));
    }
    let work = |_| Work::Exec { command: line, input: None };
    JobRequest { change: Some(&args.change.policy.policy), ..JobRequest::new("exec", &[], settings, work) }.job(sources)
}
