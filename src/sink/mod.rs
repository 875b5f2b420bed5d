//! Turns events into output for people and scripts: tables, JSON, progress.
//!
//! Here live the sinks, one form a file, and [`SinkSet`], which hands each event to all of them. The module uses `event`,
//! `overview` and the crate `nodeset`, and knows no command line. What always holds: a sink decides nothing, it shows what the
//! [`Ledger`] says; a sink that fails is dropped with one warning, and neither the run nor another sink notices; text
//! that came from a node reaches a terminal only through [`text`]. Start reading at [`Sink`].

mod command_output;
mod contrail_status;
mod csv;
pub mod encode;
mod evidence;
#[cfg(test)]
mod fixtures;
mod footer;
mod grid;
mod hint;
mod html;
mod json;
mod logs;
mod overview;
mod progress;
mod prom;
#[cfg(test)]
pub(crate) mod schema;
pub mod snapshot_diff;
mod table;
pub mod text;
mod watch;
mod yaml;

use std::collections::BTreeSet;
use std::io;

use crate::event::{Ledger, RunEvent};

pub use self::contrail_status::ContrailStatusSink;
pub use self::csv::CsvSink;
pub use self::grid::plain_table;
pub use self::html::HtmlSink;
pub use self::json::{JsonSink, JsonlSink};
pub use self::logs::{LogJsonSink, LogSink};
pub use self::overview::{OverviewOptions, OverviewSink};
pub use self::progress::{OutlineStep, PlainProgressSink, ProgressOptions, ProgressSink, RunOutline};
pub use self::prom::PromSink;
pub use self::table::{TableOptions, TableSink};
pub use self::watch::{watch_frame, watch_lines};
pub use self::yaml::YamlSink;

/// Shows a run.
pub trait Sink: Send {
    /// Handles an event that `ledger` has already applied.
    ///
    /// # Errors
    ///
    /// [`SinkError::Closed`] if the reader of the output has closed it, another variant if it cannot be written.
    fn event(&mut self, event: &RunEvent, ledger: &Ledger) -> Result<(), SinkError>;

    /// Ends the run: writes the rest and flushes. Called once, as the last call.
    ///
    /// # Errors
    ///
    /// As [`Sink::event`].
    fn finish(&mut self, ledger: &Ledger, exit_code: u8) -> Result<(), SinkError>;
}

