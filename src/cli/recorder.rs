//! Where the events of a run go: first to the journal, then to the ledger, then to the sinks.
//!
//! Here lives [`EventRecorder`], for runs and for the replay of recorded ones. Uses `journal`, `event` and `sink`. Invariants:
//! an event is in the journal before anything is shown of it; a sink that fails hurts neither the run nor the others.

use tokio::sync::mpsc;

use super::output;
use ctl_args::settings::OutputSettings;
use ctl_console::exit::ExitStatus;
use ctl_console::signals::StopTexts;
use ctl_console::terminal::StderrMessages;
use ctl_event::{CancelReason, EventKind, ItemEvent, Ledger, RunEvent, TargetResult};
use ctl_journal::Journal;
use ctl_plan::Plan;
use ctl_run::JournalAck;
use ctl_sink::{SinkSet, text};

/// Hands events out.
pub(super) struct EventRecorder {
    pub(super) sinks: SinkSet,
    pub(super) ledger: Ledger,
    /// Counts the events that the ledger has, which of a resumed run are not all that the journal has.
    seq: u64,
    /// Results of an earlier part of the run that still hold.
    pub(super) carried: Vec<TargetResult>,
    /// The known scopes of its items.
    pub(super) carried_scopes: Vec<ItemEvent>,
    /// The journal, and the run's ID in it.
    pub(super) journal: Option<(Journal, String)>,
    /// Whether the journal could not be written, which is reported once.
    pub(super) journal_failed: bool,
    pub(super) messages: StderrMessages,
    /// Whether notices are printed here, and not by a display.
    pub(super) prints_notices: bool,
    pub(super) stop: StopTexts,
    /// Notified when the output is closed, if the command ends then.
    pub(super) closed: Option<mpsc::Sender<CancelReason>>,
}

impl EventRecorder {
    /// A recorder without a journal.
    pub(super) fn new(sinks: SinkSet, messages: StderrMessages, stop: StopTexts) -> Self {
        Self {
            sinks,
            ledger: Ledger::default(),
            seq: 0,
            carried: Vec::new(),
            carried_scopes: Vec::new(),
            journal: None,
            journal_failed: false,
            messages,
            prints_notices: false,
            stop,
            closed: None,
        }
    }

    /// A recorder of what `plan` reads, of which no more than the progress is shown.
    pub(super) fn progress_only(plan: &Plan, output: &OutputSettings, stop: StopTexts) -> Self {
        let (sinks, messages) = output::progress(output, plan);
        let prints_notices = !output.quiet && !output::shows_progress(output);
        Self { prints_notices, ..Self::new(sinks, messages, stop) }
    }

    /// Takes in events in their order. Whether the journal has them.
    pub(super) fn observe(&mut self, events: &[RunEvent]) -> JournalAck {
        // First the journal: nothing may be shown that a resume would not know.
        let written = match &mut self.journal {
            Some((journal, run)) => journal.append_all(run, events),
            None => Ok(()),
        };
        for event in events {
            if let EventKind::Notice { message } = &event.kind
                && self.prints_notices
            {
                self.messages.say(&text::single_line(message));
            }
            // Shown even if the journal failed, so that the operator sees what the nodes did.
            self.apply(event.clone());
            if let EventKind::CancelBegan { reason } = &event.kind
                // After the event is applied, because the text depends on whether a batch has started.
                && let Some(text) = self.stop.text(*reason, self.ledger.batch().is_some())
            {
                self.messages.say(text);
            }
            // Earlier results follow the start: sinks need the head first.
            if matches!(event.kind, EventKind::RunStarted(_)) {
                for scope in std::mem::take(&mut self.carried_scopes) {
                    self.apply(RunEvent { kind: EventKind::Item(scope), ..event.clone() });
                }
                for result in std::mem::take(&mut self.carried) {
                    self.apply(RunEvent { kind: EventKind::Result(result), ..event.clone() });
                }
            }
        }
        match written {
            Ok(()) => JournalAck::Yes,
            Err(error) => {
                // Every later event meets the same error.
                if !std::mem::replace(&mut self.journal_failed, true) {
                    self.messages.say(&format!("error: {error}; no further nodes will be started"));
                }
                // The run starts no further nodes when it gets this answer.
                JournalAck::No
            }
        }
    }

    /// Gives one event to the ledger and the sinks.
    pub(super) fn apply(&mut self, event: RunEvent) {
        // Renumbered: the ledger of a resumed run does not get all events of the journal.
        let event = RunEvent { seq: self.seq, ..event };
        // Progress is not recorded, so it takes no number.
        self.seq += u64::from(!matches!(event.kind, EventKind::Progress { .. }));
        if let Err(error) = self.ledger.apply(&event) {
            tracing::error!(%error, "an event that does not fit");
        }
        for warning in self.sinks.event(&event, &self.ledger) {
            self.messages.say(&format!("warning: {warning}"));
        }
        if self.sinks.stdout_closed()
            // `take`: one notice is enough, and the channel has room for one.
            && let Some(closed) = self.closed.take()
            && closed.try_send(CancelReason::OutputClosed).is_err()
        {
            tracing::debug!("it is ending already");
        }
    }

    /// Ends the sinks of a run that ends with `exit`.
    pub(super) fn finish(&mut self, exit: ExitStatus) {
        for warning in self.sinks.finish(&self.ledger, exit.code()) {
            self.messages.say(&format!("warning: {warning}"));
        }
    }
}
