//! `ctl logs NAME [-f]`.

use crate::cli::execute::execute;
use crate::cli::job::{JobRequest, service_names};
use ctl_args::args::LogsArgs;
use ctl_args::format::Encoding;
use ctl_args::settings::{SavedInputs, Settings};
use ctl_console::error::CliError;
use ctl_console::exit::ExitStatus;
use ctl_event::LogStream;
use ctl_plan::{LogTail, Work};

pub(in crate::cli) fn run(args: &LogsArgs) -> Result<ExitStatus, CliError> {
    let settings = Settings::from(&args.fanout);
    let output = &settings.output;
    // A single document could never be closed.
    if args.follow && output.format.encoding() == Encoding::Json {
        return Err(CliError::usage("-o json cannot be used with -f, whose output does not end")
            .with_hint("use -o jsonl: one object per line"));
    }
    if args.follow && output.out.is_some() {
        return Err(CliError::usage("--out cannot be used with -f: it writes the file once the output is complete")
            .with_hint("redirect the output: ctl logs -f NAME > FILE"));
    }
    output.start_log()?;
    let stream = if args.stderr { LogStream::Stderr } else { LogStream::Stdout };
    let lines = usize::try_from(args.lines).unwrap_or(usize::MAX);
    let tail = LogTail { stream, lines, follow: args.follow };
    let services = service_names(std::slice::from_ref(&args.name));
    let request = JobRequest::new("logs", &services, &settings, |services| Work::Logs { services, tail });
    execute(request.job(&SavedInputs::default())?, &settings, None, &[], None)
}
