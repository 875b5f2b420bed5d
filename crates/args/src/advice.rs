//! The answer to a command line that comes from another tool: the line to type here.
//!
//! Applies the rows of `habits.rs` to the words; uses the parser to find out which lines are valid. Invariants: nothing is
//! run by guess, whatever was typed is only answered; and a line that is shown is one that the parser accepts. Start at
//! [`answer`].

use clap::Command;

use crate::copy_habits::{copy_line, module_paths};
use crate::habit_words::{
    distinct, filled, logins, node_pattern, os_words, place_of, shown, split_option, without_kind_word, words_of,
};
use crate::habits::{
    COMMANDS, CommandHabit, KINDS, OPTIONS, OptionHabit, RESTART_ACTIONS, SERVICE_MODULES, SERVICE_STATES,
    SHELL_MODULES, WITH_KIND,
};
use crate::tips::{distance, is_near};
use crate::word_order::{self, are_options, first_argument, is_option, option_length};
use ctl_console::error::CliError;
use ctl_inventory::{ROLE_ORDER, canonical_role};

/// The actions that can stand behind a service without a command before it.
const ACTIONS: [&str; 5] = ["start", "stop", "restart", "update", "status"];
/// The commands whose arguments are services.
const TAKE_SERVICES: [&str; 8] = ["service", "start", "stop", "restart", "update", "status", "logs", "wait"];

/// A line of another tool on its way to one of ours.
#[derive(Debug, Clone, Default)]
struct Translation {
    words: Vec<String>,
    /// What there is instead of the words that were replaced.
    notes: Vec<String>,
    /// What to type if the whole line cannot be translated.
    instead: Option<String>,
    /// Whether `exec -it` was typed, so that a node is named first.
    has_terminal: bool,
}

/// What to type instead of these words, if they are known from another tool. `parses`: whether the parser accepts them.
pub fn answer(cli: &Command, words: &[String], parses: bool) -> Option<CliError> {
    // To the parser `-it` is the inventory t.
    let parses = parses && !asks_for_terminal(words);
    let typed = if parses { words.to_vec() } else { without_clusters(cli, words) };
    let start = Translation { words: typed, ..Translation::default() };
    let start = without_kinds(cli, of_command(cli, start));
    // A line that is valid here means what it says, unless its first words are another tool's command.
    if parses && start.notes.is_empty() {
        return None;
    }
    if start.notes.is_empty()
        && let Some(error) = incomplete(cli, words)
    {
        return Some(error);
    }
    let mut fallback = None;
    // Words that are options here too come last.
    for with_ours in [false, true] {
        // The second choice of an option with two meanings is another line.
        let choices = [0, 1].map(|choice| in_exec(cli, of_options(cli, start.clone(), choice, with_ours)));
        let notes = distinct(choices.iter().flat_map(|(line, _)| line.notes.clone()));
        let valid = choices.iter().flat_map(|(_, lines)| lines).filter(|line| is_valid(cli, line));
        let lines = distinct(valid.map(|line| shown(line)));
        if !lines.is_empty() && !notes.is_empty() {
            return Some(error(&notes, &lines.join("\n  → ")));
        }
        let [(line, _), _] = choices;
        fallback = fallback.or_else(|| Some(error(&notes, &line.instead?)));
    }
    fallback
}

/// `exec -it`, as kubectl and docker have it.
fn asks_for_terminal(words: &[String]) -> bool {
    let is_exec = words.first().is_some_and(|word| word == "exec");
    let mut options = words.iter().skip(1).take_while(|word| is_option(word.as_ref()) && *word != "--");
    is_exec && options.any(|word| word == "-it" || word == "-ti")
}

/// The words with options that are put together one by one, as in clush's `-bw NODES`; only those before the command.
fn without_clusters(cli: &Command, words: &[String]) -> Vec<String> {
    let Some(exec) = cli.find_subcommand("exec") else { return words.to_vec() };
    let mut line = words.to_vec();
    let mut at = usize::from(words.first().is_some_and(|word| word == "exec"));
    while line.get(at).is_some_and(|word| is_option(word.as_ref()) && word != "--") {
        if let Some(options) = cluster(exec, &line[at]) {
            line.splice(at..=at, options);
        }
        let Some(length) = option_words(exec, &line[at..]) else { break };
        at += length;
    }
    line
}

/// The options of a cluster: flags, and behind them one that may have a value.
fn cluster(command: &Command, word: &str) -> Option<Vec<String>> {
    let letters = word.strip_prefix('-').filter(|letters| letters.len() > 1)?;
    let is_whole = OPTIONS.iter().any(|habit| habit.typed.contains(&word));
    if is_whole || !letters.bytes().all(|letter| letter.is_ascii_alphabetic()) {
        return None;
    }
    let options: Vec<String> = letters.chars().map(|letter| format!("-{letter}")).collect();
    let (last, flags) = options.split_last()?;
    let length = |option: &String| option_words(command, &[option.clone(), "value".to_owned()]);
    (flags.iter().all(|flag| length(flag) == Some(1)) && length(last).is_some()).then_some(options)
}

