//! `ctl man [COMMAND]`: the manual pages. Names, options and commands come from clap; what it does not know, the files,
//! the exit status and the environment of `ctl`, is written here and nowhere else. The examples are those of `examples.rs`.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::sync::Arc;

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use ctl_args::args::{CliArgs, ManArgs};
use ctl_args::examples;
use ctl_console::error::CliError;
use ctl_console::exit::ExitStatus;
use ctl_sink::text;

const FILES: [(&str, &str); 8] = [
    (
        "./inventory.yaml",
        "The inventory, unless -i or CTL_INVENTORY names another one. Not used if another user can write to it.",
    ),
    (
        "$XDG_CONFIG_HOME/ctl/inventory.yaml",
        "The inventory if there is none in the current directory. XDG_CONFIG_HOME is ~/.config by default.",
    ),
    ("/etc/ctl/inventory.yaml", "The inventory if there is none in either place."),
    (
        "$XDG_STATE_HOME/ctl/journal.db",
        "The record of every run that changed a node; see ctl-runs(1). XDG_STATE_HOME is ~/.local/state by default.",
    ),
    (
        "$XDG_RUNTIME_DIR/ctl",
        "The socket of the process that keeps connections; see ctl-connections(1). XDG_RUNTIME_DIR is /run/user/UID by default.",
    ),
    ("~/.ssh/config, /etc/ssh/ssh_config", "Read as ssh(1) does; --ssh-config names another file."),
    ("~/.ssh/known_hosts, /etc/ssh/ssh_known_hosts", "The keys of known hosts."),
    (
        "/usr/share/doc/contrail-ctl/examples",
        "An inventory with every key, and rollouts, if ctl is installed from a package.",
    ),
];

const ENVIRONMENT: [(&str, &str); 7] = [
    ("CTL_INVENTORY", "The inventory to use if -i is not given."),
    ("XDG_CONFIG_HOME, XDG_STATE_HOME, XDG_RUNTIME_DIR", "See FILES."),
    (
        "HOME",
        "Where the directories of FILES are by default. The files of ssh are found in the home directory of the password database, as by ssh(1).",
    ),
    ("SSH_AUTH_SOCK", "The agent that holds keys."),
    ("NO_COLOR", "No color, unless --color always is given."),
    ("TERM", "If it is dumb, neither color nor progress is shown."),
    ("CTL_COMPLETE", "Set by the completion scripts; see ctl-completions(1)."),
];

pub(in crate::cli) fn run(args: &ManArgs) -> Result<ExitStatus, CliError> {
    let root = root();
    if let Some(dir) = &args.dir {
        write_all(&root, dir)?;
        return Ok(ExitStatus::Good);
    }
    let page = page(find(&root, &args.command)?)
        .map_err(|error| CliError::usage(format!("cannot write the page: {error}")))?;
    // man(1) shows it in a pager at a terminal, and as plain text elsewhere, as for any page. --dir writes the source.
    if show(&page).is_ok() {
        return Ok(ExitStatus::Good);
    }
    match io::stdout().lock().write_all(&page) {
        // A reader that has seen enough is no error.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CliError::usage(format!("standard output: {error}")))
        }
        Ok(()) | Err(_) => Ok(ExitStatus::Good),
    }
}

/// The command line, with the names that its pages have.
fn root() -> Command {
    let mut root = CliArgs::command().disable_help_subcommand(true);
    root.build();
    root
}

/// The command that the words name.
fn find<'c>(root: &'c Command, words: &[String]) -> Result<&'c Command, CliError> {
    words.iter().try_fold(root, |command, word| {
        command.find_subcommand(word).ok_or_else(|| {
            let names: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
            let message = format!("{} has no command {}", title(command).replace('-', " "), text::single_line(word));
            let error = CliError::usage(message);
            if names.is_empty() { error } else { error.with_hint(format!("its commands are {}", names.join(", "))) }
        })
    })
}

fn title(command: &Command) -> String {
    command.get_display_name().unwrap_or(command.get_name()).to_owned()
}

/// Shows a page with man(1); an error where there is none, or not one that reads standard input.
fn show(page: &[u8]) -> io::Result<()> {
    // Ctrl-C is for the pager, which must not outlive this process. Programs that are started do not inherit a handler.
    signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::default())?;
    let mut man = Process::new("man").args(["-l", "-"]).stdin(Stdio::piped()).spawn()?;
    if let Some(mut input) = man.stdin.take() {
        // A pager that is left early closes its input.
        drop(input.write_all(page));
    }
    if man.wait()?.success() { Ok(()) } else { Err(io::Error::other("man failed")) }
}

