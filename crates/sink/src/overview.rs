//! The default output of `ctl status`: one line per role, then only the problems, worst first, folded.
//!
//! Here live [`OverviewSink`] and [`lines`], its text. They use `event`, `overview` and this module. Invariants:
//! services and node sets are never cut; a reason is cut only at a terminal, and only if the whole text would not fit
//! in its height; color repeats information that the text already has. Start reading at [`lines`].

use std::io::Write;

use nodeset::NodeSet;

use super::footer::{counted, given_up, notes, took};
use super::grid::CellPaint;
use super::table::age;
use super::{Sink, SinkError, hint, text};
use ctl_event::{Ledger, RunEvent};
use ctl_overview::{ClusterIssue, NodeRoles, Oddity, Outlier, Overview, RoleSummary, TargetHealth};

/// Indentation of a continuation line.
const INDENT: usize = 4;

/// Indentation of a continuation line of a hint: the width of its arrow.
const HINT_INDENT: usize = 2;

/// Minimum columns for a reason; with less it gets a line of its own.
const LEAST_REASON: usize = 20;

/// An outlier lists up to this many services; with more it lists one less.
const OUTLIERS_NAMED: usize = 3;

/// Layout of an overview.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OverviewOptions {
    /// Whether each node gets a line of its own instead of sharing one with nodes in the same state.
    pub unfold: bool,
    /// Columns of the terminal; `None`: lines have no limit.
    pub width: Option<u16>,
    /// Rows of the terminal, which optional lines leave to required ones; `None`: no limit.
    pub height: Option<u16>,
    /// Whether to use color.
    pub color: bool,
}

/// An overview, written at the end of the run.
pub struct OverviewSink {
    options: OverviewOptions,
    roles: NodeRoles,
    out: Box<dyn Write + Send>,
    notes: Box<dyn Write + Send>,
}

impl OverviewSink {
    /// Writes the overview to `out`, and the hints and the summary to `notes`.
    #[must_use]
    pub fn new(
        options: OverviewOptions,
        roles: NodeRoles,
        out: Box<dyn Write + Send>,
        notes: Box<dyn Write + Send>,
    ) -> Self {
        Self { options, roles, out, notes }
    }
}

impl Sink for OverviewSink {
    fn event(&mut self, _event: &RunEvent, _ledger: &Ledger) -> Result<(), SinkError> {
        Ok(())
    }

    fn finish(&mut self, ledger: &Ledger, _exit_code: u8) -> Result<(), SinkError> {
        let overview = Overview::of_nodes(ledger.results(), ledger.facts(), &self.roles);
        let shown = lines(&overview, self.options);
        let text: String = shown.iter().map(|line| format!("{line}\n")).collect();
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        // Write the notes even if stdout is closed; a closed stderr is not an error.
        let notes = self.notes_of(ledger, &overview, shown.len());
        drop(self.notes.write_all(notes.as_bytes()).and_then(|()| self.notes.flush()));
        Ok(written?)
    }
}

impl OverviewSink {
    /// The hints that fit below `shown` lines, and the summary.
    fn notes_of(&self, ledger: &Ledger, overview: &Overview, shown: usize) -> String {
        if overview.nodes == 0 {
            return notes(ledger, true);
        }
        let summary = summary(ledger, overview);
        // Keep the last row of the terminal for the prompt.
        let used = shown + self.rows(&summary) + 1;
        let mut room = self.options.height.map(|height| usize::from(height).saturating_sub(used));
        let mut said = String::new();
        for hint in hints(ledger, overview) {
            let hint = self.wrapped(&hint);
            if let Some(left) = room {
                // Stop at the first hint that does not fit, so that no less important one takes its place.
                let Some(left) = left.checked_sub(hint.len()) else { break };
                room = Some(left);
            }
            hint.iter().for_each(|line| said.push_str(&format!("{line}\n")));
        }
        format!("{said}{summary}\n")
    }

    /// A hint in lines that fit the terminal, those after the first indented.
    fn wrapped(&self, hint: &str) -> Vec<String> {
        let Some(width) = self.options.width.map(usize::from) else { return vec![hint.to_owned()] };
        let lines = text::wrap(hint, width.saturating_sub(HINT_INDENT).max(1));
        let indent = |(place, line): (usize, &str)| {
            if place == 0 { line.to_owned() } else { format!("{:HINT_INDENT$}{line}", "") }
        };
        lines.into_iter().enumerate().map(indent).collect()
    }