/// How many words an option of the command or of another tool takes; none if it is not known.
fn option_words(command: &Command, words: &[String]) -> Option<usize> {
    let (name, value) = split_option(&words[0]);
    let next = value.or_else(|| words.get(1).map(String::as_str));
    match rows_of(command, name, next, false).first() {
        Some(habit) => Some(1 + usize::from(habit.value.is_some() && value.is_none())),
        None => option_length(command, &os_words(words)),
    }
}

/// A line that only lacks a word that there is always one of: the command, or the services of an update.
fn incomplete(cli: &Command, words: &[String]) -> Option<CliError> {
    let status = cli.find_subcommand("status")?;
    let (what, line) = if !words.is_empty() && are_options(status, &os_words(words)) {
        ("no command given", [&["status".to_owned()], words].concat())
    } else if words.first().is_some_and(|word| word == "update") {
        // supervisorctl's `update` is one of everything.
        ("no service given", [&["update".to_owned(), "all".to_owned()], &words[1..]].concat())
    } else {
        return None;
    };
    is_valid(cli, &line).then(|| error(&[what.to_owned()], &shown(&line)))
}

fn error(notes: &[String], hint: &str) -> CliError {
    CliError::usage(notes.join("\nerror: ")).with_hint(hint)
}

fn is_valid(cli: &Command, words: &[String]) -> bool {
    let line = std::iter::once("ctl").chain(words.iter().map(String::as_str));
    match cli.clone().try_get_matches_from(line) {
        Ok(_) => true,
        // Help and the version.
        Err(error) => !error.use_stderr(),
    }
}

/// The words in the order that the parser expects.
fn arranged(cli: &Command, words: &[String]) -> Vec<String> {
    let words = word_order::arrange(cli, os_words(words));
    words.into_iter().map(|word| word.to_string_lossy().into_owned()).collect()
}

/// Replaces a command of another tool.
fn of_command(cli: &Command, line: Translation) -> Translation {
    let options_last = options_last(cli, &line.words);
    if let Some(found) = ad_hoc(cli, &options_last).or_else(|| copying(cli, &line.words)) {
        return found;
    }
    if let Some(found) = restart_action(&line.words).or_else(|| ping_of_nodes(cli, &line.words)) {
        return found;
    }
    let Some((habit, rest)) = command_habit(cli, &line.words) else {
        let others = service_first(cli, &options_last).or_else(|| task_of_fabric(cli, &options_last));
        return others.or_else(|| command_of_nodes(cli, &line.words)).unwrap_or(line);
    };
    let note = match habit.typed.split_once(" --from ") {
        Some((command, source)) => {
            format!("`{source}` is not a valid source for `ctl {command} --from`: {}", habit.note)
        }
        None => format!("ctl has no command `{}`: {}", habit.typed, habit.note),
    };
    let rest = if WITH_KIND.contains(&habit.typed) { without_kind_word(rest) } else { rest };
    Translation {
        words: arranged(cli, &filled(habit.line, &rest)),
        notes: vec![note],
        instead: Some(shown(&filled(habit.line, &words_of(habit.sample)))),
        has_terminal: false,
    }
}

/// A line that copies files.
fn copying(cli: &Command, words: &[String]) -> Option<Translation> {
    if words.iter().any(|word| cli.find_subcommand(word).is_some()) {
        return None;
    }
    let (name, line) = copy_line(words)?;
    let what = if is_option(name.as_ref()) { "option" } else { "command" };
    let note = format!("ctl has no {what} `{name}`: `ctl cp` copies files to the nodes and from them");
    Some(Translation { words: line, notes: vec![note], instead: None, ..Translation::default() })
}

/// `service NAME reload` and the like.
fn restart_action(words: &[String]) -> Option<Translation> {
    words.first().filter(|word| *word == "service")?;
    let at = words.iter().rposition(|word| RESTART_ACTIONS.contains(&word.as_str())).filter(|at| *at > 1)?;
    let note = format!("ctl has no action `{}`: `restart` restarts services", words[at]);
    let mut line = words.to_vec();
    line[at] = "restart".to_owned();
    Some(Translation { words: line, notes: vec![note], instead: None, ..Translation::default() })
}

/// `ping NODE...` and `ping all`, as the system's ping and Ansible's hosts have it.
fn ping_of_nodes(cli: &Command, words: &[String]) -> Option<Translation> {
    let ping = cli.find_subcommand("ping").filter(|_| words.first().is_some_and(|word| word == "ping"))?;
    let (options, nodes) = words.split_at(first_argument(ping, &os_words(words), 1)?);
    if nodes.iter().any(|word| is_option(word.as_ref())) {
        return None;
    }
    let mut line = options.to_vec();
    if nodes != ["all"] {
        line.extend(["-w".to_owned(), nodes.join(",")]);
    }
    let note = "`ctl ping` takes no nodes as arguments: -w selects nodes, and all nodes are the default".to_owned();
    Some(Translation { words: line, notes: vec![note], ..Translation::default() })
}

