//! The two lines of the progress display, fitted to the terminal.
//!
//! Pure except for the given clock. Invariants: no line is wider than the terminal; the least important part is dropped
//! first; the node that the run waits for, the reason and the remaining time stay at any width.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nodeset::NodeSet;

use super::super::text;
use super::tally::{RunPosition, RunTally};
use ctl_event::{ActivityPhase, EventKind, PhaseKind};

/// Columns of the bar, without its brackets.
const BAR: u64 = 8;

/// Minimum columns of a text that is cut.
const LEAST: usize = 8;

/// The current activity of each node, and its start.
#[derive(Debug, Default)]
pub(super) struct ActivityBoard {
    nodes: BTreeMap<String, (ActivityPhase, Instant)>,
    /// The wait of the run as a whole.
    run: Option<(ActivityPhase, Instant)>,
}

/// The activity of one or more nodes, or of the run as a whole if there are none.
struct Activity<'a> {
    phase: &'a ActivityPhase,
    nodes: Vec<&'a str>,
    /// The earliest start among the nodes.
    since: Instant,
    /// Time until the last node times out.
    left: Option<Duration>,
}

impl ActivityBoard {
    pub(super) fn apply(&mut self, kind: &EventKind, now: Instant) {
        match kind {
            EventKind::Progress { node: Some(node), phase } if phase.is_over() => {
                self.nodes.remove(node);
            }
            EventKind::Progress { node: Some(node), phase } => {
                let since = since(self.nodes.get(node), phase, now);
                self.nodes.insert(node.clone(), (phase.clone(), since));
            }
            EventKind::Progress { node: None, phase } if phase.is_over() => self.run = None,
            EventKind::Progress { node: None, phase } => {
                self.run = Some((phase.clone(), since(self.run.as_ref(), phase, now)));
            }
            EventKind::NodeFinished { node, .. } => {
                self.nodes.remove(node);
            }
            // Both end a pause, which may not report its own end.
            EventKind::BatchStarted { .. } | EventKind::CancelBegan { .. } => self.run = None,
            EventKind::RunStarted(_)
            | EventKind::NodeStarted { .. }
            | EventKind::Inspected { .. }
            | EventKind::NodeFacts(_)
            | EventKind::Item(_)
            | EventKind::LogLines(_)
            | EventKind::PendingUpdate(_)
            | EventKind::Notice { .. }
            | EventKind::Gate { .. }
            | EventKind::Result(_)
            | EventKind::RunFinished { .. } => {}
        }
    }

    /// The longest activity, and the number of nodes with a different one.
    fn foremost(&self, now: Instant) -> Option<(Activity<'_>, usize)> {
        if let Some((phase, since)) = &self.run {
            let left = phase.limit.map(|limit| limit.saturating_sub(now.saturating_duration_since(*since)));
            return Some((Activity { phase, nodes: Vec::new(), since: *since, left }, 0));
        }
        // The activity that has lasted longest is most likely the one that holds up the run.
        let (first, _) = self.nodes.values().min_by_key(|(_, since)| *since)?;
        let alike = || self.nodes.iter().filter(|(_, (phase, _))| phase.is_same(first));
        let since = alike().map(|(_, (_, since))| *since).min()?;
        let left = |(phase, since): &(ActivityPhase, Instant)| {
            phase.limit.map(|limit| limit.saturating_sub(now.saturating_duration_since(*since)))
        };
        // The wait lasts until the last of the nodes times out.
        let left = alike().filter_map(|(_, activity)| left(activity)).max();
        let nodes: Vec<&str> = alike().map(|(node, _)| node.as_str()).collect();
        let others = self.nodes.len() - nodes.len();
        Some((Activity { phase: first, nodes, since, left }, others))
    }
}

/// The start of a phase. A phase that is reported again without a time keeps its start.
fn since(known: Option<&(ActivityPhase, Instant)>, phase: &ActivityPhase, now: Instant) -> Instant {
    match known {
        // A repeated report of the same phase must not reset its timer.
        Some((known, since)) if known.is_same(phase) && phase.elapsed.is_zero() => *since,
        _ => now.checked_sub(phase.elapsed).unwrap_or(now),
    }
}

