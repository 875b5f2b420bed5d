//! What commands printed, gathered: nodes that printed the same are told together, under their folded node set.
//!
//! Uses `event`, `nodeset` and this room. What always holds: nothing that was kept is left out; each line is made safe.

use super::text;
use crate::event::{CommandRun, Outcome, TargetResult};
use crate::nodeset::NodeSet;

/// Nodes that printed the same and ended alike.
struct Group<'a> {
    outcome: Outcome,
    run: &'a CommandRun,
    nodes: Vec<&'a str>,
}

/// The output of all commands, in the order of the results; empty where none was run.
pub(super) fn gathered(results: &[TargetResult]) -> String {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (result, run) in results.iter().filter_map(|result| Some((result, result.command.as_ref()?))) {
        match groups.iter_mut().find(|group| group.outcome == result.outcome && group.run == run) {
            Some(group) => group.nodes.push(&result.node),
            None => groups.push(Group { outcome: result.outcome, run, nodes: vec![&result.node] }),
        }
    }
    groups.iter().map(Group::text).collect()
}

impl Group<'_> {
    fn text(&self) -> String {
        let nodes = NodeSet::from_names(&self.nodes).to_string();
        let count = if self.nodes.len() > 1 { format!(" ({})", self.nodes.len()) } else { String::new() };
        let ended = match self.run.exit_status {
            Some(code) => format!("exit {code}"),
            None => self.outcome.to_string(),
        };
        let mut text = format!("== {}{count}: {ended}\n", text::visible(&nodes));
        lines(&mut text, &self.run.stdout, "");
        lines(&mut text, &self.run.stderr, "stderr: ");
        if self.run.truncated {
            text.push_str("(more was printed than is kept)\n");
        }
        text
    }
}

fn lines(text: &mut String, output: &str, before: &str) {
    for line in output.lines() {
        text.push_str(before);
        text.push_str(&text::single_line(line));
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(node: &str, exit: Option<u32>, stdout: &str, stderr: &str) -> TargetResult {
        let (stdout, stderr) = (stdout.to_owned(), stderr.to_owned());
        let command = Some(CommandRun { exit_status: exit, signal: None, stdout, stderr, truncated: false });
        let outcome = if exit == Some(0) { Outcome::Changed } else { Outcome::TimedOut };
        TargetResult { command, ..TargetResult::new(node, outcome) }
    }

    #[test]
    fn those_that_printed_the_same_are_told_together() {
        let results = [
            result("n1", Some(0), "up 3 days\nload 1\n", ""),
            result("n2", Some(0), "up 4 days\n", "a warning\n"),
            result("n3", Some(0), "up 3 days\nload 1\n", ""),
            result("n4", None, "\u{1b}[31mred", ""),
            TargetResult::new("n5", Outcome::Unreachable),
        ];
        insta::assert_snapshot!(gathered(&results), @r"
        == n[1,3] (2): exit 0
        up 3 days
        load 1
        == n2: exit 0
        up 4 days
        stderr: a warning
        == n4: timed_out
        \x1b[31mred
        ");
        assert_eq!(gathered(&results[4..]), "");
    }
}