/// The longest row that the words begin with, and the other words. Options may stand before and between its words.
fn command_habit(cli: &Command, words: &[String]) -> Option<(&'static CommandHabit, Vec<String>)> {
    let rest_of = |habit: &CommandHabit| {
        // A line of options alone, such as --version, takes those of no command.
        let command = words_of(habit.line).first().and_then(|name| cli.find_subcommand(name)).unwrap_or(cli);
        let (mut options, mut rest) = (Vec::new(), words);
        for typed in habit.typed.split(' ') {
            // The row's word itself may be an option, as in `apply -f`.
            let start = if rest.first()? == typed { 0 } else { first_word(command, rest)? };
            options.extend_from_slice(&rest[..start]);
            rest = rest[start..].strip_prefix(&[typed.to_owned()])?;
        }
        options.extend_from_slice(rest);
        Some((habit.typed.len(), options))
    };
    let found = COMMANDS.iter().filter_map(|habit| Some((habit, rest_of(habit)?)));
    found.max_by_key(|(_, (length, _))| *length).map(|(habit, (_, rest))| (habit, rest))
}

/// `NAME... ACTION`, as behind `service`.
fn service_first(cli: &Command, words: &[String]) -> Option<Translation> {
    let first = words.first().filter(|word| !is_option(word.as_ref()) && cli.find_subcommand(word).is_none())?;
    // More likely a command that is mistyped, which the parser says.
    if near_command(cli, first).is_some() {
        return None;
    }
    let is_restart = |word: &String| RESTART_ACTIONS.contains(&word.as_str());
    let is_action = |word: &String| ACTIONS.contains(&word.as_str()) || is_restart(word);
    let at = words.iter().rposition(is_action).filter(|at| *at > 0)?;
    let mut line = words.to_vec();
    let action = line.remove(at);
    let action = if is_restart(&action) { "restart".to_owned() } else { action };
    line.insert(0, action.clone());
    let note = format!("ctl has no command `{first}`: the command stands before the services");
    is_valid(cli, &line).then(|| Translation {
        words: line,
        notes: vec![note],
        instead: None,
        ..Translation::default()
    })
}

/// The command that a word could be.
fn near_command<'c>(cli: &'c Command, word: &str) -> Option<&'c str> {
    let names = cli.get_subcommands().map(Command::get_name);
    names.filter(|name| is_near(word, name)).min_by_key(|name| (distance(word, name), *name))
}

/// `restart_collector` and the like.
fn task_of_fabric(cli: &Command, words: &[String]) -> Option<Translation> {
    let first = words.first()?;
    if let Some(command) = first.strip_prefix("all_command:") {
        let note = "ctl has no command `all_command`: `ctl exec` runs a command on the nodes".to_owned();
        let line = ["exec", "--", command].map(str::to_owned).to_vec();
        return Some(Translation { words: line, notes: vec![note], instead: None, ..Translation::default() });
    }
    let (verb, role) = first.split_once('_').filter(|(verb, _)| ACTIONS.contains(verb))?;
    let role = ROLE_ORDER.into_iter().find(|name| *name == canonical_role(role))?;
    let line: Vec<String> =
        [verb, "all", "-r", role].map(str::to_owned).into_iter().chain(words[1..].to_vec()).collect();
    let note = format!("ctl has no command `{first}`: -r selects the nodes of a role");
    is_valid(cli, &line).then(|| Translation {
        words: line,
        notes: vec![note],
        instead: None,
        ..Translation::default()
    })
}

/// `-w NODES COMMAND`, as behind clush and pdsh.
fn command_of_nodes(cli: &Command, words: &[String]) -> Option<Translation> {
    let exec = cli.find_subcommand("exec")?;
    let at = first_word(exec, words)?;
    // Without an option it is a command of ours that is mistyped.
    let first = words.get(at).filter(|word| at > 0 && cli.find_subcommand(word).is_none())?;
    let first = if first == "--" { words.get(at + 1)? } else { first };
    if let Some(near) = near_command(cli, first) {
        let mut line = words.to_vec();
        line[at] = near.to_owned();
        let note = format!("ctl has no command `{first}`: did you mean {near}?");
        return Some(Translation {
            words: arranged(cli, &line),
            notes: vec![note],
            instead: None,
            ..Translation::default()
        });
    }
    let note = format!("ctl has no command `{first}`: `ctl exec` runs a command on the nodes");
    let line = std::iter::once("exec".to_owned()).chain(words.to_vec()).collect();
    Some(Translation { words: line, notes: vec![note], instead: None, ..Translation::default() })
}

/// The words with the options before the first other word behind the last.
fn options_last(cli: &Command, words: &[String]) -> Vec<String> {
    let start = cli.find_subcommand("restart").and_then(|command| first_word(command, words));
    let (options, rest) = words.split_at(start.unwrap_or_default());
    // What stands behind `--` is another command's.
    if rest.iter().any(|word| word == "--") { words.to_vec() } else { [rest, options].concat() }
}

/// Where the first word stands that is no option, of the command or of another tool, and no value of one.
fn first_word(command: &Command, words: &[String]) -> Option<usize> {
    let mut at = 0;
    while is_option(words.get(at)?.as_ref()) && words[at] != "--" {
        at += option_words(command, &words[at..])?;
    }
    Some(at)
}

