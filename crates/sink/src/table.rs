//! `-o table` and `-o wide`: the results for people, with hints for failures.
//!
//! Here live [`TableSink`] and [`TableOptions`]. They use `event`, `overview`, `nodeset` and this module. Invariants:
//! the table goes to one writer, everything else to another; rows keep the order of the ledger, except that bad ones
//! come last, next to the prompt; names of outcomes and states are those of the JSON. Start reading at
//! `TableContent::new`; the layout is in `grid.rs`, the lines below the table in `footer.rs`.

use std::collections::HashMap;
use std::io::Write;

use nodeset::NodeSet;

use super::command_output::printed;
use super::footer::notes;
use super::grid::{CellPaint, Grid, GridCell};
use super::{Sink, SinkError, hint, text};
use ctl_event::{FunctionalStatus, Ledger, Outcome, ProcessState, RunEvent, TargetResult};
use ctl_overview::{TargetHealth, with_clock};

/// Folding starts above this number of rows, unless the user decides otherwise.
const FOLD_PAST: usize = 32;

/// Layout of a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TableOptions {
    /// More columns, always the same ones, and the rows that are `not_configured`.
    pub wide: bool,
    /// Whether to group equal rows under a folded node set; `None`: above 32 rows.
    pub fold: Option<bool>,
    /// Whether to show the output of commands node by node, even if it is the same.
    pub each_node: bool,
    /// Columns of the terminal that the table must fit; `None`: no limit.
    pub width: Option<u16>,
    /// Whether to use color.
    pub color: bool,
}

/// A table, written at the end of the run.
pub struct TableSink {
    options: TableOptions,
    out: Box<dyn Write + Send>,
    notes: Box<dyn Write + Send>,
}

impl TableSink {
    /// Writes the table to `out`, and failures, hints and the summary to `notes`.
    #[must_use]
    pub fn new(options: TableOptions, out: Box<dyn Write + Send>, notes: Box<dyn Write + Send>) -> Self {
        Self { options, out, notes }
    }
}

impl Sink for TableSink {
    fn event(&mut self, _event: &RunEvent, _ledger: &Ledger) -> Result<(), SinkError> {
        Ok(())
    }

    fn finish(&mut self, ledger: &Ledger, _exit_code: u8) -> Result<(), SinkError> {
        let table = TableContent::new(ledger, self.options);
        let text = printed(ledger.results(), self.options.each_node) + &table.render();
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        // Write the notes even if stdout is closed; a closed stderr is not an error.
        let notes = notes(ledger, text.is_empty());
        drop(self.notes.write_all(notes.as_bytes()).and_then(|()| self.notes.flush()));
        Ok(written?)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TableColumn {
    Node,
    Nodes,
    Address,
    Role,
    Supervisor,
    Service,
    Outcome,
    State,
    Pid,
    Uptime,
    Via,
    Batch,
    Time,
    Message,
}

impl TableColumn {
    const ALL: [Self; 14] = [
        Self::Node,
        Self::Nodes,
        Self::Address,
        Self::Role,
        Self::Supervisor,
        Self::Service,
        Self::Outcome,
        Self::State,
        Self::Pid,
        Self::Uptime,
        Self::Via,
        Self::Batch,
        Self::Time,
        Self::Message,
    ];

    const fn title(self) -> &'static str {
        match self {
            Self::Node => "NODE",
            Self::Nodes => "NODES",
            Self::Address => "ADDRESS",
            Self::Role => "ROLE",
            Self::Supervisor => "SUPERVISOR",
            Self::Service => "SERVICE",
            Self::Outcome => "OUTCOME",
            Self::State => "STATE",
            Self::Pid => "PID",
            Self::Uptime => "UPTIME",
            Self::Via => "VIA",
            Self::Batch => "BATCH",
            Self::Time => "TIME",
            Self::Message => "MESSAGE",
        }
    }
}

/// The rows and columns to show.
struct TableContent<'a> {
    options: TableOptions,
    folded: bool,
    /// Whether the run only reads: then the state matters, not the outcome.
    reading: bool,
    rows: Vec<TableRow<'a>>,
}

