//! Facts about a node beyond its results.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::result::{Failure, Via};
use super::string_enum::string_enum;

/// Facts about a node beyond the state of its services, from `ctl status`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Node"))]
pub struct NodeFacts {
    /// Name of the node in the inventory.
    pub node: String,
    /// The supervisords that answered, in the order of the inventory's roles.
    pub supervisors: Vec<SupervisorFacts>,
    /// Versions of the node's Contrail packages by name. Untrusted text: sinks make it safe.
    pub packages: BTreeMap<String, String>,
    /// Problems that are not the state of a service.
    pub findings: Vec<NodeFinding>,
}

/// A supervisord that answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Supervisord"))]
pub struct SupervisorFacts {
    /// The role of the instance.
    pub role: String,
    /// Name of the instance, such as `supervisor-analytics`.
    pub name: String,
    /// Its socket path or URL; none if it was reached through the init wrapper.
    pub address: Option<String>,
    /// The backend that reached it.
    pub via: Via,
    /// Version of the supervisor package, if reported. Untrusted text: sinks make it safe.
    pub version: Option<String>,
    /// Process id of supervisord itself, if reported.
    pub pid: Option<u32>,
}

/// A problem on a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Finding"))]
pub struct NodeFinding {
    /// Its kind.
    pub kind: FindingKind,
    /// The role that it concerns, if any.
    pub role: Option<String>,
    /// A short description, the same on every node with this finding. Untrusted text: sinks make it safe.
    pub message: String,
    /// The evidence: paths, at most 20. Untrusted text: sinks make it safe.
    pub details: Vec<String>,
    /// The number of core files: `details` may not name them all.
    pub count: Option<u64>,
}

string_enum! {
    /// Kind of a finding. Later versions can add values.
    FindingKind {
        /// A process left a core file.
        CoreFiles = "core_files",
        /// Nothing listens on a socket file: it misleads a user who looks for the socket by its name.
        StaleSocket = "stale_socket",
        /// The node has the supervisord of a role that the inventory does not give it.
        UnlistedRole = "unlisted_role",
        /// The functional state of services cannot be read there.
        NoIntrospect = "no_introspect",
        /// The node could not be searched for stray files.
        NotSearched = "not_searched",
    }
}

/// Changes that an update of a supervisord would make to the named groups, from a run that only reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PendingUpdate {
    /// Name of the node in the inventory.
    pub node: String,
    /// The role of the supervisord.
    pub role: String,
    /// Name of the supervisord instance.
    pub supervisor: String,
    /// Groups new in its configuration. Untrusted text: sinks make it safe.
    pub added: Vec<String>,
    /// Groups that differ in its configuration. Untrusted text: sinks make it safe.
    pub changed: Vec<String>,
    /// Groups removed from its configuration. Untrusted text: sinks make it safe.
    pub removed: Vec<String>,
    /// Why the changes are unknown.
    pub failure: Option<Failure>,
}