/// Ansible's `PATTERN -m MODULE -a ARGUMENTS`.
fn ad_hoc(cli: &Command, words: &[String]) -> Option<Translation> {
    let mut rest = words.to_vec();
    let mut take = |names: [&str; 2]| {
        // Behind `--` they are those of another command.
        let mut own = rest.iter().take_while(|word| *word != "--");
        let at = own.position(|word| names.contains(&word.as_str())).filter(|at| at + 1 < rest.len())?;
        let value = rest.remove(at + 1);
        rest.remove(at);
        Some(value)
    };
    let named = take(["-m", "--module-name"]);
    let arguments = take(["-a", "--args"]);
    if named.is_none() {
        // Ansible's default module; `-a` alone is also clush's option for all nodes.
        arguments.as_ref().filter(|arguments| !is_option(arguments.as_ref()))?;
        rest.first().filter(|word| !is_option(word.as_ref()) && near_command(cli, word).is_none())?;
    }
    let module = named.unwrap_or_else(|| "command".to_owned());
    let arguments = arguments.unwrap_or_default();
    let is_exec = rest.first().is_some_and(|word| word == "exec");
    let pattern = if rest.is_empty() { None } else { Some(rest.remove(0)) };
    let pattern = pattern.filter(|_| !is_exec);
    let is_pattern = pattern.as_ref().is_some_and(|word| near_command(cli, word).is_none());
    // A command of ours with an option -m is no ad hoc command.
    if pattern.as_ref().is_some_and(|word| is_option(word.as_ref()) || cli.find_subcommand(word).is_some()) {
        return None;
    }
    let pattern = pattern.filter(|pattern| pattern != "all").map(|pattern| node_pattern(&pattern));
    let nodes = pattern.into_iter().flat_map(|pattern| ["-w".to_owned(), pattern]);
    let rest = rest.into_iter().map(|word| if word == "-b" { "--sudo".to_owned() } else { word });
    let mut line: Vec<String> = nodes.chain(rest).collect();
    let note = if let Some(paths) = module_paths(&module, &words_of(&arguments)) {
        line.insert(0, "cp".to_owned());
        line.extend(paths);
        "ctl has no modules: `ctl cp` copies files to the nodes and from them"
    } else if module == "ping" {
        line.insert(0, "ping".to_owned());
        "ctl has no modules: `ctl ping` connects to the nodes and finds their supervisords"
    } else if SHELL_MODULES.contains(&module.as_str()) {
        line.insert(0, "exec".to_owned());
        line.extend(["--".to_owned(), if arguments.is_empty() { "COMMAND".to_owned() } else { arguments }]);
        "ctl has no modules: `ctl exec` runs a command on the nodes"
    } else if SERVICE_MODULES.contains(&module.as_str()) {
        let value = |key: &str| arguments.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        let state = value("state")?;
        let (_, verb) = SERVICE_STATES.into_iter().find(|(name, _)| *name == state)?;
        line.splice(0..0, [verb.to_owned(), value("name")?.to_owned()]);
        "ctl has no modules: it starts, stops and restarts services itself"
    } else if is_pattern {
        line.insert(0, "exec".to_owned());
        line.extend(["--", "COMMAND"].map(str::to_owned));
        "ctl has no modules: `ctl exec` runs a command on the nodes"
    } else {
        return None;
    };
    Some(Translation { words: line, notes: vec![note.to_owned()], instead: None, ..Translation::default() })
}

/// Takes the kinds of kubectl from names of services, as in `deployment/NAME`.
fn without_kinds(cli: &Command, mut line: Translation) -> Translation {
    let command = line.words.first().and_then(|name| cli.find_subcommand(name));
    let Some(command) = command.filter(|command| TAKE_SERVICES.contains(&command.get_name())) else { return line };
    let mut at = 1;
    while at < line.words.len() {
        // The value of an option may be a path that looks like one.
        if let Some(length) = option_length(command, &os_words(&line.words[at..])) {
            at += length;
            continue;
        }
        let word = &mut line.words[at];
        if let Some(name) = KINDS.iter().find_map(|kind| word.strip_prefix(kind)).map(str::to_owned) {
            line.notes.push(format!("`{word}` is not a valid service name: services have no kinds"));
            *word = name;
        } else if let Some(name) = word.strip_suffix(".service").filter(|name| !name.is_empty()).map(str::to_owned) {
            line.notes.push(format!("`{word}` is not a valid service name: supervisord's services are no units"));
            *word = name;
        }
        at += 1;
    }
    line
}

/// Replaces options of other tools, where they have several meanings by this one.
fn of_options(cli: &Command, mut line: Translation, choice: usize, with_ours: bool) -> Translation {
    let mut words = os_words(&line.words);
    let found = word_order::find_command(cli, &mut words);
    // Without a command that is known, the options before it may hide it: it is the first of its names.
    let command = found
        .as_ref()
        .map(|found| found.command)
        .or_else(|| line.words.iter().find_map(|word| cli.find_subcommand(word)));
    let Some(command) = command else { return line };
    if found.is_some() {
        line.words = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    }
    let mut at = 0;
    while at < line.words.len() && line.words[at] != "--" {
        let rest = os_words(&line.words[at..]);
        let (name, value) = split_option(&line.words[at]);
        let next = value.or_else(|| line.words.get(at + 1).map(String::as_str));
        let mut rows = rows_of(command, &line.words[at], next, with_ours);
        // Nodes are named already, so that it is clush's user.
        if name == "-l" && line.words.iter().any(|word| word == "-w") {
            rows.retain(|habit| habit.words != "-w {}");
        }
        let Some(habit) = rows.get(choice).or(rows.last()) else {
            // The words behind the first argument of `exec` belong to its command.
            if command.get_name() == "exec" && at > 0 && !is_option(&rest[0]) {
                break;
            }
            at += option_length(command, &rest).unwrap_or(1);
            continue;
        };
        at += replace(&mut line, at, habit);
    }
    // Only now is every option one of ours, so that those before the command can move.
    line.words = arranged(cli, &line.words);
    line
}

