//! The output formats: each is declared once, in `FORMATS`.
//!
//! Here live [`OutputFormat`], the rows behind it, and the parser that gives each command the formats of what it shows. Uses
//! `sink` and nothing else of ours. Invariants: a command accepts exactly the formats that its `--help` lists.
//!
//! To add a format: its sink in `src/sink/`, a row here, docs/output.md; `TRYCMD=overwrite cargo test --test cli` writes
//! the help texts.

use std::io::Write;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser, ValueParser};

use ctl_overview::NodeRoles;
use ctl_sink::{
    ContrailStatusSink, CsvSink, HtmlSink, JsonSink, JsonlSink, OverviewOptions, OverviewSink, PromSink, Sink,
    TableOptions, TableSink, YamlSink,
};

/// What a command shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// The results of a run.
    Results,
    /// The results of `ctl status`.
    Status,
    /// Lines of logs.
    Logs,
    /// A list of past runs.
    Runs,
    /// What differs between two snapshots.
    Changes,
    /// Nodes of the inventory.
    Inventory,
}

/// How a format writes a document that has no sink of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As text for people; `wide`: with more columns.
    Text {
        /// More columns and rows.
        wide: bool,
    },
    /// As one JSON document.
    Json,
    /// As one JSON object per line.
    JsonLines,
    /// As YAML.
    Yaml,
    /// As one row per item.
    Csv,
    /// Not at all: only results are shown in this format.
    OnlyResults,
}

/// An output format.
#[derive(Debug)]
pub(crate) struct FormatSpec {
    name: &'static str,
    help: &'static str,
    shows: &'static [Content],
    /// Whether rows of results can be folded.
    folds: bool,
    encoding: Encoding,
    sink: fn(SinkOptions<'_>) -> Box<dyn Sink>,
}

/// What a sink of results may depend on.
pub struct SinkOptions<'a> {
    /// A new writer to the results.
    pub out: &'a dyn Fn() -> Box<dyn Write + Send>,
    /// A new writer for the notes beside the results.
    pub notes: &'a dyn Fn() -> Box<dyn Write + Send>,
    /// None is: fold where there are too many rows.
    pub fold: Option<bool>,
    /// `--no-fold`.
    pub no_fold: bool,
    /// Columns of the terminal, if it is one.
    pub width: Option<u16>,
    /// Rows that the first screen of a status may take; none is all it needs.
    pub height: Option<u16>,
    /// Whether there may be colour.
    pub color: bool,
    /// Show only unhealthy services, of nodes with these roles.
    pub first_screen: Option<NodeRoles>,
}

const RESULTS: &[Content] = &[Content::Results, Content::Status, Content::Changes];
const STATUS: &[Content] = &[Content::Status];
const DOCUMENTS: &[Content] = &[Content::Results, Content::Status, Content::Runs, Content::Changes, Content::Inventory];

/// All of them, in the order in which help texts list them.
static FORMATS: &[FormatSpec] = &[
    FormatSpec {
        name: "table",
        help: "Human-readable table",
        shows: &[Content::Results, Content::Status, Content::Logs, Content::Runs, Content::Changes, Content::Inventory],
        folds: true,
        encoding: Encoding::Text { wide: false },
        sink: |options| match options.first_screen.clone() {
            Some(roles) => overview(options, roles),
            None => table(options, false),
        },
    },
    FormatSpec {
        name: "wide",
        help: "Table with more columns and rows",
        shows: RESULTS,
        folds: true,
        encoding: Encoding::Text { wide: true },
        sink: |options| table(options, true),
    },
    FormatSpec {
        name: "json",
        help: "One JSON document",
        shows: &[Content::Results, Content::Status, Content::Logs, Content::Runs, Content::Changes, Content::Inventory],
        folds: false,
        encoding: Encoding::Json,
        sink: |options| Box::new(JsonSink::new((options.out)())),
    },
    FormatSpec {
        name: "jsonl",
        help: "One JSON object per line, as it happens",
        shows: &[Content::Results, Content::Status, Content::Logs, Content::Runs, Content::Changes],
        folds: false,
        encoding: Encoding::JsonLines,
        sink: |options| Box::new(JsonlSink::new((options.out)())),
    },
    FormatSpec {
        name: "yaml",
        help: "The JSON document as YAML",
        shows: DOCUMENTS,
        folds: false,
        encoding: Encoding::Yaml,
        sink: |options| Box::new(YamlSink::new((options.out)())),
    },
    FormatSpec {
        name: "csv",
        help: "One row per result",
        shows: RESULTS,
        folds: false,
        encoding: Encoding::Csv,
        sink: |options| Box::new(CsvSink::new((options.out)())),
    },
    FormatSpec {
        name: "html",
        help: "Report for the browser",
        shows: STATUS,
        folds: false,
        encoding: Encoding::OnlyResults,
        sink: |options| Box::new(HtmlSink::new((options.out)())),
    },
    FormatSpec {
        name: "prom",
        help: "Metrics for Prometheus",
        shows: STATUS,
        folds: false,
        encoding: Encoding::OnlyResults,
        sink: |options| Box::new(PromSink::new((options.out)())),
    },
    FormatSpec {
        name: "contrail-status",
        help: "Each node as contrail-status shows it",
        shows: STATUS,
        folds: true,
        encoding: Encoding::OnlyResults,
        sink: |options| Box::new(ContrailStatusSink::new(options.fold, (options.out)())),
    },
];

