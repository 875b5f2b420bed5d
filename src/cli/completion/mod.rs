//! Completion: the script that a shell loads, and the candidates that `ctl` gives when the script calls it.
//!
//! The script sets [`VARIABLE`] and calls `ctl -- WORDS`; clap's engine finds out which argument the cursor is in, and the
//! sources in `candidates.rs` name the nodes, roles, services and runs for it. Invariants: nothing is connected to,
//! run or written, and nothing reaches the terminal but candidates; what cannot be read has none. Start at [`answer`].

mod candidates;
mod node_set;
mod typed;

use std::ffi::OsString;
use std::io;
use std::sync::Arc;

use clap::{Arg, CommandFactory, ValueEnum};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};

use self::candidates::{CandidateSource, KnownNames};
use ctl_args::args::{CliArgs, CompletionShell};

/// The variable through which a shell asks for candidates; its value is the shell.
const VARIABLE: &str = "CTL_COMPLETE";

fn adapter(shell: CompletionShell) -> &'static dyn EnvCompleter {
    match shell {
        CompletionShell::Bash => &Bash,
        CompletionShell::Zsh => &Zsh,
        CompletionShell::Fish => &Fish,
    }
}

/// The script that a shell loads.
pub(super) fn script(shell: CompletionShell) -> io::Result<Vec<u8>> {
    // The library's script for bash takes `@` and `:` for the ends of words.
    if shell == CompletionShell::Bash {
        return Ok(include_bytes!("ctl.bash").to_vec());
    }
    let mut script = Vec::new();
    adapter(shell).write_registration(VARIABLE, "ctl", "ctl", "ctl", &mut script)?;
    if shell == CompletionShell::Zsh {
        // Loaded by compinit as the function _ctl, the file is run at the first completion, and must give it too.
        script.extend_from_slice(b"if [ \"$funcstack[1]\" = _ctl ]; then _clap_dynamic_completer_ctl \"$@\"; fi\n");
    }
    Ok(script)
}

/// The candidates for the words of a shell that asks for them; none if this is a command line to be run.
pub(super) fn answer(words: &[OsString]) -> Option<Vec<u8>> {
    let name = std::env::var(VARIABLE).ok()?;
    let shell = CompletionShell::from_str(&name, false).ok()?;
    // The variable alone must not turn a command into nothing: only the scripts put `--` first.
    let typed = words.get(1..).filter(|rest| rest.first().is_some_and(|word| word == "--"))?.get(1..)?.to_vec();
    let mut candidates = Vec::new();
    if typed.is_empty() {
        return Some(candidates);
    }
    let is_empty = typed.last().is_some_and(|word| word.is_empty());
    let mut command = command(&typed);
    let directory = std::env::current_dir().ok();
    match adapter(shell).write_complete(&mut command, typed, directory.as_deref(), &mut candidates) {
        // A lone --help, where only the user knows the value, would be typed by the shell.
        Ok(()) if is_empty && are_only_options(&candidates) => Some(Vec::new()),
        Ok(()) => Some(candidates),
        // At the prompt of a shell there is no place for a message.
        Err(_) => Some(Vec::new()),
    }
}

fn are_only_options(candidates: &[u8]) -> bool {
    let separator = std::env::var("_CLAP_IFS").ok().filter(|separator| !separator.is_empty());
    let separator = separator.unwrap_or_else(|| "\n".to_owned());
    String::from_utf8_lossy(candidates).split(separator.as_str()).all(|line| line.is_empty() || line.starts_with('-'))
}

/// The command line of `ctl`, with the sources of the values that are not fixed.
fn command(typed: &[OsString]) -> clap::Command {
    let known = Arc::new(KnownNames::new(typed));
    // Where something else fits, forty options beside it would hide it; a `-` shows them.
    let is_hidden = typed.last().is_some_and(|word| word.is_empty());
    let mut command = options_before_the_command(CliArgs::command());
    // Adds --help to each command, which is hidden as well.
    command.build();
    attach(command, &known, is_hidden)
}

/// Options may stand before the command. Until one is typed, they are those of `status`, which has what most commands have.
fn options_before_the_command(command: clap::Command) -> clap::Command {
    let status = command.find_subcommand("status").map(|status| status.get_arguments().cloned().collect());
    let options: Vec<Arg> = status.unwrap_or_default();
    let copies = options.into_iter().filter(|option| !option.is_positional()).map(|option| {
        // Without what relates it to the other options.
        let copy = Arg::new(option.get_id().clone())
            .action(option.get_action().clone())
            .value_hint(option.get_value_hint())
            .value_parser(option.get_value_parser().clone())
            .help(option.get_help().cloned().unwrap_or_default());
        let copy = option.get_short().into_iter().fold(copy, Arg::short);
        let copy = option.get_num_args().into_iter().fold(copy, Arg::num_args);
        option
            .get_long()
            .map(str::to_owned)
            .into_iter()
            .fold(copy, Arg::long)
            .require_equals(option.is_require_equals_set())
    });
    let copies: Vec<Arg> = copies.collect();
    command.args(copies)
}

fn attach(command: clap::Command, known: &Arc<KnownNames>, is_hidden: bool) -> clap::Command {
    let path = command.get_name().to_owned();
    let command = command.mut_args(|arg| {
        let arg = if is_hidden && !arg.is_positional() { arg.hide(true) } else { arg };
        let Some(source) = CandidateSource::of_argument(&path, arg.get_id().as_str()) else { return arg };
        let known = Arc::clone(known);
        arg.add(ArgValueCompleter::new(move |value: &std::ffi::OsStr| -> Vec<CompletionCandidate> {
            value.to_str().map(|value| known.candidates(source, value)).unwrap_or_default()
        }))
    });
    command.mut_subcommands(|sub| attach(sub, known, is_hidden))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that only the user knows, or that the file system or the parser completes.
    const FREE: [&str; 28] = [
        "accept",
        "command",
        "check",
        "connect_timeout",
        "forks",
        "gate_timeout",
        "jump",
        "limit",
        "lines",
        "lock_wait",
        "max_failures",
        "max_unavailable",
        "persist",
        "patterns",
        "pause",
        "port",
        "reason",
        "retries",
        "serial",
        "stable",
        "timeout",
        "user",
        "vars",
        "wait_timeout",
        "watch",
        "interval",
        "host_key",
        "dry_run",
    ];

    #[test]
    fn every_value_has_a_source_or_is_free() {
        fn check(command: &clap::Command) {
            for arg in
                command.get_arguments().filter(|arg| arg.get_num_args().is_some_and(|range| range.takes_values()))
            {
                let id = arg.get_id().as_str();
                let is_fixed = !arg.get_possible_values().is_empty();
                let is_path = arg.get_value_hint() != clap::ValueHint::Unknown;
                let has_source = CandidateSource::of_argument(command.get_name(), id).is_some();
                assert!(
                    is_fixed || is_path || has_source || FREE.contains(&id),
                    "{}: {id} completes to nothing: add its source to CandidateSource::of_argument, or its name to FREE",
                    command.get_name()
                );
            }
            command.get_subcommands().for_each(check);
        }
        let mut command = CliArgs::command();
        command.build();
        check(&command);
    }

    #[test]
    fn words_of_a_command_to_be_run_are_none_of_a_shell() {
        assert_eq!(answer(&["ctl".into(), "status".into()]), None);
    }
}