impl<'a> TableContent<'a> {
    fn new(ledger: &'a Ledger, options: TableOptions) -> Self {
        let reading = ledger.head().and_then(|head| head.action.as_deref()).is_none_or(|action| action == "status");
        // The output of a successful command is above the table; list only commands that failed. A sequence is shown whole.
        let is_told = |result: &TargetResult| {
            result.command.is_some() && result.item.is_none() && result.outcome == Outcome::Changed
        };
        let shown =
            |result: &&TargetResult| options.wide || (result.outcome != Outcome::NotConfigured && !is_told(result));
        let results: Vec<&TargetResult> = ledger.results().iter().filter(shown).collect();
        let folded = options.fold.unwrap_or(results.len() > FOLD_PAST);
        let mut rows = if folded { fold(&results) } else { results.into_iter().map(TableRow::new).collect() };
        // Stable: within one severity the rows keep the order of the ledger.
        rows.sort_by_key(|row| row.trouble(reading));
        Self { options, folded, reading, rows }
    }

    fn render(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let mut columns: Vec<TableColumn> = TableColumn::ALL.into_iter().filter(|column| self.shows(*column)).collect();
        let mut grid = self.grid(&columns);
        if !self.options.wide {
            // Columns that a narrow terminal can drop, the least important first.
            for spare in [TableColumn::Uptime, TableColumn::Pid, TableColumn::Role] {
                if !grid.is_crowded() {
                    break;
                }
                // A grid measures all of its columns: build it anew without this one.
                columns.retain(|column| *column != spare);
                grid = self.grid(&columns);
            }
        }
        grid.render()
    }

    fn grid(&self, columns: &[TableColumn]) -> Grid {
        let cells = |row: &TableRow<'_>| columns.iter().map(|column| self.cell(row, *column)).collect();
        Grid {
            titles: columns.iter().map(|column| column.title().to_owned()).collect(),
            rows: self.rows.iter().map(cells).collect(),
            // Wide rows do not wrap: they are made for scrolling and cutting.
            width: self.options.width.filter(|_| !self.options.wide).map(usize::from),
            break_first: self.folded,
            color: self.options.color,
        }
    }

    /// A terminal shows only the kind of a failure here, and the whole failure below the table.
    fn cell(&self, row: &TableRow<'_>, column: TableColumn) -> GridCell {
        match (&row.first.failure, column) {
            // The footer has the message with its hint, once for all nodes: the table only names the kind.
            (Some(failure), TableColumn::Message) if self.options.width.is_some() && !self.options.wide => {
                GridCell::painted(failure.kind.as_str(), message_paint(row.first.outcome))
            }
            _ => row.cell(column),
        }
    }

    /// `wide` always has the same columns; otherwise empty columns are dropped.
    fn shows(&self, column: TableColumn) -> bool {
        match column {
            TableColumn::Node => true,
            TableColumn::Nodes => self.folded,
            TableColumn::Address
            | TableColumn::Supervisor
            | TableColumn::Via
            | TableColumn::Batch
            | TableColumn::Time => self.options.wide,
            TableColumn::Outcome => {
                // If a status read every row, a column of `ok` says nothing.
                let read = |row: &TableRow<'_>| row.first.outcome == Outcome::Ok;
                self.options.wide || !self.reading || !self.rows.iter().all(read)
            }
            TableColumn::Role
            | TableColumn::Service
            | TableColumn::State
            | TableColumn::Pid
            | TableColumn::Uptime
            | TableColumn::Message => self.options.wide || !self.rows.iter().all(|row| row.cell(column).is_blank()),
        }
    }
}

