//! What a node, or the run as a whole, is busy with or waits for.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment's activity, for the display only. The default is none: whoever was busy is so no longer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ActivityPhase {
    /// What sort of activity.
    pub kind: PhaseKind,
    /// What is done, such as `restarting contrail-api:0`; not used for a gate or a lock. Untrusted text: sinks make it
    /// safe.
    pub what: String,
    /// Why it takes time, such as `STOPPING` or `locked by …`. Untrusted text: sinks make it safe.
    pub why: Option<String>,
    /// The service a gate waits for, where it is one's.
    pub service: Option<String>,
    /// For how long it had gone on when it was reported.
    pub elapsed: Duration,
    /// After how long, counted from its beginning, it is given up; none where nothing bounds it.
    pub limit: Option<Duration>,
}

/// What sort of activity a [`ActivityPhase`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhaseKind {
    /// Something is done.
    #[default]
    Work,
    /// A condition has to hold before the run continues.
    Gate,
    /// Another run holds the lock of the node.
    Lock,
    /// The pause between two batches.
    Pause,
}

impl ActivityPhase {
    /// Something is done.
    #[must_use]
    pub fn work(what: impl Into<String>) -> Self {
        Self { what: what.into(), ..Self::default() }
    }

    /// A wait for a condition that does not hold yet: `why` says what is seen instead.
    #[must_use]
    pub fn wait(kind: PhaseKind, why: impl Into<String>) -> Self {
        Self { kind, why: Some(why.into()), ..Self::default() }
    }

    /// With its service.
    #[must_use]
    pub fn of_service(self, service: impl Into<String>) -> Self {
        Self { service: Some(service.into()), ..self }
    }

    /// With the state that makes it take time, and for how long that has lasted.
    #[must_use]
    pub fn in_state(self, state: impl Into<String>, elapsed: Duration) -> Self {
        Self { why: Some(state.into()), elapsed, ..self }
    }

    /// With the time after which it is given up, `elapsed` of which is over.
    #[must_use]
    pub fn within(self, elapsed: Duration, limit: Duration) -> Self {
        Self { elapsed, limit: Some(limit), ..self }
    }

    /// Whether nothing is done or waited for.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.what.is_empty() && self.why.is_none()
    }

    /// Whether both are the same activity, whatever the time.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.kind == other.kind && self.what == other.what && self.why == other.why && self.service == other.service
    }
}
