//! The output of commands, printed under the node; nodes with the same output are grouped under their folded node set.
//!
//! Uses `event`, `nodeset` and this module. Invariants: all captured output appears; each line is made safe and
//! otherwise unchanged; two groups always differ in their visible text.

use nodeset::NodeSet;

use super::text;
use ctl_event::{CommandRun, ItemLabel, TargetResult};

/// Nodes with the same output and the same exit.
struct OutputGroup<'a> {
    ended: String,
    run: &'a CommandRun,
    nodes: Vec<&'a str>,
}

/// The output of all commands, in the order of the results; empty if there was no command. `each`: one group per node.
pub(super) fn printed(results: &[TargetResult], each: bool) -> String {
    let mut groups: Vec<OutputGroup<'_>> = Vec::new();
    let commands = results.iter().filter_map(|result| Some((result, result.started_command()?)));
    // The table has every item of a sequence, so that one without output need not stand here too.
    let is_shown = |result: &TargetResult, run: &CommandRun| {
        result.item.is_none()
            || [&run.stdout, &run.stderr].into_iter().any(|stream| shown_lines(stream).next().is_some())
    };
    for (result, run) in commands.filter(|(result, run)| is_shown(result, run)) {
        let ended = ended(result, run);
        // Compare the visible lines: groups that differ only in hidden characters would look like a mistake.
        let same = |group: &&mut OutputGroup<'_>| !each && group.ended == ended && look_alike(group.run, run);
        match groups.iter_mut().find(same) {
            Some(group) => group.nodes.push(&result.node),
            None => groups.push(OutputGroup { ended, run, nodes: vec![&result.node] }),
        }
    }
    groups.iter().map(OutputGroup::text).collect()
}

/// Whether both runs look the same on the screen.
fn look_alike(one: &CommandRun, other: &CommandRun) -> bool {
    let same = |one: &Option<String>, other: &Option<String>| shown_lines(one).eq(shown_lines(other));
    one.truncated == other.truncated && same(&one.stdout, &other.stdout) && same(&one.stderr, &other.stderr)
}

/// Its lines. That the last one has no end is not shown.
fn shown_lines(output: &Option<String>) -> impl Iterator<Item = &str> {
    let output = output.as_deref().unwrap_or_default();
    // One final line end is usual, and would show as an empty line.
    let whole = output.strip_suffix('\n').unwrap_or(output);
    // Splitting an empty text would give one empty line.
    (!output.is_empty()).then(|| whole.split('\n')).into_iter().flatten()
}

fn ended(result: &TargetResult, run: &CommandRun) -> String {
    let of_item = |label: &ItemLabel| {
        let on = label.on.as_ref().map(|on| format!(" (on {})", text::visible(on))).unwrap_or_default();
        format!("{}{on}: ", text::visible(&label.shown()))
    };
    let item = result.item.as_ref().map(of_item).unwrap_or_default();
    let ended = match (run.exit_status, run.signal.as_deref()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some("UNKNOWN")) => "killed by a signal".to_owned(),
        (None, Some(signal)) => format!("killed by SIG{}", text::visible(signal)),
        (None, None) => result.outcome.to_string(),
    };
    item + &ended
}

impl OutputGroup<'_> {
    fn text(&self) -> String {
        let nodes = NodeSet::from_names(&self.nodes).to_string();
        let count = if self.nodes.len() > 1 { format!(" ({})", self.nodes.len()) } else { String::new() };
        let mut text = format!("== {}{count}: {}\n", text::visible(&nodes), self.ended);
        lines(&mut text, &self.run.stdout, "");
        lines(&mut text, &self.run.stderr, "stderr: ");
        if self.run.truncated == Some(true) {
            text.push_str("(output truncated)\n");
        }
        text
    }
}

fn lines(text: &mut String, output: &Option<String>, before: &str) {
    for line in shown_lines(output) {
        text.push_str(before);
        text.push_str(&text::printed_line(line));
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ctl_event::Outcome;

    fn result(node: &str, exit: Option<u32>, stdout: &str, stderr: &str) -> TargetResult {
        let (stdout, stderr) = (Some(stdout.to_owned()), Some(stderr.to_owned()));
        let command = Some(CommandRun { exit_status: exit, signal: None, stdout, stderr, truncated: Some(false) });
        let outcome = if exit == Some(0) { Outcome::Changed } else { Outcome::TimedOut };
        TargetResult { command, ..TargetResult::new(node, outcome) }
    }

    #[test]
    fn equal_output_is_grouped() {
        let results = [
            result("n1", Some(0), "up 3 days\nload 1\n", ""),
            result("n2", Some(0), "up 4 days\n", "a warning\n"),
            result("n3", Some(0), "up 3 days\nload 1\n", ""),
            result("n4", None, "\u{1b}[31mred", ""),
            TargetResult { command: Some(CommandRun::NOT_STARTED), ..TargetResult::new("n5", Outcome::Unreachable) },
        ];
        insta::assert_snapshot!(printed(&results, false), @r"
        == n[1,3] (2): exit 0
        up 3 days
        load 1
        == n2: exit 0
        up 4 days
        stderr: a warning
        == n4: timed_out
        \x1b[31mred
        ");
        assert_eq!(printed(&results[4..], false), "");
    }

    /// Spaces, tabs, empty lines and long lines stay as they are; an invisible difference does not split a group.
    #[test]
    fn output_is_not_changed() {
        let long = "x".repeat(5000);
        let results = [
            result("n1", Some(0), &format!("  a:\n\tb: c \n\n{long}\r\n"), ""),
            result("n2", Some(0), "no end", ""),
            result("n3", Some(0), "no end\n", ""),
            result("n4", Some(0), " no end\n", ""),
            result("n5", Some(0), "\n", ""),
        ];
        let shown = printed(&results, false);
        let wanted = format!(
            "== n1: exit 0\n  a:\n\tb: c \n\n{long}\\r\n== n[2-3] (2): exit 0\nno end\n== n4: exit 0\n no end\n== n5: exit 0\n\n"
        );
        assert_eq!(shown, wanted);
        let each = printed(&results, true);
        assert!(each.contains("== n2: exit 0\nno end\n== n3: exit 0\nno end\n"), "{each}");
    }

    #[test]
    fn a_signal_is_named() {
        let of = |signal: &str| {
            let mut result = result("n1", None, "", "");
            if let Some(run) = &mut result.command {
                run.signal = Some(signal.to_owned());
            }
            printed(&[result], false)
        };
        assert_eq!(of("KILL"), "== n1: killed by SIGKILL\n");
        assert_eq!(of("UNKNOWN"), "== n1: killed by a signal\n");
    }
}
