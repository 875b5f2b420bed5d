//! What is true of a node beyond its results, and what its services' logs say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::string_enum::string_enum;
use super::{Failure, Via};

/// What `ctl status` found on a node besides the state of its services.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeFacts {
    /// Name of the node in the inventory.
    pub node: String,
    /// The supervisords that answered, in the order of the inventory's roles.
    pub supervisors: Vec<SupervisorFacts>,
    /// Versions of the node's Contrail packages by name. Untrusted text: sinks make it safe.
    pub packages: BTreeMap<String, String>,
    /// What is not as it should be, and is no service's state.
    pub findings: Vec<NodeFinding>,
}

/// A supervisord that answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupervisorFacts {
    /// The role whose instance it is.
    pub role: String,
    /// Name of the instance, such as `supervisor-analytics`.
    pub name: String,
    /// Where it listens: a socket's path or a URL; none where it was reached through the init wrapper.
    pub address: Option<String>,
    /// How it was reached.
    pub via: Via,
    /// Version of the supervisor package, where it was told. Untrusted text: sinks make it safe.
    pub version: Option<String>,
    /// Process id of supervisord itself, where it was told.
    pub pid: Option<u32>,
}

/// Something on a node that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeFinding {
    /// What it is.
    pub kind: FindingKind,
    /// The role it concerns, if it is one's.
    pub role: Option<String>,
    /// What it is, in a few words that are the same on every node where the same is found. Untrusted text: sinks make
    /// it safe.
    pub message: String,
    /// What shows it: paths, at most 20. Untrusted text: sinks make it safe.
    pub details: Vec<String>,
    /// How many there are, of core files: `details` may not name them all.
    pub count: Option<u64>,
}

string_enum! {
    /// What was found on a node. More may come.
    FindingKind {
        /// A process left a core file.
        CoreFiles = "core_files",
        /// A socket file that nobody listens on: it misleads whoever looks for the socket by its name.
        StaleSocket = "stale_socket",
        /// The node has the supervisord of a role that the inventory does not give it.
        UnlistedRole = "unlisted_role",
        /// What services say of their own work cannot be asked there.
        NoIntrospect = "no_introspect",
        /// The node could not be searched for what lies about there.
        NotSearched = "not_searched",
    }
}

string_enum! {
    /// One of a program's two logs.
    LogStream {
        /// Standard output.
        Stdout = "stdout",
        /// Standard error.
        Stderr = "stderr",
    }
}

/// What an update of a supervisord would change, of what was named: told by a run that only looks ahead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingUpdate {
    /// Name of the node in the inventory.
    pub node: String,
    /// The role whose supervisord it is.
    pub role: String,
    /// Name of the supervisord instance.
    pub supervisor: String,
    /// Groups that are new in its configuration. Untrusted text: sinks make it safe.
    pub added: Vec<String>,
    /// Groups that are another there. Untrusted text: sinks make it safe.
    pub changed: Vec<String>,
    /// Groups that are gone from it. Untrusted text: sinks make it safe.
    pub removed: Vec<String>,
    /// Why it is not known.
    pub failure: Option<Failure>,
}

/// Lines of a service's log, as they came from one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLines {
    /// Name of the node in the inventory.
    pub node: String,
    /// The role whose supervisord runs the service.
    pub role: String,
    /// Name of the supervisord instance.
    pub supervisor: String,
    /// The service as supervisord prints it.
    pub service: String,
    /// Which log.
    pub stream: LogStream,
    /// Whether lines of other services come from its node too, or may.
    pub among_others: bool,
    /// Whole lines without their ends, broken UTF-8 replaced. Untrusted text: sinks make it safe.
    pub lines: Vec<String>,
}

/// Why a service is not up: how it ended, and the end of its log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureEvidence {
    /// Its exit status; none if a signal ended it, or if that is not known.
    pub exit_status: Option<i32>,
    /// How it ended in supervisord's words (`exit status 1; not expected`, `terminated by SIGSEGV`), where known.
    /// Untrusted text: sinks make it safe.
    pub ended: Option<String>,
    /// Which log the lines are from.
    pub stream: LogStream,
    /// The last lines of the log, oldest first, broken UTF-8 replaced. Untrusted text: sinks make it safe.
    pub lines: Vec<String>,
}