/// The lines: the progress, and the current activity or wait if there is one.
pub(super) fn lines(
    tally: &RunTally,
    activities: &ActivityBoard,
    (elapsed, now): (Duration, Instant),
    (columns, color): (usize, bool),
) -> Vec<String> {
    let mut lines = vec![status(tally, elapsed, columns, color)];
    if let Some((activity, others)) = activities.foremost(now) {
        lines.push(activity.line(tally, others, now, columns));
    }
    lines
}

/// A part of the first line. The part with the highest rank is dropped first.
struct LinePart {
    text: String,
    rank: u8,
    is_bad: bool,
}

fn status(tally: &RunTally, elapsed: Duration, columns: usize, color: bool) -> String {
    let part = |rank, text: String| LinePart { text, rank, is_bad: false };
    let counts = tally.outcomes();
    let list = |bad: bool| {
        let counts = counts.iter().filter(|(outcome, _)| outcome.is_bad() == bad);
        let words: Vec<String> = counts.map(|(outcome, count)| format!("{count} {outcome}")).collect();
        (!words.is_empty()).then(|| words.join(", "))
    };
    let batch = tally.batch().filter(|batch| batch.number > 1 || batch.of.is_some_and(|of| of > 1));
    let of_role = batch.as_ref().and_then(|batch| batch.name.as_deref());
    let step = tally.step();
    let step_name = step.as_ref().and_then(|step| step.name.as_deref());
    let mut parts = vec![part(9, bar(tally.finished(), tally.nodes()))];
    parts.extend(tally.is_stopping().then(|| part(2, "stopping".to_owned())));
    parts.push(part(0, format!("{}/{} nodes", tally.finished(), tally.nodes())));
    parts.extend(list(true).map(|text| LinePart { text, rank: 1, is_bad: true }));
    parts.extend(batch.as_ref().map(|batch| part(3, format!("batch {}", of(batch)))));
    parts.extend(of_role.map(|role| part(6, format!("of {}", text::single_line(role)))));
    parts.extend(step.as_ref().map(|step| part(4, format!("step {}", of(step)))));
    parts.extend(step_name.map(|name| part(5, format!("({})", text::single_line(name)))));
    parts.extend(list(false).map(|text| part(7, text)));
    parts.push(part(8, format!("{} s", elapsed.as_secs())));
    // Measure without color: its escapes have no width.
    while parts.len() > 1 && text::width(&joined(&parts, false)) > columns {
        let Some(least) = parts.iter().enumerate().max_by_key(|(_, part)| part.rank).map(|(index, _)| index) else {
            break;
        };
        parts.remove(least);
    }
    match joined(&parts, color) {
        line if parts.len() == 1 => text::cut(&line, columns).into_owned(),
        line => line,
    }
}

fn joined(parts: &[LinePart], color: bool) -> String {
    let mut line = String::new();
    for part in parts {
        match (line.is_empty(), part.rank) {
            (true, _) => {}
            // These parts belong to the part before them.
            (false, 5 | 6) => line.push(' '),
            (false, _) if line.ends_with(']') => line.push(' '),
            (false, _) => line.push_str(" · "),
        }
        if part.is_bad && color {
            line.push_str(&console::style(&part.text).force_styling(true).red().bold().to_string());
        } else {
            line.push_str(&part.text);
        }
    }
    line
}

/// `2/6`, or `2` if the total is unknown.
pub(super) fn of(position: &RunPosition) -> String {
    match position.of {
        Some(of) => format!("{}/{of}", position.number),
        None => position.number.to_string(),
    }
}

fn bar(done: u64, all: u64) -> String {
    // The number of nodes is 0 until the run starts.
    let filled = (done * BAR).checked_div(all).unwrap_or(0).min(BAR);
    let columns = |count: u64| usize::try_from(count).unwrap_or(0);
    let head = if filled > 0 && filled < BAR { ">" } else { "" };
    let body = "=".repeat(columns(filled) - head.len());
    format!("[{body}{head}{}]", " ".repeat(columns(BAR - filled)))
}

