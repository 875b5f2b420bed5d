//! Signals, and the answers to them.
//!
//! Here live [`signals`], [`StopTexts`] and [`LastSignal`]. Uses `terminal` and `output_closed`. Invariants: the first
//! signal asks a run to stop, and the last one ends the process soon, whatever it is stuck in.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::error::CliError;
use crate::terminal::StderrMessages;
use crate::{output_closed, secret, terminal};
use ctl_event::CancelReason;

/// What a signal does to the run, in words for its sender: printed even if nothing else is, since it answers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopTexts {
    /// The first signal is the usual way to end the command.
    None,
    /// Nothing is changed.
    Reading,
    /// Nothing is changed, and some of the answers alone are of no use.
    Comparing,
    /// Nodes are changed. `guarded`: guards start what it stops on the way. `resumed`: an earlier part of the run may
    /// have changed nodes.
    Changing {
        /// Whether guards start again what the run has stopped.
        guarded: bool,
        /// Whether it is the rest of an earlier run.
        resumed: bool,
    },
}

/// The signal after which the process waits for nothing.
pub struct LastSignal {
    /// Counted from 1.
    number: u32,
    messages: StderrMessages,
    /// Dropped when there is nothing left to leave.
    work: Weak<()>,
}

impl StopTexts {
    /// The last signal for a run with these texts, as long as there is `work`.
    pub fn last(self, messages: &StderrMessages, work: &Arc<()>) -> LastSignal {
        // Each kind of run has that many steps before: stop, stop waiting, leave.
        let number = match self {
            Self::None => 1,
            Self::Reading | Self::Comparing => 2,
            Self::Changing { .. } => 3,
        };
        LastSignal { number, messages: messages.clone(), work: Arc::downgrade(work) }
    }

    /// The message when the run is cancelled for `reason`; `has_started`: nodes may have been changed.
    pub const fn text(self, reason: CancelReason, has_started: bool) -> Option<&'static str> {
        match (reason, self) {
            (CancelReason::OutputClosed | CancelReason::JournalLost, _) | (_, Self::None) => None,
            (CancelReason::GivenUp, Self::Changing { guarded: true, .. }) => Some(
                "Not waiting any longer; guards on the nodes will start again what a restart or update has stopped. \
                 Press Ctrl-C again to exit now.",
            ),
            (CancelReason::GivenUp, Self::Changing { .. }) => {
                Some("Not waiting any longer. Press Ctrl-C again to exit now.")
            }
            // It is the last signal, which has its own message.
            (CancelReason::GivenUp, Self::Reading | Self::Comparing) => None,
            (_, Self::Changing { resumed, .. }) if has_started || resumed => {
                Some("Stopping: finishing the nodes in progress, starting no more. Press Ctrl-C again to stop waiting.")
            }
            (_, Self::Changing { .. }) => Some(
                "Stopping before the first change: this run has changed nothing. Press Ctrl-C again to stop waiting.",
            ),
            (_, Self::Reading) => Some("Stopping: showing what was read so far. Press Ctrl-C again to exit now."),
            (_, Self::Comparing) => Some("Stopping: nothing will be compared. Press Ctrl-C again to exit now."),
        }
    }
}

/// Signals as a run understands them. The `last` ends the process soon, even if it is stuck.
///
/// # Errors
/// If a signal cannot be caught.
pub fn signals(last: Option<LastSignal>) -> Result<mpsc::Receiver<CancelReason>, CliError> {
    let (sender, receiver) = mpsc::channel(4);
    let kinds = [
        (SignalKind::interrupt(), CancelReason::Interrupted),
        (SignalKind::terminate(), CancelReason::Terminated),
        (SignalKind::hangup(), CancelReason::HungUp),
    ];
    // Counted together: Ctrl-C and then SIGTERM are two signals.
    let (count, last) = (Arc::new(AtomicU32::new(0)), Arc::new(last));
    for (kind, reason) in kinds {
        // nohup ignores the end of the terminal on purpose.
        if reason == CancelReason::HungUp && terminal::is_ignored(kind.as_raw_value()) {
            continue;
        }
        let mut stream = signal(kind).map_err(|error| CliError::internal(format!("cannot catch signals: {error}")))?;
        let (sender, count, last) = (sender.clone(), Arc::clone(&count), Arc::clone(&last));
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                let number = count.fetch_add(1, Ordering::Relaxed) + 1;
                if let Some(last) = last.as_ref().as_ref().filter(|last| number >= last.number) {
                    // Said once, although more signals may follow.
                    if number == last.number {
                        last.messages.say("Exiting now.");
                    }
                    output_closed::leave_if_stuck(reason, last.work.clone());
                }
                // The run is over, and nobody listens to this signal any more.
                if sender.send(reason).await.is_err() {
                    return;
                }
            }
        });
    }
    // Those that came while a secret was typed were held back, and are delivered now that somebody listens.
    secret::release_signals();
    Ok(receiver)
}
