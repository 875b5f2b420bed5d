//! `ctl status`: a line a role, then what is not well, worst first.
//!
//! Here live [`OverviewSink`] and [`lines`], which the live views show too. They use `event`, `overview`, `nodeset` and
//! this room. What always holds: a service and its nodes are never cut; colour is never needed; text of a node is made
//! safe here. Start reading at [`lines`].

use std::cmp::Reverse;
use std::io::Write;

use super::grid::{Cell, Grid, Paint};
use super::notes::{given_up, took};
use super::{Sink, SinkError, text};
use crate::event::{Event, Ledger};
use crate::overview::{Health, Overview, RoleSummary, Trouble};

/// Fewer columns of a reason than these are not worth a line.
const LEAST_REASON: usize = 20;

/// How an overview is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OverviewOptions {
    /// Columns that a line must fit; none: as wide as it needs.
    pub width: Option<u16>,
    /// Whether it may be coloured.
    pub color: bool,
}

/// The first screen of a status, written when the run is over.
pub struct OverviewSink {
    options: OverviewOptions,
    out: Box<dyn Write + Send>,
    notes: Box<dyn Write + Send>,
}

impl OverviewSink {
    /// Writes the overview to `out`, and the summary to `notes`.
    #[must_use]
    pub fn new(options: OverviewOptions, out: Box<dyn Write + Send>, notes: Box<dyn Write + Send>) -> Self {
        Self { options, out, notes }
    }
}

impl Sink for OverviewSink {
    fn event(&mut self, _event: &Event, _ledger: &Ledger) -> Result<(), SinkError> {
        Ok(())
    }

    fn finish(&mut self, ledger: &Ledger, _exit_code: u8) -> Result<(), SinkError> {
        let overview = Overview::of(ledger.results(), &ledger.facts());
        let mut shown = lines(&overview, self.options).join("\n");
        shown.push('\n');
        let written = self.out.write_all(shown.as_bytes()).and_then(|()| self.out.flush());
        let summary = summary(ledger, &overview);
        drop(self.notes.write_all(summary.as_bytes()).and_then(|()| self.notes.flush()));
        Ok(written?)
    }
}

fn summary(ledger: &Ledger, overview: &Overview) -> String {
    let summary = ledger.summary();
    let well = overview.roles.iter().map(|role| role.services_well).sum::<usize>();
    let services = overview.roles.iter().map(|role| role.services).sum::<usize>();
    let (time, end) = (took(ledger.elapsed()), given_up(ledger));
    format!("{} nodes, {well} of {services} services well ({time}){end}; --all shows every row\n", summary.nodes)
}

/// An overview as lines that are safe to show.
#[must_use]
pub fn lines(overview: &Overview, options: OverviewOptions) -> Vec<String> {
    let rows = overview.roles.iter().map(row).collect();
    let titles = ["ROLE", "NODES", "SERVICES", "NOT WELL"].map(str::to_owned).to_vec();
    let width = options.width.map(usize::from);
    let grid = Grid { titles, rows, width, break_first: false, color: options.color };
    let mut lines: Vec<String> = grid.render().lines().map(str::to_owned).collect();
    if overview.troubles.is_empty() {
        lines.push("all is well".to_owned());
    }
    for trouble in &overview.troubles {
        lines.extend(of_trouble(trouble, options));
    }
    lines
}

fn row(role: &RoleSummary) -> Vec<Cell> {
    let wrong: Vec<String> =
        role.wrong.iter().map(|(Reverse(health), count)| format!("{count} {}", health.as_str())).collect();
    let worst = role.wrong.keys().next().map_or(Paint::Good, |Reverse(health)| paint(*health));
    let wrong = if wrong.is_empty() { "-".to_owned() } else { wrong.join(", ") };
    vec![
        Cell::new(role.role.as_deref().unwrap_or("-")),
        Cell::new(&format!("{}/{}", role.nodes_well, role.nodes)),
        Cell::new(&format!("{}/{}", role.services_well, role.services)),
        Cell::painted(&wrong, worst),
    ]
}

fn paint(health: Health) -> Paint {
    match health {
        Health::Well => Paint::Good,
        Health::Initializing | Health::Inactive => Paint::Doubtful,
        Health::Timeout | Health::Failed | Health::Down | Health::Unreachable => Paint::Bad,
    }
}

fn of_trouble(trouble: &Trouble, options: OverviewOptions) -> Vec<String> {
    let nodes = trouble.nodes.to_string();
    let head = match trouble.what.as_str() {
        "node" => format!("{}: ", text::visible(&nodes)),
        what => format!("{} on {}: ", text::visible(what), text::visible(&nodes)),
    };
    let reason = text::single_line(&trouble.reason);
    let Some(width) = options.width.map(usize::from) else { return vec![format!("{head}{reason}")] };
    match width.checked_sub(text::width(&head)) {
        Some(room) if room >= LEAST_REASON => vec![format!("{head}{}", text::cut(&reason, room))],
        _ => text::wrap(&format!("{head}{reason}"), width.saturating_sub(2))
            .into_iter()
            .enumerate()
            .map(|(number, part)| if number == 0 { part.to_owned() } else { format!("  {part}") })
            .collect(),
    }
}
