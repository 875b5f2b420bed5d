//! Verdicts: the end of the work on a process, or on a service that init runs, without the names of a result.
//!
//! Data and conclusions from it, without I/O. Every action ends in one, and `results.rs` makes results of them.

use ctl_event::{Failure, FailureKind, Outcome, ProcessState, Stage, TargetState};
use ctl_supervisor::{ProcessInfo, SupervisorError};

/// What remains to be done about a target that was read again.
pub(super) const RETRY_HINT: &str = "fix it and resume the run, or repeat what did not succeed with `ctl runs retry`; its log: `ctl logs {service} --stderr -w {node}`";

/// The end of the work on a process.
#[derive(Debug, Clone)]
pub(super) struct ActionVerdict {
    pub(super) outcome: Outcome,
    pub(super) process: Option<ProcessInfo>,
    pub(super) message: String,
    pub(super) failure: Option<Failure>,
}

impl ActionVerdict {
    pub(super) fn good(outcome: Outcome, process: ProcessInfo, message: impl Into<String>) -> Self {
        Self { outcome, process: Some(process), message: message.into(), failure: None }
    }

    pub(super) fn failed(
        process: Option<ProcessInfo>,
        stage: Stage,
        kind: FailureKind,
        message: impl Into<String>,
    ) -> Self {
        let failure = Some(Failure::new(stage, kind, message));
        Self { outcome: Outcome::Failed, process, message: String::new(), failure }
    }

    pub(super) fn error(error: &SupervisorError, stage: Stage) -> Self {
        let failure = error.failure(stage);
        let unread = failure.outcome();
        // Past the first reading something may have been sent, so a node that is gone now is not merely unreachable.
        let outcome = if unread == Outcome::Unreachable && stage != Stage::Inspect { Outcome::Failed } else { unread };
        Self { outcome, process: None, message: String::new(), failure: Some(failure) }
    }

    /// Whether the work ended badly, and the process is not known to be up.
    pub(super) fn leaves_it_down(&self) -> bool {
        let down = |process: &ProcessInfo| matches!(process.state, ProcessState::Stopped | ProcessState::Stopping);
        self.outcome.is_bad() && self.process.as_ref().is_none_or(down)
    }

    /// Counts a change that a controller which is gone has made, although nothing was left to do.
    pub(super) fn was_begun(&mut self, before: Option<&TargetState>) {
        let differs = before.is_some_and(|before| {
            let now = self.process.as_ref().map(|process| process.state);
            before.state.is_some_and(is_up) != now.is_some_and(is_up)
        });
        // Nothing was left to do, yet the state differs from the record: the controller that is gone changed it.
        if self.outcome == Outcome::Ok && differs {
            self.outcome = Outcome::Changed;
        }
    }

    /// Notes the process as it was seen when the start that was still owed was sent.
    pub(super) fn was_mended(&mut self, seen: Option<ProcessInfo>, paid: bool) {
        if let Some(failure) = &mut self.failure {
            if paid {
                failure.message.push_str("; the start was sent again");
            } else {
                failure.hint = Some("it may still be stopped: start it, and check the node".to_owned());
            }
        }
        // The newest reading is the one to report.
        self.process = seen.or(self.process.take());
    }

    pub(super) fn hinted(mut self, hint: impl Into<String>) -> Self {
        if let Some(failure) = &mut self.failure {
            failure.hint = Some(hint.into());
        }
        self
    }
}

/// The same of a service that init runs.
pub(super) struct InitVerdict {
    pub(super) outcome: Outcome,
    pub(super) state: Option<ProcessState>,
    pub(super) pid: Option<u32>,
    pub(super) message: String,
    pub(super) failure: Option<Failure>,
}

/// Whether supervisord counts the state as running (`supervisor/states.py`, RUNNING_STATES).
pub(super) fn is_up(state: ProcessState) -> bool {
    match state {
        ProcessState::Running | ProcessState::Starting | ProcessState::Backoff => true,
        ProcessState::Stopped
        | ProcessState::Stopping
        | ProcessState::Exited
        | ProcessState::Fatal
        | ProcessState::Unknown => false,
    }
}
