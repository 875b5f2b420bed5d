//! The commands: words in, exit code out.
//!
//! It may use every layer; none uses it. `commands/` has one file for each command, `execute.rs` carries out a plan,
//! `output.rs` opens where results go, `recorder.rs` hands events out. The words are those of [`ctl_args`], the way to the
//! nodes is that of [`ctl_session`]. Start at [`main`].

mod commands;
mod completion;
mod execute;
mod input;
mod job;
#[cfg(test)]
mod json_page;
#[cfg(test)]
mod json_page_tests;
#[cfg(test)]
mod json_schema_tests;
mod missing_roles;
mod output;
mod reading;
mod recorder;
mod replay;
mod top;
mod watch;

use std::ffi::OsString;
use std::io::{self, Write};
use std::iter;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches};

use ctl_console::exit::ExitStatus;

use ctl_args::args::{CliArgs, CliCommand};
use ctl_args::{advice, examples, tips, word_order};
use ctl_console::error::CliError;
use ctl_console::terminal;
use ctl_plan::ServiceVerb;
use ctl_sink::text;

/// Runs one command line, the program's name first, and says how the process should end.
pub(crate) fn main(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words: Vec<OsString> = words.into_iter().collect();
    if let Some(candidates) = completion::answer(&words) {
        // A shell that has gone away needs no candidates.
        drop(io::stdout().write_all(&candidates));
        return ExitStatus::Good.into();
    }
    let mut words = words.into_iter();
    let program = words.next().unwrap_or_else(|| "ctl".into());
    let mut cli = examples::add_to(CliArgs::command());
    cli.build();
    let words = word_order::arrange(&cli, words.collect());
    let typed: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let words: Vec<OsString> = iter::once(program).chain(words).collect();
    let matches = cli.try_get_matches_from_mut(&words);
    let parsed = matches.and_then(|matches| CliArgs::from_arg_matches(&matches));
    let is_answer = parsed.as_ref().is_err_and(|error| !error.use_stderr());
    // Before a command runs: the words of another tool are answered, and nothing is done.
    if !is_answer && let Some(error) = advice::answer(&cli, &typed, parsed.is_ok()) {
        error.print();
        return error.exit().into();
    }
    let args = match parsed {
        Ok(args) => args,
        Err(mut error) => {
            if error.kind() == ErrorKind::MissingRequiredArgument
                && let Some(error) = commands::inventory_import::without_tool(&words)
            {
                error.print();
                return error.exit().into();
            }
            tips::without_far_ones(&mut error);
            // Help and version go to stdout and end well; everything else is a usage error, which clap ends with 2.
            let code = if error.use_stderr() { ExitStatus::Usage } else { ExitStatus::Good };
            return match print(&error, &typed) {
                // A reader such as `head` that has seen enough is no error.
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitStatus::Usage.into(),
                Ok(()) | Err(_) => code.into(),
            };
        }
    };
    match run(args, &typed) {
        Ok(exit) => exit.into(),
        Err(error) => {
            error.print();
            error.exit().into()
        }
    }
}

/// Prints what clap has to say. It quotes the words as they were typed, or pasted from somewhere.
fn print(error: &clap::Error, words: &[String]) -> io::Result<()> {
    if error.use_stderr() && words.iter().any(|word| text::visible(word) != *word) {
        terminal::say(error.render().to_string().trim_end());
        return Ok(());
    }
    error.print()
}

fn run(args: CliArgs, words: &[String]) -> Result<ExitStatus, CliError> {
    match args.command {
        CliCommand::Exec(exec) => commands::exec::run(&exec, words),
        CliCommand::Cp(cp) => commands::cp::run(&cp, words),
        CliCommand::Rollout(rollout) => commands::rollout::run(&rollout, words),
        CliCommand::Runs(runs) => commands::runs::run(&runs),
        CliCommand::Wait(wait) => commands::wait::run(&wait),
        CliCommand::Service(service) => commands::service::run(&service, words),
        CliCommand::Start(start) => commands::service::run_verb(ServiceVerb::Start, &start, words),
        CliCommand::Stop(stop) => commands::service::run_verb(ServiceVerb::Stop, &stop, words),
        CliCommand::Restart(restart) => commands::service::run_verb(ServiceVerb::Restart, &restart, words),
        CliCommand::Update(update) => commands::service::run_verb(ServiceVerb::Update, &update, words),
        CliCommand::Status(status) => commands::status::run(&status),
        CliCommand::Top(top) => commands::top::run(&top, &main),
        CliCommand::Logs(logs) => commands::logs::run(&logs),
        CliCommand::Snapshot(snapshot) => commands::snapshot::run(&snapshot),
        CliCommand::Ping(ping) => commands::ping::run(&ping),
        CliCommand::Init(init) => commands::init::run(&init),
        CliCommand::Inventory(inventory) => commands::inventory::run(inventory),
        CliCommand::Connections(connections) => commands::connections::run(&connections),
        CliCommand::SshConfig(ssh_config) => commands::ssh_config::run(&ssh_config),
        CliCommand::Nodeset(nodeset) => commands::nodeset::run(&nodeset),
        CliCommand::Completions(completions) => commands::completions::run(&completions),
        CliCommand::Man(man) => commands::man::run(&man),
    }
}