/// Why a sink cannot write.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The reader, such as `head`, has closed the output: not worth a message.
    #[error("the output was closed")]
    Closed,
    /// The output could not be written.
    #[error("cannot write the output")]
    Io(#[source] io::Error),
    /// A value cannot be encoded as JSON.
    #[error("cannot encode the output as JSON")]
    Json(#[source] serde_json::Error),
    /// A value cannot be encoded as YAML.
    #[error("cannot encode the output as YAML")]
    Yaml(#[source] serde_saphyr::ser::Error),
    /// A value cannot be encoded as CSV.
    #[error("cannot encode the output as CSV")]
    Csv(#[source] ::csv::Error),
    /// The report cannot be rendered.
    #[error("cannot encode the output as HTML")]
    Html(#[source] askama::Error),
    /// A value cannot be encoded as a metric.
    #[error("cannot encode the output as metrics")]
    Prom(#[source] prometheus::Error),
}

impl From<io::Error> for SinkError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Closed } else { Self::Io(error) }
    }
}

impl From<::csv::Error> for SinkError {
    fn from(error: ::csv::Error) -> Self {
        if !error.is_io_error() {
            return Self::Csv(error);
        }
        Self::from(io::Error::from(error))
    }
}

/// All sinks of a run.
#[derive(Default)]
pub struct SinkSet {
    sinks: Vec<(SinkId, Box<dyn Sink>)>,
    closed: bool,
    failed: BTreeSet<SinkId>,
}

/// Identifies one sink of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SinkId(usize);

impl SinkSet {
    /// Adds a sink. Events go to the sinks in the order in which they were added.
    pub fn push(&mut self, sink: Box<dyn Sink>) -> SinkId {
        let id = SinkId(self.sinks.len());
        self.sinks.push((id, sink));
        id
    }

    /// Passes an event to all sinks. Drops a sink that fails, and returns the warnings, safe to show.
    #[must_use]
    pub fn event(&mut self, event: &RunEvent, ledger: &Ledger) -> Vec<String> {
        self.each(|sink| sink.event(event, ledger))
    }

    /// Ends the run for all sinks, and drops them. Returns the warnings of those that failed, safe to show.
    #[must_use]
    pub fn finish(&mut self, ledger: &Ledger, exit_code: u8) -> Vec<String> {
        let warnings = self.each(|sink| sink.finish(ledger, exit_code));
        // Dropping the sinks closes their files.
        self.sinks.clear();
        warnings
    }

    /// Whether the reader of an output has closed it. The run continues anyway.
    #[must_use]
    pub fn stdout_closed(&self) -> bool {
        self.closed
    }

    /// The sinks whose output is incomplete for a reason other than a closed pipe.
    #[must_use]
    pub fn failed(&self) -> &BTreeSet<SinkId> {
        &self.failed
    }

    fn each(&mut self, mut tell: impl FnMut(&mut dyn Sink) -> Result<(), SinkError>) -> Vec<String> {
        let mut warnings = Vec::new();
        self.sinks.retain_mut(|(id, sink)| match tell(sink.as_mut()) {
            Ok(()) => true,
            // Not a failure: `ctl … | head` closes the output on purpose.
            Err(SinkError::Closed) => {
                self.closed = true;
                false
            }
            Err(error) => {
                self.failed.insert(*id);
                warnings.push(warning(&error));
                false
            }
        });
        warnings
    }
}

/// The error with its causes, on one line.
fn warning(error: &SinkError) -> String {
    let mut words = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        words.push_str(": ");
        words.push_str(&cause.to_string());
        source = cause.source();
    }
    text::single_line(&words)
}

#[cfg(test)]
mod tests {
    use super::fixtures::{self, SharedWriter};
    use super::*;

    /// Fails with the given error.
    struct FailingSink(Option<SinkError>);

    impl Sink for FailingSink {
        fn event(&mut self, _event: &RunEvent, _ledger: &Ledger) -> Result<(), SinkError> {
            self.0.take().map_or(Ok(()), Err)
        }

        fn finish(&mut self, _ledger: &Ledger, _exit_code: u8) -> Result<(), SinkError> {
            panic!("it was dropped")
        }
    }

    #[test]
    fn a_failing_sink_is_dropped_and_the_others_continue() {
        let out = SharedWriter::default();
        let mut sinks = SinkSet::default();
        sinks.push(Box::new(FailingSink(Some(io::Error::other("disk\x1b full").into()))));
        sinks.push(Box::new(FailingSink(Some(io::Error::from(io::ErrorKind::BrokenPipe).into()))));
        sinks.push(Box::new(CsvSink::new(out.writer())));
        let (events, ledger) = fixtures::restart();
        let warnings: Vec<String> = events.iter().flat_map(|event| sinks.event(event, &ledger)).collect();
        assert_eq!(warnings, [r"cannot write the output: disk\x1b full"]);
        assert!(sinks.stdout_closed());
        assert_eq!(sinks.failed().iter().collect::<Vec<_>>(), [&SinkId(0)]);
        assert_eq!(sinks.finish(&ledger, 0), Vec::<String>::new());
        assert_eq!(out.text().lines().count(), 4);
    }

    #[test]
    fn a_closed_output_is_quiet_whatever_the_form() {
        let (events, ledger) = fixtures::restart();
        let closed = || Box::new(fixtures::ClosedPipe) as Box<dyn io::Write + Send>;
        let options = TableOptions::default();
        let all: [Box<dyn Sink>; 8] = [
            Box::new(JsonSink::new(closed())),
            Box::new(JsonlSink::new(closed())),
            Box::new(YamlSink::new(closed())),
            Box::new(CsvSink::new(closed())),
            Box::new(ContrailStatusSink::new(None, closed())),
            Box::new(HtmlSink::new(closed())),
            Box::new(PromSink::new(closed())),
            Box::new(TableSink::new(options, closed(), Box::new(io::sink()))),
        ];
        for sink in all {
            let mut sinks = SinkSet::default();
            sinks.push(sink);
            let mut warnings: Vec<String> = events.iter().flat_map(|event| sinks.event(event, &ledger)).collect();
            warnings.extend(sinks.finish(&ledger, 0));
            assert_eq!(warnings, Vec::<String>::new());
            assert!(sinks.stdout_closed());
            assert!(sinks.failed().is_empty());
        }
    }
}
