//! Numbers events and hands them to the observer of a run.

use std::time::Instant;

use ctl_event::{EventKind, RunEvent};

/// Whether the journal has an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum JournalAck {
    /// It has.
    Yes,
    /// It has not: nothing new may start.
    No,
}

/// Numbers events and hands them out.
pub(crate) struct Recorder<F: FnMut(&[RunEvent]) -> JournalAck> {
    started: Instant,
    seq: u64,
    /// Whether an event could not be recorded.
    pub(crate) is_lost: bool,
    observe: F,
}

impl<F: FnMut(&[RunEvent]) -> JournalAck> Recorder<F> {
    /// Numbers events from `seq` on, and gives them to `observe`.
    pub(crate) fn new(seq: u64, observe: F) -> Self {
        Self { started: Instant::now(), seq, is_lost: false, observe }
    }

    /// Milliseconds since the start.
    pub(crate) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Hands out events, in order and in one go.
    pub(crate) fn record(&mut self, kinds: impl IntoIterator<Item = EventKind>) {
        let mut events = Vec::new();
        for kind in kinds {
            // Progress is shown and forgotten, so it takes no number: the numbers in the journal have no gaps.
            let kept = !matches!(kind, EventKind::Progress { .. });
            let kind = if let EventKind::Result(result) = kind {
                EventKind::Result(result.with_names_in_hint())
            } else {
                kind
            };
            events.push(RunEvent { seq: self.seq, at: jiff::Timestamp::now(), elapsed: self.started.elapsed(), kind });
            self.seq += u64::from(kept);
        }
        if !events.is_empty() {
            // Once an event is lost the journal has a gap, so the flag stays set.
            self.is_lost |= (self.observe)(&events) == JournalAck::No;
        }
    }
}
