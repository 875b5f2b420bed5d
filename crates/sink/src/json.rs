//! `-o json` and `-o jsonl`: documents for scripts.
//!
//! Here live [`JsonSink`], [`JsonlSink`] and the [`RunDocument`] that the YAML shares. They use `event` and this
//! module. Invariants: the fields are those of docs/json.md, which a test compares; a field that does not apply is
//! null, and only the fields of a command may be absent; a node's text is not altered, only escaped as JSON allows.
//! Start at [`RunDocument`].

use std::io::Write;

use serde::Serialize;

use super::encode::{self, SchemaName};
use super::{Sink, SinkError};
use ctl_event::{
    EventKind, KeptItem, Ledger, LogLines, LogStream, NodeFacts, RunEvent, RunHead, RunScope, Summary, TargetResult,
};

/// A whole run.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Run"))]
pub(super) struct RunDocument<'a, R> {
    schema: SchemaName,
    run: Option<&'a str>,
    command: Option<&'a str>,
    action: Option<&'a str>,
    services: &'a [String],
    selection: Option<&'a RunScope>,
    started: Option<jiff::Timestamp>,
    elapsed_ms: u64,
    exit_code: u8,
    results: R,
    /// Facts about the nodes beyond their results; only `ctl status` collects them.
    nodes: Option<&'a [NodeFacts]>,
    /// Items of sequences that were not taken back.
    kept: Option<Vec<KeptItem>>,
    summary: Summary,
}

impl<'a> RunDocument<'a, &'a [TargetResult]> {
    pub(super) fn new(ledger: &'a Ledger, exit_code: u8) -> Self {
        Self::with_results(ledger, exit_code, ledger.results())
    }
}

impl<'a, R> RunDocument<'a, R> {
    /// The run with results in the form to print.
    pub(super) fn with_results(ledger: &'a Ledger, exit_code: u8, results: R) -> Self {
        let head = ledger.head();
        Self {
            schema: SchemaName::Ctl1,
            run: head.map(|head| head.run.as_str()),
            command: head.map(|head| head.command.as_str()),
            action: head.and_then(|head| head.action.as_deref()),
            services: head.map_or(&[], |head| head.services.as_slice()),
            selection: head.map(|head| &head.selection),
            started: head.map(|head| head.started),
            elapsed_ms: elapsed_ms(ledger),
            exit_code,
            results,
            nodes: Some(ledger.facts()).filter(|facts| !facts.is_empty()),
            kept: ledger.kept(),
            summary: ledger.summary(),
        }
    }
}

fn elapsed_ms(ledger: &Ledger) -> u64 {
    u64::try_from(ledger.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// One document, written at the end of the run.
pub struct JsonSink {
    out: Box<dyn Write + Send>,
}

impl JsonSink {
    /// Writes the document to `out`.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out }
    }
}

impl Sink for JsonSink {
    fn event(&mut self, _event: &RunEvent, _ledger: &Ledger) -> Result<(), SinkError> {
        Ok(())
    }

    fn finish(&mut self, ledger: &Ledger, exit_code: u8) -> Result<(), SinkError> {
        self.out.write_all(encode::json(&RunDocument::new(ledger, exit_code))?.as_bytes())?;
        Ok(self.out.flush()?)
    }
}

/// One object per line, written and flushed as events happen. The last line comes at the end of the run.
pub struct JsonlSink {
    out: Box<dyn Write + Send>,
}

impl JsonlSink {
    /// Writes the lines to `out`.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out }
    }

    fn line(&mut self, line: &EventLine<'_>) -> Result<(), SinkError> {
        self.out.write_all(encode::json_line(&TaggedEvent { schema: SchemaName::Ctl1, line })?.as_bytes())?;
        // A reader follows the run line by line.
        Ok(self.out.flush()?)
    }
}

/// One line of a run.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "RunLine"))]
pub(super) struct TaggedEvent<'a> {
    schema: SchemaName,
    // Only ever written: nothing has to find out which fields are whose.
    #[serde(flatten)]
    line: &'a EventLine<'a>,
}

