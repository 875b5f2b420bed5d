//! How well one target is.

use crate::event::{FailureKind, Outcome, ProcessState, TargetResult};

/// How well a target is, from well to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// It does its work, or stands by as it should; also what was left out on purpose.
    Well,
    /// It runs and does not do its work yet, or is being started.
    Initializing,
    /// It was stopped, or is being stopped.
    Inactive,
    /// It runs and does not answer.
    Timeout,
    /// It ended by itself, cannot be started, or does not stay up.
    Failed,
    /// Its supervisord does not answer, or is not there.
    Down,
    /// Nobody knows: its node could not be reached or asked.
    Unreachable,
}

impl Health {
    /// Every value, in order.
    pub const ALL: [Self; 7] =
        [Self::Well, Self::Initializing, Self::Inactive, Self::Timeout, Self::Failed, Self::Down, Self::Unreachable];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Well => "active",
            Self::Initializing => "initializing",
            Self::Inactive => "inactive",
            Self::Timeout => "timeout",
            Self::Failed => "failed",
            Self::Down => "down",
            Self::Unreachable => "unreachable",
        }
    }

    /// How well the target of a result is.
    #[must_use]
    pub fn of(result: &TargetResult) -> Self {
        let kind = result.failure.as_ref().map(|failure| failure.kind);
        match result.outcome {
            Outcome::NotConfigured | Outcome::Skipped => Self::Well,
            Outcome::Unreachable | Outcome::TimedOut | Outcome::Unknown | Outcome::NotStarted => Self::Unreachable,
            Outcome::Failed => match kind {
                Some(FailureKind::SupervisorDown | FailureKind::SupervisorMissing) => Self::Down,
                _ => Self::Failed,
            },
            Outcome::Ok | Outcome::Changed => Self::of_process(result.state, result.functional.as_deref()),
        }
    }

    fn of_process(state: Option<ProcessState>, functional: Option<&str>) -> Self {
        let by_state = match state {
            None | Some(ProcessState::Running) => Self::Well,
            Some(ProcessState::Starting) => Self::Initializing,
            Some(ProcessState::Stopped | ProcessState::Stopping) => Self::Inactive,
            Some(ProcessState::Backoff | ProcessState::Exited | ProcessState::Fatal | ProcessState::Unknown) => {
                Self::Failed
            }
        };
        let by_word = match functional {
            None | Some("active" | "backup") => Self::Well,
            Some("initializing") => Self::Initializing,
            Some("inactive") => Self::Inactive,
            Some("timeout") => Self::Timeout,
            Some(_) => Self::Failed,
        };
        by_state.max(by_word)
    }
}

/// Why a target is not well, in one piece: `initializing (Database connection down)`, `FATAL (spawn error)`. Untrusted
/// text: sinks make it safe.
#[must_use]
pub fn reason(result: &TargetResult) -> String {
    if let Some(failure) = &result.failure {
        return format!("{}: {}", failure.kind, failure.message);
    }
    let word = match result.state {
        Some(state) if state != ProcessState::Running => state.as_str(),
        _ => result.functional.as_deref().unwrap_or(Health::of(result).as_str()),
    };
    let why = result.functional_reason.as_deref().unwrap_or(&result.message);
    if why.is_empty() { word.to_owned() } else { format!("{word} ({why})") }
}
