//! The order of the words: options may stand before the command, and `exec` may go without `--`.
//!
//! Works on the words as typed and on clap's definition of the commands. Invariants: only words that mean one thing are
//! moved; everything else is left to the parser, which refuses it. Start at [`arrange`].

use std::ffi::{OsStr, OsString};
use std::ops::Range;

use clap::{Arg, Command};

/// Where the words of a command begin.
pub(crate) struct CommandWords<'c> {
    /// The definition of the command, the innermost where one has subcommands.
    pub(crate) command: &'c Command,
    /// Its names, such as `inventory show`, and then its options and arguments.
    pub(crate) names: usize,
}

/// The words, without the program's name, in the order that the parser expects. `cli` has been built.
pub fn arrange(cli: &Command, mut words: Vec<OsString>) -> Vec<OsString> {
    let Some(found) = find_command(cli, &mut words) else { return with_command_first(cli, words) };
    if found.command.get_name() == "exec"
        && let Some(start) = first_argument(found.command, &words, found.names)
        // An option behind the first word could belong to either side, so only plain words are taken for the command.
        && !words[start..].iter().any(|word| is_option(word))
    {
        words.insert(start, "--".into());
    }
    words
}

/// The words with the command before options that it does not have, but `status` has: the parser then says which command
/// lacks which option. It refuses them either way.
fn with_command_first(cli: &Command, mut words: Vec<OsString>) -> Vec<OsString> {
    let Some(status) = cli.find_subcommand("status") else { return words };
    let mut names = (0..words.len()).take_while(|at| words[*at] != "--");
    if let Some(at) = names.find(|at| cli.find_subcommand(&words[*at]).is_some() && are_options(status, &words[..*at]))
    {
        let name = words.remove(at);
        words.insert(0, name);
    }
    words
}

/// Moves options that stand before the command, or between it and its subcommand, behind both.
pub(crate) fn find_command<'c>(cli: &'c Command, words: &mut Vec<OsString>) -> Option<CommandWords<'c>> {
    let (command, places) = search(cli, words, 0, &mut Vec::new())?;
    // From the last to the first, so that the places before each stay right.
    let mut names: Vec<OsString> = places.iter().map(|place| words.remove(*place)).collect();
    names.reverse();
    let found = CommandWords { command, names: names.len() };
    words.splice(0..0, names);
    Some(found)
}

/// The innermost command, and the places of its names, the last first. `before`: the words between earlier names.
fn search<'c>(
    parent: &'c Command,
    words: &[OsString],
    start: usize,
    before: &mut Vec<Range<usize>>,
) -> Option<(&'c Command, Vec<usize>)> {
    for at in (start..words.len()).take_while(|at| words[*at] != "--") {
        let Some(command) = parent.find_subcommand(&words[at]) else { continue };
        before.push(start..at);
        // The subcommand first: the options may be its own.
        let found = search(command, words, at + 1, before).or_else(|| {
            let fits = before.iter().all(|between| are_options(command, &words[between.clone()]));
            fits.then(|| (command, Vec::new()))
        });
        before.pop();
        if let Some((command, mut places)) = found {
            places.push(at);
            return Some((command, places));
        }
    }
    None
}

/// Where the first argument stands that is no option, `--` included; `None` if there is none, or an unknown option before it.
pub(crate) fn first_argument(command: &Command, words: &[OsString], start: usize) -> Option<usize> {
    let mut at = start;
    while is_option(words.get(at)?) && words[at] != "--" {
        at += option_length(command, &words[at..])?;
    }
    (at < words.len()).then_some(at)
}

/// Whether all of the words are options of the command and their values.
pub(crate) fn are_options(command: &Command, words: &[OsString]) -> bool {
    let mut at = 0;
    while at < words.len() {
        match option_length(command, &words[at..]) {
            Some(length) => at += length,
            None => return false,
        }
    }
    at == words.len()
}

pub(crate) fn is_option(word: &OsStr) -> bool {
    word.as_encoded_bytes().starts_with(b"-") && word != "-"
}

/// How many words the option at the start takes, its value included; `None` if the command has no such option.
pub(crate) fn option_length(command: &Command, words: &[OsString]) -> Option<usize> {
    let word = words.first()?.to_str().filter(|word| word.starts_with('-') && *word != "--")?;
    if let Some(long) = word.strip_prefix("--") {
        let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
        let option = command.get_arguments().find(|option| {
            option.get_long() == Some(name) || option.get_all_aliases().is_some_and(|all| all.contains(&name))
        })?;
        return Some(if value.is_some() { 1 } else { length(option, words) });
    }
    let mut letters = word.strip_prefix('-')?.chars();
    while let Some(letter) = letters.next() {
        let option = command.get_arguments().find(|option| option.get_short() == Some(letter))?;
        if takes_value(option) {
            // Text right after the letter is its value.
            return Some(if letters.as_str().is_empty() { length(option, words) } else { 1 });
        }
    }
    Some(1)
}

fn takes_value(option: &Arg) -> bool {
    option.get_action().takes_values()
}

/// How many words an option takes that has no value glued to it.
fn length(option: &Arg, words: &[OsString]) -> usize {
    let values = option.get_num_args().unwrap_or_default();
    if !takes_value(option) || option.is_require_equals_set() {
        1
    } else if values.min_values() > 0 {
        2
    } else {
        // A value that may be absent.
        1 + usize::from(words.get(1).is_some_and(|word| !is_option(word)))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::CliArgs;

    fn arranged(line: &str) -> String {
        let mut cli = CliArgs::command();
        cli.build();
        let words = arrange(&cli, line.split_whitespace().map(OsString::from).collect());
        words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn options_move_behind_the_command() {
        let table = [
            ("-i prod.yaml -w a6s01 status", "status -i prod.yaml -w a6s01"),
            ("-w status status -v", "status -w status -v"),
            ("-qf10 --role=control restart x", "restart -qf10 --role=control x"),
            // The same letter is another option of another command.
            ("-f logs x", "logs -f x"),
            ("-f 10 ping", "ping -f 10"),
            ("--watch status", "status --watch"),
            ("--watch 5s status", "status --watch 5s"),
            ("--dry-run restart x", "restart --dry-run x"),
            ("-o json runs list", "runs list -o json"),
            ("runs -o json list -n 3", "runs list -o json -n 3"),
            ("-o json runs", "runs -o json"),
            ("-i x inventory -o json show n", "inventory show -i x -o json n"),
            ("-w a snapshot diff x live", "snapshot diff -w a x live"),
            ("-w a exec uptime", "exec -w a -- uptime"),
            ("exec -y uname", "exec -y -- uname"),
            ("exec -- uptime -p", "exec -- uptime -p"),
            // Refused with the name of the command.
            ("-o json init x", "init -o json x"),
            ("-w a nodeset fold b", "nodeset -w a fold b"),
            ("--output=json man", "man --output=json"),
            // Left to the parser.
            ("--json status", "--json status"),
            ("-w status", "-w status"),
            ("-w a x status", "-w a x status"),
            ("-- status", "-- status"),
            ("exec uptime -p", "exec uptime -p"),
            ("exec -a uptime", "exec -a uptime"),
            ("exec uptime -- -p", "exec uptime -- -p"),
            ("nodeset fold -w", "nodeset fold -w"),
            ("", ""),
        ];
        for (typed, expected) in table {
            assert_eq!(arranged(typed), expected, "{typed}");
        }
    }
}