fn table(options: SinkOptions<'_>, wide: bool) -> Box<dyn Sink> {
    let SinkOptions { fold, no_fold, width, color, .. } = options;
    let layout = TableOptions { wide, fold, each_node: no_fold, width, color };
    Box::new(TableSink::new(layout, (options.out)(), (options.notes)()))
}

fn overview(options: SinkOptions<'_>, roles: NodeRoles) -> Box<dyn Sink> {
    let SinkOptions { no_fold, width, height, color, .. } = options;
    let layout = OverviewOptions { unfold: no_fold, width, height, color };
    Box::new(OverviewSink::new(layout, roles, (options.out)(), (options.notes)()))
}

/// A format that was chosen: a row of `FORMATS`.
#[derive(Debug, Clone, Copy)]
pub struct OutputFormat(&'static FormatSpec);

impl Default for OutputFormat {
    /// The table.
    fn default() -> Self {
        Self(&FORMATS[0])
    }
}

impl OutputFormat {
    /// The name that `-o` takes.
    pub const fn as_str(self) -> &'static str {
        self.0.name
    }

    /// How documents other than results are written.
    pub const fn encoding(self) -> Encoding {
        self.0.encoding
    }

    /// Whether rows can be gathered under a folded node set.
    pub const fn folds(self) -> bool {
        self.0.folds
    }

    /// Whether people read it.
    pub fn is_text(self) -> bool {
        matches!(self.0.encoding, Encoding::Text { .. })
    }

    /// Whether it has a line for each event as it happens.
    pub fn is_stream(self) -> bool {
        self.0.encoding == Encoding::JsonLines
    }

    /// Whether it is a page for a browser.
    pub fn is_html(self) -> bool {
        self.0.name == "html"
    }

    /// A new sink of results.
    pub fn sink(self, options: SinkOptions<'_>) -> Box<dyn Sink> {
        (self.0.sink)(options)
    }
}

/// The formats in which `content` is shown, as a parser of `--output`.
pub(crate) fn parser(content: Content) -> ValueParser {
    let names = FORMATS
        .iter()
        .filter(move |format| format.shows.contains(&content))
        .map(|format| PossibleValue::new(format.name).help(format.help));
    // Only names from the rows come out of the first parser; the table stands for none.
    let chosen = |name: String| OutputFormat(FORMATS.iter().find(|format| format.name == name).unwrap_or(&FORMATS[0]));
    PossibleValuesParser::new(names).map(chosen).into()
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use super::*;
    use ctl_event::{EventKind, Ledger, Outcome, RunEvent, RunHead, RunScope, TargetResult};
    use ctl_sink::SinkSet;

    /// A pipe whose reader has closed it.
    struct ClosedPipe;

    impl Write for ClosedPipe {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    /// A restart on one node.
    fn events() -> [RunEvent; 3] {
        let at = jiff::Timestamp::UNIX_EPOCH;
        let head = RunHead {
            run: "20260301-080000-abcd".to_owned(),
            command: "service".to_owned(),
            action: Some("restart".to_owned()),
            services: vec!["contrail-collector".to_owned()],
            started: at,
            nodes: 1,
            selection: RunScope::default(),
            input: None,
        };
        let kinds = [
            EventKind::RunStarted(head),
            EventKind::Result(TargetResult::new("a1", Outcome::Changed)),
            EventKind::RunFinished { elapsed_ms: 812 },
        ];
        let mut seq = 0;
        kinds.map(|kind| {
            seq += 1;
            RunEvent { seq: seq - 1, at, elapsed: Duration::from_millis(seq), kind }
        })
    }

    #[test]
    fn a_closed_output_is_quiet_in_every_format() {
        for format in FORMATS {
            let mut sinks = SinkSet::default();
            sinks.push((format.sink)(SinkOptions {
                out: &|| Box::new(ClosedPipe),
                notes: &|| Box::new(io::sink()),
                fold: None,
                no_fold: false,
                width: None,
                height: None,
                color: false,
                first_screen: None,
            }));
            let mut ledger = Ledger::default();
            let mut warnings = Vec::new();
            for event in events() {
                ledger.apply(&event).expect("an event that fits");
                warnings.extend(sinks.event(&event, &ledger));
            }
            warnings.extend(sinks.finish(&ledger, 0));
            assert_eq!(warnings, Vec::<String>::new(), "{}", format.name);
            assert!(sinks.stdout_closed(), "{}", format.name);
            assert!(sinks.failed().is_empty(), "{}", format.name);
        }
    }

    #[test]
    fn every_format_is_documented() {
        let page = include_str!("../../../docs/output.md");
        for format in FORMATS {
            assert!(page.contains(&format!("| `{}` |", format.name)), "docs/output.md has no row for {}", format.name);
        }
    }

    #[test]
    fn only_results_have_sinks_of_their_own() {
        for format in FORMATS.iter().filter(|format| format.encoding == Encoding::OnlyResults) {
            let shows_more = format.shows.iter().any(|content| !matches!(content, Content::Results | Content::Status));
            assert!(!shows_more, "{} has no way to write anything but results", format.name);
        }
    }
}
