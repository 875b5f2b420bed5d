//! The sinks of a run, each of which gets every event until it fails.

use std::collections::BTreeSet;

use super::interface::{Sink, SinkError};
use super::text;
use ctl_event::{Ledger, RunEvent};

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
    use std::io;

    use super::super::CsvSink;
    use super::super::fixtures::{self, SharedWriter};
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
}
