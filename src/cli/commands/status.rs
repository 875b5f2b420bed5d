//! `ctl status [NAME...]`.

use crate::cli::args::{Form, StatusArgs};
use crate::cli::exit::Exit;
use crate::cli::fanout::carry_out;
use crate::cli::job::{Request, Shown};
use crate::cli::log::start_log;
use crate::cli::output::{self, Rows};
use crate::cli::report::CliError;
use crate::cli::settings::Sources;
use crate::cli::{terminal, watch};
use crate::plan::Action;

pub(in crate::cli) fn run(args: &StatusArgs) -> Result<Exit, CliError> {
    let output = &args.fanout.output;
    if output.output == Form::Html && output.out.is_none() && !output.quiet && terminal::stdout_is_terminal() {
        terminal::say("note: HTML is for a browser; use --out report.html to write it to a file");
    }
    start_log(output)?;
    let request = Request { in_depth: true, ..Request::new("status", Action::Status, &args.names, &args.fanout) };
    let mut job = request.job(&Sources::default())?;
    if let Some(interval) = args.watch {
        if !matches!(output.output, Form::Table | Form::Jsonl) {
            let message = format!("--watch does not support -o {}", output.output.as_str());
            return Err(CliError::usage(message)
                .with_hint("use -o jsonl for one line per change, or no -o for a live view at a terminal"));
        }
        output::can_fold(output, Rows::Results)?;
        return watch::run(job, &args.fanout, interval);
    }
    job.shown = Shown { first_screen: !args.all, save: args.save.clone() };
    carry_out(job, &args.fanout, None, &[], None)
}
