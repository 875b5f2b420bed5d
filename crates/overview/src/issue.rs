//! One problem of the cluster, and its subject.

use nodeset::NodeSet;

use super::health::TargetHealth;
use ctl_event::{FailureKind, Outcome, Stage, TargetResult};

/// The same problem on one or more nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterIssue {
    /// The severity; none for a finding, which stops nothing.
    pub health: Option<TargetHealth>,
    /// A service, a supervisord instance, or [`ClusterIssue::NODE`].
    pub what: String,
    /// The role, if there is one and it is the same on all nodes.
    pub role: Option<String>,
    /// The nodes.
    pub nodes: NodeSet,
    /// The reason in one line that starts with the state. Untrusted text: sinks make it safe.
    pub reason: String,
    /// Number of results or findings: an unreachable node has one for each service that the user named.
    pub count: usize,
}

impl ClusterIssue {
    /// Subject of an issue of the whole node. No service can have this name, although a program may be called `node`.
    pub const NODE: &'static str = "the node";
}

/// The subject of a problem: the service, unless its supervisord or its node has failed as a whole.
pub(super) fn what(result: &TargetResult) -> &str {
    let of_service = result.state.is_some()
        || result.failure.as_ref().is_some_and(|failure| {
            failure.kind == FailureKind::NoSuchService || matches!(failure.stage, Stage::Act | Stage::Verify)
        });
    let service = result.service.as_deref().unwrap_or(ClusterIssue::NODE);
    match (result.outcome, result.supervisor.as_deref(), result.via) {
        // The cause is the node, however many services the user named.
        (Outcome::Unreachable | Outcome::Skipped, ..) => ClusterIssue::NODE,
        (_, Some(supervisor), _) if !of_service => supervisor,
        (_, Some(_), _) | (_, None, Some(_)) => service,
        (_, None, None) if of_service => service,
        (_, None, None) => ClusterIssue::NODE,
    }
}
