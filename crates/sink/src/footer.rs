//! The lines below a table: each failure once with its hint, and the summary.
//!
//! Uses `event`, `nodeset` and this module. Invariants: every failure is named with all its nodes, folded; the last
//! line counts every result. Start reading at [`notes`].

use std::collections::BTreeMap;
use std::time::Duration;

use nodeset::NodeSet;

use super::evidence::evidence;
use super::{hint, text};
use ctl_event::{CancelReason, Failure, FailureKind, KeptItem, KeptReason, Ledger, Outcome};

/// The lines below a table. `empty`: the table has no rows.
pub(super) fn notes(ledger: &Ledger, empty: bool) -> String {
    if ledger.result_count() == 0 {
        return format!("no results: no node was queried{}\n", given_up(ledger));
    }
    let mut lines = String::new();
    if empty {
        // A status of everything names no service: only a node without a role has nothing to show then.
        let asks_for_all = ledger.head().is_some_and(|head| head.command == "status" && head.services.is_empty());
        lines.push_str(if asks_for_all {
            "nothing to show: no selected node has a role in the inventory (-o wide shows every node)\n"
        } else {
            "nothing to show: no selected node has this service (-o wide shows every node)\n"
        });
    }
    lines.push_str(&failures(ledger));
    lines.push_str(&evidence(ledger));
    lines.push_str(&kept(ledger));
    lines.push_str(&summary(ledger));
    lines.push('\n');
    lines
}

/// The items of sequences that were not taken back, and the command that takes them back.
fn kept(ledger: &Ledger) -> String {
    let mut groups: BTreeMap<(KeptReason, u32, String, Option<String>), Vec<String>> = BTreeMap::new();
    for KeptItem { node, item_number, item, on, reason } in ledger.kept().unwrap_or_default() {
        groups.entry((reason, item_number, item, on)).or_default().push(node);
    }
    let mut lines = String::new();
    for ((reason, _, item, on), nodes) in &groups {
        let why = match reason {
            KeptReason::Kept => "kept, as its `when` says",
            KeptReason::UndoFailed => "not undone: its undo failed",
            KeptReason::Open => "still open when the run ended",
        };
        let nodes = NodeSet::from_names(nodes).to_string();
        let on = on.as_ref().map(|on| format!(" (on {})", text::visible(on))).unwrap_or_default();
        lines.push_str(&format!("{}: {}{on}: {why}\n", text::visible(&nodes), text::single_line(item)));
    }
    if let Some(head) = ledger.head().filter(|_| !groups.is_empty()) {
        lines.push_str(&format!("  → undo these with: ctl runs undo {}\n", head.run));
    }
    lines
}

/// Failures with the same hint.
struct HintGroup<'a> {
    failure: &'a Failure,
    nodes: Vec<&'a str>,
    roles: Vec<&'a str>,
    messages: Vec<&'a str>,
}

impl HintGroup<'_> {
    fn lines(&self) -> String {
        let nodes = NodeSet::from_names(&self.nodes).to_string();
        // A group has at least the message of its first failure.
        let others = match self.messages.len() - 1 {
            0 => String::new(),
            1 => " (and another message)".to_owned(),
            more => format!(" (and {more} other messages)"),
        };
        let Failure { kind, message, hint, .. } = self.failure;
        let mut lines = format!("{}: {kind}: {}{others}\n", text::visible(&nodes), text::single_line(message));
        if let Some(hint) = hint {
            let first = self.nodes.first().copied().unwrap_or_default();
            let hint = hint::of_any_target(hint, first, self.roles.first().copied());
            let hint = hint::for_targets(&hint, &self.nodes, &self.roles);
            lines.push_str(&format!("  → {hint}\n"));
        }
        lines
    }
}

/// Each failure once, with its hint.
pub(super) fn failures(ledger: &Ledger) -> String {
    groups(ledger).iter().map(HintGroup::lines).collect()
}

fn groups(ledger: &Ledger) -> Vec<HintGroup<'_>> {
    let mut groups: Vec<HintGroup<'_>> = Vec::new();
    let mut places: std::collections::HashMap<(FailureKind, Option<String>), usize> = std::collections::HashMap::new();
    for result in ledger.results() {
        let Some(failure) = &result.failure else { continue };
        // The hint names its node and role: compare it without, so that the same advice is one group.
        let role = result.role.as_deref();
        let hint = failure.hint.as_deref().map(|hint| hint::of_any_target(hint, &result.node, role));
        let place = *places.entry((failure.kind, hint)).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => {
                group.nodes.push(&result.node);
                group.roles.extend(role);
                if !group.messages.contains(&failure.message.as_str()) {
                    group.messages.push(&failure.message);
                }
            }
            None => groups.push(HintGroup {
                failure,
                nodes: vec![&result.node],
                roles: role.into_iter().collect(),
                messages: vec![&failure.message],
            }),
        }
    }
    groups
}

/// `3 nodes, 3 results: 3 changed (0.8 s)`
fn summary(ledger: &Ledger) -> String {
    let summary = ledger.summary();
    let counts: Vec<String> = [
        Outcome::Ok,
        Outcome::Changed,
        Outcome::Skipped,
        Outcome::NotConfigured,
        Outcome::NotStarted,
        Outcome::Unreachable,
        Outcome::TimedOut,
        Outcome::Failed,
        Outcome::Unknown,
    ]
    .into_iter()
    .map(|outcome| (outcome, summary.count(outcome)))
    .filter(|(_, count)| *count > 0)
    .map(|(outcome, count)| format!("{count} {outcome}"))
    .collect();
    format!(
        "{}, {}: {} ({}){}",
        counted(summary.nodes, "node"),
        counted(summary.results, "result"),
        counts.join(", "),
        took(ledger.elapsed()),
        given_up(ledger)
    )
}

/// `1 node`, `2 nodes`.
pub(super) fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// `0.8 s`, `3 min 5 s`.
pub(super) fn took(time: Duration) -> String {
    match time.as_secs() {
        // Cut, not rounded: 59.96 s must not show as 60.0 s.
        seconds @ 0..60 => format!("{seconds}.{} s", time.subsec_millis() / 100),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

/// Why the run ended early, as the end of a line; empty if it did not.
pub(super) fn given_up(ledger: &Ledger) -> &'static str {
    match ledger.cancel() {
        // The reader has closed the output and cannot read a reason.
        None | Some(CancelReason::OutputClosed) => "",
        Some(CancelReason::JournalLost) => "; stopped: cannot write the journal",
        Some(CancelReason::HungUp) => "; stopped: the terminal was closed",
        Some(CancelReason::Interrupted) => "; interrupted",
        Some(CancelReason::Terminated) => "; terminated",
        Some(CancelReason::GivenUp) => "; stopped at the second signal, without waiting",
    }
}
