//! Log lines of services as they arrive, each with the name of its node in front.
//!
//! Here live [`LogSink`], for people, and [`LogJsonSink`], which writes one document at the end. They use `event`,
//! `nodeset` and this module. Invariants: lines are written whole and never interleave; each line is flushed before the
//! next arrives; a node has the same color in every run, and color is never needed to distinguish nodes. Start at
//! [`LogSink`].

use std::collections::BTreeMap;
use std::io::Write;

use console::Style;
use nodeset::NodeSet;
use serde::Serialize;

use super::footer::failures;
use super::json::RunDocument;
use super::{Sink, SinkError, encode, text};
use ctl_event::{EventKind, Ledger, LogLines, Outcome, RunEvent, TargetResult};

/// Colors readable on light and dark backgrounds, without red, which marks failures.
const COLORS: [u8; 12] = [31, 35, 64, 66, 96, 103, 130, 133, 136, 166, 37, 98];

/// Log lines for people.
pub struct LogSink {
    color: bool,
    /// Whether to report problems immediately: a follow may never end.
    at_once: bool,
    out: Box<dyn Write + Send>,
    notes: Box<dyn Write + Send>,
    any: bool,
}

impl LogSink {
    /// Writes lines to `out`, and problems to `notes`, either immediately (`at_once`) or together at the end.
    #[must_use]
    pub fn new(color: bool, at_once: bool, out: Box<dyn Write + Send>, notes: Box<dyn Write + Send>) -> Self {
        Self { color, at_once, out, notes, any: false }
    }

    /// A closed stderr is not an error.
    fn note(&mut self, words: &str) {
        drop(self.notes.write_all(words.as_bytes()).and_then(|()| self.notes.flush()));
    }

    fn lines(&mut self, from: &LogLines) -> Result<(), SinkError> {
        self.any |= !from.lines.is_empty();
        let mut name = text::visible(&from.node).into_owned();
        if from.among_others {
            name = format!("{name} {}", text::visible(&from.service));
        }
        name.push(':');
        if self.color {
            name = style_of(&from.node).apply_to(name).to_string();
        }
        let mut all = String::new();
        for line in &from.lines {
            all.push_str(&name);
            // No trailing space behind the name.
            if !line.is_empty() {
                all.push(' ');
                all.push_str(&text::log_line(line, usize::MAX));
            }
            all.push('\n');
        }
        self.out.write_all(all.as_bytes())?;
        Ok(self.out.flush()?)
    }
}

impl Sink for LogSink {
    fn event(&mut self, event: &RunEvent, _ledger: &Ledger) -> Result<(), SinkError> {
        match &event.kind {
            EventKind::LogLines(lines) => self.lines(lines),
            EventKind::Result(result) if self.at_once => {
                if let Some(failure) = &result.failure
                    && result.outcome != Outcome::NotStarted
                {
                    let service = result.service.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
                    let words = format!("{}{service}: {}: {}", result.node, failure.kind, failure.message);
                    self.note(&format!("{}\n", text::single_line(&words)));
                }
                Ok(())
            }
            EventKind::RunStarted(_)
            | EventKind::BatchStarted { .. }
            | EventKind::NodeStarted { .. }
            | EventKind::Inspected { .. }
            | EventKind::NodeFacts(_)
            | EventKind::PendingUpdate(_)
            | EventKind::Notice { .. }
            | EventKind::Item(_)
            | EventKind::Gate { .. }
            | EventKind::Progress { .. }
            | EventKind::Result(_)
            | EventKind::NodeFinished { .. }
            | EventKind::CancelBegan { .. }
            | EventKind::RunFinished { .. } => Ok(()),
        }
    }

    fn finish(&mut self, ledger: &Ledger, _exit_code: u8) -> Result<(), SinkError> {
        if !self.at_once {
            let told = failures(ledger) + &empty_logs(ledger);
            let nobody = !self.any && told.is_empty() && ledger.cancel().is_none();
            let nobody = nobody && ledger.results().iter().all(|result| result.outcome == Outcome::NotConfigured);
            self.note(if nobody { "nothing to show: no selected node has this service\n" } else { &told });
        }
        Ok(self.out.flush()?)
    }
}

