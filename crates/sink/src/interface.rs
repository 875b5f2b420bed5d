//! What every sink does, and why it may fail.

use std::io;

use ctl_event::{Ledger, RunEvent};

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
    Csv(#[source] csv::Error),
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

impl From<csv::Error> for SinkError {
    fn from(error: csv::Error) -> Self {
        if !error.is_io_error() {
            return Self::Csv(error);
        }
        Self::from(io::Error::from(error))
    }
}
