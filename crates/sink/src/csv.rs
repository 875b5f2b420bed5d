//! `-o csv`: one line per result, for spreadsheets.
//!
//! Here lives [`CsvSink`]. It uses `event` and this module. Invariants: there is always a header, even without results;
//! the columns are the fields of the JSON in their order, with the failure in four columns; a field that does not apply
//! is empty. CSV has no escapes, so all text goes through [`text`]; no spreadsheet reads a cell as a formula
//! ([`cell`]).

use std::io::Write;

use super::{Sink, SinkError, text};
use ctl_event::{Ledger, RunEvent, TargetResult};

const HEADER: [&str; 18] = [
    "node",
    "address",
    "role",
    "supervisor",
    "service",
    "outcome",
    "state",
    "pid",
    "uptime_s",
    "functional",
    "message",
    "failure_stage",
    "failure_kind",
    "failure_message",
    "failure_hint",
    "via",
    "batch",
    "duration_ms",
];

const COMMAND_HEADER: [&str; 5] = ["exit_status", "stdout", "stderr", "truncated", "signal"];

/// One table of results, written at the end of the run.
pub struct CsvSink {
    out: Box<dyn Write + Send>,
}

impl CsvSink {
    /// Writes the table to `out`.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out }
    }
}

impl Sink for CsvSink {
    fn event(&mut self, _event: &RunEvent, _ledger: &Ledger) -> Result<(), SinkError> {
        Ok(())
    }

    fn finish(&mut self, ledger: &Ledger, _exit_code: u8) -> Result<(), SinkError> {
        let mut table = csv::Writer::from_writer(&mut self.out);
        let results = ledger.results();
        // What a command did has columns of its own, where there was one.
        let commands = results.iter().any(|result| result.started_command().is_some());
        let more = if commands { COMMAND_HEADER.as_slice() } else { &[] };
        // Every record has as many fields as the header (RFC 4180); the writer rejects any other.
        table.write_record(HEADER.iter().chain(more))?;
        for result in results {
            let more = if commands { command(result).to_vec() } else { Vec::new() };
            table.write_record(record(result).iter().chain(&more))?;
        }
        Ok(table.flush()?)
    }
}

/// Text as a cell: made visible, and prefixed with `'` where a spreadsheet would calculate. OWASP, "CSV injection",
/// lists these characters; its tab and carriage return are already escaped here.
pub(super) fn cell(text: &str) -> String {
    let safe = text::visible(text);
    // Spreadsheets read these as the start of a formula, in full width as well. Tab and CR, which some also read so,
    // are escapes by now.
    let is_formula = safe.starts_with(['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}']);
    // An apostrophe makes a spreadsheet take the rest as text.
    if is_formula { format!("'{safe}") } else { safe.into_owned() }
}

fn command(result: &TargetResult) -> [String; COMMAND_HEADER.len()] {
    let Some(run) = result.started_command() else { return Default::default() };
    let maybe = |text: &Option<String>| text.as_deref().map(cell).unwrap_or_default();
    [
        run.exit_status.map(|code| code.to_string()).unwrap_or_default(),
        maybe(&run.stdout),
        maybe(&run.stderr),
        run.truncated.map(|truncated| truncated.to_string()).unwrap_or_default(),
        maybe(&run.signal),
    ]
}

fn record(result: &TargetResult) -> [String; HEADER.len()] {
    let maybe = |text: &Option<String>| text.as_deref().map(cell).unwrap_or_default();
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let failure = result.failure.as_ref();
    [
        cell(&result.node),
        maybe(&result.address),
        maybe(&result.role),
        maybe(&result.supervisor),
        result.target_name().map(|name| cell(&name)).unwrap_or_default(),
        result.outcome.to_string(),
        result.state.map(|state| state.to_string()).unwrap_or_default(),
        number(result.pid.map(u64::from)),
        number(result.uptime_s),
        result.functional.as_ref().map(|status| cell(status.as_str())).unwrap_or_default(),
        cell(&result.message),
        failure.map(|failure| failure.stage.to_string()).unwrap_or_default(),
        failure.map(|failure| failure.kind.to_string()).unwrap_or_default(),
        failure.map(|failure| cell(&failure.message)).unwrap_or_default(),
        failure.map(|failure| maybe(&failure.hint)).unwrap_or_default(),
        result.via.map(|via| via.to_string()).unwrap_or_default(),
        number(result.batch.map(u64::from)),
        number(result.duration_ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{self, SharedWriter};
    use super::*;
    use ctl_event::Outcome;

    #[test]
    fn failures_are_spread_over_columns() {
        let out = SharedWriter::default();
        let (events, _) = fixtures::restart();
        fixtures::play(&mut CsvSink::new(out.writer()), &events, 4);
        insta::assert_snapshot!(out.text(), @r#"
        node,address,role,supervisor,service,outcome,state,pid,uptime_s,functional,message,failure_stage,failure_kind,failure_message,failure_hint,via,batch,duration_ms
        a6s01,127.0.1.1,analytics,supervisor-analytics,contrail-collector,changed,RUNNING,20071,4,,,,,,,rpc,1,640
        a6s02,127.0.1.1,analytics,,contrail-collector,unreachable,,,,,,connect,host_key_unknown,no known_hosts file holds its key,"ssh-keyscan it, compare, and add it to known_hosts",,1,640
        a6s03,127.0.1.1,analytics,supervisor-analytics,contrail-collector,changed,RUNNING,1187,5,,,,,,,rpc,1,640
        "#);
    }

    #[test]
    fn the_columns_are_the_fields_of_the_json() {
        let json = serde_json::to_string(&fixtures::result("a6s01", Outcome::Ok)).expect("JSON");
        let mut place = 0;
        for column in HEADER.iter().map(|column| if column.starts_with("failure_") { "failure" } else { column }) {
            let found = json.find(&format!("\"{column}\":")).expect("a field");
            assert!(found >= place, "{column}");
            place = found;
        }
    }

    #[test]
    fn no_cell_is_a_formula() {
        for (given, wanted) in [
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("+1", "'+1"),
            ("-2+3", "'-2+3"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\u{ff1d}1", "'\u{ff1d}1"),
            ("\t=1", "\\t=1"),
            ("\r=1", "\\r=1"),
            ("a=1", "a=1"),
            ("", ""),
        ] {
            assert_eq!(cell(given), wanted);
            let result = TargetResult { message: given.to_owned(), ..fixtures::result("a6s01", Outcome::Ok) };
            let out = SharedWriter::default();
            fixtures::play(&mut CsvSink::new(out.writer()), &fixtures::run(Some("status"), vec![result]), 0);
            let table = out.text();
            let row = csv::Reader::from_reader(table.as_bytes()).into_records().next().expect("a row").expect("CSV");
            assert_eq!(&row[10], wanted, "{table}");
        }
    }

    #[test]
    fn text_of_a_node_cannot_reach_the_terminal() {
        let result = TargetResult { message: "a,\"b\"\n\x1b[2J".to_owned(), ..fixtures::result("a6s01", Outcome::Ok) };
        let out = SharedWriter::default();
        fixtures::play(&mut CsvSink::new(out.writer()), &fixtures::run(Some("status"), vec![result]), 0);
        assert!(out.text().contains(r#","a,""b""\n\x1b[2J","#), "{}", out.text());
    }
}
