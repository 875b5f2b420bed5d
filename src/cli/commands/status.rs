//! `ctl status [NAME...]`.

use crate::cli::execute::execute;
use crate::cli::job::{JobRequest, StatusDisplay, service_names};
use crate::cli::output::{self, FoldRows};
use crate::cli::watch;
use ctl_args::args::StatusArgs;
use ctl_args::format::Encoding;
use ctl_args::settings::{SavedInputs, Settings};
use ctl_console::error::CliError;
use ctl_console::exit::ExitStatus;
use ctl_console::terminal;
use ctl_plan::Work;

pub(in crate::cli) fn run(args: &StatusArgs) -> Result<ExitStatus, CliError> {
    let settings = Settings::from(&args.fanout);
    let output = &settings.output;
    if output.format.is_html() && output.out.is_none() && !output.quiet && terminal::stdout_is_terminal() {
        terminal::say("note: HTML is for a browser; use --out report.html to write it to a file");
    }
    output.start_log()?;
    let services = service_names(&args.names);
    let request = JobRequest::new("status", &services, &settings, Work::deep_status);
    let mut job = request.job(&SavedInputs::default())?;
    if let Some(interval) = args.watch {
        // Only these two have a form for a picture that changes.
        if !matches!(output.format.encoding(), Encoding::Text { wide: false } | Encoding::JsonLines) {
            let message = format!("--watch does not support -o {}", output.format.as_str());
            return Err(CliError::usage(message)
                .with_hint("use -o jsonl for one line per change, or no -o for a live view at a terminal"));
        }
        output::can_fold(output, FoldRows::Results)?;
        return watch::run(job, &settings, interval);
    }
    job.shown = StatusDisplay { first_screen: !args.all, save: args.save.clone() };
    execute(job, &settings, None, &[], None)
}
