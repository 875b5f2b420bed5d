//! `-o yaml`: the JSON document, written as YAML.
//!
//! Here lives [`YamlSink`]. It uses `event` and this module. Invariants: the YAML parses to the same values as the JSON.

use std::io::Write;

use super::json::RunDocument;
use super::{Sink, SinkError, encode};
use ctl_event::{Ledger, RunEvent};

/// One document, written at the end of the run.
pub struct YamlSink {
    out: Box<dyn Write + Send>,
}

impl YamlSink {
    /// Writes the document to `out`.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out }
    }
}

impl Sink for YamlSink {
    fn event(&mut self, _event: &RunEvent, _ledger: &Ledger) -> Result<(), SinkError> {
        Ok(())
    }

    fn finish(&mut self, ledger: &Ledger, exit_code: u8) -> Result<(), SinkError> {
        self.out.write_all(encode::yaml(&RunDocument::new(ledger, exit_code))?.as_bytes())?;
        Ok(self.out.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixtures::{self, SharedWriter};
    use super::super::json::JsonSink;
    use super::super::text;
    use super::*;
    use ctl_event::{Outcome, TargetResult};

    /// The YAML and the JSON of a run with one result whose message is `message`.
    fn both(message: &str) -> (String, String) {
        let result =
            TargetResult { message: message.to_owned(), ..fixtures::running("a6s01", Outcome::Changed, 20071, 4) };
        let events = fixtures::run(Some("restart"), vec![result]);
        let (yaml, json) = (SharedWriter::default(), SharedWriter::default());
        fixtures::play(&mut YamlSink::new(yaml.writer()), &events, 0);
        fixtures::play(&mut JsonSink::new(json.writer()), &events, 0);
        (yaml.text(), json.text())
    }

    #[test]
    fn the_document_is_that_of_the_json() {
        insta::assert_snapshot!(both("").0, @r#"
        schema: ctl/1
        run: 20260301-080000-abcd
        command: service
        action: restart
        services:
        - contrail-collector
        selection:
          roles: []
          nodes: null
          exclude: null
        started: "2026-03-01T08:00:00Z"
        elapsed_ms: 812
        exit_code: 0
        results:
        - node: a6s01
          address: "127.0.1.1"
          role: analytics
          supervisor: supervisor-analytics
          service: contrail-collector
          outcome: changed
          state: RUNNING
          pid: 20071
          uptime_s: 4
          functional: null
          functional_reason: null
          version: null
          message: ""
          failure: null
          evidence: null
          via: rpc
          batch: 1
          duration_ms: 640
        nodes: null
        kept: null
        summary:
          nodes: 1
          results: 1
          ok: 0
          changed: 1
          failed: 0
          unreachable: 0
          timed_out: 0
          not_configured: 0
          skipped: 0
          not_started: 0
          unknown: 0
          nodes_by_outcome:
            changed: 1
        "#);
    }

    fn check(message: &str) {
        let (yaml, json) = both(message);
        assert!(text::is_plain(&yaml), "{yaml:?}");
        let from_yaml: serde_json::Value = serde_saphyr::from_str(&yaml).expect("it is YAML");
        let from_json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
        assert_eq!(from_yaml, from_json);
    }

    #[test]
    fn text_that_looks_like_something_else_is_text() {
        for message in [
            "yes",
            "null",
            "~",
            "1",
            "1e3",
            "a: b",
            "- a",
            "# a",
            "a\nb\n",
            " a ",
            "\x1b[2J",
            "\u{9b}\u{202e}",
            "it's \u{200b}\"so\"\\n",
            "\u{e0041}: - '",
            "\u{2066}",
        ] {
            check(message);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_back(message in any::<String>()) {
            check(&message);
        }
    }
}
