//! The gate of time: a service stays up as the same process for the time that the user set.
//!
//! The proof of a start watches the process anyway, so the proof itself waits; this file shows that, and whether the gate
//! was met. Invariants: without a time nothing is shown; the time is shown once a second.

use std::time::Duration;

use crate::action::obligations::TargetContext;
use ctl_event::{ActivityPhase, PhaseKind};
use ctl_transport::Transport;

/// The message of a result whose gate a signal kept from being waited for.
pub(crate) const CUT: &str = "interrupted before its gate was met";

/// The wait of one service.
pub(crate) struct StableGate<'a, T: Transport> {
    context: &'a TargetContext<'a, T>,
    /// The name of the state that counts as up.
    word: &'static str,
    /// For how long it has to stay up.
    pub(crate) time: Duration,
    /// The second that was shown last.
    shown: Option<u64>,
}

impl<'a, T: Transport> StableGate<'a, T> {
    /// For a service that is `word` when it is up.
    pub(crate) fn new(context: &'a TargetContext<'a, T>, word: &'static str, time: Duration) -> Self {
        Self { context, word, time, shown: None }
    }

    fn text(&self) -> String {
        format!("{} for {:?}", self.word, self.time)
    }

    /// Shows that it is waited for.
    pub(crate) async fn start(&self) {
        self.context.gate(None, self.text()).await;
    }

    /// Shows for how long a process has been up, each second.
    pub(crate) async fn show(&mut self, service: &str, up: Duration) {
        // The process is read more often than once a second.
        if self.time.is_zero() || self.shown == Some(up.as_secs()) {
            return;
        }
        if self.shown.is_none() {
            self.start().await;
        }
        self.shown = Some(up.as_secs());
        let phase = ActivityPhase::wait(PhaseKind::Gate, self.word).of_service(service.to_owned());
        self.context.phase(phase.within(up, self.time)).await;
    }

    /// Shows that it was met. `is_cut`: a signal ended the waiting before the time was over, so that it was not.
    pub(crate) async fn ended(&self, is_cut: bool) {
        if !self.time.is_zero() {
            let short = if is_cut { ", not waited for to the end" } else { "" };
            self.context.gate(Some(!is_cut), format!("{}{short}", self.text())).await;
        }
    }

    /// Shows that it was not met.
    pub(crate) async fn not_met(&self) {
        self.context.gate(Some(false), self.text()).await;
    }
}
