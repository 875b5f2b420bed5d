//! What is seen while a run goes on: how far it is, what has come of it, what is waited for, and how long still.
//!
//! Here live [`ProgressSink`], two lines that move on a terminal, and [`PlainProgressSink`], a line a batch where nothing can
//! be drawn; `tally.rs` counts, `lines.rs` fits the two lines to the terminal. They use `event`, `nodeset` and this room.
//! What always holds: the display is gone from the screen before the run's results are written; a hidden target costs
//! nothing; it never goes backwards. Start reading at [`ProgressSink::new`].

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
use crate::event::{EventKind, Ledger, RunEvent};

/// Time between two drawings while nothing happens.
const TICK: Duration = Duration::from_millis(200);

/// Columns where the terminal does not say how many it has.
const COLUMNS: usize = 80;

/// How the display looks.
pub struct ProgressOptions {
    /// Whether failures are red.
    pub color: bool,
    /// How many columns the terminal has now; none where it does not say.
    pub columns: Box<dyn Fn() -> Option<u16> + Send + Sync>,
}

/// Two lines that move.
pub struct ProgressSink {
    bar: ProgressBar,
    display: Arc<Mutex<ProgressDisplay>>,
}

/// What the lines are made of.
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
    /// Draws on `target` how a run of this outline goes, from its start to its end.
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
            // A frame that cannot be put together is drawn with the next tick.
            out.write_str(&lines.join("\n")).unwrap_or_default();
        };
        // The template is ours and fixed; a bar in another style would still be a bar.
        if let Ok(style) = ProgressStyle::with_template("{display}") {
            bar.set_style(style.with_key("display", draw));
        }
        Self { bar, display }
    }

    /// What is drawn on: whoever writes to the same terminal meanwhile suspends it.
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
            // Not held while it is drawn: drawing takes it.
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