/// The rows for a word, as alternatives. `next`: its value, or the word behind it.
fn rows_of(command: &Command, word: &str, next: Option<&str>, with_ours: bool) -> Vec<&'static OptionHabit> {
    let (name, _) = split_option(word);
    // `-it` is one word to kubectl's users, whatever its letters mean here.
    let is_cluster = name.len() > 2 && !name.starts_with("--");
    let known = !is_cluster && option_length(command, &[word.into()]).is_some();
    let fits = |habit: &&OptionHabit| {
        let is_on = habit.on.is_empty() || habit.on.contains(&command.get_name());
        let may_be = habit.when.is_none_or(|when| next.is_some_and(when));
        // A value that can only be the other tool's decides at once.
        let is_meant = if habit.is_ours { with_ours || habit.when.is_some() } else { !known };
        is_on && habit.typed.contains(&name) && may_be && is_meant
    };
    let rows: Vec<&OptionHabit> = OPTIONS.iter().filter(fits).collect();
    // What an option means on this command is closer than what it means elsewhere.
    let own: Vec<&OptionHabit> = rows.iter().copied().filter(|habit| !habit.on.is_empty()).collect();
    let rows = if own.is_empty() { rows } else { own };
    // And a row for just this value is closer than one for any.
    let exact: Vec<&OptionHabit> = rows.iter().copied().filter(|habit| habit.when.is_some()).collect();
    if exact.is_empty() { rows } else { exact }
}

/// Puts the words of a row in place of the option at `at`, and says how many they are.
fn replace(line: &mut Translation, at: usize, habit: &OptionHabit) -> usize {
    let typed = line.words[at].clone();
    let (name, glued) = split_option(&typed);
    let next = line.words.get(at + 1).filter(|word| !is_option(word.as_ref())).cloned();
    let (value, length) = match (habit.value, glued, next) {
        (None, ..) => (String::new(), 1),
        (Some(_), Some(glued), _) => (glued.to_owned(), 1),
        (Some(_), None, Some(next)) => (next, 2),
        (Some(sample), None, None) => (sample.to_owned(), 1),
    };
    let (value, user) = if habit.words == "-w {}" { logins(&node_pattern(&value)) } else { (value, None) };
    let label = value.split_once('=').map_or(value.as_str(), |(_, label)| label);
    let mut words: Vec<String> =
        words_of(habit.words).iter().map(|word| word.replace("{}", &value).replace("{=}", label)).collect();
    words.extend(user.into_iter().flat_map(|user| ["-u".to_owned(), user]));
    // Two habits for one option, as in `--check --diff`.
    let option = |word: &String| word.split('=').next().filter(|_| word.starts_with("--")).map(str::to_owned);
    let added = words.first().and_then(option);
    if added.is_some() && line.words.iter().enumerate().any(|(place, word)| place != at && option(word) == added) {
        words.clear();
    }
    line.notes.push(if habit.is_ours {
        format!("`{name}` means something else here: {}", habit.note)
    } else {
        format!("ctl has no option `{name}`: {}", habit.note)
    });
    if line.instead.is_none() && !habit.is_ours {
        let words = words.join(" ");
        line.instead =
            Some(if words.is_empty() { format!("leave {name} out") } else { format!("type `{words}` instead") });
    }
    line.has_terminal |= matches!(name, "-it" | "-ti");
    let count = words.len();
    line.words.splice(at..at + length, words);
    count
}