    /// Terminal rows of a line.
    fn rows(&self, line: &str) -> usize {
        self.options.width.map_or(1, |width| text::width(line).div_ceil(usize::from(width).max(1)).max(1))
    }
}

/// `12 nodes, 11 well; 77 services, 75 well (0.8 s)`
pub(super) fn summary(ledger: &Ledger, overview: &Overview) -> String {
    let sum = |of: fn(&RoleSummary) -> usize| overview.roles.iter().map(of).sum::<usize>();
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    format!(
        "{}, {} healthy; {}, {} healthy ({}){}",
        counted(number(overview.nodes), "node"),
        overview.nodes_well,
        counted(number(sum(|role| role.services)), "service"),
        sum(|role| role.services_well),
        took(ledger.elapsed()),
        given_up(ledger)
    )
}

/// A hint, with the targets that need it.
struct OverviewHint<'a> {
    /// Without the names of its node and role.
    text: String,
    /// The place of its problem.
    place: usize,
    nodes: Vec<&'a str>,
    roles: Vec<&'a str>,
}

/// Each hint once, in the order of the problems.
fn hints(ledger: &Ledger, overview: &Overview) -> Vec<String> {
    let mut hints: Vec<OverviewHint<'_>> = Vec::new();
    for result in ledger.results() {
        let Some(hint) = result.failure.as_ref().and_then(|failure| failure.hint.as_deref()) else { continue };
        let role = result.role.as_deref();
        let text = hint::of_any_target(hint, &result.node, role);
        if let Some(known) = hints.iter_mut().find(|known| known.text == text) {
            known.nodes.push(&result.node);
            known.roles.extend(role);
            continue;
        }
        let health = Some(TargetHealth::of(result));
        let mut troubles = overview.troubles.iter();
        let place = troubles.position(|trouble| trouble.health == health && trouble.nodes.contains(&result.node));
        let (nodes, roles) = (vec![result.node.as_str()], role.into_iter().collect());
        hints.push(OverviewHint { text, place: place.unwrap_or(usize::MAX), nodes, roles });
    }
    hints.sort_by_key(|hint| hint.place);
    let line = |OverviewHint { text, nodes, roles, .. }: OverviewHint<'_>| {
        let set = NodeSet::from_names(&nodes).to_string();
        format!("→ {}: {}", text::visible(&set), hint::for_targets(&text, &nodes, &roles))
    };
    hints.into_iter().map(line).collect()
}

/// The overview as lines: roles, problems, findings, outliers, nodes in maintenance.
#[must_use]
pub(super) fn lines(overview: &Overview, options: OverviewOptions) -> Vec<String> {
    let mut lines = roles(&overview.roles, options);
    if lines.is_empty() {
        return lines;
    }
    let said = said(overview, !options.unfold);
    if overview.troubles.iter().all(|trouble| trouble.health.is_none()) {
        lines.push(all_well(overview, options.color));
    } else {
        lines.push(String::new());
    }
    lines.extend(unread(&overview.without_role, options.width));
    let laid_out = |cuts| -> Vec<String> { said.iter().flat_map(|said| said.lines(options, cuts)).collect() };
    let whole = laid_out(false);
    // The summary and the prompt need one row each.
    let fits = options.height.is_none_or(|height| lines.len() + whole.len() + 2 <= usize::from(height));
    lines.extend(if fits { whole } else { laid_out(true) });
    lines
}

fn all_well(overview: &Overview, color: bool) -> String {
    let nodes = overview.nodes_well;
    let plural = if nodes == 1 { "" } else { "s" };
    let left = match overview.maintenance.iter().map(|left| left.nodes.len()).sum::<u64>() {
        0 => String::new(),
        left => format!("; {left} in maintenance"),
    };
    format!("{} on {nodes} node{plural}{left}", paint("all healthy", CellPaint::Good, color))
}

/// The nodes that nobody would miss in the other lines.
fn unread(nodes: &[String], width: Option<u16>) -> Option<String> {
    let names: Vec<&str> = nodes.iter().map(String::as_str).collect();
    let folded = NodeSet::from_names(&names).to_string();
    let line = format!("not read, no role in the inventory: {}", text::visible(&folded));
    let line = width.map_or(line.clone(), |width| text::cut(&line, usize::from(width)).into_owned());
    (!nodes.is_empty()).then_some(line)
}