/// Results that share a row: they differ only in nodes, pids and times. Never empty.
struct TableRow<'a> {
    first: &'a TargetResult,
    results: Vec<&'a TargetResult>,
}

impl<'a> TableRow<'a> {
    fn new(result: &'a TargetResult) -> Self {
        Self { first: result, results: vec![result] }
    }

    /// Higher is worse.
    fn trouble(&self, reading: bool) -> u8 {
        if self.first.outcome.is_bad() {
            2
        } else {
            u8::from(reading && TargetHealth::of(self.first) != TargetHealth::Well)
        }
    }

    fn nodes(&self) -> NodeSet {
        NodeSet::from_names(self.results.iter().map(|result| &result.node))
    }

    fn cell(&self, column: TableColumn) -> GridCell {
        let first = self.first;
        match column {
            TableColumn::Node if self.results.len() == 1 => GridCell::new(&first.node),
            TableColumn::Node => GridCell::new(&self.nodes().to_string()),
            TableColumn::Nodes => GridCell::new(&self.nodes().len().to_string()),
            TableColumn::Address => self.common(|result| result.address.clone()),
            TableColumn::Role => self.common(|result| result.role.clone()),
            TableColumn::Supervisor => self.common(|result| result.supervisor.clone()),
            TableColumn::Service => self.common(target),
            TableColumn::Outcome => GridCell::painted(first.outcome.as_str(), outcome_paint(first.outcome)),
            TableColumn::State => self.state(),
            TableColumn::Pid => self.common(|result| result.pid.map(|pid| pid.to_string())),
            TableColumn::Uptime => self.range(|result| result.uptime_s, age),
            TableColumn::Via => self.common(|result| result.via.map(|via| via.to_string())),
            TableColumn::Batch => self.common(|result| result.batch.map(|batch| batch.to_string())),
            TableColumn::Time => self.range(|result| result.duration_ms, seconds),
            TableColumn::Message => GridCell::painted(&message(first), message_paint(first.outcome)),
        }
    }

    /// The state, and the functional state of the service if it adds something.
    fn state(&self) -> GridCell {
        // `active` adds nothing to a state.
        let functional = self.first.functional.as_ref().filter(|status| **status != FunctionalStatus::Active);
        let words = match (self.first.state, functional.map(|status| text::single_line(status.as_str()))) {
            (None, None) => return GridCell::new("-"),
            (None, Some(word)) => word,
            (Some(state), None) => state.to_string(),
            (Some(state), Some(word)) => format!("{state} ({word})"),
        };
        let paint = self.first.state.map_or(CellPaint::Plain, state_paint);
        // A service that runs but does not work must not be green.
        let doubtful = paint != CellPaint::Bad && !functional.is_none_or(FunctionalStatus::is_healthy);
        let paint = if doubtful { CellPaint::Doubtful } else { paint };
        GridCell::painted(&words, paint)
    }

    /// The value that all results of the row share.
    fn common(&self, value: impl Fn(&TargetResult) -> Option<String>) -> GridCell {
        let first = value(self.first);
        // A row of several nodes shows only values that all of them share.
        let same = self.results.iter().all(|result| value(result) == first);
        match first.filter(|_| same) {
            Some(words) => GridCell::new(&words),
            None => GridCell::new("-"),
        }
    }

    fn range(&self, value: impl Fn(&TargetResult) -> Option<u64>, show: impl Fn(u64) -> String) -> GridCell {
        let values = || self.results.iter().filter_map(|result| value(result));
        match (values().min().map(&show), values().max().map(&show)) {
            // Compare the shown values: two that round alike are no range.
            (Some(least), Some(most)) if least != most => GridCell::new(&format!("{least}..{most}")),
            (Some(only), _) => GridCell::new(&only),
            (None, _) => GridCell::new("-"),
        }
    }
}

