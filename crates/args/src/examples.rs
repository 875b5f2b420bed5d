//! The examples at the beginning of every help page. Data only, and the text made of it.
//!
//! Invariants, tested: each command has examples, and each of them runs against the lab (`tests/lab/examples.rs`) and
//! ends with the code given here. They use the nodes of the demo cluster, and files that the
//! test writes.

use clap::Command;

/// The examples of a command.
struct ExampleSet {
    /// The names of the command; empty for `ctl` itself.
    command: &'static str,
    /// Lines, and what they do.
    lines: &'static [(&'static str, &'static str)],
}

const fn examples(command: &'static str, lines: &'static [(&'static str, &'static str)]) -> ExampleSet {
    ExampleSet { command, lines }
}

/// The examples, in the order of the commands.
const EXAMPLES: &[ExampleSet] = &[
    examples(
        "",
        &[
            ("ctl status", "the problems of the cluster"),
            ("ctl restart contrail-collector -r analytics", "on the nodes of a role"),
            ("ctl -w a6s01 logs contrail-collector", "of one node"),
            ("ctl exec -r compute -- uname -r", "a command on nodes"),
        ],
    ),
    examples(
        "service",
        &[
            ("ctl service contrail-collector restart -r analytics", "on the nodes of a role"),
            ("ctl service contrail-api status -w 'cfg[01-02]'", "of some nodes"),
            ("ctl service 'contrail-*' restart -w ctl01", "a glob"),
        ],
    ),
    examples(
        "start",
        &[
            ("ctl start contrail-collector", "wherever it is configured"),
            ("ctl start all -w a6s01", "every service of a node"),
        ],
    ),
    examples(
        "stop",
        &[
            ("ctl stop contrail-collector -w a6s01", "on one node"),
            ("ctl stop 'contrail-*' -r control --dry-run", "only show the plan"),
        ],
    ),
    examples(
        "restart",
        &[
            ("ctl restart contrail-collector -r analytics --rolling", "node by node"),
            ("ctl restart contrail-api,contrail-schema -w cfg01", "two services of a node"),
            ("ctl restart contrail-control --serial 1,50%", "a canary first"),
        ],
    ),
    examples(
        "update",
        &[
            ("ctl update all -r analytics --dry-run=live", "show what has changed"),
            ("ctl update contrail-collector -r analytics", "apply it"),
        ],
    ),
    examples(
        "exec",
        &[
            ("ctl exec -r compute -- uname -r", "equal output is shown once"),
            ("ctl exec -w a6s01 'date; hostname'", "one word goes to the shell"),
            ("ctl exec -r compute --serial 1,50% -- true", "in batches"),
        ],
    ),
    examples(
        "cp",
        &[
            ("ctl cp -r compute hosts :/etc/", "a file to the nodes"),
            ("ctl cp -r compute :/etc/hosts copies/", "into copies/c01/hosts, ..."),
        ],
    ),
    examples(
        "rollout",
        &[
            ("ctl rollout --validate upgrade.yaml", "check the file"),
            ("ctl rollout upgrade.yaml --dry-run=live", "also read the nodes"),
            ("ctl rollout upgrade.yaml -e release=3.2.1.0-27", "run it"),
        ],
    ),
    examples("runs", &[("ctl runs", "the newest runs"), ("ctl runs show last", "what the last one did")]),
    examples("runs list", &[("ctl runs list -n 5", "the last five"), ("ctl runs list -o json", "for scripts")]),
    examples(
        "runs show",
        &[("ctl runs show last", "the last run"), ("ctl runs show last -o wide", "with more columns")],
    ),
    examples(
        "runs resume",
        &[("ctl runs resume last --dry-run", "what is left of the last run"), ("ctl runs resume last", "do that")],
    ),
    examples(
        "runs retry",
        &[
            ("ctl runs retry last --dry-run", "what did not succeed in the last run"),
            ("ctl runs retry last", "do that again"),
        ],
    ),
    examples(
        "runs undo",
        &[
            ("ctl runs undo last --dry-run", "what the last run stopped or kept"),
            ("ctl runs undo last", "take that back"),
        ],
    ),
    examples(
        "wait",
        &[
            ("ctl wait contrail-collector --for running", "on all its nodes"),
            ("ctl wait contrail-api --for active --wait-timeout 5m", "by its introspect port"),
        ],
    ),
    examples(
        "status",
        &[
            ("ctl status", "the problems of the cluster"),
            ("ctl status --all -r control", "every service of a role"),
            ("ctl status contrail-collector -o json", "one service, for scripts"),
            ("ctl status --save before.json", "for `ctl snapshot diff`"),
        ],
    ),
    examples("top", &[("ctl top", "the whole cluster"), ("ctl top -r control --interval 1s", "the nodes of a role")]),
    examples(
        "logs",
        &[
            ("ctl logs contrail-collector", "the last lines on every node"),
            ("ctl logs contrail-api -n 100 --stderr -w cfg01", "of one node"),
            ("ctl logs -f contrail-collector", "follow it"),
        ],
    ),
    examples("snapshot", &[("ctl snapshot diff before.json live", "what has changed since")]),
    examples(
        "snapshot diff",
        &[
            ("ctl snapshot diff before.json live", "what has changed since"),
            ("ctl snapshot diff before.json live -r control", "only in one role"),
        ],
    ),
    examples("ping", &[("ctl ping", "all nodes"), ("ctl ping -r compute -w 'c*'", "some of them")]),
    examples(
        "init",
        &[("ctl init a6s01 a6s02", "write inventory.yaml"), ("ctl init --from ssh-config --dry-run", "print it")],
    ),
    examples(
        "inventory",
        &[("ctl inventory check", "all its errors"), ("ctl inventory show a6s01", "everything about a node")],
    ),
    examples("inventory list", &[("ctl inventory list", "all nodes"), ("ctl inventory list -o json", "for scripts")]),
    examples("inventory show", &[("ctl inventory show a6s01", "a node, and where its settings come from")]),
    examples("inventory check", &[("ctl inventory check", "the inventory that is found")]),
    examples(
        "inventory import",
        &[
            ("ctl inventory import --from ansible hosts.ini", "print it"),
            ("ctl inventory import --from ansible hosts.ini --out a.yaml", "write it"),
        ],
    ),
    examples(
        "nodeset",
        &[("ctl nodeset fold a6s01,a6s02,a6s03", "a6s[01-03]"), ("ctl nodeset count 'c[001-400]!c017'", "399")],
    ),
    examples("nodeset fold", &[("ctl nodeset fold a6s01,a6s02,a6s03", "a6s[01-03]")]),
    examples("nodeset expand", &[("ctl nodeset expand 'a6s[01-03]'", "a6s01 a6s02 a6s03")]),
    examples("nodeset count", &[("ctl nodeset count 'c[001-400]!c017'", "399")]),
    examples("ssh-config", &[("ctl ssh-config a6s01", "a node"), ("ctl ssh-config bastion.example.net", "any host")]),
    examples(
        "connections",
        &[("ctl connections", "those that are kept"), ("ctl connections close", "log out of all nodes")],
    ),
    examples("connections list", &[("ctl connections list -o json", "for a script")]),
    examples(
        "connections close",
        &[("ctl connections close", "all of them"), ("ctl connections close 'a6s*'", "those to some nodes")],
    ),
    examples(
        "completions",
        &[("ctl completions bash", "a script to source"), ("ctl completions fish", "the same for fish")],
    ),
    examples("man", &[("ctl man", "about ctl"), ("ctl man service", "about a command")]),
];

