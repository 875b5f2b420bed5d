//! The current activity or wait of a node, or of the run as a whole.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A current activity, for the display only. The default is none: the earlier activity is over.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ActivityPhase {
    /// The kind of activity.
    pub kind: PhaseKind,
    /// The activity, such as `restarting contrail-api:0`; unused for a gate or a lock. Untrusted text: sinks make it
    /// safe.
    pub what: String,
    /// Why it takes time, such as `STOPPING` or `locked by …`. Untrusted text: sinks make it safe.
    pub why: Option<String>,
    /// The service of a gate, if it has one.
    pub service: Option<String>,
    /// Its age at the time of the report.
    pub elapsed: Duration,
    /// Its time limit, from its start; none without a limit.
    pub limit: Option<Duration>,
}

/// The kind of an [`ActivityPhase`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhaseKind {
    /// An action.
    #[default]
    Work,
    /// A condition must hold before the run continues.
    Gate,
    /// Another run holds the lock of the node.
    Lock,
    /// The pause between two batches.
    Pause,
}

impl ActivityPhase {
    /// An action.
    #[must_use]
    pub fn work(what: impl Into<String>) -> Self {
        Self { what: what.into(), ..Self::default() }
    }

    /// A wait for a condition; `why` is the current state.
    #[must_use]
    pub fn wait(kind: PhaseKind, why: impl Into<String>) -> Self {
        Self { kind, why: Some(why.into()), ..Self::default() }
    }

    /// Adds the service.
    #[must_use]
    pub fn of_service(self, service: impl Into<String>) -> Self {
        Self { service: Some(service.into()), ..self }
    }

    /// Adds the state that takes time, and its age.
    #[must_use]
    pub fn in_state(self, state: impl Into<String>, elapsed: Duration) -> Self {
        Self { why: Some(state.into()), elapsed, ..self }
    }

    /// Adds the time limit, of which `elapsed` has passed.
    #[must_use]
    pub fn within(self, elapsed: Duration, limit: Duration) -> Self {
        Self { elapsed, limit: Some(limit), ..self }
    }

    /// Whether there is no activity or wait.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.what.is_empty() && self.why.is_none()
    }

    /// Whether both are the same activity, regardless of time.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        // The times differ in every report of one wait, so they do not count.
        self.kind == other.kind && self.what == other.what && self.why == other.why && self.service == other.service
    }
}
