//! The screen of `ctl status --watch`: the overview, and recent changes.
//!
//! Here live [`watch_frame`] and [`watch_lines`]. They use `event`, `overview`, `snapshot` and this module. Invariants:
//! a frame has no more lines than the terminal has rows, and counts the lines that it omits; a label marks each change,
//! not only a color.

use super::overview::{OverviewOptions, lines, summary};
use super::text;
use ctl_event::Ledger;
use ctl_overview::{NodeRoles, Overview};
use ctl_snapshot::SnapshotDiff;

/// Minimum rows for the changes, if there are any.
const LEAST_CHANGES: usize = 4;

/// Changes as lines that are safe to show, each with the time.
#[must_use]
pub fn watch_lines(changes: &SnapshotDiff, at: &str) -> Vec<String> {
    let line = |line: ctl_snapshot::ChangeLine| {
        let nodes = line.nodes.to_string();
        let what = line.what.map(|what| format!("{} on ", text::single_line(&what))).unwrap_or_default();
        format!("{at} {}: {what}{}: {}", line.verdict.as_str(), text::visible(&nodes), text::single_line(&line.text))
    };
    changes.lines().into_iter().map(line).collect()
}

/// A frame: a header, the nodes that have not answered (`late`), the overview, and the changes (`past`, newest first).
#[must_use]
pub fn watch_frame<'a>(
    (head, late): (&str, &[String]),
    ledger: &Ledger,
    roles: &NodeRoles,
    past: impl Iterator<Item = &'a str>,
    options: OverviewOptions,
) -> Vec<String> {
    let overview = Overview::of_nodes(ledger.results(), ledger.facts(), roles);
    let cut = |line: &str| match options.width {
        Some(width) => text::cut(line, usize::from(width)).into_owned(),
        None => line.to_owned(),
    };
    let mut frame = vec![cut(&format!("{}; {head}", summary(ledger, &overview)))];
    frame.extend(late.iter().map(|line| cut(line)));
    let past: Vec<&str> = past.collect();
    let height = options.height.map_or(usize::MAX, usize::from);
    let for_changes = if past.is_empty() { 0 } else { (past.len() + 2).min(LEAST_CHANGES + 2) };
    let room = height.saturating_sub(frame.len() + for_changes);
    let shown = lines(&overview, OverviewOptions { height: u16::try_from(room.saturating_add(2)).ok(), ..options });
    let more = shown.len().saturating_sub(room);
    if more > 0 {
        frame.extend(shown.into_iter().take(room.saturating_sub(1)));
        frame.push(format!("… and {} more lines", more + 1));
    } else {
        frame.extend(shown);
    }
    let room = height.saturating_sub(frame.len());
    if !past.is_empty() && room > 2 {
        frame.push(String::new());
        frame.push("changes, newest first:".to_owned());
        frame.extend(past.into_iter().take(room - 2).map(cut));
    }
    frame
}