/// The content of one line.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum EventLine<'a> {
    RunStarted(&'a RunHead),
    BatchStarted { batch: u32, role: Option<&'a str>, nodes: &'a [String] },
    Result(&'a TargetResult),
    Node(&'a NodeFacts),
    Log { node: &'a str, role: &'a str, supervisor: &'a str, service: &'a str, stream: LogStream, line: &'a str },
    Gate { batch: u32, node: &'a str, service: Option<&'a str>, met: Option<bool>, waiting_for: &'a str },
    RunFinished { run: Option<&'a str>, elapsed_ms: u64, exit_code: u8, kept: Option<Vec<KeptItem>>, summary: Summary },
}

impl Sink for JsonlSink {
    fn event(&mut self, event: &RunEvent, _ledger: &Ledger) -> Result<(), SinkError> {
        match &event.kind {
            EventKind::RunStarted(head) => self.line(&EventLine::RunStarted(head)),
            EventKind::BatchStarted { batch, role, nodes, .. } => {
                self.line(&EventLine::BatchStarted { batch: *batch, role: role.as_deref(), nodes })
            }
            EventKind::Result(result) => self.line(&EventLine::Result(result)),
            EventKind::NodeFacts(facts) => self.line(&EventLine::Node(facts)),
            EventKind::LogLines(LogLines { node, role, supervisor, service, stream, lines, .. }) => {
                lines.iter().try_for_each(|line| {
                    self.line(&EventLine::Log { node, role, supervisor, service, stream: *stream, line })
                })
            }
            EventKind::Gate { batch, node, service, met, waiting_for } => {
                self.line(&EventLine::Gate { batch: *batch, node, service: service.as_deref(), met: *met, waiting_for })
            }
            // The last line needs the exit code, so `finish` writes it.
            EventKind::RunFinished { .. }
            | EventKind::NodeStarted { .. }
            | EventKind::Progress { .. }
            | EventKind::PendingUpdate(_)
            | EventKind::Inspected { .. }
            | EventKind::Notice { .. }
            | EventKind::Item(_)
            | EventKind::NodeFinished { .. }
            | EventKind::CancelBegan { .. } => Ok(()),
        }
    }

    fn finish(&mut self, ledger: &Ledger, exit_code: u8) -> Result<(), SinkError> {
        self.line(&EventLine::RunFinished {
            run: ledger.head().map(|head| head.run.as_str()),
            elapsed_ms: elapsed_ms(ledger),
            exit_code,
            kept: ledger.kept(),
            summary: ledger.summary(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{self, SharedWriter};
    use super::*;
    use ctl_event::Outcome;

    #[test]
    fn the_document_is_that_of_the_contract() {
        let out = SharedWriter::default();
        let (events, _) = fixtures::restart();
        fixtures::play(&mut JsonSink::new(out.writer()), &events[..], 4);
        insta::assert_snapshot!(out.text(), @r#"
        {
          "schema": "ctl/1",
          "run": "20260301-080000-abcd",
          "command": "service",
          "action": "restart",
          "services": [
            "contrail-collector"
          ],
          "selection": {
            "roles": [],
            "nodes": null,
            "exclude": null
          },
          "started": "2026-03-01T08:00:00Z",
          "elapsed_ms": 812,
          "exit_code": 4,
          "results": [
            {
              "node": "a6s01",
              "address": "127.0.1.1",
              "role": "analytics",
              "supervisor": "supervisor-analytics",
              "service": "contrail-collector",
              "outcome": "changed",
              "state": "RUNNING",
              "pid": 20071,
              "uptime_s": 4,
              "functional": null,
              "functional_reason": null,
              "version": null,
              "message": "",
              "failure": null,
              "evidence": null,
              "via": "rpc",
              "batch": 1,
              "duration_ms": 640
            },
            {
              "node": "a6s02",
              "address": "127.0.1.1",
              "role": "analytics",
              "supervisor": null,
              "service": "contrail-collector",
              "outcome": "unreachable",
              "state": null,
              "pid": null,
              "uptime_s": null,
              "functional": null,
              "functional_reason": null,
              "version": null,
              "message": "",
              "failure": {
                "stage": "connect",
                "kind": "host_key_unknown",
                "message": "no known_hosts file holds its key",
                "hint": "ssh-keyscan it, compare, and add it to known_hosts"
              },
              "evidence": null,
              "via": null,
              "batch": 1,
              "duration_ms": 640
            },
            {
              "node": "a6s03",
              "address": "127.0.1.1",
              "role": "analytics",
              "supervisor": "supervisor-analytics",
              "service": "contrail-collector",
              "outcome": "changed",
              "state": "RUNNING",
              "pid": 1187,
              "uptime_s": 5,
              "functional": null,
              "functional_reason": null,
              "version": null,
              "message": "",
              "failure": null,
              "evidence": null,
              "via": "rpc",
              "batch": 1,
              "duration_ms": 640
            }
          ],
          "nodes": null,
          "kept": null,
          "summary": {
            "nodes": 3,
            "results": 3,
            "ok": 0,
            "changed": 2,
            "failed": 0,
            "unreachable": 1,
            "timed_out": 0,
            "not_configured": 0,
            "skipped": 0,
            "not_started": 0,
            "unknown": 0,
            "nodes_by_outcome": {
              "changed": 2,
              "unreachable": 1
            }
          }
        }
        "#);
    }

    #[test]
    fn lines_are_written_as_it_happens() {
        let out = SharedWriter::default();
        let events = fixtures::run(Some("restart"), vec![fixtures::running("a6s01", Outcome::Changed, 20071, 4)]);
        fixtures::play(&mut JsonlSink::new(out.writer()), &events, 0);
        insta::assert_snapshot!(out.text(), @r#"
        {"schema":"ctl/1","event":"run_started","run":"20260301-080000-abcd","command":"service","action":"restart","services":["contrail-collector"],"started":"2026-03-01T08:00:00Z","nodes":1,"selection":{"roles":[],"nodes":null,"exclude":null},"input":null}
        {"schema":"ctl/1","event":"batch_started","batch":1,"role":null,"nodes":["a6s01"]}
        {"schema":"ctl/1","event":"result","node":"a6s01","address":"127.0.1.1","role":"analytics","supervisor":"supervisor-analytics","service":"contrail-collector","outcome":"changed","state":"RUNNING","pid":20071,"uptime_s":4,"functional":null,"functional_reason":null,"version":null,"message":"","failure":null,"evidence":null,"via":"rpc","batch":1,"duration_ms":640}
        {"schema":"ctl/1","event":"run_finished","run":"20260301-080000-abcd","elapsed_ms":812,"exit_code":0,"kept":null,"summary":{"nodes":1,"results":1,"ok":0,"changed":1,"failed":0,"unreachable":0,"timed_out":0,"not_configured":0,"skipped":0,"not_started":0,"unknown":0,"nodes_by_outcome":{"changed":1}}}
        "#);
    }

    #[test]
    fn a_run_without_a_head_still_makes_a_document() {
        let out = SharedWriter::default();
        fixtures::play(&mut JsonSink::new(out.writer()), &[], 130);
        let document: serde_json::Value = serde_json::from_str(&out.text()).expect("it is JSON");
        assert_eq!(document["run"], serde_json::Value::Null);
        assert_eq!(document["exit_code"], 130);
    }

    #[test]
    fn text_of_a_node_is_escaped_and_not_altered() {
        let hostile = "\x1b[2J \u{9b}31m \"quoted\"\n\u{202e}\u{2028}";
        let result = TargetResult { message: hostile.to_owned(), ..fixtures::result("a6s01", Outcome::Ok) };
        let out = SharedWriter::default();
        fixtures::play(&mut JsonlSink::new(out.writer()), &fixtures::run(Some("status"), vec![result.clone()]), 0);
        assert!(out.text().chars().all(|char| char == '\n' || !char.is_control()));
        let line = out.text().lines().find(|line| line.contains("\"result\"")).expect("a result").to_owned();
        assert_eq!(serde_json::from_str::<TargetResult>(&line).expect("a result"), result);
    }
}
