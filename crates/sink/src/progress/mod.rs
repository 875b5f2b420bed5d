//! The display during a run: its progress, its outcomes so far, and the current wait with the remaining time.
//!
//! Here live [`ProgressSink`], two lines that are redrawn on a terminal, and [`PlainProgressSink`], one line per batch
//! where nothing can be redrawn; `tally.rs` counts, `lines.rs` fits the two lines to the terminal. They use `event`,
//! `nodeset` and this module. Invariants: the display is erased before the results of the run are written; a hidden
//! draw target costs nothing; progress never goes backwards. Start reading at [`ProgressSink::new`].

mod lines;
mod plain;
mod tally;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use self::lines::ActivityBoard;
pub use self::plain::PlainProgressSink;
use self::tally::RunTally;
pub use self::tally::{OutlineStep, RunOutline};
use super::{Sink, SinkError, text};
use ctl_event::{EventKind, Ledger, RunEvent};

/// Redraw interval while nothing happens.
const TICK: Duration = Duration::from_millis(200);

/// Columns to assume if the terminal does not report any.
const COLUMNS: usize = 80;

/// Style of the display.
pub struct ProgressOptions {
    /// Whether failures are red.
    pub color: bool,
    /// The current number of columns; `None` if the terminal does not report it.
    pub columns: Box<dyn Fn() -> Option<u16> + Send + Sync>,
}

/// Two lines that are redrawn.
pub struct ProgressSink {
    bar: ProgressBar,
    display: Arc<Mutex<ProgressDisplay>>,
}

/// The data of the lines.
struct ProgressDisplay {
    tally: RunTally,
    activities: ActivityBoard,
    started: Instant,
    options: ProgressOptions,
}

impl ProgressDisplay {
    fn lines(&self, now: Instant) -> Vec<String> {
        let columns = (self.options.columns)().map_or(COLUMNS, usize::from);
        let elapsed = now.saturating_duration_since(self.started);
        lines::lines(&self.tally, &self.activities, (elapsed, now), (columns, self.options.color))
    }
}

impl ProgressSink {
    /// Draws the progress of a run with this outline on `target`, from its start to its end.
    #[must_use]
    pub fn new(target: ProgressDrawTarget, outline: RunOutline, options: ProgressOptions) -> Self {
        let bar = ProgressBar::with_draw_target(None, target);
        let display = ProgressDisplay {
            tally: RunTally::new(outline),
            activities: ActivityBoard::default(),
            started: Instant::now(),
            options,
        };
        let display = Arc::new(Mutex::new(display));
        let drawn = Arc::clone(&display);
        let draw = move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
            let lines = drawn.lock().unwrap_or_else(PoisonError::into_inner).lines(Instant::now());
            // A frame that cannot be rendered is drawn at the next tick.
            out.write_str(&lines.join("\n")).unwrap_or_default();
        };
        // The template is a constant, and a bar without the style still works.
        if let Ok(style) = ProgressStyle::with_template("{display}") {
            bar.set_style(style.with_key("display", draw));
        }
        Self { bar, display }
    }

    /// The bar, for other writers of the same terminal to suspend while they write.
    #[must_use]
    pub fn bar(&self) -> ProgressBar {
        self.bar.clone()
    }

    fn start(&self) {
        self.display.lock().unwrap_or_else(PoisonError::into_inner).started = Instant::now();
        self.bar.reset();
        self.bar.enable_steady_tick(TICK);
    }

    fn clear(&self) {
        if !self.bar.is_finished() {
            self.bar.finish_and_clear();
        }
    }
}

impl Sink for ProgressSink {
    fn event(&mut self, event: &RunEvent, _ledger: &Ledger) -> Result<(), SinkError> {
        if self.bar.is_hidden() {
            return Ok(());
        }
        {
            // Released before the bar draws: drawing takes the same lock.
            let mut display = self.display.lock().unwrap_or_else(PoisonError::into_inner);
            display.tally.apply(&event.kind);
            display.activities.apply(&event.kind, Instant::now());
        }
        match &event.kind {
            EventKind::RunStarted(_) => self.start(),
            EventKind::RunFinished { .. } => self.clear(),
            EventKind::Notice { message } => self.bar.println(text::single_line(message)),
            EventKind::BatchStarted { .. }
            | EventKind::NodeStarted { .. }
            | EventKind::Progress { .. }
            | EventKind::Inspected { .. }
            | EventKind::NodeFacts(_)
            | EventKind::Item(_)
            | EventKind::LogLines(_)
            | EventKind::PendingUpdate(_)
            | EventKind::Gate { .. }
            | EventKind::Result(_)
            | EventKind::NodeFinished { .. }
            | EventKind::CancelBegan { .. } => {}
        }
        Ok(())
    }

    fn finish(&mut self, _ledger: &Ledger, _exit_code: u8) -> Result<(), SinkError> {
        self.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