/// The command with the examples of it and of its subcommands.
pub fn add_to(command: Command) -> Command {
    below(command, "")
}

/// The examples of the command with these names, without `ctl`: lines, and what they do.
pub fn lines_of(path: &str) -> &'static [(&'static str, &'static str)] {
    EXAMPLES.iter().find(|set| set.command == path).map_or(&[], |set| set.lines)
}

fn below(command: Command, path: &str) -> Command {
    let command = command.mut_subcommands(|command| {
        let path = [path, command.get_name()].join(" ");
        below(command, path.trim_start())
    });
    match EXAMPLES.iter().find(|set| set.command == path) {
        Some(set) => command.before_help(set.text()),
        None => command,
    }
}

impl ExampleSet {
    fn text(&self) -> String {
        let width = self.lines.iter().map(|(line, _)| line.len()).max().unwrap_or_default();
        let rows = self.lines.iter().map(|(line, what)| format!("\n  {line:width$}  {what}"));
        std::iter::once("Examples:".to_owned()).chain(rows).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::CliArgs;

    fn paths(command: &Command, path: &str, found: &mut Vec<String>) {
        found.push(path.to_owned());
        // A command that nobody types has no help to find.
        for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
            paths(command, [path, command.get_name()].join(" ").trim_start(), found);
        }
    }

    #[test]
    fn every_command_has_examples_and_they_are_its_own() {
        let mut all = Vec::new();
        paths(&CliArgs::command(), "", &mut all);
        let with_examples: Vec<&str> = EXAMPLES.iter().map(|set| set.command).collect();
        assert_eq!(with_examples, all, "give each command its examples");
        for set in EXAMPLES {
            assert!((1..=4).contains(&set.lines.len()), "{}", set.command);
            for (line, _) in set.lines {
                let is_own = set.command.split(' ').all(|name| line.contains(name));
                assert!(line.starts_with("ctl ") && is_own, "{}: {line}", set.command);
            }
            // Nothing is wrapped at a terminal of the usual width.
            assert!(set.text().lines().all(|line| line.chars().count() <= 80), "{}", set.text());
        }
    }
}