/// One line per role, in columns.
fn roles(roles: &[RoleSummary], options: OverviewOptions) -> Vec<String> {
    let rows: Vec<[String; 3]> = roles
        .iter()
        .map(|role| {
            let name = role.role.as_deref().map_or_else(|| "(no role)".to_owned(), text::single_line);
            let nodes = format!("{}/{} nodes healthy", role.nodes_well, role.nodes);
            [name, nodes, format!("{}/{} services", role.services_well, role.services)]
        })
        .collect();
    let widest = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| text::width(cell)).max();
    let [first, second, third] = [0, 1, 2].map(|column| widest(column).unwrap_or(0));
    // On a narrow terminal the problems matter more than the service counts.
    let width = options.width.map(usize::from);
    let is_narrow = width.is_some_and(|width| first + second + third + 6 + LEAST_REASON > width);
    let line = |([name, nodes, services], role): (&[String; 3], &RoleSummary)| {
        let mut line = format!("{name:first$}  {nodes:>second$}");
        if !is_narrow {
            line.push_str(&format!("  {services:>third$}"));
        }
        let mut words = wrong(role);
        if words.is_empty() {
            return line;
        }
        if let Some(width) = width {
            words = text::cut(&words, width.saturating_sub(text::width(&line) + 2)).into_owned();
        }
        let worst = role.wrong.keys().next().map_or(CellPaint::Plain, |health| health_paint(health.0));
        format!("{line}  {}", paint(&words, worst, options.color)).trim_end().to_owned()
    };
    rows.iter().zip(roles).map(line).collect()
}

/// The problems of a role, in short.
fn wrong(role: &RoleSummary) -> String {
    let mut words: Vec<String> =
        role.wrong.iter().map(|(health, count)| format!("{count} {}", health.0.as_str())).collect();
    if role.maintenance > 0 {
        words.push(format!("{} in maintenance", role.maintenance));
    }
    words.join(", ")
}

/// `contrail-collector on a6s[03,07]: initializing (Database connection down)`, in parts that are safe to show.
#[derive(Debug, Clone, PartialEq, Eq)]
struct IssueLine {
    /// The services; empty if the line is about the node itself.
    what: Vec<String>,
    nodes: String,
    reason: String,
    /// Paints the first token of the reason.
    paint: CellPaint,
}

/// All lines below the roles.
fn said(overview: &Overview, fold: bool) -> Vec<IssueLine> {
    let mut troubles: Vec<IssueLine> = Vec::new();
    let mut before: Option<&ClusterIssue> = None;
    for trouble in &overview.troubles {
        // Services with the same issue on the same nodes share a line, such as a group that was stopped together.
        let is_alike = before.is_some_and(|other| {
            other.what != ClusterIssue::NODE
                && (other.health, &other.role, &other.nodes, &other.reason)
                    == (trouble.health, &trouble.role, &trouble.nodes, &trouble.reason)
        });
        match troubles.last_mut() {
            Some(last) if fold && is_alike => last.what.push(text::single_line(&trouble.what)),
            Some(_) | None => troubles.extend(each(&trouble.nodes, fold, &IssueLine::of_trouble(trouble))),
        }
        before = Some(trouble);
    }
    let outliers =
        overview.outliers.iter().flat_map(|outlier| each(&outlier.nodes, fold, &IssueLine::of_outlier(outlier)));
    let left = overview.maintenance.iter().flat_map(|left| each(&left.nodes, fold, &IssueLine::of_trouble(left)));
    troubles.into_iter().chain(outliers).chain(left).collect()
}

/// The subject of an outlier, and its difference from the others; safe to show.
pub(super) fn outlier_words(outlier: &Outlier) -> (String, String) {
    let said = IssueLine::of_outlier(outlier);
    (said.what.join(", "), said.reason)
}

/// One line for all nodes, or one for each.
fn each(nodes: &NodeSet, fold: bool, said: &IssueLine) -> Vec<IssueLine> {
    let of = |nodes: String| IssueLine { nodes: text::visible(&nodes).into_owned(), ..said.clone() };
    if fold { vec![of(nodes.to_string())] } else { nodes.iter().map(of).collect() }
}

impl IssueLine {
    fn of_trouble(trouble: &ClusterIssue) -> Self {
        let what = if trouble.what == ClusterIssue::NODE { Vec::new() } else { vec![text::single_line(&trouble.what)] };
        let paint = trouble.health.map_or(CellPaint::Plain, health_paint);
        Self { what, nodes: String::new(), reason: text::single_line(&trouble.reason), paint }
    }