/// Remarks about logs that were read successfully, grouped by node set.
fn empty_logs(ledger: &Ledger) -> String {
    let mut said: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    let read = |result: &&TargetResult| result.outcome == Outcome::Ok && !result.message.is_empty();
    for result in ledger.results().iter().filter(read) {
        let about = (result.service.as_deref().unwrap_or_default(), result.message.as_str());
        said.entry(about).or_default().push(&result.node);
    }
    let line = |((service, message), nodes): (&(&str, &str), &Vec<&str>)| {
        let words = format!("{service} on {}: {message}", NodeSet::from_names(nodes));
        format!("{}\n", text::single_line(&words))
    };
    said.iter().map(line).collect()
}

/// The color of a node, derived from its name so that it stays the same in every run.
fn style_of(node: &str) -> Style {
    // FNV-1a: the hash of the standard library may differ between versions, and with it the color of a node.
    let hash = node
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let places = COLORS.len() as u64;
    let place = usize::try_from((hash >> 32) % places).unwrap_or_default();
    Style::new().color256(COLORS.get(place).copied().unwrap_or_default()).force_styling(true)
}

/// One document in which each result has its lines.
pub struct LogJsonSink {
    out: Box<dyn Write + Send>,
    lines: BTreeMap<LogKey, LogLines>,
}

/// Identifies the target of a line.
type LogKey = (String, Option<String>, Option<String>, Option<String>);

/// A result of `logs`, with the lines that were read.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "LogResult"))]
pub(super) struct WithLines<'a> {
    // Only ever written: nothing has to find out which fields are whose.
    #[serde(flatten)]
    result: &'a TargetResult,
    stream: Option<ctl_event::LogStream>,
    lines: &'a [String],
}

impl LogJsonSink {
    /// Writes the document to `out`.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out, lines: BTreeMap::new() }
    }
}

