//! `ctl status [NAME...]`.

use crate::cli::args::{Form, StatusArgs};
use crate::cli::exit::Exit;
use crate::cli::fanout::carry_out;
use crate::cli::job::{Request, Shown};
use crate::cli::output::start_log;
use crate::cli::report::CliError;
use crate::cli::settings::Sources;
use crate::cli::terminal;
use crate::plan::Action;

pub(in crate::cli) fn run(args: &StatusArgs) -> Result<Exit, CliError> {
    if args.watch.is_some() {
        return Err(CliError::usage("this is not built yet"));
    }
    let output = &args.fanout.output;
    if output.output == Form::Html && output.out.is_none() && !output.quiet && terminal::stdout_is_terminal() {
        terminal::say("note: a report is for a browser; `--out report.html` writes it to a file");
    }
    start_log(output)?;
    let request = Request { in_depth: true, ..Request::new("status", Action::Status, &args.names, &args.fanout) };
    let mut job = request.job(&Sources::default())?;
    job.shown = Shown { first_screen: !args.all, save: args.save.clone() };
    carry_out(job, &args.fanout, None, &[], None)
}