    fn of_outlier(outlier: &Outlier) -> Self {
        // At least two remain, so that "1 other services" never appears.
        let named = if outlier.what.len() > OUTLIERS_NAMED { OUTLIERS_NAMED - 1 } else { OUTLIERS_NAMED };
        let mut what: Vec<String> = outlier.what.iter().take(named).map(|what| text::single_line(what)).collect();
        if outlier.what.len() > named {
            what.push(format!("{} other services", outlier.what.len() - named));
        }
        if what.is_empty() {
            what.extend(outlier.role.as_deref().map(text::single_line));
        }
        let reason = match &outlier.odd {
            Oddity::Younger { uptime_s, others_s } => format!("up {}, elsewhere {}", age(*uptime_s), age(*others_s)),
            Oddity::Older { uptime_s, others_s } => {
                format!("not restarted with the others: up {}, elsewhere {}", age(*uptime_s), age(*others_s))
            }
            Oddity::Version { found, others } => {
                format!("version {}, elsewhere {}", text::single_line(found), text::single_line(others))
            }
        };
        Self { what, nodes: String::new(), reason, paint: CellPaint::Plain }
    }

    /// Lines that fit the terminal. `cuts`: cut the reason so that it stays on one line.
    fn lines(&self, options: OverviewOptions, cuts: bool) -> Vec<String> {
        let head = match self.what.as_slice() {
            [] => format!("{}:", self.nodes),
            what => format!("{} on {}:", what.join(", "), self.nodes),
        };
        let Some(width) = options.width.map(usize::from) else {
            return vec![format!("{head} {}", self.painted(&self.reason, options.color))];
        };
        let inner = width.saturating_sub(INDENT);
        let mut lines: Vec<String> = if text::width(&head) < width {
            vec![head]
        } else {
            text::wrap(&head, inner).into_iter().map(str::to_owned).collect()
        };
        let taken = lines.last().map_or(0, |line| text::width(line)) + if lines.len() > 1 { INDENT } else { 0 } + 1;
        let room = width.saturating_sub(taken);
        let fits = text::width(&self.reason) <= room;
        let columns = if fits || room >= LEAST_REASON { room } else { inner };
        let reason = if cuts { text::cut(&self.reason, columns) } else { self.reason.as_str().into() };
        let begin = text::wrap(&reason, columns).first().copied().unwrap_or_default().to_owned();
        let rest = reason.strip_prefix(&begin).unwrap_or_default().trim_start();
        let painted = self.painted(&begin, options.color);
        match lines.last_mut() {
            // The reason continues the line of the head; otherwise it starts a line of its own.
            Some(last) if columns == room => last.push_str(&format!(" {painted}")),
            Some(_) | None => lines.push(painted),
        }
        if !rest.is_empty() {
            lines.extend(text::wrap(rest, inner).into_iter().map(str::to_owned));
        }
        let indent = |(place, line): (usize, String)| if place == 0 { line } else { format!("{:INDENT$}{line}", "") };
        lines.into_iter().enumerate().map(indent).collect()
    }

    /// A text that starts like the reason, with its first token painted.
    fn painted(&self, text: &str, color: bool) -> String {
        let (word, rest) = text.split_at(text.find([' ', ':', '…']).unwrap_or(text.len()));
        format!("{}{rest}", paint(word, self.paint, color))
    }
}

const fn health_paint(health: TargetHealth) -> CellPaint {
    match health {
        TargetHealth::Well => CellPaint::Good,
        TargetHealth::Initializing | TargetHealth::Inactive => CellPaint::Doubtful,
        TargetHealth::Timeout | TargetHealth::Failed | TargetHealth::Down | TargetHealth::Unreachable => CellPaint::Bad,
    }
}

fn paint(words: &str, paint: CellPaint, color: bool) -> String {
    let style = console::Style::new().force_styling(color);
    let style = match paint {
        CellPaint::Plain => return words.to_owned(),
        CellPaint::Good => style.green(),
        CellPaint::Doubtful => style.yellow(),
        CellPaint::Bad => style.red().bold(),
        CellPaint::Faint => style.dim(),
    };
    style.apply_to(words).to_string()
}

#[cfg(test)]
mod tests;