/// Groups equal results, in the order of the first of each.
fn fold<'a>(results: &[&'a TargetResult]) -> Vec<TableRow<'a>> {
    let mut rows: Vec<TableRow<'a>> = Vec::new();
    let mut places = HashMap::new();
    for result in results {
        let hint = result.failure.as_ref().and_then(|failure| failure.hint.as_deref());
        // The hint names its node: compare it without, so that nodes with the same advice fold.
        let hint = hint.map(|hint| hint::of_any_target(hint, &result.node, None));
        let says = (result.outcome, result.state, result.functional.as_ref(), message(result), hint);
        let place = *places
            .entry((result.role.as_deref(), result.item.as_ref(), result.service.as_deref(), says))
            .or_insert(rows.len());
        match rows.get_mut(place) {
            Some(row) => row.results.push(result),
            None => rows.push(TableRow::new(result)),
        }
    }
    rows
}

/// The target of a result, with the other node on which it is.
fn target(result: &TargetResult) -> Option<String> {
    let name = result.target_name()?;
    Some(match result.item.as_ref().and_then(|label| label.on.as_ref()) {
        Some(on) => format!("{name} (on {on})"),
        None => name.into_owned(),
    })
}

/// The message of a result: its failure first, then the reason that the service is not active.
fn message(result: &TargetResult) -> String {
    let failure = result.failure.as_ref().map(|failure| format!("{}: {}", failure.kind, failure.message));
    // A result may have its reason as its message, too, such as one that ended as expected.
    let reason = result.functional_reason.as_ref().filter(|reason| **reason != result.message);
    let own = with_clock(&result.message).into_owned();
    let told = [failure.as_ref(), reason, Some(&own)].into_iter().flatten();
    let told: Vec<&str> = told.map(String::as_str).filter(|words| !words.is_empty()).collect();
    text::single_line(&told.join("; "))
}

const fn outcome_paint(outcome: Outcome) -> CellPaint {
    match outcome {
        Outcome::NotConfigured => CellPaint::Faint,
        Outcome::Ok | Outcome::Changed => CellPaint::Good,
        Outcome::Skipped | Outcome::NotStarted => CellPaint::Doubtful,
        Outcome::Unreachable | Outcome::TimedOut | Outcome::Failed | Outcome::Unknown => CellPaint::Bad,
    }
}

const fn message_paint(outcome: Outcome) -> CellPaint {
    match outcome_paint(outcome) {
        CellPaint::Bad => CellPaint::Bad,
        CellPaint::Plain | CellPaint::Good | CellPaint::Doubtful | CellPaint::Faint => CellPaint::Plain,
    }
}

const fn state_paint(state: ProcessState) -> CellPaint {
    match state {
        ProcessState::Running => CellPaint::Good,
        ProcessState::Starting | ProcessState::Stopping | ProcessState::Stopped | ProcessState::Exited => {
            CellPaint::Doubtful
        }
        ProcessState::Backoff | ProcessState::Fatal | ProcessState::Unknown => CellPaint::Bad,
    }
}

/// A duration in its two largest units: `4s`, `3m12s`, `2h05m`, `41d03h`.
pub(super) fn age(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, _, _) => format!("{hours}h{:02}m", minutes % 60),
        (_, _, _) => format!("{days}d{:02}h", hours % 24),
    }
}