/// Writes the page of every command to a directory.
fn write_all(command: &Command, dir: &Path) -> Result<(), CliError> {
    let path = dir.join(format!("{}.1", title(command)));
    page(command)
        .and_then(|page| std::fs::write(&path, page))
        .map_err(|error| CliError::usage(format!("cannot write {}: {error}", path.display())))?;
    command.get_subcommands().filter(|sub| !sub.is_hide_set()).try_for_each(|sub| write_all(sub, dir))
}

/// The page of a command.
fn page(command: &Command) -> io::Result<Vec<u8>> {
    let mut sections = examples_section(command);
    if command.get_name() == "ctl" {
        root_sections(&mut sections)
    } else {
        see_also(&mut sections)
    }
    let (title, command) = (title(command).to_uppercase(), command.clone().subcommand_help_heading("COMMANDS"));
    let source = format!("ctl {}", env!("CARGO_PKG_VERSION"));
    let mut page = Vec::new();
    Man::new(command.subcommand_value_name("COMMAND"))
        .title(title)
        // No date, so that a build can be repeated. An empty argument needs its quotes: without them the source becomes the date.
        .date("\"\"")
        .source(source)
        .manual("ctl manual")
        .render(&mut page)?;
    page.extend_from_slice(sections.to_roff().as_bytes());
    Ok(page)
}

fn entry(roff: &mut Roff, term: &str, meaning: &str) {
    roff.control("TP", []);
    roff.text([bold(term)]);
    roff.text([roman(meaning)]);
}

/// The examples that `--help` begins with.
fn examples_section(command: &Command) -> Roff {
    let mut roff = Roff::new();
    let names = command.get_bin_name().unwrap_or_default();
    roff.control("SH", ["EXAMPLES"]);
    for (line, meaning) in examples::lines_of(names.strip_prefix("ctl").unwrap_or(names).trim_start()) {
        entry(&mut roff, line, meaning);
    }
    roff
}

/// What only the page of `ctl` has.
fn root_sections(roff: &mut Roff) {
    roff.control("SH", ["EXIT STATUS"]);
    for exit in ExitStatus::ALL {
        entry(roff, &exit.code().to_string(), &exit.meaning().replace('`', ""));
    }
    roff.control("PP", []);
    roff.text([roman("If several apply, the signals come first, then 6, 5, 4, 1, 3.")]);
    roff.control("SH", ["FILES"]);
    for (path, meaning) in FILES {
        entry(roff, path, meaning);
    }
    roff.control("SH", ["ENVIRONMENT"]);
    for (name, meaning) in ENVIRONMENT {
        entry(roff, name, meaning);
    }
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman("ssh(1), ssh_config(5), supervisorctl(1)")]);
}

fn see_also(roff: &mut Roff) {
    roff.control("SH", ["SEE ALSO"]);
    roff.text([bold("ctl"), roman("(1), for the exit status, the files and the environment")]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_codes_are_those_of_the_documentation() {
        let page = include_str!("../../../docs/exit-codes.md");
        let rows = page.lines().skip_while(|line| !line.starts_with("| 0 ")).take_while(|line| line.starts_with('|'));
        let rows: Vec<String> = rows.map(str::to_owned).collect();
        let expected = ExitStatus::ALL.map(|exit| format!("| {} | {} |", exit.code(), exit.meaning()));
        assert_eq!(rows, expected);
    }

    #[test]
    fn every_command_has_a_page() {
        let dir = tempfile::tempdir().expect("a folder");
        write_all(&root(), dir.path()).expect("written");
        for name in ["ctl", "ctl-status", "ctl-runs-resume", "ctl-snapshot-diff"] {
            let page = std::fs::read_to_string(dir.path().join(format!("{name}.1"))).expect("a page");
            assert!(page.contains(&format!("{} \\-", name.replace('-', "\\-"))), "{page}");
            let head =
                format!(".TH {} 1 \"\" \"ctl {}\" \"ctl manual\"\n", name.to_uppercase(), env!("CARGO_PKG_VERSION"));
            assert!(page.contains(&head), "{page}");
            assert!(page.contains(".SH EXAMPLES\n.TP\n\\fBctl "), "{page}");
        }
        assert!(!dir.path().join("ctl-help.1").exists());
    }
}