impl Sink for LogJsonSink {
    fn event(&mut self, event: &RunEvent, _ledger: &Ledger) -> Result<(), SinkError> {
        if let EventKind::LogLines(new) = &event.kind {
            let key =
                (new.node.clone(), Some(new.role.clone()), Some(new.supervisor.clone()), Some(new.service.clone()));
            match self.lines.get_mut(&key) {
                Some(known) => known.lines.extend(new.lines.iter().cloned()),
                None => {
                    self.lines.insert(key, new.clone());
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, ledger: &Ledger, exit_code: u8) -> Result<(), SinkError> {
        let results: Vec<WithLines<'_>> = ledger
            .results()
            .iter()
            .map(|result| {
                let key = (result.node.clone(), result.role.clone(), result.supervisor.clone(), result.service.clone());
                let own = self.lines.get(&key);
                WithLines { result, stream: own.map(|own| own.stream), lines: own.map_or(&[], |own| &own.lines) }
            })
            .collect();
        let document = RunDocument::with_results(ledger, exit_code, results);
        self.out.write_all(encode::json(&document)?.as_bytes())?;
        Ok(self.out.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{self, SharedWriter};
    use super::*;
    use ctl_event::{Failure, FailureKind, LogStream, Stage};

    fn lines(node: &str, service: &str, among_others: bool, lines: &[&str]) -> EventKind {
        EventKind::LogLines(LogLines {
            node: node.to_owned(),
            role: "analytics".to_owned(),
            supervisor: "supervisor-analytics".to_owned(),
            service: service.to_owned(),
            stream: LogStream::Stdout,
            among_others,
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        })
    }

    fn show(color: bool, at_once: bool, kinds: Vec<EventKind>, results: Vec<TargetResult>) -> (String, String) {
        let (out, notes) = (SharedWriter::default(), SharedWriter::default());
        let mut events = fixtures::run(None, results);
        let template = events[0].clone();
        for (place, kind) in kinds.into_iter().enumerate() {
            events.insert(2 + place, RunEvent { kind, ..template.clone() });
        }
        for (seq, event) in (0..).zip(&mut events) {
            event.seq = seq;
        }
        fixtures::play(&mut LogSink::new(color, at_once, out.writer(), notes.writer()), &events, 0);
        (out.text(), notes.text())
    }

    #[test]
    fn each_line_follows_the_name_of_its_node() {
        let kinds = vec![
            lines("a6s01", "contrail-collector", false, &["one", "", "  a\tb\x1b[31m"]),
            lines("a6s02", "contrail-api:0", true, &["two"]),
        ];
        let (out, notes) = show(false, false, kinds, vec![fixtures::result("a6s01", Outcome::Ok)]);
        insta::assert_snapshot!(out, @r"
        a6s01: one
        a6s01:
        a6s01:   a     b\x1b[31m
        a6s02 contrail-api:0: two
        ");
        assert_eq!(notes, "");
    }

    #[test]
    fn the_colour_of_a_node_is_always_the_same() {
        let kinds = || vec![lines("a6s01", "x", false, &["one"]), lines("a6s02", "x", false, &["two"])];
        let (out, _) = show(true, false, kinds(), Vec::new());
        assert_eq!(out, show(true, false, kinds(), Vec::new()).0);
        assert_eq!(console::strip_ansi_codes(&out), "a6s01: one\na6s02: two\n");
        assert!(out.contains("\x1b[38;5;"), "{out:?}");
    }

    #[test]
    fn failures_are_reported_once() {
        let failure = Failure::new(Stage::Inspect, FailureKind::NoLog, "it has no such log\x07").with_hint("look");
        let bad = |node| TargetResult { failure: Some(failure.clone()), ..fixtures::result(node, Outcome::Failed) };
        let (_, notes) = show(false, false, Vec::new(), vec![bad("a6s01"), bad("a6s02")]);
        insta::assert_snapshot!(notes, @r"
        a6s[01-02]: no_log: it has no such log\x07
          → look
        ");
        let (_, notes) = show(false, true, Vec::new(), vec![bad("a6s01")]);
        insta::assert_snapshot!(notes, @r"a6s01 contrail-collector: no_log: it has no such log\x07");
        let nowhere = vec![fixtures::result("a6s01", Outcome::NotConfigured)];
        assert_eq!(show(false, false, Vec::new(), nowhere).1, "nothing to show: no selected node has this service\n");
        let empty = |node| TargetResult {
            message: "nothing was written to it yet".to_owned(),
            ..fixtures::result(node, Outcome::Ok)
        };
        let (_, notes) = show(false, false, Vec::new(), vec![empty("a6s01"), empty("a6s03")]);
        assert_eq!(notes, "contrail-collector on a6s[01,03]: nothing was written to it yet\n");
    }

    #[test]
    fn the_document_has_the_lines_of_each_result() {
        let out = SharedWriter::default();
        let mut sink = LogJsonSink::new(out.writer());
        let mut events = fixtures::run(None, vec![fixtures::running("a6s01", Outcome::Ok, 1, 1)]);
        let template = events[0].clone();
        for place in [2, 3] {
            let kind = lines("a6s01", "contrail-collector", false, &["a \x1b line"]);
            events.insert(place, RunEvent { kind, ..template.clone() });
        }
        for (seq, event) in (0..).zip(&mut events) {
            event.seq = seq;
        }
        fixtures::play(&mut sink, &events, 0);
        assert!(!out.text().contains('\x1b'));
        let document: serde_json::Value = serde_json::from_str(&out.text()).expect("JSON");
        let result = &document["results"][0];
        assert_eq!(result["node"], "a6s01");
        assert_eq!(result["stream"], "stdout");
        assert_eq!(result["lines"], serde_json::json!(["a \x1b line", "a \x1b line"]));
        assert_eq!(document["summary"]["ok"], 1);
    }
}