/// Milliseconds as seconds with one decimal.
fn seconds(milliseconds: u64) -> String {
    // Cut to tenths, not rounded, like the summary.
    format!("{}.{}s", milliseconds / 1000, milliseconds % 1000 / 100)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{self, SharedWriter};
    use super::*;
    use ctl_event::{EventKind, Failure, FailureKind, RunEvent, Stage};

    /// The content of stdout, then that of stderr.
    fn show(options: TableOptions, events: &[RunEvent]) -> String {
        let (out, notes) = (SharedWriter::default(), SharedWriter::default());
        let mut sink = TableSink::new(options, out.writer(), notes.writer());
        fixtures::play(&mut sink, events, 0);
        format!("{}---\n{}", out.text(), notes.text())
    }

    fn failed(node: &str) -> TargetResult {
        let failure = Failure::new(Stage::Verify, FailureKind::Fatal, "it ended 3 times within startsecs\n\x1b[2J")
            .with_hint("read its log: ctl logs contrail-collector --stderr");
        TargetResult {
            failure: Some(failure),
            state: Some(ProcessState::Fatal),
            ..fixtures::result(node, Outcome::Failed)
        }
    }

    fn not_configured(node: &str) -> TargetResult {
        TargetResult { supervisor: None, via: None, ..fixtures::result(node, Outcome::NotConfigured) }
    }

    #[test]
    fn bad_rows_come_last_with_their_hints() {
        let (events, _) = fixtures::restart();
        insta::assert_snapshot!(show(TableOptions::default(), &events), @"
        NODE   ROLE       SERVICE             OUTCOME      STATE    PID    UPTIME  MESSAGE
        a6s01  analytics  contrail-collector  changed      RUNNING  20071  4s
        a6s03  analytics  contrail-collector  changed      RUNNING  1187   5s
        a6s02  analytics  contrail-collector  unreachable  -        -      -       host_key_unknown: no known_hosts file holds its key
        ---
        a6s02: host_key_unknown: no known_hosts file holds its key
          → ssh-keyscan it, compare, and add it to known_hosts
        3 nodes, 3 results: 2 changed, 1 unreachable (0.8 s)
        ");
    }

    #[test]
    fn wide_shows_everything() {
        let events = fixtures::run(
            Some("restart"),
            vec![fixtures::running("a6s01", Outcome::Changed, 20071, 4), not_configured("db1"), failed("a6s03")],
        );
        insta::assert_snapshot!(show(TableOptions { wide: true, ..TableOptions::default() }, &events), @r"
        NODE   ADDRESS    ROLE       SUPERVISOR            SERVICE             OUTCOME         STATE    PID    UPTIME  VIA  BATCH  TIME  MESSAGE
        a6s01  127.0.1.1  analytics  supervisor-analytics  contrail-collector  changed         RUNNING  20071  4s      rpc  1      0.6s
        db1    127.0.1.1  analytics  -                     contrail-collector  not_configured  -        -      -       -    1      0.6s
        a6s03  127.0.1.1  analytics  supervisor-analytics  contrail-collector  failed          FATAL    -      -       rpc  1      0.6s  fatal: it ended 3 times within startsecs\n\x1b[2J
        ---
        a6s03: fatal: it ended 3 times within startsecs\n\x1b[2J
          → read its log: ctl logs contrail-collector --stderr
        3 nodes, 3 results: 1 changed, 1 not_configured, 1 failed (0.8 s)
        ");
    }

    #[test]
    fn wide_rows_run_on_at_a_terminal() {
        let events =
            fixtures::run(Some("restart"), vec![fixtures::running("a6s01", Outcome::Changed, 7, 4), failed("a6s03")]);
        let narrow = TableOptions { wide: true, width: Some(60), ..TableOptions::default() };
        assert_eq!(show(narrow, &events), show(TableOptions { width: None, ..narrow }, &events));
    }

    #[test]
    fn a_status_without_trouble_needs_no_outcome() {
        let stopped = TargetResult {
            state: Some(ProcessState::Exited),
            message: "Mar 01 07:12 AM".to_owned(),
            ..fixtures::result("a6s01", Outcome::Ok)
        };
        let initializing = TargetResult {
            service: Some("contrail-api:0".to_owned()),
            functional: Some(FunctionalStatus::Initializing),
            ..fixtures::running("a6s02", Outcome::Ok, 300, 7503)
        };
        let running = TargetResult {
            functional: Some(FunctionalStatus::Active),
            ..fixtures::running("a6s02", Outcome::Ok, 4711, 266_400)
        };
        let events = fixtures::run(Some("status"), vec![stopped, initializing, running, not_configured("db1")]);
        insta::assert_snapshot!(show(TableOptions::default(), &events), @"
        NODE   ROLE       SERVICE             STATE                   PID   UPTIME  MESSAGE
        a6s02  analytics  contrail-collector  RUNNING                 4711  3d02h
        a6s01  analytics  contrail-collector  EXITED                  -     -       Mar 01 07:12 AM on the node's clock
        a6s02  analytics  contrail-api:0      RUNNING (initializing)  300   2h05m
        ---
        3 nodes, 4 results: 3 ok, 1 not_configured (0.8 s)
        ");
    }

    #[test]
    fn a_ping_has_no_columns_without_content() {
        let pong = TargetResult {
            service: None,
            message: "supervisor 3.3.5 at /var/run/supervisord.sock, 12 processes".to_owned(),
            ..fixtures::running("a6s01", Outcome::Ok, 900, 60)
        };
        let pong = TargetResult { uptime_s: None, ..pong };
        insta::assert_snapshot!(show(TableOptions::default(), &fixtures::run(None, vec![pong])), @"
        NODE   ROLE       STATE    PID  MESSAGE
        a6s01  analytics  RUNNING  900  supervisor 3.3.5 at /var/run/supervisord.sock, 12 processes
        ---
        1 node, 1 result: 1 ok (0.8 s)
        ");
    }

    fn many() -> Vec<RunEvent> {
        let mut results: Vec<TargetResult> = (1..=40_u32)
            .map(|number| {
                fixtures::running(&format!("a6s{number:02}"), Outcome::Changed, 20_000 + number, u64::from(number))
            })
            .collect();
        for place in [2, 6, 7, 20] {
            results[place] = fixtures::unknown_key(&format!("a6s{:02}", place + 1));
        }
        results[30] = failed("a6s31");
        fixtures::run(Some("restart"), results)
    }

    #[test]
    fn many_rows_are_folded() {
        insta::assert_snapshot!(show(TableOptions::default(), &many()), @r"
        NODE                                NODES  ROLE       SERVICE             OUTCOME      STATE    UPTIME   MESSAGE
        a6s[01-02,04-06,09-20,22-30,32-40]  35     analytics  contrail-collector  changed      RUNNING  1s..40s
        a6s[03,07-08,21]                    4      analytics  contrail-collector  unreachable  -        -        host_key_unknown: no known_hosts file holds its key
        a6s31                               1      analytics  contrail-collector  failed       FATAL    -        fatal: it ended 3 times within startsecs\n\x1b[2J
        ---
        a6s[03,07-08,21]: host_key_unknown: no known_hosts file holds its key
          → ssh-keyscan it, compare, and add it to known_hosts
        a6s31: fatal: it ended 3 times within startsecs\n\x1b[2J
          → read its log: ctl logs contrail-collector --stderr
        40 nodes, 40 results: 35 changed, 4 unreachable, 1 failed (0.8 s)
        ");
    }

    #[test]
    fn folding_is_as_asked() {
        let unfolded = show(TableOptions { fold: Some(false), ..TableOptions::default() }, &many());
        assert_eq!(unfolded.lines().filter(|line| line.contains(" changed ")).count(), 35);
        let (events, _) = fixtures::restart();
        let folded = show(TableOptions { fold: Some(true), ..TableOptions::default() }, &events);
        assert!(folded.contains("a6s[01,03]  2"), "{folded}");
    }

    #[test]
    fn a_narrow_terminal_is_not_overrun() {
        let (events, _) = fixtures::restart();
        insta::assert_snapshot!(show(TableOptions { width: Some(100), ..TableOptions::default() }, &events), @"
        NODE   ROLE       SERVICE             OUTCOME      STATE    PID    UPTIME  MESSAGE
        a6s01  analytics  contrail-collector  changed      RUNNING  20071  4s
        a6s03  analytics  contrail-collector  changed      RUNNING  1187   5s
        a6s02  analytics  contrail-collector  unreachable  -        -      -       host_key_unknown
        ---
        a6s02: host_key_unknown: no known_hosts file holds its key
          → ssh-keyscan it, compare, and add it to known_hosts
        3 nodes, 3 results: 2 changed, 1 unreachable (0.8 s)
        ");
        insta::assert_snapshot!(show(TableOptions { width: Some(80), ..TableOptions::default() }, &events), @"
        NODE   ROLE       SERVICE             OUTCOME      STATE    MESSAGE
        a6s01  analytics  contrail-collector  changed      RUNNING
        a6s03  analytics  contrail-collector  changed      RUNNING
        a6s02  analytics  contrail-collector  unreachable  -        host_key_unknown
        ---
        a6s02: host_key_unknown: no known_hosts file holds its key
          → ssh-keyscan it, compare, and add it to known_hosts
        3 nodes, 3 results: 2 changed, 1 unreachable (0.8 s)
        ");
        insta::assert_snapshot!(show(TableOptions { width: Some(80), ..TableOptions::default() }, &many()), @r"
        NODE                NODES  SERVICE             OUTCOME      STATE    MESSAGE
        a6s[01-02,04-06,    35     contrail-collector  changed      RUNNING
        09-20,22-30,32-40]
        a6s[03,07-08,21]    4      contrail-collector  unreachable  -        host_key_unknown
        a6s31               1      contrail-collector  failed       FATAL    fatal
        ---
        a6s[03,07-08,21]: host_key_unknown: no known_hosts file holds its key
          → ssh-keyscan it, compare, and add it to known_hosts
        a6s31: fatal: it ended 3 times within startsecs\n\x1b[2J
          → read its log: ctl logs contrail-collector --stderr
        40 nodes, 40 results: 35 changed, 4 unreachable, 1 failed (0.8 s)
        ");
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let (events, _) = fixtures::restart();
        let plain = show(TableOptions::default(), &events);
        let colored = show(TableOptions { color: true, ..TableOptions::default() }, &events);
        assert_eq!(console::strip_ansi_codes(&colored), plain);
        insta::assert_snapshot!(colored.lines().nth(3).expect("a row").replace('\x1b', "ESC"), @"a6s02  analytics  contrail-collector  ESC[38;5;1mESC[1munreachableESC[0m  -        -      -       ESC[38;5;1mESC[1mhost_key_unknown: no known_hosts file holds its keyESC[0m");
    }

    #[test]
    fn nothing_to_show_is_said() {
        insta::assert_snapshot!(show(TableOptions::default(), &fixtures::run(Some("status"), Vec::new())), @"
        ---
        no results: no node was queried
        ");
        let events = fixtures::run(Some("status"), vec![not_configured("db1"), not_configured("db2")]);
        insta::assert_snapshot!(show(TableOptions::default(), &events), @"
        ---
        nothing to show: no selected node has this service (-o wide shows every node)
        2 nodes, 2 results: 2 not_configured (0.8 s)
        ");
    }

    #[test]
    fn a_run_that_was_given_up_says_so() {
        let (events, _) = fixtures::restart();
        let mut kinds: Vec<EventKind> = events.into_iter().map(|event| event.kind).collect();
        kinds.insert(3, EventKind::CancelBegan { reason: ctl_event::CancelReason::Interrupted });
        let shown = show(TableOptions::default(), &fixtures::numbered(kinds));
        insta::assert_snapshot!(shown.lines().last().expect("a summary"), @"3 nodes, 3 results: 2 changed, 1 unreachable (0.8 s); interrupted");
    }

    #[test]
    fn ages_have_two_units() {
        let table = [(4, "4s"), (192, "3m12s"), (7503, "2h05m"), (3_553_200, "41d03h")];
        for (given, wanted) in table {
            assert_eq!(age(given), wanted);
        }
    }
}