impl Activity<'_> {
    /// The longest form that fits; if none does, the last one, cut.
    fn line(&self, tally: &RunTally, others: usize, now: Instant, columns: usize) -> String {
        let passed = now.saturating_duration_since(self.since).as_secs();
        let who = who(&self.nodes, columns);
        let why = self.phase.why.as_deref().map(text::single_line);
        let what = text::single_line(&self.phase.what);
        let left = self.left.map(|left| left.as_secs());
        let limit = self.phase.limit.map(|limit| limit.as_secs());
        let still = match (left, limit) {
            (Some(left), Some(limit)) => format!(", {left} s of {limit} s left"),
            _ => String::new(),
        };
        let still_short = left.map(|left| format!(", {left} s left")).unwrap_or_default();
        let since = if passed == 0 { String::new() } else { format!(" for {passed} s") };
        let others = match others {
            0 => String::new(),
            1 => " (+1 node)".to_owned(),
            more => format!(" (+{more} nodes)"),
        };
        let service = self.phase.service.as_deref().map(|name| format!(" ({})", text::single_line(name)));
        let service = service.unwrap_or_default();
        match (self.phase.kind, why) {
            (PhaseKind::Pause, _) => {
                let next = tally.batch().map(|batch| RunPosition { number: batch.number + 1, ..batch });
                let next = next.map(|next| format!(" before batch {}", of(&next))).unwrap_or_default();
                fit(
                    &[format!("pausing{next}{still}"), format!("pausing{still_short}")],
                    ("", "pausing", &still_short),
                    columns,
                )
            }
            (PhaseKind::Gate | PhaseKind::Lock, why) => {
                let why = why.unwrap_or_default();
                let still = if left.is_none() { since.clone() } else { still };
                let still_short = if left.is_none() { since } else { still_short };
                fit(
                    &[
                        format!("waiting for {who}: {why}{still}{service}{others}"),
                        format!("waiting for {who}: {why}{still}{service}"),
                        format!("waiting for {who}: {why}{still}"),
                        format!("waiting for {who}: {why}{still_short}"),
                        format!("{who}: {why}{still_short}"),
                    ],
                    (&format!("{who}: "), &why, &still_short),
                    columns,
                )
            }
            (PhaseKind::Work, Some(why)) => {
                let doing = joint(&what, &who);
                fit(
                    &[
                        format!("{doing}: {why}{since}{still_short}{others}"),
                        format!("{doing}: {why}{since}{still_short}"),
                        format!("{doing}: {why}{since}"),
                        format!("{who}: {why}{since}{still_short}"),
                    ],
                    (&format!("{who}: "), &why, &since),
                    columns,
                )
            }
            (PhaseKind::Work, None) => {
                let doing = joint(&what, &who);
                let end = if left.is_none() { &since } else { &still_short };
                fit(
                    &[
                        format!("{doing}{since}{still_short}{others}"),
                        format!("{doing}{since}{still_short}"),
                        format!("{doing}{end}"),
                        format!("{what} {who}{end}"),
                    ],
                    ("", &what, &format!(" {who}{end}")),
                    columns,
                )
            }
        }
    }
}

/// `connecting to a6s02`, `querying supervisord on a6s02`.
fn joint(what: &str, who: &str) -> String {
    if what == "connecting" { format!("{what} to {who}") } else { format!("{what} on {who}") }
}

/// The node set, folded; if that is too wide, one node and the number of the others.
fn who(nodes: &[&str], columns: usize) -> String {
    let folded = text::visible(&NodeSet::from_names(nodes).to_string()).into_owned();
    match nodes {
        [first, .., _] if text::width(&folded) > (columns / 3).max(12) => {
            format!("{} and {} more", text::single_line(first), nodes.len() - 1)
        }
        _ => folded,
    }
}

/// The first form that fits, else the last one: its middle part is cut first, then the whole.
fn fit(forms: &[String], (before, middle, after): (&str, &str, &str), columns: usize) -> String {
    if let Some(form) = forms.iter().find(|form| text::width(form) <= columns) {
        return form.clone();
    }
    let room = columns.saturating_sub(text::width(before) + text::width(after)).max(LEAST);
    text::cut(&format!("{before}{}{after}", text::cut(middle, room)), columns).into_owned()
}
