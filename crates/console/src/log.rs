//! The log of `-v` and `--log-file`.
//!
//! Invariants: an event is one line, and no character of it acts on a terminal or hides, whatever a node put into
//! its fields, its message or the names of its spans (`OneLine`); a file of it is its user's alone.

use std::fmt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;

use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::{FilterFn, LevelFilter};
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::error::CliError;
use ctl_sink::text;

/// Starts the log, if one was asked for.
///
/// # Errors
/// If the file cannot be opened.
pub fn start(verbose: u8, log_file: Option<&Path>) -> Result<(), CliError> {
    let level = match (verbose, log_file) {
        (0, None) => return Ok(()),
        (0 | 1, _) => Level::DEBUG,
        (_, _) => Level::TRACE,
    };
    let ours = verbose < 2;
    let filter = FilterFn::new(move |metadata| {
        // Two `-v` show the libraries as well, but not their TRACE.
        is_ours(metadata.target()) || (!ours && *metadata.level() <= Level::DEBUG)
    });
    let builder = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::from_level(level))
        // No colors: escape sequences would be made visible by `OneLine` anyway.
        .with_ansi(false)
        .event_format(OneLine(Format::default().with_ansi(false).with_target(!ours)));
    let started = match log_file {
        Some(path) => {
            let mut options = std::fs::File::options();
            let file = options
                .create(true)
                .append(true)
                // A log may quote output of nodes, so only its user may read it.
                .mode(0o600)
                .open(path)
                .map_err(|error| CliError::usage(format!("--log-file {}: {error}", path.display())))?;
            set(builder.with_writer(Mutex::new(file)).finish(), filter)
        }
        None => set(builder.with_writer(std::io::stderr).finish(), filter),
    };
    // `ctl top` runs commands in its own process, and the first log stays.
    if !started {
        tracing::debug!("a log is there already");
    }
    Ok(())
}

/// Whether an event comes from a crate of this workspace.
fn is_ours(target: &str) -> bool {
    ["contrail_ctl", "ctl_", "nodeset", "openssh_config"].iter().any(|ours| target.starts_with(ours))
}

fn set<S, F>(subscriber: S, filter: FilterFn<F>) -> bool
where
    S: Subscriber + Send + Sync + for<'a> LookupSpan<'a>,
    F: Fn(&Metadata<'_>) -> bool + Send + Sync + 'static,
{
    use tracing_subscriber::layer::SubscriberExt;
    tracing::subscriber::set_global_default(subscriber.with(filter)).is_ok()
}

/// Another format's text of an event, as one line that is safe to show.
struct OneLine<F>(F);

impl<S, N, F> FormatEvent<S, N> for OneLine<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        // The writer adds the end of the line; all other control characters are made visible.
        writeln!(writer, "{}", text::visible(line.trim_end_matches('\n')))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, PoisonError};

    use super::*;

    #[derive(Clone, Default)]
    struct SharedLog(Arc<Mutex<Vec<u8>>>);

    impl Write for SharedLog {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_line_whatever_a_node_says() {
        let shared = SharedLog::default();
        let out = shared.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::TRACE)
            .with_ansi(false)
            .event_format(OneLine(Format::default().with_ansi(false)))
            .with_writer(move || out.clone())
            .finish();
        let hostile = "a\x1b]52;c;aGk=\x07\nFORGED line\r\u{9b}2J\u{202e}\u{200b}\u{feff}";
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("node", node = hostile);
            let _entered = span.enter();
            tracing::debug!(said = hostile, debugged = ?hostile, shown = %hostile, "it says: {hostile}");
            tracing::warn!("{hostile}");
        });
        let bytes = shared.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let text = String::from_utf8(bytes).expect("text");
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.lines().all(|line| text::visible(line) == line), "{text}");
        assert!(text.contains("\\nFORGED line"), "{text}");
    }
}