/// The command of `exec`, whose options may be meant for it or for ctl: each line that can be meant.
fn in_exec(cli: &Command, mut line: Translation) -> (Translation, Vec<Vec<String>>) {
    let as_it_is = |line: Translation| {
        let lines = vec![line.words.clone()];
        (line, lines)
    };
    let exec = cli.find_subcommand("exec").filter(|_| line.words.first().is_some_and(|word| word == "exec"));
    let Some(exec) = exec else { return as_it_is(line) };
    let Some(start) = first_argument(exec, &os_words(&line.words), 1) else { return as_it_is(line) };
    let (options, command) = line.words.split_at(start);
    let assemble = |more: &[String], command: &[String]| [options, more, &["--".to_owned()], command].concat();
    if command[0] == "--" {
        if line.has_terminal && command.len() > 2 {
            // The old form of kubectl's, which has a node and no `--`: this one was put there with the order of the words.
            let lines = vec![assemble(&place_of(&command[1]), &command[2..])];
            return (line, lines);
        }
        return as_it_is(line);
    }
    let lines = if let Some(end) = command.iter().position(|word| word == "--") {
        // kubectl's `exec NODE -- COMMAND`.
        line.notes.push("`ctl exec` takes no node before `--`: -w selects nodes".to_owned());
        let more = [&command[1..end], &place_of(&command[0])].concat();
        vec![assemble(&more, &command[end + 1..])]
    } else if let Some(end) = command.iter().position(|word| is_option(word.as_ref())) {
        line.notes.push(format!(
            "`{}` could be an option of ctl or of the command: write `--` before the command",
            command[end]
        ));
        let mut lines = vec![assemble(&[], command)];
        if are_options(exec, &os_words(&command[end..])) {
            lines.push(assemble(&command[end..], &command[..end]));
        }
        lines
    } else {
        vec![assemble(&[], command)]
    };
    (line, lines)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::CliArgs;
    use crate::copy_habits::scp_target;

    fn built() -> Command {
        let mut cli = CliArgs::command();
        cli.build();
        cli
    }

    /// The lines that are answered to a line; empty if it is valid here, or not known from anywhere.
    fn lines(cli: &Command, typed: &str) -> Vec<String> {
        let words = arranged(cli, &words_of(typed));
        let Some(error) = answer(cli, &words, is_valid(cli, &words)) else { return Vec::new() };
        assert_eq!(error.exit(), ctl_console::exit::ExitStatus::Usage, "{typed}");
        let hint = error.hint().expect("a hint");
        let lines: Vec<String> = hint.split("\n  → ").map(str::to_owned).collect();
        for line in lines.iter().filter(|line| line.starts_with("ctl ")) {
            let words = words_of(line);
            assert!(is_valid(cli, &words[1..]), "{typed}: `{line}` is not valid here");
        }
        lines
    }

    #[test]
    fn each_command_of_the_table_leads_to_a_valid_line() {
        let cli = built();
        for habit in COMMANDS {
            let line = format!("{} {}", habit.typed, habit.sample);
            let expected = shown(&filled(habit.line, &words_of(habit.sample)));
            assert_eq!(lines(&cli, &line), [expected.as_str()], "{line}");
            // Without what it needs, the same is shown as an example.
            assert!(!lines(&cli, habit.typed).is_empty(), "{}", habit.typed);
            let (first, is_pair) = habit.typed.split_once(' ').map_or((habit.typed, false), |(first, _)| (first, true));
            assert!(is_pair || cli.find_subcommand(first).is_none(), "{first} is a command of ours");
        }
    }

    #[test]
    fn each_option_of_the_table_leads_to_a_valid_line() {
        let cli = built();
        for habit in OPTIONS {
            let command = habit.on.first().copied().unwrap_or("restart");
            let arguments = match command {
                "exec" => "a6s01 -- uptime",
                // The word behind the option decides.
                "status" if habit.when.is_some() && habit.value.is_none() => "contrail-collector",
                "status" | "inventory" => "",
                "rollout" => "upgrade.yaml",
                "nodeset" => "a[1-2]",
                // The option names the service.
                "logs" if habit.words == "{}" => "",
                _ => "contrail-collector",
            };
            for typed in habit.typed {
                let value = habit.value.unwrap_or_default();
                let line = format!("{command} {typed} {value} {arguments}");
                let label = value.rsplit('=').next().unwrap_or_default();
                let words = shown(&words_of(&habit.words.replace("{}", value).replace("{=}", label)));
                let words = words.trim_start_matches("ctl");
                let found = lines(&cli, &line);
                let is_there = found.iter().any(|line| line.starts_with("ctl ") && line.contains(words));
                assert!(is_there, "{line}: {found:?} without {words}");
            }
        }
    }

    #[test]
    fn whole_lines_are_translated() {
        let table: &[(&str, &[&str])] = &[
            ("status --json", &["ctl status -o json"]),
            ("--json status", &["ctl status -o json"]),
            ("-i prod.yaml tail -f contrail-api", &["ctl logs -i prod.yaml -f contrail-api"]),
            ("tail -100 contrail-api", &["ctl logs -n 100 contrail-api"]),
            ("tail", &["ctl logs contrail-collector"]),
            ("restart contrail-api --limit rack1:!a6s01", &["ctl restart contrail-api -w 'rack1!a6s01'"]),
            (
                "restart contrail-api -l a6s01",
                &["ctl restart contrail-api -w a6s01", "ctl restart contrail-api -u a6s01"],
            ),
            ("restart contrail-api --check", &["ctl restart contrail-api --dry-run"]),
            ("restart --check contrail-api", &["ctl restart --dry-run contrail-api"]),
            ("restart deployment/contrail-api", &["ctl restart contrail-api"]),
            ("rollout restart deployment/contrail-api", &["ctl restart --rolling contrail-api"]),
            ("rollout status deploy/contrail-api -w a6s01", &["ctl wait --for running contrail-api -w a6s01"]),
            ("exec -a -b uptime", &["ctl exec --sudo -- uptime", "ctl exec --fold -- uptime"]),
            ("exec -g rack1 uptime -p", &["ctl exec -w @rack1 -- uptime -p"]),
            ("exec -grack1 uptime", &["ctl exec -w @rack1 -- uptime"]),
            ("exec uptime -w a6s01", &["ctl exec -- uptime -w a6s01", "ctl exec -w a6s01 -- uptime"]),
            ("exec -it a6s01 -- sh -c 'id -u'", &["ctl exec -w a6s01 -- sh -c 'id -u'"]),
            ("all -m ping", &["ctl ping"]),
            ("web:!a6s01 -m shell -a 'df -h /' -b", &["ctl exec -w 'web!a6s01' --sudo -- 'df -h /'"]),
            ("all -m service -a 'name=contrail-api state=restarted'", &["ctl restart contrail-api"]),
            ("-w a6s[01-03] -x a6s02 uptime -p", &["ctl exec -w 'a6s[01-03]' -x a6s02 -- uptime -p"]),
            ("-g rack1 -R ssh uptime", &["ctl exec -w @rack1 -- uptime"]),
            ("-R cfgm -- uptime", &["ctl exec -r cfgm -- uptime"]),
            ("exec -m shell -a uptime", &["ctl exec -- uptime"]),
            ("contrail-api restart -w a6s01", &["ctl restart contrail-api -w a6s01"]),
            ("restart_cfgm", &["ctl restart all -r config"]),
            ("logs -u contrail-api -f", &["ctl logs contrail-api -f"]),
            ("logs --tail=50 pod/contrail-api", &["ctl logs -n 50 contrail-api"]),
            ("status -w", &["ctl status --watch"]),
            ("status --limit a6s01 --bogus", &["type `-w a6s01` instead"]),
            (
                "signal HUP contrail-api",
                &[
                    "ctl exec -r config -- supervisorctl -s unix:///var/run/supervisord_config.sock signal HUP contrail-api",
                ],
            ),
            ("nodeset -f a1 a2", &["ctl nodeset fold a1 a2"]),
            ("-w a6s01 statsu", &["ctl status -w a6s01"]),
            ("-w a6s01", &["ctl status -w a6s01"]),
            ("update -r analytics", &["ctl update all -r analytics"]),
            (
                "-bw a6s[01-03] uname -r",
                &["ctl exec --sudo -w 'a6s[01-03]' -- uname -r", "ctl exec --fold -w 'a6s[01-03]' -- uname -r"],
            ),
            ("-ab uptime", &["ctl exec --sudo -- uptime", "ctl exec --fold -- uptime"]),
            ("-w a6s01 -l admin date", &["ctl exec -w a6s01 -u admin -- date"]),
            ("-w a6s01 -t 5 -u 10 date", &["ctl exec -w a6s01 --connect-timeout 5s --timeout 10s -- date"]),
            ("-w a6s01 -m sudo date", &["ctl exec -w a6s01 --sudo -- date"]),
            ("-H root@a6s01,root@a6s02 -- uptime", &["ctl exec -w a6s01,a6s02 -u root -- uptime"]),
            ("all_command:'ls -l'", &["ctl exec -- 'ls -l'"]),
            ("-w a6s[01-03] --copy f --dest /tmp/", &["ctl cp -w 'a6s[01-03]' f :/tmp/"]),
            ("scp f root@a6s01:/tmp/", &["ctl cp -w a6s01 -u root f :/tmp/"]),
            ("rack1 -m copy -a 'src=f dest=/tmp/f mode=0644' -b", &["ctl cp -w rack1 --sudo f :/tmp/f"]),
            ("all -a 'df -h'", &["ctl exec -- 'df -h'"]),
            ("db -m apt -a name=x", &["ctl exec -w db -- COMMAND"]),
            ("ping all", &["ctl ping"]),
            ("ping a6s01 a6s02", &["ctl ping -w a6s01,a6s02"]),
            ("ping -w a6s01", &[]),
            ("compute:!c001 -a uptime", &["ctl exec -w 'compute!c001' -- uptime"]),
            ("all -m ping --become --become-user root", &["ctl ping --sudo"]),
            ("rollout up.yaml --check --diff", &["ctl rollout up.yaml --dry-run=live"]),
            ("apply -f up.yaml --dry-run=client", &["ctl rollout up.yaml --dry-run"]),
            ("get pod contrail-api", &["ctl status --all contrail-api"]),
            ("get po", &["ctl status --all"]),
            ("get node a6s01", &["ctl inventory show a6s01"]),
            ("describe deployment contrail-api", &["ctl status -o wide contrail-api"]),
            ("rollout restart deployment contrail-api", &["ctl restart --rolling contrail-api"]),
            (
                "rollout status deploy/contrail-api --timeout=60s",
                &["ctl wait --for running contrail-api --wait-timeout=60s"],
            ),
            ("wait --for=condition=Ready pod/contrail-api", &["ctl wait --for running contrail-api"]),
            ("logs -l app=contrail-api", &["ctl logs contrail-api"]),
            ("-n prod.yaml logs contrail-api", &["ctl logs -i prod.yaml contrail-api"]),
            ("exec -it a6s01 bash", &["ctl exec -w a6s01 -- bash"]),
            ("exec -it contrail-api -- sh", &["ctl exec -r config -- sh"]),
            ("restart contrail-api.service", &["ctl restart contrail-api"]),
            ("service contrail-api force-reload", &["ctl service contrail-api restart"]),
            ("contrail-api condrestart", &["ctl restart contrail-api"]),
            ("status -l contrail-api", &["ctl status contrail-api"]),
            ("status -n 50 contrail-api", &["ctl status contrail-api"]),
            ("enable --now contrail-api", &["ctl exec -r config -- systemctl enable --now contrail-api"]),
            ("journalctl -f -u contrail-api", &["ctl logs -f contrail-api"]),
            ("-s unix:///tmp/s.sock restart contrail-api", &["ctl restart contrail-api"]),
            (
                "kill -s HUP contrail-collector",
                &[
                    "ctl exec -r analytics -- supervisorctl -s unix:///var/run/supervisord_analytics.sock signal HUP contrail-collector",
                ],
            ),
            // These mean what they say, or nothing that is known.
            ("rollout up.yaml --extra-vars @vars.yml", &[]),
            ("-l", &[]),
            ("status all", &[]),
            ("status -w a6s01 --bogus", &[]),
            ("exec -- uptime --json", &[]),
            ("exec -- ansible all -m ping", &[]),
            ("exec -w a6s01 -- sh -m -a x", &[]),
            ("status --out service/report.json -o json", &[]),
            ("restart contrail-api --check pod/check", &[]),
            ("rollout ./status", &[]),
            ("logs -u admin contrail-api", &[]),
            ("frobnicate", &[]),
            ("-w", &[]),
            ("restart", &[]),
            ("update x --bogus", &[]),
            ("", &[]),
        ];
        let cli = built();
        let answered = table.iter().map(|(typed, expected)| (typed, lines(&cli, typed), expected));
        let wrong: Vec<_> = answered.filter(|(_, found, expected)| found != *expected).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// The page has tables of two columns: the line of the other tool, and the line of `ctl`.
    #[test]
    fn the_page_for_those_who_come_from_elsewhere_is_right() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/coming-from.md");
        let page = std::fs::read_to_string(page).expect("docs/coming-from.md");
        let cli = built();
        let code = |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
        let (mut rows, mut wrong) = (0, Vec::<String>::new());
        for row in page.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
            let [typed, here] = cells.as_slice() else { panic!("not two columns: {row}") };
            let here: Vec<String> = code(here).into_iter().filter(|line| line.starts_with("ctl ")).collect();
            assert!(!here.is_empty(), "no line to type: {row}");
            for line in &here {
                // The shell removes redirections.
                let line = line.split(" < ").next().unwrap_or(line);
                let words = arranged(&cli, &words_of(line)[1..]);
                assert!(is_valid(&cli, &words) && answer(&cli, &words, true).is_none(), "`{line}` is not valid: {row}");
            }
            for typed in code(typed) {
                let (tool, rest) = typed.split_once(' ').unwrap_or((&typed, ""));
                let rest = match tool {
                    "ansible-playbook" => format!("playbook {rest}"),
                    "ansible-inventory" => format!("inventory {rest}"),
                    "journalctl" | "service" | "contrail-status" | "nodeset" | "pdcp" | "scp" => typed.clone(),
                    "supervisorctl" | "systemctl" | "kubectl" | "ansible" | "clush" | "pdsh" | "fab" => rest.to_owned(),
                    _ => panic!("{tool} is not known to this test"),
                };
                // Typed with `ctl` in place of the tool's name, it works or is answered with this line.
                let words = arranged(&cli, &words_of(&rest));
                let mut answered = lines(&cli, &rest);
                if let Some((_, paths)) = words.split_first().filter(|(command, _)| *command == "cp") {
                    // Its words are valid, and the command itself answers.
                    let (last, others) = paths.split_last().expect("a target");
                    answered.extend(scp_target(last, others));
                }
                let works = answered.is_empty() && is_valid(&cli, &words) && here.contains(&shown(&words));
                if !works && !here.iter().any(|line| answered.contains(line)) {
                    wrong.push(format!("{typed}: {answered:?}, not {here:?}"));
                }
                rows += 1;
            }
        }
        assert_eq!(wrong, Vec::<String>::new());
        assert!(rows > 40, "only {rows} lines of other tools");
    }

    #[test]
    fn any_words_are_answered_or_left_to_the_parser() {
        let cli = built();
        let fragments = [
            "",
            "-",
            "--",
            "-w",
            "-grack1",
            "-é",
            "--limit",
            "--limit=",
            "--=x",
            "-it",
            "exec",
            "status",
            "tail",
            "rollout",
            "restart",
            "-m",
            "-a",
            "shell",
            "all",
            "pod/",
            "'",
            "\u{1b}[2J",
            "x_y",
            "stop_",
            "a,b",
        ];
        for first in fragments {
            for second in fragments {
                for line in [vec![first, second], vec!["exec", first, second]] {
                    let words = arranged(&cli, &line.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
                    if let Some(error) = answer(&cli, &words, is_valid(&cli, &words)) {
                        assert_eq!(error.exit(), ctl_console::exit::ExitStatus::Usage, "{line:?}");
                    }
                }
            }
        }
    }
}
