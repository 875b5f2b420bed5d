//! What an earlier part of a run left on the nodes that it had acted on.
//!
//! Pure data, from the record of the run. A node that failed, or whose gate was not waited for, is read again before any
//! other node is acted on; a node that cannot be read again keeps its failure, which counts against the failure limit.

use ctl_event::{FailureKind, TargetResult, TargetState};

/// A node to be read again.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NodeRecheck {
    /// Its targets before the first action on them.
    pub before: Vec<TargetState>,
    /// The results that a new reading replaces.
    pub results: Vec<TargetResult>,
    /// Whether other targets of the node are still to be acted on.
    pub acts: bool,
}

impl NodeRecheck {
    /// The earlier result of a target, if the target is only read.
    #[must_use]
    pub fn result(&self, role: Option<&str>, supervisor: Option<&str>, service: Option<&str>) -> Option<&TargetResult> {
        self.results.iter().find(|result| {
            result.role.as_deref() == role
                && result.service.as_deref() == service
                && (result.supervisor.is_none() || result.supervisor.as_deref() == supervisor)
        })
    }
}

/// A node that is neither acted on nor read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FinishedNode {
    /// Why it failed, if it did.
    pub failed: Option<FailureKind>,
}
